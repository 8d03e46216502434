//! The facts of a document for machines: an invoice or a credit note of UBL 2.1, as Peppol's formats use it.
//!
//! UBL counts without tax, whatever the prices say: of prices that include it, each line's value is what is left
//! without the tax, and a cent that rounding leaves over goes to the first lines, so that the lines add up to the
//! document. It claims no profile: South Africa has not fixed one yet.

use crate::base::Money;

use super::form::Form;
use super::words::{self, iso_date};
use super::xml::Xml;
use super::{Corrected, Customer, Document, Kind, Line, RateTotal};

const COMMON: &str = "xmlns:cac=\"urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2\" \
                      xmlns:cbc=\"urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2\"";
/// The supplier's country.
const SOUTH_AFRICA: &str = "ZA";
/// Pieces, in the code list of UN/ECE recommendation 20.
const PIECES: &str = "C62";
/// The code list UNCL 1001: a commercial invoice, one that is none yet (pro forma), a credit note.
const INVOICE: &str = "380";
const PRO_FORMA: &str = "325";
const CREDIT_NOTE: &str = "381";
const WHOLE_BP: i128 = 10_000;

/// Writes the facts.
pub(super) fn write(document: &Document, form: Form) -> String {
    let writer = Writer { document, form, currency: format!("currencyID=\"{}\"", document.currency.code()) };
    let mut xml = Xml::new();
    let root = match document.kind {
        Kind::TaxInvoice => "Invoice",
        Kind::CreditNote(_) => "CreditNote",
    };
    let namespace = format!("xmlns=\"urn:oasis:names:specification:ubl:schema:xsd:{root}-2\"");
    xml.nest(&format!("{root} {namespace} {COMMON}"), |xml| {
        writer.head(xml);
        writer.supplier(xml);
        writer.customer(xml);
        writer.prepaid(xml);
        writer.tax(xml);
        writer.total(xml);
        writer.lines(xml);
    });
    xml.finish()
}

struct Writer<'a> {
    document: &'a Document,
    form: Form,
    /// The attribute of every amount.
    currency: String,
}

