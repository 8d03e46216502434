//! The entries of the log.

pub(super) mod chain;
pub(super) mod people;

use uuid::Uuid;

use super::model::Risk;
use super::model::event::{Event, EventId};
use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};

/// The order of entries begins before this: ids sort by the time they were made, and lists by them, downwards.
pub(super) const AFTER_ALL: EventId = EventId::from_uuid(Uuid::max());

/// Which entries are wanted.
#[derive(Clone, Default)]
pub struct Wanted {
    /// Only what begins so.
    pub action_prefix: String,
    /// Only what they did, or what was done in their name.
    pub actor: Option<Uuid>,
    /// Only what was done to it.
    pub subject: Option<Uuid>,
    /// Only of this risk.
    pub risk: Option<Risk>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
    /// Only those before this one.
    pub after: Option<EventId>,
    /// How many at most.
    pub limit: i64,
}

/// Inserts an entry.
///
/// # Errors
/// What the database refuses.
pub(super) async fn insert(tx: &mut Tx, event: &Event) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO audit_events (id, organization_id, action, outcome, reason, occurrences, risk, actor_kind,
            actor_id, on_behalf_of, session_id, purpose, subject_kind, subject_id, before_digest, after_digest,
            request_id, person_id, personal, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
    )
    .bind(event.id)
    .bind(event.organization_id)
    .bind(event.action.as_str())
    .bind(event.outcome.as_str())
    .bind(event.reason.clone())
    .bind(event.occurrences)
    .bind(event.risk.as_str())
    .bind(event.actor_kind.as_str())
    .bind(event.actor_id)
    .bind(event.on_behalf_of)
    .bind(event.session_id)
    .bind(event.purpose.clone())
    .bind(event.subject_kind.clone())
    .bind(event.subject_id)
    .bind(event.before_digest.clone())
    .bind(event.after_digest.clone())
    .bind(event.request_id.as_str())
    .bind(event.person_id)
    .bind(event.personal.clone())
    .bind(event.created_at)
    .execute()
    .await?;
    Ok(())
}

/// Entries of the whole platform, the newest first.
///
/// # Errors
/// What the database refuses.
pub(super) async fn list(conn: &mut impl Conn, wanted: &Wanted) -> Result<Vec<Event>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, action, outcome, reason, occurrences, risk, actor_kind, actor_id, on_behalf_of,
            session_id, purpose, subject_kind, subject_id, before_digest, after_digest, request_id, person_id,
            personal, created_at
         FROM audit_events
         WHERE id < $1 AND substr(action, 1, CAST($2 AS integer)) = $3
           AND (actor_id = $4 OR on_behalf_of = $4 OR $4 IS NULL) AND (subject_id = $5 OR $5 IS NULL)
           AND (risk = $6 OR $6 IS NULL) AND (created_at >= $7 OR $7 IS NULL) AND (created_at < $8 OR $8 IS NULL)
         ORDER BY id DESC LIMIT $9",
    )
    .bind(wanted.after.unwrap_or(AFTER_ALL))
    .bind(characters(&wanted.action_prefix))
    .bind(wanted.action_prefix.as_str())
    .bind(wanted.actor)
    .bind(wanted.subject)
    .bind(wanted.risk)
    .bind(wanted.since)
    .bind(wanted.until)
    .bind(wanted.limit)
    .all()
    .await
}

/// Entries of an organisation, the newest first.
///
/// # Errors
/// What the database refuses.
pub(super) async fn list_of(
    conn: &mut impl Conn,
    organization: OrganizationId,
    wanted: &Wanted,
) -> Result<Vec<Event>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, action, outcome, reason, occurrences, risk, actor_kind, actor_id, on_behalf_of,
            session_id, purpose, subject_kind, subject_id, before_digest, after_digest, request_id, person_id,
            personal, created_at
         FROM audit_events
         WHERE organization_id = $1 AND id < $2 AND substr(action, 1, CAST($3 AS integer)) = $4
           AND (actor_id = $5 OR on_behalf_of = $5 OR $5 IS NULL) AND (subject_id = $6 OR $6 IS NULL)
           AND (risk = $7 OR $7 IS NULL) AND (created_at >= $8 OR $8 IS NULL) AND (created_at < $9 OR $9 IS NULL)
         ORDER BY id DESC LIMIT $10",
    )
    .bind(organization)
    .bind(wanted.after.unwrap_or(AFTER_ALL))
    .bind(characters(&wanted.action_prefix))
    .bind(wanted.action_prefix.as_str())
    .bind(wanted.actor)
    .bind(wanted.subject)
    .bind(wanted.risk)
    .bind(wanted.since)
    .bind(wanted.until)
    .bind(wanted.limit)
    .all()
    .await
}

