//! What a stream has heard and not yet worked off, in bounded memory.
//!
//! Whoever brings news never waits for a client. When the news of a client that reads too slowly do not fit, the pieces
//! that may be lost go first; then the events themselves go, and only how far each thread has come is kept: the stream
//! reads on from the stored events when its client does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::frame::{Delta, Typing};
use super::{Event, ThreadId};

/// A merged delta is not made longer than this, in bytes.
const DELTA_BYTES_MAX: usize = 8 << 10;
/// What a frame weighs beside its text, in bytes.
const FRAME_BYTES: usize = 128;

/// How much a backlog holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Frames.
    pub frames: usize,
    /// Bytes.
    pub bytes: usize,
}

/// Something heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An event, in full.
    Event(Arc<Event>),
    /// A thread has come to this position.
    Head(ThreadId, i64),
    /// A piece of an answer in the making.
    Delta(Arc<Delta>),
    /// Somebody is writing.
    Typing(Typing),
    /// The caller may no longer see the thread.
    Lost(ThreadId),
    /// Calls have left something for the stream.
    Changes,
    /// The presence of somebody watched has changed.
    Presence,
    /// The caller's own log has come to this position.
    Account(i64),
}

impl News {
    fn weight(&self) -> usize {
        match self {
            Self::Event(event) => event.weight(),
            Self::Delta(delta) => delta.text.len().saturating_add(FRAME_BYTES),
            Self::Typing(_)
            | Self::Head(..)
            | Self::Lost(_)
            | Self::Changes
            | Self::Presence
            | Self::Account(_) => FRAME_BYTES,
        }
    }
}

/// The queue of one stream.
#[derive(Debug)]
pub struct Backlog {
    limits: Limits,
    queue: VecDeque<News>,
    bytes: usize,
    heads: BTreeMap<ThreadId, i64>,
    lost: VecDeque<ThreadId>,
    changes: bool,
    presence: bool,
    account: Option<i64>,
}

