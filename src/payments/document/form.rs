//! Which form the law demands of a document, and whether it has all that the form demands.
//!
//! The law is the Value-Added Tax Act 89 of 1991: section 20(4) the full tax invoice, 20(5) the abridged one, 21(3)(a)
//! the credit note. docs/invoices.md lists each demand with what answers it.

use crate::base::{Currency, Violations};

use super::{
    ADDRESS_CHARS_MAX, Corrected, Customer, DESCRIPTION_CHARS_MAX, Document, Kind, LINES_MAX, Line,
    NAME_CHARS_MAX, NUMBER_CHARS_MAX, PAYMENTS_MAX, RATES_MAX, RateTotal,
};

/// Above this consideration, R5 000, only the full form will do (section 20(5)).
pub const FULL_FORM_ABOVE_MINOR: i64 = 500_000;

/// The largest amount: a million million rand.
const AMOUNT_MINOR_MAX: i64 = 100_000_000_000_000;
/// The most of one thing.
const QUANTITY_MAX: i64 = 1_000_000_000;
/// All of an amount, in hundredths of a percent.
const WHOLE_BP: i128 = 10_000;

/// The form of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All that section 20(4) demands, or 21(3)(a) of a credit note, the buyer's name and address among it.
    Full,
    /// Without the buyer: up to R5 000.
    Abridged,
    /// The supplier is not registered for value-added tax, so that nothing may look as if it were charged.
    Plain,
    /// No real money moves: the law demands nothing, and nothing may look as if it did.
    Test,
}

/// Decides the form, and checks what it demands and that the sums are right.
///
/// # Errors
/// Everything that is missing or wrong.
pub(super) fn examine(document: &Document) -> Result<Form, Violations> {
    let mut v = Violations::new();
    check_bounds(document, &mut v);
    check_sums(document, &mut v);
    let form = form(document);
    check_demands(document, form, &mut v);
    v.finish().map(|()| form)
}

fn form(document: &Document) -> Form {
    let consideration = match &document.kind {
        Kind::TaxInvoice => document.total_minor(),
        // The law asks after the buyer unless the invoice could do without (section 21(3)(a)(iii)).
        Kind::CreditNote(corrected) => corrected.total_minor,
    };
    let Customer { name, address, .. } = &document.customer;
    let buyer_is_known = !is_blank(name) && !is_blank(address);
    if document.test {
        Form::Test
    } else if is_blank(&document.supplier.vat_number) {
        Form::Plain
    } else if consideration > FULL_FORM_ABOVE_MINOR || buyer_is_known {
        Form::Full
    } else {
        Form::Abridged
    }
}

fn check_demands(document: &Document, form: Form, v: &mut Violations) {
    required(v, "number", &document.number);
    required(v, "supplier.legal_name", &document.supplier.legal_name);
    if let Kind::CreditNote(Corrected { number, reason, .. }) = &document.kind {
        required(v, "corrected.number", number);
        required(v, "corrected.reason", reason);
    }
    if form == Form::Plain {
        let taxed = document.totals.iter().any(|total| total.tax_minor != 0);
        v.check(!taxed, "totals", "must have no tax: the supplier is not registered for it");
    }
    if matches!(form, Form::Full | Form::Abridged) {
        required(v, "supplier.address", &document.supplier.address);
        v.check(document.currency == Currency::Zar, "currency", "must be rand: the law wants amounts in it");
    }
    if form == Form::Full {
        required(v, "customer.name", &document.customer.name);
        required(v, "customer.address", &document.customer.address);
    }
}

fn check_bounds(document: &Document, v: &mut Violations) {
    let Document { supplier, customer, .. } = document;
    bounded(v, "number", &document.number, NUMBER_CHARS_MAX);
    bounded(v, "supplier.legal_name", &supplier.legal_name, NAME_CHARS_MAX);
    bounded(v, "supplier.trading_name", &supplier.trading_name, NAME_CHARS_MAX);
    bounded(v, "supplier.vat_number", &supplier.vat_number, NUMBER_CHARS_MAX);
    bounded(v, "supplier.address", &supplier.address, ADDRESS_CHARS_MAX);
    bounded(v, "customer.name", &customer.name, NAME_CHARS_MAX);
    bounded(v, "customer.vat_number", &customer.vat_number, NUMBER_CHARS_MAX);
    bounded(v, "customer.address", &customer.address, ADDRESS_CHARS_MAX);
    bounded(v, "customer.country", &customer.country, NUMBER_CHARS_MAX);
    if let Kind::CreditNote(Corrected { number, reason, .. }) = &document.kind {
        bounded(v, "corrected.number", number, NUMBER_CHARS_MAX);
        bounded(v, "corrected.reason", reason, DESCRIPTION_CHARS_MAX);
    }
    counted(v, "lines", document.lines.len(), LINES_MAX);
    counted(v, "totals", document.totals.len(), RATES_MAX);
    v.check(document.payments.len() <= PAYMENTS_MAX, "payments", "must not be so many");
    for Line { description, quantity, unit_minor, total_minor, .. } in &document.lines {
        required(v, "lines.description", description);
        bounded(v, "lines.description", description, DESCRIPTION_CHARS_MAX);
        v.check(
            (1..=QUANTITY_MAX).contains(quantity),
            "lines.quantity",
            "must be positive, and not so large",
        );
        for minor in [unit_minor, total_minor] {
            let range = -AMOUNT_MINOR_MAX..=AMOUNT_MINOR_MAX;
            v.check(range.contains(minor), "lines.amount", "must not be so large");
        }
    }
    for payment in &document.payments {
        bounded(v, "payments.method", &payment.method, NUMBER_CHARS_MAX);
        bounded(v, "payments.reference", &payment.reference, NUMBER_CHARS_MAX);
        v.check(payment.amount_minor > 0, "payments.amount", "must be positive");
    }
}