fn characters(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

/// Sealed entries after one position and up to another, in the order of the chain.
///
/// # Errors
/// What the database refuses.
pub(super) async fn sealed(conn: &mut impl Conn, after: i64, until: i64) -> Result<Vec<Event>, db::Error> {
    conn.sql(
        "SELECT e.id, e.organization_id, e.action, e.outcome, e.reason, e.occurrences, e.risk, e.actor_kind,
            e.actor_id, e.on_behalf_of, e.session_id, e.purpose, e.subject_kind, e.subject_id, e.before_digest,
            e.after_digest, e.request_id, e.person_id, e.personal, e.created_at
         FROM audit_seals AS s JOIN audit_events AS e ON e.id = s.event_id
         WHERE s.position > $1 AND s.position <= $2
         ORDER BY s.position",
    )
    .bind(after)
    .bind(until)
    .all()
    .await
}

/// As [`sealed`], those of an organisation.
///
/// # Errors
/// What the database refuses.
pub(super) async fn sealed_of(
    conn: &mut impl Conn,
    organization: OrganizationId,
    after: i64,
    until: i64,
) -> Result<Vec<Event>, db::Error> {
    conn.sql(
        "SELECT e.id, e.organization_id, e.action, e.outcome, e.reason, e.occurrences, e.risk, e.actor_kind,
            e.actor_id, e.on_behalf_of, e.session_id, e.purpose, e.subject_kind, e.subject_id, e.before_digest,
            e.after_digest, e.request_id, e.person_id, e.personal, e.created_at
         FROM audit_seals AS s JOIN audit_events AS e ON e.id = s.event_id
         WHERE s.position > $1 AND s.position <= $2 AND e.organization_id = $3
         ORDER BY s.position",
    )
    .bind(after)
    .bind(until)
    .bind(organization)
    .all()
    .await
}

/// Those of the entries that are there. At most some thousands.
///
/// # Errors
/// What the database refuses.
pub(super) async fn among(conn: &mut impl Conn, ids: &[EventId]) -> Result<Vec<Event>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, action, outcome, reason, occurrences, risk, actor_kind, actor_id, on_behalf_of,
            session_id, purpose, subject_kind, subject_id, before_digest, after_digest, request_id, person_id,
            personal, created_at
         FROM audit_events WHERE id IN $list",
    )
    .list(ids.iter().copied())
    .all()
    .await
}

/// The id of the last of the next `count` entries behind `after`; none when there are not so many.
///
/// # Errors
/// What the database refuses.
pub(super) async fn page_end(
    conn: &mut impl Conn,
    after: EventId,
    count: i64,
) -> Result<Option<EventId>, db::Error> {
    let row: Option<(EventId,)> = conn
        .sql("SELECT id FROM audit_events WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2")
        .bind(after)
        .bind(count.saturating_sub(1))
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// The first entry behind one and up to another that neither has a place in the chain nor waits for one.
///
/// # Errors
/// What the database refuses.
pub(super) async fn unchained(
    conn: &mut impl Conn,
    organization: Option<OrganizationId>,
    after: EventId,
    until: EventId,
) -> Result<Option<EventId>, db::Error> {
    let row: Option<(EventId,)> = conn
        .sql(
            "SELECT e.id FROM audit_events AS e
             WHERE e.id > $1 AND e.id <= $2 AND (e.organization_id = $3 OR $3 IS NULL)
               AND NOT EXISTS (SELECT 1 FROM audit_seals AS s WHERE s.event_id = e.id)
               AND NOT EXISTS (SELECT 1 FROM audit_unsealed AS u WHERE u.event_id = e.id)
             ORDER BY e.id LIMIT 1",
        )
        .bind(after)
        .bind(until)
        .bind(organization)
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}
