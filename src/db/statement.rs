//! A statement with its values, for either engine.

use std::fmt::Write as _;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, FromRow, Postgres, SqlSafeStr as _, SqlStr, Sqlite, Type};

use super::column::Column;
use super::lease::{Lease, Transaction, Wire};
use super::queue;
use super::{Error, Scope, deadline};

/// Values that a statement with `$rows` or `$list` may take on SQLite and still be kept prepared. Each number of them
/// is another text: batches of all sizes would fill every connection's memory with texts of some kilobytes. PostgreSQL
/// takes them as arrays, and has one text for all numbers of them.
const KEPT_VALUES_MAX: usize = 32;

/// The text of a statement: the same for both engines, but for the few forks that have a name (`lock!`, `claim!`).
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    /// What SQLite is given.
    pub sqlite: &'static str,
    /// What PostgreSQL is given.
    pub postgres: &'static str,
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }
}

/// A value that both engines can store.
pub trait Param:
    for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> + Send
{
}
impl<T> Param for T where
    T: for<'q> Encode<'q, Sqlite> + Type<Sqlite> + for<'q> Encode<'q, Postgres> + Type<Postgres> + Send
{
}

/// A row that can be read from both engines: a tuple, or a struct that derives `db::Row`.
pub trait Record: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Record for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// Values that are bound.
pub(super) enum Values {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

/// Runs a statement on whichever engine it is for. A macro, not a function: the two arms have different types.
macro_rules! run {
    ($statement:expr, |$conn:ident, $text:ident, $values:ident, $kept:ident| $work:expr) => {{
        let Statement { lease, failed, text, scope, expansion, values, bound, others, fault, .. } =
            $statement;
        if let Some(fault) = fault {
            return Err(fault);
        }
        debug_assert!(
            expansion.is_some() || others.is_some() || placeholders(text.sqlite) == bound,
            "{bound} values are bound to: {}",
            text.sqlite
        );
        if !lease.queue.is_empty() {
            if let Err(error) = Box::pin(lease.flush()).await {
                return settle(lease, failed, Err(error));
            }
        }
        if lease.must_enter(scope) {
            // In a box, so that not every statement carries room for it.
            Box::pin(lease.enter(scope)).await?;
        }
        lease.busy = true;
        let kept = expansion.is_none() || bound <= KEPT_VALUES_MAX;
        let outcome = match (lease.wire()?, values) {
            (Wire::Sqlite(lent), Values::Sqlite($values)) => {
                let ($conn, $text, $kept) = (&mut lent.link().conn, expand(text.sqlite, expansion), kept);
                deadline::bound($work).await
            }
            (Wire::Postgres(lent), Values::Postgres($values)) => {
                let ($conn, $text, $kept) = (&mut lent.link().conn, expand(text.postgres, expansion), true);
                deadline::bound($work).await
            }
            _ => Err(Error::Unavailable(sqlx::Error::PoolClosed)),
        };
        settle(lease, failed, outcome)
    }};
}

/// A statement that is being put together. Values are bound in the order of `$1`, `$2`, ….
pub struct Statement<'c> {
    lease: &'c mut Lease,
    /// Set when the statement fails inside a transaction.
    failed: Option<&'c mut bool>,
    text: Sql,
    /// The scope that it must run in; none when it touches nobody's table.
    scope: Option<Scope>,
    /// What stands for `VALUES $rows` or `IN $list`.
    expansion: Option<(&'static str, String)>,
    values: Values,
    /// On PostgreSQL, while rows are bound: their columns, and in which of them the next value belongs.
    columns: Option<(Vec<Column>, usize)>,
    bound: usize,
    /// Of those, how many belong to others, which it is written with.
    others: Option<usize>,
    fault: Option<Error>,
}

impl<'c> Statement<'c> {
    pub(super) fn new(
        lease: &'c mut Lease,
        failed: Option<&'c mut bool>,
        text: Sql,
        scope: Option<Scope>,
    ) -> Self {
        let (values, fault) = match lease.wire() {
            Ok(Wire::Sqlite(_)) => (Values::Sqlite(SqliteArguments::default()), None),
            Ok(Wire::Postgres(_)) => (Values::Postgres(PgArguments::default()), None),
            Err(error) => (Values::Sqlite(SqliteArguments::default()), Some(error)),
        };
        let (expansion, columns, bound, others) = (None, None, 0, None);
        Self { lease, failed, text, scope, expansion, values, columns, bound, others, fault }
    }

