//! What can be done with accounts, sign-ins and organisations, and who may do it.

mod account;
mod administration;
mod administrator;
mod api_key;
mod audit_log;
mod guesses;
mod link;
mod operator;
mod organization;
mod own_sessions;
mod password;
mod place;
mod platform_invitation;
mod registration;
mod service_account;
mod session;
mod upkeep;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::audit;
use crate::base::{AccountId, Fault as _, Secret, SessionId, Timestamp, World};
use crate::db::{Db, Scope};
use crate::keyring::RootKey;
use crate::mail::Outbox;

use super::api_key::Format;
use super::caller::Proof;
use super::guess::{self, Guesses};
use super::hashing::{self, Hashing};
use super::keys::Keys;
use super::model::key::{ApiKeyId, KeyStanding};
use super::model::{Account, Registration, rotation};
use super::standing::{Asked, Recall, Standings};
use super::store;
use super::store::session::Standing;
use super::token::{self, Terms};
use super::verified::{Mark, Statement, Verified};
use super::{Caller, Email, Error, Origin};

use self::api_key::KeyUses;
use self::upkeep::Uses;

pub use account::UpdateAccount;
pub use administration::{Filter, Told};
pub use administrator::{CreateAdministrator, Created, OneTime, SeenAdministrator};
pub use api_key::{CreateApiKey, IssuedKey, KEYS_MAX, OVERLAP_DEFAULT, OVERLAP_MAX};
pub use audit_log::{AuditReach, Auditing};
pub use link::register;
pub use operator::{Check, Inspection, Revoke, Token, admit};
pub use organization::{
    Estate, INVITATIONS_A_DAY, INVITATIONS_MAX, InviteMember, MEMBERS_MAX, ORGANIZATIONS_MAX,
    UpdateOrganization,
};
pub use password::{ChangePassword, ResetPassword};
pub use platform_invitation::{Invite, Invited};
pub use registration::Register;
pub use service_account::{CreateServiceAccount, ProgramToken, SERVICE_ACCOUNTS_MAX};
pub use session::{Login, Transport};

/// How the domain behaves. The defaults serve the embedded platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Who makes the tokens: the platform's public address.
    pub issuer: String,
    /// For whom tokens are made.
    pub audience: String,
    /// The address that letters point to.
    pub public_url: String,
    /// Who may register.
    pub registration: Registration,
    /// How long an access token lives.
    pub access_token_ttl: Duration,
    /// How long a link that was sent by mail works.
    pub link_ttl: Duration,
    /// How long a signing key signs.
    pub signing_key_period: Duration,
    /// How long a session stands without being used.
    pub session_idle_max: Duration,
    /// How long a session stands however much it is used.
    pub session_age_max: Duration,
    /// How long the answer that a session stands is remembered. Together with the two seconds between two looks of a
    /// standing stream it stays within the five seconds in which a revocation must be felt.
    pub session_memory: Duration,
    /// The versions of the terms, the current one last. Registration takes the current one only.
    pub terms_versions: Vec<String>,
    /// The cost of hashing passwords, and how many may wait.
    pub hashing: hashing::Options,
    /// How often secrets may be guessed at.
    pub guesses: guess::Options,
    /// The address of the first administrator.
    pub administrator_email: String,
    /// The file that holds the first administrator's one-time password. It is removed at the first sign-in.
    pub one_time_password_file: Option<PathBuf>,
    /// How long a one-time password is good if nobody signs in with it.
    pub one_time_password_ttl: Duration,
    /// How long an invitation can be accepted.
    pub invitation_ttl: Duration,
    /// Whether API keys are those of a platform that moves real money.
    pub live_keys: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            issuer: "http://127.0.0.1:8080".to_owned(),
            audience: "capecontrol".to_owned(),
            public_url: "http://127.0.0.1:8080".to_owned(),
            registration: Registration::Open,
            access_token_ttl: Duration::from_mins(10),
            link_ttl: Duration::from_mins(30),
            signing_key_period: Duration::from_hours(30 * 24),
            session_idle_max: Duration::from_hours(30 * 24),
            session_age_max: Duration::from_hours(90 * 24),
            session_memory: Duration::from_secs(3),
            terms_versions: vec!["2026-01".to_owned()],
            hashing: hashing::Options::default(),
            guesses: guess::Options::default(),
            administrator_email: "admin@capecontrol.localhost".to_owned(),
            one_time_password_file: None,
            one_time_password_ttl: Duration::from_hours(24),
            invitation_ttl: Duration::from_hours(7 * 24),
            live_keys: false,
        }
    }
}

/// How many sessions one statement asks for.
const SESSIONS_AT_ONCE: usize = 500;
/// How long a link may work.
const LINK_TTL: std::ops::RangeInclusive<Duration> = Duration::from_mins(15)..=Duration::from_mins(60);
/// How long verifiers elsewhere keep the published keys: Envoy's `cache_duration`.
const VERIFIERS_KEEP_KEYS: Duration = Duration::from_mins(5);
/// Longest time that the answer whether a session stands may be remembered.
const SESSION_MEMORY_MAX: Duration = Duration::from_secs(3);

