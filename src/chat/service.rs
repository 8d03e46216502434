//! What can be done with conversations, and who may.
//!
//! A thread is seen by those who are members both of it and of its organisation, and a support thread by the staff that
//! took it up. For everybody else it does not exist:
//! every way to ask for it ends in the same words.

mod account;
mod attachments;
mod conduct;
mod connections;
mod export;
mod members;
mod messages;
mod policy;
mod reactions;
mod search;
mod sending;
mod support;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use super::connections::Connections;
use super::error::Error;
use super::files::Files;
use super::homes::Homes;
use super::hub::{Holder, Hub, Registration};
use super::model::feed::Feed;
use super::model::frame::Opening;
use super::model::member::ThreadRole;
use super::model::plan::Allowed;
use super::model::search::found_by;
use super::model::{Actor, Change, Event, Message, Thread, ThreadId};
use super::reading::Reading;
use super::sight::{self, Looks};
use super::stream::{self, Frames, Words};
use super::{receipts, store};
use crate::ai::{Provider, Toolbox};
use crate::auth::{self, Caller};
use crate::base::{AccountId, OrganizationId, World};
use crate::bus::Bus;
use crate::db::{Conn, Db, Scope, Session, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use sending::Sendings;

pub use attachments::{Download, Link, Upload};
pub use conduct::Reported;
pub use connections::Kept;
pub use export::Exporting;
pub use messages::{Changed, SeenMessage};
pub(super) use policy::not_held;
pub use policy::{PolicyOf, UpdateChatPolicy};
pub use search::{Found, FoundPage, SearchMessages};
pub use sending::Sent;
pub use support::ListSupport;
pub(super) use support::serving_among;
pub(super) use threads::PLACEMENT;
pub use threads::{CreateThread, UpdateThread};

/// Where something is at home is looked up for whoever asks: what they may see of it is asked next.
const LOCATE: Scope = Scope::System("chat.locate");

/// What this domain needs beside the database.
pub struct Outside {
    /// Whether a stream's caller may go on.
    pub auth: Arc<auth::Service>,
    /// Hints to other nodes.
    pub bus: Arc<dyn Bus>,
    /// Whoever writes the agents' answers.
    pub provider: Arc<dyn Provider>,
    /// What agents may have done.
    pub tools: Toolbox,
    /// Where files are kept, and who looks into them.
    pub files: Files,
    /// Cancelled when the server shuts down: every stream says goodbye and ends.
    pub drain: CancellationToken,
    /// Where the streams' tasks are tracked.
    pub tasks: TaskTracker,
}

/// Conversations.
pub struct Service {
    db: Db,
    world: World,
    options: Options,
    hub: Arc<Hub>,
    homes: Homes,
    connections: Connections,
    receipts: receipts::Place,
    sendings: Sendings,
    pub(super) looks: Looks,
    pub(super) reading: Reading,
    outside: Outside,
}

/// A message that is to be written.
struct Fresh<'m> {
    message: &'m Message,
    /// What its key is used for; none for an agent's message.
    digest: Option<[u8; 32]>,
    /// The words that it is found by.
    words: &'m [String],
}

/// Which events of a thread are wanted.
#[derive(Clone, Copy, Debug)]
pub struct ListEvents {
    /// The thread.
    pub thread_id: ThreadId,
    /// Only those after.
    pub after: i64,
    /// Only those before.
    pub before: i64,
    /// Whether to begin with the newest.
    pub newest_first: bool,
    /// How many at most.
    pub limit: i64,
}

impl Service {
    /// The domain over these.
    pub fn new(db: Db, world: World, options: Options, outside: Outside) -> Self {
        let hub = Hub::new(Arc::clone(&outside.bus), options.backlog, options.streams_per_account_max);
        let (connections, reading) = (Connections::of(world.id()), Reading::of(&db));
        let sendings = sending::batches(options.messages_together_max);
        Self {
            db,
            world,
            options,
            hub: Arc::new(hub),
            connections,
            homes: Homes::default(),
            receipts: receipts::Place::default(),
            sendings,
            looks: sight::looks(),
            reading,
            outside,
        }
    }

    /// Carries news to the streams, looks whether their callers may go on, tells how far people have read, what is
    /// unread and who is there, until the drain. To be run once, on a task of its own.
    pub async fn run(&self) {
        tokio::join!(
            self.hub.run(&self.db, self.options.backstop, &self.outside.drain),
            Box::pin(self.watch(&self.outside.drain)),
            Box::pin(self.watch_receipts(&self.outside.drain)),
            Box::pin(self.watch_presence(&self.outside.drain)),
            Box::pin(self.watch_unread(&self.outside.drain)),
            Box::pin(self.keep_node(&self.outside.drain))
        );
    }

    /// The streams of this node.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// A page of a thread's events.
    pub async fn events(&self, caller: &Caller, wanted: ListEvents) -> Result<Vec<Event>, Error> {
        let (mut conn, thread) = self.open(caller, wanted.thread_id).await?;
        let (home, bounds) = (thread.organization_id, (wanted.after, wanted.before));
        let events = if wanted.newest_first {
            store::events_before(&mut conn, home, thread.id, bounds, wanted.limit).await?
        } else {
            store::events_after(&mut conn, home, thread.id, bounds, wanted.limit).await?
        };
        Ok(events)
    }