impl Backlog {
    /// Empty.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: VecDeque::new(),
            bytes: 0,
            heads: BTreeMap::new(),
            lost: VecDeque::new(),
            changes: false,
            presence: false,
            account: None,
        }
    }

    /// How many frames and bytes are queued.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.queue.len(), self.bytes)
    }

    /// Hears an event.
    pub fn event(&mut self, event: Arc<Event>) {
        let news = News::Event(event);
        if !self.fits(&news) {
            self.drop_fleeting();
        }
        if !self.fits(&news) {
            self.spill();
        }
        if self.fits(&news) {
            self.push(news);
        } else if let News::Event(event) = news {
            self.head(event.thread_id, event.seq);
        }
    }

    /// Hears how far a thread has come.
    pub fn head(&mut self, thread_id: ThreadId, seq: i64) {
        let head = self.heads.entry(thread_id).or_insert(seq);
        *head = seq.max(*head);
    }

    /// Hears a piece of an answer; merged with the piece before it, dropped when there is no room.
    pub fn delta(&mut self, delta: &Arc<Delta>) {
        if let Some(News::Delta(last)) = self.queue.back_mut()
            && last.is_continued_by(delta)
            && last.text.len() < DELTA_BYTES_MAX
            && self.bytes.saturating_add(delta.text.len()) <= self.limits.bytes
        {
            Arc::make_mut(last).text.push_str(&delta.text);
            self.bytes = self.bytes.saturating_add(delta.text.len());
            return;
        }
        let news = News::Delta(Arc::clone(delta));
        if self.fits(&news) {
            self.push(news);
        }
    }

    /// Hears that somebody is writing; instead of what was heard of them before, dropped when there is no room.
    pub fn typing(&mut self, typing: Typing) {
        let earlier = self.queue.iter_mut().find_map(|news| match news {
            News::Typing(of) if (of.thread_id, of.account_id) == (typing.thread_id, typing.account_id) => {
                Some(of)
            }
            _ => None,
        });
        if let Some(earlier) = earlier {
            *earlier = typing;
            return;
        }
        let news = News::Typing(typing);
        if self.fits(&news) {
            self.push(news);
        }
    }

    /// Hears that the caller may no longer see a thread.
    pub fn lost(&mut self, thread_id: ThreadId) {
        if !self.lost.contains(&thread_id) {
            self.lost.push_back(thread_id);
        }
    }

    /// Hears that calls have left something for the stream.
    pub const fn ring_changes(&mut self) {
        self.changes = true;
    }

    /// Hears that the presence of somebody watched has changed.
    pub const fn ring_presence(&mut self) {
        self.presence = true;
    }

    /// Hears how far the caller's own log has come.
    pub fn account(&mut self, seq: i64) {
        self.account = self.account.max(Some(seq));
    }

    /// Takes what is to be worked off next: in the order heard, then the bare positions. What a stream is to do comes
    /// before what it is to tell, the caller's own log before threads, and who is there after everything.
    pub fn take(&mut self) -> Option<News> {
        if let Some(thread_id) = self.lost.pop_front() {
            return Some(News::Lost(thread_id));
        }
        if std::mem::take(&mut self.changes) {
            return Some(News::Changes);
        }
        if let Some(seq) = self.account.take() {
            return Some(News::Account(seq));
        }
        if let Some(news) = self.queue.pop_front() {
            self.bytes = self.bytes.saturating_sub(news.weight());
            return Some(news);
        }
        if let Some((thread_id, seq)) = self.heads.pop_first() {
            return Some(News::Head(thread_id, seq));
        }
        std::mem::take(&mut self.presence).then_some(News::Presence)
    }

    fn fits(&self, news: &News) -> bool {
        self.queue.len() < self.limits.frames && self.bytes.saturating_add(news.weight()) <= self.limits.bytes
    }

    fn push(&mut self, news: News) {
        self.bytes = self.bytes.saturating_add(news.weight());
        self.queue.push_back(news);
    }

    fn drop_fleeting(&mut self) {
        self.queue.retain(|news| !matches!(news, News::Delta(_) | News::Typing(_)));
        self.bytes = self.queue.iter().map(News::weight).sum();
    }

    fn spill(&mut self) {
        self.bytes = 0;
        for news in std::mem::take(&mut self.queue) {
            if let News::Event(event) = news {
                self.head(event.thread_id, event.seq);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::base::{Id, Timestamp};
    use crate::chat::model::{Actor, Message};

    const LIMITS: Limits = Limits { frames: 3, bytes: 4_000 };

    fn thread() -> ThreadId {
        Id::from_uuid(Uuid::nil())
    }

    fn event(seq: i64, bytes: usize) -> Arc<Event> {
        Arc::new(Event::created(Message {
            id: Id::from_uuid(Uuid::nil()),
            thread_id: thread(),
            seq,
            author: Actor::Account(Id::from_uuid(Uuid::nil())),
            client_message_id: None,
            reply_to: None,
            text: "x".repeat(bytes),
            attachments: Vec::new(),
            created_at: Timestamp::from_seconds(0),
            edited_at: None,
            deleted_at: None,
        }))
    }

    fn delta(offset: usize, text: &str) -> Arc<Delta> {
        let (message_id, reply_to) = (Id::from_uuid(Uuid::nil()), Id::from_uuid(Uuid::nil()));
        let text = text.to_owned();
        Arc::new(Delta { thread_id: thread(), message_id, reply_to, attempt: 1, offset, text })
    }

    fn drain(backlog: &mut Backlog) -> Vec<News> {
        std::iter::from_fn(|| backlog.take()).collect()
    }

    #[test]
    fn what_does_not_fit_is_kept_as_a_position() {
        let mut backlog = Backlog::new(LIMITS);
        for seq in 1..=4 {
            backlog.event(event(seq, 0));
        }
        assert_eq!(drain(&mut backlog), [News::Event(event(4, 0)), News::Head(thread(), 3)]);
        backlog.event(event(5, 9_999));
        assert_eq!(drain(&mut backlog), [News::Head(thread(), 5)]);
        assert_eq!(backlog.load(), (0, 0));
    }

    #[test]
    fn pieces_go_before_events_do() {
        let mut backlog = Backlog::new(LIMITS);
        backlog.event(event(1, 0));
        backlog.delta(&delta(0, "a"));
        backlog.delta(&delta(7, "another place"));
        backlog.delta(&delta(99, "no room"));
        backlog.event(event(2, 0));
        assert_eq!(drain(&mut backlog), [News::Event(event(1, 0)), News::Event(event(2, 0))]);
    }

    #[test]
    fn pieces_that_follow_on_each_other_are_one() {
        let mut backlog = Backlog::new(LIMITS);
        for (offset, text) in [(0, "one "), (4, "two "), (8, "three")] {
            backlog.delta(&delta(offset, text));
        }
        assert_eq!(drain(&mut backlog), [News::Delta(delta(0, "one two three"))]);
        assert_eq!(backlog.load(), (0, 0));
    }

    #[test]
    fn of_somebodys_writing_only_the_last_is_kept_and_it_goes_before_events_do() {
        let mut backlog = Backlog::new(Limits { frames: 2, bytes: 1 << 20 });
        let typing = |typing| Typing { thread_id: thread(), account_id: Id::from_uuid(Uuid::nil()), typing };
        backlog.typing(typing(true));
        backlog.typing(typing(false));
        assert_eq!(backlog.load().0, 1);
        assert_eq!(backlog.take(), Some(News::Typing(typing(false))));
        backlog.typing(typing(true));
        backlog.event(event(1, 1));
        backlog.event(event(2, 1));
        backlog.typing(typing(true));
        assert_eq!(backlog.take(), Some(News::Event(event(1, 1))));
        assert_eq!(backlog.take(), Some(News::Event(event(2, 1))));
        assert_eq!(backlog.take(), None);
    }
}
