//! Holds the place of the service.

use super::{Caller, Error, Origin};

/// Holds the place of the service.
pub struct Service;

impl Service {
    /// Who shows this token.
    ///
    /// # Errors
    /// Always, here.
    pub async fn authenticate(&self, _bearer: &str, _origin: Origin) -> Result<Caller, Error> {
        Err(Error::Unauthenticated)
    }
    /// Whether the caller's token still stands.
    ///
    /// # Errors
    /// Always, here.
    pub async fn recheck(&self, _caller: &Caller) -> Result<(), Error> {
        Err(Error::Unauthenticated)
    }
}
