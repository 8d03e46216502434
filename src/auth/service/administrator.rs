//! The first administrator, and the one-time password that gets them in.
//!
//! The password is random, signs in once, and is worth nothing after a day. As long as no administrator has chosen a
//! password of their own, a start of the platform issues another one when the last is spent: whoever can start the
//! platform and read its data folder already holds its keys.

use crate::auth::store::account::{Administrator, Credentials, NewAccount};
use crate::auth::{Email, Error, Role, store};
use crate::base::{Secret, Timestamp};
use crate::db::{Scope, Tx};

use super::Service;

const DISPLAY_NAME: &str = "Administrator";
const SCOPE: Scope = Scope::System("first administrator");

impl Service {
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
        let now = self.world.now();
        let new = NewAccount {
            id: self.world.id(),
            email: self.administrator_email.clone(),
            role: Role::Admin,
            password_hash: hash,
            one_time_issued_at: Some(now),
            terms_version: self.current_terms().to_owned(),
            display_name: DISPLAY_NAME.to_owned(),
            at: now,
        };
        self.insert_account(tx, &new).await
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
