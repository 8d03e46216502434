//! Which request ids are under way on this node, so that a hasty repetition is refused at once instead of waiting for
//! the first call's transaction. Across nodes the database keeps the promise; this only answers sooner.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::base::AccountId;
use crate::idempotency::{Error, RequestKey};

type Entry = (Option<AccountId>, Arc<str>, Uuid);

/// The keys under way.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Mutex<HashSet<Entry>>>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let keys = InFlight::default();
        let key = RequestKey { method: "/m".into(), key: Uuid::from_u128(1), body_hash: [0; 32] };
        let first = keys.enter(None, key.clone()).unwrap();
        assert!(matches!(keys.enter(None, key.clone()), Err(Error::InFlight)));
        drop(first);
        assert!(keys.enter(None, key).is_ok());
    }
}
