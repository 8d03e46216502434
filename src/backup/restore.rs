//! Restoring a backup: everything is verified first, and what is put in place is put there in one step.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::files::Staged;
use super::manifest::{Entry, Kind, Manifest};
use super::{Error, Place, ROOT_KEY_FILE, folder, mark};
use crate::account_log;
use crate::auth::keys::Keys;
use crate::base::Secret;
use crate::chat;
use crate::db::{self, Access, Db, Engine, Scope};
use crate::keyring::RootKey;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// From what.
    pub manifest: Manifest,
    /// Whether the database has to be migrated before it can be served.
    pub behind: bool,
    /// Whether the root key was put in place too.
    pub with_root_key: bool,
}

/// Restores the backup in the folder `from` to a place where nothing is. `root_key_file` is where the root key goes
/// when the backup carries one and the place has none.
///
/// On SQLite either all of it is in place afterwards or nothing is, whenever the process dies. On PostgreSQL that holds
/// of the data; [`Error::Unfinished`] tells when what follows it was not done.
///
/// # Errors
/// What keeps it from being restored.
pub async fn restore(place: &Place<'_>, from: &Path, root_key_file: &Path) -> Result<Restored, Error> {
    let manifest = folder::read_manifest(from)?;
    let kind = if place.path().is_some() { Kind::Sqlite } else { Kind::Postgres };
    if manifest.engine != kind {
        return Err(Error::OtherEngine { backup: manifest.engine, place: kind });
    }
    let program = db::newest_migration(if kind == Kind::Sqlite { Engine::Sqlite } else { Engine::Postgres });
    if manifest.level > program {
        let version = manifest.program_version.clone();
        return Err(Error::Newer { backup: manifest.level, program, version });
    }
    let carried = carried_key(from, &manifest)?;
    let root = place.root.clone().or_else(|| carried.as_ref().map(|carried| carried.root.clone()));
    check_key(&manifest, root.as_ref())?;
    let files = Staged::of(place, from, manifest.list()).await?;
    match place.path() {
        Some(path) => {
            let before = || {
                put_key(place, carried.as_ref(), root_key_file)?;
                files.map_or(Ok(()), Staged::put)
            };
            restore_sqlite(place, from, &manifest, &path, root, before).await?;
        }
        None => restore_postgres(place, from, &manifest, root, files).await?,
    }
    let with_root_key = place.root.is_none() && carried.is_some();
    Ok(Restored { behind: manifest.level < program, with_root_key, manifest })
}

/// The root key that a backup carries.
struct Carried {
    root: RootKey,
    text: Secret<Vec<u8>>,
}

fn carried_key(from: &Path, manifest: &Manifest) -> Result<Option<Carried>, Error> {
    let Some(entry) = manifest.entry(ROOT_KEY_FILE) else { return Ok(None) };
    let mut bytes = Vec::new();
    folder::verify(from, entry, |part| bytes.write_all(part))?;
    let root = RootKey::parse(&String::from_utf8_lossy(&bytes)).map_err(Error::BadRootKey)?;
    Ok(Some(Carried { root, text: Secret::new(bytes) }))
}

fn check_key(manifest: &Manifest, root: Option<&RootKey>) -> Result<(), Error> {
    match (&manifest.root_key_mark, root) {
        (Some(_), None) => Err(Error::RootKeyMissing),
        (Some(expected), Some(root)) if *expected != mark(root) => Err(Error::OtherRootKey),
        _ => Ok(()),
    }
}

/// Puts the root key in place, which must come before the data: a key without data harms nobody.
fn put_key(place: &Place<'_>, carried: Option<&Carried>, file: &Path) -> Result<(), Error> {
    let (None, Some(Carried { text, .. })) = (&place.root, carried) else { return Ok(()) };
    let put = || {
        let staged = with_ending(file, ".restoring");
        clear_file(&staged)?;
        folder::write_new(&staged, text.expose())?;
        std::fs::rename(&staged, file)?;
        folder::sync_folder(&folder::parent(file))
    };
    put().map_err(Error::io(format!("{} cannot be written", file.display())))
}

fn data<'m>(manifest: &'m Manifest, from: &Path) -> Result<&'m Entry, Error> {
    let missing = || Error::Unreadable { path: from.to_owned(), why: "it names no data".to_owned() };
    manifest.entry(manifest.engine.file()).ok_or_else(missing)
}

async fn restore_sqlite(
    place: &Place<'_>,
    from: &Path,
    manifest: &Manifest,
    path: &Path,
    root: Option<RootKey>,
    before: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    // A log that was left would be played into the restored file.
    for path in std::iter::once(path.to_owned()).chain(companions(path)) {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Occupied(format!("{} is there", path.display())));
        }
    }
    let staged = with_ending(path, ".restoring");
    clear(&staged)?;
    (place.report)("copying and verifying");
    let copied = copy(from.to_owned(), data(manifest, from)?.clone(), staged.clone()).await;
    let checked = match copied {
        Ok(()) => examine(place, from, manifest, &staged, root).await,
        Err(error) => Err(error),
    };
    let placed = checked.and_then(|()| before()).and_then(|()| {
        // Unlike a rename, a link is refused when something has come there meanwhile.
        std::fs::hard_link(&staged, path)
            .and_then(|()| folder::sync_folder(&folder::parent(path)))
            .map_err(Error::io(format!("{} cannot be put in place", path.display())))
    });
    let cleared = clear(&staged);
    placed.and(cleared)
}

