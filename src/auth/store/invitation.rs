//! Invitations. The organisation is locked wherever one begins or ends.

use crate::auth::model::organization::{Invitation, InvitationEnd, InvitationId};
use crate::auth::{Email, OrganizationRole};
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};

/// Inserts an invitation.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, new: &Invitation, token_hash: [u8; 32]) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO invitations (id, organization_id, email, role, token_hash, invited_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new.id)
    .bind(new.organization)
    .bind(new.email.as_str())
    .bind(new.role)
    .bind(token_hash.to_vec())
    .bind(new.invited_by)
    .bind(new.created_at)
    .bind(new.expires_at)
    .execute()
    .await?;
    Ok(())
}

#[derive(db::Row)]
struct InvitationRow {
    id: InvitationId,
    organization_id: OrganizationId,
    email: String,
    role: OrganizationRole,
    invited_by: AccountId,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl From<InvitationRow> for Invitation {
    fn from(row: InvitationRow) -> Self {
        Self {
            id: row.id,
            organization: row.organization_id,
            email: Email::stored(row.email),
            role: row.role,
            invited_by: row.invited_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}

/// The organisation of an invitation, whoever asks. Asked in the platform's own scope.
///
/// # Errors
/// What the database refuses.
pub async fn organization_of(
    conn: &mut impl Conn,
    id: InvitationId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM invitations WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(organization,)| organization))
}

/// The invitation that a token is of, if it is open. Asked in the platform's own scope: the token says which
/// organisation is meant.
///
/// # Errors
/// What the database refuses.
pub async fn open_by_token(
    conn: &mut impl Conn,
    token_hash: [u8; 32],
    now: Timestamp,
) -> Result<Option<Invitation>, db::Error> {
    let row: Option<InvitationRow> = conn
        .sql(
            "SELECT id, organization_id, email, role, invited_by, created_at, expires_at FROM invitations
             WHERE token_hash = $1 AND ended_at IS NULL AND expires_at > $2",
        )
        .bind(token_hash.to_vec())
        .bind(now)
        .optional()
        .await?;
    Ok(row.map(Invitation::from))
}

/// The open invitations, the oldest first, from behind `after`.
///
/// # Errors
/// What the database refuses.
pub async fn list_open(
    conn: &mut impl Conn,
    organization: OrganizationId,
    now: Timestamp,
    after: InvitationId,
    limit: i64,
) -> Result<Vec<Invitation>, db::Error> {
    let rows: Vec<InvitationRow> = conn
        .sql(
            "SELECT id, organization_id, email, role, invited_by, created_at, expires_at FROM invitations
             WHERE organization_id = $1 AND ended_at IS NULL AND expires_at > $2 AND id > $3 ORDER BY id LIMIT $4",
        )
        .bind(organization)
        .bind(now)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Invitation::from).collect())
}

/// How many invitations are open, and how many were sent since a time.
///
/// # Errors
/// What the database refuses.
pub async fn counts(
    conn: &mut impl Conn,
    organization: OrganizationId,
    now: Timestamp,
    since: Timestamp,
) -> Result<(i64, i64), db::Error> {
    conn.sql(
        "SELECT CAST(coalesce(sum(CASE WHEN ended_at IS NULL AND expires_at > $2 THEN 1 ELSE 0 END), 0) AS bigint),
            CAST(coalesce(sum(CASE WHEN created_at > $3 THEN 1 ELSE 0 END), 0) AS bigint)
         FROM invitations WHERE organization_id = $1",
    )
    .bind(organization)
    .bind(now)
    .bind(since)
    .one()
    .await
}

/// Ends an invitation, and tells whom it asked. None when it is over already.
///
/// # Errors
/// What the database refuses.
pub async fn end(
    tx: &mut Tx,
    organization: OrganizationId,
    id: InvitationId,
    why: InvitationEnd,
    at: Timestamp,
) -> Result<Option<Email>, db::Error> {
    let row: Option<(String,)> = tx
        .sql(
            "UPDATE invitations SET ended_at = $1, end_reason = $2
             WHERE organization_id = $3 AND id = $4 AND ended_at IS NULL RETURNING email",
        )
        .bind(at)
        .bind(why)
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(|(email,)| Email::stored(email)))
}

/// Ends what is open for an address, and tells what that was: one at most.
///
/// # Errors
/// What the database refuses.
pub async fn replace(
    tx: &mut Tx,
    organization: OrganizationId,
    email: &Email,
    at: Timestamp,
) -> Result<Option<InvitationId>, db::Error> {
    let row: Option<(InvitationId,)> = tx
        .sql(
            "UPDATE invitations SET ended_at = $1, end_reason = $2
             WHERE organization_id = $3 AND email = $4 AND ended_at IS NULL RETURNING id",
        )
        .bind(at)
        .bind(InvitationEnd::Replaced)
        .bind(organization)
        .bind(email.as_str())
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// Ends all that are open, and tells whom they asked.
///
/// # Errors
/// What the database refuses.
pub async fn end_all(
    tx: &mut Tx,
    organization: OrganizationId,
    at: Timestamp,
) -> Result<Vec<(InvitationId, Email)>, db::Error> {
    let rows: Vec<(InvitationId, String)> = tx
        .sql(
            "UPDATE invitations SET ended_at = $1, end_reason = $2
             WHERE organization_id = $3 AND ended_at IS NULL RETURNING id, email",
        )
        .bind(at)
        .bind(InvitationEnd::Closed)
        .bind(organization)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id, email)| (id, Email::stored(email))).collect())
}
