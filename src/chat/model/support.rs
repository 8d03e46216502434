//! Threads in which the people of an organisation reach the platform's staff, and whom such a thread waits for.

use serde::{Deserialize, Serialize};

use super::member::ThreadRole;
use super::{Thread, ThreadId};
use crate::base::{AccountId, OrganizationId, Timestamp, Violations};
use crate::db;

db::words! {
    /// Whom a support thread waits for.
    pub enum SupportState {
        /// The platform's staff.
        Open = "open",
        /// The organisation's people.
        Waiting = "waiting",
        /// Nobody.
        Closed = "closed",
    }
}

db::words! {
    /// How urgent a support thread is, as the staff sees it.
    pub enum SupportPriority {
        /// It has time.
        Low = "low",
        /// As most are.
        Normal = "normal",
        /// Before others.
        High = "high",
        /// At once.
        Urgent = "urgent",
    }
}

/// How it stands with a support thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, db::Row)]
pub struct Support {
    /// Whom it waits for.
    pub state: SupportState,
    /// How urgent it is.
    pub priority: SupportPriority,
    /// Since when it is in this state.
    pub since: Timestamp,
}

impl Support {
    /// How a new one stands.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self { state: SupportState::Open, priority: SupportPriority::Normal, since: at }
    }

    /// How it stands once a member with this role has written. What staff writes into a closed thread leaves it closed,
    /// such as a last word of thanks.
    #[must_use]
    pub fn after_words_of(self, role: ThreadRole, at: Timestamp) -> Self {
        match (role, self.state) {
            (ThreadRole::Support, SupportState::Closed) => self,
            (ThreadRole::Support, _) => self.in_state(SupportState::Waiting, at),
            _ => self.in_state(SupportState::Open, at),
        }
    }

    /// How it stands once somebody has changed it.
    #[must_use]
    pub fn changed(self, change: &SupportChange, at: Timestamp) -> Self {
        let changed = Self { priority: change.priority.unwrap_or(self.priority), ..self };
        change.state.map_or(changed, |state| changed.in_state(state, at))
    }

    /// The time stays that of the first of several that say the same: who waits, waits since then.
    fn in_state(self, state: SupportState, at: Timestamp) -> Self {
        if self.state == state { self } else { Self { state, since: at, ..self } }
    }
}

/// What is to change about a support thread, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SupportChange {
    /// Whom it is to wait for.
    pub state: Option<SupportState>,
    /// How urgent it is to be.
    pub priority: Option<SupportPriority>,
}

impl SupportChange {
    /// Notes what is wrong with what came in. Whether staff or the others wrote last is not for anybody to say.
    pub fn check(&self, violations: &mut Violations) {
        violations.check(
            self.state != Some(SupportState::Waiting),
            "state",
            "must be SUPPORT_STATE_OPEN or SUPPORT_STATE_CLOSED; whose turn it is follows from what is written",
        );
        let said = self.state.is_some() || self.priority.is_some();
        violations.check(said, "state", "must be said, unless priority is");
    }
}

/// A support thread as the staff finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportThread {
    /// The thread.
    pub thread_id: ThreadId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Who opened it.
    pub created_by: AccountId,
    /// What it is about.
    pub title: String,
    /// How it stands.
    pub support: Support,
    /// Who of the staff has taken it up.
    pub staff: Vec<AccountId>,
}

/// Where a page of support threads goes on: after the one that is in its state since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportAfter {
    /// Since when.
    pub since: Timestamp,
    /// Which it is.
    pub thread_id: ThreadId,
}

/// That a new support thread says what it is about: its title is all that the staff sees before somebody takes it up.
pub fn check_title(violations: &mut Violations, title: &str) {
    violations.check(
        !title.is_empty(),
        "title",
        "must say what the matter is, in a thread with the support staff",
    );
}

/// How a support thread stood and stands, as the audit log keeps it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Told {
    /// Whom it waits for.
    pub state: SupportState,
    /// How urgent it is.
    pub priority: SupportPriority,
}

impl From<Support> for Told {
    fn from(support: Support) -> Self {
        Self { state: support.state, priority: support.priority }
    }
}

impl Thread {
    /// Whether it is one with the platform's staff.
    #[must_use]
    pub fn is_support(&self) -> bool {
        self.kind == super::ThreadKind::Support
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn it_waits_for_whoever_did_not_write_last() {
        let new = Support::new(at(1));
        let asked = new.after_words_of(ThreadRole::Owner, at(2));
        assert_eq!(asked, new, "who asks twice waits since the first time");
        let answered = asked.after_words_of(ThreadRole::Support, at(3));
        assert_eq!((answered.state, answered.since), (SupportState::Waiting, at(3)));
        assert_eq!(answered.after_words_of(ThreadRole::Support, at(4)), answered);
        let again = answered.after_words_of(ThreadRole::Member, at(5));
        assert_eq!((again.state, again.since), (SupportState::Open, at(5)));
    }

    #[test]
    fn a_closed_one_is_opened_by_its_people_and_not_by_the_staff() {
        let change =
            SupportChange { state: Some(SupportState::Closed), priority: Some(SupportPriority::Low) };
        let closed = Support::new(at(1)).changed(&change, at(2));
        assert_eq!(
            (closed.state, closed.priority, closed.since),
            (SupportState::Closed, SupportPriority::Low, at(2))
        );
        assert_eq!(closed.after_words_of(ThreadRole::Support, at(3)), closed);
        let open = closed.after_words_of(ThreadRole::Owner, at(3));
        assert_eq!(
            (open.state, open.priority, open.since),
            (SupportState::Open, SupportPriority::Low, at(3))
        );
    }

    #[test]
    fn a_change_says_something_and_not_whose_turn_it_is() {
        let problems = |change: SupportChange| {
            let mut violations = Violations::new();
            change.check(&mut violations);
            violations.len()
        };
        assert_eq!(problems(SupportChange::default()), 1);
        let state = |state| SupportChange { state: Some(state), priority: None };
        assert_eq!(problems(state(SupportState::Waiting)), 1);
        assert_eq!(problems(state(SupportState::Closed)), 0);
        assert_eq!(problems(SupportChange { state: None, priority: Some(SupportPriority::Urgent) }), 0);
    }
}
