//! Invoices: what was asked for, where it stands, and the tax in it.

use serde::{Deserialize, Serialize};

use super::ledger::{self, Balanced, Unbalanced};
use super::period::Cycle;
use super::{Impossible, InvoiceId};
use crate::base::money::MoneyError;
use crate::base::{Currency, Money, OrganizationId, Timestamp};
use crate::db::words;

/// South African value-added tax since 2018-04-01, in percent.
pub const VAT_PERCENT: i64 = 15;
/// From above this total on a tax invoice must name its recipient: R5 000, tax included (VAT Act, section 20(4) and
/// (5)).
pub const RECIPIENT_REQUIRED_ABOVE_MINOR: i64 = 500_000;

words! {
    /// Where an invoice stands.
    pub enum InvoiceStatus {
        /// Being written; nobody can pay it.
        Draft = "draft",
        /// To be paid. One of a checkout has no number before it is paid, any other has.
        Open = "open",
        /// Paid, numbered, never changed again.
        Paid = "paid",
        /// Given up: as a draft, as a checkout that nobody paid, or because credit notes took all of it.
        Void = "void",
        /// Issued, and given up for lost.
        Uncollectible = "uncollectible",
    }
}

impl InvoiceStatus {
    /// From `self` to another, where that is allowed.
    ///
    /// # Errors
    /// When it is not.
    pub fn change_to(self, to: Self) -> Result<Self, Impossible> {
        let allowed = match to {
            Self::Draft => false,
            Self::Open => self == Self::Draft,
            Self::Paid | Self::Uncollectible => self == Self::Open,
            Self::Void => matches!(self, Self::Draft | Self::Open),
        };
        if allowed {
            Ok(to)
        } else {
            Err(Impossible { thing: "the invoice", from: self.as_str(), to: to.as_str() })
        }
    }
}

/// Why an invoice is not given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unvoidable {
    /// It was issued: a credit note takes it back.
    Issued,
    /// It was never issued, so nothing is lost.
    NotIssued,
    /// It is over.
    Closed(InvoiceStatus),
}

words! {
    /// Where an invoice comes from.
    pub enum InvoiceOrigin {
        /// A checkout: it is issued by being paid, so that what nobody pays takes no number.
        Checkout = "checkout",
        /// The platform's staff: it is issued first and paid then.
        Staff = "staff",
    }
}

/// An invoice without its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct Invoice {
    /// Its id.
    pub id: InvoiceId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Where it comes from.
    pub origin: InvoiceOrigin,
    /// Gapless in its series; given when it is issued.
    pub number: Option<String>,
    /// Where it stands.
    pub status: InvoiceStatus,
    /// Its currency.
    pub currency: Currency,
    /// The whole, tax included.
    pub total_minor: i64,
    /// The tax in it.
    pub tax_minor: i64,
    /// The rate of the tax, in hundredths of a percent.
    pub tax_rate_bp: i64,
    /// Whether the prices of its lines include the tax.
    pub prices_include_tax: bool,
    /// What credit notes have taken off it, tax included.
    pub credited_minor: i64,
    /// The supplier's legal name at the time.
    pub supplier_legal_name: String,
    /// The supplier's trading name at the time.
    pub supplier_trading_name: String,
    /// The supplier's tax number at the time.
    pub supplier_vat_number: String,
    /// The supplier's address at the time.
    pub supplier_address: String,
    /// The customer's name at the time.
    pub customer_name: String,
    /// The customer's tax number at the time.
    pub customer_vat_number: String,
    /// The customer's address at the time.
    pub customer_address: String,
    /// True when no real money moves; such an invoice has its own series.
    pub test: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was numbered.
    pub issued_at: Option<Timestamp>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// Until when it is to be paid, if that is said.
    pub due_at: Option<Timestamp>,
}

impl Invoice {
    /// What is left to pay while it is open.
    #[must_use]
    pub const fn due_minor(&self) -> i64 {
        self.total_minor.saturating_sub(self.credited_minor)
    }

    /// The tax in the first `minor` of its total. The tax is split between them and the rest by the largest remainder,
    /// so that parts that make up the total carry all of the tax and no more.
    #[must_use]
    pub fn tax_of_first(&self, minor: i64) -> i64 {
        let total = i128::from(self.total_minor.max(1));
        let product = i128::from(self.tax_minor).saturating_mul(i128::from(minor));
        // Half a unit up is the larger remainder's unit; of two halves the first part has it.
        let share = product.saturating_mul(2).saturating_add(total).div_euclid(total.saturating_mul(2));
        i64::try_from(share).unwrap_or(self.tax_minor)
    }

    /// Where it stands when it is given up as void: a draft, or a checkout's that was not issued.
    ///
    /// # Errors
    /// [`Unvoidable`].
    pub const fn voided(&self) -> Result<InvoiceStatus, Unvoidable> {
        match (self.status, &self.number) {
            (InvoiceStatus::Draft, _) | (InvoiceStatus::Open, None) => Ok(InvoiceStatus::Void),
            (InvoiceStatus::Open, Some(_)) | (InvoiceStatus::Paid, _) => Err(Unvoidable::Issued),
            (InvoiceStatus::Void | InvoiceStatus::Uncollectible, _) => Err(Unvoidable::Closed(self.status)),
        }
    }

    /// Where it stands when it is given up for lost: one that was issued and is open.
    ///
    /// # Errors
    /// [`Unvoidable`].
    pub const fn written_off(&self) -> Result<InvoiceStatus, Unvoidable> {
        match (self.status, &self.number) {
            (InvoiceStatus::Open, Some(_)) => Ok(InvoiceStatus::Uncollectible),
            (InvoiceStatus::Draft, _) | (InvoiceStatus::Open, None) => Err(Unvoidable::NotIssued),
            (InvoiceStatus::Paid | InvoiceStatus::Void | InvoiceStatus::Uncollectible, _) => {
                Err(Unvoidable::Closed(self.status))
            }
        }
    }

