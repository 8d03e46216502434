//! What one stream still has to tell of each thread it follows.
//!
//! The rule that the whole chat rests on: whatever is heard from the outside (in any order, twice, or not at all) only
//! moves the position that is known; what is told comes from the stored events, or is exactly the next event. So a
//! client sees 1, 2, 3, … per thread and the bus may lose, repeat and reorder. The algorithm, per thread:
//!
//! 1. the stream is registered for news of the thread *before* the first page is read;
//! 2. stored events after the last one told are read in pages and told, until a page is short;
//! 3. if more is known by then, go on reading; else the thread is live;
//! 4. live: the next event is told at once, an older one is dropped, a later one sends the thread back to 2.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::frame::Wish;
use super::{Event, ThreadId};

/// The fewest events of a page.
const PAGE_EVENTS_MIN: usize = 16;
/// The most events of a page.
pub const PAGE_EVENTS_MAX: usize = 200;
/// How many bytes a page should have at most, judged by the page before.
const PAGE_BYTES: usize = 1 << 20;
/// A live thread that falls behind by more than this is announced as catching up.
const LAG_QUIET: i64 = 32;

/// Where a stream stands in one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last event told.
    pub sent: i64,
    /// The newest event known to exist.
    pub known: i64,
    /// What the client acknowledged.
    pub acked: i64,
    /// The epoch of the thread's sequence.
    pub epoch: i64,
    /// Whether events are told as they happen.
    live: bool,
    /// Whether the client was told that the thread is catching up, and so waits for [`Notice::Live`].
    announced: bool,
    /// Whether the client knows the epoch. It keeps events only together with theirs: without it nobody would see that
    /// the position it comes back with is of another life.
    dated: bool,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Events of the past follow.
    CatchUp {
        /// The thread.
        thread_id: ThreadId,
        /// The first that follows.
        from: i64,
        /// The newest known.
        to: i64,
        /// Whether the client's position was of no use.
        reset: bool,
        /// The epoch to keep with the positions that follow.
        epoch: i64,
    },
    /// An event, exactly the next of its thread.
    Event(Arc<Event>),
    /// The past is told.
    Live {
        /// The thread.
        thread_id: ThreadId,
        /// The last event told.
        seq: i64,
        /// The epoch to keep with it.
        epoch: i64,
    },
}

/// A page of stored events that is wanted: those after `after`, in order, at most `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// The thread.
    pub thread_id: ThreadId,
    /// The last event told.
    pub after: i64,
    /// How many at most.
    pub limit: usize,
    /// The newest event known when the page was asked for.
    pub known: i64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Tell the client.
    Tell(Notice),
    /// Read a page and give it to [`Feed::page`].
    Read(Read),
    /// Nothing until something is heard.
    Idle,
}

/// The stored sequence has a hole: it must never happen, and nothing after the hole may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The thread.
    pub thread_id: ThreadId,
    /// The position that is missing.
    pub missing: i64,
}

/// What one stream still has to tell. Its memory is bounded by the number of threads and one page.
#[derive(Debug, Default)]
pub struct Feed {
    cursors: BTreeMap<ThreadId, Cursor>,
    /// Threads to be read, in turn, so that a long one does not keep the others waiting. Each at most once.
    behind: VecDeque<ThreadId>,
    notices: VecDeque<Notice>,
    page: Option<Page>,
    page_limit: Option<usize>,
}

#[derive(Debug)]
struct Page {
    thread_id: ThreadId,
    events: VecDeque<Event>,
    /// Whether the store had no more when it was read, and nothing at all.
    short: bool,
    empty: bool,
    /// The newest event known when it was asked for.
    known: i64,
}

