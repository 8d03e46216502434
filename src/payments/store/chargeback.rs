//! Chargebacks: what card schemes took back.

use crate::db::{self, Conn, Tx};
use crate::payments::model::reconciliation::Chargeback;
use crate::payments::model::{PaymentId, ReceiptId};

/// Stores a chargeback.
///
/// # Errors
/// What the database refuses, a second one for the same row of the history among it.
pub async fn insert(tx: &mut Tx, chargeback: &Chargeback) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO chargebacks (id, organization_id, receipt_id, payment_id, event_id, provider_payment_id, state,
                currency, amount_minor, fee_minor, occurred_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(chargeback.id)
    .bind(chargeback.organization_id)
    .bind(chargeback.receipt_id)
    .bind(chargeback.payment_id)
    .bind(chargeback.event_id)
    .bind(chargeback.provider_payment_id.clone())
    .bind(chargeback.state)
    .bind(chargeback.currency)
    .bind(chargeback.amount_minor)
    .bind(chargeback.fee_minor)
    .bind(chargeback.occurred_at)
    .bind(chargeback.created_at)
    .execute()
    .await?;
    Ok(())
}

/// What was taken back of a payment, the first first.
///
/// # Errors
/// What the database refuses.
pub async fn of_payment(conn: &mut impl Conn, payment_id: PaymentId) -> Result<Vec<Chargeback>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, receipt_id, payment_id, event_id, provider_payment_id, state, currency,
                amount_minor, fee_minor, occurred_at, created_at
         FROM chargebacks WHERE payment_id = $1 ORDER BY occurred_at, id",
    )
    .bind(payment_id)
    .all()
    .await
}

/// How much was taken back of a receipt, in minor units. Whoever is to rely on it holds the receipt's lock.
///
/// # Errors
/// What the database refuses.
pub async fn taken_of(conn: &mut impl Conn, receipt_id: ReceiptId) -> Result<i64, db::Error> {
    let (taken,): (i64,) = conn
        .sql("SELECT CAST(coalesce(sum(amount_minor), 0) AS bigint) FROM chargebacks WHERE receipt_id = $1")
        .bind(receipt_id)
        .one()
        .await?;
    Ok(taken)
}
