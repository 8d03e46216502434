//! An agent's turn: a job that asks the model provider, runs the tools that it calls, and writes the answer, once.
//!
//! The job is queued in the transaction that writes the person's message. The turn has a row of its own, which the
//! answer's transaction ends together with the job: whichever attempt comes first wins, and the others change nothing.
//! The pieces that a provider sends are passed on as they come and stored nowhere; only the whole answer is an event.
//! What a model calls is journalled ([`tools`]); it is asked so often at most, and so it comes to an end whatever it
//! does.

mod said;
mod tools;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::error::Error;
use super::model::context;
use super::model::tools::{Round, plan};
use super::model::{Actor, Change, Event, Message, MessageId, TurnFailure};
use super::service::Service;
use super::store::{self, Turn, TurnState};
use crate::ai::{self, Prompt};
use crate::auth;
use crate::base::{Fault as _, OrganizationId};
use crate::db::{self, Conn, Scope, Tx};
use crate::jobs::{Failure, Job, Lease, Registry};
use said::Said;
use tools::Standing;

/// The agent of a thread answers a message.
#[derive(Debug, Serialize, Deserialize)]
pub struct AgentTurn {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The message to answer.
    pub message_id: MessageId,
}

impl Job for AgentTurn {
    const KIND: &'static str = "chat.agent_turn";
    // A person waits: after three attempts and some seconds it is better to say that there will be no answer.
    const ATTEMPTS_MAX: u32 = 3;
}

/// Has the domain's jobs run.
pub fn register(registry: &mut Registry, service: Arc<Service>) {
    registry.on::<AgentTurn, _>(move |job, lease| {
        let service = Arc::clone(&service);
        async move { service.take_turn(job, lease).await }
    });
}

/// A whole answer.
struct Answer {
    text: String,
    /// The tokens of all prompts and of all answers of the turn, as far as they were reported.
    tokens: Option<(i64, i64)>,
    /// How many rounds it rests on.
    rounds: usize,
}

