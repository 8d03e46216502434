//! Budgets of calls: each caller has one for every rate class that the protos declare.
//!
//! A caller is the API key that came with the call, else the account that signed in, else the address that the call
//! came from. A key is not its account: a program that runs wild must not keep the person out in whose name it acts.
//! What could be used to guess secrets always counts for the address, signed in or not. Budgets are a node's own: with
//! several nodes behind one proxy a caller has each of them several times.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::policy::RateClass;
use super::refusal::Refusal;
use crate::auth::Caller;
use crate::auth::model::key::ApiKeyId;
use crate::base::{AccountId, Rate, Rates, World};

/// Callers that are remembered in each class.
const CALLERS_MAX: usize = 50_000;
/// Whoever has one address of IPv6 has at least all that share these bits.
const IPV6_PREFIX: u128 = !(u128::MAX >> 64);

/// How often a caller may call, by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Reads and small writes.
    pub ordinary: Rate,
    /// What a stranger could use to guess secrets, for each address. Offices share one.
    pub credential: Rate,
    /// Messages and other frequent small writes.
    pub message: Rate,
    /// What starts money moving.
    pub payment: Rate,
    /// What is dear to answer.
    pub heavy: Rate,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ordinary: Rate::new(300, 1_800),
            credential: Rate::new(60, 60),
            message: Rate::new(60, 300),
            payment: Rate::new(20, 30),
            heavy: Rate::new(10, 10),
        }
    }
}

/// Whose budget a call draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Payer {
    Account(AccountId),
    Key(ApiKeyId),
    Address(Option<IpAddr>),
}

/// The budgets of all callers. Cheap to clone.
#[derive(Clone)]
pub struct Limits {
    world: World,
    classes: Arc<Classes>,
}

struct Classes {
    ordinary: Mutex<Rates<Payer>>,
    credential: Mutex<Rates<Payer>>,
    message: Mutex<Rates<Payer>>,
    payment: Mutex<Rates<Payer>>,
    heavy: Mutex<Rates<Payer>>,
}

impl Limits {
    /// Full budgets for everybody.
    #[must_use]
    pub fn new(options: &Options, world: World) -> Self {
        let rates = |rate| Mutex::new(Rates::new(rate, CALLERS_MAX));
        let classes = Classes {
            ordinary: rates(options.ordinary),
            credential: rates(options.credential),
            message: rates(options.message),
            payment: rates(options.payment),
            heavy: rates(options.heavy),
        };
        Self { world, classes: Arc::new(classes) }
    }

    /// Takes one call from the caller's budget.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] when there is none left.
    pub fn take(&self, class: RateClass, caller: &Caller) -> Result<(), Refusal> {
        let key = caller.grant.as_ref().and_then(|grant| grant.key);
        let payer = match (class, key, caller.account) {
            (RateClass::Credential, _, _) | (_, None, None) => {
                Payer::Address(caller.origin.peer.map(network))
            }
            (_, Some(key), _) => Payer::Key(key.id),
            (_, None, Some(account)) => Payer::Account(account),
        };
        let rates = match class {
            RateClass::Ordinary => &self.classes.ordinary,
            RateClass::Credential => &self.classes.credential,
            RateClass::Message => &self.classes.message,
            RateClass::Payment => &self.classes.payment,
            RateClass::Heavy => &self.classes.heavy,
        };
        let mut rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(payer, self.world.now()).map_err(Refusal::RateLimited)
    }
}

/// What one subscriber has at least: an address of IPv4, or a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & IPV6_PREFIX)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::auth::Origin;
    use crate::auth::caller::Proof;
    use crate::auth::model::key::{Grant, KeyUse};
    use crate::base::{Id, ManualClock, SeededRng, Timestamp};

    fn limits() -> (Limits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000)));
        let world = World::new(clock.clone(), Arc::new(SeededRng::new(1)));
        let two = Rate::new(2, 60);
        let options = Options { ordinary: two, credential: two, message: two, payment: two, heavy: two };
        (Limits::new(&options, world), clock)
    }

    fn stranger(address: &str) -> Caller {
        Caller::anonymous(Origin { peer: address.parse().ok(), ..Origin::default() })
    }

    fn person(number: u8, address: &str) -> Caller {
        let proof = Proof {
            account: Id::mint(1, &[number; 10]),
            session: Id::mint(1, &[1; 10]),
            role: crate::auth::Role::Customer,
            personal: Id::mint(1, &[2; 10]),
            expires_at: Timestamp::from_seconds(2_000),
        };
        Caller::signed_in(proof, Origin { peer: address.parse().ok(), ..Origin::default() })
    }

    fn granted(key: Option<u8>) -> Arc<Grant> {
        let key = key.map(|number| KeyUse { id: Id::mint(1, &[number; 10]), generation: 1 });
        Arc::new(Grant { organization: Id::mint(1, &[2; 10]), scopes: BTreeSet::new(), key })
    }

    fn taken(limits: &Limits, class: RateClass, caller: &Caller) -> usize {
        (0..5).filter(|_| limits.take(class, caller).is_ok()).count()
    }

    #[test]
    fn a_budget_belongs_to_a_caller_and_a_class_and_fills_up_again() {
        let (limits, clock) = limits();
        let ada = person(1, "192.0.2.1");
        assert_eq!(taken(&limits, RateClass::Message, &ada), 2);
        assert_eq!(taken(&limits, RateClass::Ordinary, &ada), 2);
        assert_eq!(taken(&limits, RateClass::Message, &person(2, "192.0.2.1")), 2);
        clock.advance(Duration::from_secs(1));
        assert_eq!(taken(&limits, RateClass::Message, &ada), 1);
        let Err(Refusal::RateLimited(wait)) = limits.take(RateClass::Message, &ada) else {
            panic!("the budget is used up");
        };
        assert_eq!(wait, Duration::from_secs(1));
    }

    #[test]
    fn a_key_has_a_budget_of_its_own_beside_that_of_its_account() {
        let (limits, _) = limits();
        let (ada, account) = (person(1, "192.0.2.1"), Id::mint(1, &[1; 10]));
        let with = |key| Caller::program(account, granted(key), None, None, Origin::default());
        assert_eq!(taken(&limits, RateClass::Message, &with(Some(1))), 2);
        assert_eq!(taken(&limits, RateClass::Message, &with(Some(2))), 2);
        assert_eq!(taken(&limits, RateClass::Message, &ada), 2);
        assert_eq!(taken(&limits, RateClass::Message, &with(None)), 0);
    }

    #[test]
    fn guessing_counts_for_the_address_whoever_is_signed_in() {
        let (limits, _) = limits();
        assert_eq!(taken(&limits, RateClass::Credential, &person(1, "192.0.2.1")), 2);
        assert_eq!(taken(&limits, RateClass::Credential, &person(2, "192.0.2.1")), 0);
        assert_eq!(taken(&limits, RateClass::Credential, &stranger("192.0.2.2")), 2);
    }

    #[test]
    fn a_subscriber_of_ipv6_has_one_budget_for_all_their_addresses() {
        let (limits, _) = limits();
        assert_eq!(taken(&limits, RateClass::Credential, &stranger("2001:db8::1")), 2);
        assert_eq!(taken(&limits, RateClass::Credential, &stranger("2001:db8::ffff:1")), 0);
        assert_eq!(taken(&limits, RateClass::Credential, &stranger("2001:db8:0:1::1")), 2);
        assert_eq!(taken(&limits, RateClass::Credential, &stranger("::ffff:192.0.2.1")), 2);
        assert_eq!(taken(&limits, RateClass::Credential, &stranger("192.0.2.1")), 0);
    }
}
