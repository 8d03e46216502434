//! What the payments domain is about: plans, invoices, payments, subscriptions, and how each may change.
//!
//! Pure: times and ids are arguments. Nothing here knows PayFast's wire or a table.

pub mod balance;
pub mod card;
pub mod credit_note;
pub mod draft;
pub mod figures;
pub mod invoice;
pub mod ledger;
pub mod listing;
pub mod method;
pub mod payment;
pub mod period;
pub mod posted;
pub mod receipt;
pub mod reconciliation;
pub mod refund;
pub mod report;
pub mod settlement;
pub mod subscription;
pub mod transaction;

use serde::{Deserialize, Serialize};

use crate::base::{Currency, Id, Money, OrganizationId, Timestamp};
use crate::db::words;
use period::Cycle;

pub use credit_note::CreditNote;
pub use invoice::{Invoice, InvoiceLine, InvoiceOrigin, InvoiceStatus, VAT_PERCENT, tax_included};
pub use method::{PaymentMethod, PaymentMethodStatus};
pub use payment::{Payment, PaymentStatus};
pub use posted::TransactionId;
pub use receipt::{Receipt, ReceiptStatus};
pub use refund::{Refund, RefundDestination, RefundStatus};
pub use subscription::{Subscription, SubscriptionStatus};

/// Marks the id of a payment; it is also PayFast's `m_payment_id`.
pub enum PaymentMark {}
/// Marks the id of a stored card; it is also PayFast's `m_payment_id` of the checkout that sets it up.
pub enum PaymentMethodMark {}
/// Marks the id of an invoice.
pub enum InvoiceMark {}
/// Marks the id of a subscription.
pub enum SubscriptionMark {}
/// Marks the id of a stored notification.
pub enum EventMark {}
/// Marks the id of a receipt.
pub enum ReceiptMark {}
/// Marks the id of a credit note.
pub enum CreditNoteMark {}
/// Marks the id of a refund.
pub enum RefundMark {}

/// The id of a payment.
pub type PaymentId = Id<PaymentMark>;
/// The id of a stored card.
pub type PaymentMethodId = Id<PaymentMethodMark>;
/// The id of an invoice.
pub type InvoiceId = Id<InvoiceMark>;
/// The id of a subscription.
pub type SubscriptionId = Id<SubscriptionMark>;
/// The id of a stored notification.
pub type EventId = Id<EventMark>;
/// The id of a receipt.
pub type ReceiptId = Id<ReceiptMark>;
/// The id of a credit note.
pub type CreditNoteId = Id<CreditNoteMark>;
/// The id of a refund.
pub type RefundId = Id<RefundMark>;

/// The plan that every organisation has until it buys another.
pub const FREE_PLAN: &str = "free";
/// The longest plan id, in characters.
pub const PLAN_ID_CHARS_MAX: usize = 64;

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
    /// Who moves the money.
    pub enum Provider {
        /// PayFast.
        Payfast = "payfast",
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

impl BillingProfile {
    /// Whether it names whom an invoice is for, as the law wants it of larger ones.
    #[must_use]
    pub fn names_recipient(&self) -> bool {
        !self.name.trim().is_empty() && !self.address.trim().is_empty()
    }
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
    /// From where an event of the inbox came.
    pub enum EventSource {
        /// The provider sent it.
        Itn = "itn",
        /// It is a row of the provider's history, which we asked for.
        History = "history",
    }
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, crate::db::Row)]
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
        /// A refund was approved, and the provider does not do it.
        RefundFailed = "refund_failed",
        /// Nobody knows what became of a refund, and the provider was asked as often as it is asked by itself.
        RefundUnknown = "refund_unknown",
        /// The provider's history and our books disagree, and nothing here can repair it.
        ReconciliationDiffers = "reconciliation_differs",
        /// The provider's history cannot be had, or cannot be read.
        ReconciliationFailed = "reconciliation_failed",
        /// A card scheme took money back.
        Chargeback = "chargeback",
        /// Nobody knows what became of a charge of a stored card, and the provider was asked as often as it is asked.
        ChargeUnknown = "charge_unknown",
        /// The provider charged a stored card, and no notification of it came.
        ChargeUnconfirmed = "charge_unconfirmed",
    }
}
