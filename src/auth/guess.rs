//! How often somebody may guess at a secret of an account.
//!
//! No guess ever locks an account: a stranger could lock anybody out. Instead guesses are counted in three places, and
//! whoever guesses too often is told how long to wait, before any password is hashed:
//!
//! - for each account and each network (a /24 of IPv4, a /48 of IPv6): a few at once, then one every half minute;
//! - for each account, over all networks that it was never signed in from: so that a thousand networks do not have a
//!   thousand times as many;
//! - for the node, over all accounts and such networks: so that one guess at each of ten thousand accounts is slow too.
//!
//! A network from which the account was signed in within the last quarter of a year counts for itself alone: its owner
//! gets in from home or from the office whatever strangers do. Addresses without an account are counted like any
//! other. This module does not know what is guessed, nor whether it was right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::{Rate, Rates, Secret, Timestamp};
use crate::keyring::{self, RootKey};

use super::Error;

/// How long a network is familiar to an account after a sign-in.
const FAMILIAR: Duration = Duration::from_hours(90 * 24);
/// How long after it is full again a count is kept.
const KEPT: Duration = Duration::from_hours(1);

/// How often may be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// At one account from one network.
    pub of_network: Rate,
    /// At one account from all networks that it was not signed in from.
    pub of_strangers: Rate,
    /// At all accounts from such networks, on this node.
    pub of_all_strangers: Rate,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            of_network: Rate::new(10, 2),
            of_strangers: Rate::new(30, 6),
            of_all_strangers: Rate::new(300, 600),
        }
    }
}

/// Under which a count is kept: it tells neither account nor address to who reads the table.
pub type Key = [u8; 32];

/// A count as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Before when the next guess would come too early.
    pub due: Timestamp,
    /// Until when the network is familiar; of no meaning for all strangers together.
    pub familiar_until: Option<Timestamp>,
}

impl Count {
    /// When it says nothing any more.
    #[must_use]
    pub fn forget_at(&self) -> Timestamp {
        let full = self.due.plus(KEPT);
        self.familiar_until.map_or(full, |until| until.max(full))
    }

    /// After a guess that was right: nothing is counted, and the network is familiar.
    #[must_use]
    pub fn right(now: Timestamp) -> Self {
        Self { due: now, familiar_until: Some(now.plus(FAMILIAR)) }
    }
}

/// The two counts that a guess draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The account and the network.
    pub network: Key,
    /// The account and all strangers.
    pub strangers: Key,
}

/// Decides whether a guess may be made.
pub struct Guesses {
    key: Secret<[u8; 32]>,
    options: Options,
    all_strangers: Mutex<Rates<()>>,
}

impl Guesses {
    /// Nothing guessed yet on this node.
    #[must_use]
    pub fn new(options: &Options, root: &RootKey) -> Self {
        let all_strangers = Mutex::new(Rates::new(options.of_all_strangers, 1));
        Self { key: root.derive("guesses"), options: *options, all_strangers }
    }

    /// The counts of guesses at a secret of `target` from `peer`.
    #[must_use]
    pub fn keys(&self, target: &str, peer: Option<IpAddr>) -> Keys {
        let network = peer.map(network).map(|network| network.to_string()).unwrap_or_default();
        let key = |parts: &[&[u8]]| keyring::mac(self.key.expose(), parts);
        Keys {
            // An address holds no NUL, so that no target and network run into each other.
            network: key(&[b"network\0", target.as_bytes(), b"\0", network.as_bytes()]),
            strangers: key(&[b"strangers\0", target.as_bytes()]),
        }
    }

