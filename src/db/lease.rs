//! One connection in use, of either engine, and what becomes of it when its user goes away.

use sqlx::{SqlSafeStr as _, SqlStr};

use super::pool::{Lent, Link};
use super::postgres::Postgres;
use super::queue::Queue;
use super::sqlite::Sqlite;
use super::{Error, Scope};

/// The connection itself.
pub(super) enum Wire {
    /// A connection to a SQLite file.
    Sqlite(Lent<Sqlite>),
    /// A connection to a PostgreSQL server.
    Postgres(Lent<Postgres>),
}

/// The transaction on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    /// None is open.
    None,
    /// One is open.
    Open,
    /// One that only reads is open, and a statement failed in it, so that PostgreSQL takes no other one in it.
    Refused,
}

/// A connection in use. Dropped at rest it goes back as it is; dropped in a transaction it is rolled back first;
/// dropped after a failure it is asked whether it still lives; dropped while a statement runs (a cancelled call) the
/// statement is stopped, on PostgreSQL by closing the connection.
pub struct Lease {
    wire: Option<Wire>,
    /// A statement was sent and its answer has not been read to the end.
    pub(super) busy: bool,
    pub(super) transaction: Transaction,
    /// Something failed, perhaps the connection itself.
    pub(super) doubted: bool,
    /// What the transaction writes before its next statement.
    pub(super) queue: Queue,
}

impl Lease {
    pub(super) const fn new(wire: Wire) -> Self {
        let queue = Queue::new();
        Self { wire: Some(wire), busy: false, transaction: Transaction::None, doubted: false, queue }
    }

    /// The connection. It is there until the drop.
    pub(super) fn wire(&mut self) -> Result<&mut Wire, Error> {
        self.wire.as_mut().ok_or(Error::Unavailable(sqlx::Error::PoolClosed))
    }

    /// The connection, for work that does not tell how it ended.
    pub(super) fn raw(&mut self) -> Result<&mut Wire, Error> {
        self.doubted = true;
        self.wire()
    }

    /// Begins a transaction to write in.
    pub(super) async fn begin(&mut self, scope: Scope) -> Result<(), Error> {
        let text = match self.wire()? {
            Wire::Sqlite(_) => "BEGIN IMMEDIATE".into_sql_str(),
            Wire::Postgres(_) => scope.begin("BEGIN")?,
        };
        // Set first: a begin that is cut short may have taken effect.
        self.transaction = Transaction::Open;
        self.control(text).await
    }

    /// Whether [`Lease::enter`] has something to do.
    pub(super) fn must_enter(&self, scope: Option<Scope>) -> bool {
        let must = match self.transaction {
            Transaction::None => scope.is_some(),
            Transaction::Open => false,
            Transaction::Refused => true,
        };
        must && matches!(self.wire, Some(Wire::Postgres(_)))
    }

    /// Makes a session ready for its next statement: in a transaction that only reads when that is to run in `scope`,
    /// and out of one in which a statement failed.
    pub(super) async fn enter(&mut self, scope: Option<Scope>) -> Result<(), Error> {
        if self.transaction == Transaction::Refused {
            self.control("ROLLBACK".into_sql_str()).await?;
            self.transaction = Transaction::None;
        }
        let Some(scope) = scope.filter(|_| self.transaction == Transaction::None) else { return Ok(()) };
        let text = scope.begin("BEGIN READ ONLY")?;
        self.transaction = Transaction::Open;
        self.control(text).await
    }

    /// Runs a statement of transaction control.
    pub(super) async fn control(&mut self, text: SqlStr) -> Result<(), Error> {
        self.busy = true;
        let done = match self.wire()? {
            Wire::Sqlite(lent) => {
                super::deadline::bound(sqlx::raw_sql(text).execute(&mut lent.link().conn)).await.map(drop)
            }
            Wire::Postgres(lent) => {
                super::deadline::bound(sqlx::raw_sql(text).execute(&mut lent.link().conn)).await.map(drop)
            }
        };
        self.busy = matches!(done, Err(Error::Timeout));
        self.doubted |= done.is_err();
        done
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(wire) = self.wire.take() else { return };
        match wire {
            Wire::Sqlite(lent) => self.leave(lent),
            Wire::Postgres(lent) => self.leave(lent),
        }
    }
}

impl Lease {
    fn leave<L: Link>(&self, lent: Lent<L>) {
        if self.busy && !lent.interrupt() {
            return;
        }
        let in_transaction = self.transaction != Transaction::None;
        if self.busy || in_transaction || self.doubted {
            recover(lent.recover(in_transaction));
        } else {
            lent.give_back();
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
