//! What claimed to be a notification and is not signed: kept as evidence, bounded by count and age, never acted on.

use crate::base::{Id, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::Provider;

/// Something that is not signed, as it came.
#[derive(Debug)]
pub struct Suspect {
    /// Whether it came from the provider's own addresses. Those have room of their own.
    pub listed_source: bool,
    /// The bytes.
    pub body: Vec<u8>,
    /// The address that it came from.
    pub peer: String,
    /// The headers that may matter, as JSON.
    pub headers: String,
    /// What is wrong with it.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Marks the id of a suspect.
pub enum SuspectMark {}
/// The id of a suspect.
pub type SuspectId = Id<SuspectMark>;

/// Stores a suspect.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, id: SuspectId, suspect: &Suspect) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO provider_quarantine (id, provider, listed_source, body, peer, headers, reason, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(Provider::Payfast)
    .bind(suspect.listed_source)
    .bind(suspect.body.clone())
    .bind(suspect.peer.clone())
    .bind(suspect.headers.clone())
    .bind(suspect.reason.clone())
    .bind(suspect.at)
    .execute()
    .await?;
    Ok(())
}

/// Forgets what came before `before`, and all but the newest `keep` of one kind of source.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, listed_source: bool, before: Timestamp, keep: i64) -> Result<u64, db::Error> {
    tx.sql(
        "DELETE FROM provider_quarantine WHERE listed_source = $1 AND (received_at < $2 OR id IN (
             SELECT id FROM provider_quarantine WHERE listed_source = $1
             ORDER BY received_at DESC, id DESC LIMIT 1000 OFFSET $3
         ))",
    )
    .bind(listed_source)
    .bind(before)
    .bind(keep)
    .execute()
    .await
}

/// A suspect as it is kept.
#[derive(Clone, Debug, db::Row)]
pub struct Kept {
    /// Its id.
    pub id: SuspectId,
    /// The bytes; of long ones the beginning.
    pub body: Vec<u8>,
    /// The address that it came from.
    pub peer: String,
    /// The headers that may matter, as JSON.
    pub headers: String,
    /// What is wrong with it.
    pub reason: String,
    /// When it came.
    pub received_at: Timestamp,
}

/// A suspect.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: SuspectId) -> Result<Option<Kept>, db::Error> {
    conn.sql("SELECT id, body, peer, headers, reason, received_at FROM provider_quarantine WHERE id = $1")
        .bind(id)
        .optional()
        .await
}

/// Suspects that came from a time on and before another, the newest first, after a place in that order.
///
/// # Errors
/// What the database refuses.
pub async fn page(
    conn: &mut impl Conn,
    from: Timestamp,
    after: (Timestamp, SuspectId),
    limit: i64,
) -> Result<Vec<Kept>, db::Error> {
    conn.sql(
        "SELECT id, body, peer, headers, reason, received_at FROM provider_quarantine
         WHERE received_at >= $1 AND (received_at, id) < ($2, $3) ORDER BY received_at DESC, id DESC LIMIT $4",
    )
    .bind(from)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Takes a suspect out. False when it is not there any more.
///
/// # Errors
/// What the database refuses.
pub async fn release(tx: &mut Tx, id: SuspectId) -> Result<bool, db::Error> {
    Ok(tx.sql("DELETE FROM provider_quarantine WHERE id = $1").bind(id).execute().await? == 1)
}

/// How many suspects are kept.
///
/// # Errors
/// What the database refuses.
pub async fn count(conn: &mut impl Conn) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn.sql("SELECT count(*) FROM provider_quarantine").one().await?;
    Ok(count)
}
