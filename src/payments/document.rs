//! The documents that buyers get: tax invoices and credit notes, as PDF with the same facts for machines inside.
//!
//! Pure: a document is what its fields say, and the same fields give the same bytes. Which form the law demands is
//! decided here, and what that form demands is checked before anything is drawn. It knows no clock, no table and no
//! plan; who calls it reads an invoice and hands its facts in.

mod face;
mod form;
mod layout;
mod page;
mod pdf;
#[cfg(test)]
mod sample;
mod sheet;
mod ubl;
mod words;
mod xml;

use crate::base::{Currency, Timestamp, Violations};

use super::model::period::Period;
use super::options::Supplier;

pub use form::{FULL_FORM_ABOVE_MINOR, Form};
pub use words::{amount, date};

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// The longest address, in characters.
pub const ADDRESS_CHARS_MAX: usize = 500;
/// The longest number or reference, in characters.
pub const NUMBER_CHARS_MAX: usize = 100;
/// The longest description of a line, or reason of a credit note, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 1_000;
/// The most lines of a document.
pub const LINES_MAX: usize = 1_000;
/// The most rates of tax in a document.
pub const RATES_MAX: usize = 4;
/// The most payments that a document names.
pub const PAYMENTS_MAX: usize = 100;

/// A document, whole: nothing is looked up to draw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub kind: Kind,
    /// Its serial number.
    pub number: String,
    /// When it was issued. Dates are written as of South Africa.
    pub issued_at: Timestamp,
    /// Until when it is to be paid, if that is said.
    pub due_at: Option<Timestamp>,
    /// Who charges.
    pub supplier: Supplier,
    /// Who is charged.
    pub customer: Customer,
    /// The currency of every amount.
    pub currency: Currency,
    /// Whether the amounts of the lines include tax.
    pub prices_include_tax: bool,
    /// What is charged for, or credited.
    pub lines: Vec<Line>,
    /// The sums, one for each rate of tax.
    pub totals: Vec<RateTotal>,
    /// What was paid of an invoice, or paid back by a credit note. What is due is the rest.
    pub payments: Vec<Payment>,
    /// True when no real money moves. Such a document says so on every page, and is none for the tax office.
    pub test: bool,
    /// True when the original was handed out before: the law wants later ones marked.
    pub copy: bool,
}

/// What a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It charges.
    TaxInvoice,
    /// It takes back, wholly or in part, what an invoice charged. Its amounts are positive.
    CreditNote(Corrected),
}

/// The invoice that a credit note corrects, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// Its number.
    pub number: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Its total, tax included: the form of the credit note follows it.
    pub total_minor: i64,
    /// Why, in a sentence that the buyer reads.
    pub reason: String,
}

/// Who is charged. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Customer {
    /// The name.
    pub name: String,
    /// The value-added tax number, when registered.
    pub vat_number: String,
    /// The postal address, in lines.
    pub address: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
}

/// What is charged for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// For people.
    pub description: String,
    /// How many, at least 1.
    pub quantity: i64,
    /// The price of one.
    pub unit_minor: i64,
    /// The price of all; negative for what is taken off.
    pub total_minor: i64,
    /// The rate of tax, in hundredths of a percent.
    pub rate_bp: i64,
    /// When it serves, if that is said.
    pub period: Option<Period>,
}

/// The sums at one rate of tax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateTotal {
    /// The rate, in hundredths of a percent.
    pub rate_bp: i64,
    /// The value without tax.
    pub net_minor: i64,
    /// The tax.
    pub tax_minor: i64,
    /// Both.
    pub gross_minor: i64,
}

/// Money that moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Through whom, such as `PayFast`.
    pub method: String,
    /// What it is called there.
    pub reference: String,
    /// When.
    pub at: Timestamp,
    /// How much.
    pub amount_minor: i64,
}

/// Why there is no document. Neither is a caller's fault: who calls has to find out what is missing before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It lacks what the law demands of it, or its sums are wrong.
    #[error("the document cannot be issued: {}", told(.0))]
    Incomplete(Violations),
    /// It could not be drawn.
    #[error("the document cannot be drawn: {0}")]
    Drawing(String),
}

impl Document {
    /// The form that the law demands, when the document has all that it demands.
    ///
    /// # Errors
    /// Everything that is missing or wrong, by the field's name.
    pub fn form(&self) -> Result<Form, Error> {
        form::examine(self).map_err(Error::Incomplete)
    }

    /// What it calls itself, such as `Tax Invoice`.
    ///
    /// # Errors
    /// As [`Self::form`].
    pub fn title(&self) -> Result<&'static str, Error> {
        Ok(words::title(self, self.form()?))
    }

    /// Everything, tax included.
    #[must_use]
    pub fn total_minor(&self) -> i64 {
        self.totals.iter().fold(0, |sum, total| sum.saturating_add(total.gross_minor))
    }

    /// What was paid, or paid back.
    #[must_use]
    pub fn paid_minor(&self) -> i64 {
        self.payments.iter().fold(0, |sum, payment| sum.saturating_add(payment.amount_minor))
    }

    /// What is still to be paid; of a credit note, what was not paid back.
    #[must_use]
    pub fn due_minor(&self) -> i64 {
        self.total_minor().saturating_sub(self.paid_minor())
    }

    /// Under which name it is saved, such as `tax-invoice-INV-000123.pdf`. ASCII, and no path whatever the number.
    #[must_use]
    pub fn file_name(&self) -> String {
        let kind = match (&self.kind, self.test, self.supplier.vat_number.is_empty()) {
            (Kind::TaxInvoice, true, _) => "test-invoice",
            (Kind::CreditNote(_), true, _) => "test-credit-note",
            (Kind::TaxInvoice, false, true) => "invoice",
            (Kind::TaxInvoice, false, false) => "tax-invoice",
            (Kind::CreditNote(_), false, _) => "credit-note",
        };
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let number: String = self.number.chars().take(NUMBER_CHARS_MAX).map(safe).collect();
        format!("{kind}-{number}.pdf")
    }
}

/// Draws the document: PDF/A-3, with [`structured`] as an associated file.
///
/// # Errors
/// What is missing or wrong, or that it could not be drawn.
pub fn render(document: &Document) -> Result<Vec<u8>, Error> {
    let form = document.form()?;
    let fonts = face::Fonts::new().ok_or_else(|| Error::Drawing("the font cannot be read".to_owned()))?;
    let sheet = sheet::sheet(document, form);
    let pages = layout::lay_out(&sheet, &fonts);
    pdf::write(&sheet, &pages, ubl::write(document, form))
}

/// The facts for machines: an invoice or a credit note of UBL 2.1.
///
/// # Errors
/// What is missing or wrong.
pub fn structured(document: &Document) -> Result<String, Error> {
    Ok(ubl::write(document, document.form()?))
}

fn told(violations: &Violations) -> String {
    let told: Vec<String> = violations
        .as_slice()
        .iter()
        .map(|violation| format!("{} {}", violation.field, violation.description))
        .collect();
    told.join("; ")
}
