//! Where the bytes of files are kept: in a folder, or at a service that speaks S3.
//!
//! A key is a path of plain words below the place that the settings name. What is written under a key is whole or not
//! there, and lasts once [`Storage::put`] says so. This module knows no domain: who may read what, and which keys there
//! are, is decided by whoever hands the keys in.

mod route;

use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, RetryConfig,
};

use crate::base::fault::{Code, Fault, Reason};

pub use route::{REGION, Route, S3};

/// How long a service may take to let us in.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long a request is tried again: less than a call may take, so that its caller hears of it.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// How often a request is tried again.
const RETRIES_MAX: usize = 3;
/// How many keys are deleted at once.
const DELETED_AT_ONCE: usize = 8;

/// Why bytes are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is kept under this key.
    #[error("There is no such file.")]
    NotFound,
    /// The place cannot be reached, or refuses.
    #[error("The platform's storage of files cannot be reached now; please repeat the call.")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The place of files did not answer.
pub static STORAGE_UNAVAILABLE: Reason = Reason::new(
    Code::Unavailable,
    "STORAGE_UNAVAILABLE",
    "The platform's storage of files cannot be reached now; repeat the call after the delay in RetryInfo.",
);

/// What this module answers.
pub static REASONS: &[&Reason] = &[&STORAGE_UNAVAILABLE];

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::NotFound => &crate::base::fault::INTERNAL,
            Self::Unavailable(_) => &STORAGE_UNAVAILABLE,
        }
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            error => {
                tracing::warn!(%error, "the storage of files failed");
                Self::Unavailable(error.into())
            }
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::NotFound } else { Self::Unavailable(error.into()) }
    }
}

/// Bytes as they come.
pub type Chunks = BoxStream<'static, Result<Bytes, Error>>;

/// A place of files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// The folder, when it is one.
    folder: Option<PathBuf>,
}

impl Storage {
    /// The place that a setting names. A folder is made, and only its owner can enter it.
    ///
    /// # Errors
    /// When the folder cannot be made, or the settings make no client.
    pub fn open(route: &Route) -> Result<Self, Error> {
        match route {
            Route::Folder(folder) => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
                Ok(Self { store: Arc::new(store), folder: Some(folder.clone()) })
            }
            Route::S3(options) => Ok(Self { store: s3(options)?, folder: None }),
        }
    }

    /// Keeps bytes under a key, instead of what was there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        self.store.put(&Path::from(key), bytes.into()).await?;
        Ok(())
    }

    /// All bytes under a key.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn get(&self, key: &str) -> Result<Bytes, Error> {
        Ok(self.store.get(&Path::from(key)).await?.bytes().await?)
    }

    /// The bytes under a key, or a part of them, piece by piece.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn read(&self, key: &str, part: Option<Range<u64>>) -> Result<Chunks, Error> {
        let options = GetOptions { range: part.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.store.get_opts(&Path::from(key), options).await?;
        Ok(found.into_stream().map_err(Error::from).boxed())
    }

    /// Removes whatever is kept below a key, also what was half written when a process died. Nothing there is fine.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn clear(&self, key: &str) -> Result<(), Error> {
        if let Some(folder) = &self.folder {
            return match tokio::fs::remove_dir_all(folder.join(key)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            };
        }
        let (store, below) = (&self.store, Path::from(key));
        let found = store.list(Some(&below)).map_err(Error::from);
        found
            .try_for_each_concurrent(DELETED_AT_ONCE, |object| async move {
                match store.delete(&object.location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            })
            .await
    }
}

fn s3(options: &S3) -> Result<Arc<dyn ObjectStore>, Error> {
    let retry =
        RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_MAX, backoff: BackoffConfig::default() };
    let client = ClientOptions::new().with_connect_timeout(CONNECT_MAX).with_timeout(REQUEST_MAX);
    let mut builder = AmazonS3Builder::new()
        // What is asked is signed with the credentials of the settings, never with those of the machine.
        .with_access_key_id(&options.access_key)
        .with_secret_access_key(options.secret_key.expose())
        .with_region(&options.region)
        .with_bucket_name(&options.bucket)
        // One file, one request: the request for many at once is not spoken by every service.
        .with_disable_bulk_delete(true)
        .with_retry(retry);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
    }
    let plain = options.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let store = builder.with_client_options(client.with_allow_http(plain)).build()?;
    if options.prefix.is_empty() {
        return Ok(Arc::new(store));
    }
    Ok(Arc::new(PrefixStore::new(store, options.prefix.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(storage: &Storage, key: &str, part: Option<Range<u64>>) -> Vec<u8> {
        let chunks: Vec<Bytes> = storage.read(key, part).await.unwrap().try_collect().await.unwrap();
        chunks.concat()
    }

    #[tokio::test]
    async fn a_folder_keeps_what_it_is_given_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&Route::Folder(folder.path().join("files"))).unwrap();
        for (key, text) in [("a/b/1", "one"), ("a/b/2", "two"), ("a/bc/1", "three")] {
            storage.put(key, Bytes::from_static(text.as_bytes())).await.unwrap();
        }
        storage.put("a/b/1", Bytes::from_static(b"uno")).await.unwrap();
        assert_eq!(storage.get("a/b/1").await.unwrap(), "uno");
        assert_eq!(read(&storage, "a/bc/1", None).await, b"three");
        assert_eq!(read(&storage, "a/bc/1", Some(1..3)).await, b"hr");
        // What a process left half written when it died goes too.
        std::fs::write(folder.path().join("files/a/b/3#1"), "half").unwrap();
        storage.clear("a/b").await.unwrap();
        storage.clear("a/b").await.unwrap();
        assert!(matches!(storage.get("a/b/2").await, Err(Error::NotFound)));
        assert!(!folder.path().join("files/a/b").exists());
        assert_eq!(storage.get("a/bc/1").await.unwrap(), "three");
    }

    #[tokio::test]
    async fn only_its_owner_enters_the_folder() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("files");
        Storage::open(&Route::Folder(path.clone())).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
