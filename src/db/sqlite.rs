//! A connection to a SQLite file, with a switch that stops what it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::Instant;

use super::pool::Link;

/// How many virtual machine steps SQLite takes between looks at the switch: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 2_000;

/// The connection and its switch.
pub(super) struct Sqlite {
    /// The driver's connection.
    pub(super) conn: SqliteConnection,
    interrupt: Arc<AtomicBool>,
}

impl Link for Sqlite {
    type Options = SqliteConnectOptions;
    /// The file is local: a connection to it neither ages nor is forgotten.
    const AGE_MAX: Duration = Duration::MAX;
    const IDLE_MAX: Duration = Duration::MAX;

    async fn open(options: &SqliteConnectOptions, _deadline: Instant) -> Result<Self, sqlx::Error> {
        let mut conn = options.connect().await?;
        let interrupt = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&interrupt);
        conn.lock_handle()
            .await?
            .set_progress_handler(STEPS_BETWEEN_LOOKS, move || !switch.load(Ordering::Relaxed));
        Ok(Self { conn, interrupt })
    }

    fn interrupt(&self) -> bool {
        self.interrupt.store(true, Ordering::Relaxed);
        true
    }

    /// Waits for an interrupted statement to end, and ends an open transaction.
    async fn restore(&mut self, in_transaction: bool) -> bool {
        let settled = self.conn.lock_handle().await.is_ok();
        self.interrupt.store(false, Ordering::Relaxed);
        let rolled_back = !in_transaction || sqlx::raw_sql("ROLLBACK").execute(&mut self.conn).await.is_ok();
        settled && rolled_back
    }

    async fn close(self) -> Result<(), sqlx::Error> {
        self.conn.close().await
    }
}
