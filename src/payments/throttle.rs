//! A bound on how often strangers may post notifications. Addresses that PayFast publishes are not bounded.
//!
//! A token bucket for each address and one for all of them, over the clock that is handed in. The table has a bound of
//! its own: an attacker with many addresses meets the common bucket, not our memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::Timestamp;

/// How many notifications one stranger may post at once.
pub const BURST_OF_ONE: f64 = 120.0;
/// How many more it may post each second.
pub const PER_SECOND_OF_ONE: f64 = 2.0;
/// How many notifications all strangers may post at once.
pub const BURST_OF_ALL: f64 = 1_200.0;
/// How many more they may post each second.
pub const PER_SECOND_OF_ALL: f64 = 20.0;
/// How many addresses are remembered.
pub const ADDRESSES_MAX: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

impl Bucket {
    fn refill(&mut self, now: Timestamp, per_second: f64, burst: f64) {
        self.left = (self.left + now.since(self.at).as_secs_f64() * per_second).min(burst);
        self.at = now;
    }

    fn wait(&self, per_second: f64) -> Duration {
        Duration::from_secs_f64(((1.0 - self.left) / per_second).max(0.0))
    }
}

/// The buckets of all strangers.
#[derive(Debug, Default)]
pub struct Throttle {
    all: Option<Bucket>,
    each: HashMap<Option<IpAddr>, Bucket>,
}

impl Throttle {
    /// Takes one from the buckets of `peer` and of all.
    ///
    /// # Errors
    /// How long to wait, when either is empty.
    pub fn admit(&mut self, peer: Option<IpAddr>, now: Timestamp) -> Result<(), Duration> {
        let full = |burst| Bucket { left: burst, at: now };
        let all = self.all.get_or_insert(full(BURST_OF_ALL));
        all.refill(now, PER_SECOND_OF_ALL, BURST_OF_ALL);
        if all.left < 1.0 {
            return Err(all.wait(PER_SECOND_OF_ALL));
        }
        if self.each.len() >= ADDRESSES_MAX && !self.each.contains_key(&peer) {
            // A bucket that has filled up again says nothing; without one left to forget, the common bucket bounds.
            let refilled =
                |bucket: &Bucket| now.since(bucket.at).as_secs_f64() * PER_SECOND_OF_ONE >= BURST_OF_ONE;
            self.each.retain(|_, bucket| !refilled(bucket));
            if self.each.len() >= ADDRESSES_MAX {
                self.each.clear();
            }
        }
        let one = self.each.entry(peer).or_insert(full(BURST_OF_ONE));
        one.refill(now, PER_SECOND_OF_ONE, BURST_OF_ONE);
        if one.left < 1.0 {
            return Err(one.wait(PER_SECOND_OF_ONE));
        }
        one.left -= 1.0;
        all.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn one_stranger_is_bounded_and_forgiven() {
        let mut throttle = Throttle::default();
        let now = Timestamp::from_seconds(1_000);
        let admitted = (0..200).filter(|_| throttle.admit(Some(address(1)), now).is_ok()).count();
        assert_eq!(admitted, 120);
        assert!(throttle.admit(Some(address(2)), now).is_ok());
        assert!(throttle.admit(Some(address(1)), now.plus(Duration::from_secs(1))).is_ok());
    }

    #[test]
    fn many_strangers_meet_the_common_bucket_and_not_our_memory() {
        let mut throttle = Throttle::default();
        let mut now = Timestamp::from_seconds(1_000);
        let admitted =
            (0..5_000).filter(|number| throttle.admit(Some(address(*number)), now).is_ok()).count();
        assert_eq!(admitted, 1_200);
        for number in 0..20_000 {
            now = now.plus(Duration::from_millis(60));
            let _ = throttle.admit(Some(address(number)), now);
            assert!(throttle.each.len() <= ADDRESSES_MAX);
        }
    }
}
