//! Payments.
//!
//! What is named by its id is found by its id: `organization_id IS NOT DISTINCT FROM` keeps PostgreSQL from reading all
//! that the organisation has by another index, which it holds for as cheap.

use crate::base::{Currency, OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::period::Period;
use crate::payments::model::{InvoiceId, Payment, PaymentId, PaymentStatus, PlanKind, Provider};

/// The organisation of a payment.
///
/// # Errors
/// What the database refuses.
pub async fn organization_of(
    conn: &mut impl Conn,
    id: PaymentId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM payments WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(organization_id,)| organization_id))
}

/// The payment with this id, whoever's it is. The caller's membership is checked by who asks.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: PaymentId) -> Result<Option<Payment>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, account_id, invoice_id, provider, status, plan_id, billing_cycle, currency,
                amount_minor, fee_minor, provider_payment_id, test, created_at, updated_at, settled_at
         FROM payments WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// The same, locked.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, id: PaymentId) -> Result<Payment, db::Error> {
    tx.sql(db::lock!(
        "SELECT id, organization_id, account_id, invoice_id, provider, status, plan_id, billing_cycle, currency,
                amount_minor, fee_minor, provider_payment_id, test, created_at, updated_at, settled_at
         FROM payments WHERE id = $1"
    ))
    .bind(id)
    .one()
    .await
}

/// The newest payment of an organisation's invoice. The organisation's billing profile is locked.
///
/// `coalesce` keeps SQLite from going through all payments of the organisation for the sake of their order.
///
/// # Errors
/// What the database refuses.
pub async fn newest_of_invoice(
    tx: &mut Tx,
    organization_id: OrganizationId,
    invoice_id: InvoiceId,
) -> Result<Option<Payment>, db::Error> {
    tx.sql(
        "SELECT id, organization_id, account_id, invoice_id, provider, status, plan_id, billing_cycle, currency,
                amount_minor, fee_minor, provider_payment_id, test, created_at, updated_at, settled_at
         FROM payments WHERE coalesce(organization_id, id) = $1 AND invoice_id = $2
         ORDER BY created_at DESC, id DESC LIMIT 1",
    )
    .bind(organization_id)
    .bind(invoice_id)
    .optional()
    .await
}

/// Stores a new payment.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, payment: &Payment) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO payments (id, organization_id, account_id, invoice_id, provider, status, plan_id, billing_cycle,
                currency, amount_minor, fee_minor, provider_payment_id, test, created_at, updated_at, settled_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(payment.id)
    .bind(payment.organization_id)
    .bind(payment.account_id)
    .bind(payment.invoice_id)
    .bind(payment.provider)
    .bind(payment.status)
    .bind(payment.plan_id.clone())
    .bind(payment.billing_cycle)
    .bind(payment.currency)
    .bind(payment.amount_minor)
    .bind(payment.fee_minor)
    .bind(payment.provider_payment_id.clone())
    .bind(payment.test)
    .bind(payment.created_at)
    .bind(payment.updated_at)
    .bind(payment.settled_at)
    .execute()
    .await?;
    Ok(())
}

/// Writes what changes of a locked payment.
///
/// # Errors
/// What the database refuses.
pub async fn update(tx: &mut Tx, payment: &Payment) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE payments SET status = $3, fee_minor = $4, provider_payment_id = $5, updated_at = $6, settled_at = $7
         WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1",
    )
    .bind(payment.organization_id)
    .bind(payment.id)
    .bind(payment.status)
    .bind(payment.fee_minor)
    .bind(payment.provider_payment_id.clone())
    .bind(payment.updated_at)
    .bind(payment.settled_at)
    .execute()
    .await?;
    Ok(())
}

/// Closes the organisation's other payments for subscriptions that are alive, and names their invoices. The
/// organisation's billing profile is locked, so nobody else touches these rows.
///
/// # Errors
/// What the database refuses.
pub async fn supersede_others(
    tx: &mut Tx,
    organization_id: OrganizationId,
    paid: PaymentId,
    now: Timestamp,
) -> Result<Vec<InvoiceId>, db::Error> {
    let rows: Vec<(InvoiceId,)> = tx
        .sql(
            "UPDATE payments SET status = $3, updated_at = $4
             WHERE organization_id = $1 AND id <> $2 AND status IN ($5, $6)
               AND plan_id IN (SELECT id FROM plans WHERE kind = $7)
             RETURNING invoice_id",
        )
        .bind(organization_id)
        .bind(paid)
        .bind(PaymentStatus::Superseded)
        .bind(now)
        .bind(PaymentStatus::Created)
        .bind(PaymentStatus::Pending)
        .bind(PlanKind::Subscription)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Closes the attempts to pay an invoice that are alive, for less of it is due. The organisation's billing profile is
/// locked, so nobody else touches these rows.
///
/// # Errors
/// What the database refuses.
pub async fn supersede_of_invoice(
    tx: &mut Tx,
    organization_id: OrganizationId,
    invoice_id: InvoiceId,
    now: Timestamp,
) -> Result<u64, db::Error> {
    tx.sql(
        "UPDATE payments SET status = $3, updated_at = $4
         WHERE organization_id IS NOT DISTINCT FROM $1 AND invoice_id = $2 AND status IN ($5, $6)",
    )
    .bind(organization_id)
    .bind(invoice_id)
    .bind(PaymentStatus::Superseded)
    .bind(now)
    .bind(PaymentStatus::Created)
    .bind(PaymentStatus::Pending)
    .execute()
    .await
}

/// Whether the organisation has started at least `limit` payments since `since` of which nothing was heard.
///
/// # Errors
/// What the database refuses.
pub async fn unheard_since(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    since: Timestamp,
    limit: i64,
) -> Result<bool, db::Error> {
    let (count,): (i64,) = conn
        .sql(
            "SELECT count(*) FROM (
                 SELECT id FROM payments WHERE organization_id = $1 AND created_at >= $2 AND status = $3 LIMIT $4
             ) AS open",
        )
        .bind(organization_id)
        .bind(since)
        .bind(PaymentStatus::Created)
        .bind(limit)
        .one()
        .await?;
    Ok(count >= limit)
}

