//! Credit notes: what is taken off an invoice that was issued, and the tax in it.

use serde::{Deserialize, Serialize};

use super::ledger::{self, Account, Balanced, Unbalanced};
use super::{CreditNoteId, Invoice, InvoiceId, InvoiceStatus, RefundId};
use crate::base::{AccountId, Currency, Money, OrganizationId, Timestamp};

/// The longest reason of a credit note, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// A credit note. It is issued whole and never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct CreditNote {
    /// Its id.
    pub id: CreditNoteId,
    /// Whose invoice it takes from.
    pub organization_id: OrganizationId,
    /// The invoice.
    pub invoice_id: InvoiceId,
    /// The number of the invoice, for documents.
    pub invoice_number: String,
    /// Gapless in its own series.
    pub number: String,
    /// The refund that it belongs to, when money goes back with it.
    pub refund_id: Option<RefundId>,
    /// Its currency.
    pub currency: Currency,
    /// What it takes off, tax included.
    pub amount_minor: i64,
    /// The tax in it.
    pub tax_minor: i64,
    /// The rate of the tax, in hundredths of a percent.
    pub tax_rate_bp: i64,
    /// Why, as the law wants it told.
    pub reason: String,
    /// Who issued it; `None` for the platform itself, and once that account is gone.
    pub account_id: Option<AccountId>,
    /// The supplier's legal name, as on the invoice.
    pub supplier_legal_name: String,
    /// The supplier's trading name, as on the invoice.
    pub supplier_trading_name: String,
    /// The supplier's tax number, as on the invoice.
    pub supplier_vat_number: String,
    /// The supplier's address, as on the invoice.
    pub supplier_address: String,
    /// The customer's name, as on the invoice.
    pub customer_name: String,
    /// The customer's tax number, as on the invoice.
    pub customer_vat_number: String,
    /// The customer's address, as on the invoice.
    pub customer_address: String,
    /// True when no real money moves; such a note has its own series.
    pub test: bool,
    /// When it was issued.
    pub issued_at: Timestamp,
}

/// Why an invoice cannot be credited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncreditable {
    /// It was never issued, or is given up: there is nothing to take from.
    Status(InvoiceStatus),
    /// The amount is not above nothing, or more than is left of the invoice.
    Amount {
        /// What is left of it.
        left_minor: i64,
    },
}

/// What a credit note does to an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// What it takes off, tax included.
    pub amount: Money,
    /// The tax in it.
    pub tax: Money,
    /// Where the invoice stands afterwards.
    pub status: InvoiceStatus,
    /// What was taken off it in all afterwards.
    pub credited_minor: i64,
}

impl Credit {
    /// What is booked: of a paid invoice the customer has the amount as credit, on an open one less is owed.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn books(&self) -> Result<Balanced, Unbalanced> {
        let to = match self.status {
            InvoiceStatus::Paid => Account::CustomerCredit,
            _ => Account::Receivable,
        };
        ledger::credit_note(self.amount, self.tax, to)
    }
}

/// Takes `amount_minor` off an invoice that was issued and is open or paid. An open one of which nothing is left is
/// void.
///
/// # Errors
/// [`Uncreditable`].
pub fn credit(invoice: &Invoice, amount_minor: i64) -> Result<Credit, Uncreditable> {
    let issued = invoice.number.is_some();
    if !issued || !matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Paid) {
        return Err(Uncreditable::Status(invoice.status));
    }
    let left_minor = invoice.due_minor();
    if amount_minor <= 0 || amount_minor > left_minor {
        return Err(Uncreditable::Amount { left_minor });
    }
    let credited_minor = invoice.credited_minor.saturating_add(amount_minor);
    let tax =
        invoice.tax_of_first(credited_minor).saturating_sub(invoice.tax_of_first(invoice.credited_minor));
    let whole = invoice.status == InvoiceStatus::Open && amount_minor == left_minor;
    Ok(Credit {
        amount: Money::new(amount_minor, invoice.currency),
        tax: Money::new(tax, invoice.currency),
        status: if whole { InvoiceStatus::Void } else { invoice.status },
        credited_minor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::model::invoice::tests::{issued, standing};
    use proptest::prelude::*;

    #[test]
    fn only_what_was_issued_and_not_given_up_is_credited() {
        for status in [InvoiceStatus::Draft, InvoiceStatus::Void, InvoiceStatus::Uncollectible] {
            let invoice = standing(status, 115, 15);
            assert_eq!(credit(&invoice, 1), Err(Uncreditable::Status(status)));
        }
        let checkout = Invoice { number: None, ..issued(115, 15) };
        assert_eq!(credit(&checkout, 1), Err(Uncreditable::Status(InvoiceStatus::Open)));
        let part = credit(&issued(115, 15), 114).unwrap();
        assert_eq!((part.status, part.credited_minor, part.tax.minor), (InvoiceStatus::Open, 114, 15));
        assert_eq!(credit(&issued(115, 15), 115).unwrap().status, InvoiceStatus::Void);
        let paid = standing(InvoiceStatus::Paid, 115, 15);
        assert_eq!(credit(&paid, 115).unwrap().status, InvoiceStatus::Paid);
    }

    #[test]
    fn never_more_than_is_left() {
        let invoice = Invoice { credited_minor: 100, ..issued(115, 15) };
        for amount in [0, -1, 16, i64::MAX, i64::MIN] {
            assert_eq!(credit(&invoice, amount), Err(Uncreditable::Amount { left_minor: 15 }), "{amount}");
        }
    }

    proptest! {
        #[test]
        fn notes_sum_to_the_invoice_and_its_tax(
            total in 1_i64..100_000_000_000, rated: bool, cuts in prop::collection::vec(1_i64..1_000, 1..20),
        ) {
            let included = super::super::tax_included(Money::new(total, Currency::Zar)).unwrap().minor;
            let tax = if rated { included } else { 0 };
            let mut invoice = standing(InvoiceStatus::Paid, total, tax);
            let (mut amounts, mut taxes) = (0, 0);
            let parts = cuts.into_iter().map(|cut| total / 20_000 * cut + 1).chain([i64::MAX]);
            for part in parts {
                let left = invoice.due_minor();
                if left == 0 { break; }
                let note = credit(&invoice, part.min(left)).unwrap();
                prop_assert!((0..=note.amount.minor).contains(&note.tax.minor));
                // Never a cent from the exact share, so that no note shows a strange tax.
                let exact = i128::from(note.amount.minor) * i128::from(tax);
                prop_assert!((i128::from(note.tax.minor) * i128::from(total) - exact).abs() <= i128::from(total));
                amounts += note.amount.minor;
                taxes += note.tax.minor;
                prop_assert!(taxes <= tax);
                invoice.credited_minor = note.credited_minor;
            }
            prop_assert_eq!((amounts, taxes), (total, tax));
        }
    }
}
