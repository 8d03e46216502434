//! What a document says, in words: every text that is drawn is made here, and nothing is measured.

use crate::base::Timestamp;

use super::form::Form;
use super::words::{self, amount, date};
use super::{Corrected, Document, Kind, Line, Payment};

/// The most lines of an address.
const ADDRESS_LINES_MAX: usize = 8;

/// A document in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sheet {
    /// What it calls itself.
    pub(super) title: &'static str,
    /// Words beside the title, such as `Copy`.
    pub(super) tags: Vec<&'static str>,
    /// What stands across every page.
    pub(super) banner: Option<&'static str>,
    /// Who charges, in the words that people know.
    pub(super) brand: String,
    /// Who charges, as the law wants it.
    pub(super) supplier: Party,
    /// Who is charged.
    pub(super) customer: Option<Party>,
    /// Numbers and dates.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Why a credit note was issued.
    pub(super) reason: Option<String>,
    /// The head of the table.
    pub(super) columns: Columns,
    /// Its rows.
    pub(super) rows: Vec<Row>,
    /// The sums below it.
    pub(super) sums: Vec<Sum>,
    /// What else is to be said, each in a paragraph.
    pub(super) notes: Vec<String>,
    /// What stands at the foot of each page.
    pub(super) foot: String,
    /// What stands at the head of each page but the first, and is the title of the file.
    pub(super) running: String,
    /// The name of the file inside.
    pub(super) file: &'static str,
    /// When it was issued.
    pub(super) issued_at: Timestamp,
}

/// Somebody's name and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Party {
    /// Above it.
    pub(super) heading: &'static str,
    /// The name.
    pub(super) name: String,
    /// The rest, line by line.
    pub(super) lines: Vec<String>,
}

/// The head of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Over the rates; `None` when there is only one, which the sums name.
    pub(super) rate: Option<&'static str>,
    /// Over the prices of one.
    pub(super) unit: &'static str,
    /// Over the prices of all.
    pub(super) amount: &'static str,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is.
    pub(super) description: String,
    /// When it serves.
    pub(super) detail: Option<String>,
    /// How many.
    pub(super) quantity: String,
    /// The rate of tax.
    pub(super) rate: String,
    /// The price of one.
    pub(super) unit: String,
    /// The price of all.
    pub(super) amount: String,
    /// The sum of all rows down to this one, for when the page ends here.
    pub(super) carried: String,
}

/// A sum below the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// Of what.
    pub(super) label: String,
    /// How much.
    pub(super) amount: String,
    /// Whether it is one that the eye looks for.
    pub(super) strong: bool,
}

/// Puts a document in words.
pub(super) fn sheet(document: &Document, form: Form) -> Sheet {
    let title = words::title(document, form);
    let number = words::line(&document.number);
    let brand = brand(document);
    Sheet {
        title,
        tags: tags(document, form),
        banner: (form == Form::Test).then_some(words::NOT_A_TAX_INVOICE),
        supplier: supplier(document),
        customer: customer(document),
        facts: facts(document),
        reason: match &document.kind {
            Kind::TaxInvoice => None,
            Kind::CreditNote(Corrected { reason, .. }) => Some(words::line(reason)),
        },
        columns: columns(document, form),
        rows: rows(document),
        sums: sums(document, form),
        notes: notes(document, form),
        foot: foot(document),
        running: format!("{title} {number}{}", if document.copy { ", copy" } else { "" }),
        brand,
        file: match document.kind {
            Kind::TaxInvoice => "invoice.xml",
            Kind::CreditNote(_) => "credit-note.xml",
        },
        issued_at: document.issued_at,
    }
}

fn tags(document: &Document, form: Form) -> Vec<&'static str> {
    let mut tags = Vec::new();
    if form == Form::Abridged && document.kind == Kind::TaxInvoice {
        tags.push("Abridged");
    }
    if document.copy {
        tags.push("Copy");
    }
    tags
}

fn brand(document: &Document) -> String {
    let trading = words::line(&document.supplier.trading_name);
    if trading.is_empty() { words::line(&document.supplier.legal_name) } else { trading }
}

fn supplier(document: &Document) -> Party {
    let supplier = &document.supplier;
    let mut lines = Vec::new();
    let (legal, trading) = (words::line(&supplier.legal_name), words::line(&supplier.trading_name));
    if !trading.is_empty() && trading != legal {
        lines.push(format!("trading as {trading}"));
    }
    lines.extend(words::lines(&supplier.address, ADDRESS_LINES_MAX));
    lines.extend(vat_number(&supplier.vat_number));
    Party { heading: "From", name: legal, lines }
}

fn customer(document: &Document) -> Option<Party> {
    let customer = &document.customer;
    let mut lines = words::lines(&customer.address, ADDRESS_LINES_MAX);
    lines.extend(vat_number(&customer.vat_number));
    let name = words::line(&customer.name);
    let heading = match document.kind {
        Kind::TaxInvoice => "Bill to",
        Kind::CreditNote(_) => "Credit to",
    };
    (!name.is_empty() || !lines.is_empty()).then_some(Party { heading, name, lines })
}

