//! How long an organisation keeps what is said, and what goes when that time is over.

use uuid::Uuid;

use super::Service;
use super::threads::check_etag_of;
use crate::auth::{self, Caller};
use crate::base::{OrganizationId, Timestamp};
use crate::chat::error::Error;
use crate::chat::model::plan::Allowed;
use crate::chat::model::policy::{Policy, PolicyChange};
use crate::chat::model::{MessageId, ThreadId};
use crate::chat::store;
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

/// How many organisations, and how many messages of one, are looked up at a time.
const AT_ONCE: i64 = 100;
const SCOPE: Scope = Scope::System("chat.retention");

/// What is to change about how long an organisation keeps what is said.
#[derive(Clone, Debug)]
pub struct UpdateChatPolicy {
    /// The organisation; the caller's personal one when none.
    pub organization_id: Option<OrganizationId>,
    /// What changes.
    pub change: PolicyChange,
    /// The version that the caller has seen; empty for whichever it is.
    pub etag: String,
}

/// An organisation, and what it has decided.
#[derive(Clone, Debug)]
pub struct PolicyOf {
    /// The organisation.
    pub organization_id: OrganizationId,
    /// What it has decided.
    pub policy: Policy,
}

impl Service {
    /// What an organisation has decided, for its members; why it holds what is said is for those who run it.
    pub async fn chat_policy(
        &self,
        caller: &Caller,
        organization_id: Option<OrganizationId>,
    ) -> Result<PolicyOf, Error> {
        let organization_id = self.organization(caller, organization_id).await?;
        let mut conn = self.db.conn(Scope::Organization(organization_id)).await?;
        let role = auth::access::member(&mut conn, caller, organization_id).await?;
        let policy = store::policy(&mut conn, organization_id).await?;
        let policy = if role.manages() { policy } else { policy.discreet() };
        Ok(PolicyOf { organization_id, policy })
    }

    /// What an organisation may have in its conversations, for its members.
    pub async fn chat_limits(
        &self,
        caller: &Caller,
        organization_id: Option<OrganizationId>,
    ) -> Result<Allowed, Error> {
        let organization_id = self.organization(caller, organization_id).await?;
        self.outside.files.allowance.allowed(organization_id).await
    }

    /// Decides how long an organisation keeps what is said, and whether it may lose anything.
    pub async fn update_chat_policy(
        &self,
        caller: &Caller,
        command: UpdateChatPolicy,
        key: Option<&RequestKey>,
    ) -> Result<PolicyOf, Error> {
        let organization_id = command.organization_id.map_or_else(|| caller.personal(), Ok)?;
        let mut tx = self.db.begin(Scope::Organization(organization_id)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(policy) => return Ok(PolicyOf { organization_id, policy }),
            Claim::New(slot) => slot,
        };
        auth::access::owner(&mut tx, caller, organization_id).await?;
        let now = self.world.now();
        let before = store::lock_policy(&mut tx, organization_id, now).await?;
        check_etag_of(&command.etag, before.version)?;
        let policy = before.changed(command.change);
        store::set_policy(&mut tx, organization_id, &policy, now).await?;
        let entry = caller.entry("chat.update_policy").of(organization_id);
        self.outside.auth.audit().record(&mut tx, entry.changed(&before, &policy)).await?;
        slot.store(&mut tx, &policy).await?;
        tx.commit().await?;
        Ok(PolicyOf { organization_id, policy })
    }

    /// Empties the messages whose time is over, in every organisation that keeps them for a time; tells how many.
    pub async fn forget_outdated(&self) -> Result<u64, Error> {
        let (mut after, mut count) = (OrganizationId::from_uuid(Uuid::nil()), 0_u64);
        loop {
            let organizations = {
                let mut conn = self.db.conn(SCOPE).await?;
                store::forgetful(&mut conn, after, AT_ONCE).await?
            };
            let Some(last) = organizations.last() else { return Ok(count) };
            after = *last;
            for organization_id in organizations {
                count = count.saturating_add(self.forget_outdated_of(organization_id).await?);
            }
        }
    }

    async fn forget_outdated_of(&self, home: OrganizationId) -> Result<u64, Error> {
        let (mut after, mut count) = ((Timestamp::from_micros(0), MessageId::from_uuid(Uuid::nil())), 0_u64);
        loop {
            let found = {
                let mut conn = self.db.conn(Scope::Organization(home)).await?;
                let policy = store::policy(&mut conn, home).await?;
                let Some(until) = policy.kept_since(self.world.now()) else { return Ok(count) };
                store::outdated_messages(&mut conn, home, until, after, AT_ONCE).await?
            };
            let Some((_, id, at)) = found.last() else { return Ok(count) };
            after = (*at, *id);
            for (thread_id, message_id, _) in found {
                count = count.saturating_add(u64::from(self.forget(home, thread_id, message_id).await?));
            }
        }
    }

    /// Empties one message, and says so to nobody: its time is no news. Whether it was there to be emptied.
    async fn forget(
        &self,
        home: OrganizationId,
        thread_id: ThreadId,
        message_id: MessageId,
    ) -> Result<bool, Error> {
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        // Whoever edits it, or holds what there is, is waited for; in this order, see `not_held`.
        let there = store::lock_thread(&mut tx, home, thread_id).await?;
        let policy = store::lock_policy(&mut tx, home, self.world.now()).await?;
        let message = store::message(&mut tx, home, message_id).await?;
        let message = message.filter(|message| there && message.deleted_at.is_none());
        let outdated = |at| policy.kept_since(self.world.now()).is_some_and(|since| at < since);
        let Some(message) = message.filter(|message| outdated(message.created_at)) else { return Ok(false) };
        self.withdraw(&mut tx, home, message).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// That an organisation may lose what is said in it. Whoever begins a hold waits until this transaction ends, so that
/// nothing goes any more once it has begun. Asked behind the lock on a thread, where there is one: two that took these
/// locks in other orders would wait for each other.
pub(in crate::chat) async fn not_held(
    tx: &mut Tx,
    organization_id: OrganizationId,
    now: Timestamp,
) -> Result<(), Error> {
    let held = store::lock_policy(tx, organization_id, now).await?.is_held();
    if held { Err(Error::LegalHold) } else { Ok(()) }
}
