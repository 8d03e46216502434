//! The machine of conversations against its vectors, its table, every short sequence of inputs, and a server in memory.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on stops; clippy's own leave for tests does not reach their helpers"
)]

mod exhaustive;
mod json;
mod samples;
mod table;
mod vectors;
mod watch;
mod world;
