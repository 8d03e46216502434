//! Backups: a folder with the data and a manifest that tells what it is, and the way back.
//!
//! A backup is written beside its place under a temporary name, forced to the disk and only then given its name, so
//! that a folder without `.partial` behind its name is whole. A restore verifies all that it can before it touches
//! anything, and refuses a place that holds something already. SQLite is copied and checked here; PostgreSQL's own
//! tools do its part. The root key is no part of a backup unless it is asked for: the two together are all that
//! somebody needs to be the platform.
//!
//! This module knows where the data is and what makes it whole; of what is in it, only the signing keys, which tell
//! whether a root key fits, and the epoch of threads, which a return to an older state must end.

mod error;
mod files;
mod folder;
mod manifest;
mod restore;
mod tools;
mod write;

use std::path::PathBuf;
use std::time::Duration;

pub use error::Error;
pub use manifest::{Attachments, Kind, Manifest};
pub use restore::{Restored, restore};
pub use tools::Tools;
pub use write::write;

use crate::base::{Secret, World};
use crate::db::{self, Access, Db};
use crate::keyring::RootKey;

/// The data file of a backup of SQLite.
const SQLITE_FILE: &str = "database.sqlite";
/// The data file of a backup of PostgreSQL, in the custom format of `pg_dump`.
const POSTGRES_FILE: &str = "database.pgdump";
/// The file of the root key, in a backup that has one.
const ROOT_KEY_FILE: &str = "root.key";
/// The folder of the files of conversations, in a backup that has them.
const FILES_FOLDER: &str = "files";
/// The list of these files.
const FILES_LIST: &str = "files.sha256";
/// How long a statement may run on PostgreSQL: one touches every thread.
const STATEMENT_MAX: Duration = Duration::from_hours(1);
/// What tells one root key from another without telling the key.
const MARK_PURPOSE: &str = "backup-mark";

/// Where the data is, and what is needed to work with it.
pub struct Place<'a> {
    /// `sqlite://<path>` or `postgres://…`; on PostgreSQL as the owner of the tables, where that is known.
    pub url: Secret<String>,
    /// The same as the role that serves, when it is another.
    pub server_url: Option<Secret<String>>,
    /// The folder that files of conversations are kept in; none when they are kept elsewhere.
    pub files: Option<PathBuf>,
    /// The root key, when there is one.
    pub root: Option<RootKey>,
    /// Time and randomness.
    pub world: World,
    /// Where PostgreSQL's tools are.
    pub tools: Tools,
    /// Tells a person how it goes.
    pub report: &'a (dyn Fn(&str) + Sync),
}

impl Place<'_> {
    /// The file, on SQLite.
    fn path(&self) -> Option<PathBuf> {
        db::Options::new(self.url.expose()).sqlite_path()
    }

    async fn open(&self, access: Access) -> Result<Db, Error> {
        let options = db::Options {
            access,
            connections_max: 2,
            statement_max: STATEMENT_MAX,
            ..db::Options::new(self.url.expose())
        };
        Ok(Db::open(&options).await?)
    }

    fn mark(&self) -> Option<String> {
        self.root.as_ref().map(mark)
    }
}

/// What tells a root key from another.
fn mark(root: &RootKey) -> String {
    folder::hex(root.derive(MARK_PURPOSE).expose())
}
