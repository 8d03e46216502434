//! What a command of an operator works with, beside a node that may be serving from the same database.

use std::sync::Arc;
use std::time::Duration;

use super::start::existing_root_key;
use super::{Error, auth_options, operators, payments_options};
use crate::base::World;
use crate::config::Config;
use crate::db::{self, Access, Db};
use crate::keyring::RootKey;
use crate::payments::provider::Http;
use crate::{auth, chat, operations, payments};

/// How long a command waits for its turn to write. A node never holds a SQLite file for so long.
const TURN_MAX: Duration = Duration::from_secs(30);

/// A database that is at the level of this program, and accounts.
pub struct Console {
    /// The database.
    pub db: Db,
    /// Accounts.
    pub auth: Arc<auth::Service>,
    /// Conversations.
    pub chat: chat::Operator,
    /// Jobs that failed, and how the platform stands.
    pub operations: operations::Service,
    /// The ledger.
    pub ledger: payments::Ledger,
    /// Whether there are signing keys: not before the platform was served for the first time.
    pub has_keys: bool,
}

impl Console {
    /// Opens what is there. Nothing is made: neither a database nor a key.
    ///
    /// # Errors
    /// When there is no database, it is at another level, or the root key does not open what it holds.
    pub async fn open(config: &Config, world: World, access: Access) -> Result<Self, Error> {
        let options = db::Options {
            access,
            connections_max: 2,
            wait_max: TURN_MAX,
            ..db::Options::new(config.database.url.expose())
        };
        must_exist(config)?;
        let db = Db::open(&options).await?;
        let level = db.level().await?;
        if !level.is_current() {
            return Err(Error::Level(level));
        }
        let root = match existing_root_key(config)? {
            Some(root) => root,
            None if auth::Service::has_signing_keys(&db).await? => {
                return Err(Error::RootKeyLost(super::root_key_file(config)));
            }
            // Nothing was ever wrapped, and without signing keys nothing here wraps anything.
            None => RootKey::new(world.bytes()),
        };
        let auth = auth::Service::new(db.clone(), world.clone(), auth_options(config), root.clone())?;
        let has_keys = auth.read_keys().await?;
        let auth = Arc::new(auth);
        let ledger = payments::Ledger::new(db.clone(), world.clone(), auth.audit().clone(), &root);
        let chat = chat::Operator::new(db.clone(), world.clone(), auth.audit().clone());
        let operations = operators(config, db.clone(), world, Arc::clone(&auth));
        Ok(Self { db, auth, chat, operations, ledger, has_keys })
    }

    /// Money, for commands that read about it.
    ///
    /// # Errors
    /// When the provider's client cannot be made.
    pub fn payments(&self, config: &Config, world: World) -> Result<payments::Service, Error> {
        let options = payments_options(config);
        let provider = Arc::new(Http::new(&options)?);
        let (audit, ledger) = (self.auth.audit().clone(), self.ledger.clone());
        Ok(payments::Service::new(self.db.clone(), world, options, provider, audit, ledger))
    }
}

/// Refuses a SQLite file that is not there, before something makes it.
///
/// # Errors
/// [`Error::NoDatabase`].
pub fn must_exist(config: &Config) -> Result<(), Error> {
    let path = db::Options::new(config.database.url.expose()).sqlite_path();
    match path.filter(|path| !path.exists()) {
        Some(path) => Err(Error::NoDatabase(path)),
        None => Ok(()),
    }
}
