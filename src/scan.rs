//! Whether a file does harm, asked of a scanner outside of the process.
//!
//! A scanner is handed the bytes and says whether it found something. What follows from that is decided by whoever
//! asks.

mod clamd;

use async_trait::async_trait;
use bytes::Bytes;

pub use clamd::Clamd;

/// What a scanner says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found.
    Clean,
    /// Something was found.
    Harmful,
}

/// Why there is no verdict. It is asked again later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scanner cannot be reached, or the connection broke.
    #[error("the scanner cannot be reached: {0}")]
    Unreachable(#[from] std::io::Error),
    /// It took too long.
    #[error("the scanner took too long")]
    Slow,
    /// It answered what is no verdict.
    #[error("the scanner gave no verdict: {0}")]
    NoVerdict(String),
}

/// Looks into files.
#[async_trait]
pub trait Scanner: Send + Sync {
    /// Looks into one.
    ///
    /// # Errors
    /// When it comes to no verdict.
    async fn scan(&self, bytes: Bytes) -> Result<Verdict, Error>;
}

/// Which scanner looks into files, as the setting `SCAN__URL` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// None: what is complete may be had at once.
    None,
    /// The daemon of ClamAV, by its host and port.
    Clamd(String),
}

impl Route {
    /// Reads `clamd://<host>:<port>`, or nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.is_empty() {
            return Ok(Self::None);
        }
        let address = url.strip_prefix("clamd://").map(|rest| rest.trim_end_matches('/'));
        let (host, port) = address.and_then(|address| address.rsplit_once(':')).unwrap_or_default();
        let named = !host.is_empty() && !host.contains(['/', '@', '?', ' ']);
        if !named || port.parse::<u16>().is_err() {
            return Err("must be clamd://<host>:<port>, or empty for no scanner".to_owned());
        }
        Ok(Self::Clamd(format!("{host}:{port}")))
    }

    /// The scanner, if there is one.
    #[must_use]
    pub fn scanner(&self) -> Option<std::sync::Arc<dyn Scanner>> {
        match self {
            Self::None => None,
            Self::Clamd(address) => Some(std::sync::Arc::new(Clamd::new(address.clone()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanner_is_named_by_host_and_port() {
        assert_eq!(Route::parse(""), Ok(Route::None));
        assert_eq!(Route::parse("clamd://scan.local:3310"), Ok(Route::Clamd("scan.local:3310".to_owned())));
        assert_eq!(Route::parse("clamd://[::1]:3310/"), Ok(Route::Clamd("[::1]:3310".to_owned())));
        for wrong in
            ["clamd://", "clamd://host", "clamd://:3310", "clamd://u@host:1", "http://host:1", "clamd://h:x"]
        {
            assert!(Route::parse(wrong).is_err(), "{wrong}");
        }
    }
}
