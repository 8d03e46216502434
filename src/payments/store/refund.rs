//! Refunds: money that goes back from receipts.

use std::collections::HashMap;

use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::posted::TransactionId;
use crate::payments::model::refund::Refunded;
use crate::payments::model::{PaymentId, ReceiptId, Refund, RefundId, RefundStatus};

/// The refund with this id, whoever's it is. For the platform and its administrators.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: RefundId) -> Result<Option<Refund>, db::Error> {
    conn.sql(
        "SELECT id, receipt_id, organization_id, payment_id, provider_payment_id, destination, status, currency,
                amount_minor, fee_minor, reason, maker_id, checker_id, note, detail, available_minor, test, created_at,
                decided_at, sent_at, settled_at
         FROM refunds WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// The same, locked. Its receipt is locked before.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, id: RefundId) -> Result<Refund, db::Error> {
    tx.sql(db::lock!(
        "SELECT id, receipt_id, organization_id, payment_id, provider_payment_id, destination, status, currency,
                amount_minor, fee_minor, reason, maker_id, checker_id, note, detail, available_minor, test, created_at,
                decided_at, sent_at, settled_at
         FROM refunds WHERE id = $1"
    ))
    .bind(id)
    .one()
    .await
}

/// Stores a new refund.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, refund: &Refund) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO refunds (id, receipt_id, organization_id, payment_id, provider_payment_id, destination, status,
                currency, amount_minor, fee_minor, reason, maker_id, checker_id, note, detail, available_minor, test,
                created_at, decided_at, sent_at, settled_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
    )
    .bind(refund.id)
    .bind(refund.receipt_id)
    .bind(refund.organization_id)
    .bind(refund.payment_id)
    .bind(refund.provider_payment_id.clone())
    .bind(refund.destination)
    .bind(refund.status)
    .bind(refund.currency)
    .bind(refund.amount_minor)
    .bind(refund.fee_minor)
    .bind(refund.reason.clone())
    .bind(refund.maker_id)
    .bind(refund.checker_id)
    .bind(refund.note.clone())
    .bind(refund.detail.clone())
    .bind(refund.available_minor)
    .bind(refund.test)
    .bind(refund.created_at)
    .bind(refund.decided_at)
    .bind(refund.sent_at)
    .bind(refund.settled_at)
    .execute()
    .await?;
    Ok(())
}

/// Writes what changes of a locked refund.
///
/// # Errors
/// What the database refuses; a second refund of the same receipt that is under way among it.
pub async fn update(tx: &mut Tx, refund: &Refund) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE refunds SET status = $3, fee_minor = $4, checker_id = $5, note = $6, detail = $7, available_minor = $8,
                decided_at = $9, sent_at = $10, settled_at = $11
         WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1",
    )
    .bind(refund.organization_id)
    .bind(refund.id)
    .bind(refund.status)
    .bind(refund.fee_minor)
    .bind(refund.checker_id)
    .bind(refund.note.clone())
    .bind(refund.detail.clone())
    .bind(refund.available_minor)
    .bind(refund.decided_at)
    .bind(refund.sent_at)
    .bind(refund.settled_at)
    .execute()
    .await?;
    Ok(())
}

/// Says which transaction of the ledger a refund that succeeded is.
///
/// # Errors
/// What the database refuses.
pub async fn set_booking(tx: &mut Tx, refund: &Refund, transaction: TransactionId) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE refunds SET transaction_id = $3 WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1",
    )
    .bind(refund.organization_id)
    .bind(refund.id)
    .bind(transaction)
    .execute()
    .await?;
    Ok(())
}

/// Whether another refund of the receipt is under way, or was sent and ended after `since`. The receipt is locked.
///
/// # Errors
/// What the database refuses.
pub async fn another_since(tx: &mut Tx, refund: &Refund, since: Timestamp) -> Result<bool, db::Error> {
    let row: Option<(RefundId,)> = tx
        .sql(
            "SELECT id FROM refunds
             WHERE receipt_id = $1 AND id <> $2
               AND (status IN ($3, $4) OR (status = $5 AND sent_at IS NOT NULL AND settled_at > $6))
             LIMIT 1",
        )
        .bind(refund.receipt_id)
        .bind(refund.id)
        .bind(RefundStatus::Sent)
        .bind(RefundStatus::Unknown)
        .bind(RefundStatus::Succeeded)
        .bind(since)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// What went back of a receipt. It is locked.
///
/// # Errors
/// What the database refuses.
pub async fn returned_of(tx: &mut Tx, receipt: ReceiptId) -> Result<i64, db::Error> {
    let (sum,): (i64,) = tx
        .sql(
            "SELECT CAST(coalesce(sum(amount_minor), 0) AS bigint) FROM refunds WHERE receipt_id = $1 AND status = $2",
        )
        .bind(receipt)
        .bind(RefundStatus::Succeeded)
        .one()
        .await?;
    Ok(sum)
}

/// When other refunds of the same receipt and amount were sent that succeeded, the first first.
///
/// # Errors
/// What the database refuses.
pub async fn alike(conn: &mut impl Conn, refund: &Refund) -> Result<Vec<Timestamp>, db::Error> {
    let rows: Vec<(Timestamp,)> = conn
        .sql(
            "SELECT sent_at FROM refunds
             WHERE receipt_id = $1 AND amount_minor = $2 AND id <> $3 AND status = 'succeeded' AND sent_at IS NOT NULL
             ORDER BY sent_at",
        )
        .bind(refund.receipt_id)
        .bind(refund.amount_minor)
        .bind(refund.id)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(at,)| at).collect())
}

