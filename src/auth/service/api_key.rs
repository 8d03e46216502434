//! API keys: made, listed, rotated, revoked, and known again when they come with a call.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::audit::Risk;
use crate::auth::model::key::{self, ApiKey, ApiKeyId, Grant, KeyScope, KeyStanding, KeyUse};
use crate::auth::standing::{Asked, Recall};
use crate::auth::{Caller, Error, Origin, access, profile, store};
use crate::base::{AccountId, Fault as _, OrganizationId, Secret, Timestamp, Violations};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

use super::Service;
use super::organization::{from, lock, unseen};

/// How many keys of an organisation may stand.
pub const KEYS_MAX: i64 = 100;
/// For how long the secret before stays good when nothing is said.
pub const OVERLAP_DEFAULT: Duration = Duration::from_hours(24);
/// For how long it may stay good at most.
pub const OVERLAP_MAX: Duration = Duration::from_hours(7 * 24);
/// How often the use of a key is written down at most.
const USE_EVERY: Duration = Duration::from_mins(1);
/// How many uses are remembered as written down. Beyond this the memory begins anew, which costs a write for each key.
const USES_MAX: usize = 50_000;
/// How many keys one statement asks for.
const KEYS_AT_ONCE: usize = 500;
const CHECK: Scope = Scope::System("api key check");
/// Where a key is looked for whose organisation only its id tells.
const LOCATE: Scope = Scope::System("api key is located");

/// A key is wanted.
#[derive(Clone, Debug)]
pub struct CreateApiKey {
    /// For which organisation; the caller's own when none is named.
    pub organization: Option<OrganizationId>,
    /// In whose name it acts; the caller's when none is named.
    pub service_account: Option<AccountId>,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Where calls may come from.
    pub networks: Vec<String>,
    /// When it stops by itself.
    pub expires_at: Option<Timestamp>,
}

/// A key and its text, which nothing can show again.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// What is known of the key.
    pub key: ApiKey,
    /// The text.
    pub text: Secret<String>,
}

/// When the use of keys was last written down, as far as this node knows.
#[derive(Debug, Default)]
pub(super) struct KeyUses(Mutex<HashMap<ApiKeyId, Timestamp>>);

impl KeyUses {
    /// Whether a use is to be written down now; if so, others need not.
    fn is_due(&self, id: ApiKeyId, stored: Option<Timestamp>, now: Timestamp) -> bool {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = uses.get(&id).copied().max(stored);
        if last.is_some_and(|last| now < last.plus(USE_EVERY)) {
            return false;
        }
        if uses.len() >= USES_MAX {
            uses.clear();
        }
        uses.insert(id, now);
        true
    }
}

