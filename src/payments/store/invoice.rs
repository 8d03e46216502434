//! Invoices, their lines, and their numbers.
//!
//! What is named by its id is found by its id: `organization_id IS NOT DISTINCT FROM` keeps PostgreSQL from reading all
//! that the organisation has by another index, which it holds for as cheap.

use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::listing::customer_key;
use crate::payments::model::period::Period;
use crate::payments::model::{Invoice, InvoiceId, InvoiceLine, InvoiceOrigin, InvoiceStatus};

/// The organisation of an invoice.
///
/// # Errors
/// What the database refuses.
pub async fn organization_of(
    conn: &mut impl Conn,
    id: InvoiceId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM invoices WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(organization_id,)| organization_id))
}

/// The invoice with this id, whoever's it is. The caller's membership is checked by who asks.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: InvoiceId) -> Result<Option<Invoice>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, origin, number, status, currency, total_minor, tax_minor, tax_rate_bp,
                prices_include_tax, credited_minor, supplier_legal_name, supplier_trading_name, supplier_vat_number,
                supplier_address, customer_name, customer_vat_number, customer_address, test, created_at, issued_at,
                paid_at, due_at
         FROM invoices WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// The same, locked.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, id: InvoiceId) -> Result<Invoice, db::Error> {
    tx.sql(db::lock!(
        "SELECT id, organization_id, origin, number, status, currency, total_minor, tax_minor, tax_rate_bp,
                prices_include_tax, credited_minor, supplier_legal_name, supplier_trading_name, supplier_vat_number,
                supplier_address, customer_name, customer_vat_number, customer_address, test, created_at, issued_at,
                paid_at, due_at
         FROM invoices WHERE id = $1"
    ))
    .bind(id)
    .one()
    .await
}

/// Whether the organisation has an invoice that is to be paid.
///
/// # Errors
/// What the database refuses.
pub async fn has_open(conn: &mut impl Conn, organization_id: OrganizationId) -> Result<bool, db::Error> {
    let row: Option<(InvoiceId,)> = conn
        .sql("SELECT id FROM invoices WHERE organization_id = $1 AND status = 'open' LIMIT 1")
        .bind(organization_id)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// The lines of these invoices of an organisation, in order.
///
/// # Errors
/// What the database refuses.
pub async fn lines(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    invoices: impl IntoIterator<Item = InvoiceId>,
) -> Result<Vec<InvoiceLine>, db::Error> {
    conn.sql(
        "SELECT invoice_id, position, description, quantity, unit_minor, total_minor, plan_id, billing_cycle,
                period_start, period_end
         FROM invoice_lines WHERE organization_id IS NOT DISTINCT FROM $1 AND invoice_id IN $list
         ORDER BY invoice_id, position",
    )
    .bind(organization_id)
    .list(invoices)
    .all()
    .await
}

/// Stores a new invoice.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, invoice: &Invoice) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO invoices (id, organization_id, origin, number, status, currency, total_minor, tax_minor,
                tax_rate_bp, prices_include_tax, credited_minor, supplier_legal_name, supplier_trading_name,
                supplier_vat_number, supplier_address, customer_name, customer_vat_number, customer_address, test,
                created_at, issued_at, paid_at, due_at, customer_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                $23, $24)",
    )
    .bind(invoice.id)
    .bind(invoice.organization_id)
    .bind(invoice.origin)
    .bind(invoice.number.clone())
    .bind(invoice.status)
    .bind(invoice.currency)
    .bind(invoice.total_minor)
    .bind(invoice.tax_minor)
    .bind(invoice.tax_rate_bp)
    .bind(invoice.prices_include_tax)
    .bind(invoice.credited_minor)
    .bind(invoice.supplier_legal_name.clone())
    .bind(invoice.supplier_trading_name.clone())
    .bind(invoice.supplier_vat_number.clone())
    .bind(invoice.supplier_address.clone())
    .bind(invoice.customer_name.clone())
    .bind(invoice.customer_vat_number.clone())
    .bind(invoice.customer_address.clone())
    .bind(invoice.test)
    .bind(invoice.created_at)
    .bind(invoice.issued_at)
    .bind(invoice.paid_at)
    .bind(invoice.due_at)
    .bind(customer_key(&invoice.customer_name))
    .execute()
    .await?;
    Ok(())
}

