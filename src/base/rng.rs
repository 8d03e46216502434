//! Randomness as a value that is handed in.

use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Where random bytes come from.
pub trait Rng: Send + Sync + 'static {
    /// Fills `buffer` with bytes that nobody can foretell (or, with a seeded source, that the seed foretells).
    fn fill(&self, buffer: &mut [u8]);
}

/// Bytes that a seed foretells. Tests and simulations use it, so that a failing run can be replayed.
#[derive(Debug)]
pub struct SeededRng(Mutex<ChaCha20Rng>);

impl SeededRng {
    /// A source that the same `seed` always makes repeat itself.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }
}

impl Rng for SeededRng {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
    }
}
