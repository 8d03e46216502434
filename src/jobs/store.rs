//! The queue's table.

pub mod dead;

use super::model::{Claimed, Job, JobId, State};
use crate::base::{OrganizationId, Timestamp, World};
use crate::db::{self, Conn, Tx};

/// Queues a job to run as soon as the transaction commits.
///
/// # Errors
/// What the database refuses.
pub async fn push<J: Job>(
    tx: &mut Tx,
    world: &World,
    organization_id: Option<OrganizationId>,
    job: &J,
) -> Result<(), db::Error> {
    push_at(tx, world, organization_id, job, world.now()).await
}

/// Queues jobs of one kind to run as soon as the transaction commits, in one statement.
///
/// # Errors
/// What the database refuses.
pub async fn push_all<J: Job>(
    tx: &mut Tx,
    world: &World,
    organization_id: Option<OrganizationId>,
    jobs: &[J],
) -> Result<(), db::Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    let now = world.now();
    tx.sql(
        "INSERT INTO jobs (id, kind, organization_id, payload, run_at, created_at, state, attempts, fence)
         VALUES $rows",
    )
    .rows(jobs, |statement, job| {
        let id: JobId = world.id();
        statement
            .bind(id)
            .bind(J::KIND)
            .bind(organization_id)
            .bind(payload(job))
            .bind(now)
            .bind(now)
            .bind(State::Ready)
            .bind(0_i64)
            .bind(0_i64)
    })
    .execute()
    .await?;
    tx.announce();
    Ok(())
}

/// Jobs are plain structs; their JSON cannot fail.
fn payload<J: Job>(job: &J) -> String {
    serde_json::to_string(job).unwrap_or_default()
}

/// Queues a job to run at `run_at`.
///
/// # Errors
/// What the database refuses.
pub async fn push_at<J: Job>(
    tx: &mut Tx,
    world: &World,
    organization_id: Option<OrganizationId>,
    job: &J,
    run_at: Timestamp,
) -> Result<(), db::Error> {
    let id: JobId = world.id();
    tx.sql(
        "INSERT INTO jobs (id, kind, organization_id, payload, state, run_at, attempts, fence, created_at)
         VALUES ($1, $2, $3, $4, 'ready', $5, 0, 0, $6)",
    )
    .bind(id)
    .bind(J::KIND)
    .bind(organization_id)
    .bind(payload(job))
    .bind(run_at)
    .bind(world.now())
    .execute()
    .await?;
    tx.announce();
    Ok(())
}

/// Claims up to `limit` jobs of these kinds that are due, the longest due first.
pub(super) async fn claim(
    tx: &mut Tx,
    now: Timestamp,
    lease_until: Timestamp,
    limit: i64,
    kinds: impl Iterator<Item = &'static str>,
) -> Result<Vec<Claimed>, db::Error> {
    tx.sql(db::claim!(
        "WITH due AS (
           SELECT id FROM jobs WHERE state = 'ready' AND run_at <= $1 AND kind IN $list
           ORDER BY run_at, id LIMIT $3",
        ")
         UPDATE jobs SET state = 'running', lease_until = $2, attempts = attempts + 1, fence = fence + 1
         WHERE id IN (SELECT id FROM due)
         RETURNING id, organization_id, kind, payload, attempts, fence"
    ))
    .bind(now)
    .bind(lease_until)
    .bind(limit)
    .list(kinds)
    .all()
    .await
}

/// Makes jobs of these kinds ready again whose worker did not end them in time.
pub(super) async fn release_expired(
    tx: &mut Tx,
    now: Timestamp,
    kinds: impl Iterator<Item = &'static str>,
) -> Result<u64, db::Error> {
    tx.sql(
        "UPDATE jobs SET state = 'ready', lease_until = NULL
         WHERE state = 'running' AND lease_until <= $1 AND kind IN $list",
    )
    .bind(now)
    .list(kinds)
    .execute()
    .await
}

