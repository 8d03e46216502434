//! SQLite's catalogue: pragmas, and for what they do not tell, the text of the tables.

use std::collections::BTreeMap;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::{Column, ForeignKey, Index, Schema, Table, key_name};

pub async fn read(url: &str) -> Schema {
    let mut conn = SqliteConnection::connect(url).await.unwrap();
    let tables: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT l.name, m.sql, l.strict FROM pragma_table_list AS l JOIN sqlite_master AS m ON m.name = l.name
         WHERE m.type = 'table' AND l.name NOT LIKE 'sqlite%' AND l.name <> '_sqlx_migrations'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let mut schema = Schema::new();
    for (name, text, strict) in tables {
        assert!(strict, "{name} is not STRICT on SQLite");
        let mut table = Table { checks: checks(&name, &text), ..Table::default() };
        columns(&mut conn, &name, &mut table).await;
        indexes(&mut conn, &name, &mut table).await;
        foreign_keys(&mut conn, &name, &mut table).await;
        triggers(&mut conn, &name, &mut table).await;
        schema.insert(name, table);
    }
    schema
}

async fn columns(conn: &mut SqliteConnection, name: &str, table: &mut Table) {
    let rows: Vec<(String, String, bool, bool, i64)> = sqlx::query_as(
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk FROM pragma_table_info($1) ORDER BY pk",
    )
    .bind(name)
    .fetch_all(conn)
    .await
    .unwrap();
    for (column, kind, not_null, default, place) in rows {
        if place > 0 {
            table.primary_key.push(column.clone());
        }
        table.columns.insert(column, Column { kind, nullable: !not_null, default });
    }
}

async fn indexes(conn: &mut SqliteConnection, name: &str, table: &mut Table) {
    let rows: Vec<(String, bool, String, bool)> =
        sqlx::query_as("SELECT name, \"unique\", origin, partial FROM pragma_index_list($1)")
            .bind(name)
            .fetch_all(&mut *conn)
            .await
            .unwrap();
    for (index, unique, origin, partial) in rows {
        let columns: Vec<(String,)> = sqlx::query_as(
            "SELECT coalesce(name, '(expression)') || CASE WHEN \"desc\" THEN ' DESC' ELSE '' END
             FROM pragma_index_xinfo($1) WHERE key = 1 ORDER BY seqno",
        )
        .bind(&index)
        .fetch_all(&mut *conn)
        .await
        .unwrap();
        let columns: Vec<String> = columns.into_iter().map(|(column,)| column).collect();
        match origin.as_str() {
            "pk" => {}
            "u" => {
                table.uniques.insert(key_name(name, &columns), columns);
            }
            _ => {
                table.indexes.insert(index, Index { columns, unique, partial });
            }
        }
    }
}

async fn foreign_keys(conn: &mut SqliteConnection, name: &str, table: &mut Table) {
    let rows: Vec<(i64, String, String, String, String, String)> = sqlx::query_as(
        "SELECT id, \"table\", \"from\", \"to\", on_delete, on_update
         FROM pragma_foreign_key_list($1) ORDER BY id, seq",
    )
    .bind(name)
    .fetch_all(conn)
    .await
    .unwrap();
    let mut keys = BTreeMap::new();
    for (id, table, column, referenced, on_delete, on_update) in rows {
        let none = || ForeignKey { columns: vec![], table, referenced: vec![], on_delete, on_update };
        let key = keys.entry(id).or_insert_with(none);
        key.columns.push(column);
        key.referenced.push(referenced);
    }
    table.foreign_keys.extend(keys.into_values());
}

/// A trigger's text begins `CREATE TRIGGER name BEFORE UPDATE`.
async fn triggers(conn: &mut SqliteConnection, name: &str, table: &mut Table) {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = $1")
            .bind(name)
            .fetch_all(conn)
            .await
            .unwrap();
    for (text,) in rows {
        let words: Vec<&str> = text.split_whitespace().collect();
        table.triggers.insert(format!("{} {}", words[3], words[4]));
    }
}

/// The named checks in a table's text. One without a name would be refused under a name that nobody chose.
fn checks(table: &str, text: &str) -> BTreeMap<String, String> {
    let lines: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let text = lines.join("\n");
    let mut found = BTreeMap::new();
    let mut parts = text.split("CHECK (");
    let mut before = parts.next().unwrap_or_default();
    for after in parts {
        let words: Vec<&str> = before.split_whitespace().collect();
        let [.., "CONSTRAINT", name] = words.as_slice() else { panic!("{table} has a CHECK without a name") };
        found.insert((*name).to_owned(), balanced(after).split_whitespace().collect::<Vec<_>>().join(" "));
        before = after;
    }
    found
}

/// The text up to the parenthesis that closes one opened before it. Quotes are no parentheses.
fn balanced(text: &str) -> &str {
    let (mut depth, mut quoted) = (1, false);
    let end = text.find(|c| {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn checks_are_cut_out_of_a_tables_text() {
    let text = "CREATE TABLE t (a INTEGER, -- CHECK (no)\n CONSTRAINT t_a_check CHECK (a IN (1,\n  2) AND b <> ')'),\n \
                CONSTRAINT t_b_check CHECK (b > 0)) STRICT";
    let expected = [("t_a_check", "a IN (1, 2) AND b <> ')'"), ("t_b_check", "b > 0")];
    assert_eq!(checks("t", text), expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
}
