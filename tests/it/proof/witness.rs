//! What is held against what: each stream against what it promises, each client against what the database holds.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use capecontrol::proto::capecontrol::chat::v1 as wire;
use prost::Message as _;
use uuid::Uuid;
use wire::event::Change;
use wire::server_frame::Frame;

use super::deeds::Act;
use super::stored::Stored;

/// What a stream promises: of each thread, and of the account's log, what follows on the client's position, each event
/// once and none left out. A
/// client would notice when it does not hold, and open another; so it is looked at here, before the client sees it.
pub struct Promise {
    told: BTreeMap<String, i64>,
    /// The last entry of the account's log, once there is one.
    account: Option<i64>,
}

impl Promise {
    pub fn new(request: &wire::SubscribeRequest) -> Self {
        let told = request.threads.iter().map(|cursor| (cursor.thread_id.clone(), cursor.after_seq));
        let account = request.account.filter(|cursor| cursor.epoch != 0).map(|cursor| cursor.after_seq);
        Self { told: told.collect(), account }
    }

    /// Whether a frame keeps it; else what is wrong.
    pub fn keeps(&mut self, frame: &Frame) -> Result<(), String> {
        let (thread_id, next, seq) = match frame {
            Frame::Event(event) => (&event.thread_id, 1, event.seq),
            Frame::CatchUp(frame) if frame.reset => return Err(format!("a reset of {}", frame.thread_id)),
            Frame::CatchUp(frame) => (&frame.thread_id, 1, frame.from_seq),
            Frame::Live(frame) => (&frame.thread_id, 0, frame.seq),
            Frame::AccountSnapshot(_) | Frame::AccountEvent(_) | Frame::AccountLive(_) => {
                return self.keeps_account(frame);
            }
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

impl Promise {
    fn keeps_account(&mut self, frame: &Frame) -> Result<(), String> {
        let follows = match (frame, self.account) {
            (Frame::AccountSnapshot(frame), None) => {
                self.account = Some(frame.seq);
                true
            }
            (Frame::AccountEvent(frame), Some(told)) => {
                self.account = Some(frame.seq);
                frame.seq == told + 1
            }
            (Frame::AccountLive(frame), Some(told)) => frame.seq == told,
            _ => false,
        };
        if follows {
            Ok(())
        } else {
            Err(format!("of the account, after {:?}, came {frame:?}", self.account))
        }
    }
}

/// A text in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// This kind of event has none.
    None,
    Told(u64),
    /// It is gone, for its message was taken back before the event was read.
    Gone,
}

impl Text {
    fn told(self) -> Option<u64> {
        if let Self::Told(text) = self { Some(text) } else { None }
    }
}

/// An event, as one client has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// All of it but for a text: whoever reads late is not told what was taken back.
    bare: u64,
    text: Text,
}

impl Seen {
    pub fn of(event: &wire::Event) -> Self {
        let (bare, text) = bared(event);
        Self { bare: digest(&bare.encode_to_vec()), text }
    }
}

/// An event without a text, and the text.
fn bared(event: &wire::Event) -> (wire::Event, Text) {
    let mut bare = event.clone();
    let text = match &mut bare.change {
        Some(Change::MessageCreated(message)) => {
            let text = std::mem::take(&mut message.text);
            if message.delete_time.take().is_some() {
                Text::Gone
            } else {
                Text::Told(digest(text.as_bytes()))
            }
        }
        Some(Change::MessageEdited(edited)) => {
            let text = std::mem::take(&mut edited.text);
            let is_gone = std::mem::take(&mut edited.deleted);
            if is_gone { Text::Gone } else { Text::Told(digest(text.as_bytes())) }
        }
        _ => Text::None,
    };
    (bare, text)
}

/// What somebody changed, wherever and whenever.
fn trace(actor: Option<wire::Actor>, change: Option<Change>) -> u64 {
    digest(&wire::Event { actor, change, ..Default::default() }.encode_to_vec())
}

/// A change that a client was told is done.
struct Did {
    trace: u64,
    seq: Option<i64>,
    text: Option<u64>,
}

/// What one client was given, what it said and did.
#[derive(Default)]
pub struct Witness {
    account: String,
    threads: BTreeMap<String, Vec<Seen>>,
    /// By thread, in the order in which it was said.
    said: BTreeMap<String, Vec<(Uuid, u64)>>,
    did: BTreeMap<String, Vec<Did>>,
    read: BTreeMap<String, i64>,
}

impl Witness {
    pub fn of(account: &str) -> Self {
        Self { account: account.to_owned(), ..Self::default() }
    }

    /// Takes an event that the client's machine delivers: exactly the next.
    pub fn deliver(&mut self, event: &wire::Event) -> Result<(), String> {
        let seen = self.threads.entry(event.thread_id.clone()).or_default();
        let next = i64::try_from(seen.len()).unwrap() + 1;
        if event.seq != next {
            return Err(format!("{} of {} is delivered, where {next} is due", event.seq, event.thread_id));
        }
        seen.push(Seen::of(event));
        Ok(())
    }

    pub fn say(&mut self, thread: &str, id: Uuid, text: &str) {
        self.said.entry(thread.to_owned()).or_default().push((id, digest(text.as_bytes())));
    }

