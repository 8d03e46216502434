//! The keys of persons: each seals what the log says of one person, and goes when that person is erased.
//!
//! A key is made when it is first needed, in the transaction of that entry, and wrapped by the root key. Opened ones
//! are remembered for writing. For reading they are always looked up, so that an erasure holds on every node at once.
//!
//! Strangers have no key of their own, for nobody knows who they are. All strangers of one day (UTC) share a key, which
//! is deleted when it is ninety days old: long enough to look into an attack, and no longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::model::Actor;
use super::model::event::{Event, EventId, Personal, Remembered};
use super::store;
use crate::base::{Secret, Timestamp, World};
use crate::db::{self, Conn, Tx};
use crate::keyring::{self, RootKey};

/// Keys that are remembered. Beyond this the memory begins anew.
const REMEMBERED_MAX: usize = 10_000;
/// How long what is known of strangers is kept.
const STRANGERS_KEPT: Duration = Duration::from_secs(90 * SECONDS_PER_DAY);
const SECONDS_PER_DAY: u64 = 24 * 3_600;

pub(super) struct People {
    world: World,
    root: RootKey,
    strangers: Secret<[u8; 32]>,
    opened: Arc<Mutex<HashMap<Uuid, RootKey>>>,
}

impl People {
    pub(super) fn new(world: World, root: RootKey) -> Self {
        let strangers = root.derive("audit-strangers");
        Self { world, root, strangers, opened: Arc::default() }
    }

    /// Seals what is personal in an entry, and tells with whose key; none when nothing is.
    pub(super) async fn seal(
        &self,
        tx: &mut Tx,
        id: EventId,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<Option<(Uuid, Vec<u8>)>, db::Error> {
        let personal = actor.personal();
        if personal.is_empty() {
            return Ok(None);
        }
        let (person, expires_at) = match actor.person() {
            Some(person) => (person, None),
            None => (self.strangers_of(at), Some(at.plus(STRANGERS_KEPT))),
        };
        let key = self.key(tx, person, expires_at).await?;
        // Two short texts; their JSON cannot fail.
        let plain = serde_json::to_vec(&personal).unwrap_or_default();
        let sealed = key.seal(&self.world, &purpose(id), &plain).map_err(|_| db::Error::Failed)?;
        Ok(Some((person, sealed)))
    }

    /// What can still be read of the personal parts of entries, in their order.
    pub(super) async fn open(
        &self,
        conn: &mut impl Conn,
        events: &[Event],
    ) -> Result<Vec<Remembered>, db::Error> {
        let mut people: Vec<Uuid> = events.iter().filter_map(|event| event.person_id).collect();
        people.sort_unstable();
        people.dedup();
        let mut keys = HashMap::with_capacity(people.len());
        if !people.is_empty() {
            for (person, wrapped) in store::people::wrapped_among(conn, &people).await? {
                if let Some(key) = self.unwrap(person, &wrapped) {
                    keys.insert(person, key);
                }
            }
        }
        Ok(events.iter().map(|event| remembered(&keys, event)).collect())
    }

    /// Deletes a person's key.
    pub(super) async fn erase(&self, tx: &mut Tx, person: Uuid) -> Result<(), db::Error> {
        store::people::delete(tx, person).await?;
        let opened = Arc::clone(&self.opened);
        tx.after_commit(move || {
            opened.lock().unwrap_or_else(PoisonError::into_inner).remove(&person);
        });
        Ok(())
    }

    async fn key(
        &self,
        tx: &mut Tx,
        person: Uuid,
        expires_at: Option<Timestamp>,
    ) -> Result<RootKey, db::Error> {
        if let Some(key) = self.recall(person) {
            return Ok(key);
        }
        let wrapped = match store::people::wrapped(tx, person).await? {
            Some(wrapped) => wrapped,
            None => self.make(tx, person, expires_at).await?,
        };
        let key = self.unwrap(person, &wrapped).ok_or_else(|| {
            tracing::error!("a person's key in the audit log does not open with this root key");
            db::Error::Failed
        })?;
        let (opened, kept) = (Arc::clone(&self.opened), key.clone());
        // Not before: a key that is rolled back must not seal anything later.
        tx.after_commit(move || {
            let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
            if opened.len() >= REMEMBERED_MAX {
                opened.clear();
            }
            opened.insert(person, kept);
        });
        Ok(key)
    }

    /// Makes a person's key, unless another transaction has just done so.
    async fn make(
        &self,
        tx: &mut Tx,
        person: Uuid,
        expires_at: Option<Timestamp>,
    ) -> Result<Vec<u8>, db::Error> {
        let plain = self.world.bytes::<32>();
        let wrapped =
            self.root.seal(&self.world, &wrapping(person), &plain).map_err(|_| db::Error::Failed)?;
        store::people::insert(tx, person, wrapped, expires_at, self.world.now()).await?;
        store::people::wrapped(tx, person).await?.ok_or(db::Error::NotFound)
    }

    fn unwrap(&self, person: Uuid, wrapped: &[u8]) -> Option<RootKey> {
        let opened = self.root.open(&wrapping(person), wrapped).ok()?;
        opened.expose().as_slice().try_into().ok().map(RootKey::new)
    }

    fn recall(&self, person: Uuid) -> Option<RootKey> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&person).cloned()
    }

    /// Whom all strangers of a day are: an id that nobody else has.
    fn strangers_of(&self, at: Timestamp) -> Uuid {
        let day = at.as_seconds().div_euclid(i64::try_from(SECONDS_PER_DAY).unwrap_or(i64::MAX));
        let mac = keyring::mac(self.strangers.expose(), &[&day.to_be_bytes()]);
        uuid::Builder::from_custom_bytes(mac.first_chunk().copied().unwrap_or_default()).into_uuid()
    }
}

fn remembered(keys: &HashMap<Uuid, RootKey>, event: &Event) -> Remembered {
    let (Some(person), Some(sealed)) = (event.person_id, &event.personal) else { return Remembered::Nothing };
    let opened = keys.get(&person).and_then(|key| key.open(&purpose(event.id), sealed).ok());
    let personal: Option<Personal> = opened.and_then(|plain| serde_json::from_slice(plain.expose()).ok());
    personal.map_or(Remembered::Erased, Remembered::Known)
}

/// What is sealed for one entry does not open in another.
fn purpose(id: EventId) -> String {
    format!("audit-personal:{id}")
}

fn wrapping(person: Uuid) -> String {
    format!("audit-person:{person}")
}
