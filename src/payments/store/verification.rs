//! Recomputing the ledger from its entries. Each question is one statement, so that each answer is of one moment.

use crate::base::{Currency, Id};
use crate::db::{self, Conn};
use crate::payments::model::ledger::Account;
use crate::payments::model::reconciliation::ChargebackId;
use crate::payments::model::{InvoiceId, PaymentId};

use super::ledger::TransactionMark;

/// How many transactions and how many entries there are.
///
/// # Errors
/// What the database refuses.
pub async fn counts(conn: &mut impl Conn) -> Result<(i64, i64), db::Error> {
    conn.sql("SELECT (SELECT count(*) FROM ledger_transactions), (SELECT count(*) FROM ledger_entries)")
        .one()
        .await
}

/// The balance of each account in each currency.
///
/// # Errors
/// What the database refuses.
pub async fn balances(conn: &mut impl Conn) -> Result<Vec<(Account, Currency, i64)>, db::Error> {
    conn.sql(
        "SELECT account_id, currency, CAST(sum(amount_minor) AS bigint) FROM ledger_entries
         GROUP BY account_id, currency ORDER BY account_id, currency",
    )
    .all()
    .await
}

/// Transactions whose entries do not sum to zero in a currency, and by how much.
///
/// # Errors
/// What the database refuses.
pub async fn unbalanced(
    conn: &mut impl Conn,
    limit: i64,
) -> Result<Vec<(Id<TransactionMark>, Currency, i64)>, db::Error> {
    conn.sql(
        "SELECT transaction_id, currency, CAST(sum(amount_minor) AS bigint) FROM ledger_entries
         GROUP BY transaction_id, currency HAVING sum(amount_minor) <> 0 ORDER BY transaction_id, currency LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Transactions with fewer than two entries, or without a posting: how many entries, and whether posted (1) or not (0).
///
/// # Errors
/// What the database refuses.
pub async fn incomplete(
    conn: &mut impl Conn,
    limit: i64,
) -> Result<Vec<(Id<TransactionMark>, i64, i64)>, db::Error> {
    conn.sql(
        "SELECT head.id, (SELECT count(*) FROM ledger_entries AS entry WHERE entry.transaction_id = head.id),
                (SELECT count(*) FROM ledger_postings AS posting WHERE posting.transaction_id = head.id)
         FROM ledger_transactions AS head
         WHERE (SELECT count(*) FROM ledger_entries AS entry WHERE entry.transaction_id = head.id) < 2
            OR NOT EXISTS (SELECT 1 FROM ledger_postings AS posting WHERE posting.transaction_id = head.id)
         ORDER BY head.id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

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
