//! PostgreSQL for tests: the cluster that `scripts/postgres` runs, and in it a schema for each test.
//!
//! A schema costs a few milliseconds where a database costs a hundred. Nothing is dropped: the cluster goes as a whole.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

/// The variables in which `scripts/postgres` hands over the cluster's address, as each of its roles.
const SERVER: &str = "CAPECONTROL_TEST_POSTGRES_URL";
const OWNER: &str = "CAPECONTROL_TEST_POSTGRES_OWNER_URL";
const SUPERUSER: &str = "CAPECONTROL_TEST_POSTGRES_SUPERUSER_URL";

/// An empty schema of its own.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// Where connections see this schema and no other, as the role that serves.
    pub url: String,
}

/// Makes an empty schema.
pub async fn fresh() -> TestDatabase {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = cluster(SERVER);
    let schema = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut conn = PgConnection::connect(&cluster(OWNER)).await.unwrap();
    // A kept cluster may have seen this process id before.
    let text = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
    conn.execute(AssertSqlSafe(text)).await.unwrap();
    conn.close().await.unwrap();
    let join = if server.contains('?') { '&' } else { '?' };
    TestDatabase { url: format!("{server}{join}options[search_path]={schema}") }
}

/// The address of a test's database as the role that owns its tables; none on SQLite, which knows no roles.
pub fn owner_url(url: &str) -> Option<String> {
    as_role(url, OWNER)
}

/// The address of a test's database as a superuser.
pub fn superuser_url(url: &str) -> String {
    as_role(url, SUPERUSER).unwrap()
}

fn as_role(url: &str, variable: &str) -> Option<String> {
    if url.starts_with("sqlite://") {
        return None;
    }
    let rest = url.strip_prefix(&cluster(SERVER)).unwrap();
    Some(format!("{}{rest}", cluster(variable)))
}

/// Moves what is in the schema of `url` away, and leaves an empty one of the same name.
pub async fn empty(url: &str) {
    let schema = url.rsplit_once('=').unwrap().1;
    let mut conn = PgConnection::connect(&cluster(OWNER)).await.unwrap();
    let text = format!("ALTER SCHEMA {schema} RENAME TO {schema}_away; CREATE SCHEMA {schema}");
    conn.execute(AssertSqlSafe(text)).await.unwrap();
    conn.close().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the test run is told of its cluster by the environment")]
fn cluster(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: run `make test`, or `scripts/postgres run cargo test`, or set it with \
             `eval \"$(scripts/postgres start)\"`; `make unit` needs no PostgreSQL"
        )
    })
}
