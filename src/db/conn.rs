//! Sessions and transactions: who may read, who may write, and for whom.

use sqlx::SqlSafeStr as _;
use tokio::sync::watch;

use super::lease::{Lease, Transaction};
use super::statement::{Sql, Statement};
use super::{Error, Scope};

mod sealed {
    pub trait Sealed {
        fn lease(&mut self) -> (&mut super::Lease, Option<&mut bool>);
    }
}

/// Something that statements can be run on. Functions that only read take `&mut impl Conn`.
pub trait Conn: sealed::Sealed + Send {
    /// For whom this was opened.
    fn scope(&self) -> Scope;

    /// A statement that runs in the scope. In an organisation's scope its text must name `organization_id`, or the
    /// table of organisations, whose own id that is.
    fn sql(&mut self, text: impl Into<Sql>) -> Statement<'_> {
        let (text, scope) = (text.into(), self.scope());
        let (lease, failed) = self.lease();
        scoped(lease, failed, text, scope)
    }

    /// A statement on tables that belong to no tenant, such as accounts or plans. PostgreSQL is not told of the scope,
    /// which costs a session a message less; of a tenant's table it would see nothing.
    fn shared_sql(&mut self, text: impl Into<Sql>) -> Statement<'_> {
        let (lease, failed) = self.lease();
        Statement::new(lease, failed, text.into(), None)
    }
}

fn scoped<'c>(lease: &'c mut Lease, failed: Option<&'c mut bool>, text: Sql, scope: Scope) -> Statement<'c> {
    let names = |word| text.sqlite.contains(word);
    debug_assert!(
        matches!(scope, Scope::System(_)) || names("organization_id") || names("organizations"),
        "a statement in an organisation's scope does not name organization_id: {}",
        text.sqlite
    );
    Statement::new(lease, failed, text, Some(scope))
}

/// A connection that reads. On PostgreSQL its first statement with [`Conn::sql`] begins a transaction of the scope,
/// which ends when the session is dropped; each statement still sees what was committed before it.
pub struct Session {
    pub(super) lease: Lease,
    pub(super) scope: Scope,
}

impl sealed::Sealed for Session {
    fn lease(&mut self) -> (&mut Lease, Option<&mut bool>) {
        (&mut self.lease, None)
    }
}

impl Conn for Session {
    fn scope(&self) -> Scope {
        self.scope
    }
}

/// An open transaction. Dropped without [`Tx::commit`] it is rolled back.
pub struct Tx {
    lease: Lease,
    scope: Scope,
    failed: bool,
    after_commit: Vec<Box<dyn FnOnce() + Send>>,
    announcements: watch::Sender<()>,
    announce: bool,
}

impl Tx {
    /// Begins. SQLite takes the write lock at once: a transaction that read first and then had to wait would be refused
    /// (`SQLITE_BUSY_SNAPSHOT`).
    pub(super) async fn begin(
        mut lease: Lease,
        scope: Scope,
        announcements: watch::Sender<()>,
    ) -> Result<Self, Error> {
        lease.begin(scope).await?;
        Ok(Self { lease, scope, failed: false, after_commit: Vec::new(), announcements, announce: false })
    }

    /// Makes everything written durable, then runs what was asked for with [`Tx::after_commit`].
    ///
    /// # Errors
    /// [`Error::Failed`] when a statement of the transaction failed before (PostgreSQL would quietly roll back);
    /// otherwise what the database refuses at the end, such as a deferred constraint. When the connection breaks
    /// meanwhile, the outcome is unknown.
    pub async fn commit(mut self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        self.lease.flush().await?;
        self.lease.control("COMMIT".into_sql_str()).await?;
        self.lease.transaction = Transaction::None;
        for action in std::mem::take(&mut self.after_commit) {
            action();
        }
        if self.announce {
            self.announcements.send_replace(());
        }
        Ok(())
    }

    /// Statements that are written together with others, before the next one that runs, or the end: those that nothing
    /// in between is told of, and that need nothing of one another.
    pub const fn later(&mut self) -> Later<'_> {
        Later { tx: self }
    }

    /// Runs `action` once the transaction is committed. It must be quick and must not fail: it is for hints to other
    /// tasks, and is lost when the process dies in between.
    pub fn after_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        self.after_commit.push(Box::new(action));
    }

    /// Tells whoever listens to [`super::Db::announcements`] once the transaction is committed.
    pub const fn announce(&mut self) {
        self.announce = true;
    }
}

/// Begins a statement that is to end with [`Statement::queue`].
pub struct Later<'t> {
    tx: &'t mut Tx,
}

impl<'t> Later<'t> {
    /// A statement that runs in the scope, as [`Conn::sql`] has it.
    pub fn sql(self, text: impl Into<Sql>) -> Statement<'t> {
        let Tx { lease, scope, failed, .. } = self.tx;
        scoped(lease, Some(failed), text.into(), *scope).later()
    }
}

impl sealed::Sealed for Tx {
    fn lease(&mut self) -> (&mut Lease, Option<&mut bool>) {
        (&mut self.lease, Some(&mut self.failed))
    }
}

impl Conn for Tx {
    fn scope(&self) -> Scope {
        self.scope
    }
}
