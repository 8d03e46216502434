//! The rows of conversations.
//!
//! Positions are given out by [`advance`], and by whoever asked [`lock_threads`], under row locks that hold until the
//! transaction ends.
//!
//! What is named by its id is found by its id, however many an organisation has: `organization_id IS NOT DISTINCT FROM`
//! keeps PostgreSQL from reading all that the organisation has by another index, which it holds for as cheap.

mod attachment;
mod block;
mod connection;
mod event;
mod member;
mod message;
mod policy;
mod presence;
mod reaction;
mod report;
mod support;
mod thread;
mod tool;
mod turn;
mod unread;
mod word;

pub use attachment::{
    add_usage, announce_part, attach, attachment, attachments, complete, delete_attachment, discharge,
    forget_parts, home_of_attachment, insert_attachment, keep_part, part, settle, stored_parts,
    take_from_message, take_from_thread, take_spoilt, take_unsent, take_usage,
};
pub use block::{
    block, blocks, count_blocks, deaf_among, deaf_in_thread, delete_block, insert_block, is_deaf_in_thread,
};
pub use connection::{
    Connection, changed_connections, connections_of_node, count_changes, insert_change, insert_connections,
    keep_connection, lapsed_connections, lease_node, lock_connection, remove_connections, remove_nodes,
    set_idle, take_changes, token_ends,
};
pub use event::{events_after, events_before, insert_events, rewrite_edits, rewrite_event};
pub use member::{
    MessageKey, Seat, Sender, count_members, delete_member, insert_members, longest_member, mark_read,
    member, members, seats, senders, set_preferences, set_role, take_receipts, untold_receipts,
};
pub use message::{
    count_edits, delete_text, home_of_message, insert_edit, insert_messages, message, message_by_key,
    messages_of, newest_messages, replace_text, threads_of_messages,
};
pub use policy::{forgetful, lock_policy, outdated_messages, policy, set_policy};
pub use presence::{acquainted, deaf_to, devices, presence_modes, set_presence_mode};
pub use reaction::{
    ReactionCount, count_reactions, delete_reaction, delete_reactions, insert_reaction, reactions,
};
pub use report::{insert_report, open_reports, report_by, reports, resolve_report};
pub use support::{
    delete_support, has_taken, insert_support, set_support, staff_of, support, support_threads, supports_of,
    taken_among,
};
pub use thread::{
    ThreadsAfter, close_thread, count_opened, direct_thread, insert_thread, lock_thread,
    organization_of_thread, placement, remove_some, rename_thread, seen_thread, set_placement,
    thread_of_member, threads,
};
pub use tool::{empty_rounds, end_call, insert_round, rounds, rounds_entered};
pub use turn::{Turn, TurnState, answered, end_turn, insert_turn, lock_turn, turn};
pub use unread::{members_of, unread};
pub use word::{FoundBefore, Hunt, delete_words, hunt, insert_words, set_searchable, unsearchable};

use std::collections::BTreeSet;

use uuid::Uuid;

use super::model::{Actor, Thread, ThreadId, ThreadKind};
use crate::base::{AccountId, Id, OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::market::ListingId;

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

/// 9999-12-31, which both engines can store.
const END_OF_TIME: Timestamp = Timestamp::from_seconds(253_402_214_400);

/// Gives out the next position of a thread to the platform itself, and returns the thread as it stands then. The
/// thread stays locked until the transaction ends, so positions are committed in their order. Nothing when there is no
/// such thread, or it was deleted.
pub async fn advance(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    at: Timestamp,
) -> Result<Option<Thread>, db::Error> {
    let row: Option<ThreadRow> = tx
        .sql(
            "UPDATE threads SET last_seq = last_seq + 1, updated_at = $3
             WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1 AND deleted_at IS NULL
             RETURNING id, organization_id, created_by, kind, title, listing_id, last_seq, epoch, version, created_at,
                updated_at",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(at)
        .optional()
        .await?;
    Ok(row.map(Thread::from))
}

/// Locks those of the threads named that are there and that the account named with them is a member of, in the order of
/// their ids: positions may be taken in them, and are to be written with [`set_heads`]. A thread comes for each of its
/// members.
pub async fn lock_threads(
    tx: &mut Tx,
    organization_id: OrganizationId,
    senders: &BTreeSet<(ThreadId, AccountId)>,
) -> Result<Vec<Thread>, db::Error> {
    let rows: Vec<ThreadRow> = tx
        .sql(db::lock!(
            "WITH v (thread_id, account_id) AS (VALUES $rows)
             SELECT t.id, t.organization_id, t.created_by, t.kind, t.title, t.listing_id, t.last_seq, t.epoch,
                t.version, t.created_at, t.updated_at
             FROM v CROSS JOIN threads AS t
             WHERE t.id = v.thread_id AND t.organization_id IS NOT DISTINCT FROM $1 AND t.deleted_at IS NULL AND (
                SELECT count(*) FROM thread_members AS m
                WHERE m.organization_id IS NOT DISTINCT FROM $1 AND m.thread_id = v.thread_id
                    AND m.account_id = v.account_id
             ) = 1 ORDER BY t.id"
        ))
        .bind(organization_id)
        .rows(senders, |statement, (thread_id, account_id)| statement.bind(*thread_id).bind(*account_id))
        .all()
        .await?;
    Ok(rows.into_iter().map(Thread::from).collect())
}

/// Writes where threads stand after positions were taken in them, at least one. They are locked.
pub fn set_heads(
    tx: &mut Tx,
    organization_id: OrganizationId,
    threads: &[&Thread],
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.later()
        .sql(
            "WITH v (thread_id, seq) AS (VALUES $rows)
             UPDATE threads SET last_seq = v.seq, updated_at = $2 FROM v
             WHERE threads.id = v.thread_id AND threads.organization_id IS NOT DISTINCT FROM $1",
        )
        .bind(organization_id)
        .bind(at)
        .rows(threads, |statement, thread| statement.bind(thread.id).bind(thread.last_seq))
        .queue()
}

/// Gives out the next position of a thread as [`advance`] does, but leaves the thread where it stands among the threads
/// that were used lately: for what nobody wrote.
pub async fn advance_quietly(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
) -> Result<Option<i64>, db::Error> {
    let row: Option<(i64,)> = tx
        .sql(
            "UPDATE threads SET last_seq = last_seq + 1
             WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1 AND deleted_at IS NULL
             RETURNING last_seq",
        )
        .bind(organization_id)
        .bind(thread_id)
        .optional()
        .await?;
    Ok(row.map(|(last_seq,)| last_seq))
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
    kind: ThreadKind,
    title: String,
    listing_id: Option<ListingId>,
    last_seq: i64,
    epoch: i64,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<ThreadRow> for Thread {
    fn from(row: ThreadRow) -> Self {
        Self {
            id: row.id,
            organization_id: row.organization_id,
            created_by: row.created_by,
            kind: row.kind,
            title: row.title,
            listing_id: row.listing_id,
            last_seq: row.last_seq,
            epoch: row.epoch,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
