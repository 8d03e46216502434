//! Receipts: money that arrived.

use crate::db::{self, Conn, Tx};
use crate::payments::model::{EventId, InvoiceId, PaymentId, Provider, Receipt, ReceiptId, ReceiptStatus};

/// Stores that money arrived.
///
/// # Errors
/// What the database refuses, a second receipt for the same payment at the provider among it.
pub async fn insert(tx: &mut Tx, receipt: &Receipt) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO receipts (id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id,
                status, currency, gross_minor, fee_minor, returned_minor, test, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(receipt.id)
    .bind(receipt.organization_id)
    .bind(receipt.payment_id)
    .bind(receipt.invoice_id)
    .bind(receipt.event_id)
    .bind(receipt.provider)
    .bind(receipt.provider_payment_id.clone())
    .bind(receipt.status)
    .bind(receipt.currency)
    .bind(receipt.gross_minor)
    .bind(receipt.fee_minor)
    .bind(receipt.returned_minor)
    .bind(receipt.test)
    .bind(receipt.created_at)
    .execute()
    .await?;
    Ok(())
}

/// What arrived for a payment, the first first: more than one when it was paid more than once. For the platform.
///
/// # Errors
/// What the database refuses.
pub async fn of_payment(conn: &mut impl Conn, payment_id: PaymentId) -> Result<Vec<Receipt>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id, status, currency,
                gross_minor, fee_minor, returned_minor, test, created_at
         FROM receipts WHERE payment_id = $1 ORDER BY created_at, id",
    )
    .bind(payment_id)
    .all()
    .await
}

/// What paid an invoice, the first first.
///
/// # Errors
/// What the database refuses.
pub async fn of_invoice(conn: &mut impl Conn, invoice_id: InvoiceId) -> Result<Vec<Receipt>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id, status, currency,
                gross_minor, fee_minor, returned_minor, test, created_at
         FROM receipts WHERE invoice_id = $1 ORDER BY created_at, id",
    )
    .bind(invoice_id)
    .all()
    .await
}

/// A receipt, locked.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, id: ReceiptId) -> Result<Receipt, db::Error> {
    tx.sql(db::lock!(
        "SELECT id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id, status, currency,
                gross_minor, fee_minor, returned_minor, test, created_at
         FROM receipts WHERE id = $1"
    ))
    .bind(id)
    .one()
    .await
}

/// The money that paid the invoice of a payment, if it came. For the platform.
///
/// # Errors
/// What the database refuses.
pub async fn applied_of_payment(
    conn: &mut impl Conn,
    payment_id: PaymentId,
) -> Result<Option<Receipt>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id, status, currency,
                gross_minor, fee_minor, returned_minor, test, created_at
         FROM receipts WHERE payment_id = $1 AND status = $2 ORDER BY created_at, id LIMIT 1",
    )
    .bind(payment_id)
    .bind(ReceiptStatus::Applied)
    .optional()
    .await
}

/// The money that a notification told of, if it told of any. For the platform.
///
/// # Errors
/// What the database refuses.
pub async fn of_event(conn: &mut impl Conn, event_id: EventId) -> Result<Option<Receipt>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id, status, currency,
                gross_minor, fee_minor, returned_minor, test, created_at
         FROM receipts WHERE event_id = $1 ORDER BY created_at, id LIMIT 1",
    )
    .bind(event_id)
    .optional()
    .await
}

/// The receipt of a payment at the provider, if there is one.
///
/// # Errors
/// What the database refuses.
pub async fn of_provider_payment(conn: &mut impl Conn, payment: &str) -> Result<Option<Receipt>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id, status, currency,
                gross_minor, fee_minor, returned_minor, test, created_at
         FROM receipts WHERE provider = $1 AND provider_payment_id = $2",
    )
    .bind(Provider::Payfast)
    .bind(payment.to_owned())
    .optional()
    .await
}

/// A receipt. For the platform.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: ReceiptId) -> Result<Option<Receipt>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id, status, currency,
                gross_minor, fee_minor, returned_minor, test, created_at
         FROM receipts WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// Writes what was given back of a locked receipt, or is about to be.
///
/// # Errors
/// What the database refuses: more than the whole.
pub async fn set_returned(tx: &mut Tx, receipt: &Receipt) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE receipts SET returned_minor = $3 WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1",
    )
    .bind(receipt.organization_id)
    .bind(receipt.id)
    .bind(receipt.returned_minor)
    .execute()
    .await?;
    Ok(())
}

/// Writes that a locked receipt, which was nobody's order's, paid an invoice after all.
///
/// # Errors
/// What the database refuses.
pub async fn set_applied(tx: &mut Tx, receipt: &Receipt) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE receipts SET organization_id = $2, payment_id = $3, invoice_id = $4, status = $5
         WHERE id = $1 AND status = $6",
    )
    .bind(receipt.id)
    .bind(receipt.organization_id)
    .bind(receipt.payment_id)
    .bind(receipt.invoice_id)
    .bind(ReceiptStatus::Applied)
    .bind(ReceiptStatus::Unapplied)
    .execute()
    .await?;
    Ok(())
}
