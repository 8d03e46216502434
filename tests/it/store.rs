//! Tables and services on both engines, from one body each.

mod auth;
mod chat;
mod db;
mod jobs;
mod market;
pub mod payments;
