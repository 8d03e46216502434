//! What programs get in with, as values: scopes, API keys, service accounts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auth::OrganizationRole;
use crate::base::net::Network;
use crate::base::{AccountId, Id, OrganizationId, Timestamp, Violations};
use crate::db::words;

/// The id of an API key.
pub type ApiKeyId = Id<ApiKey>;

/// How many networks a key may be limited to.
pub const NETWORKS_MAX: usize = 32;

words! {
    /// What a program may do: one word for each area, and whether it changes anything there.
    pub enum KeyScope {
        /// Reads threads, messages and events, and follows threads.
        ChatRead = "chat.read",
        /// Opens threads and writes in them.
        ChatWrite = "chat.write",
        /// Reads payments, invoices and the subscription.
        PaymentsRead = "payments.read",
        /// Starts checkouts.
        PaymentsWrite = "payments.write",
    }
}

impl KeyScope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ChatRead, Self::ChatWrite, Self::PaymentsRead, Self::PaymentsWrite];

    /// Whether having this scope is enough where `wanted` is asked for: who writes in an area reads there too.
    #[must_use]
    pub fn covers(self, wanted: Self) -> bool {
        let includes = match self {
            Self::ChatWrite => Some(Self::ChatRead),
            Self::PaymentsWrite => Some(Self::PaymentsRead),
            Self::ChatRead | Self::PaymentsRead => None,
        };
        self == wanted || includes == Some(wanted)
    }
}

/// Reads the scopes of a request. At least one is wanted; saying one twice is no mistake worth an error.
pub fn scopes(violations: &mut Violations, field: &str, words: &[String]) -> BTreeSet<KeyScope> {
    violations.check(!words.is_empty(), field, "must name at least one scope");
    some_scopes(violations, field, words)
}

/// As [`scopes`], but there may be none.
pub fn some_scopes(violations: &mut Violations, field: &str, words: &[String]) -> BTreeSet<KeyScope> {
    let mut found = BTreeSet::new();
    if words.len() > KeyScope::ALL.len() * 4 {
        violations.add_hostile(field, "must not have so many entries");
        return found;
    }
    for (index, word) in words.iter().enumerate() {
        if let Some(scope) = KeyScope::parse(word) {
            found.insert(scope);
        } else {
            let known = KeyScope::ALL.map(KeyScope::as_str).join(", ");
            violations.add(format!("{field}[{index}]"), format!("must be one of {known}"));
        }
    }
    found
}

/// Reads the networks that a key is limited to. They are kept as they are written back, `address/bits`.
pub fn networks(violations: &mut Violations, field: &str, words: &[String]) -> Vec<String> {
    if words.len() > NETWORKS_MAX {
        violations.add_hostile(field, format!("must have at most {NETWORKS_MAX} entries"));
        return Vec::new();
    }
    let mut found = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        match Network::parse(word.trim()) {
            Some(network) => found.push(network.to_string()),
            None => violations.add(
                format!("{field}[{index}]"),
                "must be a network such as 203.0.113.0/24 or 2001:db8::/32, or an address",
            ),
        }
    }
    found
}

/// Whether calls may come from this address. An address that is not known is in no network.
#[must_use]
pub fn admits(networks: &[Network], peer: Option<IpAddr>) -> bool {
    networks.is_empty() || peer.is_some_and(|peer| networks.iter().any(|network| network.contains(peer)))
}

/// An API key as it is listed. The secret is in none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The organisation that it works in.
    pub organization: OrganizationId,
    /// In whose name it acts.
    pub account: AccountId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<KeyScope>,
    /// Where calls may come from; none for anywhere.
    pub networks: Vec<String>,
    /// 1 for the first secret, one more for each that replaced it.
    pub generation: i64,
    /// Until when the secret before is good.
    pub previous_until: Option<Timestamp>,
    /// When it stops by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
    /// Who made it.
    pub created_by: AccountId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// Its account.
    pub id: AccountId,
    /// The organisation that it belongs to.
    pub organization: OrganizationId,
    /// What it is for.
    pub name: String,
    /// What its tokens may do.
    pub scopes: BTreeSet<KeyScope>,
    /// What it may do as a member.
    pub role: OrganizationRole,
    /// Who made it.
    pub created_by: AccountId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which secret of which key came with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyUse {
    /// The key.
    pub id: ApiKeyId,
    /// The secret.
    pub generation: i64,
}

