//! When the server is told how far the client is: not for each event, but soon.

use std::collections::BTreeSet;

use super::words::ThreadId;

/// After how many events at the latest.
pub const EVENTS_MAX: u32 = 64;
/// How long after the first of them at the latest, in milliseconds.
pub const LATEST_MS: u64 = 500;

/// Events of one stream that were delivered and not yet acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    events: u32,
    threads: BTreeSet<ThreadId>,
    due_at: Option<u64>,
}

impl Acks {
    /// An event was delivered.
    pub fn note(&mut self, now: u64, thread: &ThreadId) {
        self.events = self.events.saturating_add(1);
        self.threads.insert(thread.clone());
        self.due_at.get_or_insert(now.saturating_add(LATEST_MS));
    }

    /// When they are to be acknowledged at the latest.
    #[must_use]
    pub fn due_at(&self) -> Option<u64> {
        self.due_at
    }

    /// The threads to acknowledge now, if it is time.
    pub fn due(&mut self, now: u64) -> Option<BTreeSet<ThreadId>> {
        let due = self.events >= EVENTS_MAX || self.due_at.is_some_and(|at| at <= now);
        due.then(|| std::mem::take(self).threads)
    }

    /// The stream is gone, and the next one knows nothing of it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
