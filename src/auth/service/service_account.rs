//! Service accounts: programs that are members of an organisation, and how they come by a token.
//!
//! Each has a row among the accounts like a person, so that whatever names an account can name one. It cannot sign in:
//! no password has its hash, and its address is in a domain that is reserved for being none.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::audit::Risk;
use crate::auth::model::SessionEnd;
use crate::auth::model::key::{self, Grant, KeyScope, ServiceAccount};
use crate::auth::store::account::NewAccount;
use crate::auth::store::service_account::Signer;
use crate::auth::store::session::NewSession;
use crate::auth::{Caller, Email, Error, OrganizationRole, Role, access, assertion, profile, store};
use crate::base::{AccountId, Fault as _, OrganizationId, Secret, SessionId, Timestamp, Violations};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

use super::Service;
use super::api_key::narrowed;
use super::organization::{from, lock, unseen};

/// How many service accounts an organisation may have.
pub const SERVICE_ACCOUNTS_MAX: i64 = 50;
const PROGRAM_ROLES: &str = "must be ORGANIZATION_ROLE_MEMBER or ORGANIZATION_ROLE_BILLING";
/// RFC 2606: a domain that never is one.
const NO_DOMAIN: &str = "service-accounts.invalid";
/// What assertions may be made for beside the platform's address: the method that exchanges them.
const TOKEN_METHOD: &str = "/capecontrol.auth.v1.AuthService/ExchangeServiceAccountToken";
/// Where a service account is looked for whose organisation only its id tells.
const LOCATE: Scope = Scope::System("service account is located");
const EXCHANGE: Scope = Scope::System("token of a service account");

/// A service account is wanted.
#[derive(Clone, Debug)]
pub struct CreateServiceAccount {
    /// For which organisation; the caller's own when none is named.
    pub organization: Option<OrganizationId>,
    /// What it is for.
    pub name: String,
    /// What its tokens may do.
    pub scopes: Vec<String>,
    /// What it may do as a member; none when the request names a role that there is not.
    pub role: Option<OrganizationRole>,
    /// The public half of its key pair; empty when it works with API keys only.
    pub public_key: String,
}

/// A service account's access token.
#[derive(Clone, Debug)]
pub struct ProgramToken {
    /// The token.
    pub access_token: Secret<String>,
    /// When it stops being valid.
    pub expires_at: Timestamp,
    /// What it is good for.
    pub scopes: BTreeSet<KeyScope>,
}

