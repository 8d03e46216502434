//! Tables and services on both engines, from one body each.

mod audit;
mod auth;
mod books;
mod chat;
mod db;
mod idempotency;
mod jobs;
mod ledger;
pub mod ledger_chain;
mod mail;
mod market;
pub mod payments;
mod wall;
