//! Reading the ledger: which transactions there are, what they are about, and what their entries sum up to.
//!
//! Lists are read in two steps. Which transactions a page holds is answered by an index in the order of the list; what
//! they are about, and their entries, by their ids. So a page costs what it holds, however many there are.

use crate::base::{Currency, OrganizationId, Timestamp};
use crate::db::{self, Conn};
use crate::payments::model::ledger::{Account, Kind};
use crate::payments::model::period::Period;
use crate::payments::model::transaction::About;
use crate::payments::model::{InvoiceId, PaymentId, TransactionId};

/// Which transactions are wanted of a list.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of these kinds.
    pub kinds: Vec<Kind>,
    /// Behind this place in the order of the list.
    pub after: (Timestamp, TransactionId),
    /// How far the list goes. The newest first: not booked before this. The oldest first: booked before this.
    pub end: Timestamp,
    /// At most so many.
    pub limit: i64,
}

/// Transactions of an organisation, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn newest_of(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    wanted: &Wanted,
) -> Result<Vec<TransactionId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM ledger_transactions
             WHERE organization_id = $1 AND (created_at, id) < ($2, $3) AND created_at >= $4 AND kind IN $list
             ORDER BY created_at DESC, id DESC LIMIT $5",
        )
        .bind(organization_id)
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.kinds.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// Transactions of the whole platform, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn newest(conn: &mut impl Conn, wanted: &Wanted) -> Result<Vec<TransactionId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM ledger_transactions
             WHERE (created_at, id) < ($1, $2) AND created_at >= $3 AND kind IN $list
             ORDER BY created_at DESC, id DESC LIMIT $4",
        )
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.kinds.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// Transactions of an organisation, the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn oldest_of(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    wanted: &Wanted,
) -> Result<Vec<TransactionId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM ledger_transactions
             WHERE organization_id = $1 AND (created_at, id) > ($2, $3) AND created_at < $4 AND kind IN $list
             ORDER BY created_at, id LIMIT $5",
        )
        .bind(organization_id)
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.kinds.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// Transactions of the whole platform, the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn oldest(conn: &mut impl Conn, wanted: &Wanted) -> Result<Vec<TransactionId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM ledger_transactions
             WHERE (created_at, id) > ($1, $2) AND created_at < $3 AND kind IN $list
             ORDER BY created_at, id LIMIT $4",
        )
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.kinds.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// Transactions of an organisation's payment, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn of_payment(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    payment_id: PaymentId,
    wanted: &Wanted,
) -> Result<Vec<TransactionId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM ledger_transactions
             WHERE organization_id IS NOT DISTINCT FROM $1 AND payment_id = $2 AND (created_at, id) < ($3, $4)
               AND created_at >= $5 AND kind IN $list
             ORDER BY created_at DESC, id DESC LIMIT $6",
        )
        .bind(organization_id)
        .bind(payment_id)
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.kinds.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// Transactions of an organisation's invoice, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn of_invoice(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    invoice_id: InvoiceId,
    wanted: &Wanted,
) -> Result<Vec<TransactionId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM ledger_transactions
             WHERE organization_id IS NOT DISTINCT FROM $1 AND invoice_id = $2 AND (created_at, id) < ($3, $4)
               AND created_at >= $5 AND kind IN $list
             ORDER BY created_at DESC, id DESC LIMIT $6",
        )
        .bind(organization_id)
        .bind(invoice_id)
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.kinds.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

fn ids(rows: Vec<(TransactionId,)>) -> Vec<TransactionId> {
    rows.into_iter().map(|(id,)| id).collect()
}

