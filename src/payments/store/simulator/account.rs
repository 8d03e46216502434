//! The merchant's account at the simulator: its balance, its history, and whether its signatures were right lately.

use std::collections::BTreeMap;

use crate::base::Timestamp;
use crate::db::{self, Conn, Json, Tx, lock};

/// The account.
#[derive(Clone, Copy, Debug, db::Row)]
pub struct Account {
    /// What is on it, in cents.
    pub balance_minor: i64,
    /// How many entries its history has had.
    pub entries: i64,
    /// Wrong signatures in a row.
    pub wrong_signatures: i64,
    /// Until when no call is looked at.
    pub blocked_until: Option<Timestamp>,
}

/// Something that moved on the account.
#[derive(Clone, Debug, db::Row)]
pub struct Entry {
    /// Its place, from 1.
    pub position: i64,
    /// When.
    pub occurred_at: Timestamp,
    /// What, in PayFast's word.
    pub kind: String,
    /// The name of what was paid for.
    pub item_name: String,
    /// More about it.
    pub item_description: String,
    /// How it was paid.
    pub funding: String,
    /// Before the fee, in cents; negative when it went.
    pub gross_minor: i64,
    /// The fee, negative.
    pub fee_minor: i64,
    /// What was left, in cents.
    pub balance_minor: i64,
    /// The shop's reference.
    pub payment_reference: String,
    /// The simulator's id of the payment.
    pub provider_payment_id: String,
    /// The form's fields, of which the shop's own are told.
    pub fields: Json<BTreeMap<String, String>>,
}

/// Opens the account with a balance, unless it is open.
///
/// # Errors
/// What the database refuses.
pub async fn open(tx: &mut Tx, balance_minor: i64) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO simulator_account (id, balance_minor, entries, wrong_signatures) VALUES (1, $1, 0, 0)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(balance_minor)
    .execute()
    .await?;
    Ok(())
}

/// The account, if it was opened.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn) -> Result<Option<Account>, db::Error> {
    conn.sql(
        "SELECT balance_minor, entries, wrong_signatures, blocked_until FROM simulator_account WHERE id = 1",
    )
    .optional()
    .await
}

/// The account, locked until the transaction ends.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx) -> Result<Account, db::Error> {
    tx.sql(lock!(
        "SELECT balance_minor, entries, wrong_signatures, blocked_until FROM simulator_account WHERE id = 1"
    ))
    .one()
    .await
}

/// Notes wrong signatures, and until when no call is looked at.
///
/// # Errors
/// What the database refuses.
pub async fn note_signatures(tx: &mut Tx, wrong: i64, until: Option<Timestamp>) -> Result<(), db::Error> {
    tx.sql("UPDATE simulator_account SET wrong_signatures = $1, blocked_until = $2 WHERE id = 1")
        .bind(wrong)
        .bind(until)
        .execute()
        .await?;
    Ok(())
}

/// Moves money: the account as it stands then, and the entry of it. Two at the same time get two places.
///
/// # Errors
/// What the database refuses.
pub async fn move_money(tx: &mut Tx, mut entry: Entry) -> Result<(), db::Error> {
    let net = entry.gross_minor.saturating_add(entry.fee_minor);
    (entry.balance_minor, entry.position) = tx
        .sql(
            "UPDATE simulator_account SET balance_minor = balance_minor + $1, entries = entries + 1 WHERE id = 1
             RETURNING balance_minor, entries",
        )
        .bind(net)
        .one()
        .await?;
    insert(tx, entry).await
}

async fn insert(tx: &mut Tx, entry: Entry) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO simulator_history (position, occurred_at, kind, item_name, item_description, funding, gross_minor,
                fee_minor, balance_minor, payment_reference, provider_payment_id, fields)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(entry.position)
    .bind(entry.occurred_at)
    .bind(entry.kind)
    .bind(entry.item_name)
    .bind(entry.item_description)
    .bind(entry.funding)
    .bind(entry.gross_minor)
    .bind(entry.fee_minor)
    .bind(entry.balance_minor)
    .bind(entry.payment_reference)
    .bind(entry.provider_payment_id)
    .bind(entry.fields)
    .execute()
    .await?;
    Ok(())
}

/// Entries from `from` on and before `to`, the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn history(
    conn: &mut impl Conn,
    (from, to): (Timestamp, Timestamp),
    limit: i64,
    offset: i64,
) -> Result<Vec<Entry>, db::Error> {
    conn.sql(
        "SELECT position, occurred_at, kind, item_name, item_description, funding, gross_minor, fee_minor,
                balance_minor, payment_reference, provider_payment_id, fields
         FROM simulator_history WHERE occurred_at >= $1 AND occurred_at < $2
         ORDER BY occurred_at, position LIMIT $3 OFFSET $4",
    )
    .bind(from)
    .bind(to)
    .bind(limit)
    .bind(offset)
    .all()
    .await
}

/// Forgets all but the newest `keep` entries.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, keep: i64) -> Result<(), db::Error> {
    tx.sql(
        "DELETE FROM simulator_history WHERE position IN (
             SELECT position FROM simulator_history ORDER BY position DESC LIMIT 1000 OFFSET $1
         )",
    )
    .bind(keep)
    .execute()
    .await?;
    Ok(())
}
