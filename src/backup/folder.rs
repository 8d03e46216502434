//! Files and folders of backups: written whole or not at all, and known by their digests.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;
use super::manifest::{Entry, FILE, Manifest};

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// A manifest has some hundred bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A folder that is being written.
pub(super) struct Draft {
    /// Where it will be.
    place: PathBuf,
    /// Where it is.
    folder: PathBuf,
    done: bool,
}

impl Draft {
    /// Begins a folder that will be at `place`, where nothing is. Only its owner can enter it.
    pub(super) fn begin(place: &Path) -> Result<Self, Error> {
        if place.symlink_metadata().is_ok() {
            return Err(Error::Exists(place.to_owned()));
        }
        let mut name = place.file_name().map(ToOwned::to_owned).unwrap_or_default();
        name.push(".partial");
        let folder = place.with_file_name(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => Ok(Self { place: place.to_owned(), folder, done: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Partial(folder)),
            Err(cause) => Err(Error::Io { what: format!("{} cannot be made", folder.display()), cause }),
        }
    }

    /// Where a file of it is to be written.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Forces a file that was written to the disk, closes it to others, and tells what it is.
    pub(super) fn seal(&self, name: &str) -> Result<Entry, Error> {
        let path = self.path(name);
        let what = format!("{} cannot be forced to the disk", path.display());
        let sealed = || {
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            let mut file = File::open(&path)?;
            file.sync_all()?;
            digest(&mut file, |_| Ok(()))
        };
        let (bytes, sha256) = sealed().map_err(Error::io(what))?;
        Ok(Entry { name: name.to_owned(), bytes, sha256 })
    }

    /// Writes a small file and tells what it is.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<Entry, Error> {
        let path = self.path(name);
        write_new(&path, bytes).map_err(Error::io(format!("{} cannot be written", path.display())))?;
        self.seal(name)
    }

    /// Writes the manifest and gives the folder its name.
    pub(super) fn finish(mut self, manifest: &Manifest) -> Result<(), Error> {
        // A manifest is plain data; its JSON cannot fail.
        let mut json = serde_json::to_vec_pretty(manifest).unwrap_or_default();
        json.push(b'\n');
        self.put(FILE, &json)?;
        let named = || {
            sync_folder(&self.folder)?;
            // Refused when something that is not empty has come there meanwhile.
            std::fs::rename(&self.folder, &self.place)?;
            sync_folder(&parent(&self.place))
        };
        named().map_err(Error::io(format!("{} cannot be given its name", self.folder.display())))?;
        self.done = true;
        Ok(())
    }
}

/// What failed is removed; only a process that was killed leaves a draft behind.
impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(%error, folder = %self.folder.display(), "a backup that failed could not be removed");
        }
    }
}

/// Reads the manifest of a backup.
pub(super) fn read_manifest(folder: &Path) -> Result<Manifest, Error> {
    let path = folder.join(FILE);
    let unreadable = |why: String| Error::Unreadable { path: folder.to_owned(), why };
    let read = || {
        let mut json = Vec::new();
        File::open(&path)?.take(MANIFEST_BYTES_MAX).read_to_end(&mut json)?;
        Ok::<_, io::Error>(json)
    };
    let json = read().map_err(|error| unreadable(format!("{FILE} cannot be read ({error})")))?;
    Manifest::read(&json).map_err(unreadable)
}

/// Reads a file of a backup, hands its bytes on, and compares it with the manifest.
pub(super) fn verify(
    folder: &Path,
    entry: &Entry,
    each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Error> {
    let path = folder.join(&entry.name);
    let read = || digest(&mut File::open(&path)?, each);
    let (bytes, sha256) = read().map_err(Error::io(format!("{} cannot be read", path.display())))?;
    if bytes != entry.bytes {
        let why = format!("it has {bytes} bytes and the manifest says {}", entry.bytes);
        return Err(Error::Damaged { path, why });
    }
    if sha256 != entry.sha256 {
        return Err(Error::Damaged { path, why: "its SHA-256 is not the one in the manifest".to_owned() });
    }
    Ok(())
}

/// Writes a file that is not there yet, for its owner only, and forces it to the disk.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a file that is not there yet, for its owner only.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Forces the names in a folder to the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that a path stands in.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Reads a file, hands its bytes on, and tells how many they are and their SHA-256.
pub(super) fn digest(
    file: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(u64, String)> {
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0_u64, vec![0; CHUNK_BYTES]);
    loop {
        let read = file.read(&mut chunk)?;
        let part = chunk.get(..read).unwrap_or_default();
        if part.is_empty() {
            return Ok((bytes, hex(&hash.finalize())));
        }
        hash.update(part);
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(0));
        each(part)?;
    }
}

/// Bytes in lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
