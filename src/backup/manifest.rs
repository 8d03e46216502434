//! The manifest: what a backup is, and by what its files are known. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::db::Engine;

use super::{FILES_LIST, POSTGRES_FILE, ROOT_KEY_FILE, SQLITE_FILE};

/// The manifest's own file.
pub(super) const FILE: &str = "manifest.json";
/// The form of the manifest and the files that this program writes and reads.
const FORMAT: u32 = 1;

/// Which engine a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Kind {
    /// The engine's.
    #[must_use]
    pub const fn of(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => Self::Sqlite,
            Engine::Postgres => Self::Postgres,
        }
    }

    /// The file that the data is in.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Sqlite => SQLITE_FILE,
            Self::Postgres => POSTGRES_FILE,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name in the folder.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

/// What only a backup of PostgreSQL tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// The server's major version.
    pub server_version: u32,
    /// The major version of the `pg_dump` that wrote it; an older `pg_restore` may not read it.
    pub dump_version: u32,
    /// The schema that the tables were in.
    pub schema: String,
}

/// What a backup has of the files of conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachments {
    /// How many there are.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of all this.
    pub format: u32,
    /// The version of the program that made it.
    pub program_version: String,
    /// The engine.
    pub engine: Kind,
    /// The newest migration in it.
    pub level: i64,
    /// When it was begun: what was committed before is in it.
    pub created_at: String,
    /// What tells the root key that opens it from others; the key cannot be learned from it. None when nothing in it is
    /// wrapped.
    pub root_key_mark: Option<String>,
    /// Of PostgreSQL only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
    /// The files of conversations; none when they are kept elsewhere, and not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Attachments>,
    /// The files.
    pub files: Vec<Entry>,
}

impl Manifest {
    /// The manifest of a backup that begins.
    pub(super) fn begin(engine: Kind, level: i64, created_at: String) -> Self {
        Self {
            format: FORMAT,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            engine,
            level,
            created_at,
            root_key_mark: None,
            postgres: None,
            attachments: None,
            files: Vec::new(),
        }
    }

    /// The entry of a file.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.files.iter().find(|entry| entry.name == name)
    }

    /// The list of the files of conversations.
    pub(super) fn list(&self) -> Option<&Entry> {
        self.entry(FILES_LIST)
    }

    /// Whether the root key is in the backup.
    #[must_use]
    pub fn has_root_key(&self) -> bool {
        self.entry(ROOT_KEY_FILE).is_some()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // The form first: another one may have other fields.
        let Format { format } = serde_json::from_slice(json).map_err(|error| format!("{FILE}: {error}"))?;
        if format != FORMAT {
            return Err(format!("{FILE} is of format {format}, and this program reads format {FORMAT}"));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|error| format!("{FILE}: {error}"))?;
        let mut names: Vec<&str> = manifest.files.iter().map(|entry| entry.name.as_str()).collect();
        names.retain(|name| ![ROOT_KEY_FILE, FILES_LIST].contains(name));
        if names != [manifest.engine.file()] {
            return Err(format!(
                "{FILE} must name {} once, and may name {ROOT_KEY_FILE} and {FILES_LIST}",
                manifest.engine.file()
            ));
        }
        if manifest.attachments.is_some() != manifest.list().is_some() {
            return Err(format!("{FILE} must have `attachments` when, and only when, it names {FILES_LIST}"));
        }
        if (manifest.engine == Kind::Postgres) != manifest.postgres.is_some() {
            return Err(format!("{FILE} must have `postgres` when, and only when, the engine is postgres"));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let mut manifest = Manifest::begin(Kind::Sqlite, 5, "2026-11-20T10:00:00Z".to_owned());
        manifest.files.push(Entry { name: SQLITE_FILE.to_owned(), bytes: 1, sha256: "00".to_owned() });
        manifest
    }

    fn read(manifest: &Manifest) -> Result<Manifest, String> {
        Manifest::read(&serde_json::to_vec(manifest).unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&manifest()).unwrap(), manifest());
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let later = br#"{"format": 2, "chapters": []}"#;
        assert!(Manifest::read(later).unwrap_err().contains("format 2"));
        assert!(Manifest::read(b"[]").is_err() && Manifest::read(b"").is_err());
        let named = |name: &str| {
            let mut manifest = manifest();
            manifest.files[0].name = name.to_owned();
            read(&manifest)
        };
        // A name must never lead out of the folder.
        for name in ["../etc/passwd", "/etc/passwd", "database.pgdump", ""] {
            assert!(named(name).is_err(), "{name}");
        }
        let mut twice = manifest();
        twice.files.push(twice.files[0].clone());
        assert!(read(&twice).is_err());
        let other = Manifest { engine: Kind::Postgres, ..manifest() };
        assert!(read(&other).is_err());
    }
}
