//! Places in lists of invoices: each statement reads one part of one index, from a place to the end of a range.
//!
//! A list of several states is read state by state and put together by who asks: an index that begins with the state
//! finds a rare one as quickly as a common one.

use uuid::Uuid;

use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn};
use crate::payments::model::listing::{Key, Listing, Order, Place};
use crate::payments::model::{Invoice, InvoiceId, InvoiceStatus};

/// The places of an organisation's invoices of one state, behind `after`, in the listing's order.
///
/// # Errors
/// What the database refuses.
pub async fn places(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    status: InvoiceStatus,
    listing: &Listing,
    after: &Place,
    limit: i64,
) -> Result<Vec<Place>, db::Error> {
    let part = Part { organization_id, status, id: after.id, tests: listing.tests(), limit };
    match (&listing.order, after.key.clone(), listing.order.end()) {
        (Order::Newest(_), Key::At(after), Key::At(end)) => newest(conn, part, after, end).await,
        (Order::Oldest(_), Key::At(after), Key::At(end)) => oldest(conn, part, after, end).await,
        (Order::Issued(_), Key::At(after), Key::At(end)) => last_issued(conn, part, after, end).await,
        (Order::Due(_), Key::At(after), Key::At(end)) => first_due(conn, part, after, end).await,
        (Order::Total(_), Key::Minor(after), Key::Minor(end)) => largest(conn, part, after, end).await,
        (Order::Number(_), Key::Text(after), Key::Text(end)) => by_number(conn, part, after, end).await,
        (Order::Customer(_), Key::Text(after), Key::Text(end)) => by_customer(conn, part, after, end).await,
        // A place of another order, which no signed token brings here.
        _ => Ok(Vec::new()),
    }
}

/// These invoices of an organisation, in no order. They are found by their ids: `coalesce` keeps SQLite from reading
/// all that the organisation has by another index, which it holds for as cheap as a list.
///
/// # Errors
/// What the database refuses.
pub async fn invoices(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    ids: impl IntoIterator<Item = InvoiceId>,
) -> Result<Vec<Invoice>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, origin, number, status, currency, total_minor, tax_minor, tax_rate_bp,
                prices_include_tax, credited_minor, supplier_legal_name, supplier_trading_name, supplier_vat_number,
                supplier_address, customer_name, customer_vat_number, customer_address, test, created_at, issued_at,
                paid_at, due_at
         FROM invoices WHERE coalesce(organization_id, id) = $1 AND id IN $list",
    )
    .bind(organization_id)
    .list(ids)
    .all()
    .await
}

/// The part of the invoices that a statement reads.
struct Part {
    organization_id: OrganizationId,
    status: InvoiceStatus,
    id: Uuid,
    tests: Vec<bool>,
    limit: i64,
}

fn at(rows: Vec<(Timestamp, Uuid)>) -> Vec<Place> {
    rows.into_iter().map(|(at, id)| Place { key: Key::At(at), id }).collect()
}

fn text(rows: Vec<(String, Uuid)>) -> Vec<Place> {
    rows.into_iter().map(|(text, id)| Place { key: Key::Text(text), id }).collect()
}

async fn newest(
    conn: &mut impl Conn,
    part: Part,
    after: Timestamp,
    end: Timestamp,
) -> Result<Vec<Place>, db::Error> {
    let rows = conn
        .sql(
            "SELECT created_at, id FROM invoices
             WHERE organization_id = $1 AND status = $2 AND (created_at, id) < ($3, $4) AND created_at >= $5
               AND test IN $list
             ORDER BY created_at DESC, id DESC LIMIT $6",
        )
        .bind(part.organization_id)
        .bind(part.status)
        .bind(after)
        .bind(part.id)
        .bind(end)
        .bind(part.limit)
        .list(part.tests)
        .all()
        .await?;
    Ok(at(rows))
}

