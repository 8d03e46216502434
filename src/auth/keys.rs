//! The keys that access tokens are signed with: rows that all nodes share, wrapped by the root key.
//!
//! The key of the highest generation signs; all that are still stored verify. A token that names a key this node has
//! not seen makes it look again, though not more than once every few seconds: a flood of invented names costs nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::base::{Id, Timestamp, World};
use crate::db::{Db, Scope};
use crate::keyring::RootKey;

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
    known: RwLock<Known>,
}

#[derive(Clone)]
struct Known {
    set: Arc<KeySet>,
    looked_at: Option<Timestamp>,
}

/// One reading of the rows.
#[derive(Default)]
struct KeySet {
    signing: Option<(String, EncodingKey)>,
    verifying: HashMap<KeyId, DecodingKey>,
    public: Vec<(String, [u8; 32])>,
}

impl Keys {
    /// Keys that are not read yet.
    #[must_use]
    pub fn new(db: Db, world: World, root: RootKey) -> Self {
        let known = Known { set: Arc::new(KeySet::default()), looked_at: None };
        Self { db, world, root, known: RwLock::new(known) }
    }

    /// Reads the keys; makes the first one when there is none. Nodes that do so at the same time end with the same key.
    ///
    /// # Errors
    /// [`Error::Setup`] when the root key does not open them.
    pub async fn prepare(&self) -> Result<(), Error> {
        if self.look().await? {
            return Ok(());
        }
        let row = self.first()?;
        let mut tx = self.db.begin(SCOPE).await?;
        store::key::insert(&mut tx, &row, self.world.now()).await?;
        tx.commit().await?;
        if self.look().await? {
            Ok(())
        } else {
            Err(Error::internal("the signing key that was just stored is not there"))
        }
    }

    /// Reads the keys and makes none. `false` when there are none.
    ///
    /// # Errors
    /// [`Error::Setup`] when the root key does not open them.
    pub async fn read(&self) -> Result<bool, Error> {
        self.look().await
    }

    /// Signs a statement with the newest key.
    ///
    /// # Errors
    /// [`Error::Internal`] when the keys were never read.
    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let set = self.known().set;
        let (kid, key) = set.signing.as_ref().ok_or_else(|| Error::internal("no signing key was read"))?;
        token::sign(claims, kid, key)
    }

    /// The key that a token names.
    ///
    /// # Errors
    /// [`Error::TokenInvalid`] when there is no such key.
    pub async fn verifying(&self, id: KeyId) -> Result<DecodingKey, Error> {
        if let Some(key) = self.known().set.verifying.get(&id) {
            return Ok(key.clone());
        }
        let now = self.world.now();
        let recent = self.known().looked_at.is_some_and(|at| now >= at && now.since(at) < LOOK_EVERY);
        if !recent {
            self.look().await?;
        }
        self.known().set.verifying.get(&id).cloned().ok_or(Error::TokenInvalid)
    }

    /// Whether this is a key that tokens are checked with, as far as this node knows.
    pub fn holds(&self, id: KeyId) -> bool {
        self.known().set.verifying.contains_key(&id)
    }

    /// The public halves as a JSON Web Key Set.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        let jwk = |(kid, public): &(String, [u8; 32])| {
            serde_json::json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "use": "sig",
                "alg": "EdDSA",
                "kid": kid,
                "x": URL_SAFE_NO_PAD.encode(public),
            })
        };
        let keys: Vec<_> = self.known().set.public.iter().map(jwk).collect();
        serde_json::json!({ "keys": keys })
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn first(&self) -> Result<store::key::Row, Error> {
        let id: KeyId = self.world.id();
        let seed = self.world.bytes::<32>();
        Ok(store::key::Row {
            id,
            generation: FIRST_GENERATION,
            public_key: KeyPair::from_seed(&seed).public().to_vec(),
            private_key: self.root.seal(&self.world, &purpose(id), &seed).map_err(Error::internal)?,
        })
    }

    /// Reads the rows. `false` when there are none.
    async fn look(&self) -> Result<bool, Error> {
        let looked_at = Some(self.world.now());
        let rows = {
            let mut session = self.db.conn(SCOPE).await?;
            store::key::newest(&mut session).await?
        };
        let mut set = KeySet::default();
        for row in &rows {
            self.open(row, &mut set)?;
        }
        let found = set.signing.is_some();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { set: Arc::new(set), looked_at };
        Ok(found)
    }

    fn open(&self, row: &store::key::Row, set: &mut KeySet) -> Result<(), Error> {
        let unreadable = || {
            Error::Setup(format!(
                "The signing key {} cannot be opened: the root key is not the one that the database was made with.",
                row.id
            ))
        };
        let opened = self.root.open(&purpose(row.id), &row.private_key).map_err(|_| unreadable())?;
        let seed = <[u8; 32]>::try_from(opened.expose().as_slice()).map_err(|_| unreadable())?;
        let (pair, kid) = (KeyPair::from_seed(&seed), row.id.to_string());
        if pair.public().as_slice() != row.public_key {
            return Err(unreadable());
        }
        set.verifying.insert(row.id, pair.decoding());
        set.public.push((kid.clone(), pair.public()));
        // The newest comes first.
        set.signing.get_or_insert((kid, pair.encoding()));
        Ok(())
    }
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
