//! The tests that need more than one module: one binary, so that everything is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::items_after_statements,
    reason = "a test that cannot go on stops; clippy's own leave for tests does not reach their helpers"
)]

mod bus;
mod commands;
mod coverage;
mod deploy;
mod documents;
mod e2e;
mod edge;
mod generated;
mod letters;
mod plans;
mod prepare;
mod process;
mod proof;
mod schema;
mod sim;
mod store;
mod support;
mod tidy;
