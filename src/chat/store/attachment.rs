//! The rows of attachments, of their parts, and of how much each organisation stores.

use crate::base::{OrganizationId, Timestamp};
use crate::chat::model::attachment::{Attachment, AttachmentId, AttachmentState};
use crate::chat::model::{MessageId, ThreadId};
use crate::db::{self, Conn, Tx};

/// The organisation and the thread that an attachment belongs to. Asked in the platform's own scope: the caller may not
/// see it.
pub async fn home_of_attachment(
    conn: &mut impl Conn,
    id: AttachmentId,
) -> Result<Option<(OrganizationId, ThreadId)>, db::Error> {
    conn.sql("SELECT organization_id, thread_id FROM attachments WHERE id = $1").bind(id).optional().await
}

/// Writes a new attachment.
pub async fn insert_attachment(tx: &mut Tx, new: &Attachment) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO attachments (id, organization_id, thread_id, account_id, file_name, size_bytes, sha256, part_bytes,
                                  state, charged_bytes, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(new.id)
    .bind(new.organization_id)
    .bind(new.thread_id)
    .bind(new.account_id)
    .bind(new.file_name.clone())
    .bind(new.size_bytes)
    .bind(new.sha256.clone())
    .bind(new.part_bytes)
    .bind(new.state)
    .bind(new.charged_bytes)
    .bind(new.created_at)
    .bind(new.expires_at)
    .execute()
    .await?;
    Ok(())
}

/// An attachment.
pub async fn attachment(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    id: AttachmentId,
) -> Result<Option<Attachment>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, thread_id, account_id, message_id, file_name, size_bytes, sha256, part_bytes,
                state, media_type, stored_bytes, preview_type, preview_bytes, charged_bytes, created_at, expires_at
         FROM attachments WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2",
    )
    .bind(organization_id)
    .bind(id)
    .optional()
    .await
}

/// Those of the attachments named that there are, in any order.
pub async fn attachments(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    ids: &[AttachmentId],
) -> Result<Vec<Attachment>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, thread_id, account_id, message_id, file_name, size_bytes, sha256, part_bytes,
                state, media_type, stored_bytes, preview_type, preview_bytes, charged_bytes, created_at, expires_at
         FROM attachments WHERE organization_id IS NOT DISTINCT FROM $1 AND id IN $list",
    )
    .bind(organization_id)
    .list(ids.iter().copied())
    .all()
    .await
}

/// Says what a part is, unless that was said before.
pub async fn announce_part(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: AttachmentId,
    number: i64,
    sha256: [u8; 32],
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO attachment_parts (attachment_id, number, organization_id, sha256, stored)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (attachment_id, number) DO NOTHING",
    )
    .bind(id)
    .bind(number)
    .bind(organization_id)
    .bind(sha256.to_vec())
    .bind(false)
    .execute()
    .await?;
    Ok(())
}

/// What a part is, and whether its bytes are written.
pub async fn part(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    id: AttachmentId,
    number: i64,
) -> Result<Option<(Vec<u8>, bool)>, db::Error> {
    conn.sql(
        "SELECT sha256, stored FROM attachment_parts
         WHERE organization_id IS NOT DISTINCT FROM $1 AND attachment_id = $2 AND number = $3",
    )
    .bind(organization_id)
    .bind(id)
    .bind(number)
    .optional()
    .await
}

/// Notes that the bytes of a part are written. False when the attachment takes no parts any more.
pub async fn keep_part(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: AttachmentId,
    number: i64,
) -> Result<bool, db::Error> {
    let kept = tx
        .sql(
            "UPDATE attachment_parts SET stored = $4
             WHERE organization_id IS NOT DISTINCT FROM $1 AND attachment_id = $2 AND number = $3",
        )
        .bind(organization_id)
        .bind(id)
        .bind(number)
        .bind(true)
        .execute()
        .await?;
    Ok(kept == 1)
}

/// The numbers of the parts that are written, in order. There are no more than an attachment has parts.
pub async fn stored_parts(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    id: AttachmentId,
) -> Result<Vec<i64>, db::Error> {
    let rows: Vec<(i64,)> = conn
        .sql(
            "SELECT number FROM attachment_parts
             WHERE organization_id IS NOT DISTINCT FROM $1 AND attachment_id = $2 AND stored = $3 ORDER BY number",
        )
        .bind(organization_id)
        .bind(id)
        .bind(true)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(number,)| number).collect())
}

/// Forgets the parts of an attachment.
pub async fn forget_parts(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: AttachmentId,
) -> Result<(), db::Error> {
    tx.sql(
        "DELETE FROM attachment_parts WHERE organization_id IS NOT DISTINCT FROM $1 AND attachment_id = $2",
    )
    .bind(organization_id)
    .bind(id)
    .execute()
    .await?;
    Ok(())
}

/// Notes what an attachment turned out to be, and that it is complete. False when it is not waiting for that: somebody
/// else was first, or it is gone.
pub async fn complete(tx: &mut Tx, made: &Attachment) -> Result<bool, db::Error> {
    let completed = tx
        .sql(
            "UPDATE attachments SET state = $3, media_type = $4, stored_bytes = $5, preview_type = $6,
                    preview_bytes = $7, charged_bytes = $8
             WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2 AND state = 'uploading'",
        )
        .bind(made.organization_id)
        .bind(made.id)
        .bind(made.state)
        .bind(made.media_type.clone())
        .bind(made.stored_bytes)
        .bind(made.preview_type.clone())
        .bind(made.preview_bytes)
        .bind(made.charged_bytes)
        .execute()
        .await?;
    Ok(completed == 1)
}

