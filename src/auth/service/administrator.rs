//! The first administrator, and the one-time password that gets them in.
//!
//! The password is random, signs in once, and is worth nothing after a day. As long as no administrator has chosen a
//! password of their own, a start of the platform issues another one when the last is spent: whoever can start the
//! platform and read its data folder already holds its keys.

use crate::auth::store::account::{Administrator, Credentials, NewAccount};
use crate::auth::{Email, Error, Role, store};
use crate::base::{Secret, Timestamp};
use crate::db::Scope;

use super::Service;

const DISPLAY_NAME: &str = "Administrator";
const SCOPE: Scope = Scope::System("first administrator");

impl Service {
    /// Makes the first administrator, or issues another one-time password when the last one is spent. Tells the
    /// address and the password, which is kept nowhere else; none when there is nothing to be issued.
    ///
    /// # Errors
    /// [`Error::Setup`] when the administrator's address belongs to an ordinary account.
    pub async fn ensure_administrator(&self) -> Result<Option<(Email, Secret<String>)>, Error> {
        let found = self.administrator().await?;
        if found.as_ref().is_some_and(|admin| !self.is_spent(admin.one_time_issued_at, admin.one_time_used_at)) {
            return Ok(None);
        }
        let password = Secret::new(self.world.token());
        let hash = self.hashing.hash(password.clone(), &self.world).await?;
        let issued = match found {
            None => self.insert_administrator(hash).await?,
            Some(admin) => self.reissue(&admin, hash).await?,
        };
        Ok(issued.map(|email| (email, password)))
    }

    async fn administrator(&self) -> Result<Option<Administrator>, Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        Ok(store::account::administrator(&mut conn).await?)
    }

    async fn insert_administrator(&self, hash: String) -> Result<Option<Email>, Error> {
        let email = self.administrator_email.clone();
        let now = self.world.now();
        let new = NewAccount {
            id: self.world.id(),
            email: email.clone(),
            role: Role::Admin,
            password_hash: hash,
            one_time_issued_at: Some(now),
            terms_version: self.current_terms().to_owned(),
            display_name: DISPLAY_NAME.to_owned(),
            at: now,
        };
        let mut tx = self.db.begin(SCOPE).await?;
        if self.insert_account(&mut tx, &new).await? {
            tx.commit().await?;
            return Ok(Some(email));
        }
        drop(tx);
        // Another node that started at the same time was first, and holds the password.
        if self.administrator().await?.is_some() {
            return Ok(None);
        }
        Err(Error::Setup(
            "The address of the first administrator belongs to an ordinary account; configure another one.".to_owned(),
        ))
    }

    async fn reissue(&self, admin: &Administrator, hash: String) -> Result<Option<Email>, Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let won = store::account::reissue(&mut tx, admin, hash, self.world.now()).await?;
        tx.commit().await?;
        Ok(won.then(|| Email::stored(admin.email.clone())))
    }

    /// Refuses a one-time password that was used or is too old. Only whoever knows it comes this far.
    pub(super) fn check_one_time(&self, known: &Credentials) -> Result<(), Error> {
        if self.is_spent(known.one_time_issued_at, known.one_time_used_at) {
            return Err(Error::OneTimePasswordSpent);
        }
        Ok(())
    }

    fn is_spent(&self, issued_at: Option<Timestamp>, used_at: Option<Timestamp>) -> bool {
        let too_old =
            |issued: Timestamp| self.world.now() >= issued.plus(self.options.one_time_password_ttl);
        used_at.is_some() || issued_at.is_some_and(too_old)
    }

    /// Removes the file that the one-time password was written to. The sign-in does not fail for it: the password in it
    /// is worth nothing any more.
    pub(super) async fn remove_one_time_file(&self) {
        let Some(path) = &self.options.one_time_password_file else { return };
        match tokio::fs::remove_file(path).await {
            Ok(()) => tracing::info!("the one-time password was used; its file is removed"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "the file of the used one-time password could not be removed"),
        }
    }
}
