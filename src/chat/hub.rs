//! Which streams of this node follow which threads, and how news reaches them.
//!
//! Whoever brings news only leaves it in the streams' backlogs: nobody here waits for a client, or for the database
//! while a lock is held. News come over the bus, which may lose them; the backstop reads the stored positions of all
//! followed threads at a fixed interval and so repairs every loss. The hub decides nothing about what is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, SetOnce};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::Error;
use super::model::backlog::{Backlog, Limits, News};
use super::model::frame::{Fleeting, TypingNotice};
use super::model::presence::{Sighting, Watch};
use super::model::{ConnectionId, Event, ThreadId};
use super::presence::Board;
use super::store;
use super::unread::Listeners;
use crate::account_log;
use crate::auth::model::key::KeyUse;
use crate::base::{AccountId, OrganizationId, SessionId, Timestamp};
use crate::bus::{self, Bus, Heard, Hint, Passing, Signal};
use crate::db::{self, Db, Scope};

/// How many threads, or logs of accounts, one statement of the backstop asks for.
const BACKSTOP_HEADS: usize = 500;

/// How long after word of a loss everything is looked at: such words come in swarms, and one look is enough for one.
const MISSED_PAUSE: Duration = Duration::from_millis(50);

/// The streams of one node.
pub struct Hub {
    bus: Arc<dyn Bus>,
    limits: Limits,
    streams_per_account_max: usize,
    desk: Mutex<Desk>,
    board: Board,
    listeners: Listeners,
    /// Rings when somebody may have lost what they follow.
    doubt: Notify,
}

#[derive(Default)]
struct Desk {
    followers: HashMap<ThreadId, Vec<Arc<Inbox>>>,
    streams: HashMap<ConnectionId, Arc<Inbox>>,
    /// How many streams each account has open.
    counts: HashMap<AccountId, usize>,
}

/// For whom a stream is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The account.
    pub account: AccountId,
    /// The session or the API key below, whichever it is.
    pub credential: Uuid,
    /// The session whose token came with the call.
    pub session: Option<SessionId>,
    /// The API key that came with the call.
    pub key: Option<KeyUse>,
    /// Whether a person called, and no program in their name.
    pub by_person: bool,
    /// When the token, or the key, that came with the call stops being valid.
    pub expires_at: Option<Timestamp>,
}

/// Why a stream's caller may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The token's time is over.
    TokenExpired,
    /// The session was ended.
    SessionRevoked,
    /// The API key's time is over.
    KeyExpired,
    /// The API key was revoked, or its account left the organisation.
    KeyRevoked,
    /// The client had promised to say that it is there.
    LeaseLapsed,
}

/// A thread that a stream follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The thread.
    pub thread_id: ThreadId,
    /// Its organisation.
    pub organization_id: OrganizationId,
    /// The last event that the client was told.
    told: i64,
}

/// One stream: for whom it is open, what it follows, and where its news are left.
pub struct Inbox {
    id: ConnectionId,
    holder: Holder,
    /// A few: a list is smaller than a map.
    followed: Mutex<Vec<Followed>>,
    expires_at: Mutex<Option<Timestamp>>,
    backlog: Mutex<Backlog>,
    filled: Notify,
    ended: SetOnce<Ended>,
}

impl Inbox {
    /// The stream's id.
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// When the token, or the key, stops being valid.
    pub fn expires_at(&self) -> Option<Timestamp> {
        *locked(&self.expires_at)
    }

    /// Has the stream go on until then, if that is later.
    pub fn extend(&self, until: Option<Timestamp>) {
        if let (Some(expires_at), Some(until)) = (locked(&self.expires_at).as_mut(), until) {
            *expires_at = until.max(*expires_at);
        }
    }

    /// Leaves the word that what calls have left for the stream is to be taken up.
    pub fn ring_changes(&self) {
        self.leave(Backlog::ring_changes);
    }

    /// Leaves the word that the presence of somebody watched has changed.
    pub fn ring_presence(&self) {
        self.leave(Backlog::ring_presence);
    }

    /// For whom the stream is open.
    pub const fn holder(&self) -> Holder {
        self.holder
    }

