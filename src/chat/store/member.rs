//! The rows of memberships in threads.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::chat::model::member::{PreferenceChange, ReadPosition, ThreadMember, ThreadRole};
use crate::chat::model::{MessageId, ThreadId};
use crate::db::{self, Conn, Tx};

/// What makes two messages the same one: the thread, the sender, and the sender's key.
pub type MessageKey = (ThreadId, AccountId, Uuid);

/// Somebody who sends, as a member of a thread and of its organisation.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Sender {
    /// The thread.
    pub thread_id: ThreadId,
    /// Who.
    pub account_id: AccountId,
    /// As what.
    pub role: ThreadRole,
    /// The key that they send with.
    pub client_message_id: Uuid,
    /// The message that they used it for before.
    pub message_id: Option<MessageId>,
}

impl Sender {
    /// What they send with.
    #[must_use]
    pub const fn key(&self) -> MessageKey {
        (self.thread_id, self.account_id, self.client_message_id)
    }
}

/// A member of a thread, who is a member of its organisation too, and how the thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, db::Row)]
pub struct Seat {
    /// The thread.
    pub thread_id: ThreadId,
    /// Who.
    pub account_id: AccountId,
    /// Where the thread is at home.
    pub organization_id: OrganizationId,
    /// How far the thread has come.
    pub last_seq: i64,
    /// The thread's epoch.
    pub epoch: i64,
}

/// Those of the pairs that are memberships of threads that are there, of somebody who is a member of the organisation
/// too. Asked in the platform's own scope, for streams of all tenants; at most some thousands.
pub async fn seats(
    conn: &mut impl Conn,
    pairs: &BTreeSet<(ThreadId, AccountId)>,
) -> Result<Vec<Seat>, db::Error> {
    conn.sql(
        "WITH v (thread_id, account_id) AS (VALUES $rows)
         SELECT s.thread_id, s.account_id, s.organization_id, t.last_seq, t.epoch
         FROM v
            CROSS JOIN thread_members AS s
            CROSS JOIN threads AS t
            CROSS JOIN memberships AS o
         WHERE s.thread_id = v.thread_id AND s.account_id = v.account_id
            AND t.id = s.thread_id AND t.deleted_at IS NULL
            AND o.organization_id = s.organization_id AND o.account_id = s.account_id",
    )
    .rows(pairs, |statement, (thread_id, account)| statement.bind(*thread_id).bind(*account))
    .all()
    .await
}

/// Makes accounts members of a thread.
pub async fn insert_members(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    members: &[(AccountId, ThreadRole)],
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO thread_members (thread_id, account_id, organization_id, role, read_seq, told_seq, muted,
                                     archived, pinned, created_at) VALUES $rows",
    )
    .rows(members, |statement, (account_id, role)| {
        let statement = statement.bind(thread_id).bind(*account_id).bind(organization_id).bind(*role);
        statement.bind(0_i64).bind(0_i64).bind(false).bind(false).bind(false).bind(at)
    })
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