/// A sign-in, as it is handed to whoever signed in.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token for calls.
    pub access_token: Secret<String>,
    /// The token to be exchanged for the next two.
    pub refresh_token: Secret<String>,
    /// When the access token stops being valid.
    pub access_token_expires_at: Timestamp,
    /// Who signed in.
    pub account: Account,
}

/// Accounts, sign-ins and organisations.
pub struct Service {
    db: Db,
    world: World,
    options: Options,
    administrator_email: Email,
    terms: Terms,
    hashing: Hashing,
    guesses: Guesses,
    audit: audit::Log,
    archive: audit::Archive,
    outbox: Outbox,
    root: RootKey,
    keys: Keys,
    standings: Standings,
    uses: Uses,
    verified: Verified,
    key_format: Format,
    key_standings: Standings<ApiKeyId, KeyStanding>,
    key_uses: KeyUses,
    estate: OnceLock<Arc<dyn Estate>>,
}

impl Service {
    /// Puts the service together. [`Service::prepare`] must follow before anybody signs in.
    ///
    /// # Errors
    /// [`Error::Setup`] when the options cannot be worked with.
    pub fn new(db: Db, world: World, options: Options, root: RootKey) -> Result<Self, Error> {
        if options.session_memory > SESSION_MEMORY_MAX {
            return Err(Error::Setup(
                "Sessions must not be remembered for more than three seconds.".to_owned(),
            ));
        }
        if !LINK_TTL.contains(&options.link_ttl) {
            return Err(Error::Setup("Links must work for 15 to 60 minutes.".to_owned()));
        }
        if options.terms_versions.last().is_none_or(|version| version.trim().is_empty()) {
            return Err(Error::Setup("The current version of the terms must have a name.".to_owned()));
        }
        if options.access_token_ttl + VERIFIERS_KEEP_KEYS >= rotation::PUBLISHED_AHEAD {
            return Err(Error::Setup("Access tokens must live for less than 55 minutes.".to_owned()));
        }
        let administrator_email = Email::parse(&options.administrator_email)
            .map_err(|fault| Error::Setup(format!("The first administrator's e-mail address {fault}.")))?;
        let key_format = Format::new(options.live_keys, root.derive("api-key-tags"));
        let audit = audit::Log::new(world.clone(), root.clone());
        Ok(Self {
            terms: Terms::new(&options.issuer, &options.audience, options.access_token_ttl)?,
            hashing: Hashing::new(&options.hashing, &world)?,
            guesses: Guesses::new(&options.guesses, &root),
            archive: audit::Archive::new(db.clone(), audit.clone()),
            audit,
            outbox: Outbox::new(world.clone(), root.clone()),
            keys: Keys::new(db.clone(), world.clone(), root.clone(), options.signing_key_period),
            root,
            standings: Standings::new(options.session_memory),
            uses: Uses::default(),
            verified: Verified::default(),
            key_format,
            key_standings: Standings::new(options.session_memory),
            key_uses: KeyUses::default(),
            estate: OnceLock::new(),
            administrator_email,
            db,
            world,
            options,
        })
    }

    /// Has `estate` asked whether what an organisation has elsewhere is settled, before one is closed. Said once, when
    /// the node is put together.
    pub fn ask_before_closing(&self, estate: Arc<dyn Estate>) {
        self.estate.get_or_init(|| estate);
    }

    /// Where everybody writes down what is done, and what is refused.
    #[must_use]
    pub const fn audit(&self) -> &audit::Log {
        &self.audit
    }

