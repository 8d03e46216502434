//! Organisations and who belongs to them.
//!
//! Whatever changes members, or counts them, locks the organisation's row first: of two owners who leave at the same
//! moment the second sees that the first is gone.

use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::account_log::{self, Change};
use crate::audit::Risk;
use crate::auth::model::Organization;
use crate::auth::model::organization::{Invitation, InvitationEnd, InvitationId, Member};
use crate::auth::store::organization::Locked;
use crate::auth::{Caller, Email, Error, OrganizationRole, access, letters, profile, store};
use crate::base::{AccountId, Id, OrganizationId, Secret, Violations};
use crate::db::{self, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

use super::Service;

/// How many organisations an account may belong to, its own included.
pub const ORGANIZATIONS_MAX: i64 = 50;
/// How many members an organisation may have.
pub const MEMBERS_MAX: i64 = 500;
/// How many invitations of an organisation may be open.
pub const INVITATIONS_MAX: i64 = 100;
/// How many letters an organisation may cause within a day, so that nobody's mailbox is filled through us.
pub const INVITATIONS_A_DAY: i64 = 200;
const DAY: Duration = Duration::from_hours(24);
/// Ours have 43 characters. Longer ones are not hashed.
const TOKEN_BYTES_MAX: usize = 64;
/// Where an invitation is looked for whose organisation only its token or id tells.
const LOCATE: Scope = Scope::System("invitation is located");

/// What an organisation has elsewhere on the platform that keeps it from being closed. This domain knows nothing of it.
#[async_trait]
pub trait Estate: Send + Sync + 'static {
    /// What is not settled, as the end of "while it has …"; none when it may be closed. Whatever would come to be
    /// unsettled meanwhile waits for the transaction.
    ///
    /// # Errors
    /// What the database refuses.
    async fn unsettled(
        &self,
        tx: &mut Tx,
        organization: OrganizationId,
    ) -> Result<Option<&'static str>, db::Error>;
}

/// Somebody changes an organisation.
#[derive(Clone)]
pub struct UpdateOrganization {
    /// Which.
    pub organization: OrganizationId,
    /// The fields to change; none means a name that is filled in.
    pub mask: Vec<String>,
    /// What it is to be called.
    pub name: String,
    /// The state that the change was made upon; empty for whatever it is.
    pub etag: String,
}

/// Somebody is asked to join. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct InviteMember {
    /// To which organisation.
    pub organization: OrganizationId,
    /// The address.
    pub email: String,
    /// What the new member will be able to do.
    pub role: Option<OrganizationRole>,
}

