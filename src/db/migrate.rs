//! Bringing a database to the level that this program expects.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::lease::Wire;
use super::{Db, Engine, Error, Scope};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// How far a database is behind this program, or ahead of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The newest migration that the database has; 0 for an empty one.
    pub applied: i64,
    /// The newest migration that the program has.
    pub expected: i64,
}

impl Level {
    /// Whether the program can serve from the database.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.applied >= self.expected
    }
}

/// The newest migration that the program has.
#[must_use]
pub fn newest_migration(engine: Engine) -> i64 {
    let migrator = match engine {
        Engine::Sqlite => &SQLITE,
        Engine::Postgres => &POSTGRES,
    };
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl Db {
    /// Applies what is missing, each migration in a transaction of its own. Several nodes may call it at once. On
    /// PostgreSQL the role becomes the owner of what it makes.
    ///
    /// # Errors
    /// When a migration fails or an applied one differs from the program's.
    pub async fn migrate(&self) -> Result<(), Error> {
        // One after another: SQLite's writer is one, and PostgreSQL's migrator takes an advisory lock.
        match self.pools.lend_writer().await? {
            Wire::Sqlite(mut lent) => {
                let done = SQLITE.run(&mut lent.link().conn).await;
                lent.recover(false).await;
                done.map_err(driver)
            }
            Wire::Postgres(mut lent) => {
                // The policies hold for the owner too, and a migration may touch every tenant's rows. Not given back,
                // the connection is closed at the end, and the setting with it.
                let conn = &mut lent.link().conn;
                super::role::may_create(conn).await?;
                sqlx::raw_sql("SET capecontrol.purpose = 'migration'").execute(&mut *conn).await?;
                POSTGRES.run(conn).await.map_err(driver)
            }
        }
    }

    /// Migrates as `owner`, and gives the role of this database what it needs to serve.
    ///
    /// # Errors
    /// As [`Db::migrate`]; and when the owner may not give it.
    pub async fn migrate_as(&self, owner: &Self) -> Result<(), Error> {
        owner.migrate().await?;
        self.admitted_by(owner).await
    }

    /// Has the owner of the tables give the role of this database what it needs to serve.
    ///
    /// # Errors
    /// When the owner may not, or either cannot be reached.
    pub async fn admitted_by(&self, owner: &Self) -> Result<(), Error> {
        let Some(role) = self.role().await? else { return Ok(()) };
        match owner.pools.lend_writer().await? {
            Wire::Sqlite(lent) => {
                lent.give_back();
                Ok(())
            }
            Wire::Postgres(mut lent) => super::role::admit(&mut lent.link().conn, &role).await,
        }
    }

    /// Compares the database's level with the program's.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn level(&self) -> Result<Level, Error> {
        let expected = newest_migration(self.engine());
        let applied = match self.conn(Scope::System("migrations")).await?.lease.raw()? {
            Wire::Sqlite(lent) => applied(&mut lent.link().conn).await,
            Wire::Postgres(lent) => applied(&mut lent.link().conn).await,
        };
        Ok(Level { applied: applied?, expected })
    }
}

/// An empty database has no table of migrations to read, so that a refusal of the statement means level 0. A database
/// that cannot be reached says nothing of its level.
async fn applied(conn: &mut impl Migrate) -> Result<i64, Error> {
    match conn.list_applied_migrations("_sqlx_migrations").await.map_err(driver) {
        Ok(list) => Ok(list.iter().map(|migration| migration.version).max().unwrap_or(0)),
        Err(Error::Driver(_)) => Ok(0),
        Err(error) => Err(error),
    }
}

fn driver(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) => error.into(),
        other => Error::Driver(sqlx::Error::Migrate(Box::new(other))),
    }
}
