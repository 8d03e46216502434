//! Why an operator is refused.

use std::time::Duration;

use crate::base::fault::{self, Fault, Reason, Violation, Violations};
use crate::{auth, db, idempotency};

/// Why an operator is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such job, or it is not dead.
    #[error("There is no such dead job.")]
    JobNotFound,
    /// Fields of the request are wrong.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// The caller may not.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The request id cannot be used.
    #[error(transparent)]
    Idempotency(#[from] idempotency::Error),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::JobNotFound => &fault::NOT_FOUND,
            Self::Invalid(violations) => violations.reason(),
            Self::Auth(error) => error.reason(),
            Self::Idempotency(error) => error.reason(),
            Self::Db(error) => error.reason(),
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Self::Invalid(violations) => violations.as_slice(),
            Self::Auth(error) => error.violations(),
            Self::Idempotency(error) => error.violations(),
            Self::JobNotFound | Self::Db(_) => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Auth(error) => error.retry_after(),
            Self::Idempotency(error) => error.retry_after(),
            Self::Db(error) => error.retry_after(),
            Self::JobNotFound | Self::Invalid(_) => None,
        }
    }
}
