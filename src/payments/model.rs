//! What the payments domain is about: plans, invoices, payments, subscriptions, and how each may change.
//!
//! Pure: times and ids are arguments. Nothing here knows PayFast's wire or a table.

pub mod balance;
pub mod ledger;
pub mod period;
pub mod posted;
pub mod report;

use serde::{Deserialize, Serialize};

use crate::base::{AccountId, Currency, Id, Money, OrganizationId, Timestamp};
use crate::db::words;
use period::{Cycle, Period};

/// Marks the id of a payment; it is also PayFast's `m_payment_id`.
pub enum PaymentMark {}
/// Marks the id of an invoice.
pub enum InvoiceMark {}
/// Marks the id of a subscription.
pub enum SubscriptionMark {}
/// Marks the id of a stored notification.
pub enum EventMark {}

/// The id of a payment.
pub type PaymentId = Id<PaymentMark>;
/// The id of an invoice.
pub type InvoiceId = Id<InvoiceMark>;
/// The id of a subscription.
pub type SubscriptionId = Id<SubscriptionMark>;
/// The id of a stored notification.
pub type EventId = Id<EventMark>;

/// The plan that every organisation has until it buys another.
pub const FREE_PLAN: &str = "free";
/// The longest plan id, in characters.
pub const PLAN_ID_CHARS_MAX: usize = 64;
/// South African value-added tax since 2018-04-01, in percent.
pub const VAT_PERCENT: i64 = 15;

words! {
    /// What buying a plan does.
    pub enum PlanKind {
        /// It gives a subscription for the period bought.
        Subscription = "subscription",
        /// It gives nothing: a small real payment that proves a merchant account.
        Verification = "verification",
    }
}

/// Something that can be bought, or had for nothing.
#[derive(Debug, Clone, PartialEq, Eq, crate::db::Row)]
pub struct Plan {
    /// A stable word, such as `pro`.
    pub id: String,
    /// Its place in the price list.
    pub position: i64,
    /// For people.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// What buying it does.
    pub kind: PlanKind,
    /// The currency of its prices.
    pub currency: Currency,
    /// The price of a month, tax included.
    pub monthly_minor: i64,
    /// The price of a year, tax included; `None` when it is not sold by the year.
    pub yearly_minor: Option<i64>,
    /// Agents that may be installed.
    pub agents_max: i64,
    /// Agent executions in one period.
    pub executions_max: i64,
    /// Whether the price list shows it.
    pub listed: bool,
}

impl Plan {
    /// The price of one cycle, when it is sold by it.
    #[must_use]
    pub fn price(&self, cycle: Cycle) -> Option<Money> {
        let minor = match cycle {
            Cycle::Monthly => Some(self.monthly_minor),
            Cycle::Yearly => self.yearly_minor,
        };
        minor.map(|minor| Money::new(minor, self.currency))
    }
}

/// A change that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{thing} is {from} and cannot become {to}")]
pub struct Impossible {
    thing: &'static str,
    from: &'static str,
    to: &'static str,
}

words! {
    /// Where an invoice stands.
    pub enum InvoiceStatus {
        /// To be paid.
        Open = "open",
        /// Paid, numbered, never changed again.
        Paid = "paid",
        /// Given up before it was paid; it never had a number.
        Void = "void",
    }
}

impl InvoiceStatus {
    /// From open to paid.
    ///
    /// # Errors
    /// When it is not open.
    pub fn pay(self) -> Result<Self, Impossible> {
        self.leave_open(Self::Paid)
    }

    /// From open to void.
    ///
    /// # Errors
    /// When it is not open.
    pub fn void(self) -> Result<Self, Impossible> {
        self.leave_open(Self::Void)
    }

    fn leave_open(self, to: Self) -> Result<Self, Impossible> {
        match self {
            Self::Open => Ok(to),
            Self::Paid | Self::Void => {
                Err(Impossible { thing: "the invoice", from: self.as_str(), to: to.as_str() })
            }
        }
    }
}