/// Prolongs a claim. False when it was lost.
pub(super) async fn renew(tx: &mut Tx, id: JobId, fence: i64, until: Timestamp) -> Result<bool, db::Error> {
    let touched = tx
        .sql("UPDATE jobs SET lease_until = $3 WHERE id = $1 AND fence = $2 AND state = 'running'")
        .bind(id)
        .bind(fence)
        .bind(until)
        .execute()
        .await?;
    Ok(touched == 1)
}

/// Makes a claimed job ready again, as if it had not been tried. Nothing happens when the claim was lost.
pub(super) async fn give_back(tx: &mut Tx, id: JobId, fence: i64) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE jobs SET state = 'ready', lease_until = NULL, attempts = attempts - 1
         WHERE id = $1 AND fence = $2 AND state = 'running'",
    )
    .bind(id)
    .bind(fence)
    .execute()
    .await?;
    Ok(())
}

/// Ends a job that is done. False when the claim was lost.
pub(super) async fn complete(
    tx: &mut Tx,
    organization_id: Option<OrganizationId>,
    id: JobId,
    fence: i64,
) -> Result<bool, db::Error> {
    let touched = tx
        .sql(
            "DELETE FROM jobs
             WHERE id = $1 AND fence = $2 AND state = 'running' AND organization_id IS NOT DISTINCT FROM $3",
        )
        .bind(id)
        .bind(fence)
        .bind(organization_id)
        .execute()
        .await?;
    Ok(touched == 1)
}

/// Notes a failure: the job waits until `run_at`, or is dead. Nothing happens when the claim was lost.
pub(super) async fn fail(
    tx: &mut Tx,
    claimed: &Claimed,
    state: State,
    run_at: Timestamp,
    cause: &str,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE jobs SET state = $3, run_at = $4, last_error = $5, lease_until = NULL
         WHERE id = $1 AND fence = $2 AND state = 'running'",
    )
    .bind(claimed.id)
    .bind(claimed.fence)
    .bind(state)
    .bind(run_at)
    .bind(cause)
    .execute()
    .await?;
    Ok(())
}

/// Has a job wait until `run_at`, as if it had not been tried. Nothing happens when the claim was lost.
pub(super) async fn postpone(
    tx: &mut Tx,
    claimed: &Claimed,
    run_at: Timestamp,
    cause: &str,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE jobs SET state = 'ready', run_at = $3, last_error = $4, lease_until = NULL, attempts = attempts - 1
         WHERE id = $1 AND fence = $2 AND state = 'running'",
    )
    .bind(claimed.id)
    .bind(claimed.fence)
    .bind(run_at)
    .bind(cause)
    .execute()
    .await?;
    Ok(())
}

/// How many jobs are in each state.
///
/// # Errors
/// What the database refuses.
pub async fn count(conn: &mut impl Conn) -> Result<Vec<(State, i64)>, db::Error> {
    conn.sql("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state").all().await
}

/// The earliest time at which a job waits to run, or a claim runs out; `None` when the queue is empty.
///
/// # Errors
/// What the database refuses.
pub async fn earliest(conn: &mut impl Conn) -> Result<Option<Timestamp>, db::Error> {
    let (due,): (Option<Timestamp>,) = conn
        .sql(
            "SELECT min(due) FROM (
               SELECT min(run_at) AS due FROM jobs WHERE state = 'ready'
               UNION ALL
               SELECT min(lease_until) AS due FROM jobs WHERE state = 'running'
             ) AS both_kinds",
        )
        .one()
        .await?;
    Ok(due)
}

/// Since when the job that is due longest waits; `None` when none is due.
///
/// # Errors
/// What the database refuses.
pub async fn oldest_due(conn: &mut impl Conn, now: Timestamp) -> Result<Option<Timestamp>, db::Error> {
    let (due,): (Option<Timestamp>,) = conn
        .sql("SELECT min(run_at) FROM jobs WHERE state = 'ready' AND run_at <= $1")
        .bind(now)
        .one()
        .await?;
    Ok(due)
}
