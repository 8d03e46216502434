//! The rows of presence, and who may see whose. Asked in the platform's own scope: people of several tenants are asked
//! about at once.

use std::collections::BTreeSet;

use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::chat::model::ThreadId;
use crate::chat::model::presence::{Devices, PresenceMode};
use crate::db::{self, Conn, Tx};

/// Notes what a person wants their presence to be.
pub async fn set_presence_mode(tx: &mut Tx, account: AccountId, mode: PresenceMode) -> Result<(), db::Error> {
    if mode == PresenceMode::Automatic {
        tx.shared_sql("DELETE FROM presence_modes WHERE account_id = $1").bind(account).execute().await?;
        return Ok(());
    }
    tx.shared_sql(
        "INSERT INTO presence_modes (account_id, mode) VALUES ($1, $2)
         ON CONFLICT (account_id) DO UPDATE SET mode = excluded.mode",
    )
    .bind(account)
    .bind(mode)
    .execute()
    .await?;
    Ok(())
}

/// What the people named want their presence to be, where they said so.
pub async fn presence_modes(
    conn: &mut impl Conn,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, PresenceMode)>, db::Error> {
    conn.shared_sql("SELECT account_id, mode FROM presence_modes WHERE account_id IN $list")
        .list(accounts.iter().copied())
        .all()
        .await
}

/// Which devices of the people named are there; who has none is left out. A program that works in somebody's name is
/// none of their devices.
pub async fn devices(
    conn: &mut impl Conn,
    accounts: &[AccountId],
    now: Timestamp,
) -> Result<Vec<(AccountId, Devices)>, db::Error> {
    let rows: Vec<(AccountId, i64, i64)> = conn
        .shared_sql(
            "SELECT c.account_id, count(*), count(CASE WHEN NOT c.idle THEN 1 END)
             FROM connections AS c JOIN nodes AS n ON n.id = c.node_id
             WHERE c.by_person AND n.expires_at > $1 AND (c.expires_at IS NULL OR c.expires_at > $1)
                AND c.account_id IN $list
             GROUP BY c.account_id",
        )
        .bind(now)
        .list(accounts.iter().copied())
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(account, connected, active)| (account, Devices { connected, active }))
        .collect())
}

/// Who has blocked whom of the accounts named.
pub async fn deaf_to(
    conn: &mut impl Conn,
    accounts: &BTreeSet<AccountId>,
) -> Result<Vec<(AccountId, AccountId)>, db::Error> {
    conn.shared_sql("SELECT account_id, blocked_id FROM account_blocks WHERE blocked_id IN $list")
        .list(accounts.iter().copied())
        .all()
        .await
}

/// Those of the people named who share a thread with the account, in the organisation named or in any, and have not
/// blocked it: each with one such thread.
pub async fn acquainted(
    conn: &mut impl Conn,
    account: AccountId,
    within: Option<OrganizationId>,
    others: &[AccountId],
) -> Result<Vec<(AccountId, ThreadId)>, db::Error> {
    conn.sql(
        "SELECT j.account_id, j.thread_id FROM (
            SELECT theirs.account_id, own.thread_id,
                row_number() OVER (PARTITION BY theirs.account_id ORDER BY own.thread_id) AS place
            FROM thread_members AS own
                JOIN threads AS t ON t.id = own.thread_id AND t.deleted_at IS NULL
                JOIN memberships AS s
                    ON s.organization_id = own.organization_id AND s.account_id = own.account_id
                JOIN thread_members AS theirs ON theirs.thread_id = own.thread_id
                JOIN memberships AS o
                    ON o.organization_id = own.organization_id AND o.account_id = theirs.account_id
            WHERE own.account_id = $1 AND own.organization_id = coalesce($2, own.organization_id)
                AND NOT EXISTS (SELECT 1 FROM account_blocks AS b
                    WHERE b.account_id = theirs.account_id AND b.blocked_id = own.account_id)
                AND theirs.account_id IN $list
         ) AS j WHERE j.place = 1",
    )
    .bind(account)
    .bind(within)
    .list(others.iter().copied())
    .all()
    .await
}