/// What was given back of these payments of an organisation, and what is about to be. Those of which nothing was are
/// not among them.
///
/// # Errors
/// What the database refuses.
pub async fn of_payments(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    payments: impl IntoIterator<Item = PaymentId>,
) -> Result<HashMap<PaymentId, Refunded>, db::Error> {
    let rows: Vec<(PaymentId, RefundStatus, i64)> = conn
        .sql(
            "SELECT payment_id, status, CAST(sum(amount_minor) AS bigint) FROM refunds
             WHERE organization_id IS NOT DISTINCT FROM $1 AND payment_id IN $list GROUP BY payment_id, status",
        )
        .bind(organization_id)
        .list(payments)
        .all()
        .await?;
    let mut found: HashMap<PaymentId, Refunded> = HashMap::new();
    for (payment, status, minor) in rows {
        let refunded = found.entry(payment).or_default();
        if status == RefundStatus::Succeeded {
            refunded.done_minor = refunded.done_minor.saturating_add(minor);
        } else if status.is_pending() {
            refunded.pending_minor = refunded.pending_minor.saturating_add(minor);
        }
    }
    Ok(found)
}

/// All refunds, the newest first, after a place in that order.
///
/// # Errors
/// What the database refuses.
pub async fn page(
    conn: &mut impl Conn,
    after: (Timestamp, RefundId),
    limit: i64,
) -> Result<Vec<Refund>, db::Error> {
    conn.sql(
        "SELECT id, receipt_id, organization_id, payment_id, provider_payment_id, destination, status, currency,
                amount_minor, fee_minor, reason, maker_id, checker_id, note, detail, available_minor, test, created_at,
                decided_at, sent_at, settled_at
         FROM refunds WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Refunds of one status, likewise.
///
/// # Errors
/// What the database refuses.
pub async fn page_of(
    conn: &mut impl Conn,
    status: RefundStatus,
    after: (Timestamp, RefundId),
    limit: i64,
) -> Result<Vec<Refund>, db::Error> {
    conn.sql(
        "SELECT id, receipt_id, organization_id, payment_id, provider_payment_id, destination, status, currency,
                amount_minor, fee_minor, reason, maker_id, checker_id, note, detail, available_minor, test, created_at,
                decided_at, sent_at, settled_at
         FROM refunds WHERE status = $1 AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(status)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Refunds of one payment, of one status when there is one, likewise.
///
/// # Errors
/// What the database refuses.
pub async fn page_of_payment(
    conn: &mut impl Conn,
    payment: PaymentId,
    status: Option<RefundStatus>,
    after: (Timestamp, RefundId),
    limit: i64,
) -> Result<Vec<Refund>, db::Error> {
    conn.sql(
        "SELECT id, receipt_id, organization_id, payment_id, provider_payment_id, destination, status, currency,
                amount_minor, fee_minor, reason, maker_id, checker_id, note, detail, available_minor, test, created_at,
                decided_at, sent_at, settled_at
         FROM refunds WHERE payment_id = $1 AND ($2 = '' OR status = $2) AND (created_at, id) < ($3, $4)
         ORDER BY created_at DESC, id DESC LIMIT $5",
    )
    .bind(payment)
    .bind(status.map_or("", RefundStatus::as_str))
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// How many refunds of this status there are.
///
/// # Errors
/// What the database refuses.
pub async fn count(conn: &mut impl Conn, status: RefundStatus) -> Result<i64, db::Error> {
    let (count,): (i64,) =
        conn.sql("SELECT count(*) FROM refunds WHERE status = $1").bind(status).one().await?;
    Ok(count)
}
