//! Accounts and organisations as values, and the words of this domain.

pub mod key;
pub mod organization;

use serde::{Deserialize, Serialize};

use crate::base::{AccountId, OrganizationId, Timestamp};
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
        /// Somebody who runs the platform ended it.
        Revoked = "revoked",
        /// The service account that it was for is gone.
        Deleted = "deleted",
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
