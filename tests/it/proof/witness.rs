//! What is held against what: each stream against what it promises, each client against what the database holds.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use capecontrol::proto::capecontrol::chat::v1 as wire;
use prost::Message as _;
use uuid::Uuid;
use wire::event::Change;
use wire::server_frame::Frame;

/// What a stream promises: of each thread what follows on the client's position, each event once and none left out. A
/// client would notice when it does not hold, and open another; so it is looked at here, before the client sees it.
pub struct Promise {
    told: BTreeMap<String, i64>,
}

impl Promise {
    pub fn new(threads: &[wire::ThreadCursor]) -> Self {
        let told = threads.iter().map(|cursor| (cursor.thread_id.clone(), cursor.after_seq));
        Self { told: told.collect() }
    }

    /// Whether a frame keeps it; else what is wrong.
    pub fn keeps(&mut self, frame: &Frame) -> Result<(), String> {
        let (thread_id, next, seq) = match frame {
            Frame::Event(event) => (&event.thread_id, 1, event.seq),
            Frame::CatchUp(frame) if frame.reset => return Err(format!("a reset of {}", frame.thread_id)),
            Frame::CatchUp(frame) => (&frame.thread_id, 1, frame.from_seq),
            Frame::Live(frame) => (&frame.thread_id, 0, frame.seq),
            _ => return Ok(()),
        };
        let Some(told) = self.told.get_mut(thread_id) else {
            return Err(format!("nobody follows {thread_id}"));
        };
        if *told + next != seq {
            return Err(format!("after {told} of {thread_id} came {frame:?}"));
        }
        if let Frame::Event(_) = frame {
            *told = seq;
        }
        Ok(())
    }
}

/// An event, as one client has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Of a message: the id that its sender gave it, and its text.
    pub message: Option<(Uuid, u64)>,
    /// All of it.
    pub whole: u64,
}

/// What one client was given, and what it said.
#[derive(Default)]
pub struct Witness {
    pub threads: BTreeMap<String, Vec<Seen>>,
    /// By thread, in the order in which it was said.
    pub said: BTreeMap<String, Vec<(Uuid, u64)>>,
}

impl Witness {
    /// Takes an event that the client's machine delivers: exactly the next.
    pub fn deliver(&mut self, event: &wire::Event) -> Result<(), String> {
        let seen = self.threads.entry(event.thread_id.clone()).or_default();
        let next = i64::try_from(seen.len()).unwrap() + 1;
        if event.seq != next {
            return Err(format!("{} of {} is delivered, where {next} is due", event.seq, event.thread_id));
        }
        let message = match &event.change {
            Some(Change::MessageCreated(message)) => {
                Some((message.client_message_id.parse().unwrap(), digest(message.text.as_bytes())))
            }
            _ => None,
        };
        seen.push(Seen { message, whole: digest(&event.encode_to_vec()) });
        Ok(())
    }

    pub fn say(&mut self, thread: &str, id: Uuid, text: &str) {
        self.said.entry(thread.to_owned()).or_default().push((id, digest(text.as_bytes())));
    }
}

/// Short enough to keep many.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// A message in the database.
pub struct Stored {
    pub seq: i64,
    pub id: Uuid,
    pub text: u64,
}

/// Holds the clients against one another, against what they said, and against the database. Returns how many messages
/// there are.
pub fn agree(
    witnesses: &[Witness],
    stored: &BTreeMap<String, Vec<Stored>>,
    heads: &BTreeMap<String, i64>,
) -> usize {
    for (thread, head) in heads {
        let members: Vec<_> = witnesses.iter().filter_map(|witness| witness.threads.get(thread)).collect();
        let first = members.first().unwrap_or_else(|| panic!("nobody has anything of {thread}"));
        assert_eq!(i64::try_from(first.len()).unwrap(), *head, "{thread} is not told to its end");
        for other in &members {
            assert!(other == first, "two clients have different things of {thread}");
        }
        let told: Vec<_> = first
            .iter()
            .zip(1..)
            .filter_map(|(seen, seq)| seen.message.map(|(id, text)| (seq, id, text)))
            .collect();
        let stored: Vec<_> =
            stored[thread].iter().map(|message| (message.seq, message.id, message.text)).collect();
        assert!(told == stored, "the clients and the database differ in {thread}");
        let mut said: Vec<_> =
            witnesses.iter().filter_map(|witness| witness.said.get(thread)).flatten().collect();
        let mut written: Vec<_> = told.iter().map(|(_, id, text)| (*id, *text)).collect();
        for of_one in witnesses.iter().filter_map(|witness| witness.said.get(thread)) {
            let ids: std::collections::BTreeSet<_> = of_one.iter().collect();
            let in_order: Vec<_> = written.iter().filter(|message| ids.contains(message)).collect();
            assert!(
                in_order.into_iter().eq(of_one),
                "{thread}: messages of one sender were put out of order"
            );
        }
        written.sort_unstable();
        said.sort_unstable();
        assert!(written.iter().eq(said), "{thread}: a message is missing, there twice, or nobody's");
    }
    witnesses.iter().flat_map(|witness| witness.said.values()).map(Vec::len).sum()
}
