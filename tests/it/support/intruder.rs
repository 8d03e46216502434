//! Somebody who writes past the program into a test's database.

use capecontrol::db::Engine;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, SqliteConnection,
};

use super::{Fixture, postgres};

/// Takes every check off the tables of a schema.
const WITHOUT_CHECKS: &str = "
    DO $$ DECLARE held record; BEGIN
        FOR held IN SELECT c.conname, c.conrelid::regclass AS held_table FROM pg_constraint AS c
            JOIN pg_class AS t ON t.oid = c.conrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace
            WHERE c.contype = 'c' AND n.nspname = current_schema()
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', held.held_table, held.conname);
        END LOOP;
    END $$";

/// Somebody with the rights of the database's owner, who gets round triggers and constraints.
pub enum Intruder {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Intruder {
    pub async fn into(t: &Fixture) -> Self {
        match t.db.engine() {
            Engine::Sqlite => {
                let options: SqliteConnectOptions = t.url.parse().unwrap();
                let mut conn = options.foreign_keys(false).connect().await.unwrap();
                let listed = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%RAISE(%'";
                let triggers: Vec<(String,)> = sqlx::query_as(listed).fetch_all(&mut conn).await.unwrap();
                for (name,) in triggers {
                    conn.execute(AssertSqlSafe(format!("DROP TRIGGER {name}"))).await.unwrap();
                }
                conn.execute("PRAGMA ignore_check_constraints = ON").await.unwrap();
                Self::Sqlite(conn)
            }
            Engine::Postgres => {
                let mut conn = PgConnection::connect(&postgres::superuser_url(&t.url)).await.unwrap();
                conn.execute("SET session_replication_role = replica").await.unwrap();
                conn.execute(WITHOUT_CHECKS).await.unwrap();
                Self::Postgres(conn)
            }
        }
    }

    /// The columns of a table with their types, as the engine names them.
    pub async fn columns(&mut self, table: &str) -> Vec<(String, String)> {
        match self {
            Self::Sqlite(conn) => {
                let text = format!("SELECT name, type FROM pragma_table_info('{table}') ORDER BY name");
                sqlx::query_as(AssertSqlSafe(text)).fetch_all(conn).await.unwrap()
            }
            Self::Postgres(conn) => {
                let text = format!(
                    "SELECT CAST(column_name AS text), CAST(data_type AS text) FROM information_schema.columns
                     WHERE table_schema = current_schema() AND table_name = '{table}' ORDER BY column_name"
                );
                sqlx::query_as(AssertSqlSafe(text)).fetch_all(conn).await.unwrap()
            }
        }
    }

    /// Runs a statement. Ids are written as `#…#`, bytes as `~…~` in hexadecimal digits.
    pub async fn run(&mut self, text: &str) -> u64 {
        match self {
            Self::Sqlite(conn) => {
                let text = marked(text, '#', |id| format!("x'{}'", id.replace('-', "")));
                let text = marked(&text, '~', |hex| format!("x'{hex}'"));
                conn.execute(AssertSqlSafe(text)).await.unwrap().rows_affected()
            }
            Self::Postgres(conn) => {
                let text = marked(text, '#', |id| format!("'{id}'"));
                let text = marked(&text, '~', |hex| format!("'\\x{hex}'"));
                conn.execute(AssertSqlSafe(text)).await.unwrap().rows_affected()
            }
        }
    }
}

fn marked(text: &str, mark: char, write: impl Fn(&str) -> String) -> String {
    let parts = text.split(mark).enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { write(part) } else { part.to_owned() }).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