    /// Counts a guess. `network` and `strangers` are the stored counts, and are changed to what they become.
    ///
    /// # Errors
    /// [`Error::GuessDelayed`] when it comes too early; then nothing is counted.
    pub fn take(&self, network: &mut Count, strangers: &mut Count, now: Timestamp) -> Result<(), Error> {
        let options = &self.options;
        let of_network = options.of_network.take(Some(network.due), now).map_err(Error::GuessDelayed)?;
        if network.familiar_until.is_none_or(|until| until <= now) {
            let of_strangers =
                options.of_strangers.take(Some(strangers.due), now).map_err(Error::GuessDelayed)?;
            let mut all = self.all_strangers.lock().unwrap_or_else(PoisonError::into_inner);
            all.take((), now).map_err(Error::GuessDelayed)?;
            strangers.due = of_strangers;
        }
        network.due = of_network;
        Ok(())
    }
}

impl std::fmt::Debug for Guesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guesses").finish_non_exhaustive()
    }
}

/// Who has one address of it can usually choose another one in it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> 48))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000);

    fn guesses() -> Guesses {
        let options = Options {
            of_network: Rate::new(3, 2),
            of_strangers: Rate::new(5, 6),
            of_all_strangers: Rate::new(8, 60),
        };
        Guesses::new(&options, &RootKey::new([7; 32]))
    }

    fn full() -> Count {
        Count { due: START, familiar_until: None }
    }

    fn passed(guesses: &Guesses, network: &mut Count, strangers: &mut Count, now: Timestamp) -> usize {
        (0..20).filter(|_| guesses.take(network, strangers, now).is_ok()).count()
    }

    #[test]
    fn one_network_is_slowed_and_never_locked_out() {
        let (guesses, mut here, mut strangers) = (guesses(), full(), full());
        assert_eq!(passed(&guesses, &mut here, &mut strangers, START), 3);
        let Err(Error::GuessDelayed(wait)) = guesses.take(&mut here, &mut strangers, START) else {
            panic!("the count is used up");
        };
        assert_eq!(wait, Duration::from_secs(30));
        assert_eq!(passed(&guesses, &mut here, &mut strangers, START.plus(wait)), 1);
    }

    #[test]
    fn many_networks_share_what_strangers_have() {
        let (guesses, mut strangers) = (guesses(), full());
        let from_each = |_| guesses.take(&mut full(), &mut strangers, START).is_ok();
        assert_eq!((0..20).map(from_each).filter(|passed| *passed).count(), 5);
    }

    #[test]
    fn many_accounts_share_what_strangers_have_on_the_node() {
        let guesses = guesses();
        let at_each = |_| guesses.take(&mut full(), &mut full(), START).is_ok();
        assert_eq!((0..20).map(at_each).filter(|passed| *passed).count(), 8);
        assert!(guesses.take(&mut full(), &mut full(), START.plus(Duration::from_secs(1))).is_ok());
    }

    #[test]
    fn where_the_owner_signed_in_from_strangers_do_not_count() {
        let (guesses, mut strangers) = (guesses(), full());
        while guesses.take(&mut full(), &mut strangers, START).is_ok() {}
        let mut home = Count::right(START);
        assert_eq!(passed(&guesses, &mut home, &mut strangers, START), 3);
        let later = START.plus(FAMILIAR);
        home.due = later;
        strangers.due = later.plus(Duration::from_hours(1));
        assert!(
            guesses.take(&mut home, &mut strangers, later).is_err(),
            "after its time it is a stranger again"
        );
    }

    #[test]
    fn a_count_belongs_to_an_account_and_a_network() {
        let guesses = guesses();
        let keys = |target, address: &str| guesses.keys(target, address.parse().ok());
        let ada = keys("ada@example.com", "192.0.2.1");
        assert_eq!(ada, keys("ada@example.com", "::ffff:192.0.2.200"));
        assert_ne!(ada.network, keys("ada@example.com", "192.0.3.1").network);
        assert_eq!(ada.strangers, keys("ada@example.com", "192.0.3.1").strangers);
        assert_ne!(ada.strangers, keys("bob@example.com", "192.0.2.1").strangers);
        assert_eq!(keys("ada@example.com", "2001:db8::1"), keys("ada@example.com", "2001:db8:0:ffff::1"));
        assert_ne!(keys("a", "2001:db8::1").network, keys("a", "2001:db8:1::1").network);
        assert_ne!(ada.network, ada.strangers);
    }
}
