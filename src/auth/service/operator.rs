//! What whoever runs the platform does with sessions and tokens: issues one, looks into one, ends some.

use std::time::Duration;

use crate::audit::Risk;
use crate::auth::keys::KeyId;
use crate::auth::model::{SessionEnd, rotation};
use crate::auth::store::session::NewSession;
use crate::auth::token::{self, Claims};
use crate::auth::{Caller, Email, Error, store};
use crate::base::{Secret, SessionId, Timestamp};
use crate::db::Scope;

use super::Service;

const SCOPE: Scope = Scope::System("operator");

/// Lets the platform itself and its administrators pass.
///
/// # Errors
/// [`Error::NotAnAdministrator`].
pub fn admit(caller: &Caller) -> Result<(), Error> {
    if caller.is_admin() || caller.purpose().is_some() { Ok(()) } else { Err(Error::NotAnAdministrator) }
}

/// A token that was issued without a sign-in.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token for calls.
    pub access_token: Secret<String>,
    /// Its session, which has no other token.
    pub session: SessionId,
    /// When both end.
    pub expires_at: Timestamp,
}

/// Whose sessions are ended. Not to be printed, as it may tell of a person.
#[derive(Clone)]
pub enum Revoke {
    /// One.
    Session(SessionId),
    /// All of the account that has this address.
    Account(String),
    /// All.
    Everyone,
}

/// Whether one thing about a token is as it should be, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whether it is.
    pub holds: bool,
    /// What was found.
    pub found: String,
}

impl Check {
    fn new(holds: bool, found: impl Into<String>) -> Self {
        Self { holds, found: found.into() }
    }
}

/// What was found out about a token.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What it states, believed or not.
    pub claims: Claims,
    /// The key that it names.
    pub key: Option<KeyId>,
    /// Each check by its name.
    pub checks: [(&'static str, Check); 5],
}

impl Inspection {
    /// Whether a call with this token would be let in.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|(_, check)| check.holds)
    }
}

impl Service {
    /// Issues an access token for an account, in a session of its own that ends with it. `agent` is what the list of
    /// sessions shows.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], [`Error::AccountSuspended`], [`Error::Invalid`], [`Error::NotAnAdministrator`].
    pub async fn issue_token(
        &self,
        caller: &Caller,
        email: &str,
        agent: &str,
        ttl: Duration,
    ) -> Result<Token, Error> {
        admit(caller)?;
        let email = parse(email)?;
        let mut tx = self.db.begin(SCOPE).await?;
        let found = store::account::by_email(&mut tx, &email).await?;
        let (account, _) = found.ok_or(Error::AccountNotFound)?;
        if !store::account::stands(&mut tx, account).await? {
            return Err(Error::AccountSuspended);
        }
        // A signing key is kept for as long as the longest token can live.
        let ttl = ttl.min(rotation::TOKEN_AGE_MAX);
        let (now, session): (_, SessionId) = (self.world.now(), self.world.id());
        let claims = self.terms.claims_for(account, session, self.world.id(), now, ttl);
        let expires_at = claims.expires_at();
        let new =
            NewSession { id: session, account, agent: agent.to_owned(), address: None, at: now, expires_at };
        store::session::insert(&mut tx, &new).await?;
        let access_token = Secret::new(self.keys.sign(&claims)?);
        let entry = caller.entry("auth.issue_token").on("session", session).risk(Risk::High);
        self.audit.record(&mut tx, entry.changed(&(), &claims)).await?;
        tx.commit().await?;
        Ok(Token { access_token, session, expires_at })
    }

    /// Looks into a token: what it states, and each thing that a call with it would be let in by.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] when it is no token at all; [`Error::NotAnAdministrator`].
    pub async fn inspect_token(&self, caller: &Caller, token: &Secret<String>) -> Result<Inspection, Error> {
        admit(caller)?;
        let token = token.expose().trim();
        let claims = token::unproved(token).ok_or(Error::TokenInvalid)?;
        let key = token::key_id(token).ok();
        let checks = [
            ("signature", self.check_signature(token, key).await),
            ("issuer", compare(&claims.iss, self.terms.issuer())),
            ("audience", compare(&claims.aud, self.terms.audience())),
            ("expiry", self.check_expiry(&claims)),
            ("session", self.check_session(&claims).await?),
        ];
        Ok(Inspection { claims, key, checks })
    }

    /// Ends sessions, and tells how many. Nodes notice within five seconds.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], [`Error::Invalid`], [`Error::NotAnAdministrator`].
    pub async fn revoke_sessions(&self, caller: &Caller, whose: Revoke) -> Result<u64, Error> {
        admit(caller)?;
        let now = self.world.now();
        let mut tx = self.db.begin(SCOPE).await?;
        let entry = caller.entry("auth.revoke_sessions").risk(Risk::High);
        let (ended, entry) = match &whose {
            Revoke::Session(session) => {
                let ended = store::session::end(&mut tx, *session, SessionEnd::Revoked, now).await?;
                (ended, entry.on("session", *session))
            }
            Revoke::Account(email) => {
                let found = store::account::by_email(&mut tx, &parse(email)?).await?;
                let (account, _) = found.ok_or(Error::AccountNotFound)?;
                let ended = store::session::end_of(&mut tx, account, SessionEnd::Revoked, now).await?;
                (ended, entry.on("account", account))
            }
            Revoke::Everyone => (store::session::end_all(&mut tx, SessionEnd::Revoked, now).await?, entry),
        };
        if ended > 0 {
            self.audit.record(&mut tx, entry).await?;
        }
        tx.commit().await?;
        self.standings.forget_all();
        Ok(ended)
    }

    async fn check_signature(&self, token: &str, key: Option<KeyId>) -> Check {
        let Some(kid) = key else {
            return Check::new(false, "the header is not that of one of our access tokens");
        };
        match self.keys.verifying(kid).await {
            Ok(key) if token::is_signed(token, &key) => Check::new(true, format!("made with our key {kid}")),
            Ok(_) => Check::new(false, format!("not made with our key {kid}, which it names")),
            Err(_) => Check::new(false, format!("it names the key {kid}, which is none of ours")),
        }
    }

    fn check_expiry(&self, claims: &Claims) -> Check {
        let (now, end) = (self.world.now(), claims.expires_at());
        if now < end {
            Check::new(true, format!("valid for {} s more", end.since(now).as_secs()))
        } else {
            Check::new(false, format!("expired {} s ago", now.since(end).as_secs()))
        }
    }

    async fn check_session(&self, claims: &Claims) -> Result<Check, Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        let Some(seen) = store::session::seen(&mut conn, claims.sid).await? else {
            return Ok(Check::new(false, "there is no such session"));
        };
        Ok(match (seen.ended_at, seen.end_reason) {
            _ if seen.account_id != claims.sub => Check::new(false, "the session is another account's"),
            (Some(at), why) => {
                let why = why.map_or("unknown", SessionEnd::as_str);
                Check::new(false, format!("ended at {} ({why})", at.to_rfc3339()))
            }
            (None, _) if self.world.now() >= seen.expires_at => {
                Check::new(false, format!("expired at {}", seen.expires_at.to_rfc3339()))
            }
            (None, _) => Check::new(true, format!("stands until {}", seen.expires_at.to_rfc3339())),
        })
    }
}

fn parse(email: &str) -> Result<Email, Error> {
    Ok(Email::only("email", email)?)
}

fn compare(given: &str, ours: &str) -> Check {
    if given == ours {
        Check::new(true, given)
    } else {
        Check::new(false, format!("{given}, where these settings say {ours}"))
    }
}
