//! The caller's own account, and the organisations that the caller belongs to.

use crate::auth::model::{Account, Organization};
use crate::auth::profile::{Change, Profile};
use crate::auth::{Caller, Error, store};
use crate::base::OrganizationId;
use crate::db::Scope;
use crate::idempotency::{self, Claim, RequestKey};

use super::Service;

/// The caller changes their profile.
#[derive(Clone, Debug)]
pub struct UpdateAccount {
    /// The fields to change; none means those that are filled in.
    pub mask: Vec<String>,
    /// What they become.
    pub profile: Profile,
    /// The state that the change was made upon; empty for whatever it is.
    pub etag: String,
}

impl Service {
    /// The caller's account.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub async fn account(&self, caller: &Caller) -> Result<Account, Error> {
        let id = caller.account()?;
        let mut conn = self.db.conn(Scope::System("own account")).await?;
        store::account::get(&mut conn, id).await?.ok_or(Error::SessionRevoked)
    }

    /// Changes the caller's profile.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every wrong field; [`Error::EtagMismatch`].
    pub async fn update_account(
        &self,
        caller: &Caller,
        command: UpdateAccount,
        key: Option<&RequestKey>,
    ) -> Result<Account, Error> {
        let id = caller.account()?;
        let change = Change::new(&command.mask, command.profile)?;
        let mut tx = self.db.begin(Scope::System("own account")).await?;
        let slot = match idempotency::claim::<Account>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(account) => return Ok(account),
            Claim::New(slot) => slot,
        };
        let mut account = store::account::get(&mut tx, id).await?.ok_or(Error::SessionRevoked)?;
        if !command.etag.is_empty() && command.etag != account.etag() {
            return Err(Error::EtagMismatch);
        }
        if !change.is_empty() {
            let before = account.profile.clone();
            account.profile = change.applied_to(account.profile);
            let now = self.world.now();
            // Two changes at once: the second is made upon a state that is no more.
            if !store::account::update_profile(&mut tx, id, account.version, &account.profile, now).await? {
                return Err(Error::EtagMismatch);
            }
            account.version = account.version.saturating_add(1);
            account.updated_at = now;
            let entry = caller.entry("auth.update_account").of(account.personal_organization);
            let entry = entry.on("account", id).changed(&before, &account.profile);
            self.audit.record(&mut tx, entry).await?;
        }
        slot.store(&mut tx, &account).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// An organisation that the caller belongs to.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`] when there is none for this caller.
    pub async fn organization(&self, caller: &Caller, id: OrganizationId) -> Result<Organization, Error> {
        let member = caller.account()?;
        let mut conn = self.db.conn(Scope::Organization(id)).await?;
        store::organization::get(&mut conn, id, member).await?.ok_or(Error::OrganizationNotFound)
    }

    /// The organisations that the caller belongs to, the oldest first, from behind `after`; at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub async fn organizations(
        &self,
        caller: &Caller,
        after: Option<OrganizationId>,
        limit: i64,
    ) -> Result<Vec<Organization>, Error> {
        let member = caller.account()?;
        let mut conn = self.db.conn(Scope::System("own organisations")).await?;
        Ok(store::organization::list(&mut conn, member, after, limit).await?)
    }
}
