//! The entries of an account's log.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::{OrganizationId, Timestamp};

/// How many entries of an account are kept.
pub const KEPT: i64 = 500;
/// How many threads are named of those in which something is unread.
pub const THREADS_NAMED_MAX: usize = 100;

/// Something that concerns one account. The names are stored: they never change their meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// The account is in a thread now.
    ThreadJoined {
        /// The tenant.
        organization_id: OrganizationId,
        /// The thread.
        thread_id: Uuid,
    },
    /// The account's role in a thread, or what it makes of it, is another.
    ThreadChanged {
        /// The tenant.
        organization_id: OrganizationId,
        /// The thread.
        thread_id: Uuid,
    },
    /// The account is in a thread no longer, or there is no such thread any more.
    ThreadLeft {
        /// The tenant.
        organization_id: OrganizationId,
        /// The thread.
        thread_id: Uuid,
    },
    /// The account belongs to an organisation now.
    OrganizationJoined {
        /// The organisation.
        organization_id: OrganizationId,
    },
    /// The account belongs to an organisation no longer, or there is no such organisation any more.
    OrganizationLeft {
        /// The organisation.
        organization_id: OrganizationId,
    },
    /// Somebody asks the account to join an organisation. The letter has what it takes to accept.
    InvitationReceived {
        /// The organisation.
        organization_id: OrganizationId,
        /// What it was called then.
        organization_name: String,
        /// The invitation.
        invitation_id: Uuid,
        /// Until when it is good.
        expires_at: Timestamp,
    },
    /// An invitation was accepted, taken back or replaced.
    InvitationEnded {
        /// The organisation.
        organization_id: OrganizationId,
        /// The invitation.
        invitation_id: Uuid,
    },
    /// Something else is unread than before.
    UnreadChanged(Unread),
}

impl Change {
    /// What of it somebody may know who sees one organisation only; nothing, where it is of another.
    #[must_use]
    pub fn within(self, organization: OrganizationId) -> Option<Self> {
        match self {
            Self::UnreadChanged(unread) => Some(Self::UnreadChanged(unread.within(organization))),
            Self::ThreadJoined { organization_id, .. }
            | Self::ThreadChanged { organization_id, .. }
            | Self::ThreadLeft { organization_id, .. }
            | Self::OrganizationJoined { organization_id }
            | Self::OrganizationLeft { organization_id }
            | Self::InvitationReceived { organization_id, .. }
            | Self::InvitationEnded { organization_id, .. } => {
                (organization_id == organization).then_some(self)
            }
        }
    }
}

/// How much an account has not read. Threads that it wants no notice of are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// In how many threads there is something.
    pub threads: i64,
    /// How many messages there are in all of them.
    pub messages: i64,
    /// The threads, those of the newest messages first, at most [`THREADS_NAMED_MAX`].
    pub of: Vec<ThreadUnread>,
}

/// How much is unread in a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadUnread {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The thread.
    pub thread_id: Uuid,
    /// How many messages.
    pub messages: i64,
}

impl Unread {
    /// The sum of these threads, of which the first are named.
    #[must_use]
    pub fn sum(mut of: Vec<ThreadUnread>) -> Self {
        let messages = of.iter().fold(0, |sum: i64, thread| sum.saturating_add(thread.messages));
        let threads = i64::try_from(of.len()).unwrap_or(i64::MAX);
        of.truncate(THREADS_NAMED_MAX);
        Self { threads, messages, of }
    }

    /// What of it is in one organisation, as far as the threads are named.
    #[must_use]
    pub fn within(mut self, organization: OrganizationId) -> Self {
        self.of.retain(|thread| thread.organization_id == organization);
        Self::sum(self.of)
    }
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position; the next one is one more.
    pub seq: i64,
    /// The epoch of the log.
    pub epoch: i64,
    /// When it was written.
    pub at: Timestamp,
    /// What changed; nothing, where the reader may not know it.
    pub change: Option<Change>,
}

/// How a log stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The position of the newest entry; 0 before the first.
    pub last_seq: i64,
    /// Which life of the log this is; 0 before the first entry.
    pub epoch: i64,
    /// What was last told to be unread.
    pub unread: Unread,
}

impl Head {
    /// The position before the oldest entry that is kept.
    #[must_use]
    pub fn cut_at(&self) -> i64 {
        self.last_seq.saturating_sub(KEPT).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(number: u8) -> OrganizationId {
        OrganizationId::mint(1, &[number; 10])
    }

    fn thread(number: u8, messages: i64) -> ThreadUnread {
        ThreadUnread { organization_id: organization(number), thread_id: Uuid::nil(), messages }
    }

    #[test]
    fn a_sum_counts_more_threads_than_it_names() {
        let unread = Unread::sum(vec![thread(1, 2); THREADS_NAMED_MAX + 1]);
        assert_eq!((unread.threads, unread.messages), (101, 202));
        assert_eq!(unread.of.len(), THREADS_NAMED_MAX);
    }

    #[test]
    fn who_sees_one_organisation_is_told_of_no_other() {
        let unread = Unread::sum(vec![thread(1, 2), thread(2, 40), thread(1, 3)]);
        let seen = Change::UnreadChanged(unread).within(organization(1));
        assert_eq!(seen, Some(Change::UnreadChanged(Unread::sum(vec![thread(1, 2), thread(1, 3)]))));
        let left = Change::OrganizationLeft { organization_id: organization(2) };
        assert_eq!(left.clone().within(organization(1)), None);
        assert_eq!(left.clone().within(organization(2)), Some(left));
    }

    #[test]
    fn the_oldest_are_cut() {
        let head = |last_seq| Head { last_seq, epoch: 1, unread: Unread::default() };
        assert_eq!([0, KEPT, KEPT + 1].map(|last| head(last).cut_at()), [0, 0, 1]);
    }
}
