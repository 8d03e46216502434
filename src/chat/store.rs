//! The rows of conversations.
//!
//! Positions are given out by [`advance`] alone, whose row lock holds until the transaction ends.

use uuid::Uuid;

use super::model::{Actor, Change, Event, Message, MessageId, Thread, ThreadId};
use crate::base::{AccountId, Id, OrganizationId, Timestamp};
use crate::db::{self, Conn, Json, Tx};
use crate::market::ListingId;

/// The organisation that a thread belongs to. Asked in the platform's own scope: the caller may not see the thread.
pub async fn organization_of_thread(
    conn: &mut impl Conn,
    thread_id: ThreadId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM threads WHERE id = $1").bind(thread_id).optional().await?;
    Ok(row.map(|(organization_id,)| organization_id))
}

/// The organisation that a message belongs to. Asked in the platform's own scope, as above.
pub async fn organization_of_message(
    conn: &mut impl Conn,
    message_id: MessageId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM messages WHERE id = $1").bind(message_id).optional().await?;
    Ok(row.map(|(organization_id,)| organization_id))
}

/// Writes a new thread.
pub async fn insert_thread(tx: &mut Tx, thread: &Thread) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO threads (id, organization_id, created_by, title, listing_id, last_seq, epoch,
                              created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(thread.id)
    .bind(thread.organization_id)
    .bind(thread.created_by)
    .bind(thread.title.clone())
    .bind(thread.listing_id)
    .bind(thread.last_seq)
    .bind(thread.epoch)
    .bind(thread.created_at)
    .bind(thread.updated_at)
    .execute()
    .await?;
    Ok(())
}

/// Makes an account a member of a thread.
pub async fn insert_member(
    tx: &mut Tx,
    thread: &Thread,
    account_id: AccountId,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO thread_members (thread_id, account_id, organization_id, created_at)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(thread.id)
    .bind(account_id)
    .bind(thread.organization_id)
    .bind(at)
    .execute()
    .await?;
    Ok(())
}

/// Ends an account's membership of a thread; whether there was one.
pub async fn delete_member(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
) -> Result<bool, db::Error> {
    let gone = tx
        .sql("DELETE FROM thread_members WHERE organization_id = $1 AND thread_id = $2 AND account_id = $3")
        .bind(organization_id)
        .bind(thread_id)
        .bind(account_id)
        .execute()
        .await?;
    Ok(gone == 1)
}

/// A thread, if the account is a member of it.
pub async fn thread_of_member(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
) -> Result<Option<Thread>, db::Error> {
    let row: Option<ThreadRow> = conn
        .sql(
            "SELECT t.id, t.organization_id, t.created_by, t.title, t.listing_id, t.last_seq, t.epoch,
                    t.created_at, t.updated_at
             FROM threads t JOIN thread_members m ON m.thread_id = t.id AND m.account_id = $3
             WHERE t.organization_id = $1 AND t.id = $2",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(account_id)
        .optional()
        .await?;
    Ok(row.map(Thread::from))
}

/// Those of the threads named that the account is a member of.
pub async fn threads_of_member(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    account_id: AccountId,
    threads: &[ThreadId],
) -> Result<Vec<ThreadId>, db::Error> {
    let rows: Vec<(ThreadId,)> = conn
        .sql(
            "SELECT thread_id FROM thread_members
             WHERE organization_id = $1 AND account_id = $2 AND thread_id IN $list",
        )
        .bind(organization_id)
        .bind(account_id)
        .list(threads.iter().copied())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(thread_id,)| thread_id).collect())
}

/// Where a page of threads goes on: after the thread that was used at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ThreadsAfter {
    /// When it was used.
    pub updated_at: Timestamp,
    /// Which it is.
    pub id: ThreadId,
}

/// A page of an account's threads, the most recently used first.
pub async fn threads(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    account_id: AccountId,
    after: Option<ThreadsAfter>,
    limit: i64,
) -> Result<Vec<Thread>, db::Error> {
    // The end of time stands for "from the start": both engines compare the pair as a row.
    let after = after.unwrap_or(ThreadsAfter { updated_at: END_OF_TIME, id: Id::from_uuid(Uuid::max()) });
    let rows: Vec<ThreadRow> = conn
        .sql(
            "SELECT t.id, t.organization_id, t.created_by, t.title, t.listing_id, t.last_seq, t.epoch,
                    t.created_at, t.updated_at
             FROM threads t JOIN thread_members m ON m.thread_id = t.id AND m.account_id = $2
             WHERE t.organization_id = $1 AND (t.updated_at, t.id) < ($3, $4)
             ORDER BY t.updated_at DESC, t.id DESC LIMIT $5",
        )
        .bind(organization_id)
        .bind(account_id)
        .bind(after.updated_at)
        .bind(after.id)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Thread::from).collect())
}

