//! What can be done with conversations, and who may.
//!
//! A thread is seen by those who are members both of it and of its organisation. For everybody else it does not exist:
//! every way to ask for it ends in the same words.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Options;
use super::error::Error;
use super::homes::Homes;
use super::hub::{Holder, Hub, Registration};
use super::model::feed::{Feed, Read};
use super::model::frame::Wish;
use super::model::{Actor, Draft, Event, Message, MessageId, TITLE_CHARS_MAX, Thread, ThreadId};
use super::store::{self, ThreadsAfter, Turn, TurnState};
use super::stream::{self, Frames, Words};
use super::turn::AgentTurn;
use crate::ai::{Provider, Toolbox};
use crate::auth::{self, Caller};
use crate::base::{AccountId, OrganizationId, Violations, World, text};
use crate::bus::Bus;
use crate::db::{Db, Scope, Session, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::jobs;
use crate::market::{self, ListingId};

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
    outside: Outside,
}

/// A new thread.
#[derive(Clone, Debug)]
pub struct CreateThread {
    /// The organisation; the caller's personal one when none.
    pub organization_id: Option<OrganizationId>,
    /// What it is called: one line, at most [`TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// The agent that is to answer in it.
    pub listing_id: Option<ListingId>,
}

impl CreateThread {
    /// Checks what came in, after the violations found so far.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(
        mut violations: Violations,
        organization_id: Option<OrganizationId>,
        title: &str,
        listing_id: Option<ListingId>,
    ) -> Result<Self, Violations> {
        let title = text::optional_line(&mut violations, "title", title, TITLE_CHARS_MAX);
        violations.finish().map(|()| Self { organization_id, title, listing_id })
    }
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

/// What became of a message.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// Whether it had been written before.
    pub duplicate: bool,
    /// Whether an agent's answer is still to come.
    pub awaits_answer: bool,
}

impl Service {
    /// The domain over these.
    pub fn new(db: Db, world: World, options: Options, outside: Outside) -> Self {
        let hub = Hub::new(Arc::clone(&outside.bus), options.backlog, options.streams_per_account_max);
        Self { db, world, options, hub: Arc::new(hub), homes: Homes::default(), outside }
    }

    /// Carries news to the streams, and looks whether their callers may go on, until the drain. To be run once, on a
    /// task of its own.
    pub async fn run(&self) {
        tokio::join!(
            self.hub.run(&self.db, self.options.backstop, &self.outside.drain),
            self.watch(&self.outside.drain)
        );
    }

    /// The streams of this node.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Opens a thread.
    pub async fn create_thread(
        &self,
        caller: &Caller,
        command: CreateThread,
        key: Option<&RequestKey>,
    ) -> Result<Thread, Error> {
        let account = caller.account()?;
        let organization_id = self.organization(caller, command.organization_id).await?;
        let mut tx = self.db.begin(Scope::Organization(organization_id)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(thread) => return Ok(thread),
            Claim::New(slot) => slot,
        };
        if let Some(listing_id) = command.listing_id {
            let agent = market::store::installed(&mut tx, organization_id, listing_id).await?;
            agent.ok_or(Error::AgentNotInstalled)?;
        }
        let now = self.world.now();
        let thread = Thread {
            id: self.world.id(),
            organization_id,
            created_by: account,
            title: command.title,
            listing_id: command.listing_id,
            last_seq: 0,
            epoch: 1,
            created_at: now,
            updated_at: now,
        };
        store::insert_thread(&mut tx, &thread).await?;
        store::insert_member(&mut tx, &thread, account, now).await?;
        let entry = caller.entry("chat.create_thread").of(organization_id).on("thread", thread.id);
        self.outside.auth.audit().record(&mut tx, entry.changed(&(), &thread)).await?;
        slot.store(&mut tx, &thread).await?;
        tx.commit().await?;
        Ok(thread)
    }

    /// Reads a thread.
    pub async fn thread(&self, caller: &Caller, thread_id: ThreadId) -> Result<Thread, Error> {
        Ok(self.open(caller, thread_id).await?.1)
    }

