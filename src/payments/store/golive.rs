//! What was looked at before going live: evidence, kept for ever, without a secret.

use crate::base::{Id, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::doctor::{Check, Finding};
use crate::payments::options::Mode;

/// Marks the id of a round of checks.
pub enum RoundMark {}

/// A round of checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Its id.
    pub id: Id<RoundMark>,
    /// The mode that the platform was in.
    pub mode: Mode,
    /// The version of the program.
    pub version: String,
    /// When.
    pub at: Timestamp,
    /// What was found, in order.
    pub findings: Vec<Finding>,
}

/// Stores a round.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, round: &Round) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO golive_checks (run_id, position, name, result, detail, mode, version, checked_at) VALUES $rows",
    )
    .rows((1_i64..).zip(&round.findings), |statement, (position, finding)| {
        statement
            .bind(round.id)
            .bind(position)
            .bind(finding.check)
            .bind(finding.verdict)
            .bind(finding.detail.clone())
            .bind(round.mode)
            .bind(round.version.clone())
            .bind(round.at)
    })
    .execute()
    .await?;
    Ok(())
}

/// The newest round, if there was any.
///
/// # Errors
/// What the database refuses.
pub async fn newest(conn: &mut impl Conn) -> Result<Option<Round>, db::Error> {
    let head: Option<(Id<RoundMark>, Mode, String, Timestamp)> = conn
        .sql(
            "SELECT run_id, mode, version, checked_at FROM golive_checks
             ORDER BY checked_at DESC, run_id DESC LIMIT 1",
        )
        .optional()
        .await?;
    let Some((id, mode, version, at)) = head else { return Ok(None) };
    let rows: Vec<(Check, crate::payments::doctor::Verdict, String)> = conn
        .sql("SELECT name, result, detail FROM golive_checks WHERE run_id = $1 ORDER BY position")
        .bind(id)
        .all()
        .await?;
    let findings =
        rows.into_iter().map(|(check, verdict, detail)| Finding { check, verdict, detail }).collect();
    Ok(Some(Round { id, mode, version, at, findings }))
}