/// Gives attachments to a message, and tells how many it got: not those that another message has, or that are not to
/// be had.
pub async fn attach(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
    ids: &[AttachmentId],
) -> Result<usize, db::Error> {
    let attached = tx
        .sql(
            "UPDATE attachments SET message_id = $2
             WHERE organization_id IS NOT DISTINCT FROM $1 AND message_id IS NULL
                AND state IN ('scanning', 'available') AND id IN $list",
        )
        .bind(organization_id)
        .bind(message_id)
        .list(ids.iter().copied())
        .execute()
        .await?;
    Ok(usize::try_from(attached).unwrap_or(usize::MAX))
}

/// Notes what a scan came to, and tells which message the attachment went with, if it was sent; nothing when it does
/// not wait for that any more.
pub async fn settle(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: AttachmentId,
    state: AttachmentState,
) -> Result<Option<Option<MessageId>>, db::Error> {
    let row: Option<(Option<MessageId>,)> = tx
        .sql(
            "UPDATE attachments SET state = $3
             WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2 AND state = 'scanning' RETURNING message_id",
        )
        .bind(organization_id)
        .bind(id)
        .bind(state)
        .optional()
        .await?;
    Ok(row.map(|(message_id,)| message_id))
}

/// Takes the attachments of a message away, and tells which they were.
pub async fn take_from_message(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<Vec<AttachmentId>, db::Error> {
    let rows: Vec<(AttachmentId,)> = tx
        .sql(
            "UPDATE attachments SET state = 'removed'
             WHERE organization_id IS NOT DISTINCT FROM $1 AND message_id = $2 AND state <> 'removed' RETURNING id",
        )
        .bind(organization_id)
        .bind(message_id)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Takes some of the attachments of a thread away, and tells which they were.
pub async fn take_from_thread(
    tx: &mut Tx,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    limit: i64,
) -> Result<Vec<AttachmentId>, db::Error> {
    let rows: Vec<(AttachmentId,)> = tx
        .sql(
            "UPDATE attachments SET state = 'removed'
             WHERE organization_id IS NOT DISTINCT FROM $1 AND id IN (
                SELECT id FROM attachments
                WHERE thread_id = $2 AND state IN ('uploading', 'scanning', 'available', 'refused') LIMIT $3
             ) AND state <> 'removed' RETURNING id",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Takes an attachment away whose bytes came and are not what they should be; whether it was still waiting for them.
pub async fn take_spoilt(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: AttachmentId,
) -> Result<bool, db::Error> {
    let taken = tx
        .sql(
            "UPDATE attachments SET state = 'removed'
             WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2 AND state = 'uploading'",
        )
        .bind(organization_id)
        .bind(id)
        .execute()
        .await?;
    Ok(taken == 1)
}

/// Takes some of the attachments away that waited to be sent for too long, of any organisation, and tells which.
pub async fn take_unsent(
    tx: &mut Tx,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<(OrganizationId, AttachmentId)>, db::Error> {
    tx.sql(
        "UPDATE attachments SET state = 'removed'
         WHERE message_id IS NULL AND state <> 'removed' AND id IN (
            SELECT id FROM attachments
            WHERE message_id IS NULL AND state <> 'removed' AND expires_at <= $1 ORDER BY expires_at LIMIT $2
         ) RETURNING organization_id, id",
    )
    .bind(until)
    .bind(limit)
    .all()
    .await
}

/// Notes that an attachment that was taken away counts for nothing any more, and tells for how much it did.
pub async fn discharge(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: AttachmentId,
) -> Result<i64, db::Error> {
    let row: Option<(i64,)> = tx
        .sql(db::lock!(
            "SELECT charged_bytes FROM attachments
             WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2 AND state = 'removed'"
        ))
        .bind(organization_id)
        .bind(id)
        .optional()
        .await?;
    tx.sql(
        "UPDATE attachments SET charged_bytes = 0
         WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2 AND state = 'removed'",
    )
    .bind(organization_id)
    .bind(id)
    .execute()
    .await?;
    Ok(row.map_or(0, |(charged,)| charged))
}

/// Forgets an attachment that was taken away.
pub async fn delete_attachment(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: AttachmentId,
) -> Result<(), db::Error> {
    tx.sql(
        "DELETE FROM attachments WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2 AND state = 'removed'",
    )
    .bind(organization_id)
    .bind(id)
    .execute()
    .await?;
    Ok(())
}

/// Adds to what an organisation stores, and tells how much that is then. The row stays locked until the transaction
/// ends: of two that take the last room, one finds it taken.
pub async fn add_usage(tx: &mut Tx, organization_id: OrganizationId, bytes: i64) -> Result<i64, db::Error> {
    let (stored,): (i64,) = tx
        .sql(
            "INSERT INTO attachment_usage (organization_id, stored_bytes) VALUES ($1, $2)
             ON CONFLICT (organization_id)
             DO UPDATE SET stored_bytes = attachment_usage.stored_bytes + excluded.stored_bytes
             RETURNING stored_bytes",
        )
        .bind(organization_id)
        .bind(bytes)
        .one()
        .await?;
    Ok(stored)
}

/// Takes away from what an organisation stores.
pub async fn take_usage(tx: &mut Tx, organization_id: OrganizationId, bytes: i64) -> Result<(), db::Error> {
    tx.sql("UPDATE attachment_usage SET stored_bytes = stored_bytes - $2 WHERE organization_id = $1")
        .bind(organization_id)
        .bind(bytes)
        .execute()
        .await?;
    Ok(())
}
