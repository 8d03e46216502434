//! The rows of reports.

use uuid::Uuid;

use super::{ActorKind, actor, parts};
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::chat::model::conduct::{Report, ReportId, ReportReason};
use crate::chat::model::{MessageId, ThreadId};
use crate::db::{self, Conn, Tx};

/// Writes a report. False when the person has reported this message before: then nothing is written.
pub async fn insert_report(tx: &mut Tx, report: &Report) -> Result<bool, db::Error> {
    let (author_kind, author_id) = parts(report.author);
    let written = tx
        .sql(
            "INSERT INTO message_reports (id, organization_id, thread_id, message_id, author_kind, author_id, text,
                                          reporter_id, reason, comment, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (message_id, reporter_id) DO NOTHING",
        )
        .bind(report.id)
        .bind(report.organization_id)
        .bind(report.thread_id)
        .bind(report.message_id)
        .bind(author_kind)
        .bind(author_id)
        .bind(report.text.clone())
        .bind(report.reporter_id)
        .bind(report.reason)
        .bind(report.comment.clone())
        .bind(report.created_at)
        .execute()
        .await?;
    Ok(written == 1)
}

/// The report of a message by a person.
pub async fn report_by(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
    reporter_id: AccountId,
) -> Result<Option<(ReportId, Timestamp)>, db::Error> {
    conn.sql(
        "SELECT id, created_at FROM message_reports
         WHERE organization_id IS NOT DISTINCT FROM $1 AND message_id = $2 AND reporter_id = $3",
    )
    .bind(organization_id)
    .bind(message_id)
    .bind(reporter_id)
    .optional()
    .await
}

/// Reports, the oldest first, at most so many. Asked in the platform's own scope.
pub async fn reports(conn: &mut impl Conn, limit: i64) -> Result<Vec<Report>, db::Error> {
    let rows: Vec<ReportRow> = conn
        .sql(
            "SELECT id, organization_id, thread_id, message_id, author_kind, author_id, text, reporter_id, reason,
                    comment, created_at, resolved_at, resolution
             FROM message_reports ORDER BY id LIMIT $1",
        )
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Report::from).collect())
}

/// Reports that nobody has resolved, the oldest first, at most so many. Asked in the platform's own scope.
pub async fn open_reports(conn: &mut impl Conn, limit: i64) -> Result<Vec<Report>, db::Error> {
    let rows: Vec<ReportRow> = conn
        .sql(
            "SELECT id, organization_id, thread_id, message_id, author_kind, author_id, text, reporter_id, reason,
                    comment, created_at, resolved_at, resolution
             FROM message_reports WHERE resolved_at IS NULL ORDER BY id LIMIT $1",
        )
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Report::from).collect())
}

/// Notes what came of a report; the organisation that it belongs to, when it was open.
pub async fn resolve_report(
    tx: &mut Tx,
    id: ReportId,
    resolution: &str,
    at: Timestamp,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> = tx
        .sql(
            "UPDATE message_reports SET resolved_at = $2, resolution = $3
             WHERE id = $1 AND resolved_at IS NULL RETURNING organization_id",
        )
        .bind(id)
        .bind(at)
        .bind(resolution.to_owned())
        .optional()
        .await?;
    Ok(row.map(|(organization_id,)| organization_id))
}

#[derive(db::Row)]
struct ReportRow {
    id: ReportId,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    message_id: MessageId,
    author_kind: ActorKind,
    author_id: Uuid,
    text: String,
    reporter_id: AccountId,
    reason: ReportReason,
    comment: String,
    created_at: Timestamp,
    resolved_at: Option<Timestamp>,
    resolution: Option<String>,
}

impl From<ReportRow> for Report {
    fn from(row: ReportRow) -> Self {
        Self {
            id: row.id,
            organization_id: row.organization_id,
            thread_id: row.thread_id,
            message_id: row.message_id,
            author: actor(row.author_kind, row.author_id),
            text: row.text,
            reporter_id: row.reporter_id,
            reason: row.reason,
            comment: row.comment,
            created_at: row.created_at,
            resolution: row.resolved_at.zip(row.resolution),
        }
    }
}
