//! The whole platform over real sockets, through generated clients.

mod auth;
mod market;
mod payments;
mod platform;