impl Service {
    /// Makes an organisation that the caller owns.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Limit`].
    pub async fn create_organization(
        &self,
        caller: &Caller,
        name: &str,
        key: Option<&RequestKey>,
    ) -> Result<Organization, Error> {
        let owner = caller.account()?;
        let name = organization_name("name", name)?;
        let mut tx = self.db.begin(Scope::System("organisation is made")).await?;
        let slot = match idempotency::claim::<Organization>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(made) => return Ok(made),
            Claim::New(slot) => slot,
        };
        self.check_belongings(&mut tx, owner).await?;
        let (id, now): (OrganizationId, _) = (self.world.id(), self.world.now());
        store::organization::insert(&mut tx, id, owner, &name, now).await?;
        let joined = Change::OrganizationJoined { organization_id: id };
        account_log::record(&mut tx, [(owner, joined)], now).await?;
        let role = OrganizationRole::Owner;
        let made = Organization { id, name, personal: false, role, version: 1, created_at: now };
        let entry =
            caller.entry("auth.create_organization").of(id).on("organization", id).changed(&(), &made);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &made).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Renames an organisation.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`], [`Error::Invalid`], [`Error::EtagMismatch`].
    pub async fn update_organization(
        &self,
        caller: &Caller,
        command: UpdateOrganization,
        key: Option<&RequestKey>,
    ) -> Result<Organization, Error> {
        let member = caller.account()?;
        let (id, name) = (command.organization, renamed(&command)?);
        let mut tx = self.db.begin(Scope::Organization(id)).await?;
        let slot = match idempotency::claim::<Organization>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(changed) => return Ok(changed),
            Claim::New(slot) => slot,
        };
        let (locked, role) = lock(&mut tx, caller, id).await?;
        if !role.manages() {
            return Err(Error::NotAnOwner);
        }
        check_etag(&command.etag, &locked)?;
        let before =
            store::organization::get(&mut tx, id, member).await?.ok_or(Error::OrganizationNotFound)?;
        let mut after = before.clone();
        if let Some(name) = name {
            store::organization::rename(&mut tx, id, &name, self.world.now()).await?;
            (after.name, after.version) = (name, before.version.saturating_add(1));
            let entry = caller.entry("auth.update_organization").of(id).on("organization", id);
            self.audit.record(&mut tx, entry.changed(&before, &after)).await?;
        }
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Closes an organisation: it keeps what it owned and loses everybody who could see it.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`], [`Error::OwnersOnly`], [`Error::PersonalOrganization`],
    /// [`Error::NotSettled`], [`Error::EtagMismatch`].
    pub async fn delete_organization(
        &self,
        caller: &Caller,
        id: OrganizationId,
        etag: &str,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin(Scope::Organization(id)).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        check_is_owner(access::member(&mut tx, caller, id).await?)?;
        // Asked first, for it locks: whoever starts a checkout takes that lock and then wants the organisation's row.
        let unsettled = match self.estate.get() {
            Some(estate) => estate.unsettled(&mut tx, id).await?,
            None => None,
        };
        let (locked, role) = lock(&mut tx, caller, id).await?;
        check_is_owner(role)?;
        if locked.personal_account_id.is_some() {
            return Err(Error::PersonalOrganization);
        }
        check_etag(etag, &locked)?;
        if let Some(what) = unsettled {
            return Err(Error::NotSettled(what));
        }
        self.close(&mut tx, id).await?;
        let entry = caller.entry("auth.delete_organization").of(id).on("organization", id).risk(Risk::High);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        self.forget_programs();
        Ok(())
    }

    /// Nobody belongs to a closed organisation, so that it does not exist for anybody: no query has to ask.
    async fn close(&self, tx: &mut Tx, id: OrganizationId) -> Result<(), Error> {
        let now = self.world.now();
        self.end_service_accounts(tx, id).await?;
        store::api_key::revoke_all(tx, id, now).await?;
        let mut ended = Vec::new();
        for (invitation_id, email) in store::invitation::end_all(tx, id, now).await? {
            let invited = store::account::id_of_verified(tx, &email).await?;
            ended.extend(invited.map(|account| (account, invitation_ended(id, invitation_id))));
        }
        let left = store::member::delete_all(tx, id).await?;
        let left = left.into_iter().map(|member| (member, Change::OrganizationLeft { organization_id: id }));
        account_log::record(tx, ended.into_iter().chain(left), now).await?;
        store::organization::close(tx, id, now).await?;
        Ok(())
    }

    /// The members of an organisation, in the order of their ids, from behind `after`; at most `limit`.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`].
    pub async fn members(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        after: Option<AccountId>,
        limit: i64,
    ) -> Result<Vec<Member>, Error> {
        let id = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(id)).await?;
        access::member(&mut conn, caller, id).await?;
        Ok(store::member::list(&mut conn, id, from(after), limit).await?)
    }

    /// Asks somebody to join, by a letter. Whether the address has an account makes no difference.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`], [`Error::OwnersOnly`], [`Error::Invalid`],
    /// [`Error::PersonalOrganization`], [`Error::AlreadyAMember`], [`Error::Limit`], [`Error::TooManyInvitations`].
    pub async fn invite_member(
        &self,
        caller: &Caller,
        command: InviteMember,
        key: Option<&RequestKey>,
    ) -> Result<Invitation, Error> {
        let invited_by = caller.account()?;
        let (email, wanted) = checked_invitation(&command)?;
        let id = command.organization;
        let mut tx = self.db.begin(Scope::Organization(id)).await?;
        let slot = match idempotency::claim::<Invitation>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(sent) => return Ok(sent),
            Claim::New(slot) => slot,
        };
        let (locked, role) = lock(&mut tx, caller, id).await?;
        check_assignment(role, None, Some(wanted))?;
        if locked.personal_account_id.is_some() {
            return Err(Error::PersonalOrganization);
        }
        if let Some((account, _)) = store::account::by_email(&mut tx, &email).await?
            && access::is_member(&mut tx, id, account).await?
        {
            return Err(Error::AlreadyAMember);
        }
        let now = self.world.now();
        let replaced = store::invitation::replace(&mut tx, id, &email, now).await?;
        self.check_invitations(&mut tx, id).await?;
        let invitation = Invitation {
            id: self.world.id(),
            organization: id,
            email,
            role: wanted,
            invited_by,
            created_at: now,
            expires_at: now.plus(self.options.invitation_ttl),
        };
        self.send_invitation(&mut tx, &invitation, &locked.name).await?;
        self.log_invitation(&mut tx, &invitation, &locked.name, replaced).await?;
        let entry = caller.entry("auth.invite_member").of(id).on("invitation", invitation.id);
        let entry = entry.risk(Risk::Medium).changed(&(), &invitation);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &invitation).await?;
        tx.commit().await?;
        Ok(invitation)
    }

    /// Tells the account that has the invited address, if it has proved that it has it.
    async fn log_invitation(
        &self,
        tx: &mut Tx,
        invitation: &Invitation,
        organization_name: &str,
        replaced: Option<InvitationId>,
    ) -> Result<(), Error> {
        let invited = store::account::id_of_verified(tx, &invitation.email).await?;
        let Some(account) = invited else { return Ok(()) };
        let id = invitation.organization;
        if let Some(replaced) = replaced {
            account_log::record(tx, [(account, invitation_ended(id, replaced))], self.world.now()).await?;
        }
        let received = Change::InvitationReceived {
            organization_id: id,
            organization_name: organization_name.to_owned(),
            invitation_id: invitation.id.uuid(),
            expires_at: invitation.expires_at,
        };
        account_log::record(tx, [(account, received)], self.world.now()).await?;
        Ok(())
    }

    async fn check_invitations(&self, tx: &mut Tx, id: OrganizationId) -> Result<(), Error> {
        let now = self.world.now();
        let (open, sent) = store::invitation::counts(tx, id, now, now.minus(DAY)).await?;
        if open >= INVITATIONS_MAX {
            return Err(Error::Limit { what: "open invitations of an organisation", most: INVITATIONS_MAX });
        }
        if sent >= INVITATIONS_A_DAY {
            return Err(Error::TooManyInvitations(INVITATIONS_A_DAY));
        }
        Ok(())
    }

    async fn send_invitation(&self, tx: &mut Tx, invitation: &Invitation, name: &str) -> Result<(), Error> {
        let token = Secret::new(self.world.token());
        let hash = token_hash(token.expose()).ok_or_else(|| Error::internal("a token is too long"))?;
        store::invitation::insert(tx, invitation, hash).await?;
        let inviter = store::member::get(tx, invitation.organization, invitation.invited_by).await?;
        let letter = letters::invitation(
            &self.options.public_url,
            &letters::Invitation {
                inviter: inviter.as_ref().map(|inviter| inviter.display_name.as_str()),
                organization: Some(name),
                token: &token,
                good_until: invitation.expires_at,
            },
        );
        self.write_to(tx, &invitation.email, letter).await
    }

    /// The open invitations of an organisation, the oldest first, from behind `after`; at most `limit`.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`].
    pub async fn invitations(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        after: Option<InvitationId>,
        limit: i64,
    ) -> Result<Vec<Invitation>, Error> {
        let id = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(id)).await?;
        access::owner(&mut conn, caller, id).await?;
        Ok(store::invitation::list_open(&mut conn, id, self.world.now(), from(after), limit).await?)
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`Error::InvitationNotFound`], [`Error::NotAnOwner`].
    pub async fn revoke_invitation(
        &self,
        caller: &Caller,
        id: InvitationId,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let home = {
            let mut conn = self.db.conn(LOCATE).await?;
            store::invitation::organization_of(&mut conn, id).await?
        };
        // A key that was used before is told as such, whether or not the id leads anywhere.
        let mut tx = self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let home = home.ok_or(Error::InvitationNotFound)?;
        access::owner(&mut tx, caller, home)
            .await
            .map_err(|error| unseen(error, Error::InvitationNotFound))?;
        let now = self.world.now();
        if let Some(email) = store::invitation::end(&mut tx, home, id, InvitationEnd::Revoked, now).await? {
            let invited = store::account::id_of_verified(&mut tx, &email).await?;
            let ended = invited.map(|account| (account, invitation_ended(home, id)));
            account_log::record(&mut tx, ended, now).await?;
            let entry = caller.entry("auth.revoke_invitation").of(home).on("invitation", id);
            self.audit.record(&mut tx, entry).await?;
        }
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Joins the organisation that a letter asked the caller to join. Only the account that has the invited address
    /// may: the letter may have been passed on, and the name that others then see is that of the address.
    ///
    /// # Errors
    /// [`Error::InvitationInvalid`], [`Error::AlreadyAMember`], [`Error::Limit`], [`Error::Invalid`].
    pub async fn accept_invitation(
        &self,
        caller: &Caller,
        token: &Secret<String>,
        key: Option<&RequestKey>,
    ) -> Result<Organization, Error> {
        let account = caller.account()?;
        let hash = token_hash(token.expose())
            .ok_or_else(|| Violations::one("token", "must be the one from the letter's link"))?;
        let mut tx = self.db.begin(Scope::System("invitation is accepted")).await?;
        let slot = match idempotency::claim::<Organization>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(joined) => return Ok(joined),
            Claim::New(slot) => slot,
        };
        let found = store::invitation::open_by_token(&mut tx, hash, self.world.now()).await?;
        let invitation = found.ok_or(Error::InvitationInvalid)?;
        let own = store::account::get(&mut tx, account).await?.ok_or(Error::SessionRevoked)?;
        if own.email != invitation.email {
            return Err(Error::InvitationInvalid);
        }
        self.join(&mut tx, account, &invitation).await?;
        let id = invitation.organization;
        let entry = caller.entry("auth.accept_invitation").of(id).on("invitation", invitation.id);
        self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&(), &invitation.role)).await?;
        let joined = store::organization::get(&mut tx, id, account).await?;
        let joined = joined.ok_or_else(|| Error::internal("a member that was inserted is not there"))?;
        slot.store(&mut tx, &joined).await?;
        tx.commit().await?;
        Ok(joined)
    }

    async fn join(&self, tx: &mut Tx, account: AccountId, invitation: &Invitation) -> Result<(), Error> {
        let (id, now) = (invitation.organization, self.world.now());
        store::organization::lock(tx, id).await?.ok_or(Error::InvitationInvalid)?;
        if access::is_member(tx, id, account).await? {
            return Err(Error::AlreadyAMember);
        }
        self.check_belongings(tx, account).await?;
        self.check_members(tx, id).await?;
        // Of two that accept, and of one that accepts and one that revokes, one comes first.
        let ended = store::invitation::end(tx, id, invitation.id, InvitationEnd::Accepted, now).await?;
        ended.ok_or(Error::InvitationInvalid)?;
        store::member::insert(tx, id, account, invitation.role, now).await?;
        let joined = Change::OrganizationJoined { organization_id: id };
        for change in [invitation_ended(id, invitation.id), joined] {
            account_log::record(tx, [(account, change)], now).await?;
        }
        Ok(())
    }

    async fn check_belongings(&self, tx: &mut Tx, account: AccountId) -> Result<(), Error> {
        if store::member::count_of(tx, account).await? >= ORGANIZATIONS_MAX {
            return Err(Error::Limit { what: "organisations of an account", most: ORGANIZATIONS_MAX });
        }
        Ok(())
    }

    pub(super) async fn check_members(&self, tx: &mut Tx, id: OrganizationId) -> Result<(), Error> {
        if store::member::count(tx, id).await? >= MEMBERS_MAX {
            return Err(Error::Limit { what: "members of an organisation", most: MEMBERS_MAX });
        }
        Ok(())
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`], [`Error::OwnersOnly`], [`Error::MemberNotFound`],
    /// [`Error::LastOwner`], [`Error::Invalid`].
    pub async fn update_member_role(
        &self,
        caller: &Caller,
        id: OrganizationId,
        account: AccountId,
        wanted: Option<OrganizationRole>,
        key: Option<&RequestKey>,
    ) -> Result<Member, Error> {
        let wanted = wanted.ok_or_else(|| Violations::one("role", ROLE))?;
        let mut tx = self.db.begin(Scope::Organization(id)).await?;
        let slot = match idempotency::claim::<Member>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(changed) => return Ok(changed),
            Claim::New(slot) => slot,
        };
        let (_, role) = lock(&mut tx, caller, id).await?;
        if !role.manages() {
            return Err(Error::NotAnOwner);
        }
        let before = store::member::get(&mut tx, id, account).await?.ok_or(Error::MemberNotFound)?;
        check_assignment(role, Some(before.role), Some(wanted))?;
        if before.service_account && !wanted.is_for_programs() {
            let says = "of a service account must be MEMBER or BILLING";
            return Err(Violations::one_hostile("role", says).into());
        }
        if wanted != OrganizationRole::Owner {
            check_last_owner(&mut tx, id, &before).await?;
        }
        let mut after = before.clone();
        if before.role != wanted {
            store::member::set_role(&mut tx, id, account, wanted).await?;
            after.role = wanted;
            let entry = caller.entry("auth.update_member_role").of(id).on("account", account);
            self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&before.role, &wanted)).await?;
        }
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Removes a member, or leaves.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`], [`Error::OwnersOnly`], [`Error::MemberNotFound`],
    /// [`Error::LastOwner`], [`Error::IsServiceAccount`].
    pub async fn remove_member(
        &self,
        caller: &Caller,
        id: OrganizationId,
        account: AccountId,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let own = caller.account()? == account;
        let mut tx = self.db.begin(Scope::Organization(id)).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let (_, role) = lock(&mut tx, caller, id).await?;
        if !own && !role.manages() {
            return Err(Error::NotAnOwner);
        }
        let member = store::member::get(&mut tx, id, account).await?.ok_or(Error::MemberNotFound)?;
        if !own {
            check_assignment(role, Some(member.role), None)?;
        }
        if member.service_account {
            return Err(Error::IsServiceAccount);
        }
        check_last_owner(&mut tx, id, &member).await?;
        store::member::delete(&mut tx, id, account).await?;
        let left = Change::OrganizationLeft { organization_id: id };
        account_log::record(&mut tx, [(account, left)], self.world.now()).await?;
        // Who comes back one day does not find old keys working again.
        store::api_key::revoke_of(&mut tx, id, account, self.world.now()).await?;
        let entry = caller.entry("auth.remove_member").of(id).on("account", account);
        self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&member.role, &())).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        self.forget_programs();
        Ok(())
    }
}

