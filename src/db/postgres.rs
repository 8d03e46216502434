//! A connection to a PostgreSQL server.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::Instant;

use super::pool::Link;

/// Between two attempts at a server that is just starting.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The connection.
pub(super) struct Postgres {
    /// The driver's connection.
    pub(super) conn: PgConnection,
}

impl Link for Postgres {
    type Options = PgConnectOptions;
    const AGE_MAX: Duration = Duration::from_secs(30 * 60);
    const IDLE_MAX: Duration = Duration::from_secs(10 * 60);

    /// A server that is just starting is waited for.
    async fn open(options: &PgConnectOptions, deadline: Instant) -> Result<Self, sqlx::Error> {
        let attempts = async {
            loop {
                match options.connect().await {
                    Ok(conn) => return Ok(Self { conn }),
                    Err(error) if is_starting(&error) => tokio::time::sleep(RETRY_AFTER).await,
                    Err(error) => return Err(error),
                }
            }
        };
        tokio::time::timeout_at(deadline, attempts).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// The driver has no way to stop a statement. The server looks for a closed connection
    /// (`client_connection_check_interval`).
    fn interrupt(&self) -> bool {
        false
    }

    async fn restore(&mut self, in_transaction: bool) -> bool {
        if in_transaction {
            sqlx::raw_sql("ROLLBACK").execute(&mut self.conn).await.is_ok()
        } else {
            self.conn.ping().await.is_ok()
        }
    }

    async fn close(self) -> Result<(), sqlx::Error> {
        self.conn.close().await
    }
}

/// Whether the server may take connections in a moment: nothing listens yet, it says that it is starting
/// (`cannot_connect_now`), or others hold all that it has (`too_many_connections`).
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}