words! {
    /// Where a payment stands.
    pub enum PaymentStatus {
        /// The buyer was sent to the provider.
        Pending = "pending",
        /// The money arrived and what was bought was given.
        Succeeded = "succeeded",
        /// The provider or the buyer cancelled it.
        Cancelled = "cancelled",
        /// Another payment bought the same thing first.
        Superseded = "superseded",
    }
}

impl PaymentStatus {
    /// From pending to succeeded.
    ///
    /// # Errors
    /// When it is not pending.
    pub fn succeed(self) -> Result<Self, Impossible> {
        self.leave_pending(Self::Succeeded)
    }

    /// From pending to cancelled.
    ///
    /// # Errors
    /// When it is not pending.
    pub fn cancel(self) -> Result<Self, Impossible> {
        self.leave_pending(Self::Cancelled)
    }

    /// From pending to superseded.
    ///
    /// # Errors
    /// When it is not pending.
    pub fn supersede(self) -> Result<Self, Impossible> {
        self.leave_pending(Self::Superseded)
    }

    fn leave_pending(self, to: Self) -> Result<Self, Impossible> {
        match self {
            Self::Pending => Ok(to),
            Self::Succeeded | Self::Cancelled | Self::Superseded => {
                Err(Impossible { thing: "the payment", from: self.as_str(), to: to.as_str() })
            }
        }
    }
}

words! {
    /// Who moves the money.
    pub enum Provider {
        /// PayFast.
        Payfast = "payfast",
    }
}

/// An attempt to pay an invoice. It carries what it buys, so that money gives what was bought and not what somebody
/// chose in the meantime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, crate::db::Row)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Who started it; `None` once that account is gone.
    pub account_id: Option<AccountId>,
    /// What it pays.
    pub invoice_id: InvoiceId,
    /// Through whom.
    pub provider: Provider,
    /// Where it stands.
    pub status: PaymentStatus,
    /// The plan that it buys.
    pub plan_id: String,
    /// The cycle that it buys.
    pub billing_cycle: Cycle,
    /// Its currency.
    pub currency: Currency,
    /// What is to be paid, tax included.
    pub amount_minor: i64,
    /// The provider's fee, once known.
    pub fee_minor: Option<i64>,
    /// The provider's id, once known.
    pub provider_payment_id: Option<String>,
    /// True when no real money moves.
    pub test: bool,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the money was booked.
    pub settled_at: Option<Timestamp>,
}

/// An invoice without its lines.
#[derive(Debug, Clone, PartialEq, Eq, crate::db::Row)]
pub struct Invoice {
    /// Its id.
    pub id: InvoiceId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Gapless in its series; given when it is paid.
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
}

/// What is charged for.
#[derive(Debug, Clone, PartialEq, Eq, crate::db::Row)]
pub struct InvoiceLine {
    /// The invoice.
    pub invoice_id: InvoiceId,
    /// Its place, from 1.
    pub position: i64,
    /// For people.
    pub description: String,
    /// How many.
    pub quantity: i64,
    /// The price of one, tax included.
    pub unit_minor: i64,
    /// The price of all, tax included.
    pub total_minor: i64,
    /// The plan that it is for.
    pub plan_id: String,
    /// The cycle that it is for.
    pub billing_cycle: Cycle,
    /// From when it serves; known once paid.
    pub period_start: Option<Timestamp>,
    /// Until when it serves; known once paid.
    pub period_end: Option<Timestamp>,
}

/// The tax contained in a tax-inclusive price: 15/115 of it, half away from zero.
///
/// # Errors
/// When the amount is too large to compute with.
pub fn tax_included(total: Money) -> Result<Money, crate::base::money::MoneyError> {
    total.tax_included(rust_decimal::Decimal::from(VAT_PERCENT))
}

words! {
    /// Where a subscription stands.
    pub enum SubscriptionStatus {
        /// Paid for.
        Active = "active",
        /// Its period is over and was not renewed: the free plan's limits apply.
        Expired = "expired",
    }
}

