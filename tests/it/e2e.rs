//! The whole platform over real sockets, through generated clients.

mod api_keys;
mod audit;
mod auth;
mod chat;
mod limits;
mod market;
mod organizations;
pub mod payments;
mod platform;
mod simulator;
mod tools;