    /// A page of the caller's threads in an organisation.
    pub async fn threads(
        &self,
        caller: &Caller,
        organization_id: Option<OrganizationId>,
        after: Option<ThreadsAfter>,
        limit: i64,
    ) -> Result<Vec<Thread>, Error> {
        let account = caller.account()?;
        let organization_id = self.organization(caller, organization_id).await?;
        let mut conn = self.db.conn(Scope::Organization(organization_id)).await?;
        Ok(store::threads(&mut conn, organization_id, account, after, limit).await?)
    }

    /// Writes a message, once for its key. In a thread with an agent the same transaction queues the agent's turn.
    ///
    /// Every statement between the lock on the thread and the commit keeps others waiting, so that there are no more of
    /// them than the write needs: the organisation is asked about before, and a key that was used is found by the
    /// insert.
    pub async fn send(&self, caller: &Caller, draft: Draft) -> Result<Sent, Error> {
        let account = caller.account()?;
        let organization_id = self.home_of_member(caller, draft.thread_id).await?;
        let mut tx = self.db.begin(Scope::Organization(organization_id)).await?;
        let now = self.world.now();
        // Locks the thread: of two sendings with one key the second waits here, and then finds the first.
        let thread =
            store::advance_for_member(&mut tx, organization_id, draft.thread_id, account, now).await?;
        let thread = thread.ok_or(Error::ThreadNotFound)?;
        let digest = draft.digest();
        let message = Message {
            id: self.world.id(),
            thread_id: thread.id,
            seq: thread.last_seq,
            author: Actor::Account(account),
            client_message_id: Some(draft.client_message_id),
            reply_to: None,
            text: draft.text,
            created_at: now,
        };
        if !store::insert_message(&mut tx, organization_id, &message, Some(digest)).await? {
            // The transaction is dropped, and with it the position taken.
            return self.sent_before(tx, &thread, account, draft.client_message_id, digest).await;
        }
        self.record(&mut tx, organization_id, Event::created(message.clone())).await?;
        if let Some(listing_id) = thread.listing_id {
            self.begin_turn(&mut tx, &thread, &message, listing_id, caller.grant.is_some()).await?;
        }
        tx.commit().await?;
        Ok(Sent { message, duplicate: false, awaits_answer: thread.listing_id.is_some() })
    }

    /// Reads a message.
    pub async fn message(&self, caller: &Caller, message_id: MessageId) -> Result<Message, Error> {
        let account = caller.account()?;
        let mut conn = self.db.conn(Scope::System("chat.locate")).await?;
        let home = store::organization_of_message(&mut conn, message_id).await?;
        drop(conn);
        let organization_id = home.ok_or(Error::MessageNotFound)?;
        let mut conn = self.db.conn(Scope::Organization(organization_id)).await?;
        auth::access::member(&mut conn, caller, organization_id)
            .await
            .map_err(|error| unseen(error, Error::MessageNotFound))?;
        let message = store::message(&mut conn, organization_id, message_id).await?;
        let message = message.ok_or(Error::MessageNotFound)?;
        store::thread_of_member(&mut conn, organization_id, message.thread_id, account)
            .await?
            .ok_or(Error::MessageNotFound)?;
        Ok(message)
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

    /// Follows threads.
    pub async fn subscribe(self: &Arc<Self>, caller: Caller, wishes: &[Wish]) -> Result<Frames, Error> {
        let registration = self.register(&caller)?;
        let mut feed = Feed::new();
        for wish in wishes {
            self.follow(&caller, &registration, &mut feed, wish).await?;
        }
        Ok(stream::subscribe(self, caller, registration, feed))
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
            session: caller.session,
            key: caller.grant.as_ref().and_then(|grant| grant.key),
            expires_at: caller.expires_at,
        };
        self.hub.register(holder, self.world.id())
    }

    pub(super) async fn follow(
        &self,
        caller: &Caller,
        registration: &Registration,
        feed: &mut Feed,
        wish: &Wish,
    ) -> Result<(), Error> {
        let thread = self.thread(caller, wish.thread_id).await?;
        registration.follow(thread.id, thread.organization_id);
        let known = feed.follow(wish, thread.last_seq, thread.epoch);
        registration.told(thread.id, known);
        Ok(())
    }

