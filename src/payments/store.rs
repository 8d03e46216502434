//! The rows of the payments domain, by thing. Nothing here decides; it reads and writes what the service says.

pub mod alarm;
pub mod answer;
pub mod chargeback;
pub mod event;
pub mod golive;
pub mod invoice;
pub mod ledger;
pub mod payment;
pub mod plan;
pub mod profile;
pub mod quarantine;
pub mod receipt;
pub mod reconciliation;
pub mod simulator;
pub mod subscription;
pub mod switch;
pub mod verification;