/// Why an attempt comes to no answer.
enum Stop {
    /// An earlier attempt ended the turn.
    Ended,
    /// There will be none.
    GiveUp(TurnFailure),
    /// The provider failed.
    Provider(ai::Error),
    /// A tool failed, and may be tried again.
    Tool(Box<dyn std::error::Error + Send + Sync>),
    /// The platform failed.
    Ours(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<db::Error> for Stop {
    fn from(error: db::Error) -> Self {
        Self::Ours(error.into())
    }
}

impl From<auth::Error> for Stop {
    fn from(error: auth::Error) -> Self {
        Self::Ours(error.into())
    }
}

impl Service {
    async fn take_turn(&self, job: AgentTurn, lease: Lease) -> Result<(), Failure> {
        let Some(turn) = self.turn(&job).await.map_err(Failure::retry)? else { return Ok(()) };
        let limit = self.options().turn.timeout;
        let stop = loop {
            let answer = timeout(limit, self.answer(&turn, &lease)).await;
            let answer = answer.unwrap_or_else(|elapsed| {
                Err(Stop::Provider(ai::Error::Interrupted { cause: Some(elapsed.into()) }))
            });
            let answer = match answer {
                Ok(answer) => answer,
                Err(stop) => break stop,
            };
            if self.finish(&turn, &lease, answer).await.map_err(Failure::retry)? {
                return Ok(());
            }
            // Another attempt journalled a further round meanwhile: this one goes on from there. There are so many
            // rounds at most.
        };
        match stop {
            Stop::Ended => Ok(()),
            Stop::GiveUp(reason) => self.give_up(&turn, &lease, reason).await.map_err(Failure::retry),
            Stop::Provider(error) if lease.last || matches!(error, ai::Error::PromptTooLong { .. }) => {
                tracing::warn!(message = %turn.message_id, cause = ?error, "an agent's turn is given up");
                self.give_up(&turn, &lease, TurnFailure::Unavailable).await.map_err(Failure::retry)
            }
            Stop::Provider(error) => Err(match error.retry_after() {
                Some(delay) => Failure::retry_after(delay, error),
                None => Failure::retry(error),
            }),
            Stop::Tool(cause) => Err(Failure::retry(format!("a tool failed: {cause}"))),
            Stop::Ours(error) => Err(Failure::retry(error)),
        }
    }

    async fn turn(&self, job: &AgentTurn) -> Result<Option<Turn>, db::Error> {
        let mut conn = self.db().conn(Scope::Organization(job.organization_id)).await?;
        store::turn(&mut conn, job.organization_id, job.message_id).await
    }

    /// Asks the model, and carries out what it calls, until it answers. What an earlier attempt journalled is neither
    /// asked nor done again.
    async fn answer(&self, turn: &Turn, lease: &Lease) -> Result<Answer, Stop> {
        let limits = &self.options().turn.tools;
        let mut prompt = self.prepare(turn).await?;
        let mut said = Said::new(self, turn, lease.attempt);
        let mut spent = Spent::default();
        for round in self.journal(turn).await? {
            said.replay(&round.text);
            spent.add(&round);
            self.carry_out(turn, round, lease, &mut prompt).await?;
        }
        loop {
            prompt.may_call = spent.rounds < limits.rounds_max && spent.calls < limits.calls_max;
            let ended = said.ask(prompt.clone()).await.map_err(Stop::Provider)?;
            let tokens = ended.finish.map(|finish| (finish.input_tokens, finish.output_tokens));
            if ended.calls.is_empty() || ended.full || !prompt.may_call {
                spent.tokens = sum(spent.tokens, tokens);
                return answered(said, prompt.may_call, &spent);
            }
            let number = i64::try_from(spent.rounds).unwrap_or(i64::MAX).saturating_add(1);
            let calls = plan(ended.calls, spent.calls, limits);
            let round = Round { number, text: said.in_round().to_owned(), tokens, calls };
            let round = self.enter(turn, round).await?;
            said.correct(&round.text);
            spent.add(&round);
            self.carry_out(turn, round, lease, &mut prompt).await?;
        }
    }

    /// What to ask first.
    async fn prepare(&self, turn: &Turn) -> Result<Prompt, Stop> {
        let home = turn.organization_id;
        let mut conn = self.db().conn(Scope::Organization(home)).await?;
        let Standing { agent, .. } = self.standing(&mut conn, turn).await?;
        let turns = self.conversation(&mut conn, turn).await?;
        Ok(Prompt {
            turns,
            tools: if turn.by_program { Vec::new() } else { self.offered(&agent) },
            may_call: true,
            system: agent.instructions,
            agent: agent.slug,
            output_tokens_max: self.options().turn.output_tokens_max,
        })
    }

    async fn conversation(&self, conn: &mut impl Conn, turn: &Turn) -> Result<Vec<ai::Turn>, Error> {
        let home = turn.organization_id;
        let asked = store::message(conn, home, turn.message_id).await?.ok_or(Error::MessageNotFound)?;
        let window = self.options().turn.window;
        let limit = i64::try_from(window.messages).unwrap_or(i64::MAX);
        // Up to the message itself: an attempt that comes late shows the model what the first one showed.
        let newest = store::newest_messages(conn, home, turn.thread_id, asked.seq, limit).await?;
        let turns = context::window(&newest, window).into_iter();
        let turn = |said: context::Turn| {
            if said.agent { ai::Turn::assistant(said.text) } else { ai::Turn::User(said.text) }
        };
        Ok(turns.map(turn).collect())
    }

    /// Writes the answer, and ends the turn and the job with it. False when it does not rest on all that is journalled:
    /// a call that is made must be told.
    async fn finish(&self, turn: &Turn, lease: &Lease, answer: Answer) -> Result<bool, Error> {
        let now = self.world().now();
        let mut tx = self.db().begin(Scope::Organization(turn.organization_id)).await?;
        let seq = advance(self, &mut tx, turn).await?;
        if !store::end_turn(&mut tx, turn, TurnState::Answered, answer.tokens, now).await? {
            return Ok(true); // another attempt was first; the position taken is dropped with the transaction
        }
        // The turn's row is locked now, and whoever journals a round asks for it first.
        let rounds = store::rounds_entered(&mut tx, turn).await?;
        if usize::try_from(rounds).ok() != Some(answer.rounds) {
            return Ok(false);
        }
        let message = Message {
            id: turn.answer_id,
            thread_id: turn.thread_id,
            seq,
            author: Actor::Agent(turn.listing_id),
            client_message_id: None,
            reply_to: Some(turn.message_id),
            text: answer.text,
            attachments: Vec::new(),
            created_at: now,
            edited_at: None,
            deleted_at: None,
        };
        self.write(&mut tx, turn.organization_id, &message, None)?;
        lease.complete(&mut tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Says in the thread that there will be no answer, and ends the turn and the job with it.
    async fn give_up(&self, turn: &Turn, lease: &Lease, reason: TurnFailure) -> Result<(), Error> {
        let now = self.world().now();
        let mut tx = self.db().begin(Scope::Organization(turn.organization_id)).await?;
        let seq = advance(self, &mut tx, turn).await?;
        if !store::end_turn(&mut tx, turn, TurnState::Failed, None, now).await? {
            return Ok(());
        }
        let event = Event {
            thread_id: turn.thread_id,
            seq,
            actor: Actor::Agent(turn.listing_id),
            at: now,
            change: Change::AgentTurnFailed { message_id: turn.message_id, reason },
        };
        self.record(&mut tx, turn.organization_id, event)?;
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

async fn advance(service: &Service, tx: &mut Tx, turn: &Turn) -> Result<i64, Error> {
    let now = service.world().now();
    let thread = store::advance(tx, turn.organization_id, turn.thread_id, now).await?;
    Ok(thread.ok_or(Error::ThreadNotFound)?.last_seq)
}

/// What a turn has used of its bounds.
#[derive(Default)]
struct Spent {
    rounds: usize,
    calls: usize,
    tokens: Option<(i64, i64)>,
}

impl Spent {
    fn add(&mut self, round: &Round) {
        self.rounds = self.rounds.saturating_add(1);
        self.calls = self.calls.saturating_add(round.calls.len());
        self.tokens = sum(self.tokens, round.tokens);
    }
}

/// The answer that was given when no more is called.
fn answered(said: Said<'_>, might_call: bool, spent: &Spent) -> Result<Answer, Stop> {
    if !said.in_round().trim().is_empty() {
        return Ok(Answer { text: said.text, tokens: spent.tokens, rounds: spent.rounds });
    }
    // Asking again may help where the provider failed, but not where the model would only go on calling.
    Err(if might_call {
        Stop::Provider(ai::Error::Interrupted { cause: Some("the answer was empty".into()) })
    } else {
        Stop::GiveUp(TurnFailure::NoAnswer)
    })
}

/// What was counted so far and now; nothing when nothing was.
fn sum(before: Option<(i64, i64)>, now: Option<(u32, u32)>) -> Option<(i64, i64)> {
    let Some((input, output)) = now else { return before };
    let (inputs, outputs) = before.unwrap_or_default();
    Some((inputs.saturating_add(input.into()), outputs.saturating_add(output.into())))
}