    /// Reads the signing keys, and makes the first one when there is none.
    ///
    /// # Errors
    /// [`Error::Setup`] when the root key does not open them.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.keys.prepare().await
    }

    /// Reads the signing keys and makes none. `false` when there are none, for the platform was never served.
    ///
    /// # Errors
    /// [`Error::Setup`] when the root key does not open them.
    pub async fn read_keys(&self) -> Result<bool, Error> {
        self.keys.read().await
    }

    /// Who sends this access token. Every call that carries one comes through here.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`], [`Error::TokenExpired`] or [`Error::SessionRevoked`].
    pub async fn authenticate(&self, bearer: &str, origin: Origin) -> Result<Caller, Error> {
        let statement = match self.verify(bearer).await {
            Ok(statement) => statement,
            Err(error) => return Err(self.note_forgery(error, origin)),
        };
        let standing = self.standing(statement.session).await?;
        // A session never changes hands; a token that says so was not made by this code.
        if standing.account_id != statement.account {
            return Err(Error::TokenInvalid);
        }
        if let Some(grant) = statement.grant {
            let (session, expires_at) = (Some(statement.session), Some(statement.expires_at));
            return Ok(Caller::program(statement.account, grant, session, expires_at, origin));
        }
        let proof = Proof {
            account: statement.account,
            session: statement.session,
            role: standing.role,
            personal: standing.personal_organization_id,
            expires_at: statement.expires_at,
        };
        Ok(Caller::signed_in(proof, origin))
    }

    /// A token that is none of ours is worth a line in the audit log; one whose time is over is everyday business.
    fn note_forgery(&self, error: Error, origin: Origin) -> Error {
        if matches!(error, Error::TokenInvalid) {
            let entry = Caller::anonymous(origin).entry("auth.authenticate").risk(audit::Risk::Medium);
            self.audit.refused(entry, error.reason().name);
        }
        error
    }

    /// What a token states, if it is one of ours and its time is not over.
    async fn verify(&self, bearer: &str) -> Result<Statement, Error> {
        let (mark, now) = (Mark::of(bearer), self.world.now());
        // A key that is no longer there takes its tokens with it.
        let known = self.verified.recall(&mark).filter(|statement| self.keys.holds(statement.key));
        if let Some(statement) = known {
            return if now < statement.expires_at { Ok(statement) } else { Err(Error::TokenExpired) };
        }
        let key_id = token::key_id(bearer)?;
        let key = Box::pin(self.keys.verifying(key_id)).await?;
        let claims = self.terms.verify(bearer, &key, now)?;
        let statement = Statement {
            key: key_id,
            account: claims.sub,
            session: claims.sid,
            grant: claims.grant().map(Arc::new),
            expires_at: claims.expires_at(),
        };
        self.verified.remember(mark, statement.clone(), now);
        Ok(statement)
    }

    /// Somebody in whose name an agent acts, with the power of a customer and no more. `request_id` is how logs speak
    /// of what it does.
    ///
    /// # Errors
    /// [`Error::SessionRevoked`] when there is no such account any more, or it is suspended.
    pub async fn on_behalf_of(&self, account: AccountId, request_id: String) -> Result<Caller, Error> {
        let mut conn = self.db.conn(Scope::System("caller of an agent")).await?;
        if !super::access::account_stands(&mut conn, account).await? {
            return Err(Error::SessionRevoked);
        }
        let account = store::account::get(&mut conn, account).await?.ok_or(Error::SessionRevoked)?;
        Ok(Caller::on_behalf_of(account.id, account.personal_organization, request_id))
    }

    /// Those of the sessions that no longer stand. Asked every two seconds for all standing streams.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn ended_among(&self, sessions: HashSet<SessionId>) -> Result<HashSet<SessionId>, Error> {
        let (now, mut ended) = (self.world.now(), sessions);
        for part in ended.iter().copied().collect::<Vec<_>>().chunks(SESSIONS_AT_ONCE) {
            let mut conn = self.db.conn(Scope::System("session check")).await?;
            for standing in store::session::standing_among(&mut conn, part, now).await? {
                ended.remove(&standing);
            }
        }
        for session in &ended {
            self.standings.forget(*session);
        }
        Ok(ended)
    }

    /// That what was proved when a call came in still holds. Whatever answers over a longer time asks this before each
    /// part of its answer.
    ///
    /// # Errors
    /// [`Error::SessionRevoked`], [`Error::ApiKeyInvalid`]; [`Error::TokenExpired`] and [`Error::ApiKeyExpired`] when
    /// the caller's time is over.
    pub async fn still_stands(&self, caller: &Caller) -> Result<(), Error> {
        let key = caller.grant.as_ref().and_then(|grant| grant.key);
        if caller.expires_at.is_some_and(|end| end <= self.world.now()) {
            return Err(if key.is_some() { Error::ApiKeyExpired } else { Error::TokenExpired });
        }
        if let Some(session) = caller.session {
            self.standing(session).await?;
        }
        match key {
            Some(key) if !self.ended_keys_among(HashSet::from([key])).await?.is_empty() => {
                Err(Error::ApiKeyInvalid)
            }
            _ => Ok(()),
        }
    }

    /// The public keys that access tokens are checked with, as a JSON Web Key Set.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// Whether the database holds signing keys, which only the root key that wrapped them opens.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn has_signing_keys(db: &Db) -> Result<bool, Error> {
        let mut conn = db.conn(Scope::System("start")).await?;
        Ok(!store::key::newest(&mut conn).await?.is_empty())
    }

    /// How many password hashes were computed so far: the work that strangers can cause.
    pub fn hashing_rounds(&self) -> u64 {
        self.hashing.rounds()
    }

    /// The session, if it stands.
    async fn standing(&self, session: SessionId) -> Result<Standing, Error> {
        let now = self.world.now();
        let standing = match self.standings.recall(session, now) {
            Recall::Known(standing) => standing,
            // In a box: every call of the platform would carry room for a question that few of them ask.
            Recall::Unknown(asked) => Box::pin(self.read_standing(session, asked)).await?,
        };
        standing.filter(|standing| now < standing.expires_at).ok_or(Error::SessionRevoked)
    }

    async fn read_standing(&self, session: SessionId, asked: Asked) -> Result<Option<Standing>, Error> {
        let mut conn = self.db.conn(Scope::System("session check")).await?;
        let standing = store::session::standing(&mut conn, session).await?;
        self.standings.remember(session, asked, standing);
        if standing.is_some() {
            self.uses.note(session);
        }
        Ok(standing)
    }
}