/// Payments that were started before `before` and of which nothing was heard, whoever's they are: the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn unheard_before(
    conn: &mut impl Conn,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(PaymentId, OrganizationId)>, db::Error> {
    conn.sql(
        "SELECT id, organization_id FROM payments WHERE status = $1 AND created_at < $2 ORDER BY created_at LIMIT $3",
    )
    .bind(PaymentStatus::Created)
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// Which payments are wanted of a list.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Standing so.
    pub statuses: Vec<PaymentStatus>,
    /// Behind this place in the order of the list.
    pub after: (Timestamp, PaymentId),
    /// How far the list goes. The newest first: not started before this. The oldest first: started before this.
    pub end: Timestamp,
    /// At most so many.
    pub limit: i64,
}

/// Payments of an organisation, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn newest_of(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    wanted: &Wanted,
) -> Result<Vec<PaymentId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM payments
             WHERE organization_id = $1 AND (created_at, id) < ($2, $3) AND created_at >= $4 AND status IN $list
             ORDER BY created_at DESC, id DESC LIMIT $5",
        )
        .bind(organization_id)
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.statuses.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// Payments of an organisation, the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn oldest_of(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    wanted: &Wanted,
) -> Result<Vec<PaymentId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM payments
             WHERE organization_id = $1 AND (created_at, id) > ($2, $3) AND created_at < $4 AND status IN $list
             ORDER BY created_at, id LIMIT $5",
        )
        .bind(organization_id)
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.statuses.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// Payments of an organisation's invoice, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn newest_for(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    invoice_id: InvoiceId,
    wanted: &Wanted,
) -> Result<Vec<PaymentId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM payments
             WHERE organization_id IS NOT DISTINCT FROM $1 AND invoice_id = $2 AND (created_at, id) < ($3, $4)
               AND created_at >= $5 AND status IN $list
             ORDER BY created_at DESC, id DESC LIMIT $6",
        )
        .bind(organization_id)
        .bind(invoice_id)
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.statuses.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// Payments of an organisation's invoice, the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn oldest_for(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    invoice_id: InvoiceId,
    wanted: &Wanted,
) -> Result<Vec<PaymentId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM payments
             WHERE organization_id IS NOT DISTINCT FROM $1 AND invoice_id = $2 AND (created_at, id) > ($3, $4)
               AND created_at < $5 AND status IN $list
             ORDER BY created_at, id LIMIT $6",
        )
        .bind(organization_id)
        .bind(invoice_id)
        .bind(wanted.after.0)
        .bind(wanted.after.1)
        .bind(wanted.end)
        .bind(wanted.limit)
        .list(wanted.statuses.iter().copied())
        .all()
        .await?;
    Ok(ids(rows))
}

/// The organisation's payment that the provider knows by this id, if there is one.
///
/// # Errors
/// What the database refuses.
pub async fn known_as(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    provider: Provider,
    provider_payment_id: &str,
) -> Result<Vec<PaymentId>, db::Error> {
    let rows = conn
        .sql(
            "SELECT id FROM payments
             WHERE organization_id IS NOT DISTINCT FROM $1 AND provider = $2 AND provider_payment_id = $3",
        )
        .bind(organization_id)
        .bind(provider)
        .bind(provider_payment_id.to_owned())
        .all()
        .await?;
    Ok(ids(rows))
}

fn ids(rows: Vec<(PaymentId,)>) -> Vec<PaymentId> {
    rows.into_iter().map(|(id,)| id).collect()
}

/// These of an organisation's payments, in no order.
///
/// # Errors
/// What the database refuses.
pub async fn among(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    ids: &[PaymentId],
) -> Result<Vec<Payment>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, account_id, invoice_id, provider, status, plan_id, billing_cycle, currency,
                amount_minor, fee_minor, provider_payment_id, test, created_at, updated_at, settled_at
         FROM payments WHERE organization_id IS NOT DISTINCT FROM $1 AND id IN $list",
    )
    .bind(organization_id)
    .list(ids.iter().copied())
    .all()
    .await
}

/// How many payments: where they stand, their currency, and whether they are tests.
pub type Counted = (PaymentStatus, Currency, bool, i64);

/// How many payments an organisation started in a period.
///
/// # Errors
/// What the database refuses.
pub async fn started_of(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    period: Period,
) -> Result<Vec<Counted>, db::Error> {
    conn.sql(
        "SELECT status, currency, test, count(*) FROM payments
         WHERE organization_id = $1 AND created_at >= $2 AND created_at < $3
         GROUP BY status, currency, test ORDER BY status, currency, test",
    )
    .bind(organization_id)
    .bind(period.start)
    .bind(period.end)
    .all()
    .await
}

/// How many payments were started on the whole platform in a period. Every status is named, for the index begins with
/// it.
///
/// # Errors
/// What the database refuses.
pub async fn started(conn: &mut impl Conn, period: Period) -> Result<Vec<Counted>, db::Error> {
    conn.sql(
        "SELECT status, currency, test, count(*) FROM payments
         WHERE status IN ('created', 'pending', 'succeeded', 'failed', 'cancelled', 'expired', 'superseded')
           AND created_at >= $1 AND created_at < $2
         GROUP BY status, currency, test ORDER BY status, currency, test",
    )
    .bind(period.start)
    .bind(period.end)
    .all()
    .await
}
