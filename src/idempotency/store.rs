//! The table of answers.

use super::RequestKey;
use crate::base::Timestamp;
use crate::db::{self, Conn as _, Tx};

/// What is known of a key.
#[derive(db::Row)]
pub(super) struct Stored {
    pub(super) body_hash: Vec<u8>,
    pub(super) answer: Option<String>,
}

/// Takes the key; false when it is taken and still kept. On PostgreSQL this waits for a transaction that took it and
/// has not ended.
pub(super) async fn insert(
    tx: &mut Tx,
    principal: &str,
    key: &RequestKey,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool, db::Error> {
    let taken = tx
        .shared_sql(
            "INSERT INTO idempotency_keys (principal, method, key, body_hash, expires_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (principal, method, key) DO UPDATE
             SET body_hash = excluded.body_hash, answer = NULL, expires_at = excluded.expires_at
             WHERE idempotency_keys.expires_at <= $6",
        )
        .bind(principal)
        .bind(&*key.method)
        .bind(key.key)
        .bind(key.body_hash.to_vec())
        .bind(expires_at)
        .bind(now)
        .execute()
        .await?;
    Ok(taken == 1)
}

pub(super) async fn get(tx: &mut Tx, principal: &str, key: &RequestKey) -> Result<Stored, db::Error> {
    tx.shared_sql(
        "SELECT body_hash, answer FROM idempotency_keys WHERE principal = $1 AND method = $2 AND key = $3",
    )
    .bind(principal)
    .bind(&*key.method)
    .bind(key.key)
    .one()
    .await
}

pub(super) async fn set_answer(
    tx: &mut Tx,
    principal: &str,
    key: &RequestKey,
    answer: &str,
) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE idempotency_keys SET answer = $4 WHERE principal = $1 AND method = $2 AND key = $3")
        .bind(principal)
        .bind(&*key.method)
        .bind(key.key)
        .bind(answer)
        .execute()
        .await
        .map(drop)
}

pub(super) async fn prune(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, db::Error> {
    tx.shared_sql(
        "DELETE FROM idempotency_keys WHERE (principal, method, key) IN (
           SELECT principal, method, key FROM idempotency_keys WHERE expires_at <= $1 LIMIT $2)",
    )
    .bind(now)
    .bind(limit)
    .execute()
    .await
}