impl Service {
    /// Makes a service account.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`], [`Error::Limit`], [`Error::Invalid`].
    pub async fn create_service_account(
        &self,
        caller: &Caller,
        command: CreateServiceAccount,
        key: Option<&RequestKey>,
    ) -> Result<ServiceAccount, Error> {
        let (made, public_key) = self.checked_service_account(caller, command)?;
        let id = made.organization;
        // The platform's scope: the account's own row among the organisations is not this organisation's.
        let mut tx = self.db.begin(Scope::System("service account is made")).await?;
        let slot = match idempotency::claim::<ServiceAccount>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(made) => return Ok(made),
            Claim::New(slot) => slot,
        };
        let (_, role) = lock(&mut tx, caller, id).await?;
        if !role.manages() {
            return Err(Error::NotAnOwner);
        }
        if store::service_account::count(&mut tx, id).await? >= SERVICE_ACCOUNTS_MAX {
            let what = "service accounts of an organisation";
            return Err(Error::Limit { what, most: SERVICE_ACCOUNTS_MAX });
        }
        self.check_members(&mut tx, id).await?;
        self.insert_service_account(&mut tx, &made, public_key).await?;
        let entry = caller.entry("auth.create_service_account").of(id).on("account", made.id);
        self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&(), &made)).await?;
        slot.store(&mut tx, &made).await?;
        tx.commit().await?;
        Ok(made)
    }

    fn checked_service_account(
        &self,
        caller: &Caller,
        command: CreateServiceAccount,
    ) -> Result<(ServiceAccount, Option<[u8; 32]>), Error> {
        let created_by = caller.account()?;
        let organization = command.organization.map_or_else(|| caller.personal(), Ok)?;
        let mut violations = Violations::new();
        let name = profile::display_name(&mut violations, "name", &command.name);
        let scopes = key::scopes(&mut violations, "scopes", &command.scopes);
        let role = command.role.filter(|role| role.is_for_programs());
        match role {
            Some(_) => {}
            None if command.role.is_some() => violations.add_hostile("role", PROGRAM_ROLES),
            None => violations.add("role", PROGRAM_ROLES),
        }
        let public_key = (!command.public_key.trim().is_empty())
            .then(|| assertion::public_key(&command.public_key))
            .transpose()
            .map_err(|wrong| violations.add("public_key", wrong));
        violations.finish()?;
        let made = ServiceAccount {
            id: self.world.id(),
            organization,
            name,
            scopes,
            role: role.unwrap_or(OrganizationRole::Member),
            created_by,
            created_at: self.world.now(),
        };
        Ok((made, public_key.unwrap_or_default()))
    }

    async fn insert_service_account(
        &self,
        tx: &mut Tx,
        made: &ServiceAccount,
        public_key: Option<[u8; 32]>,
    ) -> Result<(), Error> {
        let new = NewAccount {
            id: made.id,
            personal_organization_id: self.world.id(),
            email: Email::stored(format!("{}@{NO_DOMAIN}", made.id)),
            role: Role::Customer,
            password_hash: self.hashing.nobodys(&self.world)?,
            one_time_issued_at: None,
            // It agrees to nothing; whoever made it did.
            terms_version: self.current_terms().to_owned(),
            display_name: made.name.clone(),
            at: made.created_at,
        };
        if !self.insert_account(tx, &new).await? {
            return Err(Error::internal("the address of a new service account is taken"));
        }
        store::member::insert(tx, made.organization, made.id, made.role, made.created_at).await?;
        Ok(store::service_account::insert(tx, made, public_key).await?)
    }

    /// The service accounts of an organisation, the oldest first, from behind `after`; at most `limit`.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`].
    pub async fn service_accounts(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        after: Option<AccountId>,
        limit: i64,
    ) -> Result<Vec<ServiceAccount>, Error> {
        let id = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(id)).await?;
        access::owner(&mut conn, caller, id).await?;
        Ok(store::service_account::list(&mut conn, id, from(after), limit).await?)
    }

    /// Ends a service account, with its keys and tokens.
    ///
    /// # Errors
    /// [`Error::ServiceAccountNotFound`], [`Error::NotAnOwner`].
    pub async fn delete_service_account(
        &self,
        caller: &Caller,
        id: AccountId,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let home = {
            let mut conn = self.db.conn(LOCATE).await?;
            store::service_account::organization_of(&mut conn, id).await?
        };
        let mut tx = self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let home = home.ok_or(Error::ServiceAccountNotFound)?;
        let locked = lock(&mut tx, caller, home).await;
        let (_, role) = locked.map_err(|error| unseen(error, Error::ServiceAccountNotFound))?;
        if !role.manages() {
            return Err(Error::NotAnOwner);
        }
        let found = store::service_account::get(&mut tx, home, id).await?;
        let before = found.ok_or(Error::ServiceAccountNotFound)?;
        self.end_service_account(&mut tx, home, id).await?;
        let entry = caller.entry("auth.delete_service_account").of(home).on("account", id);
        self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&before, &())).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        self.forget_programs();
        Ok(())
    }

    async fn end_service_account(
        &self,
        tx: &mut Tx,
        home: OrganizationId,
        id: AccountId,
    ) -> Result<(), Error> {
        let now = self.world.now();
        store::service_account::delete(tx, home, id, now).await?;
        store::api_key::revoke_of(tx, home, id, now).await?;
        store::session::end_of(tx, id, SessionEnd::Deleted, now).await?;
        store::member::delete(tx, home, id).await?;
        Ok(())
    }

    /// Ends all service accounts of an organisation.
    pub(super) async fn end_service_accounts(&self, tx: &mut Tx, home: OrganizationId) -> Result<(), Error> {
        for id in store::service_account::ids(tx, home, SERVICE_ACCOUNTS_MAX).await? {
            self.end_service_account(tx, home, id).await?;
        }
        Ok(())
    }

    /// Exchanges an assertion for an access token that is limited to the service account's organisation and scopes.
    ///
    /// # Errors
    /// [`Error::AssertionInvalid`], [`Error::AssertionReplayed`], [`Error::Invalid`].
    pub async fn exchange_assertion(
        &self,
        caller: &Caller,
        assertion: &Secret<String>,
        scopes: &[String],
        key: Option<&RequestKey>,
    ) -> Result<ProgramToken, Error> {
        let wanted = checked_exchange(assertion, scopes)?;
        let known = self.signer(assertion.expose()).await?;
        let Proof { account, organization, has, proven } = self
            .prove(assertion.expose(), known.as_ref())
            .map_err(|error| self.note_refused_assertion(caller, known.as_ref(), error))?;
        let scopes = narrowed(wanted, &has)?;
        let mut tx = self.db.begin(EXCHANGE).await?;
        let Claim::New(slot) = idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? else {
            return Err(idempotency::Error::SecretAlreadyIssued.into());
        };
        let (hash, expires_at) = (proven.jti_hash, proven.expires_at);
        let fresh =
            store::service_account::use_assertion(&mut tx, organization, account, hash, expires_at).await?;
        if !fresh {
            return Err(self.note_refused_assertion(caller, known.as_ref(), Error::AssertionReplayed));
        }
        let session: SessionId = self.world.id();
        let now = self.world.now();
        let claims = self.terms.claims(account, session, self.world.id(), now).limited(organization, &scopes);
        let expires_at = claims.expires_at();
        let (agent, address) = (caller.agent(), caller.origin.peer.map(|peer| peer.to_string()));
        let new = NewSession { id: session, account, agent, address, at: now, expires_at };
        store::session::insert(&mut tx, &new).await?;
        let access_token = Secret::new(self.keys.sign(&claims)?);
        let grant = Grant { organization, scopes: scopes.clone(), key: None };
        let origin = caller.origin.clone();
        let program = Caller::program(account, Arc::new(grant), Some(session), Some(expires_at), origin);
        let entry =
            program.entry("auth.exchange_service_account_token").of(organization).on("session", session);
        self.audit.record(&mut tx, entry).await?;
        slot.store_secret();
        tx.commit().await?;
        Ok(ProgramToken { access_token, expires_at, scopes })
    }

    /// The service account that an assertion claims to be of, if it stands.
    async fn signer(&self, assertion: &str) -> Result<Option<(AccountId, Signer)>, Error> {
        // What cannot be read is of nobody.
        let Ok(account) = assertion::claimed(assertion) else { return Ok(None) };
        let mut conn = self.db.conn(EXCHANGE).await?;
        Ok(store::service_account::signer(&mut conn, account).await?.map(|signer| (account, signer)))
    }

    /// Whose assertion this is, and what the service account may do.
    fn prove(&self, text: &str, known: Option<&(AccountId, Signer)>) -> Result<Proof, Error> {
        let account = assertion::claimed(text)?;
        let unknown = || Error::AssertionInvalid(assertion::NOT_SIGNED);
        let (_, signer) = known.ok_or_else(unknown)?;
        let public_key = signer.public_key.as_deref().and_then(|key| <[u8; 32]>::try_from(key).ok());
        let issuer = &self.options.issuer;
        let audiences = [issuer.clone(), format!("{issuer}{TOKEN_METHOD}")];
        let public_key = public_key.ok_or_else(unknown)?;
        let proven = assertion::verify(text, account, &public_key, &audiences, self.world.now())?;
        Ok(Proof { account, organization: signer.organization_id, has: signer.scopes.0.clone(), proven })
    }

    /// Somebody may be trying to be a service account, which its owner reads in the audit log if there is one.
    fn note_refused_assertion(
        &self,
        caller: &Caller,
        known: Option<&(AccountId, Signer)>,
        error: Error,
    ) -> Error {
        let mut entry = caller.entry("auth.exchange_service_account_token").risk(Risk::Medium);
        if let Some((account, signer)) = known {
            entry = entry.of(signer.organization_id).on("account", *account);
        }
        self.audit.refused(entry, error.reason().name);
        error
    }
}

/// Whose assertion it was, and what they may do.
struct Proof {
    account: AccountId,
    organization: OrganizationId,
    has: BTreeSet<KeyScope>,
    proven: assertion::Proven,
}

fn checked_exchange(assertion: &Secret<String>, scopes: &[String]) -> Result<BTreeSet<KeyScope>, Violations> {
    let mut violations = Violations::new();
    let length = assertion.expose().len();
    violations.check(length > 0, "assertion", "must not be empty");
    if length > assertion::BYTES_MAX {
        violations.add_hostile("assertion", format!("must have at most {} characters", assertion::BYTES_MAX));
    }
    let wanted = key::some_scopes(&mut violations, "scopes", scopes);
    violations.finish().map(|()| wanted)
}
