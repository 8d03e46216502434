//! The rows of the payments domain, by thing. Nothing here decides; it reads and writes what the service says.

pub mod alarm;
pub mod answer;
pub mod balance;
pub mod chargeback;
pub mod credit_note;
pub mod event;
pub mod golive;
pub mod invoice;
pub mod ledger;
pub mod listing;
pub mod method;
pub mod payment;
pub mod plan;
pub mod profile;
pub mod quarantine;
pub mod receipt;
pub mod reconciliation;
pub mod refund;
pub mod seal;
pub mod simulator;
pub mod subscription;
pub mod switch;
pub mod transaction;
pub mod verification;