impl Writer<'_> {
    fn head(&self, xml: &mut Xml) {
        let document = self.document;
        xml.leaf("cbc:UBLVersionID", "2.1");
        xml.leaf("cbc:ID", document.number.trim());
        xml.leaf("cbc:CopyIndicator", if document.copy { "true" } else { "false" });
        xml.leaf("cbc:IssueDate", &iso_date(document.issued_at));
        match &document.kind {
            Kind::TaxInvoice => {
                xml.leaf_if("cbc:DueDate", &document.due_at.map(iso_date).unwrap_or_default());
                let code = if self.form == Form::Test { PRO_FORMA } else { INVOICE };
                xml.leaf("cbc:InvoiceTypeCode", code);
            }
            Kind::CreditNote(_) => xml.leaf("cbc:CreditNoteTypeCode", CREDIT_NOTE),
        }
        if self.form == Form::Test {
            xml.leaf("cbc:Note", words::NOT_A_TAX_INVOICE);
        }
        xml.leaf("cbc:DocumentCurrencyCode", document.currency.code());
        if let Kind::CreditNote(Corrected { number, issued_at, reason, .. }) = &document.kind {
            xml.nest("cac:DiscrepancyResponse", |xml| {
                xml.leaf("cbc:ReferenceID", number.trim());
                xml.leaf("cbc:Description", reason.trim());
            });
            xml.nest("cac:BillingReference", |xml| {
                xml.nest("cac:InvoiceDocumentReference", |xml| {
                    xml.leaf("cbc:ID", number.trim());
                    xml.leaf("cbc:IssueDate", &iso_date(*issued_at));
                });
            });
        }
    }

    fn supplier(&self, xml: &mut Xml) {
        let supplier = &self.document.supplier;
        xml.nest("cac:AccountingSupplierParty", |xml| {
            xml.nest("cac:Party", |xml| {
                name(xml, &supplier.trading_name);
                address(xml, &supplier.address, SOUTH_AFRICA);
                tax_number(xml, &supplier.vat_number);
                legal_name(xml, &supplier.legal_name);
            });
        });
    }

    fn customer(&self, xml: &mut Xml) {
        let Customer { name: customer, vat_number, address: lines, country } = &self.document.customer;
        xml.nest("cac:AccountingCustomerParty", |xml| {
            xml.nest("cac:Party", |xml| {
                name(xml, customer);
                address(xml, lines, country);
                tax_number(xml, vat_number);
                legal_name(xml, customer);
            });
        });
    }

    /// What was paid before. A credit note has no place for what was paid back.
    fn prepaid(&self, xml: &mut Xml) {
        if self.document.kind != Kind::TaxInvoice {
            return;
        }
        for payment in &self.document.payments {
            xml.nest("cac:PrepaidPayment", |xml| {
                xml.leaf_if("cbc:ID", &payment.reference);
                self.amount(xml, "cbc:PaidAmount", payment.amount_minor);
                xml.leaf("cbc:PaidDate", &iso_date(payment.at));
                xml.leaf_if("cbc:InstructionID", &payment.method);
            });
        }
    }

    fn tax(&self, xml: &mut Xml) {
        let totals = &self.document.totals;
        let tax = totals.iter().fold(0_i64, |sum, total| sum.saturating_add(total.tax_minor));
        xml.nest("cac:TaxTotal", |xml| {
            self.amount(xml, "cbc:TaxAmount", tax);
            for total in totals {
                xml.nest("cac:TaxSubtotal", |xml| {
                    self.amount(xml, "cbc:TaxableAmount", total.net_minor);
                    self.amount(xml, "cbc:TaxAmount", total.tax_minor);
                    self.category(xml, "cac:TaxCategory", total.rate_bp);
                });
            }
        });
    }

    /// Standard-rated, zero-rated, or outside of the tax.
    fn category(&self, xml: &mut Xml, element: &str, rate_bp: i64) {
        let outside = self.form == Form::Plain || self.document.supplier.vat_number.trim().is_empty();
        xml.nest(element, |xml| {
            match (outside, rate_bp) {
                (true, _) => xml.leaf("cbc:ID", "O"),
                (false, 0) => xml.leaf("cbc:ID", "Z"),
                (false, _) => xml.leaf("cbc:ID", "S"),
            }
            if outside {
                xml.leaf("cbc:TaxExemptionReason", "The supplier is not registered for VAT");
            } else {
                xml.leaf("cbc:Percent", &words::percent(rate_bp));
            }
            scheme(xml);
        });
    }

    fn total(&self, xml: &mut Xml) {
        let document = self.document;
        let net = document.totals.iter().fold(0_i64, |sum, total| sum.saturating_add(total.net_minor));
        xml.nest("cac:LegalMonetaryTotal", |xml| {
            self.amount(xml, "cbc:LineExtensionAmount", net);
            self.amount(xml, "cbc:TaxExclusiveAmount", net);
            self.amount(xml, "cbc:TaxInclusiveAmount", document.total_minor());
            match document.kind {
                Kind::TaxInvoice => {
                    self.amount(xml, "cbc:PrepaidAmount", document.paid_minor());
                    self.amount(xml, "cbc:PayableAmount", document.due_minor());
                }
                Kind::CreditNote(_) => self.amount(xml, "cbc:PayableAmount", document.total_minor()),
            }
        });
    }

    fn lines(&self, xml: &mut Xml) {
        let (element, quantity) = match self.document.kind {
            Kind::TaxInvoice => ("cac:InvoiceLine", "cbc:InvoicedQuantity"),
            Kind::CreditNote(_) => ("cac:CreditNoteLine", "cbc:CreditedQuantity"),
        };
        let nets = nets(self.document);
        for ((at, line), net) in (1_u32..).zip(&self.document.lines).zip(nets) {
            xml.nest(element, |xml| {
                xml.leaf("cbc:ID", &at.to_string());
                // A price is never negative: of what is taken off, there are fewer than none.
                let sign = if net < 0 { -1 } else { 1 };
                let count = line.quantity.saturating_mul(sign);
                xml.leaf(&format!("{quantity} unitCode=\"{PIECES}\""), &count.to_string());
                self.amount(xml, "cbc:LineExtensionAmount", net);
                self.line(xml, line, net);
            });
        }
    }

    fn line(&self, xml: &mut Xml, line: &Line, net: i64) {
        if let Some(period) = line.period {
            xml.nest("cac:InvoicePeriod", |xml| {
                xml.leaf("cbc:StartDate", &iso_date(period.start));
                xml.leaf("cbc:EndDate", &iso_date(words::last_moment(period)));
            });
        }
        xml.nest("cac:Item", |xml| {
            xml.leaf("cbc:Name", line.description.trim());
            self.category(xml, "cac:ClassifiedTaxCategory", line.rate_bp);
        });
        // The price of them all, for the price of one may be no whole number of cents.
        xml.nest("cac:Price", |xml| {
            self.amount(xml, "cbc:PriceAmount", net.saturating_abs());
            let quantity = line.quantity.to_string();
            xml.leaf(&format!("cbc:BaseQuantity unitCode=\"{PIECES}\""), &quantity);
        });
    }

    fn amount(&self, xml: &mut Xml, element: &str, minor: i64) {
        let amount = Money::new(minor, self.document.currency).to_decimal_string();
        xml.leaf(&format!("{element} {}", self.currency), &amount);
    }
}

fn name(xml: &mut Xml, text: &str) {
    if !text.trim().is_empty() {
        xml.nest("cac:PartyName", |xml| xml.leaf("cbc:Name", text.trim()));
    }
}