/// What an organisation has bought, for how long.
#[derive(Debug, Clone, PartialEq, Eq, crate::db::Row)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The plan.
    pub plan_id: String,
    /// The cycle.
    pub billing_cycle: Cycle,
    /// The day of the month on which it began, 1 to 31; later periods end on that day, or on a shorter month's last.
    pub anchor_day: i64,
    /// From when the present period runs.
    pub period_start: Timestamp,
    /// Until when the present period runs.
    pub period_end: Timestamp,
    /// When the first one was bought.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Subscription {
    /// Where it stands at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> SubscriptionStatus {
        if now < self.period_end { SubscriptionStatus::Active } else { SubscriptionStatus::Expired }
    }

    /// What it becomes when a period of a plan is bought at `now`, and the period that this purchase adds.
    ///
    /// The same plan and cycle bought early adds to the end: nothing that was paid for is lost. Another plan begins at
    /// once, with its own anchor.
    #[must_use]
    pub fn buy(self, plan_id: &str, cycle: Cycle, now: Timestamp) -> (Self, Period) {
        let same = self.plan_id == plan_id && self.billing_cycle == cycle;
        if !same || self.status(now) == SubscriptionStatus::Expired {
            let (fresh, bought) = Self::begin(self.id, self.organization_id, plan_id, cycle, now);
            return (Self { created_at: self.created_at, ..fresh }, bought);
        }
        let bought = period::after(self.period_end, self.anchor_day, cycle);
        (Self { period_end: bought.end, updated_at: now, ..self }, bought)
    }

    /// The first subscription of an organisation, bought at `now`.
    #[must_use]
    pub fn begin(
        id: SubscriptionId,
        organization_id: OrganizationId,
        plan_id: &str,
        cycle: Cycle,
        now: Timestamp,
    ) -> (Self, Period) {
        let anchor_day = period::anchor_day(now);
        let bought = period::after(now, anchor_day, cycle);
        let fresh = Self {
            id,
            organization_id,
            plan_id: plan_id.to_owned(),
            billing_cycle: cycle,
            anchor_day,
            period_start: bought.start,
            period_end: bought.end,
            created_at: now,
            updated_at: now,
        };
        (fresh, bought)
    }
}

/// Who is invoiced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
pub struct BillingProfile {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The name on invoices.
    pub name: String,
    /// Where invoices go.
    pub email: String,
    /// The tax number, when registered.
    pub vat_number: String,
    /// The address on invoices.
    pub address: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Counts changes; the etag.
    pub version: i64,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A field of a form that the buyer's browser posts to the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormField {
    /// Its name.
    pub name: String,
    /// Its value, not escaped.
    pub value: String,
}

/// A checkout that was started: what the browser posts, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// The payment.
    pub payment_id: PaymentId,
    /// The invoice that it pays.
    pub invoice_id: InvoiceId,
    /// Where the form is posted to.
    pub action_url: String,
    /// The form, in the provider's order, the signature last.
    pub fields: Vec<FormField>,
}

words! {
    /// What became of a stored notification.
    pub enum EventStatus {
        /// Stored, not yet looked at.
        Received = "received",
        /// It had its effect.
        Applied = "applied",
        /// It needs no effect: a status without one, or a repetition.
        Ignored = "ignored",
        /// Its money was booked, but for no open order.
        Unapplied = "unapplied",
        /// It is not to be believed, or not for us.
        Refused = "refused",
    }
}

/// A stored notification, as operators see it. The raw bytes are not among it.
#[derive(Debug, Clone, PartialEq, Eq, crate::db::Row)]
pub struct ProviderEvent {
    /// Its id.
    pub id: EventId,
    /// Who sent it, as far as its signature says.
    pub provider: Provider,
    /// What became of it.
    pub status: EventStatus,
    /// Why, in one sentence.
    pub detail: String,
    /// The address that it came from.
    pub peer: String,
    /// The provider's word for what happened.
    pub payment_status: String,
    /// The provider's id of the payment.
    pub provider_payment_id: String,
    /// Our payment's id as it came back.
    pub payment_reference: String,
    /// How many times the same bytes came.
    pub deliveries: i64,
    /// When they came first.
    pub received_at: Timestamp,
    /// When it was decided.
    pub applied_at: Option<Timestamp>,
}

