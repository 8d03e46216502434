//! Payments: plans, checkouts through PayFast, invoices, subscriptions, and the double-entry ledger under them.
//!
//! Money is only believed when the provider says so, twice: in a signed notification, and when asked. What it says is
//! stored before it is answered and applied by a job, once. This domain knows accounts and organisations through
//! [`crate::auth`] only, and nothing of chat or the marketplace.

pub mod address;
pub mod crash;
pub mod doctor;
pub mod document;
mod error;
pub mod letter;
pub mod model;
pub mod options;
pub mod payfast;
pub mod provider;
pub mod rpc;
pub mod service;
pub mod simulator;
pub mod store;
pub mod stripe;
pub mod throttle;

pub use error::{
    BILLING_DETAILS_REQUIRED, CHECKOUTS_CLOSED, CREDIT_EXCEEDS_INVOICE, DIFFERENCE_CLOSED, Error,
    HISTORY_UNAVAILABLE, INVOICE_CLOSED, INVOICE_ISSUED, INVOICE_NOT_CREDITABLE, INVOICE_NOT_DRAFT,
    INVOICE_NOT_ISSUED, INVOICE_NOT_OPEN, NOTHING_TO_REFUND, OWN_ORGANIZATION, PAYMENT_METHOD_NOT_ACTIVE,
    PAYMENT_OVER, PAYMENT_TOO_SMALL, PAYMENT_UNDER_WAY, PLAN_IS_FREE, PROVIDER_EVENT_APPLIED, REASONS,
    REFUND_DECIDED, REFUND_EXCEEDS_RECEIPT, SECOND_PERSON_REQUIRED, SIGNATURE_STILL_WRONG,
    TOO_MANY_CHECKOUTS, TOO_MANY_PAYMENT_METHODS,
};
pub use options::{Mode, Options, Supplier};
pub use service::{Ledger, LedgerOptions, Service, register};