fn check_sums(document: &Document, v: &mut Violations) {
    for (at, total) in document.totals.iter().enumerate() {
        let before = document.totals.iter().take(at);
        let twice = before.into_iter().any(|other| other.rate_bp == total.rate_bp);
        v.check(!twice, "totals.rate", "must not come twice");
        v.check((0..=10_000).contains(&total.rate_bp), "totals.rate", "must be 0% to 100%");
        check_rate(document, total, v);
    }
    let known = |line: &Line| document.totals.iter().any(|total| total.rate_bp == line.rate_bp);
    v.check(document.lines.iter().all(known), "lines.rate", "must be among the totals");
    let gross: i128 = document.totals.iter().map(|total| i128::from(total.gross_minor)).sum();
    let paid: i128 = document.payments.iter().map(|payment| i128::from(payment.amount_minor)).sum();
    v.check(
        (0..=i128::from(AMOUNT_MINOR_MAX)).contains(&gross),
        "totals",
        "must be an amount that can be charged",
    );
    v.check(paid <= gross, "payments", "must not be more than the total");
}

fn check_rate(document: &Document, total: &RateTotal, v: &mut Violations) {
    let [net, tax, gross] = [total.net_minor, total.tax_minor, total.gross_minor].map(i128::from);
    v.check(net + tax == gross, "totals", "must add up: value and tax to the whole");
    let lines: Vec<i128> = document
        .lines
        .iter()
        .filter(|line| line.rate_bp == total.rate_bp)
        .map(|line| i128::from(line.total_minor))
        .collect();
    let sum: i128 = lines.iter().sum();
    let wanted = if document.prices_include_tax { gross } else { net };
    v.check(sum == wanted, "totals", "must be the sum of the lines");
    // Rounded once for the whole or once for each line, the tax is off by half a cent a line at most.
    let rate = i128::from(total.rate_bp);
    let off = (tax * (WHOLE_BP + rate) - gross * rate).abs();
    // A credit note has the difference of two rounded shares of a rounded tax: three times half a cent.
    let rounded = if matches!(document.kind, Kind::CreditNote(_)) { 3 } else { 1 };
    let roundings = i128::try_from(lines.len().max(rounded)).unwrap_or(i128::MAX);
    v.check(off * 2 <= (WHOLE_BP + rate).saturating_mul(roundings), "totals.tax", "must be that of the rate");
}

fn required(v: &mut Violations, field: &str, text: &str) {
    v.check(!is_blank(text), field, "must not be empty");
}

fn bounded(v: &mut Violations, field: &str, text: &str, chars_max: usize) {
    v.check(text.chars().nth(chars_max).is_none(), field, "must not be so long");
}

fn counted(v: &mut Violations, field: &str, count: usize, count_max: usize) {
    v.check((1..=count_max).contains(&count), field, "must be there, and not so many");
}

