//! Making a backup.

use std::path::Path;
use std::time::Duration;

use super::files::Copied;
use super::folder::Draft;
use super::manifest::{Entry, Kind, Manifest, Postgres};
use super::{Error, Place, ROOT_KEY_FILE};
use crate::auth::keys::Keys;
use crate::db::{Access, Db};

/// How often a person is told how much is written.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Writes a backup of a database to the folder `to`, which is not there yet. Whoever writes to the database goes on.
/// The root key goes with it when `root_key` is its text.
///
/// # Errors
/// What keeps it from being made; then nothing is left of it.
pub async fn write(place: &Place<'_>, to: &Path, root_key: Option<&str>) -> Result<Manifest, Error> {
    let db = place.open(Access::Read).await?;
    let written = from(place, &db, to, root_key).await;
    db.close().await;
    written
}

async fn from(place: &Place<'_>, db: &Db, to: &Path, root_key: Option<&str>) -> Result<Manifest, Error> {
    let level = db.level().await?.applied;
    if level == 0 {
        return Err(Error::Empty);
    }
    let kind = Kind::of(db.engine());
    let mut manifest = Manifest::begin(kind, level, place.world.now().to_rfc3339());
    manifest.root_key_mark = key_mark(place, db).await?;
    let draft = Draft::begin(to)?;
    let (files, draft) = Copied::default().with_what_came(place, draft).await?;
    let file = draft.path(kind.file());
    let copied = watched(place, &file, async {
        match kind {
            Kind::Sqlite => db.copy_into(&file).await.map_err(Error::from),
            Kind::Postgres => dump(place, db, &file, &mut manifest).await,
        }
    });
    copied.await?;
    if db.level().await?.applied != level {
        return Err(Error::MigratedMeanwhile);
    }
    let (files, draft) = files.with_what_came(place, draft).await?;
    (place.report)("computing digests");
    let (draft, data) = sealed(draft, kind).await?;
    manifest.files.push(data);
    if place.files.is_some() {
        let (list, attachments) = files.list(&draft)?;
        manifest.files.push(list);
        manifest.attachments = Some(attachments);
    }
    if let Some(text) = root_key {
        manifest.files.push(draft.put(ROOT_KEY_FILE, text.as_bytes())?);
    }
    draft.finish(&manifest)?;
    Ok(manifest)
}

/// What tells the root key, once it is seen that it opens what is stored. A backup with a key that does not fit would
/// be found out on the day it is needed.
async fn key_mark(place: &Place<'_>, db: &Db) -> Result<Option<String>, Error> {
    if !crate::auth::Service::has_signing_keys(db).await? {
        return Ok(place.mark());
    }
    let root = place.root.clone().ok_or(Error::RootKeyMissing)?;
    Keys::reader(db.clone(), place.world.clone(), root).read().await?;
    Ok(place.mark())
}

async fn dump(place: &Place<'_>, db: &Db, file: &Path, manifest: &mut Manifest) -> Result<(), Error> {
    const TOOL: &str = "pg_dump";
    let Some(server) = db.server().await? else { return Ok(()) };
    let found = place.tools.version(TOOL).await?;
    if found < server.version {
        return Err(Error::OldTool { tool: TOOL, found, needed: server.version });
    }
    let schema = server.schema.ok_or(Error::Empty)?;
    let arguments = [
        "--format=custom",
        "--no-password",
        // The policies hold for the dump too: it is made for a purpose of the platform (db::environment), which sees
        // every row. Without this word it would be refused.
        "--enable-row-security",
        &format!("--schema={}", quoted(&schema)),
        &format!("--file={}", file.display()),
    ];
    place.tools.on(TOOL, place.url.expose(), &arguments).await?;
    manifest.postgres = Some(Postgres { server_version: server.version, dump_version: found, schema });
    Ok(())
}

/// A name that a tool takes for itself, not for a pattern.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Forces the data to the disk and computes its digest, off the threads that others wait on.
async fn sealed(draft: Draft, kind: Kind) -> Result<(Draft, Entry), Error> {
    let work = tokio::task::spawn_blocking(move || draft.seal(kind.file()).map(|entry| (draft, entry)));
    work.await
        .map_err(|error| Error::Io { what: "the digest".to_owned(), cause: std::io::Error::other(error) })?
}

/// Tells how much is written while `work` writes it.
async fn watched<T>(
    place: &Place<'_>,
    file: &Path,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    (place.report)("copying the database");
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(TOLD_EVERY) => {
                let bytes = file.metadata().map_or(0, |file| file.len());
                (place.report)(&format!("{} MiB are written", bytes >> 20));
            }
        }
    }
}
