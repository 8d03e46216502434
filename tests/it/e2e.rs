//! The whole platform over real sockets, through generated clients.

mod administration;
mod api_keys;
pub mod attacks;
mod audit;
mod auth;
mod books;
pub mod chat;
mod invoices;
mod limits;
mod market;
mod methods;
mod nodes;
mod organizations;
mod passwords;
pub mod payments;
mod platform;
mod provider_api;
mod reconciliation;
mod refunds;
mod sessions;
mod simulator;
mod tools;
