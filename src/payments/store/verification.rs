//! Comparing the ledger with what the rest of the platform believes. Each question is one statement, so that each
//! answer is of one moment.

use crate::db::{self, Conn};
use crate::payments::model::{InvoiceId, PaymentId};

/// Invoices that disagree with the ledger about what they earned: what an issued one should have, or 0 for one that is
/// not issued, and what the ledger says, tax included.
///
/// # Errors
/// What the database refuses.
pub async fn issued(conn: &mut impl Conn, limit: i64) -> Result<Vec<(InvoiceId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT invoice.id AS id,
                    CASE WHEN invoice.number IS NULL THEN 0 ELSE invoice.total_minor END AS expected,
                    CAST(coalesce(-sum(entry.amount_minor), 0) AS bigint) AS booked
             FROM invoices AS invoice
             LEFT JOIN ledger_transactions AS head ON head.invoice_id = invoice.id AND head.kind = 'invoice_issued'
             LEFT JOIN ledger_entries AS entry
                    ON entry.transaction_id = head.id AND entry.account_id IN ('revenue', 'vat_output')
             GROUP BY invoice.id, invoice.number, invoice.total_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Invoices that disagree with the ledger about what is owed on them: what should be, which is something only while one
/// is issued and open, and what the ledger says.
///
/// # Errors
/// What the database refuses.
pub async fn owed(conn: &mut impl Conn, limit: i64) -> Result<Vec<(InvoiceId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT invoice.id AS id,
                    CASE WHEN invoice.status = 'open' AND invoice.number IS NOT NULL
                         THEN invoice.total_minor - invoice.credited_minor ELSE 0 END AS expected,
                    CAST(coalesce(sum(entry.amount_minor), 0) AS bigint) AS booked
             FROM invoices AS invoice
             LEFT JOIN ledger_transactions AS head ON head.invoice_id = invoice.id
             LEFT JOIN ledger_entries AS entry ON entry.transaction_id = head.id AND entry.account_id = 'receivable'
             GROUP BY invoice.id, invoice.status, invoice.number, invoice.total_minor, invoice.credited_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Payments that disagree with the ledger: what a settled one should have brought, or 0 for one that is not settled,
/// and what the ledger says that it brought, fee included.
///
/// # Errors
/// What the database refuses.
pub async fn payments(conn: &mut impl Conn, limit: i64) -> Result<Vec<(PaymentId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT payment.id AS id,
                    CASE WHEN payment.status = 'succeeded' THEN payment.amount_minor ELSE 0 END AS expected,
                    CAST(coalesce(sum(entry.amount_minor), 0) AS bigint) AS booked
             FROM payments AS payment
             LEFT JOIN ledger_transactions AS head ON head.payment_id = payment.id AND head.kind = 'settlement'
             LEFT JOIN ledger_entries AS entry
                    ON entry.transaction_id = head.id AND entry.account_id IN ('payfast_clearing', 'provider_fees')
             GROUP BY payment.id, payment.status, payment.amount_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}
