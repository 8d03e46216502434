//! What is unread. Asked in the platform's own scope: people have threads in several tenants.

use uuid::Uuid;

use crate::account_log::ThreadUnread;
use crate::base::{AccountId, OrganizationId};
use crate::chat::model::ThreadId;
use crate::chat::model::member::{ThreadRole, UNREAD_MAX};
use crate::db::{self, Conn};

/// How many threads are counted, of all the accounts that are asked about at once. More than so many cannot be told.
const THREADS_MAX: i64 = 20_000;

/// Who is in any of these threads.
pub async fn members_of(conn: &mut impl Conn, threads: &[ThreadId]) -> Result<Vec<AccountId>, db::Error> {
    let rows: Vec<(AccountId,)> = conn
        .sql("SELECT DISTINCT account_id FROM thread_members WHERE thread_id IN $list")
        .list(threads.iter().copied())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(account,)| account).collect())
}

/// In which of their threads there is something that the accounts named have not read and want notice of, and how much:
/// others' messages that are not deleted, of the newest [`UNREAD_MAX`]. The threads of the newest messages come first.
/// Also told is in which role they are there: whoever supports a thread belongs to no organisation.
pub async fn unread(
    conn: &mut impl Conn,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, ThreadRole, ThreadUnread)>, db::Error> {
    let rows: Vec<(AccountId, ThreadRole, OrganizationId, Uuid, i64)> = conn
        .sql(
            "SELECT page.account_id, page.role, page.organization_id, page.thread_id, page.unread FROM (
                SELECT m.account_id, m.role, m.organization_id, m.thread_id, t.updated_at,
                    (SELECT count(*) FROM (
                        SELECT u.author_id, u.deleted_at FROM messages AS u
                        WHERE u.thread_id = m.thread_id AND u.seq > m.read_seq ORDER BY u.seq DESC LIMIT $1
                    ) AS news WHERE news.author_id <> m.account_id AND news.deleted_at IS NULL) AS unread
                FROM thread_members AS m
                JOIN threads AS t ON t.id = m.thread_id AND t.last_seq > m.read_seq AND t.deleted_at IS NULL
                LEFT JOIN memberships AS s ON s.organization_id = m.organization_id AND s.account_id = m.account_id
                WHERE NOT m.muted AND (s.account_id IS NOT NULL OR m.role = 'support') AND m.account_id IN $list
             ) AS page WHERE page.unread > 0 ORDER BY page.updated_at DESC, page.thread_id LIMIT $2",
        )
        .bind(UNREAD_MAX)
        .bind(THREADS_MAX)
        .list(accounts.iter().copied())
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(account, role, organization_id, thread_id, messages)| {
            (account, role, ThreadUnread { organization_id, thread_id, messages })
        })
        .collect())
}
