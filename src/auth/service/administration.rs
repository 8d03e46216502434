//! What administrators do with accounts: find them, keep them out, let them in again, give them a role.
//!
//! Whether the caller is an administrator is asked again inside each transaction that changes something, with all
//! administrators locked: of two that take each other's role at once, the second is none any more.

use std::collections::BTreeSet;

use crate::audit::Risk;
use crate::auth::model::{AdministeredAccount, Session, SessionEnd};
use crate::auth::store::administration::{self, Membership};
use crate::auth::{Caller, Email, Error, Role, store};
use crate::base::{AccountId, SessionId, Timestamp, Violations, text};
use crate::db::{Conn, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

use super::{Service, operator};

const REASON_CHARS_MAX: usize = 500;
const PREFIX_CHARS_MAX: usize = 254;
/// How many sessions and organisations of one account are told.
const TOLD_MAX: i64 = 200;
const SCOPE: Scope = Scope::System("administration");
/// No account was made later. PostgreSQL's times reach further.
const END_OF_TIME: Timestamp = Timestamp::from_seconds(253_402_300_800);

/// Which accounts are wanted. Not to be printed, as it may tell of a person.
#[derive(Clone, Default)]
pub struct Filter {
    /// Those with this role.
    pub role: Option<Role>,
    /// Those that are suspended, or those that are not.
    pub suspended: Option<bool>,
    /// Those whose address begins so.
    pub prefix: String,
    /// Those that were made at this time or later.
    pub from: Option<Timestamp>,
    /// Those that were made before this time.
    pub until: Option<Timestamp>,
}

/// All that is told of an account. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct Told {
    /// The account.
    pub account: AdministeredAccount,
    /// Its sessions that stand, the newest first.
    pub sessions: Vec<Session>,
    /// The organisations that it belongs to.
    pub memberships: Vec<Membership>,
}

impl Service {
    /// Accounts by their addresses, from behind `after`; at most `limit`.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::Invalid`].
    pub async fn list_accounts(
        &self,
        caller: &Caller,
        filter: &Filter,
        after: Option<String>,
        limit: i64,
    ) -> Result<Vec<AdministeredAccount>, Error> {
        operator::admit(caller)?;
        let mut violations = Violations::new();
        let prefix = text::optional_line(&mut violations, "email_prefix", &filter.prefix, PREFIX_CHARS_MAX);
        violations.check(prefix.is_ascii(), "email_prefix", "must be plain ASCII, as all addresses are");
        violations.finish()?;
        let wanted = administration::Wanted {
            roles: filter
                .role
                .map_or_else(|| vec![Role::Customer, Role::Developer, Role::Admin], |it| vec![it]),
            standing: filter.suspended != Some(true),
            suspended: filter.suspended != Some(false),
            prefix: prefix.to_ascii_lowercase(),
            from: filter.from.unwrap_or(Timestamp::from_seconds(0)),
            until: filter.until.unwrap_or(END_OF_TIME),
            after: after.unwrap_or_default(),
        };
        let mut conn = self.db.conn(SCOPE).await?;
        Ok(administration::list(&mut conn, &wanted, limit).await?)
    }

    /// An account with its sessions and organisations.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::NoSuchAccount`].
    pub async fn administered_account(&self, caller: &Caller, id: AccountId) -> Result<Told, Error> {
        operator::admit(caller)?;
        let mut conn = self.db.conn(SCOPE).await?;
        let account = found(&mut conn, id).await?;
        let first = SessionId::from_uuid(uuid::Uuid::max());
        let sessions = store::session::list(&mut conn, id, self.world.now(), first, TOLD_MAX).await?;
        let memberships = administration::memberships(&mut conn, id, TOLD_MAX).await?;
        Ok(Told { account, sessions, memberships })
    }

    /// The account that has this address.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::AccountNotFound`], [`Error::Invalid`].
    pub async fn account_by_email(&self, caller: &Caller, email: &str) -> Result<AccountId, Error> {
        operator::admit(caller)?;
        let email = Email::only("email", email)?;
        let mut conn = self.db.conn(SCOPE).await?;
        let found = store::account::by_email(&mut conn, &email).await?;
        found.map(|(id, _)| id).ok_or(Error::AccountNotFound)
    }

