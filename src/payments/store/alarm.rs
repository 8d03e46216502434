//! Alarms: what an operator must look at.

use crate::base::{Id, OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::AlarmKind;

/// Marks the id of an alarm.
pub enum AlarmMark {}

/// Something that an operator must look at.
#[derive(Debug)]
pub struct Alarm {
    /// What kind of thing.
    pub kind: AlarmKind,
    /// The same kind with the same key is one alarm that counts.
    pub dedupe_key: String,
    /// Whom it concerns, when known.
    pub organization_id: Option<OrganizationId>,
    /// What it is about, such as a payment's id.
    pub subject: String,
    /// One sentence.
    pub detail: String,
}

/// Raises an alarm, or counts it up when it is raised already. True when it is new.
///
/// # Errors
/// What the database refuses.
pub async fn raise(tx: &mut Tx, id: Id<AlarmMark>, alarm: &Alarm, now: Timestamp) -> Result<bool, db::Error> {
    let (stored,): (Id<AlarmMark>,) = tx
        .sql(
            "INSERT INTO alarms (id, kind, dedupe_key, organization_id, subject, detail, occurrences, created_at,
                    last_at)
             VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7)
             ON CONFLICT (kind, dedupe_key) DO UPDATE SET occurrences = alarms.occurrences + 1,
                    last_at = excluded.last_at
             RETURNING id",
        )
        .bind(id)
        .bind(alarm.kind)
        .bind(alarm.dedupe_key.clone())
        .bind(alarm.organization_id)
        .bind(alarm.subject.clone())
        .bind(alarm.detail.clone())
        .bind(now)
        .one()
        .await?;
    Ok(stored == id)
}

/// An alarm that was raised.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Raised {
    /// Its id.
    pub id: Id<AlarmMark>,
    /// What kind of thing.
    pub kind: AlarmKind,
    /// Whom it concerns, when known.
    pub organization_id: Option<OrganizationId>,
    /// What it is about.
    pub subject: String,
    /// One sentence.
    pub detail: String,
    /// How often it was raised.
    pub occurrences: i64,
    /// When it was raised first.
    pub created_at: Timestamp,
    /// When it was raised last.
    pub last_at: Timestamp,
}

/// The alarms of a time on, the newest first, at most `limit`.
///
/// # Errors
/// What the database refuses.
pub async fn since(conn: &mut impl Conn, from: Timestamp, limit: i64) -> Result<Vec<Raised>, db::Error> {
    conn.sql(
        "SELECT id, kind, organization_id, subject, detail, occurrences, created_at, last_at
         FROM alarms WHERE created_at >= $1 ORDER BY created_at DESC, id DESC LIMIT $2",
    )
    .bind(from)
    .bind(limit)
    .all()
    .await
}

/// The newest alarms: kind, subject and how often, at most `limit`.
///
/// # Errors
/// What the database refuses.
pub async fn newest(conn: &mut impl Conn, limit: i64) -> Result<Vec<(AlarmKind, String, i64)>, db::Error> {
    conn.sql("SELECT kind, subject, occurrences FROM alarms ORDER BY created_at DESC, id DESC LIMIT $1")
        .bind(limit)
        .all()
        .await
}
