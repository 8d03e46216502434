//! The journal of the rounds and calls of agents' turns.

use std::collections::BTreeMap;

use super::Turn;
use crate::ai::ToolCall;
use crate::base::{OrganizationId, Timestamp};
use crate::chat::model::MessageId;
use crate::chat::model::tools::{Call, Outcome, Round};
use crate::db::{self, Conn, Json, Tx};

/// Writes a round with its calls; false when the turn has a round of this number already.
pub async fn insert_round(tx: &mut Tx, turn: &Turn, round: &Round, at: Timestamp) -> Result<bool, db::Error> {
    let inserted = tx
        .sql(
            "INSERT INTO agent_rounds (message_id, round, organization_id, text, input_tokens, output_tokens,
                                       created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (message_id, round) DO NOTHING",
        )
        .bind(turn.message_id)
        .bind(round.number)
        .bind(turn.organization_id)
        .bind(round.text.clone())
        .bind(round.tokens.map(|(input, _)| i64::from(input)))
        .bind(round.tokens.map(|(_, output)| i64::from(output)))
        .bind(at)
        .execute()
        .await?;
    if inserted == 0 {
        return Ok(false);
    }
    for call in &round.calls {
        insert_call(tx, turn, round.number, call, at).await?;
    }
    Ok(true)
}

async fn insert_call(
    tx: &mut Tx,
    turn: &Turn,
    round: i64,
    call: &Call,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO agent_tool_calls (message_id, round, position, organization_id, call_id, tool, arguments, outcome,
                                       created_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(turn.message_id)
    .bind(round)
    .bind(call.position)
    .bind(turn.organization_id)
    .bind(call.wanted.id.clone())
    .bind(call.wanted.name.clone())
    .bind(call.wanted.arguments.clone())
    .bind(call.outcome.clone().map(Json))
    .bind(at)
    .bind(call.outcome.as_ref().map(|_| at))
    .execute()
    .await?;
    Ok(())
}

/// Forgets what the model said on the way to the answer that this message is, or that it got.
pub async fn empty_rounds(
    tx: &mut Tx,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE agent_rounds SET text = '' WHERE organization_id = $1 AND message_id IN (
            SELECT message_id FROM agent_turns WHERE message_id = $2
            UNION ALL SELECT message_id FROM agent_turns WHERE answer_id = $2
         )",
    )
    .bind(organization_id)
    .bind(message_id)
    .execute()
    .await?;
    Ok(())
}

/// Notes what came of a call that has not ended; whether it was this call that ended it.
pub async fn end_call(
    tx: &mut Tx,
    turn: &Turn,
    (round, position): (i64, i64),
    outcome: &Outcome,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let ended = tx
        .sql(
            "UPDATE agent_tool_calls SET outcome = $5, ended_at = $6
             WHERE organization_id = $1 AND message_id = $2 AND round = $3 AND position = $4 AND ended_at IS NULL",
        )
        .bind(turn.organization_id)
        .bind(turn.message_id)
        .bind(round)
        .bind(position)
        .bind(Json(outcome.clone()))
        .bind(at)
        .execute()
        .await?;
    Ok(ended == 1)
}

/// How many rounds of a turn are journalled.
pub async fn rounds_entered(tx: &mut Tx, turn: &Turn) -> Result<i64, db::Error> {
    let (count,): (i64,) = tx
        .sql("SELECT count(*) FROM agent_rounds WHERE organization_id = $1 AND message_id = $2")
        .bind(turn.organization_id)
        .bind(turn.message_id)
        .one()
        .await?;
    Ok(count)
}

/// What is journalled of a turn, in order.
pub async fn rounds(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    message_id: MessageId,
) -> Result<Vec<Round>, db::Error> {
    let rows: Vec<RoundRow> = conn
        .sql(
            "SELECT round, text, input_tokens, output_tokens FROM agent_rounds
             WHERE organization_id = $1 AND message_id = $2 ORDER BY round",
        )
        .bind(organization_id)
        .bind(message_id)
        .all()
        .await?;
    let calls: Vec<CallRow> = conn
        .sql(
            "SELECT round, position, call_id, tool, arguments, outcome FROM agent_tool_calls
             WHERE organization_id = $1 AND message_id = $2 ORDER BY round, position",
        )
        .bind(organization_id)
        .bind(message_id)
        .all()
        .await?;
    let mut of: BTreeMap<i64, Vec<Call>> = BTreeMap::new();
    for row in calls {
        of.entry(row.round).or_default().push(row.into());
    }
    let with = |row: RoundRow| Round {
        calls: of.remove(&row.round).unwrap_or_default(),
        number: row.round,
        text: row.text,
        tokens: tokens(row.input_tokens, row.output_tokens),
    };
    Ok(rows.into_iter().map(with).collect())
}

fn tokens(input: Option<i64>, output: Option<i64>) -> Option<(u32, u32)> {
    Some((u32::try_from(input?).ok()?, u32::try_from(output?).ok()?))
}

#[derive(db::Row)]
struct RoundRow {
    round: i64,
    text: String,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
}

#[derive(db::Row)]
struct CallRow {
    round: i64,
    position: i64,
    call_id: String,
    tool: String,
    arguments: String,
    outcome: Option<Json<Outcome>>,
}

impl From<CallRow> for Call {
    fn from(row: CallRow) -> Self {
        Self {
            position: row.position,
            wanted: ToolCall { id: row.call_id, name: row.tool, arguments: row.arguments },
            outcome: row.outcome.map(|Json(outcome)| outcome),
        }
    }
}