    /// The threads followed.
    pub fn followed(&self) -> Vec<Followed> {
        locked(&self.followed).clone()
    }

    /// Waits until the caller may no longer go on.
    pub async fn ended(&self) -> Ended {
        *self.ended.wait().await
    }

    /// Whether it was said that the caller may no longer go on.
    pub fn has_ended(&self) -> bool {
        self.ended.initialized()
    }

    /// Says that the caller may no longer go on.
    pub fn end(&self, why: Ended) {
        // The first reason stands.
        let _ = self.ended.set(why);
    }

    /// Takes what is to be worked off next.
    pub fn take(&self) -> Option<News> {
        locked(&self.backlog).take()
    }

    /// Waits until something may have been left.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// How many frames and bytes are queued.
    pub fn load(&self) -> (usize, usize) {
        locked(&self.backlog).load()
    }

    /// Leaves the word that the caller may no longer see a thread.
    pub fn lose(&self, thread_id: ThreadId) {
        self.leave(|backlog| backlog.lost(thread_id));
    }

    /// Leaves how far the caller's own log has come.
    pub fn leave_account(&self, seq: i64) {
        self.leave(|backlog| backlog.account(seq));
    }

    /// Leaves how far a thread has come, if the client was not told of that yet.
    fn leave_head(&self, thread_id: ThreadId, seq: i64) {
        let behind = |followed: &Followed| followed.thread_id == thread_id && followed.told < seq;
        if locked(&self.followed).iter().any(behind) {
            self.leave(|backlog| backlog.head(thread_id, seq));
        }
    }

    fn leave(&self, news: impl FnOnce(&mut Backlog)) {
        news(&mut locked(&self.backlog));
        self.filled.notify_one();
    }
}

/// A stream's place in the hub; gone when it is dropped.
pub struct Registration {
    hub: Arc<Hub>,
    inbox: Arc<Inbox>,
}

impl Registration {
    /// Where this stream's news are left.
    pub const fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// The stream's id.
    pub fn id(&self) -> ConnectionId {
        self.inbox.id
    }

    /// Has news of a thread left from now on. To be called before its first page is read.
    pub fn follow(&self, thread_id: ThreadId, organization_id: OrganizationId) {
        let mut followed = locked(&self.inbox.followed);
        if followed.iter().all(|followed| followed.thread_id != thread_id) {
            followed.push(Followed { thread_id, organization_id, told: 0 });
            drop(followed);
            let mut desk = locked(&self.hub.desk);
            desk.followers.entry(thread_id).or_default().push(Arc::clone(&self.inbox));
        }
    }

    /// Has it told from now on whether these people are there, and of nobody else.
    pub fn watch<'a>(&self, accounts: impl IntoIterator<Item = &'a AccountId>) {
        self.hub.board.watch(&self.inbox, accounts);
    }

    /// Has it told from now on of the caller's own log.
    pub fn listen(&self) {
        self.hub.listeners.listen(&self.inbox);
    }

    /// Those of the people watched whose presence is another now than what was told.
    pub fn presence_changes(&self, watches: &BTreeMap<AccountId, Watch>) -> Vec<Sighting> {
        self.hub.board.changed(watches)
    }

    /// Has no more news of a thread left.
    pub fn forget(&self, thread_id: ThreadId) {
        let mut followed = locked(&self.inbox.followed);
        let before = followed.len();
        followed.retain(|followed| followed.thread_id != thread_id);
        let forgotten = followed.len() < before;
        drop(followed);
        if forgotten {
            locked(&self.hub.desk).forget(thread_id, self.inbox.id);
        }
    }

    /// Notes that the client knows a thread up to an event.
    pub fn told(&self, thread_id: ThreadId, seq: i64) {
        let mut threads = locked(&self.inbox.followed);
        if let Some(followed) = threads.iter_mut().find(|followed| followed.thread_id == thread_id) {
            followed.told = seq;
        }
    }

    /// The organisation of a thread that is followed.
    pub fn organization_of(&self, thread_id: ThreadId) -> Option<OrganizationId> {
        let followed = locked(&self.inbox.followed);
        followed.iter().find(|followed| followed.thread_id == thread_id).map(|found| found.organization_id)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.board.forget(self.inbox.id);
        self.hub.listeners.forget(self.inbox.holder.account, self.inbox.id);
        let followed = std::mem::take(&mut *locked(&self.inbox.followed));
        let mut desk = locked(&self.hub.desk);
        for Followed { thread_id, .. } in followed {
            desk.forget(thread_id, self.inbox.id);
        }
        desk.streams.remove(&self.inbox.id);
        let account = self.inbox.holder.account;
        if let Some(count) = desk.counts.get_mut(&account) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                desk.counts.remove(&account);
            }
        }
    }
}

