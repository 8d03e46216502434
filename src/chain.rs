//! Chains of hashes whose ends are signed: what the audit log and the ledger have in common.
//!
//! Whoever writes commits without a place, so that no writer waits for another. A sealer gives places in batches, and
//! signs the end of each. Whoever verifies walks along the chain from its beginning and finds the first place where
//! something is wrong.
//!
//! This module does not know what a chain is of, and names no table.

pub mod model;
mod sealer;

pub use model::encoding;
pub use model::{Bad, Behind, End, Fault, GENESIS, Head, HeadKey, Kind, Known, Seal, Walk};
pub use sealer::{Options, run, seal_all};
