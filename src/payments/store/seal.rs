//! The chain over the ledger: what waits for a place in it, its links, its heads and its end.

use uuid::Uuid;

use crate::base::Timestamp;
use crate::chain::{End, Head, Seal};
use crate::db::{self, Conn, Tx, lock};
use crate::payments::model::posted::{self, Entry, Posted, TransactionId};

/// The order of ids begins behind this.
pub const BEFORE_ALL: TransactionId = TransactionId::from_uuid(Uuid::nil());
/// The order of ids ends with this.
pub const AFTER_ALL: TransactionId = TransactionId::from_uuid(Uuid::max());

/// The transactions that wait from behind `after` on, in the order of their ids.
///
/// # Errors
/// What the database refuses.
pub async fn waiting_after(
    conn: &mut impl Conn,
    after: TransactionId,
    limit: i64,
) -> Result<Vec<TransactionId>, db::Error> {
    let rows: Vec<(TransactionId,)> = conn
        .shared_sql(
            "SELECT transaction_id FROM ledger_unsealed WHERE transaction_id > $1 ORDER BY transaction_id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Where the chain ends. Until the transaction ends nobody else seals.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx) -> Result<End, db::Error> {
    tx.shared_sql(lock!("SELECT position, hash FROM ledger_chain WHERE id = 1")).one().await
}

/// Appends links to the chain, takes their transactions off the queue, and moves the end. There must be a link.
///
/// # Errors
/// What the database refuses.
pub async fn append(tx: &mut Tx, seals: &[Seal], head: &Head) -> Result<(), db::Error> {
    tx.shared_sql("INSERT INTO ledger_seals (position, transaction_id, digest, hash) VALUES $rows")
        .rows(seals, |statement, seal| {
            let statement = statement.bind(seal.position).bind(seal.id);
            statement.bind(seal.digest.clone()).bind(seal.hash.clone())
        })
        .execute()
        .await?;
    tx.shared_sql("DELETE FROM ledger_unsealed WHERE transaction_id IN $list")
        .list(seals.iter().map(|seal| seal.id))
        .execute()
        .await?;
    tx.shared_sql(
        "INSERT INTO ledger_heads (position, previous_position, hash, public_key, signature, signed_at)
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
    tx.shared_sql("UPDATE ledger_chain SET position = $1, hash = $2 WHERE id = 1")
        .bind(head.position)
        .bind(head.hash.clone())
        .execute()
        .await?;
    Ok(())
}

/// Where the chain ends by all that is stored of it, and what waits behind that.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Ends {
    /// The stored end.
    pub position: i64,
    /// The hash there.
    pub hash: Vec<u8>,
    /// The position of the last link; 0 when there is none.
    pub last_seal: i64,
    /// The position of the last head; 0 when there is none.
    pub last_head: i64,
    /// How many transactions wait.
    pub waiting: i64,
    /// How many entries they have.
    pub waiting_entries: i64,
    /// Since when the first of them waits.
    pub waiting_since: Option<Timestamp>,
}

/// Where the chain ends, and what waits, at one moment.
///
/// # Errors
/// What the database refuses.
pub async fn ends(conn: &mut impl Conn) -> Result<Ends, db::Error> {
    conn.shared_sql(
        "SELECT position, hash,
            coalesce((SELECT position FROM ledger_seals ORDER BY position DESC LIMIT 1), 0) AS last_seal,
            coalesce((SELECT position FROM ledger_heads ORDER BY position DESC LIMIT 1), 0) AS last_head,
            (SELECT count(*) FROM ledger_unsealed) AS waiting,
            (SELECT count(*) FROM ledger_entries
             WHERE transaction_id IN (SELECT transaction_id FROM ledger_unsealed)) AS waiting_entries,
            (SELECT min(posted_at) FROM ledger_unsealed) AS waiting_since
         FROM ledger_chain WHERE id = 1",
    )
    .one()
    .await
}

/// The links after one position and up to another.
///
/// # Errors
/// What the database refuses.
pub async fn links(conn: &mut impl Conn, after: i64, until: i64, limit: i64) -> Result<Vec<Seal>, db::Error> {
    conn.shared_sql(
        "SELECT position, transaction_id AS id, digest, hash FROM ledger_seals
         WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
    )
    .bind(after)
    .bind(until)
    .bind(limit)
    .all()
    .await
}

/// The heads after a position, in their order.
///
/// # Errors
/// What the database refuses.
pub async fn heads(conn: &mut impl Conn, after: i64, until: i64, limit: i64) -> Result<Vec<Head>, db::Error> {
    conn.shared_sql(
        "SELECT position, previous_position, hash, public_key, signature, signed_at FROM ledger_heads
         WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
    )
    .bind(after)
    .bind(until)
    .bind(limit)
    .all()
    .await
}

/// The last head; none before there is any.
///
/// # Errors
/// What the database refuses.
pub async fn last_head(conn: &mut impl Conn) -> Result<Option<Head>, db::Error> {
    conn.shared_sql(
        "SELECT position, previous_position, hash, public_key, signature, signed_at FROM ledger_heads
         ORDER BY position DESC LIMIT 1",
    )
    .optional()
    .await
}

/// Those of these transactions that are there, as they stand there, in the order of their ids. At most some thousands.
///
/// # Errors
/// What the database refuses.
pub async fn posted(conn: &mut impl Conn, ids: &[TransactionId]) -> Result<Vec<Posted>, db::Error> {
    let heads: Vec<posted::Head> = conn
        .sql(
            "SELECT head.id, head.organization_id, head.kind, head.payment_id, head.invoice_id, head.event_id,
                head.memo, head.created_at, posting.posted_at
             FROM ledger_transactions AS head LEFT JOIN ledger_postings AS posting ON posting.transaction_id = head.id
             WHERE head.id IN $list",
        )
        .list(ids.iter().copied())
        .all()
        .await?;
    let entries: Vec<Entry> = conn
        .shared_sql(
            "SELECT transaction_id, position, account_id, currency, amount_minor FROM ledger_entries
             WHERE transaction_id IN $list ORDER BY transaction_id, position",
        )
        .list(ids.iter().copied())
        .all()
        .await?;
    Ok(Posted::join(heads, entries).into_values().collect())
}

/// The id of the last of the next `count` transactions behind `after`; none when there are not so many.
///
/// # Errors
/// What the database refuses.
pub async fn page_end(
    conn: &mut impl Conn,
    after: TransactionId,
    count: i64,
) -> Result<Option<TransactionId>, db::Error> {
    let row: Option<(TransactionId,)> = conn
        .sql("SELECT id FROM ledger_transactions WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2")
        .bind(after)
        .bind(count.saturating_sub(1))
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// The first transaction behind one and up to another that neither has a place in the chain nor waits for one.
///
/// # Errors
/// What the database refuses.
pub async fn unchained(
    conn: &mut impl Conn,
    after: TransactionId,
    until: TransactionId,
) -> Result<Option<TransactionId>, db::Error> {
    let row: Option<(TransactionId,)> = conn
        .sql(
            "SELECT head.id FROM ledger_transactions AS head
             WHERE head.id > $1 AND head.id <= $2
               AND NOT EXISTS (SELECT 1 FROM ledger_seals AS seal WHERE seal.transaction_id = head.id)
               AND NOT EXISTS (SELECT 1 FROM ledger_unsealed AS waiting WHERE waiting.transaction_id = head.id)
             ORDER BY head.id LIMIT 1",
        )
        .bind(after)
        .bind(until)
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// The first transaction behind one and up to another of which there are entries and no head.
///
/// # Errors
/// What the database refuses.
pub async fn headless(
    conn: &mut impl Conn,
    after: TransactionId,
    until: TransactionId,
) -> Result<Option<TransactionId>, db::Error> {
    let row: Option<(TransactionId,)> = conn
        .sql(
            "SELECT entry.transaction_id FROM ledger_entries AS entry
             WHERE entry.transaction_id > $1 AND entry.transaction_id <= $2
               AND NOT EXISTS (SELECT 1 FROM ledger_transactions AS head WHERE head.id = entry.transaction_id)
             ORDER BY entry.transaction_id LIMIT 1",
        )
        .bind(after)
        .bind(until)
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}