/// A member of a thread, if the account is one.
pub async fn member(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
) -> Result<Option<ThreadMember>, db::Error> {
    conn.sql(
        "SELECT account_id, role, read_seq, created_at FROM thread_members
         WHERE organization_id IS NOT DISTINCT FROM $1 AND thread_id = $2 AND account_id = $3",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(account_id)
    .optional()
    .await
}

/// Those of the accounts who are members of the threads that they send to, and of the organisation. A key that was used
/// before is told with the message that it was used for. Each is looked up by itself: PostgreSQL, which does not know
/// how much one author wrote in one thread, would go through all of it for the key.
pub async fn senders(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    keys: &BTreeSet<MessageKey>,
) -> Result<Vec<Sender>, db::Error> {
    conn.sql(
        "WITH v (thread_id, account_id, client_message_id) AS (VALUES $rows)
         SELECT s.thread_id, s.account_id, s.role, v.client_message_id, (
                SELECT m.id FROM messages AS m
                WHERE m.organization_id IS NOT DISTINCT FROM $1 AND m.thread_id = v.thread_id
                    AND m.author_id = v.account_id AND m.client_message_id = v.client_message_id
            ) AS message_id
         FROM v CROSS JOIN thread_members AS s
         WHERE s.organization_id IS NOT DISTINCT FROM $1 AND s.thread_id = v.thread_id
            AND s.account_id = v.account_id AND (
                SELECT count(*) FROM memberships AS o
                WHERE o.organization_id = $1 AND o.account_id = v.account_id
            ) = 1",
    )
    .bind(organization_id)
    .rows(keys.iter().copied(), |statement, (thread_id, account_id, key)| {
        statement.bind(thread_id).bind(account_id).bind(key)
    })
    .all()
    .await
}

/// A page of a thread's members, in the order of their ids, from behind `after` on.
pub async fn members(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    after: AccountId,
    limit: i64,
) -> Result<Vec<ThreadMember>, db::Error> {
    conn.sql(
        "SELECT account_id, role, read_seq, created_at FROM thread_members
         WHERE organization_id IS NOT DISTINCT FROM $1 AND thread_id = $2 AND account_id > $3
         ORDER BY account_id LIMIT $4",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// How many members a thread has, and how many of them are owners. Whoever left the organisation owns nothing in it.
pub async fn count_members(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
) -> Result<(i64, i64), db::Error> {
    conn.sql(
        "SELECT count(*), count(CASE WHEN m.role = 'owner' AND s.account_id IS NOT NULL THEN 1 END)
         FROM thread_members AS m LEFT JOIN memberships AS s
            ON s.organization_id = m.organization_id AND s.account_id = m.account_id
         WHERE m.organization_id IS NOT DISTINCT FROM $1 AND m.thread_id = $2",
    )
    .bind(organization_id)
    .bind(thread_id)
    .one()
    .await
}

/// Whoever is a member of a thread longest, and of the organisation still; one that writes before one that only reads.
pub async fn longest_member(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
) -> Result<Option<AccountId>, db::Error> {
    let row: Option<(AccountId,)> = conn
        .sql(
            "SELECT m.account_id FROM thread_members AS m JOIN memberships AS s
                ON s.organization_id = m.organization_id AND s.account_id = m.account_id
             WHERE m.organization_id IS NOT DISTINCT FROM $1 AND m.thread_id = $2
             ORDER BY CASE WHEN m.role = 'reader' THEN 1 ELSE 0 END, m.created_at, m.account_id LIMIT 1",
        )
        .bind(organization_id)
        .bind(thread_id)
        .optional()
        .await?;
    Ok(row.map(|(account_id,)| account_id))
}

/// Gives a member another role.
pub async fn set_role(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
    role: ThreadRole,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE thread_members SET role = $4
         WHERE organization_id = $1 AND thread_id = $2 AND account_id = $3",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(account_id)
    .bind(role)
    .execute()
    .await?;
    Ok(())
}

/// Notes what of a thread a member now takes otherwise.
pub async fn set_preferences(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
    change: PreferenceChange,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE thread_members SET muted = coalesce($4, muted), archived = coalesce($5, archived),
            pinned = coalesce($6, pinned)
         WHERE organization_id = $1 AND thread_id = $2 AND account_id = $3",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(account_id)
    .bind(change.muted)
    .bind(change.archived)
    .bind(change.pinned)
    .execute()
    .await?;
    Ok(())
}

/// Moves a member's mark on, never back. Over what is no message, such as the news that others have read, it moves
/// unsaid: people who only read each other's marks would tell each other so for ever.
pub async fn mark_read(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
    up_to: i64,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE thread_members SET read_seq = $4, told_seq = CASE
            WHEN told_seq = read_seq AND NOT EXISTS (
                SELECT 1 FROM messages AS m
                WHERE m.thread_id = $2 AND m.seq > thread_members.read_seq AND m.seq <= $4
            ) THEN $4 ELSE told_seq END
         WHERE organization_id = $1 AND thread_id = $2 AND account_id = $3 AND read_seq < $4",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(account_id)
    .bind(up_to)
    .execute()
    .await?;
    Ok(())
}

/// Where others are to be told how far somebody has read, at most so many threads from behind `after` on. Asked in the
/// platform's own scope.
pub async fn untold_receipts(
    conn: &mut impl Conn,
    after: ThreadId,
    limit: i64,
) -> Result<Vec<(OrganizationId, ThreadId)>, db::Error> {
    conn.sql(
        "SELECT DISTINCT organization_id, thread_id FROM thread_members
         WHERE read_seq > told_seq AND thread_id > $1 ORDER BY thread_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// Takes the marks that others were not told of, at most so many.
pub async fn take_receipts(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    limit: i64,
) -> Result<Vec<ReadPosition>, db::Error> {
    tx.sql(
        "UPDATE thread_members SET told_seq = read_seq
         WHERE organization_id = $1 AND thread_id = $2 AND account_id IN (
            SELECT account_id FROM thread_members
            WHERE thread_id = $2 AND read_seq > told_seq ORDER BY account_id LIMIT $3
         )
         RETURNING account_id, read_seq",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(limit)
    .all()
    .await
}
