//! Which organisation a thread belongs to, remembered: it never changes, and every message asks.
//!
//! It only says where to look. Whether there is such a thread, and who may see it, is asked each time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::model::ThreadId;
use crate::base::OrganizationId;

/// Threads that are remembered, some megabytes. Beyond this the memory begins anew.
const THREADS_MAX: usize = 100_000;

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Homes(Mutex<HashMap<ThreadId, OrganizationId>>);

impl Homes {
    /// The organisation of a thread, if it is remembered.
    pub(super) fn recall(&self, thread_id: ThreadId) -> Option<OrganizationId> {
        self.homes().get(&thread_id).copied()
    }

    /// Remembers what was read.
    pub(super) fn remember(&self, thread_id: ThreadId, organization_id: OrganizationId) {
        let mut homes = self.homes();
        if homes.len() >= THREADS_MAX {
            homes.clear();
        }
        homes.insert(thread_id, organization_id);
    }

    fn homes(&self) -> MutexGuard<'_, HashMap<ThreadId, OrganizationId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_has_a_bound() {
        let (homes, home) = (Homes::default(), OrganizationId::mint(1, &[1; 10]));
        let thread = |number: u64| ThreadId::mint(number, &[2; 10]);
        for number in 0..100_001 {
            homes.remember(thread(number), home);
        }
        assert_eq!(homes.recall(thread(100_000)), Some(home));
        assert_eq!(homes.homes().len(), 1);
    }
}
