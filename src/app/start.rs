//! What stands before a node can be built: its folder, its lock, its keys and its first administrator.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{App, Error};
use crate::auth;
use crate::base::World;
use crate::config::Config;
use crate::db::{self, Db};
use crate::keyring::RootKey;
use crate::mail;

/// Makes the data folder, which only its owner can enter.
///
/// # Errors
/// What the system refuses.
pub fn prepare_folder(config: &Config) -> Result<(), Error> {
    let folder = &config.data_dir;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(Error::io(format!("the data folder {} cannot be made (DATA_DIR)", folder.display())))
}

/// Holds a SQLite file for this process until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

/// Takes the lock of a SQLite file, for only one process may serve from it. PostgreSQL needs none.
///
/// # Errors
/// When another process holds it.
pub fn lock(config: &Config) -> Result<Lock, Error> {
    let Some(path) = db::Options::new(config.database.url.expose()).sqlite_path() else {
        return Ok(Lock { _file: None });
    };
    // The file itself, whatever links lead to it. One that is not there yet has no links.
    let path = path.canonicalize().unwrap_or(path).with_extension("serve-lock");
    let what = format!("{} cannot be locked", path.display());
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(Error::io(what.clone()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: Some(file) }),
        Err(TryLockError::WouldBlock) => Err(Error::Served(path)),
        Err(TryLockError::Error(cause)) => Err(Error::Io { what, cause }),
    }
}

/// Brings the database to the level of this program, and tells from which level to which. On PostgreSQL the owner of
/// the tables does it, where the settings name one, and gives the role that serves its rights.
///
/// # Errors
/// What the database refuses.
pub async fn migrate(config: &Config, db: &Db) -> Result<(db::Level, db::Level), db::Error> {
    let Some(url) = &config.database.owner_url else {
        let before = db.level().await?;
        db.migrate().await?;
        return Ok((before, db.level().await?));
    };
    let owner = Db::open(&db::Options { connections_max: 1, ..db::Options::new(url.expose()) }).await?;
    let migrated = async {
        let before = owner.level().await?;
        db.migrate_as(&owner).await?;
        Ok((before, db.level().await?))
    };
    let migrated = migrated.await;
    owner.close().await;
    migrated
}

/// Which database the settings name, without a password.
#[must_use]
pub fn describe_database(config: &Config) -> String {
    let url = config.database.url.expose();
    match url.strip_prefix("sqlite://") {
        Some(path) => format!("SQLite in {path}"),
        None => match url.rsplit_once('@') {
            Some((_, host)) => format!("PostgreSQL at {}", host.split('?').next().unwrap_or(host)),
            None => "PostgreSQL".to_owned(),
        },
    }
}

/// The root key from the settings, or the one in the data folder. It is made when there is none and nothing has been
/// wrapped yet; a lost one must come back from a backup, for another opens nothing.
pub(super) async fn root_key(config: &Config, db: &Db, world: &World) -> Result<RootKey, Error> {
    if let Some(key) = existing_root_key(config)? {
        return Ok(key);
    }
    let path = root_key_file(config);
    if auth::Service::has_signing_keys(db).await? {
        return Err(Error::RootKeyLost(path));
    }
    let text = RootKey::generate(world);
    write_private(&path, text.expose())
        .map_err(Error::io(format!("{} cannot be written", path.display())))?;
    RootKey::parse(text.expose()).map_err(|error| Error::RootKey(path, error))
}

/// The root key from the settings, or the one in the data folder; none when there is neither.
///
/// # Errors
/// When there is one that cannot be used.
pub fn existing_root_key(config: &Config) -> Result<Option<RootKey>, Error> {
    if let Some(key) = &config.root_key {
        return Ok(Some(key.clone()));
    }
    let path = root_key_file(config);
    match std::fs::read_to_string(&path) {
        Ok(text) => RootKey::parse(&text).map(Some).map_err(|error| Error::RootKey(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::Io { what: format!("{} cannot be read", path.display()), cause }),
    }
}

/// Where the root key stands when the settings do not give one.
#[must_use]
pub fn root_key_file(config: &Config) -> PathBuf {
    config.data_dir.join("root.key")
}

/// Where the first administrator's one-time password stands until it is used.
#[must_use]
pub fn one_time_password_file(config: &Config) -> PathBuf {
    config.data_dir.join("administrator-password")
}

impl App {
    /// Sees to it that the platform has an administrator. Tells the address when a one-time password was written.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn administrator(&self) -> Result<Option<String>, Error> {
        let path = one_time_password_file(&self.config);
        let publish = |_: &_, password: &crate::base::Secret<String>| write_private(&path, password.expose());
        let issued = self.auth.ensure_administrator(publish).await?;
        Ok(issued.map(|email| email.as_str().to_owned()))
    }
}

/// What sends letters, as the settings say.
pub(super) fn postman(config: &Config, world: &World, root: &RootKey) -> Result<Arc<mail::Postman>, Error> {
    let mailer = mail::mailer(&config.mail.route, &config.mail.from)?;
    let outbox = mail::Outbox::new(world.clone(), root.clone());
    Ok(Arc::new(mail::Postman::new(outbox, world.clone(), mailer)))
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}