/// What these transactions are about, in no order. Whether real money moved is known by the payment, else the invoice,
/// else the receipt of the notification; the provider's own id is the receipt's, for a payment may be paid twice.
///
/// # Errors
/// What the database refuses.
pub async fn about(conn: &mut impl Conn, ids: &[TransactionId]) -> Result<Vec<About>, db::Error> {
    conn.sql(
        "SELECT head.id AS id, head.organization_id AS organization_id, head.kind AS kind,
                head.payment_id AS payment_id, head.invoice_id AS invoice_id, invoice.number AS invoice_number,
                coalesce(payment.provider,
                    (SELECT receipt.provider FROM receipts AS receipt
                     WHERE receipt.event_id = head.event_id ORDER BY receipt.id LIMIT 1)) AS provider,
                coalesce(
                    (SELECT receipt.provider_payment_id FROM receipts AS receipt
                     WHERE receipt.event_id = head.event_id ORDER BY receipt.id LIMIT 1),
                    payment.provider_payment_id) AS provider_payment_id,
                head.memo AS memo,
                coalesce(payment.test, invoice.test,
                    (SELECT receipt.test FROM receipts AS receipt
                     WHERE receipt.event_id = head.event_id ORDER BY receipt.id LIMIT 1), false) AS test,
                head.created_at AS created_at
         FROM ledger_transactions AS head
         LEFT JOIN payments AS payment ON payment.id = head.payment_id
         LEFT JOIN invoices AS invoice ON invoice.id = head.invoice_id
         WHERE head.id IN $list",
    )
    .list(ids.iter().copied())
    .all()
    .await
}

/// The entries of these transactions, each transaction's in order.
///
/// # Errors
/// What the database refuses.
pub async fn entries(
    conn: &mut impl Conn,
    ids: &[TransactionId],
) -> Result<Vec<(TransactionId, Account, Currency, i64)>, db::Error> {
    conn.shared_sql(
        "SELECT transaction_id, account_id, currency, amount_minor FROM ledger_entries
         WHERE transaction_id IN $list ORDER BY transaction_id, position",
    )
    .list(ids.iter().copied())
    .all()
    .await
}

/// A sum of entries: the kind of their transactions, their account and currency, and whether they are of tests.
pub type Booked = (Kind, Account, Currency, bool, i64);

/// What was booked for an organisation in a period.
///
/// # Errors
/// What the database refuses.
pub async fn booked_of(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    period: Period,
) -> Result<Vec<Booked>, db::Error> {
    conn.sql(
        "SELECT kind, account_id, currency, test, CAST(sum(amount_minor) AS bigint) FROM (
             SELECT head.kind AS kind, entry.account_id AS account_id, entry.currency AS currency,
                    entry.amount_minor AS amount_minor,
                    coalesce(payment.test, invoice.test,
                        (SELECT receipt.test FROM receipts AS receipt
                         WHERE receipt.event_id = head.event_id ORDER BY receipt.id LIMIT 1), false) AS test
             FROM ledger_transactions AS head
             JOIN ledger_entries AS entry ON entry.transaction_id = head.id
             LEFT JOIN payments AS payment ON payment.id = head.payment_id
             LEFT JOIN invoices AS invoice ON invoice.id = head.invoice_id
             WHERE head.organization_id = $1 AND head.created_at >= $2 AND head.created_at < $3
         ) AS booked GROUP BY kind, account_id, currency, test ORDER BY kind, account_id, currency, test",
    )
    .bind(organization_id)
    .bind(period.start)
    .bind(period.end)
    .all()
    .await
}

/// What was booked on the whole platform in a period.
///
/// # Errors
/// What the database refuses.
pub async fn booked(conn: &mut impl Conn, period: Period) -> Result<Vec<Booked>, db::Error> {
    conn.sql(
        "SELECT kind, account_id, currency, test, CAST(sum(amount_minor) AS bigint) FROM (
             SELECT head.kind AS kind, entry.account_id AS account_id, entry.currency AS currency,
                    entry.amount_minor AS amount_minor,
                    coalesce(payment.test, invoice.test,
                        (SELECT receipt.test FROM receipts AS receipt
                         WHERE receipt.event_id = head.event_id ORDER BY receipt.id LIMIT 1), false) AS test
             FROM ledger_transactions AS head
             JOIN ledger_entries AS entry ON entry.transaction_id = head.id
             LEFT JOIN payments AS payment ON payment.id = head.payment_id
             LEFT JOIN invoices AS invoice ON invoice.id = head.invoice_id
             WHERE head.created_at >= $1 AND head.created_at < $2
         ) AS booked GROUP BY kind, account_id, currency, test ORDER BY kind, account_id, currency, test",
    )
    .bind(period.start)
    .bind(period.end)
    .all()
    .await
}