    /// Has it written together with what is queued.
    pub(super) fn later(self) -> Self {
        let (values, others) = self.lease.queue.open(self.text, self.values);
        Self { values, bound: others, others: Some(others), ..self }
    }

    /// Binds the next value.
    #[must_use]
    pub fn bind<P: Param>(mut self, value: P) -> Self {
        let added = match (&mut self.values, &mut self.columns) {
            (_, Some((columns, next))) => push(columns, next, &value),
            (Values::Sqlite(values), None) => values.add(value),
            (Values::Postgres(values), None) => values.add(value),
        };
        self.bound += usize::from(self.columns.is_none());
        self.note(added)
    }

    /// Binds the rows of an `INSERT INTO t (a, b) VALUES $rows`, one statement for all of them. `bind` binds the values
    /// of one row, and as many of each. There must be at least one row, and at most some thousands (SQLite takes 32,766
    /// values).
    #[must_use]
    pub fn rows<T>(self, rows: impl IntoIterator<Item = T>, bind: impl Fn(Self, T) -> Self) -> Self {
        match self.values {
            Values::Sqlite(_) => self.rows_one_by_one(rows, bind),
            Values::Postgres(_) => self.rows_in_columns(rows, bind),
        }
    }

    fn rows_one_by_one<T>(
        mut self,
        rows: impl IntoIterator<Item = T>,
        bind: impl Fn(Self, T) -> Self,
    ) -> Self {
        let mut placeholders = String::new();
        for row in rows {
            let first = self.bound + 1;
            self = bind(self, row);
            placeholders.push_str(if placeholders.is_empty() { "VALUES " } else { ", " });
            push_group(&mut placeholders, first, self.bound);
        }
        self.expansion = Some(("VALUES $rows", placeholders));
        self
    }

    fn rows_in_columns<T>(
        mut self,
        rows: impl IntoIterator<Item = T>,
        bind: impl Fn(Self, T) -> Self,
    ) -> Self {
        let first = self.bound + 1;
        self.columns = Some((Vec::new(), 0));
        for row in rows {
            self = bind(self, row);
            let (columns, taken) = self.columns.take().unwrap_or_default();
            // PostgreSQL would take a missing value for NULL.
            let whole = if columns.len() == taken { Ok(()) } else { Err("rows of different lengths".into()) };
            self.columns = Some((columns, 0));
            self = self.note(whole);
        }
        let (columns, _) = self.columns.take().unwrap_or_default();
        self = columns.into_iter().fold(self, Self::bind_column);
        let mut arrays = String::from("SELECT * FROM unnest");
        push_group(&mut arrays, first, self.bound);
        self.expansion = Some(("VALUES $rows", arrays));
        self
    }

    /// Binds the values of an `IN $list`. An empty list matches nothing.
    #[must_use]
    pub fn list<P: Param>(mut self, values: impl IntoIterator<Item = P>) -> Self {
        let first = self.bound + 1;
        let mut placeholders = String::new();
        if let Values::Postgres(_) = self.values {
            let column = Column::of(&<P as Type<Postgres>>::type_info()).and_then(|mut column| {
                values.into_iter().try_for_each(|value| column.push(&value))?;
                Ok(column)
            });
            self = match column {
                Ok(column) => self.bind_column(column),
                Err(error) => self.note(Err(error)),
            };
            placeholders.push_str("= ANY");
        } else {
            self = values.into_iter().fold(self, Self::bind);
            placeholders.push_str("IN ");
        }
        if self.bound < first {
            placeholders.push_str("(NULL)");
        } else {
            push_group(&mut placeholders, first, self.bound);
        }
        self.expansion = Some(("IN $list", placeholders));
        self
    }

    fn bind_column(mut self, column: Column) -> Self {
        let added = match &mut self.values {
            Values::Sqlite(_) => Err("an array is bound on SQLite".into()),
            Values::Postgres(values) => values.add(column),
        };
        self.bound += 1;
        self.note(added)
    }

    /// Keeps the first value that could not be bound, which is told when the statement is to run.
    fn note(mut self, bound: Result<(), BoxDynError>) -> Self {
        if let Err(error) = bound {
            self.fault.get_or_insert(Error::Driver(sqlx::Error::Encode(error)));
        }
        self
    }

