//! Invitations to register.

use crate::auth::Email;
use crate::auth::model::PlatformInvitationId;
use crate::base::{AccountId, Timestamp};
use crate::db::{self, Conn, Tx};

/// What a new invitation begins with. Not to be printed, as it tells of a person.
#[derive(Clone)]
pub struct NewInvitation {
    /// Its id.
    pub id: PlatformInvitationId,
    /// The hash of its token.
    pub hash: [u8; 32],
    /// Whom it is for; none when whoever holds it may use it.
    pub email: Option<Email>,
    /// Who invites; none for the operator at the command line.
    pub by: Option<AccountId>,
    /// When it is made.
    pub at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// Inserts an invitation.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, new: &NewInvitation) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO platform_invitations (id, token_hash, email, invited_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new.id)
    .bind(new.hash.to_vec())
    .bind(new.email.as_ref().map(|email| email.as_str().to_owned()))
    .bind(new.by)
    .bind(new.at)
    .bind(new.expires_at)
    .execute()
    .await?;
    Ok(())
}

/// Whether an invitation could be used by this address now.
///
/// # Errors
/// What the database refuses.
pub async fn is_open(
    conn: &mut impl Conn,
    hash: &[u8; 32],
    email: &Email,
    now: Timestamp,
) -> Result<bool, db::Error> {
    let found: Option<(PlatformInvitationId,)> = conn
        .shared_sql(
            "SELECT id FROM platform_invitations
             WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2 AND (email IS NULL OR email = $3)",
        )
        .bind(hash.to_vec())
        .bind(now)
        .bind(email.as_str())
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Uses an invitation up. `false` when it could not be used: of two that try, one succeeds.
///
/// # Errors
/// What the database refuses.
pub async fn take(tx: &mut Tx, hash: &[u8; 32], email: &Email, now: Timestamp) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "UPDATE platform_invitations SET used_at = $2
             WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2 AND (email IS NULL OR email = $3)",
        )
        .bind(hash.to_vec())
        .bind(now)
        .bind(email.as_str())
        .execute()
        .await?;
    Ok(rows == 1)
}

/// Deletes invitations that expired by `before`, at most `limit`; tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, db::Error> {
    tx.shared_sql(
        "DELETE FROM platform_invitations WHERE id IN (
           SELECT id FROM platform_invitations WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
    )
    .bind(before)
    .bind(limit)
    .execute()
    .await
}
