//! What a computation needs from outside, in one cheap handle.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Clock, Id, Rng, Timestamp};

/// The clock and the source of randomness, handed to whatever needs the time, an id or a token.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl World {
    /// A world with this clock and this randomness.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self { clock, rng }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new id.
    #[must_use]
    pub fn id<T>(&self) -> Id<T> {
        let millis = u64::try_from(self.now().as_micros() / 1_000).unwrap_or(0);
        Id::mint(millis, &self.bytes())
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes);
        bytes
    }

    /// A random 256-bit token in base64url, 43 characters.
    #[must_use]
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// A number from 0 to `below` - 1 (0 when `below` is 0). The bias of the remainder is below 2⁻³² for every bound
    /// in use here; not for secrets.
    #[must_use]
    pub fn below(&self, below: u64) -> u64 {
        u64::from_le_bytes(self.bytes()).checked_rem(below).unwrap_or(0)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now()).finish_non_exhaustive()
    }
}
