//! The whole platform over real sockets, through generated clients.

mod audit;
mod auth;
mod chat;
mod limits;
mod market;
mod passwords;
pub mod payments;
mod platform;
mod simulator;
mod tools;
