//! The rows of agents' turns.

use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::chat::model::{MessageId, ThreadId};
use crate::db::{self, Conn, Tx};
use crate::market::ListingId;

db::words! {
    /// Where an agent's turn stands.
    pub enum TurnState {
        /// It has not ended.
        Pending = "pending",
        /// The answer is written.
        Answered = "answered",
        /// There will be no answer.
        Failed = "failed",
    }
}

/// An agent's turn: its answer to one message.
#[derive(Clone, Debug, db::Row)]
pub struct Turn {
    /// The message to answer.
    pub message_id: MessageId,
    /// Where.
    pub thread_id: ThreadId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Who answers.
    pub listing_id: ListingId,
    /// The id that the answer will have.
    pub answer_id: MessageId,
    /// Whether a program wrote the message, with an API key or the token of a service account.
    pub by_program: bool,
    /// Where it stands.
    pub state: TurnState,
}

/// Begins a turn.
pub async fn insert_turn(tx: &mut Tx, turn: &Turn, at: Timestamp) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO agent_turns (message_id, thread_id, organization_id, listing_id, answer_id, by_program, state,
            created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(turn.message_id)
    .bind(turn.thread_id)
    .bind(turn.organization_id)
    .bind(turn.listing_id)
    .bind(turn.answer_id)
    .bind(turn.by_program)
    .bind(turn.state)
    .bind(at)
    .execute()
    .await?;
    Ok(())
}

/// The turn that answers a message, unless the thread was deleted.
pub async fn turn(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<Option<Turn>, db::Error> {
    conn.sql(
        "SELECT message_id, thread_id, organization_id, listing_id, answer_id, by_program, state
         FROM agent_turns WHERE organization_id = $1 AND message_id = $2
            AND EXISTS (SELECT 1 FROM threads AS t WHERE t.id = thread_id AND t.deleted_at IS NULL)",
    )
    .bind(organization_id)
    .bind(message_id)
    .optional()
    .await
}

/// The same, locked: nobody ends it until the transaction does.
pub async fn lock_turn(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<Option<Turn>, db::Error> {
    tx.sql(db::lock!(
        "SELECT message_id, thread_id, organization_id, listing_id, answer_id, by_program, state
         FROM agent_turns WHERE organization_id = $1 AND message_id = $2"
    ))
    .bind(organization_id)
    .bind(message_id)
    .optional()
    .await
}

/// Whether an agent has answered in any thread of the account's in the organisation.
pub async fn answered(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    account_id: AccountId,
) -> Result<bool, db::Error> {
    let row: Option<(MessageId,)> = conn
        .sql(
            "SELECT t.message_id FROM thread_members m JOIN agent_turns t ON t.thread_id = m.thread_id
             WHERE m.organization_id = $1 AND m.account_id = $2 AND t.state = 'answered' LIMIT 1",
        )
        .bind(organization_id)
        .bind(account_id)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Ends a turn that has not ended; whether it was this call that ended it. `tokens` are those of the prompt and of the
/// answer.
pub async fn end_turn(
    tx: &mut Tx,
    turn: &Turn,
    state: TurnState,
    tokens: Option<(i64, i64)>,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let ended = tx
        .sql(
            "UPDATE agent_turns SET state = $3, input_tokens = $4, output_tokens = $5, ended_at = $6
             WHERE organization_id = $1 AND message_id = $2 AND state = 'pending'",
        )
        .bind(turn.organization_id)
        .bind(turn.message_id)
        .bind(state)
        .bind(tokens.map(|(input, _)| input))
        .bind(tokens.map(|(_, output)| output))
        .bind(at)
        .execute()
        .await?;
    Ok(ended == 1)
}