    /// Follows threads, and watches whether people are there.
    pub async fn subscribe(self: &Arc<Self>, caller: Caller, opening: Opening) -> Result<Frames, Error> {
        let registration = self.register(&caller)?;
        let mut feed = Feed::new();
        for wish in &opening.follow {
            self.follow(&caller, &registration, &mut feed, wish).await?;
        }
        let through = self.check_watched(&caller, &opening.watch).await?;
        Ok(stream::subscribe(self, caller, registration, feed, opening, &through))
    }

    /// Follows threads and takes requests over one stream.
    pub fn converse(self: &Arc<Self>, caller: Caller, words: Words) -> Result<Frames, Error> {
        let registration = self.register(&caller)?;
        Ok(stream::converse(self, caller, registration, words))
    }

    fn register(&self, caller: &Caller) -> Result<Registration, Error> {
        if self.outside.drain.is_cancelled() {
            return Err(Error::Draining(self.reconnect_after()));
        }
        let holder = Holder {
            account: caller.account()?,
            credential: caller.credential()?,
            by_person: caller.grant.is_none(),
            session: caller.session,
            key: caller.grant.as_ref().and_then(|grant| grant.key),
            expires_at: caller.expires_at,
        };
        self.hub.register(holder, self.world.id())
    }

    /// Writes a message and the event of it, and hints at it after the commit.
    pub(super) fn write(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        message: &Message,
        digest: Option<[u8; 32]>,
    ) -> Result<(), Error> {
        let words = found_by(&message.text);
        self.write_all(tx, organization_id, &[Fresh { message, digest, words: &words }])
    }

