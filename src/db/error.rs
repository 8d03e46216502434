//! What can go wrong at the database, in the words of the house. Both engines answer the same names.

use std::time::Duration;

use crate::base::fault::{self, Fault, Reason};

/// A refusal or failure of the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row that had to be there is not.
    #[error("The row does not exist.")]
    NotFound,
    /// A constraint refused the change. The name is PostgreSQL's: `table_column_key`, `table_pkey`, or as declared;
    /// SQLite does not name foreign keys, so those are all called `foreign_key` there.
    #[error("The change conflicts with what is stored.")]
    Constraint(String),
    /// Another transaction was in the way; the whole transaction may be repeated.
    #[error("Another call changed the same thing at the same time; please repeat the call.")]
    Retry(#[source] sqlx::Error),
    /// The database cannot be reached, or has no free connection.
    #[error("The platform's database cannot be reached now; please repeat the call.")]
    Unavailable(#[source] sqlx::Error),
    /// The caller's deadline passed, or the statement ran too long.
    #[error("The call's deadline passed before it was done.")]
    Timeout,
    /// A statement of the transaction failed before, so it can only be rolled back.
    #[error("The transaction failed and was rolled back.")]
    Failed,
    /// Anything else: a fault in a statement or in the data.
    #[error("The platform's database refused a statement.")]
    Driver(#[source] sqlx::Error),
}

impl Error {
    /// The error with its cause, for logs and operators, never for callers.
    #[must_use]
    pub fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self} ({cause})"),
            None => self.to_string(),
        }
    }

    /// Whether this is the refusal of the constraint `name`.
    #[must_use]
    pub fn violates(&self, name: &str) -> bool {
        matches!(self, Self::Constraint(constraint) if constraint == name)
    }
}

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::Retry(_) => &fault::CONFLICT,
            Self::Unavailable(_) => &fault::DATABASE_UNAVAILABLE,
            Self::Timeout => &fault::DEADLINE_EXCEEDED,
            Self::NotFound | Self::Constraint(_) | Self::Failed | Self::Driver(_) => &fault::INTERNAL,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Retry(_) => Some(Duration::from_millis(50)),
            Self::Unavailable(_) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::Database(database) => {
                let kind = kind(database.as_ref());
                match kind {
                    Kind::Constraint(name) => Self::Constraint(name),
                    Kind::Retry => Self::Retry(error),
                    Kind::Unavailable => Self::Unavailable(error),
                    Kind::Timeout => Self::Timeout,
                    Kind::Other => Self::Driver(error),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Driver(error),
        }
    }
}

enum Kind {
    Constraint(String),
    Retry,
    Unavailable,
    Timeout,
    Other,
}

fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        postgres_kind(&code, error.constraint())
    } else {
        sqlite_kind(&code, error.message())
    }
}

/// SQLSTATE, PostgreSQL's documentation, appendix A.
fn postgres_kind(code: &str, constraint: Option<&str>) -> Kind {
    match code {
        "40001" | "40P01" | "55P03" => Kind::Retry,
        "57014" => Kind::Timeout,
        "53300" | "57P01" | "57P02" | "57P03" => Kind::Unavailable,
        _ if code.starts_with("08") => Kind::Unavailable,
        _ if code.starts_with("23") => Kind::Constraint(constraint.unwrap_or_default().to_owned()),
        _ => Kind::Other,
    }
}

/// Extended result codes, <https://www.sqlite.org/rescode.html>. The low byte is the primary code.
fn sqlite_kind(code: &str, message: &str) -> Kind {
    let Ok(code) = code.parse::<u32>() else { return Kind::Other };
    match code & 0xff {
        5 | 6 => Kind::Retry,
        9 => Kind::Timeout,
        10 | 13 | 14 => Kind::Unavailable,
        19 => Kind::Constraint(sqlite_constraint(code, message)),
        _ => Kind::Other,
    }
}

const SQLITE_CONSTRAINT_FOREIGNKEY: u32 = 787;
const SQLITE_CONSTRAINT_PRIMARYKEY: u32 = 1_555;

/// SQLite says `UNIQUE constraint failed: accounts.email`; PostgreSQL would call that `accounts_email_key`. Checks and
/// triggers are named by themselves.
fn sqlite_constraint(code: u32, message: &str) -> String {
    if code == SQLITE_CONSTRAINT_FOREIGNKEY {
        return "foreign_key".to_owned();
    }
    let Some((what, name)) = message.split_once(" constraint failed: ") else { return message.to_owned() };
    if what != "UNIQUE" {
        return name.to_owned();
    }
    let mut columns = name.split(", ").filter_map(|column| column.split_once('.'));
    let Some((table, first)) = columns.next() else { return name.to_owned() };
    if code == SQLITE_CONSTRAINT_PRIMARYKEY {
        return format!("{table}_pkey");
    }
    let rest: String = columns.map(|(_, column)| format!("_{column}")).collect();
    format!("{table}_{first}{rest}_key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_constraints_get_the_names_of_postgres() {
        let name = |code, message| sqlite_constraint(code, message);
        assert_eq!(name(2_067, "UNIQUE constraint failed: accounts.email"), "accounts_email_key");
        assert_eq!(name(2_067, "UNIQUE constraint failed: t.a, t.b"), "t_a_b_key");
        assert_eq!(name(1_555, "UNIQUE constraint failed: t.id"), "t_pkey");
        assert_eq!(name(275, "CHECK constraint failed: t_total_check"), "t_total_check");
        assert_eq!(name(787, "FOREIGN KEY constraint failed"), "foreign_key");
        assert_eq!(name(1_811, "ledger_unbalanced"), "ledger_unbalanced");
    }
}
