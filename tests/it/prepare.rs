//! Every statement of the stores and of the bench is prepared on both engines, against the tables that the migrations
//! make. `$rows` and `$list` are written as lists of placeholders on both; that PostgreSQL is given arrays instead is
//! the database floor's, and tested with it.
//!
//! A misspelt column or a word that one engine does not know is found here, also when no test runs the statement.

pub mod literals;

use std::path::Path;

use capecontrol::db::Engine;
use literals::Call;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Either, Executor as _, SqlSafeStr as _, Statement as _};

use crate::support::{Fixture, on_both};
use crate::tidy::source::{self, Source};

/// How a statement is called. Counted apart from the scanner, which must have seen as many.
const CALLS: [&str; 4] = [".sql(", ".shared_sql(", "::sql(", "::shared_sql("];

/// Fewer are not believed.
const STATEMENTS_MIN: usize = 100;

on_both! {
    async fn every_statement_is_understood(t: Fixture) {
        let mut engine = Prepared::on(&t).await;
        let folders = ["src", "benches"];
        let sources = folders.map(|folder| source::read(Path::new(env!("CARGO_MANIFEST_DIR")), folder, &["rs"]));
        let (mut seen, mut refused) = (0, Vec::new());
        for source in sources.iter().flatten() {
            let calls = literals::calls(source);
            let made: usize = CALLS.iter().map(|call| source.code.matches(call).count()).sum();
            assert_eq!(calls.len(), made, "{}: statements that the scanner does not see", source.path);
            seen += calls.len();
            refused.extend(engine.refused(&calls).await);
        }
        assert!(seen >= STATEMENTS_MIN, "only {seen} statements were found");
        assert!(refused.is_empty(), "{} statements are refused:\n{}", refused.len(), refused.join("\n"));
    }

    async fn a_wrong_statement_is_named_with_its_place(t: Fixture) {
        let mut engine = Prepared::on(&t).await;
        let text = "tx.sql(\"SELECT id FROM jobs\")\ntx.sql(\"SELECT nonsense FROM jobs\")\ntx.sql(text)\n\
                    tx.sql(\"SELECT id FROM jobs WHERE id = $1 AND kind = $3\")";
        let refused = engine.refused(&literals::calls(&Source::new("src/auth/store.rs", text))).await;
        let [column, unread, gap] = refused.as_slice() else { panic!("{refused:#?}") };
        assert!(column.starts_with("src/auth/store.rs:2: ") && column.contains("nonsense"), "{column}");
        assert!(unread.starts_with("src/auth/store.rs:3: "), "{unread}");
        assert!(gap.starts_with("src/auth/store.rs:4: "), "{gap}");
    }
}

/// A connection of the test's own to a migrated database.
enum Prepared {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Prepared {
    async fn on(t: &Fixture) -> Self {
        match t.db.engine() {
            Engine::Sqlite => Self::Sqlite(SqliteConnection::connect(&t.url).await.unwrap()),
            Engine::Postgres => Self::Postgres(PgConnection::connect(&t.url).await.unwrap()),
        }
    }

    /// What is wrong with these statements, each with its place.
    async fn refused(&mut self, calls: &[Call]) -> Vec<String> {
        let mut found = Vec::new();
        for Call { place, text, .. } in calls {
            let outcome = match (text, &*self) {
                (None, _) => Err("is written in a way that this test does not read".to_owned()),
                (Some(text), Self::Sqlite(_)) => self.prepare(&text.sqlite).await,
                (Some(text), Self::Postgres(_)) => self.prepare(&text.postgres).await,
            };
            found.extend(outcome.err().map(|says| format!("{place}: {says}")));
        }
        found
    }