    /// Writes messages and the events of them, and hints at them after the commit.
    fn write_all(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        messages: &[Fresh<'_>],
    ) -> Result<(), Error> {
        let rows: Vec<_> = messages.iter().map(|fresh| (fresh.message, fresh.digest)).collect();
        store::insert_messages(tx, organization_id, &rows)?;
        let words: Vec<_> = messages.iter().map(|fresh| (fresh.message, fresh.words)).collect();
        store::insert_words(tx, organization_id, &words)?;
        let events = messages.iter().map(|fresh| Event::created(fresh.message.clone())).collect();
        self.record_all(tx, organization_id, events)
    }

    /// Writes an event, and hints at it after the commit.
    pub(super) fn record(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        event: Event,
    ) -> Result<(), Error> {
        self.record_all(tx, organization_id, vec![event])
    }

    /// Writes events, and hints at them in their order after the commit.
    fn record_all(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        events: Vec<Event>,
    ) -> Result<(), Error> {
        store::insert_events(tx, organization_id, &events)?;
        let bus = Arc::clone(&self.outside.bus);
        tx.after_commit(move || events.iter().for_each(|event| bus.publish(Hub::hint(event))));
        Ok(())
    }

    /// The organisation that a request names, checked.
    async fn organization(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
    ) -> Result<OrganizationId, Error> {
        let mut conn = self.db.conn(Scope::System("chat.resolve_organization")).await?;
        Ok(auth::access::resolve(&mut conn, caller, named).await?)
    }

    /// Keeps the answer of a call that changed nothing, for repetitions of it. Its transaction is dropped first, and
    /// with it the position that it took.
    async fn keep_answer<A: Serialize + DeserializeOwned>(
        &self,
        tx: Tx,
        caller: &Caller,
        key: Option<&RequestKey>,
        answer: &A,
    ) -> Result<(), Error> {
        let scope = tx.scope();
        drop(tx);
        if key.is_none() {
            return Ok(());
        }
        let mut tx = self.db.begin(scope).await?;
        // Another call with this key may have kept it meanwhile.
        if let Claim::New(slot) = idempotency::claim::<A>(&mut tx, &self.world, caller, key).await? {
            slot.store(&mut tx, answer).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Has it looked, after the commit, who may still see what they follow.
    fn doubt_after(&self, tx: &mut Tx) {
        let hub = Arc::clone(&self.hub);
        tx.after_commit(move || hub.doubt());
    }

    /// Where a thread is at home, if there is one.
    async fn locate_thread(&self, thread_id: ThreadId) -> Result<Option<OrganizationId>, Error> {
        match self.home(thread_id).await {
            Ok(home) => Ok(Some(home)),
            Err(Error::ThreadNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a change of what is at home there. What does not exist is at home nowhere: that is said only after the
    /// request's key was looked at, so that every repetition gets the answer of the first call.
    async fn begin_in(&self, home: Option<OrganizationId>) -> Result<Tx, Error> {
        Ok(self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?)
    }

    /// What the organisation may have where something is at home, if there is such a thing; whoever asks.
    async fn allowed(&self, home: Option<OrganizationId>) -> Result<Option<Allowed>, Error> {
        let Some(home) = home else { return Ok(None) };
        Ok(Some(self.outside.files.allowance.allowed(home).await?))
    }

    /// The organisation of a thread, whoever asks.
    async fn home(&self, thread_id: ThreadId) -> Result<OrganizationId, Error> {
        if let Some(home) = self.homes.recall(thread_id) {
            return Ok(home);
        }
        let mut conn = self.db.conn(LOCATE).await?;
        let home = store::organization_of_thread(&mut conn, thread_id).await?.ok_or(Error::ThreadNotFound)?;
        self.homes.remember(thread_id, home);
        Ok(home)
    }

    /// A thread that the caller may see, and a session in its organisation.
    pub(super) async fn open(
        &self,
        caller: &Caller,
        thread_id: ThreadId,
    ) -> Result<(Session, Thread), Error> {
        let (mut conn, home) = self.session_of(caller, thread_id).await?;
        let thread = store::thread_of_member(&mut conn, home, thread_id, caller.account()?).await?;
        Ok((conn, thread.ok_or(Error::ThreadNotFound)?))
    }

    /// A session in the organisation of a thread, which the caller belongs to, or supports.
    async fn session_of(
        &self,
        caller: &Caller,
        thread_id: ThreadId,
    ) -> Result<(Session, OrganizationId), Error> {
        let home = self.home(thread_id).await?;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        admitted(&mut conn, caller, Some((home, thread_id)), Error::ThreadNotFound).await?;
        Ok((conn, home))
    }

    /// Gives out the next position of a thread to a caller who may write in it, and locks the thread. Whether they may
    /// is asked under the lock: whoever ends a membership, or makes a reader of somebody, takes it too.
    ///
    /// For a message. In a thread with the support staff it is the others' turn then.
    async fn write_in(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        thread_id: ThreadId,
        account: AccountId,
    ) -> Result<Thread, Error> {
        let (thread, role) = self.change_in(tx, organization_id, thread_id, account).await?;
        self.note_turn(tx, &thread, role).await?;
        Ok(thread)
    }

    /// As [`Self::write_in`], for what changes or answers what was said before. Tells the caller's role too.
    async fn change_in(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        thread_id: ThreadId,
        account: AccountId,
    ) -> Result<(Thread, ThreadRole), Error> {
        let thread = store::advance(tx, organization_id, thread_id, self.world.now()).await?;
        let member = store::member(tx, organization_id, thread_id, account).await?;
        let (thread, member) = thread.zip(member).ok_or(Error::ThreadNotFound)?;
        if member.role == ThreadRole::Reader {
            return Err(Error::ReadOnly);
        }
        conduct::hear_each_other(tx, &thread, account).await?;
        Ok((thread, member.role))
    }

    /// Writes that `actor` changed a thread, at the position that was just given out.
    pub(super) fn note(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        actor: Actor,
        change: Change,
    ) -> Result<(), Error> {
        let (thread_id, seq, at) = (thread.id, thread.last_seq, self.world.now());
        self.record(tx, thread.organization_id, Event { thread_id, seq, actor, at, change })
    }

    /// Writes a further change of a thread that is locked, at a position of its own.
    async fn note_also(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        actor: Actor,
        change: Change,
    ) -> Result<(), Error> {
        let next = store::advance(tx, thread.organization_id, thread.id, self.world.now()).await?;
        self.note(tx, &next.ok_or(Error::ThreadNotFound)?, actor, change)
    }

    pub(super) const fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(super) const fn receipts_place(&self) -> &receipts::Place {
        &self.receipts
    }

    pub(super) const fn db(&self) -> &Db {
        &self.db
    }

    pub(super) const fn world(&self) -> &World {
        &self.world
    }

    pub(super) const fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn auth(&self) -> &auth::Service {
        &self.outside.auth
    }

    pub(super) fn provider(&self) -> &dyn Provider {
        &*self.outside.provider
    }

    pub(super) const fn tools(&self) -> &Toolbox {
        &self.outside.tools
    }

    pub(super) const fn files(&self) -> &Files {
        &self.outside.files
    }

    pub(super) const fn drain(&self) -> &CancellationToken {
        &self.outside.drain
    }

    pub(super) const fn tasks(&self) -> &TaskTracker {
        &self.outside.tasks
    }

    /// When a client is to come back, spread so that not all come at once.
    pub(super) fn reconnect_after(&self) -> Duration {
        let spread = u64::try_from(self.options.reconnect_spread.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.world.below(spread))
    }
}

/// The organisation where something of a thread is at home, if the caller belongs to it, or supports the thread.
async fn admitted(
    conn: &mut impl Conn,
    caller: &Caller,
    place: Option<(OrganizationId, ThreadId)>,
    instead: Error,
) -> Result<OrganizationId, Error> {
    let Some((home, thread_id)) = place else { return Err(instead) };
    match support::role_around(conn, caller, home, thread_id).await {
        Ok(_) => Ok(home),
        Err(Error::Auth(error)) => Err(unseen(error, instead)),
        Err(error) => Err(error),
    }
}

/// Whoever is not a member of the organisation is told the same as about a thing that does not exist.
fn unseen(error: auth::Error, instead: Error) -> Error {
    if matches!(error, auth::Error::OrganizationNotFound) { instead } else { error.into() }
}
