//! Credit notes. Each is written once.

use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::{CreditNote, CreditNoteId, InvoiceId};

/// The organisation of a credit note.
///
/// # Errors
/// What the database refuses.
pub async fn organization_of(
    conn: &mut impl Conn,
    id: CreditNoteId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM credit_notes WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(organization_id,)| organization_id))
}

/// The credit note with this id, whoever's it is. The caller's membership is checked by who asks.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: CreditNoteId) -> Result<Option<CreditNote>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, invoice_id, invoice_number, number, refund_id, currency, amount_minor, tax_minor,
                tax_rate_bp, reason, account_id, supplier_legal_name, supplier_trading_name, supplier_vat_number,
                supplier_address, customer_name, customer_vat_number, customer_address, test, issued_at
         FROM credit_notes WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// An organisation's credit notes, the newest first, behind a place in that order.
///
/// # Errors
/// What the database refuses.
pub async fn page(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    after: (Timestamp, CreditNoteId),
    limit: i64,
) -> Result<Vec<CreditNote>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, invoice_id, invoice_number, number, refund_id, currency, amount_minor, tax_minor,
                tax_rate_bp, reason, account_id, supplier_legal_name, supplier_trading_name, supplier_vat_number,
                supplier_address, customer_name, customer_vat_number, customer_address, test, issued_at
         FROM credit_notes WHERE organization_id = $1 AND (issued_at, id) < ($2, $3)
         ORDER BY issued_at DESC, id DESC LIMIT $4",
    )
    .bind(organization_id)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// The credit notes of an invoice of an organisation, likewise.
///
/// # Errors
/// What the database refuses.
pub async fn page_of_invoice(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    invoice_id: InvoiceId,
    after: (Timestamp, CreditNoteId),
    limit: i64,
) -> Result<Vec<CreditNote>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, invoice_id, invoice_number, number, refund_id, currency, amount_minor, tax_minor,
                tax_rate_bp, reason, account_id, supplier_legal_name, supplier_trading_name, supplier_vat_number,
                supplier_address, customer_name, customer_vat_number, customer_address, test, issued_at
         FROM credit_notes
         WHERE organization_id IS NOT DISTINCT FROM $1 AND invoice_id = $2 AND (issued_at, id) < ($3, $4)
         ORDER BY issued_at DESC, id DESC LIMIT $5",
    )
    .bind(organization_id)
    .bind(invoice_id)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Stores a credit note.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, note: &CreditNote) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO credit_notes (id, organization_id, invoice_id, invoice_number, number, refund_id, currency,
                amount_minor, tax_minor, tax_rate_bp, reason, account_id, supplier_legal_name, supplier_trading_name,
                supplier_vat_number, supplier_address, customer_name, customer_vat_number, customer_address, test,
                issued_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
    )
    .bind(note.id)
    .bind(note.organization_id)
    .bind(note.invoice_id)
    .bind(note.invoice_number.clone())
    .bind(note.number.clone())
    .bind(note.refund_id)
    .bind(note.currency)
    .bind(note.amount_minor)
    .bind(note.tax_minor)
    .bind(note.tax_rate_bp)
    .bind(note.reason.clone())
    .bind(note.account_id)
    .bind(note.supplier_legal_name.clone())
    .bind(note.supplier_trading_name.clone())
    .bind(note.supplier_vat_number.clone())
    .bind(note.supplier_address.clone())
    .bind(note.customer_name.clone())
    .bind(note.customer_vat_number.clone())
    .bind(note.customer_address.clone())
    .bind(note.test)
    .bind(note.issued_at)
    .execute()
    .await?;
    Ok(())
}