words! {
    /// Something that an operator must look at.
    pub enum AlarmKind {
        /// Notifications with wrong signatures came.
        SignatureWrong = "signature_wrong",
        /// A notification came from an address outside the provider's ranges.
        SourceUnlisted = "source_unlisted",
        /// A notification is for another merchant, or says too little.
        NotificationRefused = "notification_refused",
        /// The provider says that it did not send a signed notification.
        ConfirmationInvalid = "confirmation_invalid",
        /// Money came for a payment that we do not know.
        PaymentUnknown = "payment_unknown",
        /// Money came for an order that is no longer open.
        OrderClosed = "order_closed",
        /// Money came, but not the amount of the order.
        AmountDiffers = "amount_differs",
        /// The provider's fee could not be read; it was booked as nothing.
        FeeUnreadable = "fee_unreadable",
        /// A status that we do not know came.
        StatusUnknown = "status_unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoice_is_paid_or_voided_once() {
        assert_eq!(InvoiceStatus::Open.pay(), Ok(InvoiceStatus::Paid));
        assert_eq!(InvoiceStatus::Open.void(), Ok(InvoiceStatus::Void));
        for closed in [InvoiceStatus::Paid, InvoiceStatus::Void] {
            assert!(closed.pay().is_err());
            assert!(closed.void().is_err());
        }
    }

    #[test]
    fn a_payment_leaves_pending_once() {
        for closed in [PaymentStatus::Succeeded, PaymentStatus::Cancelled, PaymentStatus::Superseded] {
            assert!(closed.succeed().is_err());
            assert!(closed.cancel().is_err());
            assert!(closed.supersede().is_err());
        }
        let refusal = PaymentStatus::Cancelled.succeed().unwrap_err();
        assert_eq!(refusal.to_string(), "the payment is cancelled and cannot become succeeded");
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

    fn at(text: &str) -> Timestamp {
        let format = time::format_description::well_known::Rfc3339;
        Timestamp::from_utc(time::OffsetDateTime::parse(text, &format).unwrap())
    }

    fn pro(now: &str) -> Subscription {
        let (id, organization) = (Id::mint(1, &[1; 10]), Id::mint(1, &[2; 10]));
        Subscription::begin(id, organization, "pro", Cycle::Monthly, at(now)).0
    }

    #[test]
    fn buying_the_same_early_adds_to_the_end() {
        let (next, bought) =
            pro("2026-01-31T10:00:00Z").buy("pro", Cycle::Monthly, at("2026-02-10T00:00:00Z"));
        assert_eq!(bought.start, at("2026-02-28T10:00:00Z"));
        assert_eq!(next.period_start, at("2026-01-31T10:00:00Z"));
        assert_eq!(next.period_end, at("2026-03-31T10:00:00Z"));
    }

    #[test]
    fn buying_late_or_another_plan_begins_at_once() {
        let (late, _) = pro("2026-01-31T10:00:00Z").buy("pro", Cycle::Monthly, at("2026-03-05T00:00:00Z"));
        assert_eq!((late.period_start, late.anchor_day), (at("2026-03-05T00:00:00Z"), 5));
        let (other, _) =
            pro("2026-01-31T10:00:00Z").buy("enterprise", Cycle::Yearly, at("2026-02-10T00:00:00Z"));
        assert_eq!(other.plan_id, "enterprise");
        assert_eq!(other.period_end, at("2027-02-10T00:00:00Z"));
        assert_eq!(other.status(at("2027-02-10T00:00:00Z")), SubscriptionStatus::Expired);
    }
}
