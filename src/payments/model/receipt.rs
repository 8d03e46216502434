//! Receipts: money that a provider says it holds for us, whatever it was for.
//!
//! One for each payment at the provider. What is given back is given back from a receipt, never from an order: an order
//! may have been paid twice, and both sums are the payer's.

use super::{EventId, InvoiceId, PaymentId, Provider, ReceiptId};
use crate::base::{Currency, OrganizationId, Timestamp};
use crate::db::words;

words! {
    /// What money was booked on.
    pub enum ReceiptStatus {
        /// The invoice of its payment.
        Applied = "applied",
        /// Nothing that was open: it is the payer's until somebody decides.
        Unapplied = "unapplied",
    }
}

/// Money that arrived.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, crate::db::Row)]
pub struct Receipt {
    /// Its id.
    pub id: ReceiptId,
    /// Whose money it is, when known.
    pub organization_id: Option<OrganizationId>,
    /// The payment that it names, when that is ours.
    pub payment_id: Option<PaymentId>,
    /// The invoice that it paid.
    pub invoice_id: Option<InvoiceId>,
    /// The notification that told of it.
    pub event_id: EventId,
    /// Through whom.
    pub provider: Provider,
    /// The provider's id of the payment.
    pub provider_payment_id: String,
    /// What it was booked on.
    pub status: ReceiptStatus,
    /// Its currency.
    pub currency: Currency,
    /// What the payer paid.
    pub gross_minor: i64,
    /// What the provider kept of it.
    pub fee_minor: i64,
    /// What was given back of it, or is about to be.
    pub returned_minor: i64,
    /// True when no real money moves.
    pub test: bool,
    /// When it was booked.
    pub created_at: Timestamp,
}

impl Receipt {
    /// What can still be given back, when card schemes took `taken_minor` of it.
    #[must_use]
    pub const fn returnable_minor(&self, taken_minor: i64) -> i64 {
        self.gross_minor.saturating_sub(self.returned_minor).saturating_sub(taken_minor)
    }
}
