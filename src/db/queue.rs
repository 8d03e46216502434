//! Writes that are sent together: those of one transaction that do not depend on each other.
//!
//! On PostgreSQL each statement is a message to the server and its answer. What is queued goes as one: every statement
//! is a part of a `WITH`, and all of them see the tables as they were before. So none may name a table that another one
//! in the message writes: what does so goes with the next. SQLite, which is no journey away, runs them one by one.

use std::fmt::Write as _;

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::lease::{Lease, Wire};
use super::statement::{Sql, Values};
use super::{Error, deadline};

/// What waits, in its order.
pub(super) struct Queue {
    messages: Vec<Message>,
    /// A statement was begun that has not come back yet.
    open: bool,
}

/// Statements that go together, and their values.
struct Message {
    parts: Vec<String>,
    /// The tables that they write.
    writes: Vec<&'static str>,
    values: Values,
    bound: usize,
    kept: bool,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { messages: Vec::new(), open: false }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.open
    }

    /// Begins a statement: hands out the values that its own are to be bound behind, and how many there are. They are
    /// `none` when it goes by itself, or is the first of a message.
    pub(super) fn open(&mut self, text: Sql, none: Values) -> (Values, usize) {
        self.open = true;
        match self.messages.last_mut() {
            Some(message) if message.takes(text) => {
                (std::mem::replace(&mut message.values, none), message.bound)
            }
            _ => {
                let (parts, writes) = (Vec::new(), Vec::new());
                let values = Values::Postgres(PgArguments::default());
                self.messages.push(Message { parts, writes, values, bound: 0, kept: true });
                (none, 0)
            }
        }
    }

    /// Puts in the statement that was begun, as it is to run, and all values.
    pub(super) fn close(&mut self, text: Sql, part: String, (values, bound): (Values, usize), kept: bool) {
        if let Some(message) = self.messages.last_mut() {
            message.parts.push(part);
            message.writes.extend(written(text.postgres));
            (message.values, message.bound, message.kept) = (values, bound, kept);
        }
        self.open = false;
    }
}

impl Message {
    /// Whether a statement may go along.
    fn takes(&self, text: Sql) -> bool {
        matches!(self.values, Values::Postgres(_))
            && words(text.postgres).all(|word| !self.writes.contains(&word))
    }

    fn text(&mut self) -> SqlStr {
        if let [only] = self.parts.as_mut_slice() {
            return AssertSqlSafe(std::mem::take(only)).into_sql_str();
        }
        let mut text = String::new();
        for (number, part) in self.parts.iter().enumerate() {
            let before = if number == 0 { "WITH" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(text, "{before} part_{number} AS ({part})");
        }
        text.push_str(" SELECT 1");
        AssertSqlSafe(text).into_sql_str()
    }
}

impl Lease {
    /// Runs what is queued.
    ///
    /// # Errors
    /// [`Error::Failed`] when a statement was begun with [`super::Tx::later`] and never queued: what it would have
    /// written is lost.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        let Queue { messages, open } = std::mem::replace(&mut self.queue, Queue::new());
        if open {
            return Err(Error::Failed);
        }
        for mut message in messages {
            let text = message.text();
            self.busy = true;
            let outcome = match (self.wire()?, message.values) {
                (Wire::Sqlite(lent), Values::Sqlite(values)) => {
                    let run = sqlx::query_with(text, values).persistent(message.kept);
                    deadline::bound(run.execute(&mut lent.link().conn)).await.map(drop)
                }
                (Wire::Postgres(lent), Values::Postgres(values)) => {
                    let run = sqlx::query_with(text, values);
                    deadline::bound(run.execute(&mut lent.link().conn)).await.map(drop)
                }
                _ => Err(Error::Unavailable(sqlx::Error::PoolClosed)),
            };
            // What was refused is over; what did not end in time still runs.
            self.busy = matches!(outcome, Err(Error::Timeout));
            self.doubted |= outcome.is_err();
            outcome?;
        }
        Ok(())
    }
}

/// The table that a statement writes: `INSERT INTO t`, `UPDATE t`, `DELETE FROM t`.
fn written(text: &'static str) -> Option<&'static str> {
    let mut words = words(text).skip_while(|word| !matches!(*word, "INSERT" | "UPDATE" | "DELETE"));
    let verb = words.next()?;
    words.nth(usize::from(verb != "UPDATE"))
}

fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

/// A text whose placeholders stand for the values behind so many others.
pub(super) fn behind(text: &str, others: usize) -> String {
    let mut parts = text.split('$');
    let mut moved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        moved.push('$');
        if let Ok(number) = number.parse::<usize>() {
            // Writing to a string cannot fail.
            let _ = write!(moved, "{}", number.saturating_add(others));
        }
        moved.push_str(rest);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_move_behind_others() {
        assert_eq!(behind("a = $1 AND b = $12 VALUES $rows", 4), "a = $5 AND b = $16 VALUES $rows");
        assert_eq!(behind("SELECT 1", 4), "SELECT 1");
    }

    #[test]
    fn what_a_statement_writes_is_in_its_text() {
        assert_eq!(written("INSERT INTO notes (id) VALUES ($1)"), Some("notes"));
        assert_eq!(written("DELETE FROM notes WHERE id = $1"), Some("notes"));
        assert_eq!(written("WITH v (id) AS (VALUES $rows)\n UPDATE notes SET a = 1 FROM v"), Some("notes"));
        assert_eq!(written("SELECT a FROM notes"), None);
    }

    #[test]
    fn what_names_a_table_that_is_written_goes_with_the_next_message() {
        let none = || Values::Postgres(PgArguments::default());
        let mut queue = Queue::new();
        let add = |queue: &mut Queue, text: &'static str, values: usize| {
            let (behind, bound) = queue.open(text.into(), none());
            queue.close(text.into(), text.to_owned(), (behind, bound + values), true);
            (queue.messages.len(), bound)
        };
        assert_eq!(add(&mut queue, "INSERT INTO a (x) VALUES ($1)", 1), (1, 0));
        assert_eq!(add(&mut queue, "INSERT INTO b (x, a_id) VALUES ($1, $2)", 2), (1, 1));
        assert_eq!(add(&mut queue, "INSERT INTO c (x) SELECT x FROM a", 0), (2, 0));
        assert_eq!(add(&mut queue, "UPDATE c SET x = 1", 0), (3, 0));
        let text = queue.messages.first_mut().map(|message| message.text().as_str().to_owned());
        let expected = "WITH part_0 AS (INSERT INTO a (x) VALUES ($1)), \
                        part_1 AS (INSERT INTO b (x, a_id) VALUES ($1, $2)) SELECT 1";
        assert_eq!(text.as_deref(), Some(expected));
        let text = queue.messages.last_mut().map(|message| message.text().as_str().to_owned());
        assert_eq!(text.as_deref(), Some("UPDATE c SET x = 1"), "alone as it is");
    }
}
