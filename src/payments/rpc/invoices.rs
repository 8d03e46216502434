//! Invoices and credit notes in the words of the wire.

use crate::base::{Currency, Money, Timestamp, Violations, text};
use crate::payments::model::draft::{DraftLine, LINES_MAX, TaxRate};
use crate::payments::model::listing::{Listing, Order, PREFIX_CHARS_MAX, Span, customer_key};
use crate::payments::model::{CreditNote, InvoiceStatus};
use crate::payments::service::{CreateCreditNote, CreateInvoice, Drawn, Subject};
use crate::proto::capecontrol::payments::v1 as wire;
use crate::rpc::{decode, encode};

use wire::InvoiceOrder as Named;

pub(super) fn create(request: wire::CreateInvoiceRequest) -> Result<CreateInvoice, Violations> {
    let mut v = Violations::new();
    let organization_id = decode::id(&mut v, "organization_id", &request.organization_id);
    let tax_rate = match wire::TaxRate::try_from(request.tax_rate) {
        Ok(wire::TaxRate::Standard) => TaxRate::Standard,
        Ok(wire::TaxRate::Zero) => TaxRate::Zero,
        Ok(wire::TaxRate::Unspecified) | Err(_) => {
            v.add("tax_rate", "must be standard or zero");
            TaxRate::Standard
        }
    };
    let due_at = decode::optional_time(&mut v, "due_time", request.due_time);
    // What is beyond the bound is counted by the service, and not read.
    let lines = request.lines.into_iter().take(LINES_MAX.saturating_add(1)).enumerate();
    let lines = lines.map(|(index, line)| draft_line(&mut v, index, line)).collect();
    let prices_include_tax = request.prices_include_tax;
    v.finish().map(|()| CreateInvoice { organization_id, lines, prices_include_tax, tax_rate, due_at })
}

fn draft_line(v: &mut Violations, index: usize, line: wire::InvoiceLineDraft) -> DraftLine {
    let field = format!("lines[{index}].unit_price");
    let unit = decode::money(v, &field, line.unit_price.as_ref());
    DraftLine { description: line.description, quantity: line.quantity, unit }
}

pub(super) fn credit(request: wire::CreateCreditNoteRequest) -> Result<CreateCreditNote, Violations> {
    let mut v = Violations::new();
    let invoice_id = decode::id(&mut v, "invoice_id", &request.invoice_id);
    let amount = decode::optional_money(&mut v, "amount", request.amount.as_ref());
    v.finish().map(|()| CreateCreditNote { invoice_id, amount, reason: request.reason })
}

/// What a document is wanted of.
pub(super) fn subject(request: &wire::GetInvoiceDocumentRequest) -> Result<Subject, Violations> {
    use wire::get_invoice_document_request::Subject as Named;
    match &request.subject {
        Some(Named::InvoiceId(id)) => decode::only_id("invoice_id", id).map(Subject::Invoice),
        Some(Named::CreditNoteId(id)) => decode::only_id("credit_note_id", id).map(Subject::CreditNote),
        None => Err(Violations::one("subject", "must name an invoice or a credit note")),
    }
}

pub(super) fn document(drawn: Drawn) -> wire::GetInvoiceDocumentResponse {
    wire::GetInvoiceDocumentResponse {
        content: drawn.bytes,
        media_type: "application/pdf".to_owned(),
        file_name: drawn.file_name,
        digest: drawn.digest.to_vec(),
    }
}

/// What a list is to show. A range that the order does not sort by is refused by its name.
pub(super) fn listing(v: &mut Violations, request: &wire::ListInvoicesRequest) -> Listing {
    let statuses = request.statuses.iter().filter_map(|number| status(v, *number)).collect();
    let named = Named::try_from(request.order).ok();
    v.check(named.is_some(), "order", "must be one of the orders of invoices");
    let times = Span {
        from: decode::optional_time(v, "start_time", request.start_time),
        until: decode::optional_time(v, "end_time", request.end_time),
    };
    let totals = totals(v, request);
    let number = text::optional_line(v, "number_prefix", &request.number_prefix, PREFIX_CHARS_MAX);
    let customer = text::optional_line(v, "customer_prefix", &request.customer_prefix, PREFIX_CHARS_MAX);
    let ranges = [
        ("start_time", request.start_time.is_some()),
        ("end_time", request.end_time.is_some()),
        ("number_prefix", !number.is_empty()),
        ("customer_prefix", !customer.is_empty()),
        ("min_total", request.min_total.is_some()),
        ("max_total", request.max_total.is_some()),
    ];
    let named = match named {
        None | Some(Named::Unspecified) => implied(&ranges),
        Some(named) => named,
    };
    for (field, given) in ranges {
        let fits = !given || sorts_by(named, field);
        v.check(fits, field, "must belong to the order, and no other range may be given with it");
    }
    Listing { statuses, test: request.test, order: order(named, times, totals, number, &customer) }
}