fn address(xml: &mut Xml, text: &str, country: &str) {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() && country.trim().is_empty() {
        return;
    }
    xml.nest("cac:PostalAddress", |xml| {
        for line in lines {
            xml.nest("cac:AddressLine", |xml| xml.leaf("cbc:Line", line));
        }
        if !country.trim().is_empty() {
            xml.nest("cac:Country", |xml| xml.leaf("cbc:IdentificationCode", country.trim()));
        }
    });
}

fn tax_number(xml: &mut Xml, number: &str) {
    if !number.trim().is_empty() {
        xml.nest("cac:PartyTaxScheme", |xml| {
            xml.leaf("cbc:CompanyID", number.trim());
            scheme(xml);
        });
    }
}

fn legal_name(xml: &mut Xml, text: &str) {
    if !text.trim().is_empty() {
        xml.nest("cac:PartyLegalEntity", |xml| xml.leaf("cbc:RegistrationName", text.trim()));
    }
}

fn scheme(xml: &mut Xml) {
    xml.nest("cac:TaxScheme", |xml| xml.leaf("cbc:ID", "VAT"));
}

/// The value of each line without tax.
fn nets(document: &Document) -> Vec<i64> {
    let net = |line: &Line| {
        if document.prices_include_tax {
            without_tax(line.total_minor, line.rate_bp)
        } else {
            line.total_minor
        }
    };
    let mut nets: Vec<i64> = document.lines.iter().map(net).collect();
    for RateTotal { rate_bp, net_minor, .. } in &document.totals {
        let of_rate = document.lines.iter().zip(&mut nets).filter(|(line, _)| line.rate_bp == *rate_bp);
        let mut of_rate: Vec<&mut i64> = of_rate.map(|(_, net)| net).collect();
        let sum = of_rate.iter().fold(0_i64, |sum, net| sum.saturating_add(**net));
        let left = net_minor.saturating_sub(sum);
        let count = i64::try_from(of_rate.len()).unwrap_or(i64::MAX).max(1);
        let (each, mut over) = (left / count, left % count);
        for net in &mut of_rate {
            let cent = over.signum();
            **net = net.saturating_add(each).saturating_add(cent);
            over = over.saturating_sub(cent);
        }
    }
    nets
}

/// What is left of an amount without the tax in it, the tax rounded half away from zero.
fn without_tax(gross_minor: i64, rate_bp: i64) -> i64 {
    let (gross, rate) = (i128::from(gross_minor), i128::from(rate_bp));
    let (product, whole) = (gross.saturating_mul(rate), WHOLE_BP + rate);
    let tax = (product.saturating_mul(2).abs() + whole) / (whole * 2) * product.signum();
    i64::try_from(gross - tax).unwrap_or(gross_minor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample;
    use super::*;

    #[test]
    fn a_line_without_its_tax_is_what_the_house_computes() {
        for minor in [52_900, 499_000, 23, -23, 0, 1, 179_900] {
            let tax = Money::new(minor, crate::base::Currency::Zar).tax_included(15.into()).unwrap().minor;
            assert_eq!(without_tax(minor, 1_500), minor - tax, "{minor}");
        }
        assert_eq!(without_tax(100, 0), 100);
    }

    #[test]
    fn what_roundings_leave_over_is_on_the_lines_also_when_it_is_more_than_a_cent_each() {
        let mut note = sample::credit_note();
        note.payments.clear();
        note.totals = vec![RateTotal { rate_bp: 10_000, net_minor: 3, tax_minor: 0, gross_minor: 3 }];
        (note.lines[0].rate_bp, note.lines[0].total_minor) = (10_000, 3);
        // Half of it is tax, rounded to 2; the note has three roundings and is two cents from that.
        note.form().unwrap();
        assert_eq!(nets(&note), [3]);
    }

    #[test]
    fn a_credit_note_names_the_invoice_and_why() {
        let note = sample::credit_note();
        let xml = write(&note, Form::Full);
        assert!(
            xml.contains("<CreditNote xmlns=\"urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2\"")
        );
        assert!(xml.contains("<cbc:ReferenceID>INV-000123</cbc:ReferenceID>"), "{xml}");
        assert!(xml.contains("<cbc:Description>The agent did not work.</cbc:Description>"));
        assert!(xml.contains("<cbc:CreditedQuantity unitCode=\"C62\">1</cbc:CreditedQuantity>"));
    }

    proptest! {
        #[test]
        fn lines_add_up_to_the_document(document in sample::documents()) {
            let nets = nets(&document);
            for total in &document.totals {
                let of_rate = document.lines.iter().zip(&nets).filter(|(line, _)| line.rate_bp == total.rate_bp);
                prop_assert_eq!(of_rate.map(|(_, net)| net).sum::<i64>(), total.net_minor);
            }
        }
    }
}