    /// Runs it and reads exactly one row.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    pub async fn one<R: Record>(self) -> Result<R, Error> {
        self.optional().await?.ok_or(Error::NotFound)
    }

    /// Runs it and reads the first row, if there is one.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn optional<R: Record>(self) -> Result<Option<R>, Error> {
        run!(self, |conn, text, values, kept| {
            sqlx::query_as_with(text, values).persistent(kept).fetch_optional(conn)
        })
    }

    /// Runs it and reads all rows. The statement must bound how many there can be.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn all<R: Record>(self) -> Result<Vec<R>, Error> {
        run!(self, |conn, text, values, kept| {
            sqlx::query_as_with(text, values).persistent(kept).fetch_all(conn)
        })
    }

    /// Has it run together with the others that are queued, before the next statement of the transaction or its end,
    /// which is told what the database refuses. For what was begun with [`super::Tx::later`], and only for that.
    ///
    /// # Errors
    /// A value that cannot be bound.
    pub fn queue(self) -> Result<(), Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let others = self.others.ok_or(Error::Failed)?;
        debug_assert!(
            self.expansion.is_some() || placeholders(self.text.sqlite).saturating_add(others) == self.bound,
            "{} values are bound to: {}",
            self.bound,
            self.text.sqlite
        );
        let text = match self.values {
            Values::Sqlite(_) => self.text.sqlite,
            Values::Postgres(_) => self.text.postgres,
        };
        let mut part = queue::behind(text, others);
        if let Some((mark, placeholders)) = &self.expansion {
            part = part.replacen(mark, placeholders, 1);
        }
        let kept = self.expansion.is_none() || self.bound <= KEPT_VALUES_MAX;
        self.lease.queue.close(self.text, part, (self.values, self.bound), kept);
        Ok(())
    }

    /// Runs it and tells how many rows it touched.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn execute(self) -> Result<u64, Error> {
        run!(self, |conn, text, values, kept| async {
            Ok(sqlx::query_with(text, values).persistent(kept).execute(conn).await?.rows_affected())
        })
    }
}

/// Notes how a statement ended. After a time-out it still runs, so the lease stays busy. A transaction that writes is
/// lost with a statement that fails; one that only reads is begun anew.
fn settle<T>(lease: &mut Lease, failed: Option<&mut bool>, outcome: Result<T, Error>) -> Result<T, Error> {
    lease.busy = matches!(outcome, Err(Error::Timeout));
    lease.doubted |= outcome.is_err();
    if outcome.is_err() {
        match failed {
            Some(failed) => *failed = true,
            None if lease.transaction == Transaction::Open => lease.transaction = Transaction::Refused,
            None => {}
        }
    }
    outcome
}

fn expand(text: &'static str, expansion: Option<(&'static str, String)>) -> SqlStr {
    match expansion {
        None => text.into_sql_str(),
        // Only placeholders are put in, never a value.
        Some((mark, placeholders)) => AssertSqlSafe(text.replacen(mark, &placeholders, 1)).into_sql_str(),
    }
}

/// Puts a value into the column that is next.
fn push<P: Param>(columns: &mut Vec<Column>, next: &mut usize, value: &P) -> Result<(), BoxDynError> {
    if columns.len() == *next {
        columns.push(Column::of(&<P as Type<Postgres>>::type_info())?);
    }
    let column = columns.get_mut(*next).ok_or("a row with more values than the first")?;
    *next += 1;
    column.push(value)
}

/// Writes `($first, …, $last)`.
fn push_group(text: &mut String, first: usize, last: usize) {
    for number in first..=last {
        let before = if number == first { '(' } else { ',' };
        // Writing to a string cannot fail.
        let _ = write!(text, "{before}${number}");
    }
    text.push(')');
}

/// The highest `$n` in a text, which is how many values it takes. SQLite would take a missing one for NULL.
fn placeholders(text: &str) -> usize {
    let number = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    text.split('$').skip(1).map(number).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_counted_and_written() {
        assert_eq!(placeholders("SELECT a FROM t WHERE a = $1 AND b = $12 AND c = $2"), 12);
        let mut text = String::new();
        push_group(&mut text, 3, 5);
        assert_eq!(text, "($3,$4,$5)");
    }
}
