//! The rows of threads.

use uuid::Uuid;

use super::{END_OF_TIME, ThreadRow};
use crate::base::{AccountId, Id, OrganizationId, Timestamp};
use crate::chat::model::member::{Preferences, Seat, SeenThread, ThreadRole, UNREAD_MAX, direct_key};
use crate::chat::model::{MessageId, Thread, ThreadId, ThreadKind};
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

/// Writes a new thread; a direct one with the two that it is between. False when these two have one: then nothing is
/// written.
pub async fn insert_thread(
    tx: &mut Tx,
    thread: &Thread,
    between: Option<(AccountId, AccountId)>,
) -> Result<bool, db::Error> {
    let written = tx
        .sql(
            "INSERT INTO threads (id, organization_id, created_by, kind, title, listing_id, direct_key, last_seq,
                                  epoch, version, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (organization_id, direct_key) DO NOTHING",
        )
        .bind(thread.id)
        .bind(thread.organization_id)
        .bind(thread.created_by)
        .bind(thread.kind)
        .bind(thread.title.clone())
        .bind(thread.listing_id)
        .bind(between.map(|(one, other)| direct_key(one, other)))
        .bind(thread.last_seq)
        .bind(thread.epoch)
        .bind(thread.version)
        .bind(thread.created_at)
        .bind(thread.updated_at)
        .execute()
        .await?;
    Ok(written == 1)
}

/// How many threads an account has opened in an organisation that are not deleted; no more than `enough` are counted.
pub async fn count_opened(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    account_id: AccountId,
    enough: i64,
) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn
        .sql(
            "SELECT count(*) FROM (
                SELECT id FROM threads
                WHERE organization_id IS NOT DISTINCT FROM $1 AND created_by = $2 AND deleted_at IS NULL LIMIT $3
             ) AS opened",
        )
        .bind(organization_id)
        .bind(account_id)
        .bind(enough)
        .one()
        .await?;
    Ok(count)
}

