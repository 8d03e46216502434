//! What an entry says.

pub mod chain;
pub mod event;
pub mod refusals;

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

use crate::base::{AccountId, Id, OrganizationId, SessionId};
use crate::db::words;

use event::Personal;

words! {
    /// What kind of actor did something.
    pub enum ActorKind {
        /// A signed-in person.
        Account = "account",
        /// An agent, in the name of a person.
        Agent = "agent",
        /// A program with an API key.
        ApiKey = "api_key",
        /// A program that signs in with its own key.
        ServiceAccount = "service_account",
        /// Nobody that is known: somebody who registers or signs in.
        Stranger = "stranger",
        /// The platform itself: a job, or somebody at its command line.
        Platform = "platform",
    }
}

words! {
    /// How much a reader of the log should care.
    pub enum Risk {
        /// Daily business.
        Low = "low",
        /// Changes who may do what, or what is owed.
        Medium = "medium",
        /// Looks like an attack, or cannot be undone.
        High = "high",
    }
}

words! {
    /// What became of it.
    pub enum Outcome {
        /// It was done.
        Done = "done",
        /// It was refused.
        Refused = "refused",
    }
}

/// How much of what a client calls itself is kept, in characters.
const AGENT_CHARS_MAX: usize = 200;

/// Who did something. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct Actor {
    /// What kind of actor.
    pub kind: ActorKind,
    /// The account, API key or service account; none for strangers and the platform.
    pub id: Option<Uuid>,
    /// The person in whose name it acted, when that is not the actor.
    pub on_behalf_of: Option<AccountId>,
    /// The session of the call.
    pub session: Option<SessionId>,
    /// What the platform was about, when it is the actor.
    pub purpose: Option<&'static str>,
    /// The id under which logs speak of the call.
    pub request_id: String,
    /// Where the call came from.
    pub address: Option<IpAddr>,
    /// What the client calls itself.
    pub agent: String,
}

impl Actor {
    /// The person whom what is kept of the call tells of; none for strangers and the platform.
    #[must_use]
    pub fn person(&self) -> Option<Uuid> {
        match self.kind {
            ActorKind::Stranger | ActorKind::Platform => None,
            ActorKind::Account | ActorKind::Agent | ActorKind::ApiKey | ActorKind::ServiceAccount => {
                self.on_behalf_of.map(AccountId::uuid).or(self.id)
            }
        }
    }

    /// What is personal in it.
    #[must_use]
    pub fn personal(&self) -> Personal {
        let agent = self.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect();
        Personal { address: self.address.map(|address| address.to_canonical()), agent }
    }
}

/// What something was done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What it is, such as `account` or `api_key`.
    pub kind: &'static str,
    /// Its id.
    pub id: Uuid,
}

impl Subject {
    /// The thing of this kind with this id.
    #[must_use]
    pub const fn new<T>(kind: &'static str, id: Id<T>) -> Self {
        Self { kind, id: id.uuid() }
    }
}

/// An entry that is to be written. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct Entry {
    /// What was done, such as `auth.change_password`: the area, and a verb with its object.
    pub action: &'static str,
    /// Who did it.
    pub actor: Actor,
    /// The organisation that it concerns.
    pub organization: Option<OrganizationId>,
    /// What it was done to.
    pub subject: Option<Subject>,
    /// How much a reader should care.
    pub risk: Risk,
    /// The state before, as JSON. Only a keyed digest of it is kept.
    pub before: Option<String>,
    /// The state after, likewise.
    pub after: Option<String>,
}

impl Entry {
    /// An entry of daily business that concerns no organisation.
    #[must_use]
    pub const fn new(action: &'static str, actor: Actor) -> Self {
        Self { action, actor, organization: None, subject: None, risk: Risk::Low, before: None, after: None }
    }

    /// The account that the caller proved to be in this very call, such as by signing in.
    #[must_use]
    pub const fn by(mut self, account: AccountId, session: Option<SessionId>) -> Self {
        self.actor.kind = ActorKind::Account;
        self.actor.id = Some(account.uuid());
        self.actor.session = session;
        self
    }

    /// The organisation that it concerns.
    #[must_use]
    pub const fn of(mut self, organization: OrganizationId) -> Self {
        self.organization = Some(organization);
        self
    }

    /// What it was done to.
    #[must_use]
    pub const fn on<T>(mut self, kind: &'static str, id: Id<T>) -> Self {
        self.subject = Some(Subject::new(kind, id));
        self
    }

    /// How much a reader should care.
    #[must_use]
    pub const fn risk(mut self, risk: Risk) -> Self {
        self.risk = risk;
        self
    }

    /// The states before and after. `&()` stands for a state in which the subject was not there.
    #[must_use]
    pub fn changed(mut self, before: &impl Serialize, after: &impl Serialize) -> Self {
        self.before = serde_json::to_string(before).ok();
        self.after = serde_json::to_string(after).ok();
        self
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("action", &self.action).finish_non_exhaustive()
    }
}
