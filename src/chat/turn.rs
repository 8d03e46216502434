//! An agent's turn: a job that asks the model provider and writes the answer, once.
//!
//! The job is queued in the transaction that writes the person's message. The turn has a row of its own, which the
//! answer's transaction ends together with the job: whichever attempt comes first wins, and the others change nothing.
//! The pieces that a provider sends are passed on as they come and stored nowhere; only the whole answer is an event.

use std::sync::Arc;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout};

use super::error::Error;
use super::model::context;
use super::model::frame::Delta;
use super::model::{Actor, Change, Event, Message, MessageId, TurnFailure};
use super::service::Service;
use super::store::{self, Turn, TurnState};
use crate::ai::{self, Chunk, Finish, Prompt};
use crate::base::{Fault as _, OrganizationId};
use crate::db::{Scope, Tx};
use crate::jobs::{Failure, Job, Lease, Registry};
use crate::market;

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
    finish: Option<Finish>,
}

impl Service {
    async fn take_turn(&self, job: AgentTurn, lease: Lease) -> Result<(), Failure> {
        let Some((turn, prompt)) = self.prepare(&job).await.map_err(Failure::retry)? else {
            return Ok(()); // an earlier attempt ended it
        };
        let Some(prompt) = prompt else {
            return self.give_up(&turn, lease, TurnFailure::NotInstalled).await.map_err(Failure::retry);
        };
        let limit = self.options().turn.timeout;
        let answer = timeout(limit, self.ask(&turn, prompt, lease.attempt)).await;
        let answer =
            answer.unwrap_or_else(|elapsed| Err(ai::Error::Interrupted { cause: Some(elapsed.into()) }));
        match answer {
            Ok(answer) => self.finish(&turn, lease, answer).await.map_err(Failure::retry),
            Err(error) if lease.last || matches!(error, ai::Error::PromptTooLong { .. }) => {
                tracing::warn!(message = %turn.message_id, cause = ?error, "an agent's turn is given up");
                self.give_up(&turn, lease, TurnFailure::Unavailable).await.map_err(Failure::retry)
            }
            Err(error) => Err(match error.retry_after() {
                Some(delay) => Failure::retry_after(delay, error),
                None => Failure::retry(error),
            }),
        }
    }

    /// The turn, if it has not ended, and what to ask, if the agent is still installed.
    async fn prepare(&self, job: &AgentTurn) -> Result<Option<(Turn, Option<Prompt>)>, Error> {
        let home = job.organization_id;
        let mut conn = self.db().conn(Scope::Organization(home)).await?;
        let turn = store::turn(&mut conn, home, job.message_id).await?;
        let Some(turn) = turn.filter(|turn| turn.state == TurnState::Pending) else { return Ok(None) };
        let Some(agent) = market::store::installed(&mut conn, home, turn.listing_id).await? else {
            return Ok(Some((turn, None)));
        };
        let asked = store::message(&mut conn, home, turn.message_id).await?.ok_or(Error::MessageNotFound)?;
        let window = self.options().turn.window;
        let limit = i64::try_from(window.messages).unwrap_or(i64::MAX);
        // Up to the message itself: an attempt that comes late shows the model what the first one showed.
        let newest = store::newest_messages(&mut conn, home, turn.thread_id, asked.seq, limit).await?;
        let turns = context::window(&newest, window).into_iter().map(|said| ai::Turn {
            role: if said.agent { ai::Role::Assistant } else { ai::Role::User },
            text: said.text,
        });
        let prompt = Prompt {
            system: agent.instructions,
            turns: turns.collect(),
            agent: agent.slug,
            output_tokens_max: self.options().turn.output_tokens_max,
        };
        Ok(Some((turn, Some(prompt))))
    }

    /// Asks the provider, and passes on what it says.
    async fn ask(&self, turn: &Turn, prompt: Prompt, attempt: u32) -> Result<Answer, ai::Error> {
        let options = &self.options().turn;
        let mut chunks = self.provider().generate(prompt).await?;
        let mut said = Said { service: self, turn, attempt, text: String::new(), passed: 0 };
        let mut pass_at = Instant::now();
        let finish = loop {
            // The first words go out at once; what follows within the interval is one piece.
            if said.has_news() && pass_at <= Instant::now() {
                said.pass();
                pass_at = Instant::now() + options.merge;
            }
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk,
                () = sleep_until(pass_at), if said.has_news() => continue,
            };
            match chunk {
                Some(Ok(Chunk::Text(piece))) => said.text.extend(piece.chars().filter(|c| *c != '\0')),
                Some(Ok(Chunk::Done(finish))) => break Some(finish),
                Some(Err(error)) => return Err(error),
                None => return Err(ai::Error::Interrupted { cause: None }),
            }
            if said.text.len() >= options.answer_bytes_max {
                said.text.truncate(said.text.floor_char_boundary(options.answer_bytes_max));
                break None;
            }
        };
        said.pass();
        if said.text.trim().is_empty() {
            return Err(ai::Error::Interrupted { cause: Some("the answer was empty".into()) });
        }
        Ok(Answer { text: said.text, finish })
    }

    /// Writes the answer, and ends the turn and the job with it.
    async fn finish(&self, turn: &Turn, lease: Lease, answer: Answer) -> Result<(), Error> {
        let now = self.world().now();
        let mut tx = self.db().begin(Scope::Organization(turn.organization_id)).await?;
        let seq = advance(self, &mut tx, turn).await?;
        let tokens = answer.finish.map(|finish| (finish.input_tokens.into(), finish.output_tokens.into()));
        if !store::end_turn(&mut tx, turn, TurnState::Answered, tokens, now).await? {
            return Ok(()); // another attempt was first; the position taken is dropped with the transaction
        }
        let message = Message {
            id: turn.answer_id,
            thread_id: turn.thread_id,
            seq,
            author: Actor::Agent(turn.listing_id),
            client_message_id: None,
            reply_to: Some(turn.message_id),
            text: answer.text,
            created_at: now,
        };
        self.write(&mut tx, turn.organization_id, &message, None).await?;
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Says in the thread that there will be no answer, and ends the turn and the job with it.
    async fn give_up(&self, turn: &Turn, lease: Lease, reason: TurnFailure) -> Result<(), Error> {
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
        self.record(&mut tx, turn.organization_id, event).await?;
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

async fn advance(service: &Service, tx: &mut Tx, turn: &Turn) -> Result<i64, Error> {
    let now = service.world().now();
    let thread = store::advance(tx, turn.organization_id, turn.thread_id, now).await?;
    Ok(thread.ok_or(Error::ThreadNotFound)?.last_seq)
}

/// What an agent has said so far, and how much of it was passed on.
struct Said<'a> {
    service: &'a Service,
    turn: &'a Turn,
    attempt: u32,
    text: String,
    passed: usize,
}

impl Said<'_> {
    fn has_news(&self) -> bool {
        self.passed < self.text.len()
    }

    fn pass(&mut self) {
        let Some(piece) = self.text.get(self.passed..).filter(|piece| !piece.is_empty()) else { return };
        self.service.hub().pass(&Delta {
            thread_id: self.turn.thread_id,
            message_id: self.turn.answer_id,
            reply_to: self.turn.message_id,
            attempt: self.attempt,
            offset: self.passed,
            text: piece.to_owned(),
        });
        self.passed = self.text.len();
    }
}
