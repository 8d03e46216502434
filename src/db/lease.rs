//! One connection in use, of either engine, and what becomes of it when its user goes away.

use sqlx::pool::PoolConnection;
use sqlx::{Postgres, SqlSafeStr as _, SqlStr};

use super::{Error, Scope, sqlite};

/// The connection itself.
pub(super) enum Wire {
    /// A connection to a SQLite file.
    Sqlite(sqlite::Lent),
    /// A connection to a PostgreSQL server.
    Postgres(PoolConnection<Postgres>),
}

/// A connection in use. Dropped at rest it goes back as it is; dropped in a transaction it is rolled back first;
/// dropped while a statement runs (a cancelled call) the statement is stopped, on PostgreSQL by closing the
/// connection.
pub struct Lease {
    wire: Option<Wire>,
    /// A statement was sent and its answer has not been read to the end.
    pub(super) busy: bool,
    /// A transaction is open.
    pub(super) in_transaction: bool,
    /// A statement failed in a transaction that only reads, so that PostgreSQL takes no other one in it.
    pub(super) refused: bool,
}

impl Lease {
    pub(super) const fn new(wire: Wire) -> Self {
        Self { wire: Some(wire), busy: false, in_transaction: false, refused: false }
    }

    /// The connection. It is there until the drop.
    pub(super) fn wire(&mut self) -> Result<&mut Wire, Error> {
        self.wire.as_mut().ok_or(Error::Unavailable(sqlx::Error::PoolClosed))
    }

    /// Begins a transaction to write in.
    pub(super) async fn begin(&mut self, scope: Scope) -> Result<(), Error> {
        let text = match self.wire()? {
            Wire::Sqlite(_) => "BEGIN IMMEDIATE".into_sql_str(),
            Wire::Postgres(_) => scope.begin("BEGIN")?,
        };
        // Set first: a begin that is cut short may have taken effect.
        self.in_transaction = true;
        self.control(text).await
    }

    /// Whether [`Lease::enter`] has something to do.
    pub(super) fn must_enter(&self, scope: Option<Scope>) -> bool {
        let outside = scope.is_some() && !self.in_transaction;
        matches!(self.wire, Some(Wire::Postgres(_))) && (self.refused || outside)
    }

    /// Makes a session ready for its next statement: in a transaction that only reads when that is to run in `scope`,
    /// and out of one in which a statement failed.
    pub(super) async fn enter(&mut self, scope: Option<Scope>) -> Result<(), Error> {
        if self.refused {
            self.control("ROLLBACK".into_sql_str()).await?;
            (self.refused, self.in_transaction) = (false, false);
        }
        let Some(scope) = scope.filter(|_| !self.in_transaction) else { return Ok(()) };
        let text = scope.begin("BEGIN READ ONLY")?;
        self.in_transaction = true;
        self.control(text).await
    }

    /// Runs a statement of transaction control.
    pub(super) async fn control(&mut self, text: SqlStr) -> Result<(), Error> {
        self.busy = true;
        let done = match self.wire()? {
            Wire::Sqlite(lent) => {
                super::deadline::bound(sqlx::raw_sql(text).execute(lent.conn())).await.map(drop)
            }
            Wire::Postgres(conn) => {
                super::deadline::bound(sqlx::raw_sql(text).execute(&mut **conn)).await.map(drop)
            }
        };
        self.busy = matches!(done, Err(Error::Timeout));
        done
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(wire) = self.wire.take() else { return };
        match wire {
            Wire::Sqlite(lent) if !self.busy && !self.in_transaction => lent.give_back(),
            Wire::Sqlite(lent) => {
                if self.busy {
                    lent.interrupt();
                }
                recover(lent.recover(self.in_transaction));
            }
            Wire::Postgres(mut conn) if self.busy => conn.close_on_drop(),
            Wire::Postgres(conn) if self.in_transaction => recover(roll_back(conn)),
            Wire::Postgres(_) => {}
        }
    }
}

/// Cleaning up needs to wait, which a drop cannot. Outside a runtime (at the very end of the process) the connection is
/// simply closed, which rolls back too.
#[expect(
    clippy::disallowed_methods,
    reason = "a drop has no task tracker; the work is bounded by one ROLLBACK"
)]
fn recover(work: impl Future<Output = ()> + Send + 'static) {
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::spawn(work);
    }
}

async fn roll_back(mut conn: PoolConnection<Postgres>) {
    if sqlx::raw_sql("ROLLBACK").execute(&mut *conn).await.is_err() {
        conn.close_on_drop();
    }
}
