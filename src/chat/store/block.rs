//! The rows of who wants to hear nothing from whom. They are a person's, whichever organisation is worked in.

use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::chat::model::ThreadId;
use crate::chat::model::conduct::Block;
use crate::db::{self, Conn, Tx};

/// Notes that an account wants to hear nothing from another; whether that is new.
pub async fn insert_block(
    tx: &mut Tx,
    account_id: AccountId,
    blocked_id: AccountId,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let written = tx
        .shared_sql(
            "INSERT INTO account_blocks (account_id, blocked_id, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (account_id, blocked_id) DO NOTHING",
        )
        .bind(account_id)
        .bind(blocked_id)
        .bind(at)
        .execute()
        .await?;
    Ok(written == 1)
}

/// Notes that an account hears another again; whether it did not.
pub async fn delete_block(
    tx: &mut Tx,
    account_id: AccountId,
    blocked_id: AccountId,
) -> Result<bool, db::Error> {
    let gone = tx
        .shared_sql("DELETE FROM account_blocks WHERE account_id = $1 AND blocked_id = $2")
        .bind(account_id)
        .bind(blocked_id)
        .execute()
        .await?;
    Ok(gone == 1)
}

/// A block, if it is there.
pub async fn block(
    conn: &mut impl Conn,
    account_id: AccountId,
    blocked_id: AccountId,
) -> Result<Option<Block>, db::Error> {
    conn.shared_sql(
        "SELECT blocked_id AS account_id, created_at FROM account_blocks
         WHERE account_id = $1 AND blocked_id = $2",
    )
    .bind(account_id)
    .bind(blocked_id)
    .optional()
    .await
}

/// How many people an account blocks.
pub async fn count_blocks(conn: &mut impl Conn, account_id: AccountId) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn
        .shared_sql("SELECT count(*) FROM account_blocks WHERE account_id = $1")
        .bind(account_id)
        .one()
        .await?;
    Ok(count)
}

/// A page of those whom an account blocks, in the order of their ids, from behind `after` on.
pub async fn blocks(
    conn: &mut impl Conn,
    account_id: AccountId,
    after: AccountId,
    limit: i64,
) -> Result<Vec<Block>, db::Error> {
    conn.shared_sql(
        "SELECT blocked_id AS account_id, created_at FROM account_blocks
         WHERE account_id = $1 AND blocked_id > $2 ORDER BY blocked_id LIMIT $3",
    )
    .bind(account_id)
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// Those of `whom` that want to hear nothing from an account.
pub async fn deaf_among(
    conn: &mut impl Conn,
    account_id: AccountId,
    whom: &[AccountId],
) -> Result<Vec<AccountId>, db::Error> {
    let rows: Vec<(AccountId,)> = conn
        .shared_sql("SELECT account_id FROM account_blocks WHERE blocked_id = $1 AND account_id IN $list")
        .bind(account_id)
        .list(whom.iter().copied())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(account_id,)| account_id).collect())
}

/// The members of a thread that want to hear nothing from an account.
pub async fn deaf_in_thread(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
) -> Result<Vec<AccountId>, db::Error> {
    let rows: Vec<(AccountId,)> = conn
        .sql(
            "SELECT m.account_id FROM thread_members AS m
                JOIN account_blocks AS b ON b.blocked_id = $3 AND b.account_id = m.account_id
             WHERE m.organization_id IS NOT DISTINCT FROM $1 AND m.thread_id = $2",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(account_id)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(account_id,)| account_id).collect())
}

/// Whether an account wants to hear nothing from somebody in a thread.
pub async fn is_deaf_in_thread(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
) -> Result<bool, db::Error> {
    let row: Option<(AccountId,)> = conn
        .sql(
            "SELECT m.account_id FROM thread_members AS m
                JOIN account_blocks AS b ON b.account_id = $3 AND b.blocked_id = m.account_id
             WHERE m.organization_id IS NOT DISTINCT FROM $1 AND m.thread_id = $2 LIMIT 1",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(account_id)
        .optional()
        .await?;
    Ok(row.is_some())
}
