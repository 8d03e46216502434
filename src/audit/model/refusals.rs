//! What was refused, kept until it is written: bounded, so that a flood of refusals costs neither memory nor a log that
//! grows with it.
//!
//! Equal refusals within a window become one entry with a count. When there are too many different ones, the rest is
//! counted by what was asked for and why it was refused, without saying who and from where; and when even those are too
//! many, they are counted together.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use uuid::Uuid;

use super::event::EventId;
use super::{Actor, ActorKind, Entry, Risk};
use crate::base::{OrganizationId, Timestamp};

/// How long equal refusals are counted together.
pub const WINDOW: Duration = Duration::from_secs(60);
/// How many different refusals are kept apart.
pub const APART_MAX: usize = 256;
/// How many kinds of refusals are counted beyond that.
pub const KINDS_MAX: usize = 64;
/// What the last resort is called, which counts what has no count of its own.
pub const BEYOND: &str = "audit.count_refusals";

/// A refusal, or several equal ones.
#[derive(Clone)]
pub struct Refused {
    /// The id of its entry, from the time of the first.
    pub id: EventId,
    /// When the first came.
    pub at: Timestamp,
    /// What was asked for, and by whom.
    pub entry: Entry,
    /// Why it was refused.
    pub reason: Cow<'static, str>,
    /// How many there were.
    pub occurrences: i64,
}

/// What makes two refusals equal.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Likeness {
    action: &'static str,
    reason: Cow<'static, str>,
    organization: Option<OrganizationId>,
    subject: Option<(&'static str, Uuid)>,
    actor: (ActorKind, Option<Uuid>),
    network: Option<IpAddr>,
}

/// The refusals that are not written yet.
#[derive(Default)]
pub struct Refusals {
    apart: HashMap<Likeness, Refused>,
    kinds: HashMap<(&'static str, Cow<'static, str>), Refused>,
    beyond: Option<Refused>,
}

impl Refusals {
    /// Takes one in.
    pub fn note(&mut self, refused: Refused) {
        let like = likeness(&refused);
        if self.apart.contains_key(&like) || self.apart.len() < APART_MAX {
            return add(self.apart.entry(like), refused);
        }
        let kind = (refused.entry.action, refused.reason.clone());
        let nameless = Refused { entry: nameless(refused.entry.action, refused.entry.risk), ..refused };
        if self.kinds.contains_key(&kind) || self.kinds.len() < KINDS_MAX {
            return add(self.kinds.entry(kind), nameless);
        }
        let entry = nameless_beyond();
        let more = Refused { entry, reason: "TOO_MANY_KINDS".into(), ..nameless };
        match &mut self.beyond {
            Some(first) => first.occurrences = first.occurrences.saturating_add(more.occurrences),
            None => self.beyond = Some(more),
        }
    }

    /// Gives those out whose window is over, the oldest first.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Refused> {
        self.take(|refused| refused.at.plus(WINDOW) <= now)
    }

    /// Gives all of them out, the oldest first.
    pub fn take_all(&mut self) -> Vec<Refused> {
        self.take(|_| true)
    }

    /// How many entries wait here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.apart.len() + self.kinds.len() + usize::from(self.beyond.is_some())
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&mut self, is_due: impl Fn(&Refused) -> bool) -> Vec<Refused> {
        let apart = self.apart.extract_if(|_, refused| is_due(refused)).map(|(_, refused)| refused);
        let mut taken: Vec<Refused> = apart.collect();
        taken.extend(self.kinds.extract_if(|_, refused| is_due(refused)).map(|(_, refused)| refused));
        taken.extend(self.beyond.take_if(|refused| is_due(refused)));
        taken.sort_by_key(|refused| refused.id);
        taken
    }
}

fn add<K>(place: std::collections::hash_map::Entry<'_, K, Refused>, refused: Refused) {
    let more = refused.occurrences;
    place.and_modify(|first| first.occurrences = first.occurrences.saturating_add(more)).or_insert(refused);
}

fn likeness(refused: &Refused) -> Likeness {
    let Entry { action, actor, organization, subject, .. } = &refused.entry;
    Likeness {
        action,
        reason: refused.reason.clone(),
        organization: *organization,
        subject: subject.as_ref().map(|subject| (subject.kind, subject.id)),
        actor: (actor.kind, actor.id.or(actor.on_behalf_of.map(crate::base::AccountId::uuid))),
        network: actor.address.map(network),
    }
}

/// The address, and of IPv6 the network that one subscriber has: whoever has one of its addresses has all of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((address.to_bits() >> 64 << 64).to_be_bytes()),
        address @ IpAddr::V4(_) => address,
    }
}

fn nameless(action: &'static str, risk: Risk) -> Entry {
    let actor = Actor {
        kind: ActorKind::Platform,
        id: None,
        on_behalf_of: None,
        session: None,
        purpose: Some("refusals beyond the bound"),
        request_id: String::new(),
        address: None,
        agent: String::new(),
    };
    Entry::new(action, actor).risk(risk)
}

fn nameless_beyond() -> Entry {
    nameless(BEYOND, Risk::High)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    fn refused(number: u64, address: IpAddr, reason: impl Into<Cow<'static, str>>) -> Refused {
        let actor = Actor {
            kind: ActorKind::Stranger,
            purpose: None,
            address: Some(address),
            ..nameless_beyond().actor
        };
        let at = Timestamp::from_seconds(i64::try_from(number).unwrap());
        let (entry, reason) = (Entry::new("auth.login", actor), reason.into());
        Refused { id: Id::mint(number * 1_000, &[0; 10]), at, entry, reason, occurrences: 1 }
    }

    fn v4(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn equal_ones_are_counted_and_given_out_when_their_window_is_over() {
        let mut refusals = Refusals::default();
        for second in 0..50 {
            refusals.note(refused(second, v4(1), "WRONG"));
            refusals.note(refused(second, v4(2), "WRONG"));
            refusals.note(refused(second, v4(2), "LATE"));
        }
        let due = |refusals: &mut Refusals, second| refusals.take_due(Timestamp::from_seconds(second));
        assert!(due(&mut refusals, 59).is_empty());
        let taken = due(&mut refusals, 60);
        assert_eq!(taken.iter().map(|refused| refused.occurrences).collect::<Vec<_>>(), [50, 50, 50]);
        assert!(refusals.is_empty());
    }

    #[test]
    fn one_subscribers_addresses_are_one() {
        let mut refusals = Refusals::default();
        for address in ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1", "::ffff:1.2.3.4", "1.2.3.4"] {
            refusals.note(refused(1, address.parse().unwrap(), "WRONG"));
        }
        assert_eq!(refusals.len(), 3);
    }

    #[test]
    fn a_flood_is_bounded_and_nothing_goes_uncounted() {
        let mut refusals = Refusals::default();
        let flood = 10_000_u32;
        for number in 0..flood {
            refusals.note(refused(1, v4(number), "WRONG"));
            refusals.note(refused(1, v4(number), format!("REASON_{number}")));
        }
        assert!(refusals.len() <= APART_MAX + KINDS_MAX + 1);
        let taken = refusals.take_all();
        let counted: i64 = taken.iter().map(|refused| refused.occurrences).sum();
        assert_eq!(counted, i64::from(flood) * 2);
        let beyond = taken.iter().find(|refused| refused.entry.action == BEYOND).unwrap();
        assert!(beyond.entry.actor.address.is_none() && beyond.occurrences > 1);
    }
}
