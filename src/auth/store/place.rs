//! From where accounts were signed in to.

use crate::base::{AccountId, Timestamp};
use crate::db::{self, Conn, Tx};

/// What is known of the places of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, db::Row)]
pub struct Known {
    /// How many there are.
    pub places: i64,
    /// How many of them are new.
    pub lately: i64,
}

/// How many places of an account are known, and how many of them were first seen after `since`.
///
/// # Errors
/// What the database refuses.
pub async fn known(conn: &mut impl Conn, account: AccountId, since: Timestamp) -> Result<Known, db::Error> {
    conn.shared_sql(
        "SELECT count(*) AS places,
            CAST(COALESCE(SUM(CASE WHEN first_at > $2 THEN 1 ELSE 0 END), 0) AS bigint) AS lately
         FROM account_places WHERE account_id = $1",
    )
    .bind(account)
    .bind(since)
    .one()
    .await
}

/// Notes a place. `false` when it was known; then it is noted that it was seen again.
///
/// # Errors
/// What the database refuses.
pub async fn note(
    tx: &mut Tx,
    account: AccountId,
    place: &[u8; 32],
    at: Timestamp,
) -> Result<bool, db::Error> {
    let seen = tx
        .shared_sql("UPDATE account_places SET last_at = $1 WHERE account_id = $2 AND place_hash = $3")
        .bind(at)
        .bind(account)
        .bind(place.to_vec())
        .execute()
        .await?;
    if seen == 1 {
        return Ok(false);
    }
    let new = tx
        .shared_sql(
            "INSERT INTO account_places (account_id, place_hash, first_at, last_at) VALUES ($1, $2, $3, $3)
             ON CONFLICT (account_id, place_hash) DO NOTHING",
        )
        .bind(account)
        .bind(place.to_vec())
        .bind(at)
        .execute()
        .await?;
    Ok(new == 1)
}

/// Forgets all but the `kept` places of an account that were seen last.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, account: AccountId, kept: i64) -> Result<(), db::Error> {
    tx.shared_sql(
        "DELETE FROM account_places WHERE account_id = $1 AND place_hash NOT IN (
           SELECT place_hash FROM account_places WHERE account_id = $1 ORDER BY last_at DESC, place_hash LIMIT $2)",
    )
    .bind(account)
    .bind(kept)
    .execute()
    .await?;
    Ok(())
}
