//! Opening a database, and lending connections to it.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::watch;

use super::lease::{Lease, Wire};
use super::pool::Pool;
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use super::{Error, Scope, Session, Tx};

/// Which database, and how many connections to it.
#[derive(Clone, Debug)]
pub struct Options {
    /// `sqlite://<path>` or `postgres://…`.
    pub url: String,
    /// Connections at most: all of them on PostgreSQL (the sum over all nodes must stay under the server's limit); on
    /// SQLite the readers, beside the one writer.
    pub connections_max: u32,
    /// How long a call waits for a connection before it is told UNAVAILABLE.
    pub wait_max: Duration,
    /// How many calls may wait for one; whoever comes then is told UNAVAILABLE at once. More than the calls that the
    /// node takes, so that only what they cause beside themselves (words on streams, jobs) can fill it.
    pub waiting_max: usize,
    /// How long a statement may run on PostgreSQL when its call has no deadline of its own.
    pub statement_max: Duration,
    /// What may be done with it.
    pub access: Access,
}

/// What may be done with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything; a SQLite file that is not there is made.
    Create,
    /// Everything; a SQLite file must be there.
    Write,
    /// Reading; a SQLite file must be there, and a transaction to write in is refused by the engine.
    Read,
}

impl Options {
    /// The usual bounds, for this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections_max: 8,
            wait_max: Duration::from_secs(5),
            waiting_max: 1_024,
            statement_max: Duration::from_secs(30),
            access: Access::Create,
        }
    }

    /// The file of a SQLite database; `None` for PostgreSQL.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        self.url.strip_prefix("sqlite://").map(PathBuf::from)
    }
}

/// Which engine stands behind a [`Db`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite, in a file.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// A database. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Db {
    pub(super) pools: Arc<Pools>,
    announcements: watch::Sender<()>,
}

pub(super) enum Pools {
    /// A single writer, and a few readers that WAL lets read beside it.
    Sqlite {
        readers: Arc<Pool<Sqlite>>,
        writer: Arc<Pool<Sqlite>>,
    },
    Postgres(Arc<Pool<Postgres>>),
}

impl Pools {
    async fn lend_reader(&self) -> Result<Wire, Error> {
        match self {
            Self::Sqlite { readers, .. } => readers.lend().await.map(Wire::Sqlite),
            Self::Postgres(pool) => pool.lend().await.map(Wire::Postgres),
        }
    }

    pub(super) async fn lend_writer(&self) -> Result<Wire, Error> {
        match self {
            Self::Sqlite { writer, .. } => writer.lend().await.map(Wire::Sqlite),
            Self::Postgres(pool) => pool.lend().await.map(Wire::Postgres),
        }
    }
}

impl Db {
    /// Opens the database. On PostgreSQL no connection is made before the first use.
    ///
    /// # Errors
    /// When the URL is neither of the two kinds, or the file cannot be opened or made.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let pools = match options.sqlite_path() {
            Some(path) => open_sqlite(&path, options).await?,
            None => open_postgres(options)?,
        };
        Ok(Self { pools: Arc::new(pools), announcements: watch::Sender::new(()) })
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match &*self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres(..) => Engine::Postgres,
        }
    }

    /// How many connections there are to read with.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        match &*self.pools {
            Pools::Sqlite { readers, .. } => readers.size(),
            Pools::Postgres(pool) => pool.size(),
        }
    }

    /// A connection to read with.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is free in time.
    pub async fn conn(&self, scope: Scope) -> Result<Session, Error> {
        let wire = self.pools.lend_reader().await?;
        Ok(Session { lease: Lease::new(wire), scope })
    }

    /// A transaction to write in.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection is free in time.
    pub async fn begin(&self, scope: Scope) -> Result<Tx, Error> {
        let wire = self.pools.lend_writer().await?;
        Tx::begin(Lease::new(wire), scope, self.announcements.clone()).await
    }

    /// Tells of every transaction on this node that called [`Tx::announce`] and was committed.
    #[must_use]
    pub fn announcements(&self) -> watch::Receiver<()> {
        self.announcements.subscribe()
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When it gives none.
    pub async fn ping(&self) -> Result<(), Error> {
        use super::Conn as _;
        let mut conn = self.conn(Scope::System("health")).await?;
        let _alive: (i64,) = conn.shared_sql("SELECT CAST(1 AS bigint)").one().await?;
        Ok(())
    }

    /// Closes all connections; calls that do not end in a moment fail.
    pub async fn close(&self) {
        match &*self.pools {
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

async fn open_sqlite(path: &std::path::Path, options: &Options) -> Result<Pools, Error> {
    let pool = |file, size| Pool::new(file, size, options.wait_max, options.waiting_max);
    let file = SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(options.wait_max);
    if options.access == Access::Read {
        // Another process may have it open, and may be an older program: nothing of it is changed, not even its mode.
        let readers = pool(file.read_only(true), options.connections_max);
        readers.lend().await?.give_back();
        return Ok(Pools::Sqlite { writer: Arc::clone(&readers), readers });
    }
    let file = file
        .journal_mode(SqliteJournalMode::Wal)
        // An acknowledged payment survives the loss of power.
        .synchronous(SqliteSynchronous::Full)
        .statement_cache_capacity(256);
    let writer = pool(file.clone(), 1);
    if options.access == Access::Create {
        create_private(path).map_err(sqlx::Error::Io)?;
    }
    // The writer makes the tables, which a reader may not.
    writer.lend().await?.give_back();
    let readers = pool(file.read_only(true), options.connections_max);
    Ok(Pools::Sqlite { readers, writer })
}

/// Makes the file readable by its owner only, wherever it lies. SQLite gives its companions (`-wal`, `-shm`) the same
/// mode. A file that is there keeps its mode: somebody may have chosen it.
pub(super) fn create_private(path: &std::path::Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

fn open_postgres(options: &Options) -> Result<Pools, Error> {
    let statement_max = options.statement_max.as_millis().to_string();
    let read_only = if options.access == Access::Read { "on" } else { "off" };
    let connect = PgConnectOptions::from_str(&options.url)?
        .application_name("capecontrol")
        .statement_cache_capacity(256)
        .options([
            ("statement_timeout", statement_max.as_str()),
            ("lock_timeout", "5000"),
            ("idle_in_transaction_session_timeout", "60000"),
            // A connection closed on an abandoned statement stops it within this time.
            ("client_connection_check_interval", "1000"),
            ("timezone", "UTC"),
            ("default_transaction_read_only", read_only),
        ]);
    let pool = Pool::new(connect, options.connections_max, options.wait_max, options.waiting_max);
    Ok(Pools::Postgres(pool))
}
