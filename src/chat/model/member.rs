//! Who is in a thread, and what they may do.

use serde::{Deserialize, Serialize};

use super::Thread;
use super::support::Support;
use crate::auth::OrganizationRole;
use crate::base::{AccountId, Timestamp};
use crate::db;

/// How many members a thread may have.
pub const MEMBERS_MAX: i64 = 1_000;
/// How many members beside the caller a thread may be opened with.
pub const FIRST_MEMBERS_MAX: usize = 100;
/// In how large a thread it is told who is writing. In a larger one somebody always is.
pub const TYPING_MEMBERS_MAX: i64 = 100;
/// How many of the newest messages are looked at to count what is unread.
pub const UNREAD_MAX: i64 = 100;
/// How many times a message may be edited.
pub const EDITS_MAX: i64 = 100;
/// How many ways of reacting to one message an account may use.
pub const REACTIONS_MAX: i64 = 20;

db::words! {
    /// What a member may do in a thread.
    pub enum ThreadRole {
        /// Writes, and manages the thread.
        Owner = "owner",
        /// Writes.
        Member = "member",
        /// Reads only.
        Reader = "reader",
        /// Writes, as staff of the platform who took up a support thread. It is given in no other way.
        Support = "support",
    }
}

impl ThreadRole {
    /// Whether a member with this role manages the thread: its title, its members, others' messages. Whoever runs the
    /// organisation does so in every thread that they are a member of, so that none is left with nobody who can.
    #[must_use]
    pub const fn manages(self, in_organization: OrganizationRole) -> bool {
        matches!(self, Self::Owner) || in_organization.manages()
    }
}

/// A member of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, db::Row)]
pub struct ThreadMember {
    /// Who.
    pub account_id: AccountId,
    /// What they may do.
    pub role: ThreadRole,
    /// The last event that they have read.
    pub read_seq: i64,
    /// Since when.
    #[serde(rename = "joined_at")]
    pub created_at: Timestamp,
}

/// How far a member has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, db::Row)]
pub struct ReadPosition {
    /// Who.
    pub account_id: AccountId,
    /// The last event read.
    #[serde(rename = "seq")]
    pub read_seq: i64,
}

/// What a member makes of a thread, for itself alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Wants no notice of what is written.
    pub muted: bool,
    /// Has put it away.
    pub archived: bool,
    /// Wants it above the others.
    pub pinned: bool,
}

/// Which of one's preferences are to change, and to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreferenceChange {
    /// No notice.
    pub muted: Option<bool>,
    /// Put away.
    pub archived: Option<bool>,
    /// Above the others.
    pub pinned: Option<bool>,
}

/// The caller's place in a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// What the caller may do.
    pub role: ThreadRole,
    /// The last event that the caller has read.
    pub read_seq: i64,
    /// How many of the messages that came after that are others', of the newest [`UNREAD_MAX`].
    pub unread: i64,
    /// What the caller makes of it.
    pub preferences: Preferences,
}

/// A thread as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenThread {
    /// The thread.
    pub thread: Thread,
    /// The caller's place in it.
    pub seat: Seat,
    /// How it stands with a support thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<Support>,
    /// Where in a product the agent of the thread is met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
}

/// The two people of a direct thread, in one form whoever asks.
#[must_use]
pub fn direct_key(one: AccountId, other: AccountId) -> String {
    format!("{} {}", one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_the_organisation_manages_its_threads() {
        assert!(ThreadRole::Owner.manages(OrganizationRole::Member));
        assert!(!ThreadRole::Member.manages(OrganizationRole::Member));
        assert!(ThreadRole::Reader.manages(OrganizationRole::Admin));
    }

    #[test]
    fn two_people_have_one_key() {
        let (ada, eve) = (AccountId::mint(1, &[1; 10]), AccountId::mint(2, &[2; 10]));
        assert_eq!(direct_key(ada, eve), direct_key(eve, ada));
        assert_ne!(direct_key(ada, eve), direct_key(ada, ada));
    }
}
