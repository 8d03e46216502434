//! How many streams each account has open on this node, as the wire sees it.
//!
//! A domain ends the stream of a client that reads nothing, but HTTP/2 keeps it open until the client takes the last
//! words or goes. Without a bound of its own one account could leave such streams behind until nobody gets one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::AccountId;

/// The streams of all accounts.
#[derive(Clone)]
pub(super) struct Places {
    each_max: usize,
    taken: Arc<Mutex<HashMap<AccountId, usize>>>,
}

/// One stream of an account; free again when it is dropped.
pub(super) struct Place {
    account: AccountId,
    places: Places,
}

impl Places {
    /// None taken, `each_max` for each account.
    pub(super) fn new(each_max: usize) -> Self {
        Self { each_max, taken: Arc::default() }
    }

    /// Takes a place, unless the account has all of its own.
    pub(super) fn take(&self, account: AccountId) -> Option<Place> {
        let mut taken = self.taken();
        let count = taken.get(&account).copied().unwrap_or(0);
        if count >= self.each_max {
            return None;
        }
        taken.insert(account, count.saturating_add(1));
        Some(Place { account, places: self.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.account) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_places_and_nothing_is_left_behind() {
        let (ada, bob) = (AccountId::mint(1, &[1; 10]), AccountId::mint(1, &[2; 10]));
        let places = Places::new(2);
        let (first, second) = (places.take(ada).unwrap(), places.take(ada).unwrap());
        assert!(places.take(ada).is_none());
        assert!(places.take(bob).is_some());
        drop(first);
        assert!(places.take(ada).is_some());
        drop(second);
        assert!(places.taken().is_empty());
    }
}
