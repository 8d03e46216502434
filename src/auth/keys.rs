//! The keys that access tokens are signed with: rows that all nodes share, wrapped by the root key.
//!
//! When a key is made, signs and goes, [`super::model::rotation`] decides by its stored times. Each node reads the rows
//! again every other second ([`Keys::tend`]), so that a key that was made or retired elsewhere is known without a
//! restart. A token that names a key this node has not seen makes it look at once, though not more than once every few
//! seconds: a flood of invented names costs nothing.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::base::{Id, Timestamp, World};
use crate::db::{Db, Scope, Tx};
use crate::keyring::RootKey;

use super::model::rotation::{self, Duty, Times};
use super::token::{self, Claims};
use super::{Error, store};

const FIRST_GENERATION: i64 = 1;
/// How soon after a look another one is taken.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const SCOPE: Scope = Scope::System("signing keys");

/// Marks the id of a signing key.
pub enum Key {}
/// The id of a signing key.
pub type KeyId = Id<Key>;

/// A key's two halves.
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// The pair that grows from 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The private half, as tokens are signed with it.
    #[must_use]
    pub fn encoding(&self) -> EncodingKey {
        // RFC 8410: the fixed beginning of an unencrypted PKCS #8 document that holds an Ed25519 seed.
        const PKCS8: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        EncodingKey::from_ed_der(&[PKCS8.as_slice(), self.0.as_bytes()].concat())
    }

    /// The public half, as tokens are checked with it.
    #[must_use]
    pub fn decoding(&self) -> DecodingKey {
        DecodingKey::from_ed_der(&self.public())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair([secret])")
    }
}

/// The keys as one node knows them.
pub struct Keys {
    db: Db,
    world: World,
    root: RootKey,
    /// How long a key signs.
    period: Duration,
    known: RwLock<Known>,
}

#[derive(Clone)]
struct Known {
    set: Arc<[Held]>,
    looked_at: Option<Timestamp>,
}

/// A key that was read and opened.
struct Held {
    id: KeyId,
    times: Times,
    created_at: Timestamp,
    kid: String,
    public: [u8; 32],
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// A key as whoever runs the platform sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenKey {
    /// Its id, which tokens name as `kid`.
    pub id: KeyId,
    /// What it does now.
    pub duty: Duty,
    /// When it was made and published.
    pub created_at: Timestamp,
    /// From when it signs.
    pub signs_from: Timestamp,
    /// When it is deleted; none as long as no other follows it.
    pub ends_at: Option<Timestamp>,
}

/// What is to be done with the keys out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// The next key signs as soon as it has been published for long enough.
    Next,
    /// A key is worth nothing from now on, with all tokens that it signed.
    Retire(KeyId),
    /// All of them.
    RetireAll,
}

impl Keys {
    /// Keys that are only read, and never made.
    #[must_use]
    pub fn reader(db: Db, world: World, root: RootKey) -> Self {
        Self::new(db, world, root, Duration::MAX)
    }

    /// Keys that are not read yet. `period` is how long one signs.
    #[must_use]
    pub fn new(db: Db, world: World, root: RootKey, period: Duration) -> Self {
        let known = Known { set: Arc::new([]), looked_at: None };
        Self { db, world, root, period, known: RwLock::new(known) }
    }

