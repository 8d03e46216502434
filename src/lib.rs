//! The CapeControl platform in one library: see ARCHITECTURE.md for the floors and for a request traced through them.

pub mod account_log;
pub mod ai;
pub mod app;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod base;
pub mod bus;
pub mod chain;
pub mod chat;
pub mod cli;
pub mod config;
pub mod db;
pub mod http;
pub mod idempotency;
pub mod jobs;
pub mod keyring;
pub mod mail;
pub mod market;
pub mod operations;
pub mod payments;
pub mod proto;
pub mod rpc;
pub mod scan;
pub mod storage;
pub mod tools;
