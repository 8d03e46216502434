//! The rows of the log.

use uuid::Uuid;

use super::Entry;
use crate::base::{Id, Timestamp};
use crate::db::{self, Conn as _, Tx};

/// Inserts an entry, which has no place in the chain yet.
///
/// # Errors
/// What the database refuses.
pub(super) async fn insert(
    tx: &mut Tx,
    id: Id<Entry>,
    entry: &Entry,
    before: Option<[u8; 32]>,
    after: Option<[u8; 32]>,
    at: Timestamp,
) -> Result<(), db::Error> {
    let (actor, subject) = (&entry.actor, entry.subject.as_ref());
    let none: Option<Uuid> = None;
    tx.sql(
        "INSERT INTO audit_events (id, organization_id, action, risk, actor_kind, actor_id, on_behalf_of, session_id,
            purpose, subject_kind, subject_id, before_digest, after_digest, request_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(id)
    .bind(entry.organization)
    .bind(entry.action)
    .bind(entry.risk)
    .bind(actor.kind)
    .bind(actor.id)
    .bind(actor.on_behalf_of)
    .bind(actor.session)
    .bind(actor.purpose)
    .bind(subject.map(|subject| subject.kind))
    .bind(subject.map_or(none, |subject| Some(subject.id)))
    .bind(before.map(|digest| digest.to_vec()))
    .bind(after.map(|digest| digest.to_vec()))
    .bind(actor.request_id.as_str())
    .bind(at)
    .execute()
    .await?;
    Ok(())
}
