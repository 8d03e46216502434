//! Why a backup is not made or not restored.

use std::path::PathBuf;

use super::manifest::Kind;
use crate::{auth, db};

/// Why a backup is not made or not restored. Whoever reads it runs the platform.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be used.
    #[error("the database cannot be used: {}", .0.chain())]
    Database(#[from] db::Error),
    /// The root key does not open what is stored.
    #[error("{0}")]
    Auth(#[from] auth::Error),
    /// The system refused something about a file.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Where the backup is to be is something already.
    #[error("{0} exists already; a backup never overwrites anything: choose another folder")]
    Exists(PathBuf),
    /// A backup was cut short there, or is being written.
    #[error(
        "{0} exists: a backup is being written there, or one was cut short; if none is running, remove it"
    )]
    Partial(PathBuf),
    /// The database has no tables of ours.
    #[error(
        "there is nothing to back up: the database has no migration; was the right one named (DATABASE__URL)?"
    )]
    Empty,
    /// The tables changed under the backup.
    #[error("the database was migrated while it was backed up; repeat the backup")]
    MigratedMeanwhile,
    /// The root key is not where the settings say.
    #[error(
        "the root key is missing, and the database holds keys that only it opens: put it back as root.key into the \
         data folder, or give SECURITY__ROOT_KEY"
    )]
    RootKeyMissing,
    /// A backup cannot be read.
    #[error("{path} is no backup that can be read: {why}")]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file is not what the manifest says.
    #[error("{path} is damaged: {why}; use another backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In what it differs.
        why: String,
    },
    /// Made by a later program.
    #[error(
        "the backup is at migration {backup} and this program knows {program}: restore it with the program that made \
         it ({version}) or a later one"
    )]
    Newer {
        /// The backup's level.
        backup: i64,
        /// The program's.
        program: i64,
        /// The version of the program that made the backup.
        version: String,
    },
    /// Made of the other engine.
    #[error(
        "the backup is of {backup} and the settings name {place}; a backup goes back to the engine it is from"
    )]
    OtherEngine {
        /// The backup's engine.
        backup: Kind,
        /// The settings' engine.
        place: Kind,
    },
    /// The root key is another one.
    #[error(
        "the root key of these settings is not the one that the backup was made with, and only that one opens what is \
         in it: put the right one into SECURITY__ROOT_KEY or root.key"
    )]
    OtherRootKey,
    /// The root key that the backup carries cannot be used.
    #[error("the root key in the backup cannot be used: {0}")]
    BadRootKey(crate::keyring::NotAKey),
    /// The files of the backup have no folder to go to.
    #[error(
        "the backup has files of conversations, and these settings keep them elsewhere: restore with STORAGE__URL set \
         to a folder (file://…), then copy what is in it to where they are kept, under the same names"
    )]
    FilesElsewhere,
    /// Something is where the data is to go.
    #[error("{0}: a restore overwrites nothing; move it away first, or name another place")]
    Occupied(String),
    /// The schema that the tables were in.
    #[error(
        "the backup is of the schema {backup}, and here the first schema of the search path is {place}: make a schema \
         of that name (CREATE SCHEMA) and name it in DATABASE__URL (?options[search_path]=…)"
    )]
    OtherSchema {
        /// The backup's.
        backup: String,
        /// The database's.
        place: String,
    },
    /// A tool is not installed.
    #[error(
        "{tool} cannot be started ({cause}): install PostgreSQL's client programs (on Debian: postgresql-client), or \
         name the folder that they are in with --tools"
    )]
    NoTool {
        /// Its name.
        tool: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A tool is too old.
    #[error(
        "{tool} is of PostgreSQL {found}, and {needed} or newer is needed; name the folder of a newer one with --tools"
    )]
    OldTool {
        /// Its name.
        tool: &'static str,
        /// Its version.
        found: u32,
        /// The least version.
        needed: u32,
    },
    /// A tool failed.
    #[error("{tool} failed: {said}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// The last that it said.
        said: String,
    },
    /// The data is back, but what follows is not done.
    #[error(
        "the data is restored, but what belongs to it is not done ({0}): before serving, run the statement UPDATE \
         threads SET epoch = epoch + 1 (on PostgreSQL after SET capecontrol.purpose = 'operator'), and `capecontrol \
         migrate`, which gives the serving role its rights"
    )]
    Unfinished(Box<Error>),
}

impl Error {
    /// Says what was tried when the system refused.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }
}