impl Desk {
    fn forget(&mut self, thread_id: ThreadId, stream: ConnectionId) {
        if let Some(followers) = self.followers.get_mut(&thread_id) {
            followers.retain(|inbox| inbox.id != stream);
            if followers.is_empty() {
                self.followers.remove(&thread_id);
            }
        }
    }
}

impl Hub {
    /// Without streams yet.
    pub fn new(bus: Arc<dyn Bus>, limits: Limits, streams_per_account_max: usize) -> Self {
        Self {
            bus,
            limits,
            streams_per_account_max,
            desk: Mutex::default(),
            board: Board::default(),
            listeners: Listeners::default(),
            doubt: Notify::new(),
        }
    }

    /// How many streams are open, and how many threads are followed.
    pub fn census(&self) -> (usize, usize) {
        let desk = locked(&self.desk);
        (desk.streams.len(), desk.followers.len())
    }

    /// All streams that are open.
    pub fn streams(&self) -> Vec<Arc<Inbox>> {
        locked(&self.desk).streams.values().cloned().collect()
    }

    /// A stream that is open here.
    pub fn stream(&self, id: ConnectionId) -> Option<Arc<Inbox>> {
        locked(&self.desk).streams.get(&id).cloned()
    }

    /// Whose presence is watched here.
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// Whose own logs are told here.
    pub const fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Says that somebody may have lost what they follow.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Waits until somebody may have lost what they follow.
    pub async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Takes a stream in.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`] when the account has too many.
    pub fn register(self: &Arc<Self>, holder: Holder, id: ConnectionId) -> Result<Registration, Error> {
        let mut desk = locked(&self.desk);
        let count = desk.counts.entry(holder.account).or_default();
        if *count >= self.streams_per_account_max {
            return Err(Error::TooManyStreams(*count));
        }
        *count = count.saturating_add(1);
        let inbox = Arc::new(Inbox {
            id,
            holder,
            followed: Mutex::default(),
            expires_at: Mutex::new(holder.expires_at),
            backlog: Mutex::new(Backlog::new(self.limits)),
            filled: Notify::new(),
            ended: SetOnce::new(),
        });
        desk.streams.insert(id, Arc::clone(&inbox));
        Ok(Registration { hub: Arc::clone(self), inbox })
    }

    /// The signal that an event was committed.
    pub fn hint(event: &Event) -> Signal {
        // Events are plain values; their JSON cannot fail.
        let inline = serde_json::to_vec(event).ok().filter(|body| body.len() <= bus::INLINE_BYTES_MAX);
        Signal::Hint(Hint { thread: event.thread_id.uuid(), seq: event.seq, inline: inline.map(Arc::from) })
    }

    /// Sends what is stored nowhere to everybody whom it concerns.
    pub fn pass(&self, fleeting: &Fleeting) {
        if let Ok(body) = serde_json::to_vec(fleeting) {
            let body = Arc::from(body);
            self.bus.publish(Signal::Passing(Passing { about: fleeting.about(), body }));
        }
    }

    /// Carries news from the bus to the streams, and looks after what the bus lost, until `stop`.
    pub async fn run(&self, db: &Db, backstop: Duration, stop: &CancellationToken) {
        let missed = Notify::new();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.listen(&missed) => {}
            () = self.look_after(db, backstop, &missed) => {}
        }
    }

    async fn listen(&self, missed: &Notify) {
        let mut listener = self.bus.listen();
        while let Some(heard) = listener.next().await {
            match heard {
                Heard::Signal(signal) => self.carry(&signal),
                Heard::Missed => missed.notify_one(),
            }
        }
    }

    async fn look_after(&self, db: &Db, backstop: Duration, missed: &Notify) {
        loop {
            if let Err(error) = self.look(db).await {
                tracing::warn!(error = %error.chain(), "the positions of followed threads cannot be read");
            }
            tokio::select! {
                () = missed.notified() => tokio::time::sleep(MISSED_PAUSE).await,
                () = tokio::time::sleep(backstop) => {}
            }
        }
    }

    /// Leaves a signal's news with those who follow the thread.
    pub fn carry(&self, signal: &Signal) {
        match signal {
            Signal::Hint(hint) => {
                if self.listeners.hear(hint.thread, hint.seq) {
                    return;
                }
                let thread_id = ThreadId::from_uuid(hint.thread);
                let followers = self.followers(thread_id);
                if followers.is_empty() {
                    return;
                }
                // What this version cannot read is only a position to it.
                let event: Option<Arc<Event>> =
                    hint.inline.as_deref().and_then(|body| serde_json::from_slice(body).ok()).map(Arc::new);
                if event.as_deref().is_some_and(Event::ends_membership) {
                    // A hint may be an old one, so that it is not believed: the memberships are looked at.
                    self.doubt();
                }
                for inbox in followers {
                    inbox.leave(|backlog| match &event {
                        Some(event) => backlog.event(Arc::clone(event)),
                        None => backlog.head(thread_id, hint.seq),
                    });
                }
            }
            Signal::Passing(passing) => self.carry_passing(passing),
        }
    }

    fn carry_passing(&self, passing: &Passing) {
        let followers = self.followers(ThreadId::from_uuid(passing.about));
        let stream = self.stream(ConnectionId::from_uuid(passing.about));
        let listened = self.listeners.doubt(AccountId::from_uuid(passing.about));
        if listened || (followers.is_empty() && stream.is_none() && !passing.about.is_nil()) {
            return;
        }
        // What this version cannot read it does without.
        let Ok(fleeting) = serde_json::from_slice(&passing.body) else { return };
        match fleeting {
            Fleeting::Delta(delta) => {
                let delta = Arc::new(delta);
                for inbox in followers {
                    inbox.leave(|backlog| backlog.delta(&delta));
                }
            }
            // Nobody is told of their own writing, or of that of whom they do not want to hear.
            Fleeting::Typing(TypingNotice { typing, unheard }) => {
                let told = |inbox: &&Arc<Inbox>| {
                    let account = inbox.holder.account;
                    account != typing.account_id && !unheard.contains(&account)
                };
                for inbox in followers.iter().filter(told) {
                    inbox.leave(|backlog| backlog.typing(typing));
                }
            }
            Fleeting::Presence { accounts } => self.board.doubt(&accounts),
            // Of an account that nobody listens to here.
            Fleeting::Read { .. } => {}
            Fleeting::Change { .. } => {
                if let Some(stream) = stream {
                    stream.ring_changes();
                }
            }
        }
    }

    /// Reads how far the followed threads and the logs that are told have come, and leaves it with those who follow
    /// them.
    async fn look(&self, db: &Db) -> Result<(), db::Error> {
        let threads: Vec<ThreadId> = locked(&self.desk).followers.keys().copied().collect();
        for part in threads.chunks(BACKSTOP_HEADS) {
            let mut conn = db.conn(Scope::System("chat.backstop")).await?;
            let heads = store::heads(&mut conn, part).await?;
            drop(conn);
            for (thread_id, seq) in heads {
                for inbox in self.followers(thread_id) {
                    inbox.leave_head(thread_id, seq);
                }
            }
        }
        for part in self.listeners.accounts().chunks(BACKSTOP_HEADS) {
            let mut conn = db.conn(Scope::System("chat.backstop")).await?;
            let heads = account_log::heads(&mut conn, part).await?;
            drop(conn);
            for (account, seq) in heads {
                self.listeners.hear(account.uuid(), seq);
            }
        }
        Ok(())
    }

    fn followers(&self, thread_id: ThreadId) -> Vec<Arc<Inbox>> {
        locked(&self.desk).followers.get(&thread_id).cloned().unwrap_or_default()
    }
}

/// The data behind these locks are whole after every step, so a panic elsewhere does not spoil them.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