fn invitation_ended(organization_id: OrganizationId, id: InvitationId) -> Change {
    Change::InvitationEnded { organization_id, invitation_id: id.uuid() }
}

const ROLE: &str = "must be one of ORGANIZATION_ROLE_OWNER, _ADMIN, _BILLING and _MEMBER";

/// Locks an organisation for a change of its members or of what it counts, and tells what the caller may do in it by
/// then. Strangers lock nothing.
pub(super) async fn lock(
    tx: &mut Tx,
    caller: &Caller,
    id: OrganizationId,
) -> Result<(Locked, OrganizationRole), Error> {
    access::member(tx, caller, id).await?;
    let locked = store::organization::lock(tx, id).await?.ok_or(Error::OrganizationNotFound)?;
    // Whoever held the lock before may have removed the caller, or given another role.
    let role = access::member(tx, caller, id).await?;
    Ok((locked, role))
}

async fn check_last_owner(tx: &mut Tx, id: OrganizationId, member: &Member) -> Result<(), Error> {
    let is_owner = member.role == OrganizationRole::Owner;
    if is_owner && store::member::is_last_owner(tx, id, member.account).await? {
        return Err(Error::LastOwner);
    }
    Ok(())
}

fn check_is_owner(role: OrganizationRole) -> Result<(), Error> {
    match role {
        OrganizationRole::Owner => Ok(()),
        OrganizationRole::Admin => Err(Error::OwnersOnly),
        OrganizationRole::Billing | OrganizationRole::Member => Err(Error::NotAnOwner),
    }
}

