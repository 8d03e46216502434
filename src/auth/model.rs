//! Accounts and organisations as values, and the words of this domain.

pub mod family;
pub mod rotation;

use std::net::IpAddr;
pub mod key;
pub mod organization;

use serde::{Deserialize, Serialize};

use crate::base::{AccountId, Id, OrganizationId, SessionId, Timestamp};
use crate::db::words;

use super::{Email, profile::Profile};

words! {
    /// What an account may do on the platform as a whole.
    pub enum Role {
        /// Uses agents. Every account begins as one.
        Customer = "customer",
        /// Publishes agents too.
        Developer = "developer",
        /// Runs the platform.
        Admin = "admin",
    }
}

words! {
    /// What a member may do in an organisation.
    pub enum OrganizationRole {
        /// Everything, and there is always one.
        Owner = "owner",
        /// Everything but closing the organisation and deciding who its owners are.
        Admin = "admin",
        /// Payments and invoices.
        Billing = "billing",
        /// Uses what the organisation has.
        Member = "member",
    }
}

words! {
    /// Why a session ended.
    pub enum SessionEnd {
        /// Its owner signed out.
        SignedOut = "signed_out",
        /// One of its refresh tokens was used twice.
        TokenReused = "token_reused",
        /// Its owner or somebody who runs the platform ended it.
        Revoked = "revoked",
        /// The service account that it was for is gone.
        Deleted = "deleted",
        /// The account was suspended.
        Suspended = "suspended",
        /// The password was changed or reset elsewhere.
        PasswordChanged = "password_changed",
    }
}

words! {
    /// What a link that was sent by mail is for.
    pub enum LinkPurpose {
        /// Proves that the address is read by the account's owner.
        VerifyEmail = "verify_email",
        /// Lets the account's owner choose a new password.
        ResetPassword = "reset_password",
    }
}

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The address that it signs in with.
    pub email: Email,
    /// Whether the address was proved to be its owner's.
    pub email_verified: bool,
    /// Its role on the platform.
    pub role: Role,
    /// Its own organisation.
    pub personal_organization: OrganizationId,
    /// What its owner says of themselves.
    pub profile: Profile,
    /// Counts the changes; the etag is made of it.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Account {
    /// The mark of this state of the account.
    #[must_use]
    pub fn etag(&self) -> String {
        etag(self.version)
    }
}

/// An etag for the state that `version` counts.
#[must_use]
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// An organisation as one of its members sees it. Not to be printed: a personal one bears a person's name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// Whether it is the organisation that an account was born with.
    pub personal: bool,
    /// The member's role in it.
    pub role: OrganizationRole,
    /// Counts the changes; the etag is made of it.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Organization {
    /// The mark of this state of the organisation.
    #[must_use]
    pub fn etag(&self) -> String {
        etag(self.version)
    }
}

/// An account as whoever runs the platform sees it. Not to be printed, as it tells of a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdministeredAccount {
    /// What its owner sees too.
    pub account: Account,
    /// Whether it is kept out, since when and why.
    pub suspension: Option<Suspension>,
    /// When its owner last signed in.
    pub signed_in_at: Option<Timestamp>,
}

/// That an account is kept out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Since when.
    pub at: Timestamp,
    /// Why, in the words of whoever did it.
    pub reason: String,
}

/// A session as its owner sees it: a sign-in on one device. Not to be printed, as it tells of a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What the client called itself.
    pub agent: String,
    /// The address that the sign-in came from.
    pub address: Option<IpAddr>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub used_at: Timestamp,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
}

/// Marks the id of an invitation to register.
pub enum PlatformInvitation {}
/// The id of an invitation to register.
pub type PlatformInvitationId = Id<PlatformInvitation>;

words! {
    /// Who may register.
    pub enum Registration {
        /// Anybody.
        Open = "open",
        /// Whoever holds an invitation.
        Invited = "invited",
    }
}
