//! A bound on how often strangers may post notifications. Addresses that PayFast publishes are not bounded.
//!
//! A rate for each address and one for all of them, over the clock that is handed in. The table has a bound of its own:
//! an attacker with many addresses meets the common rate, not our memory.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::{Rate, Rates, Timestamp};

/// How often one stranger may post notifications.
const ONE: Rate = Rate::new(120, 120);
/// How often all strangers may.
const ALL: Rate = Rate::new(1_200, 1_200);
/// How many addresses are remembered.
const ADDRESSES_MAX: usize = 4_096;

/// The rates of all strangers.
#[derive(Debug)]
pub struct Throttle {
    all: Rates<()>,
    each: Rates<Option<IpAddr>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { all: Rates::new(ALL, 1), each: Rates::new(ONE, ADDRESSES_MAX) }
    }
}

impl Throttle {
    /// Takes one from the rates of `peer` and of all.
    ///
    /// # Errors
    /// How long to wait, when either is used up.
    pub fn admit(&mut self, peer: Option<IpAddr>, now: Timestamp) -> Result<(), Duration> {
        self.all.check(&(), now)?;
        self.each.take(peer, now)?;
        self.all.take((), now)
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
    fn many_strangers_meet_the_common_rate() {
        let mut throttle = Throttle::default();
        let now = Timestamp::from_seconds(1_000);
        let admitted =
            (0..5_000).filter(|number| throttle.admit(Some(address(*number)), now).is_ok()).count();
        assert_eq!(admitted, 1_200);
    }
}
