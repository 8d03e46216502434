//! An entry as it is stored, and its one encoding, which its digest is made of.
//!
//! The encoding is part of the promise to auditors: `docs/audit.md` describes it to the byte. A change of it is a new
//! version beside this one, for what was sealed keeps its digest.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Entry;
use crate::base::{AccountId, Id, OrganizationId, SessionId, Timestamp};
use crate::chain::encoding::{put, put_uuid};
use crate::db;

/// The id of an entry.
pub type EventId = Id<Entry>;

/// What every encoding of this version begins with.
const TAG: &[u8] = b"capecontrol audit entry 1\n";

/// An entry as it is stored. Words are kept as they stand, so that one that somebody changed can still be read and
/// compared. What is personal in it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Event {
    /// Its id, which sorts by the time it was made.
    pub id: EventId,
    /// The organisation that it concerns; none for the platform as a whole.
    pub organization_id: Option<OrganizationId>,
    /// What was done or asked for.
    pub action: String,
    /// Whether it was done, one of [`super::Outcome`].
    pub outcome: String,
    /// Why it was refused.
    pub reason: Option<String>,
    /// How many equal ones the entry stands for.
    pub occurrences: i64,
    /// How much a reader should care, one of [`super::Risk`].
    pub risk: String,
    /// What kind of actor, one of [`super::ActorKind`].
    pub actor_kind: String,
    /// The actor.
    pub actor_id: Option<Uuid>,
    /// In whose name.
    pub on_behalf_of: Option<AccountId>,
    /// The session of the call.
    pub session_id: Option<SessionId>,
    /// What the platform was about.
    pub purpose: Option<String>,
    /// What kind of thing it was done to.
    pub subject_kind: Option<String>,
    /// Which.
    pub subject_id: Option<Uuid>,
    /// A keyed digest of the state before.
    pub before_digest: Option<Vec<u8>>,
    /// A keyed digest of the state after.
    pub after_digest: Option<Vec<u8>>,
    /// Under which logs speak of the call.
    pub request_id: String,
    /// Whose key sealed what is personal.
    pub person_id: Option<Uuid>,
    /// What is personal, sealed.
    pub personal: Option<Vec<u8>>,
    /// When.
    pub created_at: Timestamp,
}

impl Event {
    /// Writes the encoding into an empty buffer. No two different entries have the same one: the number and the order
    /// of the fields are fixed, and each says whether it is there and how long it is.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(TAG);
        put(out, Some(self.id.uuid().as_bytes()));
        put_uuid(out, self.organization_id.map(OrganizationId::uuid));
        put(out, Some(self.action.as_bytes()));
        put(out, Some(self.outcome.as_bytes()));
        put(out, self.reason.as_ref().map(String::as_bytes));
        put(out, Some(&self.occurrences.to_be_bytes()));
        put(out, Some(self.risk.as_bytes()));
        put(out, Some(self.actor_kind.as_bytes()));
        put_uuid(out, self.actor_id);
        put_uuid(out, self.on_behalf_of.map(AccountId::uuid));
        put_uuid(out, self.session_id.map(SessionId::uuid));
        put(out, self.purpose.as_ref().map(String::as_bytes));
        put(out, self.subject_kind.as_ref().map(String::as_bytes));
        put_uuid(out, self.subject_id);
        put(out, self.before_digest.as_deref());
        put(out, self.after_digest.as_deref());
        put(out, Some(self.request_id.as_bytes()));
        put_uuid(out, self.person_id);
        put(out, self.personal.as_deref());
        put(out, Some(&self.created_at.as_micros().to_be_bytes()));
    }

    /// The digest that stands for the entry in the chain. `buffer` is worked in, and may be used again.
    pub fn digest(&self, buffer: &mut Vec<u8>) -> [u8; 32] {
        buffer.clear();
        self.encode(buffer);
        Sha256::digest(buffer).into()
    }
}

/// What an entry says of a person, as it is sealed with their key. Not to be printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal {
    /// Where the call came from.
    pub address: Option<IpAddr>,
    /// What the client calls itself.
    pub agent: String,
}

impl Personal {
    /// Whether there is nothing to be kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.address.is_none() && self.agent.is_empty()
    }
}

