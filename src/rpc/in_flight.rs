//! Which request ids are under way on this node, so that a hasty repetition is refused at once instead of waiting for
//! the first call's transaction. Across nodes the database keeps the promise; this only answers sooner.
//!
//! What identifies a request's body is kept for weeks. It is a keyed hash, so that nobody who reads a backup can try
//! passwords against the hash of a sign-in.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::base::{AccountId, Secret};
use crate::idempotency::{Error, RequestKey};
use crate::keyring::mac;

type Entry = (Option<AccountId>, Arc<str>, Uuid);

/// The keys under way.
#[derive(Clone, Debug)]
pub struct InFlight {
    keys: Arc<Mutex<HashSet<Entry>>>,
    secret: Secret<[u8; 32]>,
}

/// A key with the mark that it is under way, which goes with it.
#[derive(Debug)]
pub struct Keyed {
    key: RequestKey,
    entry: Entry,
    keys: InFlight,
}

impl std::ops::Deref for Keyed {
    type Target = RequestKey;
    fn deref(&self) -> &RequestKey {
        &self.key
    }
}

impl InFlight {
    /// None under way. All nodes share the secret.
    #[must_use]
    pub fn new(secret: Secret<[u8; 32]>) -> Self {
        Self { keys: Arc::default(), secret }
    }

    /// What identifies the body of a request.
    #[must_use]
    pub fn hash(&self, body: &[u8]) -> [u8; 32] {
        mac(self.secret.expose(), &[body])
    }

    /// Marks the key as under way until the result is dropped.
    ///
    /// # Errors
    /// [`Error::InFlight`] when it is already.
    pub fn enter(&self, account: Option<AccountId>, key: RequestKey) -> Result<Keyed, Error> {
        let entry = (account, Arc::clone(&key.method), key.key);
        if self.set().insert(entry.clone()) {
            Ok(Keyed { key, entry, keys: self.clone() })
        } else {
            Err(Error::InFlight)
        }
    }

    fn set(&self) -> std::sync::MutexGuard<'_, HashSet<Entry>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keyed {
    fn drop(&mut self) {
        self.keys.set().remove(&self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_under_way_once_and_free_again_afterwards() {
        let keys = InFlight::new(Secret::new([1; 32]));
        let key = RequestKey { method: "/m".into(), key: Uuid::from_u128(1), body_hash: [0; 32] };
        let first = keys.enter(None, key.clone()).unwrap();
        assert!(matches!(keys.enter(None, key.clone()), Err(Error::InFlight)));
        drop(first);
        assert!(keys.enter(None, key).is_ok());
    }

    #[test]
    fn a_body_is_identified_by_a_keyed_hash() {
        let hash = |secret| InFlight::new(Secret::new([secret; 32])).hash(b"password");
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
