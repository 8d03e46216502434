//! Tables and services on both engines, from one body each.

mod audit;
mod auth;
mod chat;
mod db;
mod idempotency;
mod jobs;
mod ledger;
mod mail;
mod market;
pub mod payments;
mod reconciliation;
mod wall;
