//! Another password: by a link that went to the address, or by whoever knows the present one.
//!
//! Either way everybody else is signed out, and the owner gets a letter.

use crate::audit::Risk;
use crate::auth::hashing::Verdict;
use crate::auth::letters::{self, Deed};
use crate::auth::model::{LinkPurpose, SessionEnd};
use crate::auth::password::{self, Context};
use crate::auth::profile::DISPLAY_NAME_CHARS_MAX;
use crate::auth::store::password::Owner;
use crate::auth::{Caller, Email, Error, store};
use crate::base::{AccountId, Fault as _, Secret, Timestamp, Violations};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

use super::Service;
use super::link::token_hash;

const SCOPE: Scope = Scope::System("passwords");
const NEW: &str = "new_password";
const CURRENT: &str = "current_password";

/// Somebody who forgot the password chooses another. Not to be printed.
#[derive(Clone)]
pub struct ResetPassword {
    /// What the link carried.
    pub token: Secret<String>,
    /// The password to be.
    pub new_password: Secret<String>,
}

/// Somebody who knows the password chooses another. Not to be printed.
#[derive(Clone)]
pub struct ChangePassword {
    /// The password that is.
    pub current_password: Secret<String>,
    /// The password to be.
    pub new_password: Secret<String>,
}

impl Service {
    /// Gives an account another password, by a link that went to its address. All its sessions end.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`] when the link was used, has expired, or is none; [`Error::Invalid`] when the password is
    /// not taken, and the link works still; [`Error::HashingBusy`].
    pub async fn reset_password(
        &self,
        caller: &Caller,
        command: ResetPassword,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        check_bounds(NEW, &command.new_password)?;
        let hash = token_hash(&command.token).ok_or(Error::LinkInvalid)?;
        let holder = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::link::holder(&mut conn, &hash, LinkPurpose::ResetPassword, self.world.now()).await?
        };
        let Some(holder) = holder else { return self.replayed(caller, key, Error::LinkInvalid).await };
        let email = Email::stored(holder.email);
        self.check_new(&command.new_password, &email, &holder.display_name).await?;
        let password_hash = self.hashing.hash(command.new_password, &self.world).await?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let now = self.world.now();
        // Here one of two that use the same link at once is told that it is used.
        let taken = store::link::take(&mut tx, &hash, LinkPurpose::ResetPassword, now).await?;
        let (account, email) = taken.ok_or(Error::LinkInvalid)?;
        // Whoever reads the address has proved it, too.
        let verified = store::link::verify_email(&mut tx, account, &email, now).await?;
        if !verified || !store::password::replace(&mut tx, account, password_hash, None, now).await? {
            return Err(Error::LinkInvalid);
        }
        store::session::end_of(&mut tx, account, SessionEnd::PasswordChanged, now).await?;
        // Whoever was made to wait by strangers' guesses gets in from here.
        self.guessed_right(&mut tx, &self.guesses.keys(email.as_str(), caller.origin.peer)).await?;
        self.tell_of_change(&mut tx, caller, &email, now).await?;
        let entry =
            caller.entry("auth.reset_password").by(account, None).on("account", account).risk(Risk::High);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        self.standings.forget_all();
        Ok(())
    }

    /// Gives the caller's account another password. All its other sessions end.
    ///
    /// # Errors
    /// [`Error::CurrentPasswordWrong`]; [`Error::GuessDelayed`]; [`Error::Invalid`] when the new password is not taken;
    /// [`Error::HashingBusy`].
    pub async fn change_password(
        &self,
        caller: &Caller,
        command: ChangePassword,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let account = caller.account()?;
        check_change(&command)?;
        let owner = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::password::owner(&mut conn, account).await?.ok_or(Error::SessionRevoked)?
        };
        // Whoever holds a stolen session is not to find out the password with it.
        let guess = self.count_guess(caller, &owner.email).await;
        let guess = guess.map_err(|error| self.note_refused_change(caller, account, error))?;
        let known = self.hashing.verify(command.current_password, Some(&owner.password_hash)).await?;
        if known == Verdict::Wrong {
            let replayed = self.replayed(caller, key, Error::CurrentPasswordWrong).await;
            return replayed.map_err(|error| self.note_refused_change(caller, account, error));
        }
        let email = Email::stored(owner.email.clone());
        self.check_new(&command.new_password, &email, &owner.display_name).await?;
        let password_hash = self.hashing.hash(command.new_password, &self.world).await?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        self.change(&mut tx, caller, account, &owner, password_hash).await?;
        self.guessed_right(&mut tx, &guess).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        self.standings.forget_all();
        Ok(())
    }

    /// Whoever holds a session and does not know its password may have stolen it.
    fn note_refused_change(&self, caller: &Caller, account: AccountId, error: Error) -> Error {
        if matches!(error, Error::CurrentPasswordWrong | Error::GuessDelayed(_)) {
            let entry = caller.entry("auth.change_password").on("account", account).risk(Risk::Medium);
            self.audit.refused(entry, error.reason().name);
        }
        error
    }

    async fn change(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        account: AccountId,
        owner: &Owner,
        password_hash: String,
    ) -> Result<(), Error> {
        let now = self.world.now();
        // Changed meanwhile: what was verified is no longer what counts.
        if !store::password::replace(tx, account, password_hash, Some(&owner.password_hash), now).await? {
            return Err(Error::CurrentPasswordWrong);
        }
        store::password::end_sessions_but(tx, account, caller.session, now).await?;
        // Whoever could read the letters before is not to come back by one of them.
        store::link::void(tx, account, LinkPurpose::ResetPassword).await?;
        self.tell_of_change(tx, caller, &Email::stored(owner.email.clone()), now).await?;
        let entry = caller.entry("auth.change_password").on("account", account).risk(Risk::High);
        self.audit.record(tx, entry).await?;
        Ok(())
    }

    async fn tell_of_change(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        email: &Email,
        at: Timestamp,
    ) -> Result<(), Error> {
        let deed = Deed { at, address: caller.origin.peer, agent: &caller.origin.agent };
        self.write_to(tx, email, letters::password_changed(&self.options.public_url, &deed)).await
    }

    /// Checks a password that somebody chooses for the account of this address and name, in the queue of the hashes: a
    /// stranger can ask for it, too.
    pub(super) async fn judge(
        &self,
        violations: &mut Violations,
        field: &'static str,
        password: &Secret<String>,
        email: Option<&Email>,
        display_name: &str,
    ) -> Result<(), Error> {
        if !password::check_length(violations, field, password) {
            return Ok(());
        }
        let (password, email) = (password.clone(), email.cloned());
        let display_name: String = display_name.chars().take(DISPLAY_NAME_CHARS_MAX).collect();
        let judged = self.hashing.aside(move || {
            let mut found = Violations::new();
            let context = Context { email: email.as_ref(), display_name: &display_name };
            password::check(&mut found, field, &password, &context);
            found
        });
        violations.take_over(field, judged.await?);
        Ok(())
    }

    async fn check_new(
        &self,
        password: &Secret<String>,
        email: &Email,
        display_name: &str,
    ) -> Result<(), Error> {
        let mut violations = Violations::new();
        self.judge(&mut violations, NEW, password, Some(email), display_name).await?;
        Ok(violations.finish()?)
    }

    /// The first answer, when this is the repetition of a call that was answered; else the refusal. What the first call
    /// used up (a link, the password before) is no longer good for the second.
    async fn replayed(&self, caller: &Caller, key: Option<&RequestKey>, refusal: Error) -> Result<(), Error> {
        if key.is_none() {
            return Err(refusal);
        }
        // Rolled back when it is new: a refusal leaves its key free.
        let mut tx = self.db.begin(SCOPE).await?;
        match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => Ok(()),
            Claim::New(_) => Err(refusal),
        }
    }
}

fn check_change(command: &ChangePassword) -> Result<(), Error> {
    let mut violations = Violations::new();
    violations.check(!command.current_password.expose().is_empty(), CURRENT, "must not be empty");
    if !password::is_bounded(&command.current_password) {
        violations.add_hostile(CURRENT, format!("must have at most {} characters", password::CHARS_MAX));
    }
    password::check_length(&mut violations, NEW, &command.new_password);
    let same = !command.new_password.expose().is_empty() && command.new_password == command.current_password;
    violations.check(!same, NEW, "must not be the present password");
    Ok(violations.finish()?)
}

/// What can be said of a password before it is known whose it is to be.
fn check_bounds(field: &'static str, password: &Secret<String>) -> Result<(), Error> {
    let mut violations = Violations::new();
    password::check_length(&mut violations, field, password);
    Ok(violations.finish()?)
}
