//! The files of conversations in a backup, where they are kept in a folder.
//!
//! They are copied twice: all of them before the database, and after it what came meanwhile. So each file that the copy
//! of the database tells of is there, also when it was deleted in between; what is there beyond that, the jobs in that
//! copy remove. Bytes under a name never change once they are there. What the files are, a list tells, in the form of
//! `sha256sum`, and the manifest what the list is.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};

use super::folder::{self, Draft};
use super::manifest::{Attachments, Entry};
use super::{Error, FILES_FOLDER, FILES_LIST, Place};

/// What is copied, by its path below the folder of files.
#[derive(Default)]
pub(super) struct Copied(BTreeMap<PathBuf, Entry>);

impl Copied {
    /// Copies what is not copied yet of the files of a place, off the threads that others wait on.
    pub(super) async fn with_what_came(
        self,
        place: &Place<'_>,
        draft: Draft,
    ) -> Result<(Self, Draft), Error> {
        let Some(folder) = place.files.clone() else { return Ok((self, draft)) };
        (place.report)("copying files");
        let mut copied = self;
        let work = move || {
            let to = draft.path(FILES_FOLDER);
            copied.add(&folder, Path::new(""), &to)?;
            Ok((copied, draft))
        };
        blocking(work).await
    }

    fn add(&mut self, folder: &Path, below: &Path, to: &Path) -> Result<(), Error> {
        let from = folder.join(below);
        let what = || format!("{} cannot be read", from.display());
        let entries = match std::fs::read_dir(&from) {
            // Removed meanwhile, or nothing was ever kept.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(Error::io(what()))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io(what()))?;
            let path = below.join(entry.file_name());
            if entry.file_type().map_err(Error::io(what()))?.is_dir() {
                self.add(folder, &path, to)?;
            } else if !self.0.contains_key(&path) && !is_half_written(&path) {
                self.copy(folder, path, to)?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, folder: &Path, path: PathBuf, to: &Path) -> Result<(), Error> {
        let (from, to) = (folder.join(&path), to.join(&path));
        let what = format!("{} cannot be copied to {}", from.display(), to.display());
        let copied = || {
            let mut file = File::open(&from)?;
            make_folder(&folder::parent(&to))?;
            let mut copy = folder::create_new(&to)?;
            let known = folder::digest(&mut file, |part| copy.write_all(part))?;
            copy.sync_all()?;
            folder::sync_folder(&folder::parent(&to))?;
            Ok::<_, io::Error>(known)
        };
        let (bytes, sha256) = match copied() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => return Ok(()),
            known => known.map_err(Error::io(what))?,
        };
        let name = format!("{FILES_FOLDER}/{}", path.display());
        self.0.insert(path, Entry { name, bytes, sha256 });
        Ok(())
    }

    /// Writes the list, and tells what is in the backup.
    pub(super) fn list(&self, draft: &Draft) -> Result<(Entry, Attachments), Error> {
        let line = |entry: &Entry| format!("{}  {}\n", entry.sha256, entry.name);
        let list: String = self.0.values().map(line).collect();
        let bytes = self.0.values().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
        let files = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        Ok((draft.put(FILES_LIST, list.as_bytes())?, Attachments { files, bytes }))
    }
}

/// What the place of files has begun to write and not given its name.
fn is_half_written(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().contains('#'))
}

/// Files that lie beside where they go, and are what the list says.
pub(super) struct Staged {
    folder: PathBuf,
    place: PathBuf,
}

