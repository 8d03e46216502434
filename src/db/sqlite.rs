//! Connections to one SQLite file: a single writer, and a few readers that WAL lets read beside it.
//!
//! Not the driver's pool, for two reasons. A dropped future does not stop its statement, so each connection here has a
//! switch that interrupts it. And a connection need not be asked whether it is alive: the file is local.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;

/// How many virtual machine steps SQLite takes between looks at the switch: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 2_000;

/// A bounded set of connections with the same options.
pub(super) struct Pool {
    options: SqliteConnectOptions,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Slot>>,
    wait_max: Duration,
}

/// A connection and the switch that stops what it runs.
struct Slot {
    conn: SqliteConnection,
    interrupt: Arc<AtomicBool>,
}

/// A connection lent from the pool. It must be given back with [`Pool::give_back`] or [`Lent::recover`].
pub(super) struct Lent {
    slot: Slot,
    pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool of at most `size` connections; nobody waits longer than `wait_max` for one.
    pub(super) fn new(options: SqliteConnectOptions, size: usize, wait_max: Duration) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(size));
        Arc::new(Self { options, permits, idle: Mutex::default(), wait_max })
    }

    /// Lends a connection, in the order of asking.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Lent, Error> {
        let waiting = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(self.wait_max, waiting)
            .await
            .map_err(|_| Error::Unavailable(sqlx::Error::PoolTimedOut))?
            .map_err(|_| Error::Unavailable(sqlx::Error::PoolClosed))?;
        let idle = self.idle().pop();
        let slot = match idle {
            Some(slot) => slot,
            // Large and rare: in a box, so that not every call carries room for it.
            None => Box::pin(Slot::open(&self.options)).await?,
        };
        Ok(Lent { slot, pool: Arc::clone(self), permit })
    }

    /// Closes the idle connections and lends no more.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for slot in idle {
            slot.close().await;
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    async fn open(options: &SqliteConnectOptions) -> Result<Self, Error> {
        let mut conn = options.connect().await?;
        let interrupt = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&interrupt);
        conn.lock_handle()
            .await?
            .set_progress_handler(STEPS_BETWEEN_LOOKS, move || !switch.load(Ordering::Relaxed));
        Ok(Self { conn, interrupt })
    }

    async fn close(self) {
        if let Err(error) = self.conn.close().await {
            tracing::warn!(%error, "a database connection did not close cleanly");
        }
    }
}

impl Lent {
    /// The connection itself.
    pub(super) const fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.slot.conn
    }

    /// Takes the connection back as it is.
    pub(super) fn give_back(self) {
        if !self.pool.permits.is_closed() {
            self.pool.idle().push(self.slot);
        }
        drop(self.permit);
    }

    /// Stops whatever still runs, before [`Self::recover`].
    pub(super) fn interrupt(&self) {
        self.slot.interrupt.store(true, Ordering::Relaxed);
    }

    /// Waits for an interrupted statement to end, ends an open transaction, and takes the connection back. A connection
    /// that cannot be recovered is closed; the next caller gets a new one.
    pub(super) async fn recover(mut self, in_transaction: bool) {
        let settled = self.slot.conn.lock_handle().await.is_ok();
        self.slot.interrupt.store(false, Ordering::Relaxed);
        let rolled_back =
            !in_transaction || sqlx::raw_sql("ROLLBACK").execute(&mut self.slot.conn).await.is_ok();
        if settled && rolled_back {
            self.give_back();
        } else {
            tracing::warn!("a database connection was closed because it could not be rolled back");
            self.slot.close().await;
        }
    }
}
