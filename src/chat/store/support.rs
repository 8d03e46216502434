//! The rows of support threads, and who of the staff is in them.

use uuid::Uuid;

use crate::base::{AccountId, Id, OrganizationId, Timestamp};
use crate::chat::model::ThreadId;
use crate::chat::model::member::ThreadRole;
use crate::chat::model::support::{Support, SupportAfter, SupportPriority, SupportState, SupportThread};
use crate::db::{self, Conn, Tx};

/// Notes how it stands with a new support thread.
pub async fn insert_support(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    support: &Support,
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO support_threads (thread_id, organization_id, state, priority, since)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(thread_id)
    .bind(organization_id)
    .bind(support.state)
    .bind(support.priority)
    .bind(support.since)
    .execute()
    .await?;
    Ok(())
}

/// How it stands with a support thread.
pub async fn support(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
) -> Result<Option<Support>, db::Error> {
    conn.sql(
        "SELECT state, priority, since FROM support_threads
         WHERE organization_id IS NOT DISTINCT FROM $1 AND thread_id = $2",
    )
    .bind(organization_id)
    .bind(thread_id)
    .optional()
    .await
}

/// How it stands with those of the threads that are support threads.
pub async fn supports_of(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    threads: &[ThreadId],
) -> Result<Vec<(ThreadId, Support)>, db::Error> {
    let rows: Vec<(ThreadId, SupportState, SupportPriority, Timestamp)> = conn
        .sql(
            "SELECT thread_id, state, priority, since FROM support_threads
             WHERE organization_id IS NOT DISTINCT FROM $1 AND thread_id IN $list",
        )
        .bind(organization_id)
        .list(threads.iter().copied())
        .all()
        .await?;
    let support = |(thread_id, state, priority, since)| (thread_id, Support { state, priority, since });
    Ok(rows.into_iter().map(support).collect())
}

/// Notes how it stands with a support thread from here on.
pub async fn set_support(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    support: &Support,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE support_threads SET state = $3, priority = $4, since = $5
         WHERE organization_id IS NOT DISTINCT FROM $1 AND thread_id = $2",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(support.state)
    .bind(support.priority)
    .bind(support.since)
    .execute()
    .await?;
    Ok(())
}

/// Forgets how it stood with a thread that is deleted.
pub async fn delete_support(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
) -> Result<(), db::Error> {
    tx.sql("DELETE FROM support_threads WHERE organization_id IS NOT DISTINCT FROM $1 AND thread_id = $2")
        .bind(organization_id)
        .bind(thread_id)
        .execute()
        .await?;
    Ok(())
}

/// A page of the support threads in a state, but for those of organisations that were closed, without their staff:
/// those first that are longest in it. Asked in the platform's own scope.
pub async fn support_threads(
    conn: &mut impl Conn,
    state: SupportState,
    priority: Option<SupportPriority>,
    after: Option<SupportAfter>,
    limit: i64,
) -> Result<Vec<SupportThread>, db::Error> {
    let beginning = SupportAfter { since: Timestamp::from_seconds(0), thread_id: Id::from_uuid(Uuid::nil()) };
    let after = after.unwrap_or(beginning);
    let rows: Vec<SupportRow> = conn
        .sql(
            "SELECT s.thread_id, s.organization_id, t.created_by, t.title, s.state, s.priority, s.since
             FROM support_threads s JOIN threads t ON t.id = s.thread_id
             JOIN organizations o ON o.id = s.organization_id AND o.closed_at IS NULL
             WHERE s.state = $1 AND (s.since, s.thread_id) > ($2, $3) AND s.priority = coalesce($4, s.priority)
             ORDER BY s.since, s.thread_id LIMIT $5",
        )
        .bind(state)
        .bind(after.since)
        .bind(after.thread_id)
        .bind(priority)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(SupportThread::from).collect())
}

/// Who of the staff is in the threads. Asked in the platform's own scope.
pub async fn staff_of(
    conn: &mut impl Conn,
    threads: &[ThreadId],
) -> Result<Vec<(ThreadId, AccountId)>, db::Error> {
    conn.sql(
        "SELECT thread_id, account_id FROM thread_members
         WHERE role = $1 AND thread_id IN $list ORDER BY thread_id, account_id",
    )
    .bind(ThreadRole::Support)
    .list(threads.iter().copied())
    .all()
    .await
}

/// Whether an account took this very thread up, as staff, and its organisation was not closed since. Whether it is
/// staff still is asked beside it.
pub async fn has_taken(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
) -> Result<bool, db::Error> {
    let row: Option<(ThreadId,)> = conn
        .sql(
            "SELECT s.thread_id FROM support_threads s JOIN thread_members m ON m.thread_id = s.thread_id
             JOIN organizations o ON o.id = s.organization_id AND o.closed_at IS NULL
             WHERE s.organization_id IS NOT DISTINCT FROM $1 AND s.thread_id = $2 AND m.account_id = $3
                AND m.role = $4",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(account_id)
        .bind(ThreadRole::Support)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Those of the pairs in which the account took the thread up, as [`has_taken`] tells. Asked in the platform's own
/// scope, for streams of all tenants; at most some thousands.
pub async fn taken_among(
    conn: &mut impl Conn,
    pairs: &[(ThreadId, AccountId)],
) -> Result<Vec<(ThreadId, AccountId)>, db::Error> {
    conn.sql(
        "SELECT s.thread_id, m.account_id FROM support_threads s JOIN thread_members m ON m.thread_id = s.thread_id
         JOIN organizations o ON o.id = s.organization_id AND o.closed_at IS NULL
         WHERE m.role = $1 AND (m.thread_id, m.account_id) IN (VALUES $rows)",
    )
    .bind(ThreadRole::Support)
    .rows(pairs.iter().copied(), |statement, (thread_id, account_id)| {
        statement.bind(thread_id).bind(account_id)
    })
    .all()
    .await
}

#[derive(db::Row)]
struct SupportRow {
    thread_id: ThreadId,
    organization_id: OrganizationId,
    created_by: AccountId,
    title: String,
    state: SupportState,
    priority: SupportPriority,
    since: Timestamp,
}

impl From<SupportRow> for SupportThread {
    fn from(row: SupportRow) -> Self {
        Self {
            thread_id: row.thread_id,
            organization_id: row.organization_id,
            created_by: row.created_by,
            title: row.title,
            support: Support { state: row.state, priority: row.priority, since: row.since },
            staff: Vec::new(),
        }
    }
}