    /// Has the engine read a statement, and compares how many values it wants with how many the text names.
    async fn prepare(&mut self, text: &str) -> Result<(), String> {
        let text = literals::expanded(text, 2)?;
        let text = if matches!(self, Self::Postgres(_)) { literals::with_ids(&text) } else { text };
        let sql = AssertSqlSafe(text.clone()).into_sql_str();
        let taken = match self {
            Self::Sqlite(conn) => conn.prepare(sql).await.map(|statement| count(statement.parameters())),
            Self::Postgres(conn) => conn.prepare(sql).await.map(|statement| count(statement.parameters())),
        };
        let taken = taken.map_err(|error| format!("{error}\n  {text}"))?;
        let named: std::collections::BTreeSet<usize> = literals::placeholders(&text).collect();
        let without_gap = named.iter().copied().eq(1..=taken);
        if without_gap { Ok(()) } else { Err(format!("takes {taken} values and names {named:?}\n  {text}")) }
    }
}

fn count<T>(parameters: Option<Either<&[T], usize>>) -> usize {
    parameters.map_or(0, |parameters| parameters.either(<[T]>::len, |count| count))
}

#[test]
fn statements_are_found_in_every_form_that_the_house_uses() {
    let text = r##"
        // tx.sql("in a comment") and a string: ".sql(\"x\")"
        conn.sql("SELECT \"a\" \
                  FROM t").bind(1);
        conn.shared_sql(r#"SELECT "b" x"#);
        conn.sql(db::lock!("SELECT c"));
        conn.sql(db::claim!("WITH d AS (SELECT", /* here */ ") UPDATE",));
        conn.sql(concat!("SELECT ", "e"));
        conn.sql(db::Sql { sqlite: "SELECT f", postgres: concat!("SELECT", " g") });
        conn.sql(SEARCH);
        const SEARCH: &str = "SELECT h";
        conn.sql(elsewhere());
    "##;
    let found = literals::calls(&Source::new("src/a/store.rs", text));
    let texts: Vec<_> =
        found.iter().map(|call| call.text.as_ref().map(|text| (&*text.sqlite, &*text.postgres))).collect();
    let same = |text| Some((text, text));
    let expected = [
        same("SELECT \"a\" FROM t"),
        same("SELECT \"b\" x"),
        Some(("SELECT c", "SELECT c FOR UPDATE")),
        Some(("WITH d AS (SELECT ) UPDATE", "WITH d AS (SELECT FOR UPDATE SKIP LOCKED ) UPDATE")),
        same("SELECT e"),
        Some(("SELECT f", "SELECT g")),
        same("SELECT h"),
        None,
    ];
    assert_eq!(texts, expected);
    assert_eq!(found[0].place, "src/a/store.rs:3");
}

#[test]
fn lists_and_rows_are_expanded_after_the_other_values() {
    let expanded = |text| literals::expanded(text, 2);
    assert_eq!(expanded("a = $1 AND b IN $list").unwrap(), "a = $1 AND b IN ($2, $3)");
    assert_eq!(
        expanded("INSERT INTO t (a, b) VALUES $rows").unwrap(),
        "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)"
    );
    assert_eq!(expanded("(a, b) IN (VALUES $rows)").unwrap(), "(a, b) IN (VALUES ($1, $2), ($3, $4))");
    let named = expanded("WITH v (a_id, seq) AS (VALUES $rows) SELECT a_id FROM v").unwrap();
    assert_eq!(named, "WITH v (a_id, seq) AS (VALUES ($1, $2), ($3, $4)) SELECT a_id FROM v");
    let typed =
        "WITH v (a_id, seq) AS (VALUES (CAST($1 AS uuid), CAST($2 AS bigint)), ($3, $4)) SELECT a_id FROM v";
    assert_eq!(literals::with_ids(&named), typed);
    assert_eq!(
        literals::with_ids("(a, b) IN (VALUES ($1, $2), ($3, $4))"),
        "(a, b) IN (VALUES (CAST($1 AS uuid), CAST($2 AS uuid)), ($3, $4))"
    );
    assert!(expanded("IN $list AND b IN $list").is_err());
}