    /// A page of events for a stream that follows the thread.
    pub(super) async fn page(&self, home: OrganizationId, read: Read) -> Result<Vec<Event>, Error> {
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        let limit = i64::try_from(read.limit).unwrap_or(i64::MAX);
        Ok(store::events_after(&mut conn, home, read.thread_id, (read.after, i64::MAX), limit).await?)
    }

    /// Writes a message and the event of it, and hints at it after the commit.
    pub(super) async fn write(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        message: &Message,
        digest: Option<[u8; 32]>,
    ) -> Result<(), Error> {
        store::insert_message(tx, organization_id, message, digest).await?;
        self.record(tx, organization_id, Event::created(message.clone())).await
    }

    /// Writes an event, and hints at it after the commit.
    pub(super) async fn record(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        event: Event,
    ) -> Result<(), Error> {
        store::insert_event(tx, organization_id, &event).await?;
        let bus = Arc::clone(&self.outside.bus);
        tx.after_commit(move || bus.publish(Hub::hint(&event)));
        Ok(())
    }

    async fn begin_turn(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        message: &Message,
        listing_id: ListingId,
        by_program: bool,
    ) -> Result<(), Error> {
        let turn = Turn {
            message_id: message.id,
            thread_id: thread.id,
            organization_id: thread.organization_id,
            listing_id,
            answer_id: self.world.id(),
            by_program,
            state: TurnState::Pending,
        };
        store::insert_turn(tx, &turn, message.created_at).await?;
        let job = AgentTurn { organization_id: thread.organization_id, message_id: message.id };
        Ok(jobs::push(tx, &self.world, Some(thread.organization_id), &job).await?)
    }

    /// What became of the message that the key was used for before.
    async fn sent_before(
        &self,
        mut tx: Tx,
        thread: &Thread,
        account: AccountId,
        key: Uuid,
        digest: [u8; 32],
    ) -> Result<Sent, Error> {
        let home = thread.organization_id;
        let used = store::message_by_key(&mut tx, home, thread.id, account, key).await?;
        let (message_id, used_for) = used.ok_or(Error::Broken(None))?;
        if used_for != digest {
            return Err(idempotency::Error::Reused.into());
        }
        let message = store::message(&mut tx, home, message_id).await?.ok_or(Error::MessageNotFound)?;
        let turn = store::turn(&mut tx, home, message_id).await?;
        let awaits_answer = turn.is_some_and(|turn| turn.state == TurnState::Pending);
        Ok(Sent { message, duplicate: true, awaits_answer })
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

    /// The organisation of a thread, whoever asks.
    async fn home(&self, thread_id: ThreadId) -> Result<OrganizationId, Error> {
        if let Some(home) = self.homes.recall(thread_id) {
            return Ok(home);
        }
        let mut conn = self.db.conn(Scope::System("chat.locate")).await?;
        let home = store::organization_of_thread(&mut conn, thread_id).await?.ok_or(Error::ThreadNotFound)?;
        self.homes.remember(thread_id, home);
        Ok(home)
    }

    /// A thread that the caller may see, and a session in its organisation.
    async fn open(&self, caller: &Caller, thread_id: ThreadId) -> Result<(Session, Thread), Error> {
        let account = caller.account()?;
        let home = self.home(thread_id).await?;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        auth::access::member(&mut conn, caller, home)
            .await
            .map_err(|error| unseen(error, Error::ThreadNotFound))?;
        let thread = store::thread_of_member(&mut conn, home, thread_id, account).await?;
        Ok((conn, thread.ok_or(Error::ThreadNotFound)?))
    }

    /// The organisation of a thread, which the caller belongs to.
    async fn home_of_member(&self, caller: &Caller, thread_id: ThreadId) -> Result<OrganizationId, Error> {
        let home = self.home(thread_id).await?;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        auth::access::member(&mut conn, caller, home)
            .await
            .map_err(|error| unseen(error, Error::ThreadNotFound))?;
        Ok(home)
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

/// Whoever is not a member of the organisation is told the same as about a thing that does not exist.
fn unseen(error: auth::Error, instead: Error) -> Error {
    if matches!(error, auth::Error::OrganizationNotFound) { instead } else { error.into() }
}
