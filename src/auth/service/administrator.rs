//! Administrators, the first one, and the one-time password that gets them in.
//!
//! The password is random, signs in once, and is worth nothing after a day. As long as no administrator has chosen a
//! password of their own, a start of the platform issues another one when the last is spent: whoever can start the
//! platform and read its data folder already holds its keys.

use crate::audit::Risk;
use crate::auth::password::Context;
use crate::auth::store::account::{Administrator, Credentials, ListedAdministrator, NewAccount};
use crate::auth::{Caller, Email, Error, Role, password, store};
use crate::base::{AccountId, Secret, Timestamp, Violations};
use crate::db::{Scope, Tx};

use super::Service;

const DISPLAY_NAME: &str = "Administrator";
const PURPOSE: &str = "first administrator";
const SCOPE: Scope = Scope::System(PURPOSE);
/// How many administrators are listed.
const LISTED_MAX: i64 = 1_000;

/// Somebody is to run the platform. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct CreateAdministrator {
    /// The address to sign in with.
    pub email: String,
    /// The password that they chose; none has one made that is good for one sign-in.
    pub password: Option<Secret<String>>,
}

/// What became of the wish to make an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// There is one more.
    Now(AccountId),
    /// They were one before; nothing was changed, not even the password.
    Before(AccountId),
}

/// How a one-time password stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneTime {
    /// The account has a password that its owner chose.
    None,
    /// It can be used.
    Unused,
    /// It was used.
    Used,
    /// It was not used in time.
    Expired,
}

/// An administrator and how they can sign in. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct SeenAdministrator {
    /// The account.
    pub account: ListedAdministrator,
    /// How their one-time password stands.
    pub one_time: OneTime,
}

impl Service {
    /// Makes another administrator. An address that has an ordinary account is refused: nobody proved whose it is, so
    /// whoever registered it first would be given the platform.
    ///
    /// A one-time password goes to `publish` before it counts, and is kept nowhere else.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotAnAdministrator`], [`Error::Setup`].
    pub async fn create_administrator(
        &self,
        caller: &Caller,
        command: CreateAdministrator,
        publish: impl FnOnce(&Secret<String>) -> std::io::Result<()> + Send,
    ) -> Result<Created, Error> {
        super::operator::admit(caller)?;
        let mut violations = Violations::new();
        let email = Email::read(&mut violations, "email", &command.email);
        if let Some(chosen) = &command.password {
            let context = Context { email: email.as_ref(), display_name: DISPLAY_NAME };
            password::check(&mut violations, "password", chosen, &context);
        }
        violations.finish()?;
        let email = email.ok_or_else(|| Error::internal("an address without a violation was not read"))?;
        if let Some(before) = self.before(&email).await? {
            return Ok(before);
        }
        let one_time = command.password.is_none();
        let password = command.password.unwrap_or_else(|| Secret::new(self.world.token()));
        let hash = self.hashing.hash(password.clone(), &self.world).await?;
        let mut tx = self.db.begin(SCOPE).await?;
        let new = self.new_administrator(email.clone(), hash, one_time);
        if !self.insert_account(&mut tx, &new).await? {
            drop(tx);
            let lost = || Error::internal("an address is taken and has no account");
            return self.before(&email).await?.ok_or_else(lost);
        }
        let entry = caller.entry("auth.create_administrator").of(new.personal_organization_id);
        let entry = entry.on("account", new.id);
        self.audit.record(&mut tx, entry.risk(Risk::High).changed(&(), &Role::Admin)).await?;
        if one_time {
            publish(&password).map_err(|error| {
                Error::Setup(format!("The one-time password could not be written: {error}."))
            })?;
        }
        tx.commit().await?;
        Ok(Created::Now(new.id))
    }

    /// The administrators, the oldest first.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`].
    pub async fn list_administrators(&self, caller: &Caller) -> Result<Vec<SeenAdministrator>, Error> {
        super::operator::admit(caller)?;
        let mut conn = self.db.conn(SCOPE).await?;
        let listed = store::account::administrators(&mut conn, LISTED_MAX).await?;
        let seen = listed.into_iter().map(|account| {
            let one_time = match (account.one_time_issued_at, account.one_time_used_at) {
                (None, _) => OneTime::None,
                (Some(_), Some(_)) => OneTime::Used,
                (issued, None) if self.is_spent(issued, None) => OneTime::Expired,
                _ => OneTime::Unused,
            };
            SeenAdministrator { account, one_time }
        });
        Ok(seen.collect())
    }

