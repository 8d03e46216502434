//! Why the marketplace refuses.

use std::time::Duration;

use super::model::{InstallationId, ListingId};
use crate::base::fault::{self, Code, Fault, Reason, Violation};
use crate::{auth, db, idempotency};

/// The organisation has the agent.
pub static ALREADY_INSTALLED: Reason = Reason::new(
    Code::AlreadyExists,
    "ALREADY_INSTALLED",
    "The organisation has this agent already; ResourceInfo names the installation, which can be used as it is.",
);

/// Every reason that is the marketplace's own.
pub static REASONS: &[&Reason] = &[&ALREADY_INSTALLED];

/// Why the marketplace refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such listing.
    #[error("There is no such listing.")]
    ListingNotFound(ListingId),
    /// See [`ALREADY_INSTALLED`].
    #[error("The organisation has installed this agent already.")]
    AlreadyInstalled(InstallationId),
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
            Self::ListingNotFound(_) => &fault::NOT_FOUND,
            Self::AlreadyInstalled(_) => &ALREADY_INSTALLED,
            Self::Auth(error) => error.reason(),
            Self::Idempotency(error) => error.reason(),
            Self::Db(error) => error.reason(),
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Self::Auth(error) => error.violations(),
            _ => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Auth(error) => error.retry_after(),
            Self::Idempotency(error) => error.retry_after(),
            Self::Db(error) => error.retry_after(),
            Self::ListingNotFound(_) | Self::AlreadyInstalled(_) => None,
        }
    }

    fn resource(&self) -> Option<(&'static str, String)> {
        match self {
            Self::ListingNotFound(id) => Some(("listing", id.to_string())),
            Self::AlreadyInstalled(id) => Some(("installation", id.to_string())),
            Self::Auth(error) => error.resource(),
            Self::Idempotency(_) | Self::Db(_) => None,
        }
    }
}
