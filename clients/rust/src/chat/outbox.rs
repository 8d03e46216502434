//! Messages until they are settled: written, or refused for good. In each thread one is under way and the next waits
//! for it, so that they are written in the order in which they were said. It must not know streams or positions.

use std::collections::{BTreeMap, VecDeque};

use super::backoff;
use super::words::{ClientMessageId, Draft, ThreadId};

/// Messages in their order. Its memory is bounded by the number that was given to [`Outbox::new`].
#[derive(Clone, Debug)]
pub struct Outbox {
    messages_max: usize,
    queues: BTreeMap<ThreadId, VecDeque<Entry>>,
    /// In which queue each message is.
    threads: BTreeMap<ClientMessageId, ThreadId>,
}

#[derive(Clone, Debug)]
struct Entry {
    draft: Draft,
    stage: Stage,
    refusals: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// To be sent.
    Ready,
    /// Sent at this time, and not answered.
    Sent(u64),
    /// Refused for now; to be sent again at this time.
    Resting(u64),
}

/// A message that needs no more care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its thread.
    pub thread: ThreadId,
    /// When it was last sent, if it was not answered since.
    pub sent_at: Option<u64>,
}

/// As many messages wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Outbox {
    /// Holds at most so many messages.
    #[must_use]
    pub fn new(messages_max: usize) -> Self {
        Self { messages_max, queues: BTreeMap::new(), threads: BTreeMap::new() }
    }

    /// How many messages are unsettled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether all messages are settled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Whether messages of the thread are unsettled.
    #[must_use]
    pub fn has(&self, thread: &ThreadId) -> bool {
        self.queues.contains_key(thread)
    }

    /// Whether the message is here, unsettled.
    #[must_use]
    pub fn knows(&self, id: &ClientMessageId) -> bool {
        self.threads.contains_key(id)
    }

    /// Takes a message; one that is here already is not taken twice.
    ///
    /// # Errors
    /// [`Full`]
    pub fn push(&mut self, draft: Draft) -> Result<(), Full> {
        if self.knows(&draft.client_message_id) {
            return Ok(());
        }
        if self.threads.len() >= self.messages_max {
            return Err(Full);
        }
        self.threads.insert(draft.client_message_id.clone(), draft.thread.clone());
        let queue = self.queues.entry(draft.thread.clone()).or_default();
        queue.push_back(Entry { draft, stage: Stage::Ready, refusals: 0 });
        Ok(())
    }

    /// What is to be sent now, the first of each thread at most; it counts as sent.
    pub fn due(&mut self, now: u64) -> Vec<Draft> {
        let first = self.queues.values_mut().filter_map(VecDeque::front_mut);
        first
            .filter_map(|entry| {
                let due = match entry.stage {
                    Stage::Ready => true,
                    Stage::Sent(_) => false,
                    Stage::Resting(until) => until <= now,
                };
                due.then(|| {
                    entry.stage = Stage::Sent(now);
                    entry.draft.clone()
                })
            })
            .collect()
    }

    /// When something that rests is due.
    #[must_use]
    pub fn due_at(&self) -> Option<u64> {
        let first = self.queues.values().filter_map(VecDeque::front);
        let resting = first.filter_map(|entry| match entry.stage {
            Stage::Resting(until) => Some(until),
            Stage::Ready | Stage::Sent(_) => None,
        });
        resting.min()
    }

    /// Nobody knows what became of what was sent: it is sent again.
    pub fn lose_answers(&mut self) {
        for entry in self.queues.values_mut().flatten() {
            if let Stage::Sent(_) = entry.stage {
                entry.stage = Stage::Ready;
            }
        }
    }

    /// A message was refused, and may be taken after `retry_after` milliseconds: it is sent again then, and a random
    /// time later. Whether it is here.
    pub fn rest(&mut self, id: &ClientMessageId, now: u64, retry_after: u64, random: u64) -> bool {
        let Some(queue) = self.threads.get(id).and_then(|thread| self.queues.get_mut(thread)) else {
            return false;
        };
        let Some(entry) = queue.iter_mut().find(|entry| entry.draft.client_message_id == *id) else {
            return false;
        };
        let wait = retry_after.saturating_add(backoff::delay(entry.refusals, random));
        entry.refusals = entry.refusals.saturating_add(1);
        entry.stage = Stage::Resting(now.saturating_add(wait));
        true
    }

    /// A message is settled; none when it is not here, because it was settled before or never was.
    pub fn settle(&mut self, id: &ClientMessageId) -> Option<Settled> {
        let thread = self.threads.remove(id)?;
        let queue = self.queues.get_mut(&thread)?;
        let at = queue.iter().position(|entry| entry.draft.client_message_id == *id)?;
        let entry = queue.remove(at)?;
        if queue.is_empty() {
            self.queues.remove(&thread);
        }
        let sent_at = match entry.stage {
            Stage::Sent(at) => Some(at),
            Stage::Ready | Stage::Resting(_) => None,
        };
        Some(Settled { thread, sent_at })
    }

    /// Takes every message of a thread out, in their order.
    pub fn drop_thread(&mut self, thread: &ThreadId) -> Vec<ClientMessageId> {
        let queue = self.queues.remove(thread).unwrap_or_default();
        let ids: Vec<_> = queue.into_iter().map(|entry| entry.draft.client_message_id).collect();
        for id in &ids {
            self.threads.remove(id);
        }
        ids
    }
}