/// Locks a thread until the transaction ends; whether it is there and was not deleted.
pub async fn lock_thread(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
) -> Result<bool, db::Error> {
    let row: Option<(ThreadId,)> = tx
        .sql(db::lock!(
            "SELECT id FROM threads
             WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1 AND deleted_at IS NULL"
        ))
        .bind(organization_id)
        .bind(thread_id)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// The direct thread of two people.
pub async fn direct_thread(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    one: AccountId,
    other: AccountId,
) -> Result<Option<ThreadId>, db::Error> {
    let row: Option<(ThreadId,)> = conn
        .sql("SELECT id FROM threads WHERE organization_id = $1 AND direct_key = $2")
        .bind(organization_id)
        .bind(direct_key(one, other))
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
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
            "SELECT t.id, t.organization_id, t.created_by, t.kind, t.title, t.listing_id, t.last_seq, t.epoch,
                    t.version, t.created_at, t.updated_at
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

/// A thread as a member of it sees it, if the account is one.
pub async fn seen_thread(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
) -> Result<Option<SeenThread>, db::Error> {
    let row: Option<SeenRow> = conn
        .sql(
            "SELECT t.id, t.organization_id, t.created_by, t.kind, t.title, t.listing_id, t.last_seq, t.epoch,
                    t.version, t.created_at, t.updated_at, t.placement, m.role, m.read_seq, m.muted, m.archived,
                    m.pinned,
                    (SELECT count(*) FROM (
                        SELECT u.author_id, u.deleted_at FROM messages u
                        WHERE u.thread_id = t.id AND u.seq > m.read_seq ORDER BY u.seq DESC LIMIT $4
                    ) AS news WHERE news.author_id <> $3 AND news.deleted_at IS NULL) AS unread
             FROM threads t JOIN thread_members m ON m.thread_id = t.id AND m.account_id = $3
             WHERE t.id = $2 AND t.organization_id IS NOT DISTINCT FROM $1",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(account_id)
        .bind(UNREAD_MAX)
        .optional()
        .await?;
    Ok(row.map(SeenThread::from))
}

/// Where a page of threads goes on: after the thread that was used at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ThreadsAfter {
    /// When it was used.
    pub updated_at: Timestamp,
    /// Which it is.
    pub id: ThreadId,
}

/// A page of an account's threads, archived or not, the most recently used first. It costs as much as the account has
/// threads in the organisation, however many others have there: walking the organisation's threads by their time would
/// begin with theirs.
pub async fn threads(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    account_id: AccountId,
    archived: bool,
    after: Option<ThreadsAfter>,
    limit: i64,
) -> Result<Vec<SeenThread>, db::Error> {
    // SQLite joins in the order of a CROSS JOIN. PostgreSQL chooses, and has no other way to a thread than its id.
    // The end of time stands for "from the start": both engines compare the pair as a row. What is new is counted of
    // the page alone.
    let after = after.unwrap_or(ThreadsAfter { updated_at: END_OF_TIME, id: Id::from_uuid(Uuid::max()) });
    let rows: Vec<SeenRow> = conn
        .sql(
            "SELECT page.*,
                    (SELECT count(*) FROM (
                        SELECT u.author_id, u.deleted_at FROM messages u
                        WHERE u.thread_id = page.id AND u.seq > page.read_seq ORDER BY u.seq DESC LIMIT $7
                    ) AS news WHERE news.author_id <> $2 AND news.deleted_at IS NULL) AS unread
             FROM (
                SELECT t.id, t.organization_id, t.created_by, t.kind, t.title, t.listing_id, t.last_seq, t.epoch,
                       t.version, t.created_at, t.updated_at, t.placement, m.role, m.read_seq, m.muted, m.archived,
                       m.pinned
                FROM thread_members m CROSS JOIN threads t
                WHERE m.account_id = $2 AND m.organization_id = $1 AND m.archived = $3 AND t.id = m.thread_id
                   AND t.organization_id IS NOT DISTINCT FROM $1 AND (t.updated_at, t.id) < ($4, $5)
                ORDER BY t.updated_at DESC, t.id DESC LIMIT $6
             ) AS page
             ORDER BY page.updated_at DESC, page.id DESC",
        )
        .bind(organization_id)
        .bind(account_id)
        .bind(archived)
        .bind(after.updated_at)
        .bind(after.id)
        .bind(limit)
        .bind(UNREAD_MAX)
        .all()
        .await?;
    Ok(rows.into_iter().map(SeenThread::from).collect())
}

/// Notes where in a product the agent of a new thread is met.
pub async fn set_placement(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    placement: &str,
) -> Result<(), db::Error> {
    tx.sql("UPDATE threads SET placement = $3 WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2")
        .bind(organization_id)
        .bind(thread_id)
        .bind(placement.to_owned())
        .execute()
        .await?;
    Ok(())
}

/// Where in a product the agent of a thread is met; nowhere when it has none.
pub async fn placement(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
) -> Result<Option<String>, db::Error> {
    let row: Option<(Option<String>,)> = conn
        .sql("SELECT placement FROM threads WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2")
        .bind(organization_id)
        .bind(thread_id)
        .optional()
        .await?;
    Ok(row.and_then(|(placement,)| placement))
}

/// Gives a thread another title.
pub async fn rename_thread(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    title: &str,
) -> Result<(), db::Error> {
    tx.sql("UPDATE threads SET title = $3, version = version + 1 WHERE organization_id = $1 AND id = $2")
        .bind(organization_id)
        .bind(thread_id)
        .bind(title.to_owned())
        .execute()
        .await?;
    Ok(())
}

/// Takes a thread away from everybody, and its title, and tells who that is. The row stays, for a repetition of the
/// call finds its answer by it.
pub async fn close_thread(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    at: Timestamp,
) -> Result<Vec<AccountId>, db::Error> {
    tx.sql("UPDATE threads SET deleted_at = $3, title = '' WHERE organization_id = $1 AND id = $2")
        .bind(organization_id)
        .bind(thread_id)
        .bind(at)
        .execute()
        .await?;
    let gone: Vec<(AccountId,)> = tx
        .sql("DELETE FROM thread_members WHERE organization_id = $1 AND thread_id = $2 RETURNING account_id")
        .bind(organization_id)
        .bind(thread_id)
        .all()
        .await?;
    Ok(gone.into_iter().map(|(account_id,)| account_id).collect())
}

/// How many words go with a message when it is removed: most have fewer.
const WORDS_EACH: i64 = 20;

/// Removes some of what was said in a thread that was deleted: events, messages and what hangs on them. Whether there
/// was something. The newest go first: a message takes its answers with it, which come after it, and a stream that is
/// still reading finds an end rather than a hole.
pub async fn remove_some(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    limit: i64,
) -> Result<bool, db::Error> {
    let events = tx
        .sql(
            "DELETE FROM thread_events WHERE organization_id = $1 AND thread_id = $2 AND seq IN (
                SELECT seq FROM thread_events WHERE thread_id = $2 ORDER BY seq DESC LIMIT $3
             )",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(limit)
        .execute()
        .await?;
    // Named before they are deleted: what goes along with another message is not told by a deletion.
    let messages: Vec<(MessageId,)> = tx
        .sql(db::lock!(
            "SELECT id FROM messages WHERE organization_id IS NOT DISTINCT FROM $1 AND thread_id = $2
             ORDER BY seq DESC LIMIT $3"
        ))
        .bind(organization_id)
        .bind(thread_id)
        .bind(limit)
        .all()
        .await?;
    tx.sql("DELETE FROM messages WHERE organization_id = $1 AND id IN $list")
        .bind(organization_id)
        .list(messages.iter().map(|(message_id,)| *message_id))
        .execute()
        .await?;
    // When no message is left, nobody notes words any more.
    let words = tx
        .sql(
            "DELETE FROM message_words WHERE organization_id = $1 AND thread_id = $2 AND (word, seq) IN (
                SELECT word, seq FROM message_words WHERE thread_id = $2 LIMIT $3
             )",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(limit.saturating_mul(WORDS_EACH))
        .execute()
        .await?;
    Ok(events > 0 || words > 0 || !messages.is_empty())
}

#[derive(db::Row)]
struct SeenRow {
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
    placement: Option<String>,
    role: ThreadRole,
    read_seq: i64,
    muted: bool,
    archived: bool,
    pinned: bool,
    unread: i64,
}

impl From<SeenRow> for SeenThread {
    fn from(row: SeenRow) -> Self {
        let preferences = Preferences { muted: row.muted, archived: row.archived, pinned: row.pinned };
        let seat = Seat { role: row.role, read_seq: row.read_seq, unread: row.unread, preferences };
        let thread = Thread {
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
        };
        Self { thread, seat, support: None, placement: row.placement }
    }
}
