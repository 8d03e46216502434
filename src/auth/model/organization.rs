//! Members and invitations as values, and what a role may do to another.

use serde::{Deserialize, Serialize};

use crate::auth::{Email, OrganizationRole};
use crate::base::{AccountId, Id, OrganizationId, Timestamp};
use crate::db::words;

/// The id of an invitation.
pub type InvitationId = Id<Invitation>;

words! {
    /// Why an invitation is over.
    pub enum InvitationEnd {
        /// Somebody joined with it.
        Accepted = "accepted",
        /// It was taken back.
        Revoked = "revoked",
        /// The same address was invited again.
        Replaced = "replaced",
        /// The organisation was closed.
        Closed = "closed",
    }
}

/// Somebody who belongs to an organisation. Not to be printed, as it tells of a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The account.
    pub account: AccountId,
    /// Its address.
    pub email: Email,
    /// The name to show.
    pub display_name: String,
    /// What the member may do.
    pub role: OrganizationRole,
    /// Whether it is a program.
    pub service_account: bool,
    /// When the member joined.
    pub created_at: Timestamp,
}

/// That an address was asked to join. Not to be printed, as it tells of a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The organisation.
    pub organization: OrganizationId,
    /// The address.
    pub email: Email,
    /// What the new member will be able to do.
    pub role: OrganizationRole,
    /// Who asked.
    pub invited_by: AccountId,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
}

impl OrganizationRole {
    /// Whether this role decides about members, keys and the organisation itself.
    #[must_use]
    pub const fn manages(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    /// Whether this role has to do with the organisation's money.
    #[must_use]
    pub const fn bills(self) -> bool {
        matches!(self, Self::Owner | Self::Admin | Self::Billing)
    }

    /// Whether this role may give somebody who has the role `from` (none yet, for one who is invited) the role `to`
    /// (none, for one who is removed). Only an owner decides about owners, so nobody raises themselves.
    #[must_use]
    pub fn may_assign(self, from: Option<Self>, to: Option<Self>) -> bool {
        let of_owners = from == Some(Self::Owner) || to == Some(Self::Owner);
        match self {
            Self::Owner => true,
            Self::Admin => !of_owners,
            Self::Billing | Self::Member => false,
        }
    }

    /// Whether a program may have this role: it manages nothing.
    #[must_use]
    pub const fn is_for_programs(self) -> bool {
        matches!(self, Self::Billing | Self::Member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [OrganizationRole; 4] = [
        OrganizationRole::Owner,
        OrganizationRole::Admin,
        OrganizationRole::Billing,
        OrganizationRole::Member,
    ];

    #[test]
    fn only_an_owner_decides_about_owners() {
        let owner = Some(OrganizationRole::Owner);
        for role in ALL {
            let is_owner = role == OrganizationRole::Owner;
            assert_eq!(role.may_assign(owner, Some(OrganizationRole::Member)), is_owner);
            assert_eq!(role.may_assign(Some(OrganizationRole::Member), owner), is_owner);
            assert_eq!(role.may_assign(owner, None), is_owner);
            assert_eq!(role.may_assign(None, owner), is_owner);
        }
    }

    #[test]
    fn whoever_does_not_manage_assigns_nothing() {
        for role in ALL {
            for to in ALL.into_iter().filter(|to| *to != OrganizationRole::Owner) {
                assert_eq!(role.may_assign(Some(OrganizationRole::Billing), Some(to)), role.manages());
            }
        }
    }

    #[test]
    fn nobody_raises_themselves() {
        for role in ALL {
            for to in ALL.into_iter().filter(|to| *to < role) {
                assert!(!role.may_assign(Some(role), Some(to)), "{role:?} to {to:?}");
            }
        }
    }
}
