//! Stripe, byte for byte: what its webhooks are signed with.
//!
//! Everything below this module is pure. It knows nothing of invoices, organisations or the database.

pub mod cli;
pub mod signature;
