//! Whether sessions and API keys still stand, remembered for a few seconds.
//!
//! Every authenticated call asks. What is said of sessions here holds for keys too. A session that was ended elsewhere
//! is refused here once the memory of it is too old, and one that was ended on this node at once. Standing streams are
//! looked at every two seconds; with a memory of three seconds nothing outlives its session by more than five.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::{AccountId, SessionId, Timestamp};

use super::store::session::Standing;

/// Sessions, or keys, that are remembered. Beyond this the memory begins anew, which costs a query per session.
const SESSIONS_MAX: usize = 50_000;

/// What was read of sessions, or of other credentials `K`, and when.
#[derive(Debug)]
pub struct Standings<K = SessionId, S = Standing> {
    ttl: Duration,
    memory: Mutex<Memory<K, S>>,
}

#[derive(Debug)]
struct Memory<K, S> {
    /// Counts what was forgotten, so that an answer that was on its way meanwhile is not remembered.
    epoch: u64,
    sessions: HashMap<K, (Timestamp, Option<S>)>,
}

/// A promise to remember an answer, made before the question is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    epoch: u64,
    at: Timestamp,
}

/// What is remembered of a session.
#[derive(Clone, Copy, Debug)]
pub enum Recall<S = Standing> {
    /// This was read lately: a session, or that there is none that stands.
    Known(Option<S>),
    /// Nothing: ask, then [`Standings::remember`].
    Unknown(Asked),
}

impl<K: Eq + Hash, S: Clone> Standings<K, S> {
    /// Remembers answers for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, memory: Mutex::new(Memory { epoch: 0, sessions: HashMap::new() }) }
    }

    /// What is remembered of a session.
    pub fn recall(&self, session: K, now: Timestamp) -> Recall<S> {
        let memory = self.memory();
        match memory.sessions.get(&session) {
            // A clock that was set back makes everything old.
            Some((at, standing)) if now >= *at && now.since(*at) < self.ttl => {
                Recall::Known(standing.clone())
            }
            _ => Recall::Unknown(Asked { epoch: memory.epoch, at: now }),
        }
    }

    /// Remembers an answer, unless something was forgotten since the question was asked.
    pub fn remember(&self, session: K, asked: Asked, standing: Option<S>) {
        let mut memory = self.memory();
        if memory.epoch != asked.epoch {
            return;
        }
        if memory.sessions.len() >= SESSIONS_MAX {
            memory.sessions.clear();
        }
        memory.sessions.insert(session, (asked.at, standing));
    }

    /// Forgets a session, whose row was changed.
    pub fn forget(&self, session: K) {
        let mut memory = self.memory();
        memory.epoch = memory.epoch.wrapping_add(1);
        memory.sessions.remove(&session);
    }

    /// Forgets every session, because many rows were changed.
    pub fn forget_all(&self) {
        let mut memory = self.memory();
        memory.epoch = memory.epoch.wrapping_add(1);
        memory.sessions.clear();
    }

    fn memory(&self) -> MutexGuard<'_, Memory<K, S>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standings {
    /// Forgets the sessions of an account, whose row was changed.
    pub fn forget_account(&self, account: AccountId) {
        let mut memory = self.memory();
        memory.epoch = memory.epoch.wrapping_add(1);
        memory.sessions.retain(|_, (_, standing)| standing.is_none_or(|it| it.account_id != account));
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::Role;
    use crate::base::OrganizationId;

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000);

    fn session() -> SessionId {
        SessionId::mint(1, &[1; 10])
    }

    fn standing() -> Standing {
        Standing {
            account_id: AccountId::mint(1, &[2; 10]),
            role: Role::Customer,
            personal_organization_id: OrganizationId::mint(1, &[3; 10]),
            expires_at: START.plus(Duration::from_secs(9_999)),
        }
    }

    fn asked(standings: &Standings) -> Asked {
        match standings.recall(session(), START) {
            Recall::Unknown(asked) => asked,
            Recall::Known(_) => panic!("nothing was to be remembered"),
        }
    }

    #[test]
    fn an_answer_is_remembered_for_its_time_and_no_longer() {
        let standings = Standings::new(Duration::from_secs(3));
        standings.remember(session(), asked(&standings), Some(standing()));
        let after = |millis| standings.recall(session(), START.plus(Duration::from_millis(millis)));
        assert!(matches!(after(2_999), Recall::Known(Some(_))));
        assert!(matches!(after(3_000), Recall::Unknown(_)));
        assert!(matches!(
            standings.recall(session(), START.minus(Duration::from_secs(1))),
            Recall::Unknown(_)
        ));
    }

    #[test]
    fn what_was_forgotten_is_not_remembered_by_a_late_answer() {
        let standings = Standings::new(Duration::from_secs(3));
        let late = asked(&standings);
        standings.forget(session());
        standings.remember(session(), late, Some(standing()));
        assert!(matches!(standings.recall(session(), START), Recall::Unknown(_)));
    }
}