    async fn before(&self, email: &Email) -> Result<Option<Created>, Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        match store::account::by_email(&mut conn, email).await? {
            None => Ok(None),
            Some((id, Role::Admin)) => Ok(Some(Created::Before(id))),
            Some((_, Role::Customer | Role::Developer)) => Err(Error::Setup(
                "This address belongs to an ordinary account, and nobody has proved whose it is; give the \
                 administrator another one."
                    .to_owned(),
            )),
        }
    }

    /// Makes the first administrator, or issues another one-time password when the last one is spent. Tells whose it
    /// is; none when there is nothing to be issued.
    ///
    /// `publish` puts the password where only the operator reads it; it is kept nowhere else. It is called before the
    /// password counts, so that a file that cannot be written leaves nobody outside.
    ///
    /// # Errors
    /// [`Error::Setup`] when `publish` fails, or when the administrator's address belongs to an ordinary account.
    pub async fn ensure_administrator(
        &self,
        publish: impl FnOnce(&Email, &Secret<String>) -> std::io::Result<()> + Send,
    ) -> Result<Option<Email>, Error> {
        let found = self.administrator().await?;
        if found.as_ref().is_some_and(|it| !self.is_spent(it.one_time_issued_at, it.one_time_used_at)) {
            return Ok(None);
        }
        let password = Secret::new(self.world.token());
        let hash = self.hashing.hash(password.clone(), &self.world).await?;
        let mut tx = self.db.begin(SCOPE).await?;
        let (email, won) = match found {
            None => (self.administrator_email.clone(), self.insert_administrator(&mut tx, hash).await?),
            Some(admin) => {
                let won = store::account::reissue(&mut tx, &admin, hash, self.world.now()).await?;
                if won {
                    let entry = Caller::system(PURPOSE).entry("auth.reissue_one_time_password");
                    self.audit.record(&mut tx, entry.on("account", admin.id).risk(Risk::High)).await?;
                }
                (Email::stored(admin.email), won)
            }
        };
        if !won {
            drop(tx);
            return self.concede().await;
        }
        publish(&email, &password)
            .map_err(|error| Error::Setup(format!("The one-time password could not be written: {error}.")))?;
        tx.commit().await?;
        Ok(Some(email))
    }

    async fn administrator(&self) -> Result<Option<Administrator>, Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        Ok(store::account::administrator(&mut conn).await?)
    }

    async fn insert_administrator(&self, tx: &mut Tx, hash: String) -> Result<bool, Error> {
        let new = self.new_administrator(self.administrator_email.clone(), hash, true);
        if !self.insert_account(tx, &new).await? {
            return Ok(false);
        }
        let entry =
            Caller::system(PURPOSE).entry("auth.create_administrator").of(new.personal_organization_id);
        let entry = entry.on("account", new.id).risk(Risk::High).changed(&(), &Role::Admin);
        self.audit.record(tx, entry).await?;
        Ok(true)
    }

    fn new_administrator(&self, email: Email, hash: String, one_time: bool) -> NewAccount {
        let now = self.world.now();
        NewAccount {
            id: self.world.id(),
            personal_organization_id: self.world.id(),
            email,
            role: Role::Admin,
            password_hash: hash,
            one_time_issued_at: one_time.then_some(now),
            terms_version: self.current_terms().to_owned(),
            display_name: DISPLAY_NAME.to_owned(),
            at: now,
        }
    }

    /// The address was taken. By another node that started at the same time, which then holds the password?
    async fn concede(&self) -> Result<Option<Email>, Error> {
        match self.administrator().await? {
            Some(_) => Ok(None),
            None => Err(Error::Setup(
                "The address of the first administrator belongs to an ordinary account; configure another one."
                    .to_owned(),
            )),
        }
    }

    /// Refuses a one-time password that was used or is too old. Only whoever knows it comes this far.
    pub(super) fn check_one_time(&self, known: &Credentials) -> Result<(), Error> {
        if self.is_spent(known.one_time_issued_at, known.one_time_used_at) {
            return Err(Error::OneTimePasswordSpent);
        }
        Ok(())
    }

    fn is_spent(&self, issued_at: Option<Timestamp>, used_at: Option<Timestamp>) -> bool {
        let too_old = |issued: Timestamp| self.world.now() >= issued.plus(self.options.one_time_password_ttl);
        used_at.is_some() || issued_at.is_some_and(too_old)
    }

    /// Removes the file that the one-time password was written to. The sign-in does not fail for it: the password in it
    /// is worth nothing any more.
    pub(super) async fn remove_one_time_file(&self) {
        let Some(path) = &self.options.one_time_password_file else { return };
        let removed = tokio::fs::remove_file(path).await;
        if let Err(error) = &removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the file of the used one-time password could not be removed");
        }
    }
}
