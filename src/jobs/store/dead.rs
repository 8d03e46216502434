//! Jobs that failed for good, for whoever decides what becomes of them. What a job is about is not read here.

use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::jobs::JobId;

/// A job that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Dead {
    /// Its id.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: String,
    /// For which organisation.
    pub organization_id: Option<OrganizationId>,
    /// How many times it was tried.
    pub attempts: i64,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it failed for good.
    pub failed_at: Timestamp,
}

/// Dead jobs of a kind (of all kinds when it is empty), the latest to fail first, after a place in that order.
///
/// # Errors
/// What the database refuses.
pub async fn list(
    conn: &mut impl Conn,
    kind: &str,
    after: (Timestamp, JobId),
    limit: i64,
) -> Result<Vec<Dead>, db::Error> {
    conn.sql(
        "SELECT id, kind, organization_id, attempts, last_error, created_at, run_at AS failed_at
         FROM jobs WHERE state = 'dead' AND (run_at, id) < ($1, $2) AND ($3 = '' OR kind = $3)
         ORDER BY run_at DESC, id DESC LIMIT $4",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(kind)
    .bind(limit)
    .all()
    .await
}

/// A dead job.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: JobId) -> Result<Option<Dead>, db::Error> {
    conn.sql(
        "SELECT id, kind, organization_id, attempts, last_error, created_at, run_at AS failed_at
         FROM jobs WHERE id = $1 AND state = 'dead'",
    )
    .bind(id)
    .optional()
    .await
}

/// Has a dead job tried again from now on, with all its attempts before it. `false` when there is no such dead job.
///
/// # Errors
/// What the database refuses.
pub async fn retry(tx: &mut Tx, id: JobId, now: Timestamp) -> Result<bool, db::Error> {
    let touched = tx
        .sql("UPDATE jobs SET state = 'ready', attempts = 0, run_at = $1 WHERE id = $2 AND state = 'dead'")
        .bind(now)
        .bind(id)
        .execute()
        .await?;
    tx.announce();
    Ok(touched == 1)
}

/// Deletes a dead job. `false` when there is no such dead job.
///
/// # Errors
/// What the database refuses.
pub async fn discard(tx: &mut Tx, id: JobId) -> Result<bool, db::Error> {
    let touched = tx.sql("DELETE FROM jobs WHERE id = $1 AND state = 'dead'").bind(id).execute().await?;
    Ok(touched == 1)
}
