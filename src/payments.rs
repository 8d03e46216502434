//! Payments: plans, checkouts through PayFast, invoices, subscriptions, and the double-entry ledger under them.
//!
//! Money is only believed when the provider says so, twice: in a signed notification, and when asked. What it says is
//! stored before it is answered and applied by a job, once. This domain knows accounts and organisations through
//! [`crate::auth`] only, and nothing of chat or the marketplace.

pub mod address;
pub mod doctor;
mod error;
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
    BILLING_DETAILS_REQUIRED, CHECKOUTS_CLOSED, DIFFERENCE_CLOSED, Error, HISTORY_UNAVAILABLE,
    INVOICE_NOT_OPEN, PAYMENT_OVER, PAYMENT_UNDER_WAY, PLAN_IS_FREE, REASONS, TOO_MANY_CHECKOUTS,
};
pub use options::{Mode, Options, Supplier};
pub use service::{Service, register};
