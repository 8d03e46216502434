//! Signing in, exchanging refresh tokens, signing out.

use sha2::{Digest as _, Sha256};

use crate::audit::Risk;
use crate::auth::guess::Keys;
use crate::auth::hashing;
use crate::auth::letters::Deed;
use crate::auth::model::SessionEnd;
use crate::auth::model::family::{Brought, Verdict};
use crate::auth::store::account::Credentials;
use crate::auth::store::session::{Locked, NewSession};
use crate::auth::{Caller, Email, Error, letters, password, store};
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

/// A session and the token of it that was brought.
struct Family {
    session: SessionId,
    locked: Locked,
    generation: i64,
    now: Timestamp,
}

impl Service {
    /// Signs in. An unknown address and a wrong password cost the same work and get the same answer.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], [`Error::AccountSuspended`], [`Error::OneTimePasswordSpent`],
    /// [`Error::GuessDelayed`], [`Error::HashingBusy`], [`Error::Invalid`].
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
        let (hashing::Verdict::Right { outdated }, Some(known)) = (verdict, credentials.clone()) else {
            let account = credentials.map(|known| known.id);
            return Err(self.note_refused_login(caller, account, Error::InvalidCredentials));
        };
        // Only whoever knows the password comes this far, so that nobody else learns of it.
        if known.suspended_at.is_some() {
            return Err(self.note_refused_login(caller, Some(known.id), Error::AccountSuspended));
        }
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
        let refresh_token = Secret::new(self.world.token());
        self.insert_refresh_token(&mut tx, &refresh_token, session, FIRST_GENERATION, now).await?;
        let locked =
            Locked { account_id: known.id, created_at: now, expires_at: new.expires_at, ended_at: None };
        let family = Family { session, locked, generation: FIRST_GENERATION, now };
        let issued = self.issue(&mut tx, &family, refresh_token).await?;
        self.note_place(&mut tx, caller, &issued.account, now).await?;
        let entry = caller.entry("auth.login").by(known.id, Some(session));
        let entry = entry.of(issued.account.personal_organization).on("session", session);
        self.audit.record(&mut tx, entry).await?;
        slot.store_secret();
        tx.commit().await?;
        Ok(issued)
    }

    /// Exchanges a refresh token for the next two tokens.
    ///
    /// A token is exchanged once. For some seconds it may come again and gets the same successor, for two tabs wake at
    /// the same moment and answers get lost ([`Brought::judge`]). When it comes later somebody holds a copy, and nobody
    /// can tell who is the thief: the session ends for both, and its owner is told.
    ///
    /// # Errors
    /// [`Error::RefreshTokenInvalid`], [`Error::RefreshTokenReused`], [`Error::SessionRevoked`],
    /// [`Error::SessionExpired`].
    pub async fn refresh(
        &self,
        caller: &Caller,
        token: &Secret<String>,
        key: Option<&RequestKey>,
    ) -> Result<Issued, Error> {
        let hash = refresh_hash(token).ok_or(Error::RefreshTokenInvalid)?;
        let found = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::session::of_refresh_token(&mut conn, &hash).await?
        };
        let session = found.ok_or(Error::RefreshTokenInvalid)?;
        let mut tx = self.db.begin(SCOPE).await?;
        // First of all: the repetition of a call that was answered is not a second use of its token.
        let Claim::New(slot) = idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? else {
            return Err(idempotency::Error::SecretAlreadyIssued.into());
        };
        let (family, brought, sealed) = self.bring(&mut tx, session, &hash).await?;
        let issued = match brought.judge(family.now) {
            Verdict::Exchange => self.exchange(&mut tx, token, &hash, &family).await?,
            Verdict::SameSuccessor => {
                let successor = self.unseal(token, sealed.as_deref())?;
                self.issue(&mut tx, &family, successor).await?
            }
            Verdict::Reused => {
                // Rolled back, for the claim must not outlive a refusal; what follows must.
                drop(tx);
                self.end_reused(caller, session).await?;
                return Err(Error::RefreshTokenReused);
            }
            Verdict::Ended => return Err(Error::SessionRevoked),
            Verdict::Expired => return Err(Error::SessionExpired),
        };
        slot.store_secret();
        tx.commit().await?;
        // Its expiry moved.
        self.standings.forget(session);
        Ok(issued)
    }

    /// A refresh token with its session, and its successor as it is kept sealed. Of two calls with tokens of one
    /// session the second waits here, and then sees what the first did.
    async fn bring(
        &self,
        tx: &mut Tx,
        session: SessionId,
        hash: &[u8; 32],
    ) -> Result<(Family, Brought, Option<Vec<u8>>), Error> {
        let locked = store::session::lock(tx, session).await?.ok_or(Error::RefreshTokenInvalid)?;
        let stored = store::session::refresh_token(tx, hash).await?.ok_or(Error::RefreshTokenInvalid)?;
        let brought = Brought {
            generation: stored.generation,
            newest: stored.newest,
            used_at: stored.used_at,
            expires_at: locked.expires_at,
            ended: locked.ended_at.is_some(),
        };
        let family = Family { session, locked, generation: stored.generation, now: self.world.now() };
        Ok((family, brought, stored.successor))
    }

    async fn exchange(
        &self,
        tx: &mut Tx,
        token: &Secret<String>,
        hash: &[u8; 32],
        family: &Family,
    ) -> Result<Issued, Error> {
        let successor = Secret::new(self.world.token());
        let sealed = self.root.seal(&self.world, &successor_purpose(token), successor.expose().as_bytes());
        store::session::exchange(tx, hash, sealed.map_err(Error::internal)?, family.now).await?;
        // Somebody has gone on from this token, so that the one before leads here no more.
        store::session::forget_successor(tx, family.session, family.generation.saturating_sub(1)).await?;
        let expires_at = self.session_expires_at(family.locked.created_at, family.now);
        if !store::session::extend(tx, family.session, family.now, expires_at).await? {
            return Err(Error::SessionRevoked);
        }
        let next = family.generation.saturating_add(1);
        self.insert_refresh_token(tx, &successor, family.session, next, family.now).await?;
        self.issue(tx, family, successor).await
    }

    fn unseal(&self, token: &Secret<String>, sealed: Option<&[u8]>) -> Result<Secret<String>, Error> {
        // In the grace it is there; after it nobody comes here.
        let sealed =
            sealed.ok_or_else(|| Error::internal("the successor of a refresh token was not kept"))?;
        let opened = self.root.open(&successor_purpose(token), sealed).map_err(Error::internal)?;
        String::from_utf8(opened.expose().clone()).map(Secret::new).map_err(Error::internal)
    }

    /// Ends the session of a refresh token that came too often, and tells its owner. Of two calls that notice it at
    /// once, one does.
    async fn end_reused(&self, caller: &Caller, session: SessionId) -> Result<(), Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let locked = store::session::lock(&mut tx, session).await?;
        let ended = store::session::end(&mut tx, session, SessionEnd::TokenReused, self.world.now()).await?;
        if let (Some(locked), 1) = (locked, ended) {
            // Whoever called may be the thief: the entry names nobody as its actor.
            let mut entry = caller.entry("auth.refresh_token_reused").risk(Risk::High).on("session", session);
            if let Some(account) = store::account::get(&mut tx, locked.account_id).await? {
                entry = entry.of(account.personal_organization);
                let deed =
                    Deed { at: self.world.now(), address: caller.origin.peer, agent: &caller.origin.agent };
                let letter = letters::token_reused(&self.options.public_url, &deed);
                self.write_to(&mut tx, &account.email, letter).await?;
            }
            self.audit.record(&mut tx, entry).await?;
        }
        tx.commit().await?;
        self.standings.forget(session);
        tracing::warn!(%session, reason = SessionEnd::TokenReused.as_str(), "a session was ended");
        Ok(())
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
        let found = store::session::of_refresh_token(&mut tx, &hash).await?;
        if let Some(session) = found
            && let Some(locked) = store::session::lock(&mut tx, session).await?
            && store::session::end(&mut tx, session, SessionEnd::SignedOut, self.world.now()).await? == 1
        {
            let entry = caller.entry("auth.logout").by(locked.account_id, Some(session));
            self.audit.record(&mut tx, entry.on("session", session)).await?;
        }
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        if let Some(session) = found {
            self.standings.forget(session);
        }
        Ok(())
    }

    async fn insert_refresh_token(
        &self,
        tx: &mut Tx,
        token: &Secret<String>,
        session: SessionId,
        generation: i64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let hash = refresh_hash(token).ok_or_else(|| Error::internal("a refresh token is too long"))?;
        Ok(store::session::insert_refresh_token(tx, &hash, session, generation, now).await?)
    }

    /// An access token for a session that stands, beside its refresh token.
    async fn issue(
        &self,
        tx: &mut Tx,
        family: &Family,
        refresh_token: Secret<String>,
    ) -> Result<Issued, Error> {
        let account = family.locked.account_id;
        let claims = self.terms.claims(account, family.session, self.world.id(), family.now);
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
    let email = Email::read(&mut violations, "email", &command.email);
    violations.check(!command.password.expose().is_empty(), "password", "must not be empty");
    if !password::is_bounded(&command.password) {
        violations.add_hostile("password", format!("must have at most {} characters", password::CHARS_MAX));
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

/// Seals the successor of a refresh token: without the root key, or without the token itself, it does not open.
fn successor_purpose(token: &Secret<String>) -> String {
    format!("auth.refresh_successor.{}", token.expose())
}
