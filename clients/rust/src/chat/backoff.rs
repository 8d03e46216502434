//! How long to wait before something is tried again, so that many clients which lost the same server do not come back
//! at the same time: a random time up to a bound that doubles with each failure.

/// The bound after the first failure, in milliseconds.
pub const FIRST_MS: u64 = 250;
/// The largest bound, in milliseconds.
pub const LONGEST_MS: u64 = 30_000;
/// How long a stream has to be live for earlier failures to be forgotten, in milliseconds.
pub const FORGIVEN_MS: u64 = 60_000;

/// A time between 0 and `min(30 s, 250 ms * 2^failures)`, both included: `random` modulo one more than the bound.
#[must_use]
pub fn delay(failures: u32, random: u64) -> u64 {
    let doubled = 2_u64.checked_pow(failures).and_then(|times| FIRST_MS.checked_mul(times));
    let bound = doubled.unwrap_or(LONGEST_MS).min(LONGEST_MS);
    random.checked_rem(bound.saturating_add(1)).unwrap_or(0)
}

/// The failures since the stream was last live for long.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
    live_since: Option<u64>,
}

impl Backoff {
    /// Whether nothing failed of late.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// Counts a failure, and says how long to wait for it.
    pub fn fail(&mut self, random: u64) -> u64 {
        let wait = delay(self.failures, random);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// The stream is live.
    pub fn live(&mut self, now: u64) {
        self.live_since = Some(now);
    }

    /// The stream is no longer live; if it was for long enough, failures are counted anew.
    pub fn no_longer_live(&mut self, now: u64) {
        let Some(since) = self.live_since.take() else { return };
        if now.saturating_sub(since) >= FORGIVEN_MS {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest() {
        let bounds: Vec<u64> = (0..10)
            .map(|failures| (0..=LONGEST_MS).map(|random| delay(failures, random)).max().unwrap())
            .collect();
        assert_eq!(bounds, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        assert!(delay(u32::MAX, u64::MAX) <= LONGEST_MS);
        assert_eq!((delay(0, 250), delay(0, 251)), (250, 0));
    }

    #[test]
    fn a_minute_of_live_forgives() {
        let mut backoff = Backoff::default();
        backoff.fail(0);
        backoff.live(1_000);
        backoff.no_longer_live(60_999);
        assert!(!backoff.is_fresh());
        backoff.live(1_000);
        backoff.no_longer_live(61_000);
        assert!(backoff.is_fresh());
    }
}