/// The order that the first range that is given belongs to.
fn implied(ranges: &[(&'static str, bool)]) -> Named {
    let all = [Named::Newest, Named::Number, Named::Customer, Named::Total];
    let first = ranges.iter().find(|(_, given)| *given);
    let order = first.and_then(|(field, _)| all.into_iter().find(|order| sorts_by(*order, field)));
    order.unwrap_or(Named::Newest)
}

fn sorts_by(order: Named, range: &str) -> bool {
    match range {
        "number_prefix" => order == Named::Number,
        "customer_prefix" => order == Named::Customer,
        "min_total" | "max_total" => order == Named::Total,
        _ => matches!(order, Named::Newest | Named::Oldest | Named::Issued | Named::Due),
    }
}

fn order(named: Named, times: Span<Timestamp>, totals: Span<i64>, number: String, customer: &str) -> Order {
    match named {
        Named::Unspecified | Named::Newest => Order::Newest(times),
        Named::Oldest => Order::Oldest(times),
        Named::Issued => Order::Issued(times),
        Named::Due => Order::Due(times),
        Named::Total => Order::Total(totals),
        // Numbers are written in capital letters.
        Named::Number => Order::Number(number.to_uppercase()),
        Named::Customer => Order::Customer(customer_key(customer)),
    }
}

fn totals(v: &mut Violations, request: &wire::ListInvoicesRequest) -> Span<i64> {
    let mut bound = |field: &str, money: &Option<_>| {
        let read = decode::optional_money(v, field, money.as_ref());
        v.check(read.is_none_or(|read: Money| read.currency == Currency::Zar), field, "must be in ZAR");
        v.check(read.is_none_or(|read| read.minor >= 0), field, "must not be negative");
        read.map(|read| read.minor)
    };
    let from = bound("min_total", &request.min_total);
    let until = bound("max_total", &request.max_total);
    Span { from, until: until.map(|most| most.saturating_add(1)) }
}

fn status(v: &mut Violations, number: i32) -> Option<InvoiceStatus> {
    let status = match wire::InvoiceStatus::try_from(number) {
        Ok(wire::InvoiceStatus::Draft) => Some(InvoiceStatus::Draft),
        Ok(wire::InvoiceStatus::Open) => Some(InvoiceStatus::Open),
        Ok(wire::InvoiceStatus::Paid) => Some(InvoiceStatus::Paid),
        Ok(wire::InvoiceStatus::Void) => Some(InvoiceStatus::Void),
        Ok(wire::InvoiceStatus::Uncollectible) => Some(InvoiceStatus::Uncollectible),
        Ok(wire::InvoiceStatus::Unspecified) | Err(_) => None,
    };
    if status.is_none() {
        v.add("statuses", "must be states of invoices");
    }
    status
}

pub(super) fn credit_note(note: CreditNote) -> wire::CreditNote {
    let money = |minor| encode::money(Money::new(minor, note.currency));
    wire::CreditNote {
        id: note.id.to_string(),
        organization_id: note.organization_id.to_string(),
        invoice_id: note.invoice_id.to_string(),
        invoice_number: note.invoice_number,
        number: note.number,
        refund_id: note.refund_id.map(|id| id.to_string()).unwrap_or_default(),
        amount: Some(money(note.amount_minor)),
        tax: Some(money(note.tax_minor)),
        tax_rate_percent: percent(note.tax_rate_bp),
        reason: note.reason,
        supplier: Some(wire::InvoiceParty {
            name: note.supplier_legal_name,
            trading_name: note.supplier_trading_name,
            vat_number: note.supplier_vat_number,
            address: note.supplier_address,
        }),
        customer: Some(wire::InvoiceParty {
            name: note.customer_name,
            trading_name: String::new(),
            vat_number: note.customer_vat_number,
            address: note.customer_address,
        }),
        test: note.test,
        issue_time: Some(encode::timestamp(note.issued_at)),
    }
}

/// A rate in percent with two decimals.
pub(super) fn percent(basis_points: i64) -> String {
    format!("{}.{:02}", basis_points / 100, basis_points % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &wire::ListInvoicesRequest) -> Result<Listing, Vec<String>> {
        let mut v = Violations::new();
        let listing = listing(&mut v, request);
        let fields = || v.as_slice().iter().map(|violation| violation.field.clone()).collect();
        if v.is_empty() { Ok(listing) } else { Err(fields()) }
    }

    fn rand(units: i64) -> crate::proto::google::r#type::Money {
        encode::money(Money::new(units * 100, Currency::Zar))
    }

    #[test]
    fn a_range_brings_its_order() {
        let none = wire::ListInvoicesRequest::default;
        assert_eq!(asked(&none()).unwrap(), Listing::default());
        let number = wire::ListInvoicesRequest { number_prefix: "inv-00".to_owned(), ..none() };
        assert_eq!(asked(&number).unwrap().order, Order::Number("INV-00".to_owned()));
        let customer = wire::ListInvoicesRequest { customer_prefix: " Ada".to_owned(), ..none() };
        assert_eq!(asked(&customer).unwrap().order, Order::Customer("ada".to_owned()));
        let total =
            wire::ListInvoicesRequest { min_total: Some(rand(5)), max_total: Some(rand(7)), ..none() };
        assert_eq!(asked(&total).unwrap().order, Order::Total(Span { from: Some(500), until: Some(701) }));
        let due = wire::ListInvoicesRequest { order: Named::Due.into(), ..none() };
        assert_eq!(asked(&due).unwrap().order, Order::Due(Span::default()));
    }

    #[test]
    fn a_range_of_another_order_is_named() {
        let request = wire::ListInvoicesRequest {
            order: Named::Number.into(),
            statuses: vec![1, 0],
            start_time: Some(prost_types::Timestamp::default()),
            customer_prefix: "ada".to_owned(),
            min_total: Some(rand(-1)),
            ..Default::default()
        };
        let expected = ["statuses", "min_total", "start_time", "customer_prefix", "min_total"];
        assert_eq!(asked(&request).unwrap_err(), expected);
        let two = wire::ListInvoicesRequest { order: 0, min_total: Some(rand(1)), ..request };
        assert_eq!(asked(&two).unwrap_err(), ["statuses", "customer_prefix", "min_total"]);
    }
}