impl Feed {
    /// Follows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many threads are followed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cursors.len()
    }

    /// Whether no thread is followed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }

    /// Whether `thread_id` is followed.
    #[must_use]
    pub fn follows(&self, thread_id: ThreadId) -> bool {
        self.cursors.contains_key(&thread_id)
    }

    /// Whether `thread_id` is followed and live.
    #[must_use]
    pub fn is_live(&self, thread_id: ThreadId) -> bool {
        self.cursors.get(&thread_id).is_some_and(|cursor| cursor.live)
    }

    /// Whether everything known has been told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.notices.is_empty() && self.page.is_none() && self.behind.is_empty()
    }

    /// Every thread and where the stream stands in it.
    pub fn cursors(&self) -> impl Iterator<Item = (ThreadId, Cursor)> + '_ {
        self.cursors.iter().map(|(thread_id, cursor)| (*thread_id, *cursor))
    }

    /// Follows a thread from where the client wishes, given its end and epoch as they were read a moment ago:
    /// whatever was committed since comes with the first page. A thread that is followed already starts anew. Returns
    /// the position up to which the client knows it.
    pub fn follow(&mut self, wish: &Wish, last_seq: i64, epoch: i64) -> i64 {
        self.forget(wish.thread_id);
        let useless = (wish.epoch != 0 && wish.epoch != epoch) || wish.after_seq > last_seq;
        let sent = match wish.newest {
            _ if useless => 0,
            0 => wish.after_seq,
            newest => last_seq.saturating_sub(newest).max(0),
        };
        let has_past = sent < last_seq || useless;
        if has_past {
            let (from, to) = (sent.saturating_add(1), last_seq);
            let (thread_id, reset) = (wish.thread_id, useless);
            self.notices.push_back(Notice::CatchUp { thread_id, from, to, reset, epoch });
        }
        let dated = has_past || wish.epoch != 0;
        let cursor = Cursor { sent, known: last_seq, acked: 0, epoch, live: false, announced: true, dated };
        self.cursors.insert(wish.thread_id, cursor);
        self.behind.push_back(wish.thread_id);
        sent
    }

    /// Stops following a thread; whether it was followed.
    pub fn forget(&mut self, thread_id: ThreadId) -> bool {
        self.behind.retain(|behind| *behind != thread_id);
        self.notices.retain(|notice| notice.thread_id() != thread_id);
        if self.page.as_ref().is_some_and(|page| page.thread_id == thread_id) {
            self.page = None;
        }
        self.cursors.remove(&thread_id).is_some()
    }

    /// Hears that a thread has reached `seq`.
    pub fn hear(&mut self, thread_id: ThreadId, seq: i64) {
        let Some(cursor) = self.cursors.get_mut(&thread_id) else { return };
        cursor.known = cursor.known.max(seq);
        if !cursor.live || cursor.known == cursor.sent {
            return;
        }
        cursor.live = false;
        if cursor.known.saturating_sub(cursor.sent) > LAG_QUIET {
            cursor.announced = true;
            let (from, to, epoch) = (cursor.sent.saturating_add(1), cursor.known, cursor.epoch);
            self.notices.push_back(Notice::CatchUp { thread_id, from, to, reset: false, epoch });
        }
        self.behind.push_back(thread_id);
    }

    /// Is offered an event: tells it when it is exactly the next of a live thread, and otherwise only notes how far the
    /// thread has come.
    pub fn offer(&mut self, event: Arc<Event>) {
        let Some(cursor) = self.cursors.get_mut(&event.thread_id) else { return };
        if cursor.live && event.seq == cursor.sent.saturating_add(1) {
            cursor.sent = event.seq;
            cursor.known = cursor.known.max(event.seq);
            self.notices.push_back(Notice::Event(event));
        } else {
            self.hear(event.thread_id, event.seq);
        }
    }

    /// Notes what the client acknowledged; false when that was never told.
    pub fn acknowledge(&mut self, thread_id: ThreadId, seq: i64) -> bool {
        let Some(cursor) = self.cursors.get_mut(&thread_id) else { return false };
        let told = (0..=cursor.sent).contains(&seq);
        if told {
            cursor.acked = cursor.acked.max(seq);
        }
        told
    }

    /// What to do next.
    pub fn step(&mut self) -> Step {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Step::Tell(notice);
            }
            if let Some(page) = &mut self.page {
                match page.events.pop_front() {
                    Some(event) => {
                        if let Some(cursor) = self.cursors.get_mut(&event.thread_id) {
                            cursor.sent = event.seq;
                            cursor.known = cursor.known.max(event.seq);
                        }
                        return Step::Tell(Notice::Event(Arc::new(event)));
                    }
                    None => self.finish_page(),
                }
                continue;
            }
            return match self.behind.front().and_then(|thread_id| self.read(*thread_id)) {
                Some(read) => Step::Read(read),
                None => Step::Idle,
            };
        }
    }

    /// Takes the page that [`Step::Read`] asked for.
    ///
    /// # Errors
    /// [`Hole`] when the events do not follow on the last one told.
    pub fn page(&mut self, read: Read, events: Vec<Event>) -> Result<(), Hole> {
        let Some(cursor) = self.cursors.get_mut(&read.thread_id) else { return Ok(()) };
        if cursor.sent != read.after || self.behind.front() != Some(&read.thread_id) {
            return Ok(()); // asked for by an earlier life of this subscription
        }
        let expected = (1..).map(|step| read.after.saturating_add(step));
        if let Some((missing, _)) = expected.zip(&events).find(|(seq, event)| *seq != event.seq) {
            return Err(Hole { thread_id: read.thread_id, missing });
        }
        if !cursor.dated
            && let Some(last) = events.last()
        {
            // There was no past when it was asked for, and now there is one.
            cursor.dated = true;
            let (thread_id, from, to, epoch) =
                (read.thread_id, read.after.saturating_add(1), last.seq, cursor.epoch);
            self.notices.push_back(Notice::CatchUp { thread_id, from, to, reset: false, epoch });
        }
        self.behind.pop_front();
        self.page_limit = Some(next_limit(&events));
        let (short, empty) = (events.len() < read.limit, events.is_empty());
        let (thread_id, known) = (read.thread_id, read.known);
        self.page = Some(Page { thread_id, events: events.into(), short, empty, known });
        Ok(())
    }

    fn read(&self, thread_id: ThreadId) -> Option<Read> {
        let cursor = self.cursors.get(&thread_id)?;
        let limit = self.page_limit.unwrap_or(PAGE_EVENTS_MIN);
        Some(Read { thread_id, after: cursor.sent, limit, known: cursor.known })
    }

    fn finish_page(&mut self) {
        let Some(page) = self.page.take() else { return };
        let Some(cursor) = self.cursors.get_mut(&page.thread_id) else { return };
        if page.empty && cursor.known <= page.known {
            // Something was heard of that is not stored (here, yet). Asking again at once would only spin: the
            // backstop will say it again. What was heard of since is another matter: the page is older than that.
            cursor.known = cursor.sent;
        }
        if page.short && cursor.known <= cursor.sent {
            (cursor.live, cursor.dated) = (true, true);
            if std::mem::take(&mut cursor.announced) {
                let (thread_id, seq, epoch) = (page.thread_id, cursor.sent, cursor.epoch);
                self.notices.push_back(Notice::Live { thread_id, seq, epoch });
            }
        } else {
            self.behind.push_back(page.thread_id);
        }
    }
}

impl Notice {
    fn thread_id(&self) -> ThreadId {
        match self {
            Self::CatchUp { thread_id, .. } | Self::Live { thread_id, .. } => *thread_id,
            Self::Event(event) => event.thread_id,
        }
    }
}

/// How many events the next page should have, so that its weight stays near [`PAGE_BYTES`].
fn next_limit(events: &[Event]) -> usize {
    let bytes: usize = events.iter().map(Event::weight).sum();
    let average = bytes.checked_div(events.len()).unwrap_or(1).max(1);
    (PAGE_BYTES / average).clamp(PAGE_EVENTS_MIN, PAGE_EVENTS_MAX)
}