    pub fn did(&mut self, act: &Act, seq: Option<i64>) {
        let actor = wire::Actor { actor: Some(wire::actor::Actor::AccountId(self.account.clone())) };
        let trace = trace(Some(actor), act.deed.change());
        let text = act.deed.text().map(|text| digest(text.as_bytes()));
        self.did.entry(act.thread.clone()).or_default().push(Did { trace, seq, text });
    }

    pub fn read(&mut self, thread: &str, seq: i64) {
        let mark = self.read.entry(thread.to_owned()).or_default();
        *mark = seq.max(*mark);
    }
}

/// Short enough to keep many.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Holds the clients against one another, against what they said and did, and against what is stored. Returns how many
/// messages there are.
pub fn agree(witnesses: &[Witness], stored: &BTreeMap<String, Stored>) -> usize {
    for (thread, stored) in stored {
        stored.is_consistent(thread);
        let texts = told_alike(witnesses, thread, stored);
        said_is_written(witnesses, thread, stored, &texts);
        done_is_told(witnesses, thread, stored, &texts);
        for witness in witnesses.iter().filter(|witness| witness.threads.contains_key(thread)) {
            let mark = witness.read.get(thread).copied().unwrap_or_default();
            assert_eq!(stored.mark(&witness.account), mark, "{thread}: how far {} has read", witness.account);
        }
    }
    witnesses.iter().flat_map(|witness| witness.said.values()).map(Vec::len).sum()
}

/// That all members were told what is stored. Returns the text of each event, if anybody was told it.
fn told_alike(witnesses: &[Witness], thread: &str, stored: &Stored) -> Vec<Option<u64>> {
    let log: Vec<_> = stored.log.iter().map(Seen::of).collect();
    let mut texts: Vec<_> = log.iter().map(|seen| seen.text.told()).collect();
    let members: Vec<_> = witnesses.iter().filter_map(|witness| witness.threads.get(thread)).collect();
    assert!(log.is_empty() || !members.is_empty(), "nobody has anything of {thread}");
    for member in members {
        assert_eq!(member.len(), log.len(), "{thread} is not told to its end");
        for (((seen, kept), text), seq) in member.iter().zip(&log).zip(&mut texts).zip(1..) {
            assert_eq!(seen.bare, kept.bare, "{seq} of {thread} is told differently from what is stored");
            match seen.text {
                Text::None => {}
                Text::Gone => assert_eq!(kept.text, Text::Gone, "{seq} of {thread} is told without its text"),
                Text::Told(told) => {
                    assert_eq!(*text.get_or_insert(told), told, "two texts of {seq} of {thread}");
                }
            }
        }
    }
    texts
}

/// That each message that was said is there once, in its sender's order, and no other.
fn said_is_written(witnesses: &[Witness], thread: &str, stored: &Stored, texts: &[Option<u64>]) {
    let written: Vec<(Uuid, Option<u64>)> = stored
        .log
        .iter()
        .zip(texts)
        .filter_map(|(event, text)| match &event.change {
            Some(Change::MessageCreated(message)) => {
                Some((message.client_message_id.parse().unwrap(), *text))
            }
            _ => None,
        })
        .collect();
    let mut said = 0;
    for of_one in witnesses.iter().filter_map(|witness| witness.said.get(thread)) {
        said += of_one.len();
        let ids: BTreeSet<_> = of_one.iter().map(|(id, _)| *id).collect();
        let own: Vec<_> = written.iter().filter(|(id, _)| ids.contains(id)).collect();
        let in_order = own.iter().map(|(id, _)| id).eq(of_one.iter().map(|(id, _)| id));
        assert!(in_order, "{thread}: messages of one sender are missing, there twice or out of order");
        for ((id, written), (_, said)) in own.iter().zip(of_one) {
            assert!(written.is_none_or(|written| written == *said), "{thread}: {id} has another text");
        }
    }
    assert_eq!(written.len(), said, "{thread}: there is a message that nobody said");
}

/// That each change that a client was told is done is told once, and no other.
fn done_is_told(witnesses: &[Witness], thread: &str, stored: &Stored, texts: &[Option<u64>]) {
    let mut told = Vec::new();
    for event in &stored.log {
        if !matches!(event.change, Some(Change::MessageCreated(_) | Change::ReceiptsMoved(_))) {
            let (bare, _) = bared(event);
            told.push((event.seq, trace(bare.actor, bare.change)));
        }
    }
    let mut done = Vec::new();
    for did in witnesses.iter().filter_map(|witness| witness.did.get(thread)).flatten() {
        done.push(did.trace);
        let Some(seq) = did.seq else { continue };
        assert!(told.contains(&(seq, did.trace)), "{thread}: {seq} is not what was done there");
        let text = texts[usize::try_from(seq - 1).unwrap()];
        assert!(text.is_none() || text == did.text, "{thread}: {seq} has another text");
    }
    let mut told: Vec<_> = told.into_iter().map(|(_, trace)| trace).collect();
    told.sort_unstable();
    done.sort_unstable();
    assert!(told == done, "{thread}: a change is missing, there twice, or nobody's");
}