impl Service {
    /// Makes a key.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`], [`Error::ServiceAccountNotFound`], [`Error::Limit`],
    /// [`Error::Invalid`].
    pub async fn create_api_key(
        &self,
        caller: &Caller,
        command: CreateApiKey,
        key: Option<&RequestKey>,
    ) -> Result<IssuedKey, Error> {
        let made = self.checked(caller, command)?;
        let id = made.organization;
        let mut tx = self.db.begin(Scope::Organization(id)).await?;
        let Claim::New(slot) = idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? else {
            return Err(idempotency::Error::SecretAlreadyIssued.into());
        };
        let (_, role) = lock(&mut tx, caller, id).await?;
        if !role.manages() {
            return Err(Error::NotAnOwner);
        }
        if made.account != made.created_by {
            let found = store::service_account::get(&mut tx, id, made.account).await?;
            found.ok_or(Error::ServiceAccountNotFound)?;
        }
        if store::api_key::count(&mut tx, id).await? >= KEYS_MAX {
            return Err(Error::Limit { what: "API keys of an organisation", most: KEYS_MAX });
        }
        let (text, hash) = self.key_format.write(made.id, &self.world.bytes());
        store::api_key::insert(&mut tx, &made, hash).await?;
        let entry = caller.entry("auth.create_api_key").of(id).on("api_key", made.id);
        self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&(), &made)).await?;
        slot.store_secret();
        tx.commit().await?;
        Ok(IssuedKey { key: made, text })
    }

    fn checked(&self, caller: &Caller, command: CreateApiKey) -> Result<ApiKey, Error> {
        let created_by = caller.account()?;
        let organization = command.organization.map_or_else(|| caller.personal(), Ok)?;
        let now = self.world.now();
        let mut violations = Violations::new();
        let name = profile::display_name(&mut violations, "name", &command.name);
        let scopes = key::scopes(&mut violations, "scopes", &command.scopes);
        let networks = key::networks(&mut violations, "allowed_networks", &command.networks);
        let ahead = command.expires_at.is_none_or(|end| end > now);
        violations.check(ahead, "expire_time", "must be in the future");
        violations.finish()?;
        Ok(ApiKey {
            id: self.world.id(),
            organization,
            account: command.service_account.unwrap_or(created_by),
            name,
            scopes,
            networks,
            generation: 1,
            previous_until: None,
            expires_at: command.expires_at,
            used_at: None,
            created_by,
            created_at: now,
            revoked_at: None,
        })
    }

    /// The keys of an organisation, the oldest first, from behind `after`; at most `limit`.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`].
    pub async fn api_keys(
        &self,
        caller: &Caller,
        named: Option<OrganizationId>,
        after: Option<ApiKeyId>,
        limit: i64,
    ) -> Result<Vec<ApiKey>, Error> {
        let id = named.map_or_else(|| caller.personal(), Ok)?;
        let mut conn = self.db.conn(Scope::Organization(id)).await?;
        access::owner(&mut conn, caller, id).await?;
        Ok(store::api_key::list(&mut conn, id, from(after), limit).await?)
    }

    /// Gives a key another secret.
    ///
    /// # Errors
    /// [`Error::ApiKeyNotFound`], [`Error::NotAnOwner`], [`Error::ApiKeyRevoked`], [`Error::Invalid`].
    pub async fn rotate_api_key(
        &self,
        caller: &Caller,
        id: ApiKeyId,
        overlap: Option<i32>,
        key: Option<&RequestKey>,
    ) -> Result<IssuedKey, Error> {
        let overlap = checked_overlap(overlap)?;
        let home = self.home_of_key(id).await?;
        let mut tx = self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?;
        let Claim::New(slot) = idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? else {
            return Err(idempotency::Error::SecretAlreadyIssued.into());
        };
        let (home, before) = own_key(&mut tx, caller, home, id).await?;
        let now = self.world.now();
        if before.revoked_at.is_some() || before.expires_at.is_some_and(|end| now >= end) {
            return Err(Error::ApiKeyRevoked);
        }
        let (text, hash) = self.key_format.write(id, &self.world.bytes());
        let until = now.plus(overlap);
        store::api_key::rotate(&mut tx, home, id, hash, until).await?;
        let generation = before.generation.saturating_add(1);
        let after = ApiKey { generation, previous_until: Some(until), ..before.clone() };
        let entry = caller.entry("auth.rotate_api_key").of(home).on("api_key", id);
        self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&before, &after)).await?;
        slot.store_secret();
        tx.commit().await?;
        self.key_standings.forget(id);
        Ok(IssuedKey { key: after, text })
    }

    /// Ends a key.
    ///
    /// # Errors
    /// [`Error::ApiKeyNotFound`], [`Error::NotAnOwner`].
    pub async fn revoke_api_key(
        &self,
        caller: &Caller,
        id: ApiKeyId,
        key: Option<&RequestKey>,
    ) -> Result<ApiKey, Error> {
        let home = self.home_of_key(id).await?;
        let mut tx = self.db.begin(home.map_or(LOCATE, Scope::Organization)).await?;
        let slot = match idempotency::claim::<ApiKey>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(revoked) => return Ok(revoked),
            Claim::New(slot) => slot,
        };
        let (home, before) = own_key(&mut tx, caller, home, id).await?;
        let now = self.world.now();
        let mut after = before.clone();
        if store::api_key::revoke(&mut tx, home, id, now).await? > 0 {
            after.revoked_at = Some(now);
            let entry = caller.entry("auth.revoke_api_key").of(home).on("api_key", id);
            self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&before, &after)).await?;
        }
        slot.store(&mut tx, &after).await?;
        tx.commit().await?;
        self.key_standings.forget(id);
        Ok(after)
    }

    async fn home_of_key(&self, id: ApiKeyId) -> Result<Option<OrganizationId>, Error> {
        let mut conn = self.db.conn(LOCATE).await?;
        Ok(store::api_key::organization_of(&mut conn, id).await?)
    }

    /// Who sends this API key. Every call that carries one comes through here.
    ///
    /// A key that this platform never wrote costs no question to the database; one that it wrote is asked about once in
    /// three seconds.
    ///
    /// # Errors
    /// [`Error::ApiKeyInvalid`], [`Error::ApiKeyKind`], [`Error::ApiKeyExpired`], [`Error::ApiKeyAddress`].
    pub async fn authenticate_key(&self, text: &str, origin: Origin) -> Result<Caller, Error> {
        let presented = match self.key_format.read(text) {
            Ok(presented) => presented,
            Err(error) => return Err(self.note_refused_key(error, origin, None, None)),
        };
        let now = self.world.now();
        let standing = match self.key_standings.recall(presented.id, now) {
            Recall::Known(standing) => standing,
            Recall::Unknown(asked) => self.read_key(presented.id, asked).await?,
        };
        let Some(standing) = standing else {
            return Err(self.note_refused_key(Error::ApiKeyInvalid, origin, Some(presented.id), None));
        };
        let (generation, expires_at) = match standing.admit(&presented.secret_hash, origin.peer, now) {
            Ok(admitted) => admitted,
            Err(error) => {
                let home = Some(standing.grant.organization);
                return Err(self.note_refused_key(error, origin, Some(presented.id), home));
            }
        };
        if self.key_uses.is_due(presented.id, standing.used_at, now) {
            self.note_use(presented.id, now).await;
        }
        Ok(Caller::program(standing.account, standing.grant_of(generation), None, expires_at, origin))
    }

    /// Whoever calls with a key that is refused is a stranger: it may be somebody who found it. Whose key it is that
    /// the platform wrote once, its owner reads in the audit log.
    fn note_refused_key(
        &self,
        error: Error,
        origin: Origin,
        key: Option<ApiKeyId>,
        home: Option<OrganizationId>,
    ) -> Error {
        let mut entry = Caller::anonymous(origin).entry("auth.authenticate").risk(Risk::Medium);
        if let Some(key) = key {
            entry = entry.on("api_key", key);
        }
        if let Some(home) = home {
            entry = entry.of(home);
        }
        self.audit.refused(entry, error.reason().name);
        error
    }

    async fn read_key(&self, id: ApiKeyId, asked: Asked) -> Result<Option<KeyStanding>, Error> {
        let mut conn = self.db.conn(CHECK).await?;
        let standing = store::api_key::standing(&mut conn, id).await?;
        self.key_standings.remember(id, asked, standing.clone());
        Ok(standing)
    }

    /// Writes down that a key was used. Not worth refusing a call for.
    async fn note_use(&self, id: ApiKeyId, now: Timestamp) {
        let noted = async {
            let mut tx = self.db.begin(CHECK).await?;
            store::api_key::note_use(&mut tx, id, now, now.minus(USE_EVERY)).await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "the use of an API key was not written down");
        }
    }

    /// Those of the keys' secrets that are no longer good. Asked every two seconds for all standing streams.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn ended_keys_among(&self, keys: HashSet<KeyUse>) -> Result<HashSet<KeyUse>, Error> {
        let (now, mut ended) = (self.world.now(), keys);
        for part in ended.iter().copied().collect::<Vec<_>>().chunks(KEYS_AT_ONCE) {
            let mut conn = self.db.conn(CHECK).await?;
            for standing in store::api_key::standing_among(&mut conn, part, now).await? {
                ended.remove(&standing);
            }
        }
        for key in &ended {
            self.key_standings.forget(key.id);
        }
        Ok(ended)
    }

    /// Forgets what is remembered of programs, because rows of many were changed.
    pub(super) fn forget_programs(&self) {
        self.key_standings.forget_all();
        self.standings.forget_all();
    }
}

