//! The wrapped keys of persons.

use uuid::Uuid;

use crate::base::Timestamp;
use crate::db::{self, Conn, Tx};

/// Inserts a person's key. When another transaction has just done so, it is waited for, and nothing is written.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn insert(
    tx: &mut Tx,
    person: Uuid,
    wrapped: Vec<u8>,
    expires_at: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO audit_people (person_id, wrapped, expires_at, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (person_id) DO NOTHING",
    )
    .bind(person)
    .bind(wrapped)
    .bind(expires_at)
    .bind(at)
    .execute()
    .await?;
    Ok(())
}

/// A person's key, wrapped.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn wrapped(
    conn: &mut impl Conn,
    person: Uuid,
) -> Result<Option<Vec<u8>>, db::Error> {
    let row: Option<(Vec<u8>,)> = conn
        .shared_sql("SELECT wrapped FROM audit_people WHERE person_id = $1")
        .bind(person)
        .optional()
        .await?;
    Ok(row.map(|(wrapped,)| wrapped))
}

/// The keys of those of the persons who have one, wrapped. At most some thousands.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn wrapped_among(
    conn: &mut impl Conn,
    people: &[Uuid],
) -> Result<Vec<(Uuid, Vec<u8>)>, db::Error> {
    conn.shared_sql("SELECT person_id, wrapped FROM audit_people WHERE person_id IN $list")
        .list(people.iter().copied())
        .all()
        .await
}

/// Deletes a person's key.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn delete(tx: &mut Tx, person: Uuid) -> Result<(), db::Error> {
    tx.shared_sql("DELETE FROM audit_people WHERE person_id = $1").bind(person).execute().await?;
    Ok(())
}

/// Deletes keys whose time is over, at most `limit`; tells how many.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn prune(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, db::Error> {
    tx.shared_sql(
        "DELETE FROM audit_people WHERE person_id IN (
            SELECT person_id FROM audit_people WHERE expires_at IS NOT NULL AND expires_at <= $1
            ORDER BY expires_at LIMIT $2)",
    )
    .bind(now)
    .bind(limit)
    .execute()
    .await
}
