//! The rows of words that messages are found by.

use uuid::Uuid;

use super::END_OF_TIME;
use super::message::MessageRow;
use crate::base::{AccountId, Id, OrganizationId, Timestamp};
use crate::chat::model::{Message, MessageId, ThreadId};
use crate::db::{self, Conn, Json, Tx};

/// Before which message a page of what was found goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FoundBefore {
    /// When it was written.
    pub created_at: Timestamp,
    /// Which it is.
    pub id: MessageId,
}

impl FoundBefore {
    /// The place of a message.
    #[must_use]
    pub const fn of(message: &Message) -> Self {
        Self { created_at: message.created_at, id: message.id }
    }
}

/// Which messages are looked for.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Who looks: what they may see is found.
    pub account_id: AccountId,
    /// Only in this thread.
    pub thread_id: Option<ThreadId>,
    /// Only what this account or agent wrote.
    pub author: Option<Uuid>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
    /// A word from here, included, up to there.
    pub span: (String, String),
    /// All of these words.
    pub words: Vec<String>,
}

/// Notes the words that messages are found by. One text for each engine, as each has its own way to take a list apart.
pub fn insert_words(
    tx: &mut Tx,
    organization_id: OrganizationId,
    messages: &[(&Message, &[String])],
) -> Result<(), db::Error> {
    let worded = || messages.iter().filter(|(_, words)| !words.is_empty());
    if worded().next().is_none() {
        return Ok(());
    }
    tx.later()
        .sql(db::Sql {
            sqlite: "INSERT INTO message_words (thread_id, seq, organization_id, word)
                     WITH m (thread_id, seq, words) AS (VALUES $rows)
                     SELECT m.thread_id, m.seq, $1, w.value FROM m CROSS JOIN json_each(m.words) AS w",
            postgres: "INSERT INTO message_words (thread_id, seq, organization_id, word)
                       WITH m (thread_id, seq, words) AS (VALUES $rows)
                       SELECT m.thread_id, m.seq, $1, w.value
                       FROM m CROSS JOIN jsonb_array_elements_text(m.words) AS w (value)",
        })
        .bind(organization_id)
        .rows(worded(), |statement, (message, words)| {
            statement.bind(message.thread_id).bind(message.seq).bind(Json(words.to_vec()))
        })
        .queue()
}

/// Forgets the words that a message is found by: those that [`insert_words`] was told.
pub async fn delete_words(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message: &Message,
    words: Vec<String>,
) -> Result<(), db::Error> {
    tx.sql(
        "DELETE FROM message_words
         WHERE organization_id IS NOT DISTINCT FROM $1 AND thread_id = $2 AND seq = $3 AND word IN $list",
    )
    .bind(organization_id)
    .bind(message.thread_id)
    .bind(message.seq)
    .list(words)
    .execute()
    .await?;
    Ok(())
}

/// A page of messages that have all the words, the newest first. It costs as much as the account may see that has a
/// word of the span, whatever others write: what takes long tells nobody what is said elsewhere.
pub async fn hunt(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    hunt: &Hunt,
    before: Option<FoundBefore>,
    limit: i64,
) -> Result<Vec<Message>, db::Error> {
    let (nil, max) = (Uuid::nil(), Uuid::max());
    let before = before.unwrap_or(FoundBefore { created_at: END_OF_TIME, id: Id::from_uuid(max) });
    // A thread or an author that is not named is any between the first id and the last.
    let thread = hunt.thread_id.map(Id::uuid);
    let words = i64::try_from(hunt.words.len()).unwrap_or(i64::MAX);
    let rows: Vec<MessageRow> = conn
        .sql(
            "SELECT DISTINCT m.id, m.thread_id, m.seq, m.author_kind, m.author_id, m.client_message_id, m.reply_to,
                    m.text, m.attachments, m.created_at, m.edited_at, m.deleted_at
             FROM thread_members AS s
                CROSS JOIN message_words AS w
                CROSS JOIN messages AS m
             WHERE s.account_id = $2 AND s.organization_id = $1 AND s.thread_id >= $3 AND s.thread_id <= $4
                AND w.thread_id = s.thread_id AND w.word >= $5 AND w.word < $6
                AND m.thread_id = w.thread_id AND m.seq = w.seq AND m.author_id >= $11 AND m.author_id <= $12
                AND m.created_at >= $7 AND m.created_at < $8 AND (m.created_at, m.id) < ($9, $10)
                AND NOT EXISTS (
                    SELECT 1 FROM account_blocks AS b WHERE b.account_id = $2 AND b.blocked_id = m.author_id
                )
                AND (SELECT count(*) FROM message_words AS x
                     WHERE x.thread_id = w.thread_id AND x.seq = w.seq AND x.word IN $list) = $13
             ORDER BY m.created_at DESC, m.id DESC LIMIT $14",
        )
        .bind(organization_id)
        .bind(hunt.account_id)
        .bind(thread.unwrap_or(nil))
        .bind(thread.unwrap_or(max))
        .bind(hunt.span.0.clone())
        .bind(hunt.span.1.clone())
        .bind(hunt.since.unwrap_or(Timestamp::from_micros(0)))
        .bind(hunt.until.unwrap_or(END_OF_TIME))
        .bind(before.created_at)
        .bind(before.id)
        .bind(hunt.author.unwrap_or(nil))
        .bind(hunt.author.unwrap_or(max))
        .bind(words)
        .bind(limit)
        .list(hunt.words.iter().cloned())
        .all()
        .await?;
    Ok(rows.into_iter().map(Message::from).collect())
}

/// Some messages whose words were not noted yet, each with its organisation, locked. Asked in the platform's own scope.
pub async fn unsearchable(tx: &mut Tx, limit: i64) -> Result<Vec<(OrganizationId, MessageId)>, db::Error> {
    tx.sql(db::claim!(
        "SELECT organization_id, id FROM messages WHERE searchable = FALSE ORDER BY id LIMIT $1",
        ""
    ))
    .bind(limit)
    .all()
    .await
}

/// Notes that the words of a message are noted.
pub async fn set_searchable(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<(), db::Error> {
    tx.sql("UPDATE messages SET searchable = TRUE WHERE organization_id = $1 AND id = $2")
        .bind(organization_id)
        .bind(message_id)
        .execute()
        .await?;
    Ok(())
}