fn check_assignment(
    role: OrganizationRole,
    from: Option<OrganizationRole>,
    to: Option<OrganizationRole>,
) -> Result<(), Error> {
    match role {
        _ if role.may_assign(from, to) => Ok(()),
        _ if role.manages() => Err(Error::OwnersOnly),
        _ => Err(Error::NotAnOwner),
    }
}

fn check_etag(etag: &str, locked: &Locked) -> Result<(), Error> {
    let same = etag.is_empty() || etag == crate::auth::model::etag(locked.version);
    if same { Ok(()) } else { Err(Error::EtagMismatch) }
}

fn checked_invitation(command: &InviteMember) -> Result<(Email, OrganizationRole), Error> {
    let mut violations = Violations::new();
    let email = Email::read(&mut violations, "email", &command.email);
    violations.check(command.role.is_some(), "role", ROLE);
    violations.finish()?;
    email.zip(command.role).ok_or_else(|| Error::internal("an address without a violation was not read"))
}

pub(super) fn organization_name(field: &'static str, name: &str) -> Result<String, Violations> {
    let mut violations = Violations::new();
    let name = profile::display_name(&mut violations, field, name);
    violations.finish().map(|()| name)
}

/// The new name, if the mask asks for one.
fn renamed(command: &UpdateOrganization) -> Result<Option<String>, Violations> {
    let mut violations = Violations::new();
    for path in command.mask.iter().filter(|path| !matches!(path.as_str(), "name" | "*")) {
        let path: String = path.chars().take(64).collect();
        violations.add("update_mask", format!("names `{path}`, which is not a field that can be changed"));
    }
    let asked = if command.mask.is_empty() { !command.name.is_empty() } else { violations.is_empty() };
    let name = asked.then(|| profile::display_name(&mut violations, "organization.name", &command.name));
    violations.finish().map(|()| name)
}

/// Under which an invitation's token is kept. It has 256 bits of its own, so a plain hash is enough.
fn token_hash(token: &str) -> Option<[u8; 32]> {
    let bounded = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    bounded.then(|| Sha256::digest(token.as_bytes()).into())
}

/// Before the first of a list.
pub(super) fn from<T>(after: Option<Id<T>>) -> Id<T> {
    after.unwrap_or(Id::from_uuid(uuid::Uuid::nil()))
}

/// Whoever is not a member of the organisation is told the same as about a thing that does not exist.
pub(super) fn unseen(error: Error, instead: Error) -> Error {
    if matches!(error, Error::OrganizationNotFound) { instead } else { error }
}
