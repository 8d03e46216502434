//! What a job is, and when it runs again after a failure.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::{Id, OrganizationId};
use crate::db;

/// A piece of work, kept as JSON until it is done.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Its stable name, `<domain>.<verb>`.
    const KIND: &'static str;
    /// How many times it is tried before it is left dead for an operator.
    const ATTEMPTS_MAX: u32;
}

/// A job as it is queued.
pub enum Queued {}
/// The id of a queued job.
pub type JobId = Id<Queued>;

db::words! {
    /// Where a job stands.
    pub enum State {
        /// Waits for its time.
        Ready = "ready",
        /// A worker has it.
        Running = "running",
        /// Failed for good; waits for an operator.
        Dead = "dead",
    }
}

/// A job as a worker claimed it.
#[derive(Debug, db::Row)]
pub struct Claimed {
    /// Which job.
    pub id: JobId,
    /// For whom it was pushed; none when it is the platform's.
    pub organization_id: Option<OrganizationId>,
    /// Its kind.
    pub kind: String,
    /// The job itself, as JSON.
    pub payload: String,
    /// How many times it was tried, this one included.
    pub attempts: i64,
    /// The token of this claim; a later claim has a higher one.
    pub fence: i64,
}

/// Why a job was not done, and what is to become of it.
#[derive(Debug)]
pub struct Failure {
    /// What becomes of the job.
    pub verdict: Verdict,
    /// The cause, for operators.
    pub cause: String,
}

/// What becomes of a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after the usual back-off.
    Retry,
    /// Try again after this long.
    RetryAfter(Duration),
    /// Try again after this long, as if this attempt had not been made: what failed was not the job.
    Postpone(Duration),
    /// Trying again will not help.
    Dead,
}

impl Failure {
    /// Try again later.
    pub fn retry(cause: impl std::fmt::Display) -> Self {
        Self { verdict: Verdict::Retry, cause: cause.to_string() }
    }

    /// Try again after `delay`.
    pub fn retry_after(delay: Duration, cause: impl std::fmt::Display) -> Self {
        Self { verdict: Verdict::RetryAfter(delay), cause: cause.to_string() }
    }

    /// Try again after `delay`, without counting this attempt.
    pub fn postpone(delay: Duration, cause: impl std::fmt::Display) -> Self {
        Self { verdict: Verdict::Postpone(delay), cause: cause.to_string() }
    }

    /// Do not try again.
    pub fn dead(cause: impl std::fmt::Display) -> Self {
        Self { verdict: Verdict::Dead, cause: cause.to_string() }
    }
}

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_LAST: Duration = Duration::from_secs(3_600);

/// How long to wait after the `attempts`th failure: doubling from a second to an hour, of which `jitter` (0 to 999
/// thousandths) shortens up to a half, so that jobs that failed together do not come back together.
#[must_use]
pub fn backoff(attempts: u32, jitter: u32) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    let full = doubled.min(BACKOFF_LAST);
    full.saturating_sub(full * jitter.min(999) / 2_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_an_hour() {
        assert_eq!(backoff(1, 0), Duration::from_secs(1));
        assert_eq!(backoff(4, 0), Duration::from_secs(8));
        assert_eq!(backoff(40, 0), BACKOFF_LAST);
        assert_eq!(backoff(u32::MAX, 0), BACKOFF_LAST);
    }

    #[test]
    fn jitter_takes_off_at_most_half() {
        assert_eq!(backoff(2, 500), Duration::from_millis(1_500));
        assert!(backoff(2, 999) > Duration::from_secs(1));
    }
}