    /// What is booked when what is due on it is given up for lost, with what credit notes left of the tax.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn loss(&self) -> Result<Balanced, Unbalanced> {
        let tax = self.tax_minor.saturating_sub(self.tax_of_first(self.credited_minor));
        ledger::write_off(Money::new(self.due_minor(), self.currency), Money::new(tax, self.currency))
    }

    /// Whether the law wants its recipient named: with a name and an address, which it may lack.
    #[must_use]
    pub const fn requires_recipient(&self) -> bool {
        self.total_minor > RECIPIENT_REQUIRED_ABOVE_MINOR
    }
}

/// What is charged for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct InvoiceLine {
    /// The invoice.
    pub invoice_id: InvoiceId,
    /// Its place, from 1.
    pub position: i64,
    /// For people.
    pub description: String,
    /// How many.
    pub quantity: i64,
    /// The price of one, with or without tax as the invoice says.
    pub unit_minor: i64,
    /// The price of all.
    pub total_minor: i64,
    /// The plan that it is for, when it is for one.
    pub plan_id: Option<String>,
    /// The cycle that it is for.
    pub billing_cycle: Option<Cycle>,
    /// From when it serves; known once paid.
    pub period_start: Option<Timestamp>,
    /// Until when it serves; known once paid.
    pub period_end: Option<Timestamp>,
}

/// The tax contained in a tax-inclusive price: 15/115 of it, half away from zero.
///
/// # Errors
/// When the amount is too large to compute with.
pub fn tax_included(total: Money) -> Result<Money, MoneyError> {
    total.tax_included(rust_decimal::Decimal::from(VAT_PERCENT))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use InvoiceStatus::{Draft, Open, Paid, Uncollectible, Void};

    /// An invoice that the staff issued and nobody has paid.
    pub fn issued(total_minor: i64, tax_minor: i64) -> Invoice {
        standing(Open, total_minor, tax_minor)
    }

    /// An invoice of the staff's.
    pub fn standing(status: InvoiceStatus, total_minor: i64, tax_minor: i64) -> Invoice {
        let now = Timestamp::from_seconds(0);
        let numbered = status != Draft;
        Invoice {
            id: crate::base::Id::from_uuid(uuid::Uuid::from_u128(1)),
            organization_id: crate::base::Id::from_uuid(uuid::Uuid::from_u128(2)),
            origin: InvoiceOrigin::Staff,
            number: numbered.then(|| "INV-000001".to_owned()),
            status,
            currency: Currency::Zar,
            total_minor,
            tax_minor,
            tax_rate_bp: 1_500,
            prices_include_tax: true,
            credited_minor: 0,
            supplier_legal_name: "Supplier CC".to_owned(),
            supplier_trading_name: String::new(),
            supplier_vat_number: String::new(),
            supplier_address: String::new(),
            customer_name: String::new(),
            customer_vat_number: String::new(),
            customer_address: String::new(),
            test: false,
            created_at: now,
            issued_at: numbered.then_some(now),
            paid_at: (status == Paid).then_some(now),
            due_at: None,
        }
    }

    #[test]
    fn every_way_and_no_other() {
        let all = [Draft, Open, Paid, Void, Uncollectible];
        let of = |from: InvoiceStatus| {
            all.into_iter().filter(move |to| from.change_to(*to).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(of(Draft), [Open, Void]);
        assert_eq!(of(Open), [Paid, Void, Uncollectible]);
        for closed in [Paid, Void, Uncollectible] {
            assert!(of(closed).is_empty());
        }
        assert_eq!(
            Paid.change_to(Void).unwrap_err().to_string(),
            "the invoice is paid and cannot become void"
        );
    }

    #[test]
    fn what_is_given_up_follows_the_states() {
        let checkout = Invoice { number: None, ..issued(115, 15) };
        let all = [standing(Draft, 115, 15), checkout, issued(115, 15), standing(Paid, 115, 15)];
        let closed = [Void, Uncollectible].map(|status| standing(status, 115, 15));
        let all: Vec<Invoice> = all.into_iter().chain(closed).collect();
        let voided: Vec<_> = all.iter().map(Invoice::voided).collect();
        let (not_issued, over) = (Unvoidable::NotIssued, Unvoidable::Closed);
        let still = Err(Unvoidable::Issued);
        assert_eq!(voided, [Ok(Void), Ok(Void), still, still, Err(over(Void)), Err(over(Uncollectible))]);
        let lost: Vec<_> = all.iter().map(Invoice::written_off).collect();
        let (early, late) = (Err(not_issued), |status| Err(over(status)));
        let expected = [early, early, Ok(Uncollectible), late(Paid), late(Void), late(Uncollectible)];
        assert_eq!(lost, expected);
        // Whatever it becomes, its state may become.
        for (invoice, outcome) in all.iter().zip(voided.into_iter().zip(lost)) {
            for to in [outcome.0, outcome.1].into_iter().flatten() {
                assert_eq!(invoice.status.change_to(to), Ok(to));
            }
        }
    }

    #[test]
    fn the_tax_of_the_price_list() {
        let tax = |minor| tax_included(Money::new(minor, Currency::Zar)).unwrap().minor;
        assert_eq!(tax(52_900), 6_900);
        assert_eq!(tax(499_000), 65_087);
        assert_eq!(tax(179_900), 23_465);
        assert_eq!(tax(1_719_000), 224_217);
        assert_eq!(tax(500), 65);
    }
}
