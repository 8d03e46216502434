//! The rows of what organisations decided about what is said in their threads.

use crate::base::{OrganizationId, Timestamp};
use crate::chat::model::policy::Policy;
use crate::chat::model::{MessageId, ThreadId};
use crate::db::{self, Conn, Tx};

/// What an organisation has decided.
pub async fn policy(conn: &mut impl Conn, organization_id: OrganizationId) -> Result<Policy, db::Error> {
    let row: Option<PolicyRow> = conn
        .sql("SELECT retention_days, hold_reason, version FROM chat_policies WHERE organization_id = $1")
        .bind(organization_id)
        .optional()
        .await?;
    Ok(row.map(Policy::from).unwrap_or_default())
}

/// The same, locked until the transaction ends.
pub async fn lock_policy(
    tx: &mut Tx,
    organization_id: OrganizationId,
    at: Timestamp,
) -> Result<Policy, db::Error> {
    tx.sql(
        "INSERT INTO chat_policies (organization_id, version, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (organization_id) DO NOTHING",
    )
    .bind(organization_id)
    .bind(0_i64)
    .bind(at)
    .execute()
    .await?;
    let row: PolicyRow = tx
        .sql(db::lock!(
            "SELECT retention_days, hold_reason, version FROM chat_policies WHERE organization_id = $1"
        ))
        .bind(organization_id)
        .one()
        .await?;
    Ok(row.into())
}

/// Writes what an organisation has decided, over what it had.
pub async fn set_policy(
    tx: &mut Tx,
    organization_id: OrganizationId,
    policy: &Policy,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE chat_policies SET retention_days = $2, hold_reason = $3, version = $4, updated_at = $5
         WHERE organization_id = $1",
    )
    .bind(organization_id)
    .bind(policy.retention_days)
    .bind(policy.hold_reason.clone())
    .bind(policy.version)
    .bind(at)
    .execute()
    .await?;
    Ok(())
}

/// Some organisations that keep texts for a time only, in the order of their ids, from behind `after` on. Asked in the
/// platform's own scope.
pub async fn forgetful(
    conn: &mut impl Conn,
    after: OrganizationId,
    limit: i64,
) -> Result<Vec<OrganizationId>, db::Error> {
    let rows: Vec<(OrganizationId,)> = conn
        .sql(
            "SELECT organization_id FROM chat_policies
             WHERE retention_days IS NOT NULL AND organization_id > $1 ORDER BY organization_id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(organization_id,)| organization_id).collect())
}

/// Some messages that still have a text and were written before a time, the oldest first, from behind `after` on.
pub async fn outdated_messages(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    until: Timestamp,
    after: (Timestamp, MessageId),
    limit: i64,
) -> Result<Vec<(ThreadId, MessageId, Timestamp)>, db::Error> {
    conn.sql(
        "SELECT thread_id, id, created_at FROM messages
         WHERE organization_id = $1 AND deleted_at IS NULL AND created_at < $2 AND (created_at, id) > ($3, $4)
         ORDER BY created_at, id LIMIT $5",
    )
    .bind(organization_id)
    .bind(until)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

#[derive(db::Row)]
struct PolicyRow {
    retention_days: Option<i64>,
    hold_reason: Option<String>,
    version: i64,
}

impl From<PolicyRow> for Policy {
    fn from(row: PolicyRow) -> Self {
        Self { retention_days: row.retention_days, hold_reason: row.hold_reason, version: row.version }
    }
}
