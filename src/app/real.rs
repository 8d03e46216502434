//! The real clock and the real randomness: the only place that reads either.

use std::sync::Arc;
use std::time::SystemTime;

use crate::base::{Clock, Rng, Timestamp, World};

/// The world as it is.
#[must_use]
pub fn world() -> World {
    World::new(Arc::new(SystemClock), Arc::new(OsRng))
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "everybody else gets the time from here")]
    fn now(&self) -> Timestamp {
        Timestamp::from_utc(SystemTime::now().into())
    }
}

struct OsRng;

impl Rng for OsRng {
    /// Without randomness nothing here is safe, so that a system that has none stops the process.
    #[expect(
        clippy::expect_used,
        clippy::disallowed_methods,
        reason = "randomness is drawn here and nowhere else; bytes that can be guessed are worse than a stop"
    )]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the system gives random bytes");
    }
}