/// Whether nothing of it would be seen.
fn is_blank(text: &str) -> bool {
    super::words::line(text).is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, document};
    use super::super::{Error, Payment};
    use super::*;

    /// The fields that are missing or wrong.
    fn wrong(document: &Document) -> Vec<String> {
        let Err(Error::Incomplete(violations)) = document.form() else { return Vec::new() };
        violations.as_slice().iter().map(|violation| violation.field.clone()).collect()
    }

    /// A document of one line of this total, its buyer unknown.
    fn anonymous(total_minor: i64) -> Document {
        let mut document = Document { customer: Customer::default(), ..document() };
        document.lines[0].total_minor = total_minor;
        sample::total(&mut document);
        document
    }

    #[test]
    fn above_five_thousand_rand_the_buyer_has_to_be_named() {
        assert_eq!(document().form().unwrap(), Form::Full);
        assert_eq!(anonymous(500_000).form().unwrap(), Form::Abridged);
        assert_eq!(wrong(&anonymous(500_001)), ["customer.name", "customer.address"]);
        let named = Customer { name: "Ada".to_owned(), ..Customer::default() };
        assert_eq!(wrong(&Document { customer: named.clone(), ..anonymous(500_001) }), ["customer.address"]);
        assert_eq!(Document { customer: named, ..anonymous(500_000) }.form().unwrap(), Form::Abridged);
        // Whoever is known gets the full form at any amount: it can be claimed with.
        assert_eq!(Document { customer: document().customer, ..anonymous(100) }.form().unwrap(), Form::Full);
        // What is not seen is not there.
        let blank =
            Customer { name: "\u{200b} ".to_owned(), address: "\n".to_owned(), ..Customer::default() };
        assert_eq!(
            wrong(&Document { customer: blank, ..anonymous(500_001) }),
            ["customer.name", "customer.address"]
        );
    }

    #[test]
    fn a_credit_note_follows_the_form_of_its_invoice_and_says_why() {
        let note = |invoice_minor: i64| {
            let Kind::CreditNote(corrected) = sample::credit_note().kind else { panic!() };
            let corrected = Corrected { total_minor: invoice_minor, ..corrected };
            Document { kind: Kind::CreditNote(corrected), ..anonymous(100) }
        };
        assert_eq!(note(500_000).form().unwrap(), Form::Abridged);
        assert_eq!(wrong(&note(500_001)), ["customer.name", "customer.address"]);
        let silent = Corrected {
            number: String::new(),
            issued_at: document().issued_at,
            total_minor: 1,
            reason: " ".to_owned(),
        };
        let silent = Document { kind: Kind::CreditNote(silent), ..document() };
        assert_eq!(wrong(&silent), ["corrected.number", "corrected.reason"]);
    }

    #[test]
    fn a_supplier_who_is_not_registered_charges_no_tax() {
        let mut plain = document();
        plain.supplier.vat_number.clear();
        assert_eq!(wrong(&plain), ["totals"]);
        plain.lines[0].rate_bp = 0;
        sample::total(&mut plain);
        assert_eq!((plain.form().unwrap(), plain.title().unwrap()), (Form::Plain, "Invoice"));
    }

    #[test]
    fn a_registered_supplier_says_where_it_is_and_charges_in_rand() {
        let mut nowhere = document();
        nowhere.supplier.address.clear();
        nowhere.supplier.legal_name.clear();
        nowhere.number.clear();
        nowhere.currency = Currency::Usd;
        assert_eq!(wrong(&nowhere), ["number", "supplier.legal_name", "supplier.address", "currency"]);
        let told = nowhere.form().unwrap_err().to_string();
        assert!(told.contains("supplier.address must not be empty; currency must be rand"), "{told}");
    }

    #[test]
    fn a_test_may_lack_what_the_law_demands_and_is_never_called_a_tax_invoice() {
        let mut test = Document { test: true, ..anonymous(500_001) };
        test.supplier.address.clear();
        assert_eq!((test.form().unwrap(), test.title().unwrap()), (Form::Test, "Test Invoice"));
        let note = Document { test: true, ..sample::credit_note() };
        assert_eq!(note.title().unwrap(), "Test Credit Note");
    }

    #[test]
    fn sums_that_do_not_fit_are_refused() {
        let with = |change: fn(&mut Document)| {
            let mut document = document();
            change(&mut document);
            wrong(&document)
        };
        assert_eq!(with(|d| d.lines[0].total_minor += 1), ["totals"]);
        assert_eq!(with(|d| d.totals[0].gross_minor += 1), ["totals", "totals", "totals.tax"]);
        assert_eq!(with(|d| d.totals[0].rate_bp = 1_400), ["totals", "totals.tax", "lines.rate"]);
        // A share of a tax may be a cent off, and no more.
        let credited = |cents: i64| {
            let mut note = sample::credit_note();
            note.totals[0].tax_minor += cents;
            note.totals[0].net_minor -= cents;
            wrong(&note)
        };
        assert_eq!((credited(1), credited(2)), (vec![], vec!["totals.tax".to_owned()]));
        // A cent more tax and a cent less value add up all the same, and are not 15%.
        assert_eq!(
            with(|d| {
                d.totals[0].tax_minor += 1;
                d.totals[0].net_minor -= 1;
            }),
            ["totals.tax"]
        );
        assert_eq!(
            with(|d| d.payments.push(Payment { amount_minor: 1, ..d.payments[0].clone() })),
            ["payments"]
        );
        assert_eq!(with(|d| d.totals.push(d.totals[0])), ["totals.rate"]);
        assert_eq!(with(|d| d.lines.clear()), ["lines", "totals"]);
        assert_eq!(with(|d| d.lines[0].quantity = 0), ["lines.quantity"]);
        assert_eq!(with(|d| d.lines[0].total_minor = i64::MIN), ["lines.amount", "totals"]);
        assert_eq!(with(|d| d.lines = vec![d.lines[0].clone(); 1_001])[0], "lines");
        assert_eq!(with(|d| d.customer.address = "x".repeat(501)), ["customer.address"]);
    }
}
