//! The simulator's tokens and subscriptions.

use std::collections::BTreeMap;

use crate::base::Timestamp;
use crate::db::{self, Conn, Json, Tx, lock, words};

words! {
    /// How a token stands.
    pub enum Status {
        /// It can be charged.
        Active = "active",
        /// It was ended.
        Cancelled = "cancelled",
        /// It skips some cycles.
        Paused = "paused",
        /// It has had all its cycles.
        Complete = "complete",
        /// Its charges failed, so that it is locked.
        Failed = "failed",
    }
}

/// A token, or a subscription with a schedule.
#[derive(Clone, Debug, db::Row)]
pub struct Token {
    /// Which.
    pub token: String,
    /// 1 is charged on a schedule, 2 whenever it is asked.
    pub kind: i64,
    /// How it stands.
    pub status: Status,
    /// The payment that made it.
    pub provider_payment_id: String,
    /// The form's fields.
    pub fields: Json<BTreeMap<String, String>>,
    /// How much is charged each time, in cents.
    pub amount_minor: i64,
    /// How often, by PayFast's number.
    pub frequency: Option<i64>,
    /// How many times; 0 is for ever.
    pub cycles: i64,
    /// How many times it was.
    pub cycles_complete: i64,
    /// How many cycles it still skips.
    pub cycles_paused: i64,
    /// Charges in a row that failed.
    pub failures: i64,
    /// When it is charged next.
    pub run_date: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Writes down a token.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, token: &Token) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO simulator_tokens (token, kind, status, provider_payment_id, fields, amount_minor, frequency, cycles,
                cycles_complete, cycles_paused, failures, run_date, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(token.token.clone())
    .bind(token.kind)
    .bind(token.status)
    .bind(token.provider_payment_id.clone())
    .bind(&token.fields)
    .bind(token.amount_minor)
    .bind(token.frequency)
    .bind(token.cycles)
    .bind(token.cycles_complete)
    .bind(token.cycles_paused)
    .bind(token.failures)
    .bind(token.run_date.clone())
    .bind(token.created_at)
    .execute()
    .await?;
    Ok(())
}

/// Writes what can change of a token.
///
/// # Errors
/// What the database refuses.
pub async fn update(tx: &mut Tx, token: &Token) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE simulator_tokens SET status = $2, amount_minor = $3, frequency = $4, cycles = $5, cycles_complete = $6,
                cycles_paused = $7, failures = $8, run_date = $9
         WHERE token = $1",
    )
    .bind(token.token.clone())
    .bind(token.status)
    .bind(token.amount_minor)
    .bind(token.frequency)
    .bind(token.cycles)
    .bind(token.cycles_complete)
    .bind(token.cycles_paused)
    .bind(token.failures)
    .bind(token.run_date.clone())
    .execute()
    .await?;
    Ok(())
}

/// A token.
///
/// # Errors
/// What the database refuses.
pub async fn find(conn: &mut impl Conn, token: &str) -> Result<Option<Token>, db::Error> {
    conn.sql(
        "SELECT token, kind, status, provider_payment_id, fields, amount_minor, frequency, cycles, cycles_complete,
                cycles_paused, failures, run_date, created_at
         FROM simulator_tokens WHERE token = $1",
    )
    .bind(token.to_owned())
    .optional()
    .await
}

/// A token, locked until the transaction ends.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, token: &str) -> Result<Option<Token>, db::Error> {
    tx.sql(lock!(
        "SELECT token, kind, status, provider_payment_id, fields, amount_minor, frequency, cycles, cycles_complete,
                cycles_paused, failures, run_date, created_at
         FROM simulator_tokens WHERE token = $1"
    ))
    .bind(token.to_owned())
    .optional()
    .await
}

/// Forgets all but the newest `keep` tokens.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, keep: i64) -> Result<(), db::Error> {
    tx.sql(
        "DELETE FROM simulator_tokens WHERE token IN (
             SELECT token FROM simulator_tokens ORDER BY created_at DESC, token DESC LIMIT 1000 OFFSET $1
         )",
    )
    .bind(keep)
    .execute()
    .await?;
    Ok(())
}
