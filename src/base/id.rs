//! Typed ids: UUIDs of version 7, which sort by the time they were made.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The id of a `T`. `T` is only a mark: an account's id cannot be given where a thread's is wanted.
pub struct Id<T>(Uuid, PhantomData<fn() -> T>);

/// A person's (or the platform's own) account.
pub enum Account {}
/// An organisation: the tenant that owns things.
pub enum Organization {}
/// One sign-in on one device.
pub enum Session {}

/// The id of an account.
pub type AccountId = Id<Account>;
/// The id of an organisation.
pub type OrganizationId = Id<Organization>;
/// The id of a session.
pub type SessionId = Id<Session>;

impl<T> Id<T> {
    /// Marks a UUID as the id of a `T`.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The bare UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// A new id from the time in milliseconds and ten random bytes (RFC 9562, version 7).
    #[must_use]
    pub fn mint(unix_millis: u64, random: &[u8; 10]) -> Self {
        Self::from_uuid(uuid::Builder::from_unix_timestamp_millis(unix_millis, random).into_uuid())
    }
}

// Written out, for a derive would ask the same of the mark.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl<T> FromStr for Id<T> {
    type Err = uuid::Error;
    /// Reads the hyphenated form only, in either case.
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        let hyphenated: uuid::fmt::Hyphenated = text.parse()?;
        Ok(Self::from_uuid(hyphenated.into_uuid()))
    }
}
impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer).map(Self::from_uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let (earlier, later) = (AccountId::mint(1_000, &[0xff; 10]), AccountId::mint(1_001, &[0; 10]));
        assert!(earlier < later);
        assert_eq!(later.uuid().get_version_num(), 7);
    }

    #[test]
    fn an_id_is_read_in_its_hyphenated_form_only() {
        let id = AccountId::mint(1_000, &[7; 10]);
        assert_eq!(id.to_string().parse::<AccountId>().unwrap(), id);
        assert!(id.uuid().simple().to_string().parse::<AccountId>().is_err());
        assert!(format!("{{{id}}}").parse::<AccountId>().is_err());
    }
}
