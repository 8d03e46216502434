//! The rows of conversations.
//!
//! Positions are given out by [`advance`] alone, whose row lock holds until the transaction ends.
//!
//! What is named by its id is found by its id, however many an organisation has: `organization_id IS NOT DISTINCT FROM`
//! keeps PostgreSQL from reading all that the organisation has by another index, which it holds for as cheap.

mod event;
mod message;
mod tool;
mod turn;

pub use event::{events_after, events_before, insert_event};
pub use message::{insert_message, message, message_by_key, newest_messages, organization_of_message};
pub use tool::{end_call, insert_round, rounds, rounds_entered};
pub use turn::{Turn, TurnState, answered, end_turn, insert_turn, lock_turn, turn};

use uuid::Uuid;

use super::model::{Actor, Thread, ThreadId};
use crate::base::{AccountId, Id, OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
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
             WHERE t.id = $2 AND t.organization_id IS NOT DISTINCT FROM $1",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(account_id)
        .optional()
        .await?;
    Ok(row.map(Thread::from))
}

/// Whether an account is a member of any thread of the organisation.
pub async fn has_thread(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    account_id: AccountId,
) -> Result<bool, db::Error> {
    let row: Option<(ThreadId,)> = conn
        .sql("SELECT thread_id FROM thread_members WHERE organization_id = $1 AND account_id = $2 LIMIT 1")
        .bind(organization_id)
        .bind(account_id)
        .optional()
        .await?;
    Ok(row.is_some())
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

/// Those of the pairs that are memberships of threads. Asked in the platform's own scope, for streams of all tenants;
/// at most some thousands.
pub async fn members_among(
    conn: &mut impl Conn,
    pairs: &[(ThreadId, AccountId)],
) -> Result<Vec<(ThreadId, AccountId)>, db::Error> {
    conn.sql(
        "SELECT thread_id, account_id FROM thread_members WHERE (thread_id, account_id) IN (VALUES $rows)",
    )
    .rows(pairs.iter().copied(), |statement, (thread_id, account_id)| {
        statement.bind(thread_id).bind(account_id)
    })
    .all()
    .await
}

/// Where a page of threads goes on: after the thread that was used at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ThreadsAfter {
    /// When it was used.
    pub updated_at: Timestamp,
    /// Which it is.
    pub id: ThreadId,
}

/// A page of an account's threads, the most recently used first. It costs as much as the account has threads in the
/// organisation, however many others have there: walking the organisation's threads by their time would begin with
/// theirs.
pub async fn threads(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    account_id: AccountId,
    after: Option<ThreadsAfter>,
    limit: i64,
) -> Result<Vec<Thread>, db::Error> {
    // SQLite joins in the order of a CROSS JOIN. PostgreSQL chooses, and has no other way to a thread than its id.
    // The end of time stands for "from the start": both engines compare the pair as a row.
    let after = after.unwrap_or(ThreadsAfter { updated_at: END_OF_TIME, id: Id::from_uuid(Uuid::max()) });
    let rows: Vec<ThreadRow> = conn
        .sql(
            "SELECT t.id, t.organization_id, t.created_by, t.title, t.listing_id, t.last_seq, t.epoch,
                    t.created_at, t.updated_at
             FROM thread_members m CROSS JOIN threads t
             WHERE m.account_id = $2 AND m.organization_id = $1 AND t.id = m.thread_id
                AND t.organization_id IS NOT DISTINCT FROM $1 AND (t.updated_at, t.id) < ($3, $4)
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

/// Gives out the next position of a thread to the platform itself, and returns the thread as it stands then. The
/// thread stays locked until the transaction ends, so positions are committed in their order.
pub async fn advance(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    at: Timestamp,
) -> Result<Option<Thread>, db::Error> {
    let row: Option<ThreadRow> = tx
        .sql(
            "UPDATE threads SET last_seq = last_seq + 1, updated_at = $3
             WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1
             RETURNING id, organization_id, created_by, title, listing_id, last_seq, epoch, created_at, updated_at",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(at)
        .optional()
        .await?;
    Ok(row.map(Thread::from))
}

/// Gives out the next position of a thread as [`advance`] does, to an account that is a member of it. Nothing when it
/// is not: one statement, so that no membership ends between the question and the lock.
pub async fn advance_for_member(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
    at: Timestamp,
) -> Result<Option<Thread>, db::Error> {
    let row: Option<ThreadRow> = tx
        .sql(
            "UPDATE threads SET last_seq = last_seq + 1, updated_at = $3
             WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1
                AND EXISTS (SELECT 1 FROM thread_members WHERE thread_id = $2 AND account_id = $4)
             RETURNING id, organization_id, created_by, title, listing_id, last_seq, epoch, created_at, updated_at",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(at)
        .bind(account_id)
        .optional()
        .await?;
    Ok(row.map(Thread::from))
}

/// How far each of the threads named has come.
pub async fn heads(conn: &mut impl Conn, threads: &[ThreadId]) -> Result<Vec<(ThreadId, i64)>, db::Error> {
    conn.sql("SELECT id, last_seq FROM threads WHERE id IN $list").list(threads.iter().copied()).all().await
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

/// Begins another epoch of every thread: what clients saw after the state that is stored now never was, so that they
/// read their threads anew. Tells how many threads there are.
///
/// # Errors
/// What the database refuses.
pub async fn begin_epoch(tx: &mut Tx) -> Result<u64, db::Error> {
    tx.sql("UPDATE threads SET epoch = epoch + 1").execute().await
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
