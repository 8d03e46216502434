//! Sessions and their refresh tokens.

use crate::auth::Role;
use crate::auth::model::{Session, SessionEnd};
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

/// The session that a refresh token belongs to, whether either is still good.
///
/// # Errors
/// What the database refuses.
pub async fn of_refresh_token(conn: &mut impl Conn, hash: &[u8; 32]) -> Result<Option<SessionId>, db::Error> {
    let row: Option<(SessionId,)> = conn
        .shared_sql("SELECT session_id FROM refresh_tokens WHERE token_hash = $1")
        .bind(hash.to_vec())
        .optional()
        .await?;
    Ok(row.map(|(session,)| session))
}

/// A session, for whoever exchanges or ends its tokens: a second one waits here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, db::Row)]
pub struct Locked {
    /// Whose it is.
    pub account_id: AccountId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
}

/// Locks a session.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, id: SessionId) -> Result<Option<Locked>, db::Error> {
    tx.shared_sql(db::lock!(
        "SELECT account_id, created_at, expires_at, ended_at FROM sessions WHERE id = $1"
    ))
    .bind(id)
    .optional()
    .await
}

/// A refresh token of a session that is locked.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct RefreshToken {
    /// Its place among the session's tokens.
    pub generation: i64,
    /// The place of the newest of them.
    pub newest: i64,
    /// When it was exchanged.
    pub used_at: Option<Timestamp>,
    /// Its successor, sealed, for some seconds after the exchange.
    pub successor: Option<Vec<u8>>,
}

/// A refresh token by its hash. Its session must be locked.
///
/// # Errors
/// What the database refuses.
pub async fn refresh_token(tx: &mut Tx, hash: &[u8; 32]) -> Result<Option<RefreshToken>, db::Error> {
    tx.shared_sql(
        "SELECT t.generation, t.used_at, t.successor,
            (SELECT max(n.generation) FROM refresh_tokens n WHERE n.session_id = t.session_id) AS newest
         FROM refresh_tokens t WHERE t.token_hash = $1",
    )
    .bind(hash.to_vec())
    .optional()
    .await
}

/// Marks a refresh token as exchanged for a successor, which is kept sealed for a while.
///
/// # Errors
/// What the database refuses.
pub async fn exchange(
    tx: &mut Tx,
    hash: &[u8; 32],
    successor: Vec<u8>,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE refresh_tokens SET used_at = $1, successor = $2 WHERE token_hash = $3")
        .bind(at)
        .bind(successor)
        .bind(hash.to_vec())
        .execute()
        .await?;
    Ok(())
}

/// Forgets the sealed successor of the token before this one: somebody has gone on from it.
///
/// # Errors
/// What the database refuses.
pub async fn forget_successor(tx: &mut Tx, session: SessionId, generation: i64) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE refresh_tokens SET successor = NULL WHERE session_id = $1 AND generation = $2")
        .bind(session)
        .bind(generation)
        .execute()
        .await?;
    Ok(())
}