impl Staged {
    /// Copies the files of a backup beside where they go. Nothing when the backup has none.
    pub(super) async fn of(
        place: &Place<'_>,
        from: &Path,
        list: Option<&Entry>,
    ) -> Result<Option<Self>, Error> {
        let Some(list) = list else { return Ok(None) };
        let mut text = Vec::new();
        folder::verify(from, list, |part| text.write_all(part))?;
        if text.is_empty() {
            return Ok(None);
        }
        let to = place.files.clone().ok_or(Error::FilesElsewhere)?;
        if std::fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::Occupied(format!("{} has files", to.display())));
        }
        (place.report)("copying and verifying files");
        let from = from.to_owned();
        blocking(move || Self::copy(&from, &String::from_utf8_lossy(&text), to)).await.map(Some)
    }

    fn copy(from: &Path, list: &str, place: PathBuf) -> Result<Self, Error> {
        let mut name = place.as_os_str().to_owned();
        name.push(".restoring");
        let staged = Self { folder: PathBuf::from(name), place };
        let what = format!("{} cannot be written", staged.folder.display());
        staged.clear().map_err(Error::io(what.clone()))?;
        for line in list.lines() {
            let unreadable =
                || Error::Unreadable { path: from.join(FILES_LIST), why: format!("it has the line {line}") };
            let (sha256, name) = line.split_once("  ").ok_or_else(unreadable)?;
            let path = below(name).ok_or_else(unreadable)?;
            let to = staged.folder.join(path);
            let source = from.join(name);
            let missing = format!("{} cannot be read", source.display());
            let bytes = source.metadata().map_err(Error::io(missing))?.len();
            let entry = Entry { name: name.to_owned(), bytes, sha256: sha256.to_owned() };
            let file = make_folder(&folder::parent(&to)).and_then(|()| folder::create_new(&to));
            let mut file = file.map_err(Error::io(what.clone()))?;
            folder::verify(from, &entry, |part| file.write_all(part))?;
            let synced = file.sync_all().and_then(|()| folder::sync_folder(&folder::parent(&to)));
            synced.map_err(Error::io(what.clone()))?;
        }
        Ok(staged)
    }

    /// Puts the files where they go.
    pub(super) fn put(self) -> Result<(), Error> {
        let put = || {
            // Refused when something has come there meanwhile.
            std::fs::rename(&self.folder, &self.place)?;
            folder::sync_folder(&folder::parent(&self.place))
        };
        put().map_err(Error::io(format!("{} cannot be put in place", self.place.display())))
    }

    fn clear(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What was not put in place goes; only a process that was killed leaves it behind, until the next restore.
impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(%error, folder = %self.folder.display(), "staged files could not be removed");
        }
    }
}

/// Where a file of the list goes; nothing for a name that leads elsewhere.
fn below(name: &str) -> Option<&Path> {
    let path = Path::new(name).strip_prefix(FILES_FOLDER).ok()?;
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && path.components().next().is_some()).then_some(path)
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Io { what: "the copy".to_owned(), cause: io::Error::other(error) })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_or_came_while_the_database_was_copied_is_there() {
        let (files, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = files.path().join("attachments/a");
        let write = |name: &str| std::fs::write(folder.join(name), name).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        write("stays");
        write("goes");
        write("half#1");
        let mut copied = Copied::default();
        copied.add(files.path(), Path::new(""), backup.path()).unwrap();
        std::fs::remove_file(folder.join("goes")).unwrap();
        write("comes");
        copied.add(files.path(), Path::new(""), backup.path()).unwrap();
        copied.add(&files.path().join("none"), Path::new(""), backup.path()).unwrap();
        let names: Vec<_> = copied.0.values().map(|entry| (&*entry.name, entry.bytes)).collect();
        let expected = [("comes", 5), ("goes", 4), ("stays", 5)];
        let expected = expected.map(|(name, bytes)| (format!("files/attachments/a/{name}"), bytes));
        assert!(
            names.iter().copied().eq(expected.iter().map(|(name, bytes)| (&**name, *bytes))),
            "{names:?}"
        );
        assert_eq!(std::fs::read(backup.path().join("attachments/a/goes")).unwrap(), b"goes");
    }

    #[test]
    fn a_name_in_a_list_leads_nowhere_else() {
        assert_eq!(below("files/attachments/a/b/original"), Some(Path::new("attachments/a/b/original")));
        for name in [
            "files",
            "files/",
            "files/../x",
            "files/a/../../x",
            "/etc/passwd",
            "database.sqlite",
            "../files/a",
            "",
        ] {
            assert_eq!(below(name), None, "{name}");
        }
    }
}
