//! The simulator's payments and their refunds.

use crate::base::{Id, Timestamp};
use crate::db::{self, Conn, Json, Tx, lock};
use crate::payments::simulator::faults::Fate;

/// Marks the id of a payment.
pub enum PaymentMark {}
/// The id of a payment in the simulator's own books.
pub type PaymentId = Id<PaymentMark>;
/// Marks the id of a refund.
pub enum RefundMark {}
/// The id of a refund.
pub type RefundId = Id<RefundMark>;

/// A payment, as the simulator knows it.
#[derive(Clone, Debug, db::Row)]
pub struct Payment {
    /// Which.
    pub id: PaymentId,
    /// The id that the shop is told.
    pub provider_payment_id: String,
    /// The shop's reference.
    pub payment_reference: String,
    /// The token that was charged or made; empty for none.
    pub token: String,
    /// What was paid for.
    pub item_name: String,
    /// How it was paid.
    pub funding: String,
    /// What became of it.
    pub status: String,
    /// The bank's code.
    pub bank_code: String,
    /// How much, in cents.
    pub gross_minor: i64,
    /// The faults that it met.
    pub fate: Json<Fate>,
    /// How often it was asked about.
    pub queries: i64,
    /// When.
    pub created_at: Timestamp,
}

/// A refund of a payment.
#[derive(Clone, Debug, db::Row)]
pub struct Refund {
    /// Which.
    pub id: RefundId,
    /// Of which payment.
    pub payment_id: PaymentId,
    /// How much, in cents.
    pub amount_minor: i64,
    /// Why.
    pub reason: String,
    /// When it is done.
    pub due_at: Timestamp,
    /// When it was; none while it is pending.
    pub completed_at: Option<Timestamp>,
}

/// Writes down a payment.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, payment: Payment) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO simulator_payments (id, provider_payment_id, payment_reference, token, item_name, funding, status,
                bank_code, gross_minor, fate, queries, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(payment.id)
    .bind(payment.provider_payment_id)
    .bind(payment.payment_reference)
    .bind(payment.token)
    .bind(payment.item_name)
    .bind(payment.funding)
    .bind(payment.status)
    .bind(payment.bank_code)
    .bind(payment.gross_minor)
    .bind(payment.fate)
    .bind(payment.queries)
    .bind(payment.created_at)
    .execute()
    .await?;
    Ok(())
}

/// The payment that the shop knows by this id.
///
/// # Errors
/// What the database refuses.
pub async fn find(conn: &mut impl Conn, provider_payment_id: &str) -> Result<Option<Payment>, db::Error> {
    conn.sql(
        "SELECT id, provider_payment_id, payment_reference, token, item_name, funding, status, bank_code, gross_minor,
                fate, queries, created_at
         FROM simulator_payments WHERE provider_payment_id = $1",
    )
    .bind(provider_payment_id.to_owned())
    .optional()
    .await
}

/// The same, locked until the transaction ends.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, provider_payment_id: &str) -> Result<Option<Payment>, db::Error> {
    tx.sql(lock!(
        "SELECT id, provider_payment_id, payment_reference, token, item_name, funding, status, bank_code, gross_minor,
                fate, queries, created_at
         FROM simulator_payments WHERE provider_payment_id = $1"
    ))
    .bind(provider_payment_id.to_owned())
    .optional()
    .await
}

/// The payment of this id.
///
/// # Errors
/// What the database refuses; [`db::Error::NotFound`].
pub async fn get(conn: &mut impl Conn, id: PaymentId) -> Result<Payment, db::Error> {
    conn.sql(
        "SELECT id, provider_payment_id, payment_reference, token, item_name, funding, status, bank_code, gross_minor,
                fate, queries, created_at
         FROM simulator_payments WHERE id = $1",
    )
    .bind(id)
    .one()
    .await
}

/// The newest payment of a token.
///
/// # Errors
/// What the database refuses.
pub async fn newest_of(conn: &mut impl Conn, token: &str) -> Result<Option<Payment>, db::Error> {
    conn.sql(
        "SELECT id, provider_payment_id, payment_reference, token, item_name, funding, status, bank_code, gross_minor,
                fate, queries, created_at
         FROM simulator_payments WHERE token = $1 ORDER BY id DESC LIMIT 1",
    )
    .bind(token.to_owned())
    .optional()
    .await
}

/// Counts that a payment was asked about, and tells how often it was by now.
///
/// # Errors
/// What the database refuses.
pub async fn count_query(tx: &mut Tx, id: PaymentId) -> Result<i64, db::Error> {
    let (queries,): (i64,) = tx
        .sql("UPDATE simulator_payments SET queries = queries + 1 WHERE id = $1 RETURNING queries")
        .bind(id)
        .one()
        .await?;
    Ok(queries)
}

/// Forgets all but the newest `keep` payments, and their refunds.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, keep: i64) -> Result<(), db::Error> {
    tx.sql(
        "DELETE FROM simulator_payments WHERE id IN (
             SELECT id FROM simulator_payments ORDER BY id DESC LIMIT 1000 OFFSET $1
         )",
    )
    .bind(keep)
    .execute()
    .await?;
    Ok(())
}

/// Writes down a refund.
///
/// # Errors
/// What the database refuses.
pub async fn insert_refund(tx: &mut Tx, refund: &Refund) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO simulator_refunds (id, payment_id, amount_minor, reason, due_at, completed_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(refund.id)
    .bind(refund.payment_id)
    .bind(refund.amount_minor)
    .bind(refund.reason.clone())
    .bind(refund.due_at)
    .bind(refund.completed_at)
    .execute()
    .await?;
    Ok(())
}

/// The refunds of a payment, the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn refunds(conn: &mut impl Conn, payment: PaymentId, limit: i64) -> Result<Vec<Refund>, db::Error> {
    conn.sql(
        "SELECT id, payment_id, amount_minor, reason, due_at, completed_at
         FROM simulator_refunds WHERE payment_id = $1 ORDER BY id LIMIT $2",
    )
    .bind(payment)
    .bind(limit)
    .all()
    .await
}

/// What of a payment was refunded or is to be, in cents.
///
/// # Errors
/// What the database refuses.
pub async fn refunded(conn: &mut impl Conn, payment: PaymentId) -> Result<i64, db::Error> {
    let (sum,): (i64,) = conn
        .sql(
            "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM simulator_refunds WHERE payment_id = $1",
        )
        .bind(payment)
        .one()
        .await?;
    Ok(sum)
}

/// Takes the next refund that is due and not done, and notes that it is.
///
/// # Errors
/// What the database refuses.
pub async fn complete_due(tx: &mut Tx, now: Timestamp) -> Result<Option<Refund>, db::Error> {
    let due: Option<Refund> = tx
        .sql(lock!(
            "SELECT id, payment_id, amount_minor, reason, due_at, completed_at
             FROM simulator_refunds WHERE completed_at IS NULL AND due_at <= $1 ORDER BY due_at, id LIMIT 1"
        ))
        .bind(now)
        .optional()
        .await?;
    let Some(refund) = due else { return Ok(None) };
    tx.sql("UPDATE simulator_refunds SET completed_at = $2 WHERE id = $1")
        .bind(refund.id)
        .bind(refund.due_at)
        .execute()
        .await?;
    Ok(Some(refund))
}
