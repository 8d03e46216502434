//! Work to be done after a transaction: an outbox by construction, for a job is pushed inside the transaction that
//! makes it necessary.
//!
//! A worker claims a job with a lease and a fencing token; a job whose worker died is claimed again when the lease
//! ends. So a job runs at least once, and its effect happens once when the handler ends the job in the very transaction
//! that has the effect ([`Lease::complete`]). This module knows no job's meaning.

mod model;
pub mod store;
mod worker;

pub use model::{Failure, Job, JobId, Queued, State, Verdict, backoff};
pub use store::{push, push_all, push_at};
pub use worker::{Lease, Options, Registry, Worker};

impl From<crate::db::Error> for Failure {
    fn from(error: crate::db::Error) -> Self {
        Self::retry(error.chain())
    }
}