/// 9999-12-31, which both engines can store.
const END_OF_TIME: Timestamp = Timestamp::from_seconds(253_402_214_400);

/// Gives out the next position of a thread, and returns the thread as it stands then. The thread stays locked until the
/// transaction ends, so positions are committed in their order.
pub async fn advance(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    at: Timestamp,
) -> Result<Option<Thread>, db::Error> {
    let row: Option<ThreadRow> = tx
        .sql(
            "UPDATE threads SET last_seq = last_seq + 1, updated_at = $3
             WHERE organization_id = $1 AND id = $2
             RETURNING id, organization_id, created_by, title, listing_id, last_seq, epoch, created_at, updated_at",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(at)
        .optional()
        .await?;
    Ok(row.map(Thread::from))
}

/// How far each of the threads named has come.
pub async fn heads(conn: &mut impl Conn, threads: &[ThreadId]) -> Result<Vec<(ThreadId, i64)>, db::Error> {
    conn.sql("SELECT id, last_seq FROM threads WHERE id IN $list").list(threads.iter().copied()).all().await
}

/// Writes an event at the position that [`advance`] gave.
pub async fn insert_event(
    tx: &mut Tx,
    organization_id: OrganizationId,
    event: &Event,
) -> Result<(), db::Error> {
    let (actor_kind, actor_id) = parts(event.actor);
    tx.sql(
        "INSERT INTO thread_events (thread_id, seq, organization_id, actor_kind, actor_id, payload, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(event.thread_id)
    .bind(event.seq)
    .bind(organization_id)
    .bind(actor_kind)
    .bind(actor_id)
    .bind(Json(event.change.clone()))
    .bind(event.at)
    .execute()
    .await?;
    Ok(())
}

/// The events after a position, oldest first.
pub async fn events_after(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    (after, before): (i64, i64),
    limit: i64,
) -> Result<Vec<Event>, db::Error> {
    let rows: Vec<EventRow> = conn
        .sql(
            "SELECT thread_id, seq, actor_kind, actor_id, payload, created_at FROM thread_events
             WHERE organization_id = $1 AND thread_id = $2 AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(after)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// The events before a position, newest first.
pub async fn events_before(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    (after, before): (i64, i64),
    limit: i64,
) -> Result<Vec<Event>, db::Error> {
    let rows: Vec<EventRow> = conn
        .sql(
            "SELECT thread_id, seq, actor_kind, actor_id, payload, created_at FROM thread_events
             WHERE organization_id = $1 AND thread_id = $2 AND seq > $3 AND seq < $4
             ORDER BY seq DESC LIMIT $5",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(after)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Writes a message. `digest` is what its key was used for; none for an agent's message.
pub async fn insert_message(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message: &Message,
    digest: Option<[u8; 32]>,
) -> Result<(), db::Error> {
    let (author_kind, author_id) = parts(message.author);
    tx.sql(
        "INSERT INTO messages (id, thread_id, organization_id, seq, author_kind, author_id, client_message_id,
                               body_hash, reply_to, text, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(message.id)
    .bind(message.thread_id)
    .bind(organization_id)
    .bind(message.seq)
    .bind(author_kind)
    .bind(author_id)
    .bind(message.client_message_id)
    .bind(digest.map(|digest| digest.to_vec()))
    .bind(message.reply_to)
    .bind(message.text.clone())
    .bind(message.created_at)
    .execute()
    .await?;
    Ok(())
}

/// The message that an account sent to a thread under this key, and the digest of what it sent.
pub async fn message_by_key(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
    client_message_id: Uuid,
) -> Result<Option<(MessageId, Vec<u8>)>, db::Error> {
    conn.sql(
        "SELECT id, body_hash FROM messages
         WHERE organization_id = $1 AND thread_id = $2 AND author_id = $3 AND client_message_id = $4",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(account_id)
    .bind(client_message_id)
    .optional()
    .await
}

/// A message.
pub async fn message(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<Option<Message>, db::Error> {
    let row: Option<MessageRow> = conn
        .sql(
            "SELECT id, thread_id, seq, author_kind, author_id, client_message_id, reply_to, text, created_at
             FROM messages WHERE organization_id = $1 AND id = $2",
        )
        .bind(organization_id)
        .bind(message_id)
        .optional()
        .await?;
    Ok(row.map(Message::from))
}

/// The messages up to a position, newest first.
pub async fn newest_messages(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    up_to: i64,
    limit: i64,
) -> Result<Vec<Message>, db::Error> {
    let rows: Vec<MessageRow> = conn
        .sql(
            "SELECT id, thread_id, seq, author_kind, author_id, client_message_id, reply_to, text, created_at
             FROM messages WHERE organization_id = $1 AND thread_id = $2 AND seq <= $3
             ORDER BY seq DESC LIMIT $4",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(up_to)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Message::from).collect())
}

db::words! {
    /// Where an agent's turn stands.
    pub enum TurnState {
        /// It has not ended.
        Pending = "pending",
        /// The answer is written.
        Answered = "answered",
        /// There will be no answer.
        Failed = "failed",
    }
}

/// An agent's turn: its answer to one message.
#[derive(Clone, Debug, db::Row)]
pub struct Turn {
    /// The message to answer.
    pub message_id: MessageId,
    /// Where.
    pub thread_id: ThreadId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Who answers.
    pub listing_id: ListingId,
    /// The id that the answer will have.
    pub answer_id: MessageId,
    /// Where it stands.
    pub state: TurnState,
}

/// Begins a turn.
pub async fn insert_turn(tx: &mut Tx, turn: &Turn, at: Timestamp) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO agent_turns (message_id, thread_id, organization_id, listing_id, answer_id, state, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(turn.message_id)
    .bind(turn.thread_id)
    .bind(turn.organization_id)
    .bind(turn.listing_id)
    .bind(turn.answer_id)
    .bind(turn.state)
    .bind(at)
    .execute()
    .await?;
    Ok(())
}

/// The turn that answers a message.
pub async fn turn(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<Option<Turn>, db::Error> {
    conn.sql(
        "SELECT message_id, thread_id, organization_id, listing_id, answer_id, state
         FROM agent_turns WHERE organization_id = $1 AND message_id = $2",
    )
    .bind(organization_id)
    .bind(message_id)
    .optional()
    .await
}

/// Ends a turn that has not ended; whether it was this call that ended it. `tokens` are those of the prompt and of the
/// answer.
pub async fn end_turn(
    tx: &mut Tx,
    turn: &Turn,
    state: TurnState,
    tokens: Option<(i64, i64)>,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let ended = tx
        .sql(
            "UPDATE agent_turns SET state = $3, input_tokens = $4, output_tokens = $5, ended_at = $6
             WHERE organization_id = $1 AND message_id = $2 AND state = 'pending'",
        )
        .bind(turn.organization_id)
        .bind(turn.message_id)
        .bind(state)
        .bind(tokens.map(|(input, _)| input))
        .bind(tokens.map(|(_, output)| output))
        .bind(at)
        .execute()
        .await?;
    Ok(ended == 1)
}

db::words! {
    /// The kind of an actor.
    enum ActorKind {
        /// A person.
        Account = "account",
        /// An agent.
        Agent = "agent",
    }
}

const fn parts(actor: Actor) -> (ActorKind, Uuid) {
    match actor {
        Actor::Account(id) => (ActorKind::Account, id.uuid()),
        Actor::Agent(id) => (ActorKind::Agent, id.uuid()),
    }
}

const fn actor(kind: ActorKind, id: Uuid) -> Actor {
    match kind {
        ActorKind::Account => Actor::Account(Id::from_uuid(id)),
        ActorKind::Agent => Actor::Agent(Id::from_uuid(id)),
    }
}

#[derive(db::Row)]
struct ThreadRow {
    id: ThreadId,
    organization_id: OrganizationId,
    created_by: AccountId,
    title: String,
    listing_id: Option<ListingId>,
    last_seq: i64,
    epoch: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<ThreadRow> for Thread {
    fn from(row: ThreadRow) -> Self {
        Self {
            id: row.id,
            organization_id: row.organization_id,
            created_by: row.created_by,
            title: row.title,
            listing_id: row.listing_id,
            last_seq: row.last_seq,
            epoch: row.epoch,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(db::Row)]
struct EventRow {
    thread_id: ThreadId,
    seq: i64,
    actor_kind: ActorKind,
    actor_id: Uuid,
    payload: Json<Change>,
    created_at: Timestamp,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            thread_id: row.thread_id,
            seq: row.seq,
            actor: actor(row.actor_kind, row.actor_id),
            at: row.created_at,
            change: row.payload.0,
        }
    }
}

#[derive(db::Row)]
struct MessageRow {
    id: MessageId,
    thread_id: ThreadId,
    seq: i64,
    author_kind: ActorKind,
    author_id: Uuid,
    client_message_id: Option<Uuid>,
    reply_to: Option<MessageId>,
    text: String,
    created_at: Timestamp,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id,
            thread_id: row.thread_id,
            seq: row.seq,
            author: actor(row.author_kind, row.author_id),
            client_message_id: row.client_message_id,
            reply_to: row.reply_to,
            text: row.text,
            created_at: row.created_at,
        }
    }
}
