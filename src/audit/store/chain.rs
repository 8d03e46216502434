//! The chain: what waits for a place in it, its links, its heads and its end.

use crate::audit::model::event::EventId;
use crate::base::Timestamp;
use crate::chain::{End, Head, Seal};
use crate::db::{self, Conn, Tx, lock};

/// Has an entry wait for its place.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn enqueue(
    tx: &mut Tx,
    id: EventId,
    digest: [u8; 32],
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.shared_sql("INSERT INTO audit_unsealed (event_id, digest, waits_since) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(digest.to_vec())
        .bind(at)
        .execute()
        .await?;
    Ok(())
}

/// Whether any entry waits.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn is_waiting(conn: &mut impl Conn) -> Result<bool, db::Error> {
    let first: Option<(EventId,)> =
        conn.shared_sql("SELECT event_id FROM audit_unsealed ORDER BY event_id LIMIT 1").optional().await?;
    Ok(first.is_some())
}

/// How many entries wait, of at most `limit`, and since when the first of them does.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn waiting(
    conn: &mut impl Conn,
    limit: i64,
) -> Result<(i64, Option<Timestamp>), db::Error> {
    conn.shared_sql(
        "SELECT count(*), min(waits_since) FROM (
            SELECT waits_since FROM audit_unsealed ORDER BY event_id LIMIT $1
         ) AS waiting",
    )
    .bind(limit)
    .one()
    .await
}

/// The last signed head.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn last_head(conn: &mut impl Conn) -> Result<Option<Head>, db::Error> {
    conn.shared_sql(
        "SELECT position, previous_position, hash, public_key, signature, signed_at FROM audit_heads
         ORDER BY position DESC LIMIT 1",
    )
    .optional()
    .await
}

/// Where the chain ends. Until the transaction ends nobody else seals.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn lock(tx: &mut Tx) -> Result<End, db::Error> {
    tx.shared_sql(lock!("SELECT position, hash FROM audit_chain WHERE id = 1")).one().await
}

/// Appends links to the chain, takes their entries off the queue, and moves the end. There must be a link.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn append(tx: &mut Tx, seals: &[Seal], head: &Head) -> Result<(), db::Error> {
    tx.shared_sql("INSERT INTO audit_seals (position, event_id, digest, hash) VALUES $rows")
        .rows(seals, |statement, seal| {
            let statement = statement.bind(seal.position).bind(seal.id);
            statement.bind(seal.digest.clone()).bind(seal.hash.clone())
        })
        .execute()
        .await?;
    tx.shared_sql("DELETE FROM audit_unsealed WHERE event_id IN $list")
        .list(seals.iter().map(|seal| seal.id))
        .execute()
        .await?;
    tx.shared_sql(
        "INSERT INTO audit_heads (position, previous_position, hash, public_key, signature, signed_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(head.position)
    .bind(head.previous_position)
    .bind(head.hash.clone())
    .bind(head.public_key.clone())
    .bind(head.signature.clone())
    .bind(head.signed_at)
    .execute()
    .await?;
    tx.shared_sql("UPDATE audit_chain SET position = $1, hash = $2 WHERE id = 1")
        .bind(head.position)
        .bind(head.hash.clone())
        .execute()
        .await?;
    Ok(())
}

/// Where the chain ends by all that is stored of it.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub(in crate::audit) struct Ends {
    /// The stored end.
    pub position: i64,
    /// The hash there.
    pub hash: Vec<u8>,
    /// The position of the last link; 0 when there is none.
    pub last_seal: i64,
    /// The position of the last head; 0 when there is none.
    pub last_head: i64,
}

/// Where the chain ends, at one moment.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn ends(conn: &mut impl Conn) -> Result<Ends, db::Error> {
    conn.shared_sql(
        "SELECT position, hash,
            coalesce((SELECT position FROM audit_seals ORDER BY position DESC LIMIT 1), 0) AS last_seal,
            coalesce((SELECT position FROM audit_heads ORDER BY position DESC LIMIT 1), 0) AS last_head
         FROM audit_chain WHERE id = 1",
    )
    .one()
    .await
}

/// The links after one position and up to another.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn links(
    conn: &mut impl Conn,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Seal>, db::Error> {
    conn.shared_sql(
        "SELECT position, event_id AS id, digest, hash FROM audit_seals
         WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
    )
    .bind(after)
    .bind(until)
    .bind(limit)
    .all()
    .await
}

/// The positions after one and up to another whose entries are there.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn present(
    conn: &mut impl Conn,
    after: i64,
    until: i64,
) -> Result<Vec<(i64,)>, db::Error> {
    conn.sql(
        "SELECT s.position FROM audit_seals AS s JOIN audit_events AS e ON e.id = s.event_id
         WHERE s.position > $1 AND s.position <= $2 ORDER BY s.position",
    )
    .bind(after)
    .bind(until)
    .all()
    .await
}

/// The heads after a position, in their order.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn heads(
    conn: &mut impl Conn,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Head>, db::Error> {
    conn.shared_sql(
        "SELECT position, previous_position, hash, public_key, signature, signed_at FROM audit_heads
         WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
    )
    .bind(after)
    .bind(until)
    .bind(limit)
    .all()
    .await
}

/// The places of those of the entries that have one. At most some thousands.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn places(
    conn: &mut impl Conn,
    events: &[EventId],
) -> Result<Vec<Seal>, db::Error> {
    conn.shared_sql("SELECT position, event_id AS id, digest, hash FROM audit_seals WHERE event_id IN $list")
        .list(events.iter().copied())
        .all()
        .await
}

/// The link at a position.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn link_at(
    conn: &mut impl Conn,
    position: i64,
) -> Result<Option<Seal>, db::Error> {
    conn.shared_sql("SELECT position, event_id AS id, digest, hash FROM audit_seals WHERE position = $1")
        .bind(position)
        .optional()
        .await
}

/// The entries that wait from behind `after` on, with their digests.
///
/// # Errors
/// What the database refuses.
pub(in crate::audit) async fn waiting_after(
    conn: &mut impl Conn,
    after: EventId,
    limit: i64,
) -> Result<Vec<(EventId, Vec<u8>)>, db::Error> {
    conn.shared_sql(
        "SELECT event_id, digest FROM audit_unsealed WHERE event_id > $1 ORDER BY event_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .all()
    .await
}