fn vat_number(number: &str) -> Option<String> {
    let number = words::line(number);
    (!number.is_empty()).then(|| format!("VAT no. {number}"))
}

fn facts(document: &Document) -> Vec<(&'static str, String)> {
    let number = words::line(&document.number);
    let mut facts = vec![("Number", number), ("Date of issue", date(document.issued_at))];
    if let Kind::CreditNote(corrected) = &document.kind {
        facts.push(("For invoice", words::line(&corrected.number)));
        facts.push(("Invoice date", date(corrected.issued_at)));
    }
    facts.extend(document.due_at.map(|due| ("Due date", date(due))));
    facts
}

fn columns(document: &Document, form: Form) -> Columns {
    let (unit, amount) = match (form, document.prices_include_tax) {
        (Form::Plain, _) => ("Unit price", "Amount"),
        (_, true) => ("Unit price incl. VAT", "Amount incl. VAT"),
        (_, false) => ("Unit price excl. VAT", "Amount excl. VAT"),
    };
    Columns { rate: (document.totals.len() > 1).then_some("VAT"), unit, amount }
}

fn rows(document: &Document) -> Vec<Row> {
    let mut carried = 0_i64;
    let row = |line: &Line| {
        carried = carried.saturating_add(line.total_minor);
        let digits = line.quantity.to_string();
        Row {
            description: words::line(&line.description),
            detail: line.period.map(words::period),
            quantity: words::grouped(&digits),
            rate: words::rate(line.rate_bp),
            unit: amount(line.unit_minor, document.currency),
            amount: amount(line.total_minor, document.currency),
            carried: amount(carried, document.currency),
        }
    };
    document.lines.iter().map(row).collect()
}

fn sums(document: &Document, form: Form) -> Vec<Sum> {
    let sum = |label: &str, minor: i64, strong: bool| Sum {
        label: label.to_owned(),
        amount: amount(minor, document.currency),
        strong,
    };
    let mut sums = Vec::new();
    if form != Form::Plain {
        sums.extend(document.totals.iter().flat_map(|total| {
            let rate = words::rate(total.rate_bp);
            let value = match document.totals.as_slice() {
                [_] => "Value excluding VAT".to_owned(),
                _ => format!("Value at {rate}, excluding VAT"),
            };
            [sum(&value, total.net_minor, false), sum(&format!("VAT at {rate}"), total.tax_minor, false)]
        }));
    }
    let total = match (&document.kind, form) {
        (Kind::TaxInvoice, Form::Plain) => "Total",
        (Kind::TaxInvoice, _) => "Total including VAT",
        (Kind::CreditNote(_), Form::Plain) => "Total credited",
        (Kind::CreditNote(_), _) => "Total credited including VAT",
    };
    sums.push(sum(total, document.total_minor(), true));
    match &document.kind {
        Kind::TaxInvoice => {
            if !document.payments.is_empty() {
                sums.push(sum("Paid", document.paid_minor().saturating_neg(), false));
            }
            sums.push(sum("Amount due", document.due_minor(), true));
        }
        Kind::CreditNote(_) if document.payments.is_empty() => {}
        Kind::CreditNote(_) => sums.push(sum("Paid back", document.paid_minor(), false)),
    }
    sums
}

fn notes(document: &Document, form: Form) -> Vec<String> {
    let mut notes: Vec<String> = document.payments.iter().map(|payment| paid(document, payment)).collect();
    if form == Form::Abridged && document.kind == Kind::TaxInvoice {
        notes.push("Abridged tax invoice in terms of section 20(5) of the Value-Added Tax Act.".to_owned());
    }
    if form == Form::Plain {
        notes.push("The supplier is not registered for VAT; no VAT is charged.".to_owned());
    }
    if form == Form::Test {
        notes.push("This document is a test. No money moved, and it is no record for tax.".to_owned());
    }
    if document.copy {
        notes.push("This is a copy; the original was issued before.".to_owned());
    }
    notes
}

fn paid(document: &Document, payment: &Payment) -> String {
    let amount = amount(payment.amount_minor, document.currency);
    let (method, reference) = (words::line(&payment.method), words::line(&payment.reference));
    let what = match document.kind {
        Kind::TaxInvoice => "paid",
        Kind::CreditNote(_) => "paid back",
    };
    let mut text = format!("{amount} {what} on {}", date(payment.at));
    if !method.is_empty() {
        text.push_str(&format!(" through {method}"));
    }
    if !reference.is_empty() {
        text.push_str(&format!(", reference {reference}"));
    }
    text.push('.');
    text
}

fn foot(document: &Document) -> String {
    let legal = words::line(&document.supplier.legal_name);
    match vat_number(&document.supplier.vat_number) {
        Some(number) => format!("{legal}  ·  {number}"),
        None => legal,
    }
}