/// What can still be read of the personal part of an entry. Not to be printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Remembered {
    /// There never was any.
    Nothing,
    /// The key that sealed it is gone.
    Erased,
    /// This.
    Known(Personal),
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::chain::encoding::{ABSENT, PRESENT};

    /// Any entry, short fields and empty ones among them, where a careless encoding would mix two up.
    pub(crate) fn events() -> impl Strategy<Value = Event> {
        let id = || any::<u128>().prop_map(Uuid::from_u128);
        let word = || "[ab\u{0}\u{1}]{0,3}";
        let bytes = || proptest::collection::vec(0_u8..3, 0..4);
        let first = (id(), option::of(id()), word(), word(), option::of(word()), any::<i64>(), word());
        let second = (word(), option::of(id()), option::of(id()), option::of(id()), option::of(word()));
        let third = (option::of(word()), option::of(id()), option::of(bytes()), option::of(bytes()), word());
        let fourth = (option::of(id()), option::of(bytes()), any::<i64>());
        (first, second, third, fourth).prop_map(|(first, second, third, fourth)| Event {
            id: Id::from_uuid(first.0),
            organization_id: first.1.map(Id::from_uuid),
            action: first.2,
            outcome: first.3,
            reason: first.4,
            occurrences: first.5,
            risk: first.6,
            actor_kind: second.0,
            actor_id: second.1,
            on_behalf_of: second.2.map(Id::from_uuid),
            session_id: second.3.map(Id::from_uuid),
            purpose: second.4,
            subject_kind: third.0,
            subject_id: third.1,
            before_digest: third.2,
            after_digest: third.3,
            request_id: third.4,
            person_id: fourth.0,
            personal: fourth.1,
            created_at: Timestamp::from_micros(fourth.2),
        })
    }

    fn encoded(event: &Event) -> Vec<u8> {
        let mut out = Vec::new();
        event.encode(&mut out);
        out
    }

    /// Reads an encoding as somebody else would who has only the description.
    fn decoded(bytes: &[u8]) -> Event {
        let mut rest = bytes.strip_prefix(TAG).unwrap();
        let mut next = || {
            let (mark, after) = rest.split_first().unwrap();
            if *mark == ABSENT {
                rest = after;
                return None;
            }
            assert_eq!(*mark, PRESENT);
            let (length, after) = after.split_first_chunk::<4>().unwrap();
            let (field, after) = after.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
            rest = after;
            Some(field.to_vec())
        };
        let text = |field: Option<Vec<u8>>| field.map(|bytes| String::from_utf8(bytes).unwrap());
        let id = |field: Option<Vec<u8>>| field.map(|bytes| Uuid::from_slice(&bytes).unwrap());
        let number = |field: Option<Vec<u8>>| i64::from_be_bytes(field.unwrap().try_into().unwrap());
        let event = Event {
            id: Id::from_uuid(id(next()).unwrap()),
            organization_id: id(next()).map(Id::from_uuid),
            action: text(next()).unwrap(),
            outcome: text(next()).unwrap(),
            reason: text(next()),
            occurrences: number(next()),
            risk: text(next()).unwrap(),
            actor_kind: text(next()).unwrap(),
            actor_id: id(next()),
            on_behalf_of: id(next()).map(Id::from_uuid),
            session_id: id(next()).map(Id::from_uuid),
            purpose: text(next()),
            subject_kind: text(next()),
            subject_id: id(next()),
            before_digest: next(),
            after_digest: next(),
            request_id: text(next()).unwrap(),
            person_id: id(next()),
            personal: next(),
            created_at: Timestamp::from_micros(number(next())),
        };
        assert!(rest.is_empty());
        event
    }

    proptest! {
        /// What can be read back is not the encoding of anything else.
        #[test]
        fn an_encoding_is_of_one_entry_only(event in events()) {
            prop_assert!(decoded(&encoded(&event)) == event);
        }

        #[test]
        fn two_different_entries_have_two_encodings(one in events(), other in events()) {
            prop_assert_eq!(one == other, encoded(&one) == encoded(&other));
        }
    }

    /// The example of `docs/audit.md`. Whatever changes it breaks every log that was sealed before.
    #[test]
    fn the_encoding_is_what_the_page_says() {
        let event = Event {
            id: Id::from_uuid(Uuid::from_u128(1)),
            organization_id: None,
            action: "auth.login".to_owned(),
            outcome: "done".to_owned(),
            reason: None,
            occurrences: 1,
            risk: "low".to_owned(),
            actor_kind: "account".to_owned(),
            actor_id: Some(Uuid::from_u128(2)),
            on_behalf_of: None,
            session_id: None,
            purpose: None,
            subject_kind: None,
            subject_id: None,
            before_digest: None,
            after_digest: None,
            request_id: "r-1".to_owned(),
            person_id: None,
            personal: None,
            created_at: Timestamp::from_seconds(1_795_168_800),
        };
        let hex: String = encoded(&event).iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = [
            "6361706563 6f6e74726f6c 20 6175646974 20 656e747279 20 31 0a",
            "01 00000010 00000000000000000000000000000001",
            "00",
            "01 0000000a 617574682e6c6f67696e",
            "01 00000004 646f6e65",
            "00",
            "01 00000008 0000000000000001",
            "01 00000003 6c6f77",
            "01 00000007 6163636f756e74",
            "01 00000010 00000000000000000000000000000002",
            "00 00 00 00 00 00 00",
            "01 00000003 722d31",
            "00 00",
            "01 00000008 000660b24ea2c800",
        ];
        assert_eq!(hex, expected.concat().replace(' ', ""));
    }
}
