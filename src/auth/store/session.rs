//! Sessions and their refresh tokens.

use crate::auth::Role;
use crate::auth::model::SessionEnd;
use crate::base::{AccountId, OrganizationId, SessionId, Timestamp};
use crate::db::{self, Conn, Tx};

/// What a new session begins with.
#[derive(Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub account: AccountId,
    /// What the client calls itself.
    pub agent: String,
    /// The address that the sign-in came from.
    pub address: Option<String>,
    /// When it begins.
    pub at: Timestamp,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
}

/// Inserts a session.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, new: &NewSession) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO sessions (id, account_id, agent, address, created_at, used_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $5, $6)",
    )
    .bind(new.id)
    .bind(new.account)
    .bind(new.agent.as_str())
    .bind(new.address.clone())
    .bind(new.at)
    .bind(new.expires_at)
    .execute()
    .await?;
    Ok(())
}

/// Inserts a refresh token by its hash.
///
/// # Errors
/// What the database refuses; the second successor of one token is `refresh_tokens_session_id_generation_key`.
pub async fn insert_refresh_token(
    tx: &mut Tx,
    hash: &[u8; 32],
    session: SessionId,
    generation: i64,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO refresh_tokens (token_hash, session_id, generation, created_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(hash.to_vec())
    .bind(session)
    .bind(generation)
    .bind(at)
    .execute()
    .await?;
    Ok(())
}

/// A refresh token and the state of its session.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct RefreshToken {
    /// The session.
    pub session_id: SessionId,
    /// Its place among the session's tokens.
    pub generation: i64,
    /// When it was exchanged.
    pub used_at: Option<Timestamp>,
    /// Whose session it is.
    pub account_id: AccountId,
    /// When the session began.
    pub session_created_at: Timestamp,
    /// When the session ends unless it is used.
    pub expires_at: Timestamp,
    /// When the session was ended.
    pub ended_at: Option<Timestamp>,
}

/// A refresh token by its hash.
///
/// # Errors
/// What the database refuses.
pub async fn refresh_token(conn: &mut impl Conn, hash: &[u8; 32]) -> Result<Option<RefreshToken>, db::Error> {
    conn.shared_sql(
        "SELECT t.session_id, t.generation, t.used_at, s.account_id, s.created_at AS session_created_at,
            s.expires_at, s.ended_at
         FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
         WHERE t.token_hash = $1",
    )
    .bind(hash.to_vec())
    .optional()
    .await
}

/// Marks a refresh token as exchanged. `false` when it was already: of two that try, one succeeds.
///
/// # Errors
/// What the database refuses.
pub async fn exchange(tx: &mut Tx, hash: &[u8; 32], at: Timestamp) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql("UPDATE refresh_tokens SET used_at = $1 WHERE token_hash = $2 AND used_at IS NULL")
        .bind(at)
        .bind(hash.to_vec())
        .execute()
        .await?;
    Ok(rows == 1)
}

/// Notes that a session was used, and until when it now stands. `false` when it was ended meanwhile.
///
/// # Errors
/// What the database refuses.
pub async fn extend(
    tx: &mut Tx,
    id: SessionId,
    at: Timestamp,
    expires_at: Timestamp,
) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql("UPDATE sessions SET used_at = $1, expires_at = $2 WHERE id = $3 AND ended_at IS NULL")
        .bind(at)
        .bind(expires_at)
        .bind(id)
        .execute()
        .await?;
    Ok(rows == 1)
}

/// Ends a session, and with it all its tokens. One that ended before keeps its first reason; then this is 0, else 1.
///
/// # Errors
/// What the database refuses.
pub async fn end(tx: &mut Tx, id: SessionId, reason: SessionEnd, at: Timestamp) -> Result<u64, db::Error> {
    tx.shared_sql("UPDATE sessions SET ended_at = $1, end_reason = $2 WHERE id = $3 AND ended_at IS NULL")
        .bind(at)
        .bind(reason)
        .bind(id)
        .execute()
        .await
}

/// Ends all sessions of an account that have not ended, and tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn end_of(
    tx: &mut Tx,
    account: AccountId,
    reason: SessionEnd,
    at: Timestamp,
) -> Result<u64, db::Error> {
    tx.shared_sql(
        "UPDATE sessions SET ended_at = $1, end_reason = $2 WHERE account_id = $3 AND ended_at IS NULL",
    )
    .bind(at)
    .bind(reason)
    .bind(account)
    .execute()
    .await
}

/// Ends all sessions of everybody that have not ended, and tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn end_all(tx: &mut Tx, reason: SessionEnd, at: Timestamp) -> Result<u64, db::Error> {
    tx.shared_sql("UPDATE sessions SET ended_at = $1, end_reason = $2 WHERE ended_at IS NULL")
        .bind(at)
        .bind(reason)
        .execute()
        .await
}

/// A session as whoever runs the platform sees it.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Seen {
    /// Whose it is.
    pub account_id: AccountId,
    /// What the client calls itself.
    pub agent: String,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// Why.
    pub end_reason: Option<SessionEnd>,
}

/// A session, whether it stands or not.
///
/// # Errors
/// What the database refuses.
pub async fn seen(conn: &mut impl Conn, id: SessionId) -> Result<Option<Seen>, db::Error> {
    conn.shared_sql("SELECT account_id, agent, expires_at, ended_at, end_reason FROM sessions WHERE id = $1")
        .bind(id)
        .optional()
        .await
}

/// A session as every authenticated call sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, db::Row)]
pub struct Standing {
    /// Whose it is.
    pub account_id: AccountId,
    /// The account's role today.
    pub role: Role,
    /// The account's own organisation.
    pub personal_organization_id: OrganizationId,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
}

/// A session, unless it was ended. Read for a purpose of the platform, as an account is.
///
/// # Errors
/// What the database refuses.
pub async fn standing(conn: &mut impl Conn, id: SessionId) -> Result<Option<Standing>, db::Error> {
    debug_assert!(conn.scope().organization().is_none(), "a session is read in an organisation's scope");
    conn.sql(
        "SELECT s.account_id, a.role, o.id AS personal_organization_id, s.expires_at
         FROM sessions s
         JOIN accounts a ON a.id = s.account_id
         JOIN organizations o ON o.personal_account_id = a.id
         WHERE s.id = $1 AND s.ended_at IS NULL",
    )
    .bind(id)
    .optional()
    .await
}

/// Those of the sessions that stand. At most some thousands.
///
/// # Errors
/// What the database refuses.
pub async fn standing_among(
    conn: &mut impl Conn,
    sessions: &[SessionId],
    now: Timestamp,
) -> Result<Vec<SessionId>, db::Error> {
    let rows: Vec<(SessionId,)> = conn
        .shared_sql("SELECT id FROM sessions WHERE ended_at IS NULL AND expires_at > $1 AND id IN $list")
        .bind(now)
        .list(sessions.iter().copied())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