/// Whether a successor is still kept sealed of a token that was exchanged at `before` or earlier.
///
/// # Errors
/// What the database refuses.
pub async fn keeps_successors(conn: &mut impl Conn, before: Timestamp) -> Result<bool, db::Error> {
    let row: Option<(i64,)> = conn
        .shared_sql(
            "SELECT generation FROM refresh_tokens WHERE successor IS NOT NULL AND used_at <= $1
             ORDER BY used_at LIMIT 1",
        )
        .bind(before)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Forgets the sealed successors of tokens that were exchanged at `before` or earlier.
///
/// # Errors
/// What the database refuses.
pub async fn forget_successors(tx: &mut Tx, before: Timestamp) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE refresh_tokens SET successor = NULL WHERE successor IS NOT NULL AND used_at <= $1")
        .bind(before)
        .execute()
        .await?;
    Ok(())
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

/// Ends all sessions of an account that have not ended, but for `keep`, and tells which. They are those that were begun
/// in ninety days at most.
///
/// # Errors
/// What the database refuses.
pub async fn end_each(
    tx: &mut Tx,
    account: AccountId,
    keep: Option<SessionId>,
    reason: SessionEnd,
    at: Timestamp,
) -> Result<Vec<SessionId>, db::Error> {
    let rows: Vec<(SessionId,)> = tx
        .shared_sql(
            "UPDATE sessions SET ended_at = $1, end_reason = $2
             WHERE account_id = $3 AND id <> $4 AND ended_at IS NULL RETURNING id",
        )
        .bind(at)
        .bind(reason)
        .bind(account)
        .bind(keep.unwrap_or(SessionId::from_uuid(uuid::Uuid::nil())))
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Ends a session of an account. `false` when the account has no such session that has not ended.
///
/// # Errors
/// What the database refuses.
pub async fn end_own(
    tx: &mut Tx,
    account: AccountId,
    id: SessionId,
    reason: SessionEnd,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "UPDATE sessions SET ended_at = $1, end_reason = $2
             WHERE id = $3 AND account_id = $4 AND ended_at IS NULL",
        )
        .bind(at)
        .bind(reason)
        .bind(id)
        .bind(account)
        .execute()
        .await?;
    Ok(rows == 1)
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

/// A session, unless it was ended or its account is suspended. Read for a purpose of the platform, as an account is.
///
/// # Errors
/// What the database refuses.
pub async fn standing(conn: &mut impl Conn, id: SessionId) -> Result<Option<Standing>, db::Error> {
    conn.shared_sql(
        "SELECT s.account_id, a.role, a.personal_organization_id, s.expires_at
         FROM sessions s JOIN accounts a ON a.id = s.account_id
         WHERE s.id = $1 AND s.ended_at IS NULL AND a.suspended_at IS NULL",
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

#[derive(db::Row)]
struct SessionRow {
    id: SessionId,
    agent: String,
    address: Option<String>,
    created_at: Timestamp,
    used_at: Timestamp,
    expires_at: Timestamp,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            agent: row.agent,
            address: row.address.and_then(|address| address.parse().ok()),
            created_at: row.created_at,
            used_at: row.used_at,
            expires_at: row.expires_at,
        }
    }
}

/// The sessions of an account that stand, the newest first, from behind `before`.
///
/// # Errors
/// What the database refuses.
pub async fn list(
    conn: &mut impl Conn,
    account: AccountId,
    now: Timestamp,
    before: SessionId,
    limit: i64,
) -> Result<Vec<Session>, db::Error> {
    let rows: Vec<SessionRow> = conn
        .shared_sql(
            "SELECT id, agent, address, created_at, used_at, expires_at FROM sessions
             WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2 AND id < $3 ORDER BY id DESC LIMIT $4",
        )
        .bind(account)
        .bind(now)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Notes that sessions were used lately, unless that was noted since `noted`. At most some thousands.
///
/// # Errors
/// What the database refuses.
pub async fn used(
    tx: &mut Tx,
    sessions: &[SessionId],
    at: Timestamp,
    noted: Timestamp,
) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE sessions SET used_at = $1 WHERE used_at <= $2 AND id IN $list")
        .bind(at)
        .bind(noted)
        .list(sessions.iter().copied())
        .execute()
        .await?;
    Ok(())
}

/// Deletes sessions that ended by `before`, with their refresh tokens, at most `limit`; tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn prune_ended(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, db::Error> {
    tx.shared_sql(
        "DELETE FROM sessions WHERE id IN (
           SELECT id FROM sessions WHERE ended_at IS NOT NULL AND ended_at <= $1 ORDER BY ended_at LIMIT $2)",
    )
    .bind(before)
    .bind(limit)
    .execute()
    .await
}

/// Deletes sessions that expired by `before`, with their refresh tokens, at most `limit`; tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn prune_expired(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, db::Error> {
    tx.shared_sql(
        "DELETE FROM sessions WHERE id IN (
           SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
    )
    .bind(before)
    .bind(limit)
    .execute()
    .await
}
