//! Who makes a call. Every operation of every service takes one of these first: nothing is done without an actor.
//!
//! It says what was proved when the call came in; what the caller may touch is decided by [`super::access`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::{self, ActorKind};
use crate::base::{AccountId, OrganizationId, SessionId, Timestamp};

use super::model::key::Grant;
use super::{Error, Role};

/// More than this of what a client calls itself is of no use in a list of devices.
pub(super) const AGENT_CHARS_MAX: usize = 200;

/// The actor of a call.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The signed-in account; none when nobody is signed in, or when the platform itself acts.
    pub account: Option<AccountId>,
    /// The session whose token came with the call.
    pub session: Option<SessionId>,
    /// The account's role on the platform; the least one when nobody is signed in.
    pub role: Role,
    /// What stands for an empty `organization_id`: a person's own organisation, or the one that a program works in.
    pub personal: Option<OrganizationId>,
    /// What a program's credential limits the call to; none when a person calls.
    pub grant: Option<Arc<Grant>>,
    /// When the token stops being valid. A standing stream ends then.
    pub expires_at: Option<Timestamp>,
    /// Where the call came from.
    pub origin: Origin,
    /// What the platform itself does, when it is the actor.
    purpose: Option<&'static str>,
    /// Whether an agent acts in the account's name.
    by_agent: bool,
}

/// Where a call came from.
#[derive(Clone, Default)]
pub struct Origin {
    /// The id under which logs and errors speak of the call.
    pub request_id: String,
    /// The address that the call came from, through trusted proxies only.
    pub peer: Option<IpAddr>,
    /// What the client calls itself.
    pub agent: String,
}

/// Addresses and client names tell of people, so that only the request id reaches the logs.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

/// What a valid token and its standing session prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The account.
    pub account: AccountId,
    /// The session.
    pub session: SessionId,
    /// The account's role.
    pub role: Role,
    /// The account's own organisation.
    pub personal: OrganizationId,
    /// When the token stops being valid.
    pub expires_at: Timestamp,
}

impl Caller {
    /// Nobody is signed in.
    #[must_use]
    pub const fn anonymous(origin: Origin) -> Self {
        Self {
            account: None,
            session: None,
            role: Role::Customer,
            personal: None,
            grant: None,
            expires_at: None,
            origin,
            purpose: None,
            by_agent: false,
        }
    }

    /// Somebody is signed in, as `proof` says.
    #[must_use]
    pub const fn signed_in(proof: Proof, origin: Origin) -> Self {
        Self {
            account: Some(proof.account),
            session: Some(proof.session),
            role: proof.role,
            personal: Some(proof.personal),
            grant: None,
            expires_at: Some(proof.expires_at),
            origin,
            purpose: None,
            by_agent: false,
        }
    }

    /// A program calls in the name of an account, within what its credential grants. It has a customer's power at most,
    /// whatever the account's role is.
    #[must_use]
    pub fn program(
        account: AccountId,
        grant: Arc<Grant>,
        session: Option<SessionId>,
        expires_at: Option<Timestamp>,
        origin: Origin,
    ) -> Self {
        Self {
            account: Some(account),
            session,
            personal: Some(grant.organization),
            grant: Some(grant),
            expires_at,
            ..Self::anonymous(origin)
        }
    }

    /// An agent acts for somebody: in their name, but with a customer's power, whatever their own role is.
    #[must_use]
    pub fn on_behalf_of(account: AccountId, personal: OrganizationId, request_id: String) -> Self {
        let origin = Origin { request_id, ..Origin::default() };
        Self { account: Some(account), personal: Some(personal), by_agent: true, ..Self::anonymous(origin) }
    }

    /// The platform itself acts, for a named purpose: a job, a sweep, the demonstration.
    #[must_use]
    pub fn system(purpose: &'static str) -> Self {
        Self { purpose: Some(purpose), ..Self::anonymous(Origin::default()) }
    }

    /// The signed-in account.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when nobody is signed in.
    pub fn account(&self) -> Result<AccountId, Error> {
        self.account.ok_or(Error::Unauthenticated)
    }

    /// The session whose token came with the call, or the API key that did.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when neither did.
    pub fn credential(&self) -> Result<Uuid, Error> {
        let key = || self.grant.as_ref().and_then(|grant| grant.key).map(|key| key.id.uuid());
        self.session.map(SessionId::uuid).or_else(key).ok_or(Error::Unauthenticated)
    }

