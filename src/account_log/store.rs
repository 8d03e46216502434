//! The rows of accounts' logs. They belong to people and to no organisation.
//!
//! Positions are given out by the two that advance, whose row locks hold until the transaction ends: so entries are
//! committed in their order. Rows come in the order of the accounts' ids, so that two who write to the same accounts do
//! not wait for each other.

use std::collections::BTreeMap;

use super::model::{Change, Entry, Head, KEPT, Unread};
use crate::base::{AccountId, Timestamp};
use crate::db::{self, Conn, Json, Tx};

/// Gives out the next position of each of these logs.
pub(super) async fn advance(
    tx: &mut Tx,
    accounts: &[AccountId],
    at: Timestamp,
) -> Result<Vec<(AccountId, i64)>, db::Error> {
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    tx.shared_sql(
        "INSERT INTO account_logs (account_id, last_seq, epoch, unread) VALUES $rows
         ON CONFLICT (account_id) DO UPDATE SET last_seq = account_logs.last_seq + 1
         RETURNING account_id, last_seq",
    )
    .rows(accounts, |statement, account| {
        statement.bind(*account).bind(1_i64).bind(at.as_micros()).bind(Json(Unread::default()))
    })
    .all()
    .await
}

/// Gives out the next position of those of these logs that told something else to be unread last.
pub(super) async fn advance_unread(
    tx: &mut Tx,
    unread: &BTreeMap<AccountId, Unread>,
    at: Timestamp,
) -> Result<Vec<(AccountId, i64)>, db::Error> {
    tx.shared_sql(
        "INSERT INTO account_logs (account_id, last_seq, epoch, unread) VALUES $rows
         ON CONFLICT (account_id) DO UPDATE SET last_seq = account_logs.last_seq + 1, unread = excluded.unread
            WHERE account_logs.unread <> excluded.unread
         RETURNING account_id, last_seq",
    )
    .rows(unread, |statement, (account, unread)| {
        statement.bind(*account).bind(1_i64).bind(at.as_micros()).bind(Json(unread.clone()))
    })
    .all()
    .await
}

/// Writes changes at the positions that were given out.
pub(super) async fn insert(
    tx: &mut Tx,
    changes: &[(AccountId, Change)],
    positions: &[(AccountId, i64)],
    at: Timestamp,
) -> Result<(), db::Error> {
    let positions: BTreeMap<AccountId, i64> = positions.iter().copied().collect();
    let rows: Vec<_> = changes
        .iter()
        .filter_map(|(account, change)| Some((*account, *positions.get(account)?, change)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    tx.shared_sql("INSERT INTO account_events (account_id, seq, change, created_at) VALUES $rows")
        .rows(rows, |statement, (account, seq, change)| {
            statement.bind(account).bind(seq).bind(Json(change.clone())).bind(at)
        })
        .execute()
        .await?;
    Ok(())
}

/// Removes what is no longer kept of these logs.
pub(super) async fn cut(tx: &mut Tx, positions: &[(AccountId, i64)]) -> Result<(), db::Error> {
    let full = positions.iter().filter(|(_, seq)| *seq > KEPT).map(|(account, _)| *account);
    let full: Vec<AccountId> = full.collect();
    if full.is_empty() {
        return Ok(());
    }
    tx.shared_sql(
        "DELETE FROM account_events WHERE seq <= (
            SELECT l.last_seq FROM account_logs AS l WHERE l.account_id = account_events.account_id
         ) - $1 AND account_id IN $list",
    )
    .bind(KEPT)
    .list(full)
    .execute()
    .await?;
    Ok(())
}

#[derive(db::Row)]
struct EntryRow {
    seq: i64,
    epoch: i64,
    change: Json<Change>,
    created_at: Timestamp,
}

/// The entries after a position, the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn entries_after(
    conn: &mut impl Conn,
    account: AccountId,
    after: i64,
    limit: i64,
) -> Result<Vec<Entry>, db::Error> {
    let rows: Vec<EntryRow> = conn
        .shared_sql(
            "SELECT e.seq, l.epoch, e.change, e.created_at
             FROM account_events AS e JOIN account_logs AS l ON l.account_id = e.account_id
             WHERE e.account_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3",
        )
        .bind(account)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    let entry = |row: EntryRow| Entry {
        seq: row.seq,
        epoch: row.epoch,
        at: row.created_at,
        change: Some(row.change.0),
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// How an account's log stands.
///
/// # Errors
/// What the database refuses.
pub async fn head(conn: &mut impl Conn, account: AccountId) -> Result<Head, db::Error> {
    let row: Option<(i64, i64, Json<Unread>)> = conn
        .shared_sql("SELECT last_seq, epoch, unread FROM account_logs WHERE account_id = $1")
        .bind(account)
        .optional()
        .await?;
    Ok(row.map(|(last_seq, epoch, unread)| Head { last_seq, epoch, unread: unread.0 }).unwrap_or_default())
}

/// The newest positions of the logs named; who has none is left out.
///
/// # Errors
/// What the database refuses.
pub async fn heads(conn: &mut impl Conn, accounts: &[AccountId]) -> Result<Vec<(AccountId, i64)>, db::Error> {
    conn.shared_sql("SELECT account_id, last_seq FROM account_logs WHERE account_id IN $list")
        .list(accounts.iter().copied())
        .all()
        .await
}

/// What the accounts named were last told to be unread; who never was told is left out.
///
/// # Errors
/// What the database refuses.
pub async fn unread(
    conn: &mut impl Conn,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, Unread)>, db::Error> {
    let rows: Vec<(AccountId, Json<Unread>)> = conn
        .shared_sql("SELECT account_id, unread FROM account_logs WHERE account_id IN $list")
        .list(accounts.iter().copied())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(account, unread)| (account, unread.0)).collect())
}

/// Begins another epoch of every log: what clients saw after the state that is stored now never was.
///
/// # Errors
/// What the database refuses.
pub async fn begin_epoch(tx: &mut Tx) -> Result<u64, db::Error> {
    tx.shared_sql("UPDATE account_logs SET epoch = epoch + 1").execute().await
}