    /// Keeps an account out: its sessions end with their streams, and nothing acts for it any more.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::NoSuchAccount`], [`Error::OwnAccount`], [`Error::LastAdministrator`],
    /// [`Error::Invalid`].
    pub async fn suspend_account(
        &self,
        caller: &Caller,
        id: AccountId,
        reason: &str,
        key: Option<&RequestKey>,
    ) -> Result<AdministeredAccount, Error> {
        operator::admit(caller)?;
        let mut violations = Violations::new();
        let reason = text::line(&mut violations, "reason", reason, REASON_CHARS_MAX);
        violations.finish()?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<AdministeredAccount>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(account) => return Ok(account),
            Claim::New(slot) => slot,
        };
        let administrators = self.check_administrator(&mut tx, caller).await?;
        let before = found(&mut tx, id).await?;
        check_other(caller, id)?;
        check_not_last(&administrators, id)?;
        if before.suspension.is_none() {
            let now = self.world.now();
            store::administration::suspend(&mut tx, id, &reason, now).await?;
            store::session::end_each(&mut tx, id, None, SessionEnd::Suspended, now).await?;
        }
        let after = found(&mut tx, id).await?;
        // Kept also when it changed nothing: somebody with power said so.
        let entry = caller.entry("auth.suspend_account").on("account", id).risk(Risk::High);
        self.audit.record(&mut tx, entry.changed(&before.suspension, &after.suspension)).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        // Programs that act in its name stop with it. This forgets its sessions too.
        self.forget_programs();
        Ok(after)
    }

    /// Lets a suspended account in again. Its sessions stay ended.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::NoSuchAccount`].
    pub async fn reinstate_account(
        &self,
        caller: &Caller,
        id: AccountId,
        key: Option<&RequestKey>,
    ) -> Result<AdministeredAccount, Error> {
        operator::admit(caller)?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<AdministeredAccount>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(account) => return Ok(account),
            Claim::New(slot) => slot,
        };
        self.check_administrator(&mut tx, caller).await?;
        let before = found(&mut tx, id).await?;
        store::administration::reinstate(&mut tx, id).await?;
        let after = found(&mut tx, id).await?;
        // Kept also when it changed nothing: somebody with power said so.
        let entry = caller.entry("auth.reinstate_account").on("account", id).risk(Risk::High);
        self.audit.record(&mut tx, entry.changed(&before.suspension, &after.suspension)).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        self.forget_programs();
        Ok(after)
    }

    /// Gives an account a role, which counts everywhere within seconds.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::NoSuchAccount`], [`Error::OwnAccount`], [`Error::LastAdministrator`],
    /// [`Error::AddressNotVerified`].
    pub async fn set_account_role(
        &self,
        caller: &Caller,
        id: AccountId,
        role: Role,
        key: Option<&RequestKey>,
    ) -> Result<AdministeredAccount, Error> {
        operator::admit(caller)?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<AdministeredAccount>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(account) => return Ok(account),
            Claim::New(slot) => slot,
        };
        let administrators = self.check_administrator(&mut tx, caller).await?;
        let before = found(&mut tx, id).await?;
        check_other(caller, id)?;
        let was = before.account.role;
        if was == Role::Admin && role != Role::Admin {
            check_not_last(&administrators, id)?;
        }
        // Whoever registered an address that is somebody else's must not be given the platform by mistake. The operator
        // at the command line holds it anyway.
        let promoted = role == Role::Admin && was != Role::Admin;
        if promoted && !before.account.email_verified && caller.purpose().is_none() {
            return Err(Error::AddressNotVerified);
        }
        if was != role {
            store::administration::set_role(&mut tx, id, role, self.world.now()).await?;
        }
        let after = found(&mut tx, id).await?;
        let entry = caller.entry("auth.set_account_role").on("account", id).risk(Risk::High);
        self.audit.record(&mut tx, entry.changed(&was, &role)).await?;
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        self.standings.forget_account(id);
        Ok(after)
    }

    /// That the caller is an administrator at this very moment; locks and tells all that are.
    pub(super) async fn check_administrator(
        &self,
        tx: &mut Tx,
        caller: &Caller,
    ) -> Result<BTreeSet<AccountId>, Error> {
        let all: BTreeSet<AccountId> =
            store::administration::lock_administrators(tx).await?.into_iter().collect();
        match caller.account {
            Some(account) if !all.contains(&account) => Err(Error::NotAnAdministrator),
            _ => Ok(all),
        }
    }
}

async fn found(conn: &mut impl Conn, id: AccountId) -> Result<AdministeredAccount, Error> {
    store::account::administered(conn, id).await?.ok_or(Error::NoSuchAccount)
}

/// Nobody can lock themselves out by a slip, nor give themselves anything.
fn check_other(caller: &Caller, id: AccountId) -> Result<(), Error> {
    if caller.account == Some(id) { Err(Error::OwnAccount) } else { Ok(()) }
}

fn check_not_last(administrators: &BTreeSet<AccountId>, id: AccountId) -> Result<(), Error> {
    let last = administrators.len() == 1 && administrators.contains(&id);
    if last { Err(Error::LastAdministrator) } else { Ok(()) }
}