    /// Reads the keys; makes the first one when there is none, and the next one. Nodes that do so at the same time end
    /// with the same keys.
    ///
    /// # Errors
    /// [`Error::Setup`] when the root key does not open them.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.tend().await?;
        if self.known().set.is_empty() {
            return Err(Error::internal("the signing key that was just stored is not there"));
        }
        Ok(())
    }

    /// Reads the keys and makes none. `false` when there are none.
    ///
    /// # Errors
    /// [`Error::Setup`] when the root key does not open them.
    pub async fn read(&self) -> Result<bool, Error> {
        self.look().await
    }

    /// Reads what changed, makes the next key when there is none ahead, and deletes those that have had their time.
    ///
    /// # Errors
    /// [`Error::Setup`] when the root key does not open a key that is new.
    pub async fn tend(&self) -> Result<(), Error> {
        if !self.look().await? {
            self.add(Times { generation: FIRST_GENERATION, signs_from: self.world.now() }).await?;
        }
        let (set, now) = (self.known().set, self.world.now());
        let times = times(&set);
        let made = rotation::next(&times, now, self.period);
        if let Some(next) = made {
            self.add(next).await?;
        }
        let over = |key: &&Held| rotation::ends(&times, key.times.generation).is_some_and(|at| at <= now);
        let over: Vec<KeyId> = set.iter().filter(over).map(|key| key.id).collect();
        if !over.is_empty() {
            let mut tx = self.db.begin(SCOPE).await?;
            for id in &over {
                store::key::delete(&mut tx, *id).await?;
            }
            tx.commit().await?;
        }
        if made.is_some() || !over.is_empty() {
            self.look().await?;
        }
        Ok(())
    }

    /// Does something with the keys out of turn, inside the transaction, and tells how they stand then. Nodes notice
    /// within seconds.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`].
    pub(super) async fn rotate(&self, tx: &mut Tx, what: Rotate) -> Result<Vec<SeenKey>, Error> {
        let now = self.world.now();
        let rows = store::key::lock(tx).await?;
        let all: Vec<Times> = rows.iter().map(store::key::Row::times).collect();
        let newest = all.iter().map(|key| key.generation).max().unwrap_or(0);
        let signing = rotation::signing(&all, now).map_or(0, |key| key.generation);
        let next = rows.iter().filter(|row| row.generation > signing).min_by_key(|row| row.generation);
        let at_once = Times { generation: newest.saturating_add(1), signs_from: now };
        match (what, next) {
            (Rotate::Next, Some(next)) => {
                let at = now.max(next.created_at.plus(rotation::PUBLISHED_AHEAD)).min(next.signs_from);
                store::key::sign_from(tx, next.id, at).await?;
            }
            (Rotate::Next, None) => {
                let signs_from = now.plus(rotation::PUBLISHED_AHEAD);
                self.insert(tx, Times { signs_from, ..at_once }).await?;
            }
            (Rotate::RetireAll, _) => {
                for row in &rows {
                    store::key::delete(tx, row.id).await?;
                }
                self.insert(tx, at_once).await?;
            }
            (Rotate::Retire(id), next) => {
                let lost = rows.iter().find(|row| row.id == id).ok_or(Error::NoSuchKey)?;
                store::key::delete(tx, id).await?;
                match next {
                    _ if lost.generation != signing => {}
                    Some(next) => store::key::sign_from(tx, next.id, now).await?,
                    None => self.insert(tx, at_once).await?,
                }
            }
        }
        let rows = store::key::lock(tx).await?;
        Ok(seen(rows.iter().map(|row| (row.id, row.created_at, row.times())).collect(), now))
    }

    /// The keys as this node knows them, the newest first.
    pub(super) fn seen(&self) -> Vec<SeenKey> {
        let set = self.known().set;
        seen(set.iter().map(|key| (key.id, key.created_at, key.times)).collect(), self.world.now())
    }

    /// Signs a statement with the key whose time it is.
    ///
    /// # Errors
    /// [`Error::Internal`] when the keys were never read.
    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let set = self.known().set;
        let signing = rotation::signing(&times(&set), self.world.now());
        let key = signing.and_then(|signing| set.iter().find(|key| key.times == signing));
        let key = key.ok_or_else(|| Error::internal("no signing key was read"))?;
        token::sign(claims, &key.kid, &key.signs)
    }

    /// The key that a token names.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] when there is no such key.
    pub async fn verifying(&self, id: KeyId) -> Result<DecodingKey, Error> {
        let held = |known: Known| known.set.iter().find(|key| key.id == id).map(|key| key.verifies.clone());
        let known = self.known();
        let (now, looked_at) = (self.world.now(), known.looked_at);
        if let Some(key) = held(known) {
            return Ok(key);
        }
        let recent = looked_at.is_some_and(|at| now >= at && now.since(at) < LOOK_EVERY);
        if !recent {
            self.look().await?;
        }
        held(self.known()).ok_or(Error::TokenInvalid)
    }

    /// Whether this is a key that tokens are checked with, as far as this node knows.
    pub fn holds(&self, id: KeyId) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.set.iter().any(|key| key.id == id)
    }

    /// The public halves as a JSON Web Key Set: the one that signs first, then those that will or did.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        let jwk = |key: &Held| {
            serde_json::json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "use": "sig",
                "alg": "EdDSA",
                "kid": key.kid,
                "x": URL_SAFE_NO_PAD.encode(key.public),
            })
        };
        let set = self.known().set;
        let signing = rotation::signing(&times(&set), self.world.now());
        let (first, others): (Vec<&Held>, Vec<&Held>) =
            set.iter().partition(|key| signing.is_some_and(|signing| signing == key.times));
        let keys: Vec<_> = first.into_iter().chain(others).map(jwk).collect();
        serde_json::json!({ "keys": keys })
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn add(&self, times: Times) -> Result<(), Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        self.insert(&mut tx, times).await?;
        tx.commit().await?;
        self.look().await?;
        Ok(())
    }

    /// Makes a key, unless another node has made one of the same generation: then that one counts.
    async fn insert(&self, tx: &mut Tx, times: Times) -> Result<(), Error> {
        let id: KeyId = self.world.id();
        let seed = self.world.bytes::<32>();
        let row = store::key::Row {
            id,
            generation: times.generation,
            public_key: KeyPair::from_seed(&seed).public().to_vec(),
            private_key: self.root.seal(&self.world, &purpose(id), &seed).map_err(Error::internal)?,
            created_at: self.world.now(),
            signs_from: times.signs_from,
        };
        Ok(store::key::insert(tx, &row).await?)
    }

    /// Reads the rows, if they are not those that are known. `false` when there are none.
    async fn look(&self) -> Result<bool, Error> {
        let looked_at = Some(self.world.now());
        let mut session = self.db.conn(SCOPE).await?;
        let stored = store::key::marks(&mut session).await?;
        let known = self.known().set;
        let same = known.len() == stored.len()
            && known.iter().zip(&stored).all(|(key, (id, at))| key.id == *id && key.times.signs_from == *at);
        let set = if same {
            known
        } else {
            let rows = store::key::newest(&mut session).await?;
            rows.iter().map(|row| self.open(row)).collect::<Result<Arc<[Held]>, Error>>()?
        };
        let found = !set.is_empty();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { set, looked_at };
        Ok(found)
    }

    fn open(&self, row: &store::key::Row) -> Result<Held, Error> {
        let unreadable = || {
            Error::Setup(format!(
                "The signing key {} cannot be opened: the root key is not the one that the database was made with.",
                row.id
            ))
        };
        let opened = self.root.open(&purpose(row.id), &row.private_key).map_err(|_| unreadable())?;
        let seed = <[u8; 32]>::try_from(opened.expose().as_slice()).map_err(|_| unreadable())?;
        let pair = KeyPair::from_seed(&seed);
        if pair.public().as_slice() != row.public_key {
            return Err(unreadable());
        }
        Ok(Held {
            id: row.id,
            times: row.times(),
            created_at: row.created_at,
            kid: row.id.to_string(),
            public: pair.public(),
            signs: pair.encoding(),
            verifies: pair.decoding(),
        })
    }
}

fn times(set: &[Held]) -> Vec<Times> {
    set.iter().map(|key| key.times).collect()
}

fn seen(keys: Vec<(KeyId, Timestamp, Times)>, now: Timestamp) -> Vec<SeenKey> {
    let times: Vec<Times> = keys.iter().map(|(_, _, times)| *times).collect();
    let one = |(id, created_at, own): (KeyId, Timestamp, Times)| SeenKey {
        id,
        duty: rotation::duty(&times, own.generation, now),
        created_at,
        signs_from: own.signs_from,
        ends_at: rotation::ends(&times, own.generation),
    };
    keys.into_iter().map(one).collect()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Binds a wrapped key to its row: one row's key does not open as another's.
fn purpose(id: KeyId) -> String {
    format!("auth.signing_key.{id}")
}