    /// What stands for an empty `organization_id`: a person's own organisation, or the one that a program works in.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when nobody is signed in.
    pub fn personal(&self) -> Result<OrganizationId, Error> {
        self.personal.ok_or(Error::Unauthenticated)
    }

    /// Whether the caller administers the platform.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.account.is_some() && self.role == Role::Admin
    }

    /// Whether the caller may publish: developers and administrators.
    #[must_use]
    pub fn is_developer(&self) -> bool {
        self.account.is_some() && matches!(self.role, Role::Developer | Role::Admin)
    }

    /// The beginning of an entry in the audit log that tells of something this caller does.
    #[must_use]
    pub fn entry(&self, action: &'static str) -> audit::Entry {
        audit::Entry::new(action, self.actor())
    }

    /// What the client calls itself, as it is kept for the list of devices.
    #[must_use]
    pub fn agent(&self) -> String {
        self.origin.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect()
    }

    fn actor(&self) -> audit::Actor {
        let key = self.grant.as_ref().map(|grant| grant.key);
        let (kind, id, on_behalf_of) = match (self.account, self.purpose, key) {
            (account, _, Some(Some(key))) => (ActorKind::ApiKey, Some(key.id.uuid()), account),
            (account, _, Some(None)) => (ActorKind::ServiceAccount, account.map(AccountId::uuid), None),
            (account @ Some(_), _, None) if self.by_agent => (ActorKind::Agent, None, account),
            (Some(account), _, None) => (ActorKind::Account, Some(account.uuid()), None),
            (None, Some(_), None) => (ActorKind::Platform, None, None),
            (None, None, None) => (ActorKind::Stranger, None, None),
        };
        audit::Actor {
            kind,
            id,
            on_behalf_of,
            session: self.session,
            purpose: self.purpose,
            request_id: self.origin.request_id.clone(),
            address: self.origin.peer,
            agent: self.origin.agent.clone(),
        }
    }

    /// What the platform itself does; none when somebody calls.
    #[must_use]
    pub const fn purpose(&self) -> Option<&'static str> {
        self.purpose
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::auth::model::key::KeyUse;
    use crate::base::Id;

    fn origin() -> Origin {
        Origin {
            request_id: "r-1".to_owned(),
            peer: Some(IpAddr::from([203, 0, 113, 9])),
            agent: "Firefox of Ada".to_owned(),
        }
    }

    #[test]
    fn nobody_and_the_platform_hold_no_account_and_no_power() {
        for caller in [Caller::anonymous(origin()), Caller::system("test")] {
            assert!(matches!(caller.account(), Err(Error::Unauthenticated)));
            assert!(!caller.is_admin() && !caller.is_developer());
        }
    }

    #[test]
    fn an_agent_has_a_customers_power_at_most() {
        let somebody = Id::from_uuid(uuid::Uuid::nil());
        let caller = Caller::on_behalf_of(somebody, Id::from_uuid(uuid::Uuid::nil()), "m".to_owned());
        assert_eq!(caller.account().unwrap(), somebody);
        assert!(!caller.is_admin() && !caller.is_developer() && caller.purpose().is_none());
        let actor = caller.entry("tests.do_something").actor;
        assert_eq!((actor.kind, actor.id, actor.on_behalf_of), (ActorKind::Agent, None, Some(somebody)));
    }

    #[test]
    fn a_program_is_told_from_the_person_in_whose_name_it_acts() {
        let (account, organization) = (AccountId::mint(1, &[1; 10]), OrganizationId::mint(1, &[2; 10]));
        let actor = |key| {
            let grant = Arc::new(Grant { organization, scopes: BTreeSet::new(), key });
            let caller = Caller::program(account, grant, None, None, origin());
            assert!(!caller.is_admin() && !caller.is_developer());
            let actor = caller.entry("tests.do_something").actor;
            (actor.kind, actor.id, actor.on_behalf_of)
        };
        let key = KeyUse { id: Id::mint(1, &[3; 10]), generation: 1 };
        assert_eq!(actor(Some(key)), (ActorKind::ApiKey, Some(key.id.uuid()), Some(account)));
        assert_eq!(actor(None), (ActorKind::ServiceAccount, Some(account.uuid()), None));
    }

    #[test]
    fn an_address_is_not_printed() {
        let printed = format!("{:?}", Caller::anonymous(origin()));
        assert!(printed.contains("r-1"));
        assert!(!printed.contains("203.0.113.9") && !printed.contains("Ada"), "{printed}");
    }
}
