//! How each engine would run a statement, without running it.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

/// SQLite's plan, line by line, indented. Placeholders stay unbound: it plans without looking at values.
pub async fn sqlite(conn: &mut SqliteConnection, text: &str) -> Result<Vec<String>, sqlx::Error> {
    let text = format!("EXPLAIN QUERY PLAN {text}");
    let mut depths = std::collections::BTreeMap::from([(0_i64, 0_usize)]);
    let mut lines = Vec::new();
    for row in sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(conn).await? {
        let depth = depths.get(&row.try_get("parent")?).copied().unwrap_or_default();
        depths.insert(row.try_get("id")?, depth + 1);
        lines.push(format!("{}{}", "  ".repeat(depth), row.try_get::<String, _>("detail")?));
    }
    Ok(lines)
}

/// PostgreSQL's plan for whatever the values are, line by line. `values` is how many placeholders the text has.
pub async fn postgres(
    conn: &mut PgConnection,
    text: &str,
    values: usize,
) -> Result<Vec<String>, sqlx::Error> {
    let nulls = vec!["NULL"; values].join(", ");
    let values = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    conn.execute(AssertSqlSafe("SET plan_cache_mode = force_generic_plan")).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE explained AS {text}"))).execute(&mut *conn).await?;
    let asked = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE explained{values}"));
    let rows = sqlx::raw_sql(asked).fetch_all(&mut *conn).await;
    sqlx::raw_sql("DEALLOCATE explained").execute(conn).await?;
    rows?.iter().map(|row| row.try_get(0)).collect()
}