async fn oldest(
    conn: &mut impl Conn,
    part: Part,
    after: Timestamp,
    end: Timestamp,
) -> Result<Vec<Place>, db::Error> {
    let rows = conn
        .sql(
            "SELECT created_at, id FROM invoices
             WHERE organization_id = $1 AND status = $2 AND (created_at, id) > ($3, $4) AND created_at < $5
               AND test IN $list
             ORDER BY created_at, id LIMIT $6",
        )
        .bind(part.organization_id)
        .bind(part.status)
        .bind(after)
        .bind(part.id)
        .bind(end)
        .bind(part.limit)
        .list(part.tests)
        .all()
        .await?;
    Ok(at(rows))
}

async fn last_issued(
    conn: &mut impl Conn,
    part: Part,
    after: Timestamp,
    end: Timestamp,
) -> Result<Vec<Place>, db::Error> {
    let rows = conn
        .sql(
            "SELECT issued_at, id FROM invoices
             WHERE organization_id = $1 AND status = $2 AND (issued_at, id) < ($3, $4) AND issued_at >= $5
               AND test IN $list
             ORDER BY issued_at DESC, id DESC LIMIT $6",
        )
        .bind(part.organization_id)
        .bind(part.status)
        .bind(after)
        .bind(part.id)
        .bind(end)
        .bind(part.limit)
        .list(part.tests)
        .all()
        .await?;
    Ok(at(rows))
}

async fn first_due(
    conn: &mut impl Conn,
    part: Part,
    after: Timestamp,
    end: Timestamp,
) -> Result<Vec<Place>, db::Error> {
    let rows = conn
        .sql(
            "SELECT due_at, id FROM invoices
             WHERE organization_id = $1 AND status = $2 AND (due_at, id) > ($3, $4) AND due_at < $5 AND test IN $list
             ORDER BY due_at, id LIMIT $6",
        )
        .bind(part.organization_id)
        .bind(part.status)
        .bind(after)
        .bind(part.id)
        .bind(end)
        .bind(part.limit)
        .list(part.tests)
        .all()
        .await?;
    Ok(at(rows))
}

async fn largest(conn: &mut impl Conn, part: Part, after: i64, end: i64) -> Result<Vec<Place>, db::Error> {
    let rows: Vec<(i64, Uuid)> = conn
        .sql(
            "SELECT total_minor, id FROM invoices
             WHERE organization_id = $1 AND status = $2 AND (total_minor, id) < ($3, $4) AND total_minor >= $5
               AND test IN $list
             ORDER BY total_minor DESC, id DESC LIMIT $6",
        )
        .bind(part.organization_id)
        .bind(part.status)
        .bind(after)
        .bind(part.id)
        .bind(end)
        .bind(part.limit)
        .list(part.tests)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(minor, id)| Place { key: Key::Minor(minor), id }).collect())
}

async fn by_number(
    conn: &mut impl Conn,
    part: Part,
    after: String,
    end: String,
) -> Result<Vec<Place>, db::Error> {
    let rows = conn
        .sql(
            "SELECT number, id FROM invoices
             WHERE organization_id = $1 AND status = $2 AND (number, id) > ($3, $4) AND number < $5 AND test IN $list
             ORDER BY number, id LIMIT $6",
        )
        .bind(part.organization_id)
        .bind(part.status)
        .bind(after)
        .bind(part.id)
        .bind(end)
        .bind(part.limit)
        .list(part.tests)
        .all()
        .await?;
    Ok(text(rows))
}

async fn by_customer(
    conn: &mut impl Conn,
    part: Part,
    after: String,
    end: String,
) -> Result<Vec<Place>, db::Error> {
    let rows = conn
        .sql(
            "SELECT customer_key, id FROM invoices
             WHERE organization_id = $1 AND status = $2 AND (customer_key, id) > ($3, $4) AND customer_key < $5
               AND test IN $list
             ORDER BY customer_key, id LIMIT $6",
        )
        .bind(part.organization_id)
        .bind(part.status)
        .bind(after)
        .bind(part.id)
        .bind(end)
        .bind(part.limit)
        .list(part.tests)
        .all()
        .await?;
    Ok(text(rows))
}
