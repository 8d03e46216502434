//! PostgreSQL's catalogue, of the schema that the connection works in.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{Column, ForeignKey, Index, Schema};

pub async fn read(conn: &mut PgConnection) -> Schema {
    let mut schema = Schema::new();
    columns(conn, &mut schema).await;
    constraints(conn, &mut schema).await;
    indexes(conn, &mut schema).await;
    triggers(conn, &mut schema).await;
    schema
}

async fn columns(conn: &mut PgConnection, schema: &mut Schema) {
    let rows: Vec<(String, String, String, bool, bool)> = sqlx::query_as(
        "SELECT t.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.atthasdef
         FROM pg_attribute AS a JOIN pg_class AS t ON t.oid = a.attrelid
         WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind = 'r' AND a.attnum > 0
           AND NOT a.attisdropped AND t.relname <> '_sqlx_migrations'",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    for (table, column, kind, nullable, default) in rows {
        schema.entry(table).or_default().columns.insert(column, Column { kind, nullable, default });
    }
}

/// The names of the columns with these numbers, in their order.
macro_rules! names {
    ($table:literal, $numbers:literal) => {
        concat!(
            "ARRAY(SELECT a.attname::text FROM unnest(",
            $numbers,
            ") WITH ORDINALITY AS k(number, place)
             JOIN pg_attribute AS a ON a.attrelid = ",
            $table,
            " AND a.attnum = k.number ORDER BY k.place)"
        )
    };
}

async fn constraints(conn: &mut PgConnection, schema: &mut Schema) {
    type Row = (String, String, String, Vec<String>, String, Vec<String>, String, String, String);
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "SELECT t.relname::text, c.conname::text, c.contype::text, ",
        names!("c.conrelid", "c.conkey"),
        ",
                coalesce(f.relname::text, ''), ",
        names!("c.confrelid", "c.confkey"),
        ",
                c.confdeltype::text, c.confupdtype::text, pg_get_constraintdef(c.oid)
         FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid
         LEFT JOIN pg_class AS f ON f.oid = c.confrelid
         WHERE c.connamespace = current_schema()::regnamespace AND c.contype IN ('p', 'u', 'f', 'c')"
    ))
    .fetch_all(conn)
    .await
    .unwrap();
    for (table, name, kind, columns, other, referenced, on_delete, on_update, text) in rows {
        let Some(table) = schema.get_mut(&table) else { continue };
        let (on_delete, on_update) = (rule(&on_delete), rule(&on_update));
        match kind.as_str() {
            "p" => table.primary_key = columns,
            "u" => drop(table.uniques.insert(name, columns)),
            "c" => drop(table.checks.insert(name, text)),
            _ => {
                let key = ForeignKey { columns, table: other, referenced, on_delete, on_update };
                table.foreign_keys.insert(key);
            }
        }
    }
}

/// `pg_constraint.confdeltype`, in words.
fn rule(letter: &str) -> String {
    let word = match letter {
        "r" => "RESTRICT",
        "c" => "CASCADE",
        "n" => "SET NULL",
        "d" => "SET DEFAULT",
        _ => "NO ACTION",
    };
    word.to_owned()
}

/// Those that no constraint brought with it.
async fn indexes(conn: &mut PgConnection, schema: &mut Schema) {
    let rows: Vec<(String, String, bool, bool, Vec<String>)> = sqlx::query_as(
        "SELECT t.relname::text, i.relname::text, x.indisunique, x.indpred IS NOT NULL,
                ARRAY(SELECT coalesce(a.attname::text, '(expression)')
                             || CASE WHEN x.indoption[k.place - 1] & 1 = 1 THEN ' DESC' ELSE '' END
                      FROM unnest(x.indkey) WITH ORDINALITY AS k(number, place)
                      LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number AND k.number > 0
                      WHERE k.place <= x.indnkeyatts ORDER BY k.place)
         FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
         WHERE t.relnamespace = current_schema()::regnamespace
           AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c
                           WHERE c.conindid = x.indexrelid AND c.contype IN ('p', 'u'))",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    for (table, name, unique, partial, columns) in rows {
        if let Some(table) = schema.get_mut(&table) {
            table.indexes.insert(name, Index { columns, unique, partial });
        }
    }
}

/// `pg_trigger.tgtype` is a set of bits.
const BEFORE: i16 = 2;
const EVENTS: [(i16, &str); 3] = [(4, "INSERT"), (8, "DELETE"), (16, "UPDATE")];

async fn triggers(conn: &mut PgConnection, schema: &mut Schema) {
    let rows: Vec<(String, i16)> = sqlx::query_as(
        "SELECT t.relname::text, g.tgtype FROM pg_trigger AS g JOIN pg_class AS t ON t.oid = g.tgrelid
         WHERE t.relnamespace = current_schema()::regnamespace AND NOT g.tgisinternal",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    for (table, bits) in rows {
        let Some(table) = schema.get_mut(&table) else { continue };
        let timing = if bits & BEFORE != 0 { "BEFORE" } else { "AFTER" };
        let events = EVENTS.iter().filter(|(bit, _)| bits & bit != 0);
        table.triggers.extend(events.map(|(_, event)| format!("{timing} {event}")));
    }
}

/// A check of SQLite's in PostgreSQL's own words, so that two checks that mean the same read the same.
pub async fn canonical(conn: &mut PgConnection, table: &str, expression: &str) -> String {
    let mut tx = conn.begin().await.unwrap();
    let add = format!("ALTER TABLE {table} ADD CONSTRAINT the_twin CHECK ({expression})");
    if let Err(error) = tx.execute(AssertSqlSafe(add)).await {
        return format!("{expression} ({error})");
    }
    let find = "SELECT pg_get_constraintdef(oid) FROM pg_constraint
                WHERE conname = 'the_twin' AND connamespace = current_schema()::regnamespace";
    let (text,): (String,) = sqlx::query_as(find).fetch_one(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    text
}
