//! Comparing the ledger with what the rest of the platform believes. Each question is one statement, so that each
//! answer is of one moment.

use crate::db::{self, Conn};
use crate::payments::model::posted::TransactionId;
use crate::payments::model::reconciliation::ChargebackId;
use crate::payments::model::{InvoiceId, PaymentId, ReceiptId, RefundId};

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

/// Invoices that disagree with the ledger about what credit notes took off them, tax included.
///
/// # Errors
/// What the database refuses.
pub async fn credited(conn: &mut impl Conn, limit: i64) -> Result<Vec<(InvoiceId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT invoice.id AS id, invoice.credited_minor AS expected,
                    CAST(coalesce(sum(entry.amount_minor), 0) AS bigint) AS booked
             FROM invoices AS invoice
             LEFT JOIN ledger_transactions AS head ON head.invoice_id = invoice.id AND head.kind = 'credit_note'
             LEFT JOIN ledger_entries AS entry
                    ON entry.transaction_id = head.id AND entry.account_id IN ('refunds', 'vat_output')
             GROUP BY invoice.id, invoice.credited_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Invoices that disagree with their credit notes about what those took off them, tax included.
///
/// # Errors
/// What the database refuses.
pub async fn noted(conn: &mut impl Conn, limit: i64) -> Result<Vec<(InvoiceId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, noted FROM (
             SELECT invoice.id AS id, invoice.credited_minor AS expected,
                    CAST(coalesce(sum(note.amount_minor), 0) AS bigint) AS noted
             FROM invoices AS invoice LEFT JOIN credit_notes AS note ON note.invoice_id = invoice.id
             GROUP BY invoice.id, invoice.credited_minor
         ) AS compared WHERE expected <> noted ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Invoices whose credit notes disagree with the ledger about the tax that they gave back: what the notes say, and what
/// the ledger says.
///
/// # Errors
/// What the database refuses.
pub async fn credited_tax(conn: &mut impl Conn, limit: i64) -> Result<Vec<(InvoiceId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT note.invoice_id AS id, CAST(sum(note.tax_minor) AS bigint) AS expected,
                    (SELECT CAST(coalesce(sum(entry.amount_minor), 0) AS bigint)
                     FROM ledger_transactions AS head
                     JOIN ledger_entries AS entry
                       ON entry.transaction_id = head.id AND entry.account_id = 'vat_output'
                     WHERE head.invoice_id = note.invoice_id AND head.kind = 'credit_note') AS booked
             FROM credit_notes AS note GROUP BY note.invoice_id
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Invoices that disagree with the ledger about what was given up for lost: what should be, which is something only for
/// one that is uncollectible, and what the ledger says, tax included.
///
/// # Errors
/// What the database refuses.
pub async fn written_off(conn: &mut impl Conn, limit: i64) -> Result<Vec<(InvoiceId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT invoice.id AS id,
                    CASE WHEN invoice.status = 'uncollectible'
                         THEN invoice.total_minor - invoice.credited_minor ELSE 0 END AS expected,
                    CAST(coalesce(sum(entry.amount_minor), 0) AS bigint) AS booked
             FROM invoices AS invoice
             LEFT JOIN ledger_transactions AS head ON head.invoice_id = invoice.id AND head.kind = 'write_off'
             LEFT JOIN ledger_entries AS entry
                    ON entry.transaction_id = head.id AND entry.account_id IN ('bad_debts', 'vat_output')
             GROUP BY invoice.id, invoice.status, invoice.total_minor, invoice.credited_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Payments that disagree with the ledger: what a settled one should have brought, or 0 for one that is not settled,
/// and what the ledger says that it brought, fee included; what was held for it before included.
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
                    ON entry.transaction_id = head.id
                       AND entry.account_id IN ('payfast_clearing', 'provider_fees', 'unapplied_receipts')
             GROUP BY payment.id, payment.status, payment.amount_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Receipts that disagree with the ledger about what came in: what should have, and what the ledger says, fee included.
///
/// # Errors
/// What the database refuses.
pub async fn receipts(conn: &mut impl Conn, limit: i64) -> Result<Vec<(ReceiptId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT receipt.id AS id, receipt.gross_minor AS expected,
                    CAST(coalesce(sum(entry.amount_minor), 0) AS bigint) AS booked
             FROM receipts AS receipt
             LEFT JOIN ledger_transactions AS head
                    ON head.event_id = receipt.event_id AND head.kind IN ('settlement', 'unapplied_receipt')
             LEFT JOIN ledger_entries AS entry
                    ON entry.transaction_id = head.id AND entry.account_id IN ('payfast_clearing', 'provider_fees')
             GROUP BY receipt.id, receipt.gross_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Receipts of which another amount is set aside or given back than their refunds say: what they say, and what is.
///
/// # Errors
/// What the database refuses.
pub async fn returned(conn: &mut impl Conn, limit: i64) -> Result<Vec<(ReceiptId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, returned FROM (
             SELECT receipt.id AS id, receipt.returned_minor AS returned,
                    CAST(coalesce(sum(refund.amount_minor), 0) AS bigint) AS expected
             FROM receipts AS receipt
             LEFT JOIN refunds AS refund
                    ON refund.receipt_id = receipt.id AND refund.status IN ('approved', 'sent', 'unknown', 'succeeded')
             GROUP BY receipt.id, receipt.returned_minor
         ) AS compared WHERE expected <> returned ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Refunds that disagree with the ledger: what one that succeeded should have taken from what we owe, or 0 for any
/// other, and what the ledger says. Credit that a credit note gave is that note's.
///
/// # Errors
/// What the database refuses.
pub async fn refunds(conn: &mut impl Conn, limit: i64) -> Result<Vec<(RefundId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT refund.id AS id,
                    CASE WHEN refund.status = 'succeeded'
                              AND (refund.destination = 'source' OR receipt.status = 'unapplied')
                         THEN refund.amount_minor ELSE 0 END AS expected,
                    CAST(coalesce(sum(entry.amount_minor), 0) AS bigint) AS booked
             FROM refunds AS refund
             JOIN receipts AS receipt ON receipt.id = refund.receipt_id
             LEFT JOIN ledger_entries AS entry
                    ON entry.transaction_id = refund.transaction_id AND entry.amount_minor > 0
                       AND entry.account_id IN ('customer_credit', 'unapplied_receipts')
             GROUP BY refund.id, refund.status, refund.destination, receipt.status, refund.amount_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Transactions of refunds that no refund knows.
///
/// # Errors
/// What the database refuses.
pub async fn refunds_of_nobody(conn: &mut impl Conn, limit: i64) -> Result<Vec<(TransactionId,)>, db::Error> {
    conn.sql(
        "SELECT head.id FROM ledger_transactions AS head
         WHERE head.kind = 'refund'
           AND NOT EXISTS (SELECT 1 FROM refunds AS refund WHERE refund.transaction_id = head.id)
         ORDER BY head.id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Chargebacks that disagree with the ledger: what was taken, and what the ledger says that was.
///
/// # Errors
/// What the database refuses.
pub async fn chargebacks(
    conn: &mut impl Conn,
    limit: i64,
) -> Result<Vec<(ChargebackId, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT id, expected, booked FROM (
             SELECT taken.id AS id, taken.amount_minor AS expected,
                    CAST(coalesce(sum(entry.amount_minor), 0) AS bigint) AS booked
             FROM chargebacks AS taken
             LEFT JOIN ledger_transactions AS head ON head.event_id = taken.event_id AND head.kind = 'chargeback'
             LEFT JOIN ledger_entries AS entry ON entry.transaction_id = head.id AND entry.account_id = 'chargebacks'
             GROUP BY taken.id, taken.amount_minor
         ) AS compared WHERE expected <> booked ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}
