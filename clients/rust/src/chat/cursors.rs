//! Where the client stands in each thread, and what of the stream is applied: an event that is exactly the next. What
//! is there already is skipped, and anything else means that something was lost, here or on the way. It must not know
//! messages, time or streams.

use std::collections::BTreeMap;

use super::words::{Start, ThreadId, Wish};

/// How many threads one stream may follow.
pub const THREADS_MAX: usize = 100;

/// Every thread that is followed. Its memory is bounded by [`THREADS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Cursors {
    threads: BTreeMap<ThreadId, Cursor>,
}

#[derive(Clone, Debug)]
struct Cursor {
    /// Where a stream would begin.
    start: Start,
    /// Whether the past is told on this stream.
    live: bool,
    /// Whether the application follows it no longer, and only its messages keep it.
    muted: bool,
}

/// What a frame of a thread means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It fits, and changes what there is for the application.
    Apply,
    /// It fits, and there is nothing for the application.
    Noted,
    /// The thread is not followed.
    Unknown,
    /// Something was lost: only a new stream from the positions brings it back.
    Lost,
}

impl Cursors {
    /// Follows a thread; one that is followed goes on from where it is. Whether a stream has to be told.
    ///
    /// # Errors
    /// [`Full`] when as many threads are followed as may be.
    pub fn follow(&mut self, wish: Wish) -> Result<bool, Full> {
        match self.threads.get(&wish.thread) {
            Some(cursor) if !cursor.muted => return Ok(false),
            None if self.threads.len() >= THREADS_MAX => return Err(Full),
            _ => {}
        }
        self.threads.insert(wish.thread, Cursor { start: wish.start, live: false, muted: false });
        Ok(true)
    }

    /// Keeps a thread on the stream, with nothing for the application.
    pub fn mute(&mut self, thread: &ThreadId) {
        if let Some(cursor) = self.threads.get_mut(thread) {
            cursor.muted = true;
        }
    }

    /// Follows a thread no longer; whether it was followed.
    pub fn forget(&mut self, thread: &ThreadId) -> bool {
        self.threads.remove(thread).is_some()
    }

    /// Whether the application follows the thread.
    #[must_use]
    pub fn follows(&self, thread: &ThreadId) -> bool {
        self.threads.get(thread).is_some_and(|cursor| !cursor.muted)
    }

    /// Whether the thread is on the stream for its messages only.
    #[must_use]
    pub fn is_muted(&self, thread: &ThreadId) -> bool {
        self.threads.get(thread).is_some_and(|cursor| cursor.muted)
    }

    /// Whether no thread is followed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// How many threads are followed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether the past of every thread is told.
    #[must_use]
    pub fn are_live(&self) -> bool {
        self.threads.values().all(|cursor| cursor.live)
    }

    /// Where a stream begins in a thread.
    #[must_use]
    pub fn start(&self, thread: &ThreadId) -> Option<Start> {
        self.threads.get(thread).map(|cursor| cursor.start)
    }

    /// The threads and positions of a new stream, on which nothing is live yet.
    pub fn open(&mut self) -> Vec<Wish> {
        let threads = self.threads.iter_mut();
        threads
            .map(|(thread, cursor)| {
                cursor.live = false;
                Wish { thread: thread.clone(), start: cursor.start }
            })
            .collect()
    }

    /// Events of the past follow. [`Heard::Apply`] means that what there is of the thread is to be forgotten.
    pub fn catch_up(&mut self, thread: &ThreadId, from: i64, reset: bool, epoch: i64) -> Heard {
        let Some(cursor) = self.threads.get_mut(thread) else { return Heard::Unknown };
        let before = from.saturating_sub(1);
        cursor.start = match cursor.start {
            Start::After { seq, .. } if !reset && before > seq => return Heard::Lost,
            // A stream that is cut before Live goes on from here, and must not go on in another epoch.
            Start::After { seq, epoch: have } if !reset => {
                Start::After { seq, epoch: if epoch == 0 { have } else { epoch } }
            }
            _ => Start::After { seq: before, epoch },
        };
        cursor.live = false;
        if reset && !cursor.muted { Heard::Apply } else { Heard::Noted }
    }

    /// An event. [`Heard::Apply`] means that it is exactly the next.
    pub fn event(&mut self, thread: &ThreadId, seq: i64) -> Heard {
        let Some(cursor) = self.threads.get_mut(thread) else { return Heard::Unknown };
        let Start::After { seq: have, .. } = &mut cursor.start else { return Heard::Lost };
        if seq <= *have {
            return Heard::Noted;
        }
        if seq != have.saturating_add(1) {
            return Heard::Lost;
        }
        *have = seq;
        if cursor.muted { Heard::Noted } else { Heard::Apply }
    }

    /// The past is told, up to `seq` of this epoch.
    pub fn live(&mut self, thread: &ThreadId, seq: i64, epoch: i64) -> Heard {
        let Some(cursor) = self.threads.get_mut(thread) else { return Heard::Unknown };
        if let Start::After { seq: have, epoch: known } = cursor.start
            && (have != seq || (known != 0 && known != epoch))
        {
            return Heard::Lost;
        }
        cursor.start = Start::After { seq, epoch };
        cursor.live = true;
        Heard::Noted
    }

    /// Whether the stream was sent more of a thread than came.
    #[must_use]
    pub fn lack(&self, heads: &[(ThreadId, i64)]) -> bool {
        let have = |thread| self.start(thread).and_then(Start::seq);
        heads.iter().any(|(thread, sent)| have(thread).is_some_and(|seq| *sent > seq))
    }
}

/// As many threads are followed as one stream may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;
