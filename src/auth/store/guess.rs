//! Guesses at secrets, counted for all nodes.

use crate::auth::guess::{Count, Key, Keys};
use crate::base::Timestamp;
use crate::db::{self, Conn as _, Tx};

#[derive(db::Row)]
struct CountRow {
    key: Vec<u8>,
    due: Timestamp,
    familiar_until: Option<Timestamp>,
}

/// The two counts of a guess, locked until the transaction ends. What was never counted begins at `now`.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, keys: &Keys, now: Timestamp) -> Result<(Count, Count), db::Error> {
    let new = Count { due: now, familiar_until: None };
    // In one order for all, so that two guesses at the same account never wait for each other in a circle.
    let mut both = [keys.network, keys.strangers];
    both.sort_unstable();
    tx.shared_sql("INSERT INTO guesses (key, due, forget_at) VALUES $rows ON CONFLICT (key) DO NOTHING")
        .rows(both, |statement, key| statement.bind(key.to_vec()).bind(new.due).bind(new.forget_at()))
        .execute()
        .await?;
    let rows: Vec<CountRow> = tx
        .shared_sql(db::lock!("SELECT key, due, familiar_until FROM guesses WHERE key IN $list ORDER BY key"))
        .list(both.map(|key| key.to_vec()))
        .all()
        .await?;
    let find = |key: Key| {
        let row = rows.iter().find(|row| row.key == key);
        row.map(|row| Count { due: row.due, familiar_until: row.familiar_until }).ok_or(db::Error::NotFound)
    };
    Ok((find(keys.network)?, find(keys.strangers)?))
}

/// Writes a count.
///
/// # Errors
/// What the database refuses.
pub async fn put(tx: &mut Tx, key: Key, count: &Count) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO guesses (key, due, familiar_until, forget_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key) DO UPDATE SET due = excluded.due, familiar_until = excluded.familiar_until,
            forget_at = excluded.forget_at",
    )
    .bind(key.to_vec())
    .bind(count.due)
    .bind(count.familiar_until)
    .bind(count.forget_at())
    .execute()
    .await?;
    Ok(())
}

/// Deletes counts that say nothing any more, at most `limit`, and tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, db::Error> {
    tx.shared_sql(
        "DELETE FROM guesses WHERE key IN (SELECT key FROM guesses WHERE forget_at <= $1 ORDER BY forget_at LIMIT $2)",
    )
    .bind(now)
    .bind(limit)
    .execute()
    .await
}
