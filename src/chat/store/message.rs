//! The rows of messages, and the keys that they were sent with.

use uuid::Uuid;

use super::{ActorKind, actor, parts};
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::chat::model::attachment::Attached;
use crate::chat::model::{Message, MessageId, ThreadId};
use crate::db::{self, Conn, Json, Tx};

/// The organisation and the thread that a message belongs to. Asked in the platform's own scope: the caller may not see
/// it.
pub async fn home_of_message(
    conn: &mut impl Conn,
    message_id: MessageId,
) -> Result<Option<(OrganizationId, ThreadId)>, db::Error> {
    conn.sql("SELECT organization_id, thread_id FROM messages WHERE id = $1")
        .bind(message_id)
        .optional()
        .await
}

/// Some messages that an account wrote, with their homes, in the order of their ids, from behind `after` on, without
/// those that were deleted. Asked in the platform's own scope.
pub async fn messages_of(
    conn: &mut impl Conn,
    account_id: AccountId,
    after: MessageId,
    limit: i64,
) -> Result<Vec<(OrganizationId, ThreadId, MessageId)>, db::Error> {
    conn.sql(
        "SELECT organization_id, thread_id, id FROM messages
         WHERE author_id = $1 AND author_kind = 'account' AND id > $2 AND deleted_at IS NULL
         ORDER BY id LIMIT $3",
    )
    .bind(account_id)
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// Writes messages, at least one; their words are to be noted in the same transaction ([`super::insert_words`]). With
/// each goes the digest of what its key was used for; none for an agent's message. That no key was used in its thread
/// before is asked first.
pub fn insert_messages(
    tx: &mut Tx,
    organization_id: OrganizationId,
    messages: &[(&Message, Option<[u8; 32]>)],
) -> Result<(), db::Error> {
    tx.later()
        .sql(
            "INSERT INTO messages (id, thread_id, organization_id, seq, author_kind, author_id, client_message_id,
                                   body_hash, reply_to, text, attachments, created_at, searchable) VALUES $rows",
        )
        .rows(messages, |statement, (message, digest)| {
            let (author_kind, author_id) = parts(message.author);
            let statement = statement.bind(message.id).bind(message.thread_id).bind(organization_id);
            let statement = statement.bind(message.seq).bind(author_kind).bind(author_id);
            let digest = digest.map(|digest| digest.to_vec());
            let statement = statement.bind(message.client_message_id).bind(digest);
            let statement = statement.bind(message.reply_to).bind(message.text.clone());
            let files = Json(message.attachments.clone());
            statement.bind(files).bind(message.created_at).bind(true)
        })
        .queue()
}

/// The threads of those of the messages named that are there.
pub async fn threads_of_messages(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    messages: &[MessageId],
) -> Result<Vec<(MessageId, ThreadId)>, db::Error> {
    conn.sql(
        "SELECT id, thread_id FROM messages WHERE organization_id IS NOT DISTINCT FROM $1 AND id IN $list",
    )
    .bind(organization_id)
    .list(messages.iter().copied())
    .all()
    .await
}

/// The message that an account sent to a thread under this key, and the digest of what it sent.
pub async fn message_by_key(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    account_id: AccountId,
    client_message_id: Uuid,
) -> Result<Option<(MessageId, Vec<u8>)>, db::Error> {
    conn.sql(
        "SELECT id, body_hash FROM messages
         WHERE organization_id = $1 AND thread_id = $2 AND author_id = $3 AND client_message_id = $4",
    )
    .bind(organization_id)
    .bind(thread_id)
    .bind(account_id)
    .bind(client_message_id)
    .optional()
    .await
}

/// A message.
pub async fn message(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<Option<Message>, db::Error> {
    let row: Option<MessageRow> = conn
        .sql(
            "SELECT id, thread_id, seq, author_kind, author_id, client_message_id, reply_to, text, attachments,
                    created_at, edited_at, deleted_at
             FROM messages WHERE organization_id IS NOT DISTINCT FROM $1 AND id = $2",
        )
        .bind(organization_id)
        .bind(message_id)
        .optional()
        .await?;
    Ok(row.map(Message::from))
}

/// The messages up to a position, newest first, without those that were deleted.
pub async fn newest_messages(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    thread_id: ThreadId,
    up_to: i64,
    limit: i64,
) -> Result<Vec<Message>, db::Error> {
    let rows: Vec<MessageRow> = conn
        .sql(
            "SELECT id, thread_id, seq, author_kind, author_id, client_message_id, reply_to, text, attachments,
                    created_at, edited_at, deleted_at
             FROM messages WHERE organization_id = $1 AND thread_id = $2 AND seq <= $3 AND deleted_at IS NULL
             ORDER BY seq DESC LIMIT $4",
        )
        .bind(organization_id)
        .bind(thread_id)
        .bind(up_to)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Message::from).collect())
}

/// Gives a message another text.
pub async fn replace_text(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
    text: &str,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql("UPDATE messages SET text = $3, edited_at = $4 WHERE organization_id = $1 AND id = $2")
        .bind(organization_id)
        .bind(message_id)
        .bind(text.to_owned())
        .bind(at)
        .execute()
        .await?;
    Ok(())
}

/// Notes that the event at this position holds a text of a message.
pub async fn insert_edit(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
    seq: i64,
) -> Result<(), db::Error> {
    tx.sql("INSERT INTO message_edits (message_id, seq, organization_id) VALUES ($1, $2, $3)")
        .bind(message_id)
        .bind(seq)
        .bind(organization_id)
        .execute()
        .await?;
    Ok(())
}

/// How many times a message was edited.
pub async fn count_edits(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn
        .sql(
            "SELECT count(*) FROM message_edits
             WHERE organization_id IS NOT DISTINCT FROM $1 AND message_id = $2",
        )
        .bind(organization_id)
        .bind(message_id)
        .one()
        .await?;
    Ok(count)
}

/// Takes the text and the files of a message away, and with them the digest of the first text: of a short one it would
/// tell what it was.
pub async fn delete_text(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE messages SET text = '', attachments = '[]', deleted_at = $3
         WHERE organization_id = $1 AND id = $2",
    )
    .bind(organization_id)
    .bind(message_id)
    .bind(at)
    .execute()
    .await?;
    tx.sql(
        "UPDATE messages SET body_hash = $3 WHERE organization_id = $1 AND id = $2 AND body_hash IS NOT NULL",
    )
    .bind(organization_id)
    .bind(message_id)
    .bind(vec![0_u8; 32])
    .execute()
    .await?;
    Ok(())
}

#[derive(db::Row)]
pub(super) struct MessageRow {
    id: MessageId,
    thread_id: ThreadId,
    seq: i64,
    author_kind: ActorKind,
    author_id: Uuid,
    client_message_id: Option<Uuid>,
    reply_to: Option<MessageId>,
    text: String,
    attachments: Json<Vec<Attached>>,
    created_at: Timestamp,
    edited_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id,
            thread_id: row.thread_id,
            seq: row.seq,
            author: actor(row.author_kind, row.author_id),
            client_message_id: row.client_message_id,
            reply_to: row.reply_to,
            text: row.text,
            attachments: row.attachments.0,
            created_at: row.created_at,
            edited_at: row.edited_at,
            deleted_at: row.deleted_at,
        }
    }
}
