//! From where an account is signed in to, and the letter to its owner when that is new.
//!
//! A place is a kind of client in a part of the network, taken coarsely: a newer version of the same browser, or
//! another address of the same provider, is the same place. Only keyed hashes of places are kept.

use std::net::IpAddr;
use std::time::Duration;

use crate::auth::caller::AGENT_CHARS_MAX;
use crate::auth::letters::{self, Deed};
use crate::auth::model::Account;
use crate::auth::{Caller, Error, store};
use crate::base::{AccountId, Timestamp};
use crate::db::Tx;
use crate::keyring;

use super::Service;

/// How many places of an account are remembered.
const PLACES_MAX: i64 = 32;
/// How many letters of new places an account gets within [`LATELY`]; whoever signs in from many is told enough by then.
const LETTERS_MAX: i64 = 5;
const LATELY: Duration = Duration::from_hours(24);

impl Service {
    /// Notes from where an account was just signed in to, and writes to its owner when that is new. The first place of
    /// all is not: somebody has to sign in for the first time.
    pub(super) async fn note_place(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        account: &Account,
        now: Timestamp,
    ) -> Result<(), Error> {
        let place = self.place(account.id, caller);
        if !store::place::note(tx, account.id, &place, now).await? {
            return Ok(());
        }
        let known = store::place::known(tx, account.id, now.minus(LATELY)).await?;
        if known.places > PLACES_MAX {
            store::place::prune(tx, account.id, PLACES_MAX).await?;
        }
        if known.places == 1 || known.lately > LETTERS_MAX {
            return Ok(());
        }
        let deed = Deed { at: now, address: caller.origin.peer, agent: &caller.origin.agent };
        self.write_to(tx, &account.email, letters::new_sign_in(&self.options.public_url, &deed)).await
    }

    fn place(&self, account: AccountId, caller: &Caller) -> [u8; 32] {
        let key = self.root.derive("sign-in-places");
        let agent = kind_of_client(&caller.origin.agent);
        let network = caller.origin.peer.map(part_of_network).unwrap_or_default();
        keyring::mac(key.expose(), &[account.uuid().as_bytes(), network.as_slice(), agent.as_bytes()])
    }
}

/// What a client calls itself, without the numbers of its versions.
fn kind_of_client(agent: &str) -> String {
    agent.chars().take(AGENT_CHARS_MAX).filter(char::is_ascii_alphabetic).collect()
}

/// The part of the network that a provider has: the first 16 bits of an IPv4 address, the first 32 of an IPv6 one.
/// Always of the same length, so that what follows it cannot be taken for a part of it.
fn part_of_network(address: IpAddr) -> [u8; 5] {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            [4, a, b, 0, 0]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.octets();
            [6, a, b, c, d]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_the_same_client_and_another_provider_is_another_place() {
        let firefox =
            |version: u8| format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Firefox/{version}.0");
        assert_eq!(kind_of_client(&firefox(141)), kind_of_client(&firefox(142)));
        assert_ne!(kind_of_client("Firefox/1"), kind_of_client("Chrome/1"));
        let part = |text: &str| part_of_network(text.parse().unwrap());
        assert_eq!(part("203.0.113.9"), part("203.0.7.1"));
        assert_eq!(part("203.0.113.9"), part("::ffff:203.0.113.9"));
        assert_ne!(part("203.0.113.9"), part("203.1.113.9"));
        assert_eq!(part("2001:db8:1::1"), part("2001:db8:2::1"));
        assert_ne!(part("2001:db8::1"), part("2001:db9::1"));
    }
}