/// Stores the lines of a new invoice, of which there is at least one.
///
/// # Errors
/// What the database refuses.
pub async fn insert_lines(
    tx: &mut Tx,
    organization_id: OrganizationId,
    lines: &[InvoiceLine],
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO invoice_lines (invoice_id, organization_id, position, description, quantity, unit_minor,
                total_minor, plan_id, billing_cycle, period_start, period_end)
         VALUES $rows",
    )
    .rows(lines, |statement, line| {
        statement
            .bind(line.invoice_id)
            .bind(organization_id)
            .bind(line.position)
            .bind(line.description.clone())
            .bind(line.quantity)
            .bind(line.unit_minor)
            .bind(line.total_minor)
            .bind(line.plan_id.clone())
            .bind(line.billing_cycle)
            .bind(line.period_start)
            .bind(line.period_end)
    })
    .execute()
    .await?;
    Ok(())
}

/// Writes what changes of a locked invoice: status, number, what was credited, times, and the customer as of now.
///
/// # Errors
/// What the database refuses.
pub async fn update(tx: &mut Tx, invoice: &Invoice) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE invoices SET number = $3, status = $4, issued_at = $5, paid_at = $6, customer_name = $7,
                customer_vat_number = $8, customer_address = $9, credited_minor = $10, customer_key = $11
         WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1",
    )
    .bind(invoice.organization_id)
    .bind(invoice.id)
    .bind(invoice.number.clone())
    .bind(invoice.status)
    .bind(invoice.issued_at)
    .bind(invoice.paid_at)
    .bind(invoice.customer_name.clone())
    .bind(invoice.customer_vat_number.clone())
    .bind(invoice.customer_address.clone())
    .bind(invoice.credited_minor)
    .bind(customer_key(&invoice.customer_name))
    .execute()
    .await?;
    Ok(())
}

/// Voids those of these invoices that are open and were never issued: what a checkout made and nobody pays.
///
/// # Errors
/// What the database refuses.
pub async fn void_unissued(
    tx: &mut Tx,
    organization_id: OrganizationId,
    invoices: impl IntoIterator<Item = InvoiceId>,
) -> Result<u64, db::Error> {
    tx.sql(
        "UPDATE invoices SET status = $1
         WHERE status = $2 AND origin = $3 AND organization_id IS NOT DISTINCT FROM $4 AND id IN $list",
    )
    .bind(InvoiceStatus::Void)
    .bind(InvoiceStatus::Open)
    .bind(InvoiceOrigin::Checkout)
    .bind(organization_id)
    .list(invoices)
    .execute()
    .await
}

/// Invoices of checkouts from before `before` that are open, of which no attempt to pay is alive or has changed since:
/// the oldest first, whoever's they are.
///
/// # Errors
/// What the database refuses.
pub async fn given_up_before(
    conn: &mut impl Conn,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(InvoiceId, OrganizationId)>, db::Error> {
    conn.sql(
        "SELECT id, organization_id FROM invoices AS invoice
         WHERE status = 'open' AND origin = 'checkout' AND created_at < $1
           AND NOT EXISTS (
               SELECT 1 FROM payments AS payment WHERE payment.invoice_id = invoice.id
                  AND (payment.status IN ('created', 'pending') OR payment.updated_at >= $1)
           )
         ORDER BY created_at, id LIMIT $2",
    )
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// Says for which period the lines of a paid invoice serve.
///
/// # Errors
/// What the database refuses.
pub async fn set_period(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: InvoiceId,
    period: Period,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE invoice_lines SET period_start = $3, period_end = $4 WHERE organization_id = $1 AND invoice_id = $2",
    )
    .bind(organization_id)
    .bind(id)
    .bind(period.start)
    .bind(period.end)
    .execute()
    .await?;
    Ok(())
}

/// Takes the next number of a series. The row stays locked until the transaction ends, so that two never get the same
/// number and a number that is rolled back is the next one's.
///
/// # Errors
/// What the database refuses.
pub async fn take_number(tx: &mut Tx, legal_name: &str, series: &str) -> Result<i64, db::Error> {
    let (next,): (i64,) = tx
        .shared_sql(
            "INSERT INTO invoice_counters (legal_name, series, next_number) VALUES ($1, $2, 2)
             ON CONFLICT (legal_name, series) DO UPDATE SET next_number = invoice_counters.next_number + 1
             RETURNING next_number",
        )
        .bind(legal_name.to_owned())
        .bind(series.to_owned())
        .one()
        .await?;
    Ok(next.saturating_sub(1))
}