/// Copies the data to where it is examined. What is verified is what was copied.
async fn copy(from: PathBuf, entry: Entry, to: PathBuf) -> Result<(), Error> {
    let work = move || {
        let what = format!("{} cannot be written", to.display());
        let mut file = folder::create_new(&to).map_err(Error::io(what.clone()))?;
        folder::verify(&from, &entry, |part| file.write_all(part))?;
        file.sync_all().map_err(Error::io(what))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Io { what: "the copy".to_owned(), cause: std::io::Error::other(error) })?
}

/// Reads the copied file from end to end, and has it ready to be served.
async fn examine(
    place: &Place<'_>,
    from: &Path,
    manifest: &Manifest,
    staged: &Path,
    root: Option<RootKey>,
) -> Result<(), Error> {
    (place.report)("checking the data");
    let url = format!("sqlite://{}", staged.display());
    let options = db::Options { access: Access::Write, connections_max: 1, ..db::Options::new(url) };
    let db = Db::open(&options).await?;
    let damaged = |why: String| Error::Damaged { path: from.join(manifest.engine.file()), why };
    let examined = async {
        let faults = db.faults().await?;
        if !faults.is_empty() {
            return Err(damaged(faults.join("; ")));
        }
        finish(place, &db, manifest, root).await
    };
    let examined = examined.await;
    db.close().await;
    examined?;
    // The last connection writes its log into the file and removes it.
    match companions(staged).into_iter().find(|path| path.exists()) {
        Some(left) => Err(damaged(format!("{} was left", left.display()))),
        None => std::fs::File::open(staged)
            .and_then(|file| file.sync_all())
            .map_err(Error::io(format!("{} cannot be forced to the disk", staged.display()))),
    }
}

/// What holds of restored data on either engine: it is what the manifest says, the root key opens it, and streams that
/// saw a later state begin anew.
async fn finish(place: &Place<'_>, db: &Db, manifest: &Manifest, root: Option<RootKey>) -> Result<(), Error> {
    let level = db.level().await?.applied;
    if level != manifest.level {
        let why = format!("it is at migration {level} and the manifest says {}", manifest.level);
        return Err(Error::Unreadable { path: PathBuf::from(manifest.engine.file()), why });
    }
    if crate::auth::Service::has_signing_keys(db).await? {
        let root = root.ok_or(Error::RootKeyMissing)?;
        Keys::reader(db.clone(), place.world.clone(), root).read().await?;
    }
    let mut tx = db.begin(Scope::System("restore")).await?;
    chat::store::begin_epoch(&mut tx).await?;
    account_log::begin_epoch(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn restore_postgres(
    place: &Place<'_>,
    from: &Path,
    manifest: &Manifest,
    root: Option<RootKey>,
    files: Option<Staged>,
) -> Result<(), Error> {
    const TOOL: &str = "pg_restore";
    let Some(told) = &manifest.postgres else {
        return Err(Error::Unreadable { path: from.to_owned(), why: "it tells of no schema".to_owned() });
    };
    let db = place.open(Access::Write).await?;
    let Some(server) = db.server().await? else { return Ok(()) };
    if server.schema.as_ref() != Some(&told.schema) {
        let place = server.schema.unwrap_or_else(|| "missing".to_owned());
        return Err(Error::OtherSchema { backup: told.schema.clone(), place });
    }
    if server.relations > 0 {
        let what = format!("the schema {} of the database has {} tables", told.schema, server.relations);
        return Err(Error::Occupied(what));
    }
    let found = place.tools.version(TOOL).await?;
    let needed = told.dump_version.max(server.version);
    if found < needed {
        return Err(Error::OldTool { tool: TOOL, found, needed });
    }
    (place.report)("verifying");
    let (folder, entry) = (from.to_owned(), data(manifest, from)?.clone());
    let file = folder.join(&entry.name);
    let verified = tokio::task::spawn_blocking(move || folder::verify(&folder, &entry, |_| Ok(()))).await;
    verified.map_err(|error| Error::Io {
        what: "the digest".to_owned(),
        cause: std::io::Error::other(error),
    })??;
    (place.report)("restoring the database");
    let database = db::environment(place.url.expose())?;
    let database =
        database.iter().find(|(name, _)| *name == "PGDATABASE").map(|(_, value)| value.expose().as_str());
    let arguments = [
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        &format!("--schema={}", told.schema),
        &format!("--dbname={}", database.unwrap_or_default()),
        &file.display().to_string(),
    ];
    place.tools.on(TOOL, place.url.expose(), &arguments).await?;
    let finished = async {
        files.map_or(Ok(()), Staged::put)?;
        admit(place, &db).await?;
        finish(place, &db, manifest, root).await
    };
    let finished = finished.await;
    db.close().await;
    finished.map_err(|error| Error::Unfinished(Box::new(error)))
}

/// Gives the role that serves its rights on the restored tables, which are those of whoever restores.
async fn admit(place: &Place<'_>, owner: &Db) -> Result<(), Error> {
    let Some(url) = &place.server_url else { return Ok(()) };
    let server = Db::open(&db::Options { connections_max: 1, ..db::Options::new(url.expose()) }).await?;
    let admitted = server.admitted_by(owner).await;
    server.close().await;
    Ok(admitted?)
}

/// The files that SQLite keeps beside a database.
fn companions(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|ending| with_ending(path, ending))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Removes what a restore works in, also what one left that was cut short.
fn clear(staged: &Path) -> Result<(), Error> {
    for path in std::iter::once(staged.to_owned()).chain(companions(staged)) {
        clear_file(&path).map_err(Error::io(format!("{} cannot be removed", path.display())))?;
    }
    Ok(())
}

fn clear_file(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
