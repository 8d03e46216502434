//! Tables and services on both engines, from one body each.

mod account_log;
mod audit;
mod auth;
mod books;
mod chat;
mod crashes;
mod db;
mod faults;
mod idempotency;
mod inbox;
mod invoices;
mod jobs;
mod ledger;
pub mod ledger_chain;
mod mail;
mod market;
pub mod methods;
pub mod payments;
mod reconciliation;
pub mod refunds;
mod replay;
mod wall;