impl KeyStanding {
    /// Which of the key's secrets came, and until when it is good, if it may be used from there now.
    fn admit(
        &self,
        secret_hash: &[u8; 32],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(i64, Option<Timestamp>), Error> {
        let secret = self.secret(secret_hash).filter(|_| self.stands);
        let (generation, secret_ends) = secret.ok_or(Error::ApiKeyInvalid)?;
        let expires_at = self.expires_at.into_iter().chain(secret_ends).min();
        if expires_at.is_some_and(|end| now >= end) {
            return Err(Error::ApiKeyExpired);
        }
        if !key::admits(&self.networks, peer) {
            return Err(Error::ApiKeyAddress);
        }
        Ok((generation, expires_at))
    }

    /// Which of the key's secrets this is, and until when it is good if that has an end of its own. All are compared,
    /// each in the same time whatever it is.
    fn secret(&self, hash: &[u8; 32]) -> Option<(i64, Option<Timestamp>)> {
        use subtle::ConstantTimeEq as _;
        let newest = bool::from(self.secret_hash.ct_eq(hash));
        let before = self.previous.filter(|(previous, _)| bool::from(previous.ct_eq(hash)));
        match (newest, before) {
            (true, _) => Some((self.generation, None)),
            (false, Some((_, until))) => Some((self.generation.saturating_sub(1), Some(until))),
            (false, None) => None,
        }
    }

    /// What the secret of this generation lets its holder do.
    fn grant_of(&self, generation: i64) -> Arc<Grant> {
        if generation == self.generation {
            return self.grant.clone();
        }
        let key = self.grant.key.map(|key| KeyUse { generation, ..key });
        Arc::new(Grant { key, ..Grant::clone(&self.grant) })
    }
}

/// A key of an organisation that the caller manages, locked.
async fn own_key(
    tx: &mut Tx,
    caller: &Caller,
    home: Option<OrganizationId>,
    id: ApiKeyId,
) -> Result<(OrganizationId, ApiKey), Error> {
    let home = home.ok_or(Error::ApiKeyNotFound)?;
    access::owner(tx, caller, home).await.map_err(|error| unseen(error, Error::ApiKeyNotFound))?;
    let key = store::api_key::lock(tx, home, id).await?.ok_or(Error::ApiKeyNotFound)?;
    Ok((home, key))
}

fn checked_overlap(seconds: Option<i32>) -> Result<Duration, Violations> {
    let Some(seconds) = seconds else { return Ok(OVERLAP_DEFAULT) };
    let overlap = u64::try_from(seconds).map(Duration::from_secs).ok().filter(|it| *it <= OVERLAP_MAX);
    overlap.ok_or_else(|| {
        Violations::one("overlap_seconds", format!("must be from 0 to {}", OVERLAP_MAX.as_secs()))
    })
}

/// The scopes that a program asks for, of those that it has: all when it asks for none.
pub(super) fn narrowed(
    wanted: BTreeSet<KeyScope>,
    has: &BTreeSet<KeyScope>,
) -> Result<BTreeSet<KeyScope>, Violations> {
    if wanted.is_empty() {
        return Ok(has.clone());
    }
    let beyond = wanted.iter().find(|wanted| !has.iter().any(|scope| scope.covers(**wanted)));
    match beyond {
        None => Ok(wanted),
        Some(scope) => {
            let says = format!("asks for {}, which the service account does not have", scope.as_str());
            Err(Violations::one_hostile("scopes", says))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_written_down_once_a_minute() {
        let (uses, id) = (KeyUses::default(), ApiKeyId::mint(1, &[1; 10]));
        let at = Timestamp::from_seconds;
        assert!(uses.is_due(id, None, at(100)));
        assert!(!uses.is_due(id, None, at(159)));
        assert!(uses.is_due(id, None, at(160)));
        // Another node wrote it down.
        assert!(!uses.is_due(id, Some(at(200)), at(230)));
        assert!(uses.is_due(ApiKeyId::mint(2, &[2; 10]), None, at(160)));
    }

    #[test]
    fn scopes_are_narrowed_and_never_widened() {
        let set = |scopes: &[KeyScope]| scopes.iter().copied().collect::<BTreeSet<_>>();
        let has = set(&[KeyScope::ChatWrite]);
        assert_eq!(narrowed(set(&[]), &has).unwrap(), has);
        assert_eq!(narrowed(set(&[KeyScope::ChatRead]), &has).unwrap(), set(&[KeyScope::ChatRead]));
        assert!(narrowed(set(&[KeyScope::ChatRead, KeyScope::PaymentsRead]), &has).is_err());
    }
}
