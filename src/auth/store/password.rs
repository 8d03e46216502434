//! Passwords that are replaced.

use crate::auth::model::SessionEnd;
use crate::base::{AccountId, SessionId, Timestamp};
use crate::db::{self, Conn, Tx};

/// Whose password it is, and what it must not be made of.
#[derive(Clone, PartialEq, Eq, db::Row)]
pub struct Owner {
    /// The address.
    pub email: String,
    /// The name.
    pub display_name: String,
    /// The hash of the password, as a PHC string.
    pub password_hash: String,
}

/// Whose the password of an account is.
///
/// # Errors
/// What the database refuses.
pub async fn owner(conn: &mut impl Conn, account: AccountId) -> Result<Option<Owner>, db::Error> {
    conn.shared_sql("SELECT email, display_name, password_hash FROM accounts WHERE id = $1")
        .bind(account)
        .optional()
        .await
}

/// Gives an account another password, which its owner chose. With `checked` only as long as that is the hash of the one
/// before; then `false` when it was changed meanwhile.
///
/// # Errors
/// What the database refuses.
pub async fn replace(
    tx: &mut Tx,
    account: AccountId,
    hash: String,
    checked: Option<&str>,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "UPDATE accounts SET password_hash = $1, one_time_issued_at = NULL, one_time_used_at = NULL,
                updated_at = $2
             WHERE id = $3 AND password_hash = COALESCE($4, password_hash)",
        )
        .bind(hash)
        .bind(at)
        .bind(account)
        .bind(checked.map(str::to_owned))
        .execute()
        .await?;
    Ok(rows == 1)
}

/// Ends the sessions of an account that have not ended, but for one.
///
/// # Errors
/// What the database refuses.
pub async fn end_sessions_but(
    tx: &mut Tx,
    account: AccountId,
    kept: Option<SessionId>,
    at: Timestamp,
) -> Result<u64, db::Error> {
    tx.shared_sql(
        "UPDATE sessions SET ended_at = $1, end_reason = $2
         WHERE account_id = $3 AND ended_at IS NULL AND (id <> $4 OR $4 IS NULL)",
    )
    .bind(at)
    .bind(SessionEnd::PasswordChanged)
    .bind(account)
    .bind(kept)
    .execute()
    .await
}
