//! The database floor: one SQL text for SQLite and PostgreSQL, on native drivers.
//!
//! A reader takes `&mut impl Conn`, a writer `&mut Tx`, so that a write outside a transaction does not compile. Both
//! are opened for a [`Scope`]: in an organisation's scope every statement must name `organization_id`, and PostgreSQL
//! is told of the scope, so that its policies hide what is not of it. Nothing outside this module names the driver. The
//! floor knows no table and no domain.

mod backup;
mod batch;
mod column;
mod conn;
pub mod deadline;
mod error;
mod lease;
mod line;
mod migrate;
pub mod notify;
mod open;
mod pool;
mod postgres;
mod queue;
mod role;
mod scope;
mod sqlite;
mod statement;
mod types;

pub use backup::{Server, environment};
pub use batch::{Batcher, Batchers, Bounds};
pub use conn::{Conn, Later, Session, Tx};
pub use error::Error;
pub use migrate::{Level, newest_migration};
pub use notify::Notifications;
pub use open::{Access, Db, Engine, Options};
pub use role::Breach;
pub use sqlx::FromRow as Row;
pub use sqlx::types::Json;
pub use statement::{Param, Record, Sql, Statement};
pub(crate) use types::{text_scalar, words};

use crate::base::OrganizationId;

/// For whom the database is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One tenant. Every statement must name `organization_id`, or be marked as touching no tenant's table.
    Organization(OrganizationId),
    /// The platform itself, for the purpose named, in small letters, digits, space, `.`, `_` and `-`.
    System(&'static str),
}

impl Scope {
    /// The tenant, unless it is the platform.
    #[must_use]
    pub const fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Organization(id) => Some(id),
            Self::System(_) => None,
        }
    }
}

/// A statement that locks the rows that it reads until the transaction ends. SQLite needs no words for it: it has one
/// writer.
macro_rules! lock {
    ($text:literal) => {
        $crate::db::Sql { sqlite: $text, postgres: concat!($text, " FOR UPDATE") }
    };
}
pub(crate) use lock;

/// A statement that, between its two parts, takes only rows that nobody else holds, so that workers share a queue.
macro_rules! claim {
    ($before:literal, $after:literal) => {
        $crate::db::Sql {
            sqlite: concat!($before, " ", $after),
            postgres: concat!($before, " FOR UPDATE SKIP LOCKED ", $after),
        }
    };
}
pub(crate) use claim;