/// What a program's credential lets it do, which is less than what its account may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The one organisation that exists for it.
    pub organization: OrganizationId,
    /// What it may do there.
    pub scopes: BTreeSet<KeyScope>,
    /// The API key; none when a service account's token came.
    pub key: Option<KeyUse>,
}

impl Grant {
    /// Whether this is enough where `wanted` is asked for.
    #[must_use]
    pub fn allows(&self, wanted: KeyScope) -> bool {
        self.scopes.iter().any(|scope| scope.covers(wanted))
    }
}

/// A key as every call with it sees it.
#[derive(Clone, Debug)]
pub struct KeyStanding {
    /// Whether it stands: it was not revoked, and the account in whose name it acts is still a member and not
    /// suspended.
    pub stands: bool,
    /// In whose name it acts.
    pub account: AccountId,
    /// What it lets its holder do with the newest secret.
    pub grant: Arc<Grant>,
    /// Where calls may come from.
    pub networks: Vec<Network>,
    /// 1 for the first secret, one more for each that replaced it.
    pub generation: i64,
    /// The newest secret, hashed.
    pub secret_hash: [u8; 32],
    /// The secret before, hashed, and until when it is good.
    pub previous: Option<([u8; 32], Timestamp)>,
    /// When it stops by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
}

/// Whether a secret of this generation is still good, of a key whose newest one has `newest`.
#[must_use]
pub fn secret_stands(
    generation: i64,
    newest: i64,
    previous_until: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    generation == newest
        || (generation.saturating_add(1) == newest && previous_until.is_some_and(|until| now < until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_includes_reading_in_the_same_area_only() {
        for has in KeyScope::ALL {
            for wanted in KeyScope::ALL {
                let area = |scope: KeyScope| scope.as_str().split_once('.').unwrap();
                let writes = area(has).1 == "write";
                let enough = has == wanted || (writes && area(has).0 == area(wanted).0);
                assert_eq!(has.covers(wanted), enough, "{has:?} for {wanted:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let mut violations = Violations::new();
        let words = ["chat.read", "chat.*", "CHAT.READ"].map(str::to_owned);
        assert_eq!(scopes(&mut violations, "scopes", &words), BTreeSet::from([KeyScope::ChatRead]));
        scopes(&mut violations, "scopes", &[]);
        networks(&mut violations, "allowed_networks", &["10.0.0.0/8".to_owned(), "10.0.0.0/33".to_owned()]);
        networks(&mut violations, "allowed_networks", &vec!["::1".to_owned(); NETWORKS_MAX + 1]);
        let fields: Vec<_> = violations.as_slice().iter().map(|wrong| wrong.field.as_str()).collect();
        assert_eq!(fields, ["scopes[1]", "scopes[2]", "scopes", "allowed_networks[1]", "allowed_networks"]);
    }

    #[test]
    fn an_unknown_address_is_in_no_network() {
        let networks = [Network::parse("203.0.113.0/24").unwrap()];
        assert!(admits(&networks, Some("203.0.113.9".parse().unwrap())));
        assert!(!admits(&networks, Some("198.51.100.9".parse().unwrap())));
        assert!(!admits(&networks, None));
        assert!(admits(&[], None));
    }

    #[test]
    fn one_secret_before_is_good_until_its_end() {
        let now = Timestamp::from_seconds(10);
        let until = |seconds| Some(Timestamp::from_seconds(seconds));
        assert!(secret_stands(2, 2, None, now));
        assert!(secret_stands(1, 2, until(11), now));
        assert!(!secret_stands(1, 2, until(10), now));
        assert!(!secret_stands(1, 3, until(11), now));
        assert!(!secret_stands(3, 2, until(11), now));
    }
}
