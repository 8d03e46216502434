//! The rows of reactions.

use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::chat::model::{MessageId, Reaction};
use crate::db::{self, Conn, Tx};

/// How many people reacted to a message in one way.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct ReactionCount {
    /// How.
    pub emoji: String,
    /// How many.
    pub count: i64,
    /// How many of them the caller is: one or none.
    pub own: i64,
}

/// Notes a reaction; whether it is new.
pub async fn insert_reaction(
    tx: &mut Tx,
    organization_id: OrganizationId,
    reaction: &Reaction,
    account_id: AccountId,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let written = tx
        .sql(
            "INSERT INTO message_reactions (message_id, emoji, account_id, organization_id, created_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (message_id, emoji, account_id) DO NOTHING",
        )
        .bind(reaction.message_id)
        .bind(reaction.emoji.clone())
        .bind(account_id)
        .bind(organization_id)
        .bind(at)
        .execute()
        .await?;
    Ok(written == 1)
}

/// Forgets a reaction; whether it was there.
pub async fn delete_reaction(
    tx: &mut Tx,
    organization_id: OrganizationId,
    reaction: &Reaction,
    account_id: AccountId,
) -> Result<bool, db::Error> {
    let gone = tx
        .sql(
            "DELETE FROM message_reactions
             WHERE organization_id = $1 AND message_id = $2 AND emoji = $3 AND account_id = $4",
        )
        .bind(organization_id)
        .bind(reaction.message_id)
        .bind(reaction.emoji.clone())
        .bind(account_id)
        .execute()
        .await?;
    Ok(gone == 1)
}

/// How many ways of reacting to a message an account uses.
pub async fn count_reactions(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
    account_id: AccountId,
) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn
        .sql(
            "SELECT count(*) FROM message_reactions
             WHERE organization_id IS NOT DISTINCT FROM $1 AND message_id = $2 AND account_id = $3",
        )
        .bind(organization_id)
        .bind(message_id)
        .bind(account_id)
        .one()
        .await?;
    Ok(count)
}

/// How people reacted to a message, the most frequent first, at most `limit` ways.
pub async fn reactions(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
    account_id: AccountId,
    limit: i64,
) -> Result<Vec<ReactionCount>, db::Error> {
    conn.sql(
        "SELECT emoji, count(*) AS count, count(CASE WHEN account_id = $3 THEN 1 END) AS own
         FROM message_reactions WHERE organization_id IS NOT DISTINCT FROM $1 AND message_id = $2
         GROUP BY emoji ORDER BY count(*) DESC, min(created_at), emoji LIMIT $4",
    )
    .bind(organization_id)
    .bind(message_id)
    .bind(account_id)
    .bind(limit)
    .all()
    .await
}

/// Forgets all reactions to a message.
pub async fn delete_reactions(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<(), db::Error> {
    tx.sql("DELETE FROM message_reactions WHERE organization_id = $1 AND message_id = $2")
        .bind(organization_id)
        .bind(message_id)
        .execute()
        .await?;
    Ok(())
}
