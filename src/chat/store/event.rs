//! The rows of events: what changed, position by position.

use uuid::Uuid;

use super::{ActorKind, actor, parts};
use crate::base::{OrganizationId, Timestamp};
use crate::chat::model::{Change, Event, MessageId, ThreadId};
use crate::db::{self, Conn, Json, Tx};

/// Writes events, at least one, at the positions that [`super::advance`] gave.
pub fn insert_events(
    tx: &mut Tx,
    organization_id: OrganizationId,
    events: &[Event],
) -> Result<(), db::Error> {
    tx.later()
        .sql(
            "INSERT INTO thread_events (thread_id, seq, organization_id, actor_kind, actor_id, payload, created_at)
             VALUES $rows",
        )
        .rows(events, |statement, event| {
            let (actor_kind, actor_id) = parts(event.actor);
            let statement = statement.bind(event.thread_id).bind(event.seq).bind(organization_id);
            statement.bind(actor_kind).bind(actor_id).bind(Json(event.change.clone())).bind(event.at)
        })
        .queue()
}

/// Writes another change over a stored one. Only for taking back what was written: a client that heard the first keeps
/// what it heard until the event that says so.
pub async fn rewrite_event(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    seq: i64,
    change: &Change,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE thread_events SET payload = $4 WHERE organization_id = $1 AND thread_id = $2 AND seq = $3",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(seq)
    .bind(Json(change.clone()))
    .execute()
    .await?;
    Ok(())
}

/// Writes another change over all events that hold later texts of a message.
pub async fn rewrite_edits(
    tx: &mut Tx,
    organization_id: OrganizationId,
    (thread_id, message_id): (ThreadId, MessageId),
    change: &Change,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE thread_events SET payload = $4 WHERE organization_id = $1 AND thread_id = $2
            AND seq IN (SELECT seq FROM message_edits WHERE message_id = $3)",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(message_id)
    .bind(Json(change.clone()))
    .execute()
    .await?;
    Ok(())
}

/// The events after a position, oldest first.
pub async fn events_after(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    (after, before): (i64, i64),
    limit: i64,
) -> Result<Vec<Event>, db::Error> {
    let rows: Vec<EventRow> = conn
        .sql(
            "SELECT thread_id, seq, actor_kind, actor_id, payload, created_at FROM thread_events
             WHERE organization_id = $1 AND thread_id = $2 AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(after)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// The events before a position, newest first.
pub async fn events_before(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    (after, before): (i64, i64),
    limit: i64,
) -> Result<Vec<Event>, db::Error> {
    let rows: Vec<EventRow> = conn
        .sql(
            "SELECT thread_id, seq, actor_kind, actor_id, payload, created_at FROM thread_events
             WHERE organization_id = $1 AND thread_id = $2 AND seq > $3 AND seq < $4
             ORDER BY seq DESC LIMIT $5",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(after)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

#[derive(db::Row)]
struct EventRow {
    thread_id: ThreadId,
    seq: i64,
    actor_kind: ActorKind,
    actor_id: Uuid,
    payload: Json<Change>,
    created_at: Timestamp,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            thread_id: row.thread_id,
            seq: row.seq,
            actor: actor(row.actor_kind, row.actor_id),
            at: row.created_at,
            change: row.payload.0,
        }
    }
}
