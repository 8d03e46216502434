//! Signing in, exchanging refresh tokens, signing out.

use sha2::{Digest as _, Sha256};

use crate::audit::Risk;
use crate::auth::guess::Keys;
use crate::auth::hashing::Verdict;
use crate::auth::model::SessionEnd;
use crate::auth::store::account::Credentials;
use crate::auth::store::session::{NewSession, RefreshToken};
use crate::auth::{Caller, Email, Error, password, store};
use crate::base::fault::Code;
use crate::base::{AccountId, Fault as _, Secret, SessionId, Timestamp, Violations};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

use super::{Issued, Service};

/// Ours have 43 characters. Longer ones are not hashed.
const REFRESH_TOKEN_BYTES_MAX: usize = 64;
const FIRST_GENERATION: i64 = 1;
const SCOPE: Scope = Scope::System("sign-in");

/// How the tokens of a sign-in travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In the answer.
    Token,
    /// The request names one that this platform does not have.
    Unknown,
}

/// Somebody signs in. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct Login {
    /// The address.
    pub email: String,
    /// The password.
    pub password: Secret<String>,
    /// How the tokens travel.
    pub transport: Transport,
}

impl Service {
    /// Signs in. An unknown address and a wrong password cost the same work and get the same answer.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], [`Error::OneTimePasswordSpent`], [`Error::GuessDelayed`],
    /// [`Error::HashingBusy`], [`Error::Invalid`].
    pub async fn login(
        &self,
        caller: &Caller,
        command: Login,
        key: Option<&RequestKey>,
    ) -> Result<Issued, Error> {
        let email = check_login(&command)?;
        let guess = self.count_guess(caller, email.as_str()).await;
        let guess = guess.map_err(|error| self.note_refused_login(caller, None, error))?;
        let credentials = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::account::credentials(&mut conn, &email).await?
        };
        let stored = credentials.as_ref().map(|known| known.password_hash.as_str());
        let verdict = self.hashing.verify(command.password.clone(), stored).await?;
        let (Verdict::Right { outdated }, Some(known)) = (verdict, credentials.clone()) else {
            let account = credentials.map(|known| known.id);
            return Err(self.note_refused_login(caller, account, Error::InvalidCredentials));
        };
        if let Err(spent) = self.check_one_time(&known) {
            return Err(self.note_refused_login(caller, Some(known.id), spent));
        }
        // Missing the chance to rehash is no reason to refuse: the next sign-in has it too.
        let rehashed =
            if outdated { self.hashing.hash(command.password, &self.world).await.ok() } else { None };
        let issued = self.sign_in(caller, &known, rehashed, &guess, key).await?;
        if known.one_time_issued_at.is_some() {
            self.remove_one_time_file().await;
        }
        Ok(issued)
    }

    /// A sign-in that was refused, with the account that somebody tried to get into, if there is one.
    fn note_refused_login(&self, caller: &Caller, account: Option<AccountId>, error: Error) -> Error {
        // A fault of ours is no refusal.
        if error.reason().code != Code::Internal && !matches!(error, Error::Db(_)) {
            let entry = caller.entry("auth.login").risk(Risk::Medium);
            let entry = match account {
                Some(account) => entry.on("account", account),
                None => entry,
            };
            self.audit.refused(entry, error.reason().name);
        }
        error
    }

    async fn sign_in(
        &self,
        caller: &Caller,
        known: &Credentials,
        rehashed: Option<String>,
        guess: &Keys,
        key: Option<&RequestKey>,
    ) -> Result<Issued, Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let Claim::New(slot) = idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? else {
            return Err(idempotency::Error::SecretAlreadyIssued.into());
        };
        let now = self.world.now();
        if !store::account::signed_in(&mut tx, known, now).await? {
            return Err(Error::InvalidCredentials);
        }
        if let Some(hash) = rehashed {
            store::account::rehash(&mut tx, known, hash).await?;
        }
        self.guessed_right(&mut tx, guess).await?;
        let session: SessionId = self.world.id();
        let new = NewSession {
            id: session,
            account: known.id,
            agent: caller.agent(),
            address: caller.origin.peer.map(|peer| peer.to_string()),
            at: now,
            expires_at: self.session_expires_at(now, now),
        };
        store::session::insert(&mut tx, &new).await?;
        let issued = self.issue(&mut tx, known.id, session, FIRST_GENERATION, now).await?;
        let entry = caller.entry("auth.login").by(known.id, Some(session));
        let entry = entry.of(issued.account.personal_organization).on("session", session);
        self.audit.record(&mut tx, entry).await?;
        slot.store_secret();
        tx.commit().await?;
        Ok(issued)
    }

    /// Exchanges a refresh token for the next two tokens.
    ///
    /// A token is good once. When it comes again somebody holds a copy, and nobody can tell who is the thief: the
    /// session ends for both. Two calls that overlap are told apart from that: the token was good when the second came
    /// in, so that one is only refused ([`Error::RefreshRaced`]).
    ///
    /// # Errors
    /// [`Error::RefreshTokenInvalid`], [`Error::RefreshTokenReused`], [`Error::RefreshRaced`],
    /// [`Error::SessionRevoked`], [`Error::SessionExpired`].
    pub async fn refresh(
        &self,
        caller: &Caller,
        token: &Secret<String>,
        key: Option<&RequestKey>,
    ) -> Result<Issued, Error> {
        let hash = refresh_hash(token).ok_or(Error::RefreshTokenInvalid)?;
        let found = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::session::refresh_token(&mut conn, &hash).await?
        };
        let token = found.ok_or(Error::RefreshTokenInvalid)?;
        if token.ended_at.is_none() && token.used_at.is_none() && self.world.now() >= token.expires_at {
            return Err(Error::SessionExpired);
        }
        let mut tx = self.db.begin(SCOPE).await?;
        // First of all: the repetition of a call that was answered is not a second use of its token.
        let Claim::New(slot) = idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? else {
            return Err(idempotency::Error::SecretAlreadyIssued.into());
        };
        if token.ended_at.is_some() {
            return Err(Error::SessionRevoked);
        }
        if token.used_at.is_some() {
            // Rolled back, for the claim must not outlive a refusal; what follows must.
            drop(tx);
            self.end_session(token.session_id, SessionEnd::TokenReused).await?;
            return Err(Error::RefreshTokenReused);
        }
        let issued = self.exchange(&mut tx, &hash, &token).await?;
        slot.store_secret();
        tx.commit().await?;
        // Its expiry moved.
        self.standings.forget(token.session_id);
        Ok(issued)
    }

    async fn exchange(&self, tx: &mut Tx, hash: &[u8; 32], token: &RefreshToken) -> Result<Issued, Error> {
        let now = self.world.now();
        if !store::session::exchange(tx, hash, now).await? {
            return Err(Error::RefreshRaced);
        }
        let expires_at = self.session_expires_at(token.session_created_at, now);
        if !store::session::extend(tx, token.session_id, now, expires_at).await? {
            return Err(Error::SessionRevoked);
        }
        self.issue(tx, token.account_id, token.session_id, token.generation.saturating_add(1), now).await
    }

    /// Ends the session of a refresh token. Whatever the token is, the caller is signed out afterwards.
    ///
    /// # Errors
    /// Only what the database refuses.
    pub async fn logout(
        &self,
        caller: &Caller,
        token: &Secret<String>,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        let Some(hash) = refresh_hash(token) else { return Ok(()) };
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let found = store::session::refresh_token(&mut tx, &hash).await?;
        if let Some(token) = &found {
            let (session, now) = (token.session_id, self.world.now());
            // A session that had ended before is not ended again, and so there is nothing to tell.
            if store::session::end(&mut tx, session, SessionEnd::SignedOut, now).await? > 0 {
                let entry = caller.entry("auth.logout").by(token.account_id, Some(session));
                self.audit.record(&mut tx, entry.on("session", session)).await?;
            }
        }
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        if let Some(token) = found {
            self.standings.forget(token.session_id);
        }
        Ok(())
    }

    async fn end_session(&self, session: SessionId, reason: SessionEnd) -> Result<(), Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        store::session::end(&mut tx, session, reason, self.world.now()).await?;
        tx.commit().await?;
        self.standings.forget(session);
        tracing::warn!(%session, reason = reason.as_str(), "a session was ended");
        Ok(())
    }

    /// Makes the two tokens of a session that stands.
    async fn issue(
        &self,
        tx: &mut Tx,
        account: AccountId,
        session: SessionId,
        generation: i64,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let refresh_token = Secret::new(self.world.token());
        let hash =
            refresh_hash(&refresh_token).ok_or_else(|| Error::internal("a refresh token is too long"))?;
        store::session::insert_refresh_token(tx, &hash, session, generation, now).await?;
        let claims = self.terms.claims(account, session, self.world.id(), now);
        let account = store::account::get(tx, account)
            .await?
            .ok_or_else(|| Error::internal("an account that signed in is not there"))?;
        Ok(Issued {
            access_token: Secret::new(self.keys.sign(&claims)?),
            refresh_token,
            access_token_expires_at: claims.expires_at(),
            account,
        })
    }

    fn session_expires_at(&self, began: Timestamp, used: Timestamp) -> Timestamp {
        used.plus(self.options.session_idle_max).min(began.plus(self.options.session_age_max))
    }
}

fn check_login(command: &Login) -> Result<Email, Error> {
    let mut violations = Violations::new();
    let email = Email::parse(&command.email).map_err(|fault| violations.add("email", fault)).ok();
    violations.check(!command.password.expose().is_empty(), "password", "must not be empty");
    if !password::is_bounded(&command.password) {
        violations.add("password", format!("must have at most {} characters", password::CHARS_MAX));
    }
    let known = command.transport == Transport::Token;
    violations.check(known, "session_transport", "must be SESSION_TRANSPORT_TOKEN");
    violations.finish()?;
    email.ok_or_else(|| Error::internal("an address without a violation was not read"))
}

/// Under which a refresh token is kept. It has 256 bits of its own, so a plain hash is enough.
fn refresh_hash(token: &Secret<String>) -> Option<[u8; 32]> {
    let token = token.expose();
    (token.len() <= REFRESH_TOKEN_BYTES_MAX).then(|| Sha256::digest(token.as_bytes()).into())
}
