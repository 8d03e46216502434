//! The calls of a turn: which tools an agent may use, the journal of what it calls, and the calls themselves.
//!
//! A round is journalled before any of its calls is made, and a call's outcome together with the event of it. So a
//! crash between any two lines replays: rounds that are journalled are not asked of the model again, calls that have
//! ended are not made again, and one that has not ended is made again with its key, which tools keep from acting twice.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::{Stop, advance};
use crate::ai::tool::{SideEffect, ToolError, Use};
use crate::ai::{self, Prompt, Tool, ToolResult, ToolSpec};
use crate::auth::Caller;
use crate::base::AccountId;
use crate::chat::error::Error;
use crate::chat::model::tools::{self, Call, Outcome, Problem, Round, ToolUse};
use crate::chat::model::{Actor, Change, Event};
use crate::chat::service::{PLACEMENT, Service};
use crate::chat::store::{self, Turn, TurnState};
use crate::db::{Conn, Scope};
use crate::jobs::Lease;
use crate::market::InstalledAgent;

/// What a turn rests on, as it is at this moment.
pub(super) struct Standing {
    /// The agent that answers.
    pub(super) agent: InstalledAgent,
    /// Whoever wrote the message.
    pub(super) asker: AccountId,
    /// Whether they may still write in the thread.
    pub(super) member: bool,
}

/// Whether an agent may use a tool.
enum Grant {
    Run(Arc<dyn Tool>),
    Refused(Outcome),
}

impl Service {
    /// What a turn rests on.
    ///
    /// # Errors
    /// When the turn has ended, or cannot be answered any more.
    pub(super) async fn standing(&self, conn: &mut impl Conn, turn: &Turn) -> Result<Standing, Stop> {
        let home = turn.organization_id;
        let current = store::turn(conn, home, turn.message_id).await?;
        current.filter(|turn| turn.state == TurnState::Pending).ok_or(Stop::Ended)?;
        let agent = crate::market::store::installed(conn, home, turn.listing_id).await?;
        let mut agent = agent.ok_or(Stop::GiveUp(super::TurnFailure::NotInstalled))?;
        // What it may use elsewhere is not there for it.
        let placement = store::placement(conn, home, turn.thread_id).await?;
        agent.tools.retain(|tool| tool.is_used_in(placement.as_deref().unwrap_or(PLACEMENT)));
        let asked = store::message(conn, home, turn.message_id).await?.ok_or(Error::MessageNotFound)?;
        let Actor::Account(asker) = asked.author else { return Err(Error::MessageNotFound.into()) };
        // Nothing is done in the name of somebody who is kept out, and why is nobody's business in the thread.
        if !crate::auth::access::account_stands(conn, asker).await? {
            return Err(Stop::GiveUp(super::TurnFailure::Unavailable));
        }
        let of_organization = crate::auth::access::is_member(conn, home, asker).await?;
        let of_thread = store::threads_of_member(conn, home, asker, &[turn.thread_id]).await?;
        Ok(Standing { agent, asker, member: of_organization && !of_thread.is_empty() })
    }

    /// The tools that the model is told of: those that the agent's manifest names and the platform has.
    pub(super) fn offered(&self, agent: &InstalledAgent) -> Vec<ToolSpec> {
        let named = agent.tools.iter().filter_map(|named| self.tools().get(&named.name));
        named.filter(|tool| is_granted(agent, &***tool)).map(|tool| tool.spec()).collect()
    }

    /// Journals a round, so that it is carried out whatever happens, and returns it as it is journalled: another
    /// attempt may have been first.
    pub(super) async fn enter(&self, turn: &Turn, round: Round) -> Result<Round, Stop> {
        let now = self.world().now();
        let mut tx = self.db().begin(Scope::Organization(turn.organization_id)).await?;
        // The thread first and then the turn, as where a turn ends.
        let mut events = Vec::new();
        for call in &round.calls {
            if let Some(outcome) = &call.outcome {
                let seq = advance(self, &mut tx, turn).await?;
                events.push(self.told(turn, round.number, call, outcome.clone(), seq));
            }
        }
        let current = store::lock_turn(&mut tx, turn.organization_id, turn.message_id).await?;
        current.filter(|turn| turn.state == TurnState::Pending).ok_or(Stop::Ended)?;
        if store::insert_round(&mut tx, turn, &round, now).await? {
            for event in events {
                self.record(&mut tx, turn.organization_id, event)?;
            }
            tx.commit().await?;
            return Ok(round);
        }
        drop(tx);
        let number = round.number;
        let journal = self.journal(turn).await?;
        Ok(journal.into_iter().find(|entered| entered.number == number).ok_or(Error::MessageNotFound)?)
    }

    /// What is journalled of a turn.
    pub(super) async fn journal(&self, turn: &Turn) -> Result<Vec<Round>, Stop> {
        let mut conn = self.db().conn(Scope::Organization(turn.organization_id)).await?;
        Ok(store::rounds(&mut conn, turn.organization_id, turn.message_id).await?)
    }

    /// Makes those calls of a journalled round that have not ended, and adds the round to what the model is shown.
    pub(super) async fn carry_out(
        &self,
        turn: &Turn,
        round: Round,
        lease: &Lease,
        prompt: &mut Prompt,
    ) -> Result<(), Stop> {
        let mut results = Vec::new();
        for call in &round.calls {
            let outcome = match &call.outcome {
                Some(outcome) => outcome.clone(),
                None => self.make(turn, round.number, call, lease).await?,
            };
            let (content, is_error) = outcome.content();
            results.push(ToolResult {
                call_id: call.wanted.id.clone(),
                name: call.wanted.name.clone(),
                content: content.to_owned(),
                is_error,
            });
        }
        let calls = round.calls.into_iter().map(|call| call.wanted).collect();
        prompt.turns.push(ai::Turn::Assistant { text: round.text, calls });
        prompt.turns.push(ai::Turn::Results(results));
        Ok(())
    }

    /// Makes a call and journals what came of it.
    async fn make(&self, turn: &Turn, round: i64, call: &Call, lease: &Lease) -> Result<Outcome, Stop> {
        let mut conn = self.db().conn(Scope::Organization(turn.organization_id)).await?;
        // Asked before each call: the agent, or whoever it acts for, may have gone since the last.
        let standing = self.standing(&mut conn, turn).await?;
        drop(conn);
        let outcome = match self.grant(turn, &standing, &call.wanted.name) {
            Grant::Refused(outcome) => outcome,
            Grant::Run(tool) => {
                let caller = self.auth().on_behalf_of(standing.asker, turn.message_id.to_string()).await?;
                let wanted = Use {
                    organization_id: turn.organization_id,
                    key: tools::key(turn.message_id, round, call.position),
                    arguments: call.wanted.arguments.clone(),
                };
                self.run_tool(&*tool, &caller, &wanted, lease).await?
            }
        };
        self.end(turn, round, call, outcome).await
    }

    async fn run_tool(
        &self,
        tool: &dyn Tool,
        caller: &Caller,
        wanted: &Use,
        lease: &Lease,
    ) -> Result<Outcome, Stop> {
        let limits = &self.options().turn.tools;
        // The call stands inside: a tool may panic before it has made its future.
        let work = AssertUnwindSafe(async { tool.call(caller, wanted).await }).catch_unwind();
        let cause = match timeout(limits.call_timeout, work).await {
            Ok(Ok(Ok(value))) => return Ok(within(value.to_string(), limits)),
            Ok(Ok(Err(ToolError::Refused { reason, message, violations }))) => {
                return Ok(Outcome::Refused(Problem::new(reason, &message, &violations)));
            }
            Ok(Ok(Err(ToolError::Failed(cause)))) => cause,
            Ok(Err(_)) => "the tool panicked".into(),
            Err(elapsed) => elapsed.into(),
        };
        if !lease.last {
            return Err(Stop::Tool(cause));
        }
        tracing::warn!(cause = ?cause, "a tool's call is given up");
        let message =
            "The tool could not be used. Whether it did anything is not known; look before trying again.";
        Ok(Outcome::Failed(Problem::new("TOOL_UNAVAILABLE", message, &[])))
    }

    /// Journals what came of a call, with the event of it; returns what is journalled: another attempt may have been
    /// first.
    async fn end(&self, turn: &Turn, round: i64, call: &Call, outcome: Outcome) -> Result<Outcome, Stop> {
        let now = self.world().now();
        let mut tx = self.db().begin(Scope::Organization(turn.organization_id)).await?;
        let seq = advance(self, &mut tx, turn).await?;
        let current = store::turn(&mut tx, turn.organization_id, turn.message_id).await?;
        current.filter(|turn| turn.state == TurnState::Pending).ok_or(Stop::Ended)?;
        if store::end_call(&mut tx, turn, (round, call.position), &outcome, now).await? {
            let event = self.told(turn, round, call, outcome.clone(), seq);
            self.record(&mut tx, turn.organization_id, event)?;
            tx.commit().await?;
            return Ok(outcome);
        }
        drop(tx); // and with it the position taken
        let journal = self.journal(turn).await?;
        let entered = journal.into_iter().filter(|entered| entered.number == round);
        let ended = entered.flat_map(|entered| entered.calls).find(|ended| ended.position == call.position);
        Ok(ended.and_then(|ended| ended.outcome).ok_or(Error::MessageNotFound)?)
    }

    fn told(&self, turn: &Turn, round: i64, call: &Call, outcome: Outcome, seq: i64) -> Event {
        Event {
            thread_id: turn.thread_id,
            seq,
            actor: Actor::Agent(turn.listing_id),
            at: self.world().now(),
            change: Change::AgentToolCalled(ToolUse {
                message_id: turn.message_id,
                round,
                position: call.position,
                tool: call.wanted.name.clone(),
                arguments: call.wanted.arguments.clone(),
                outcome,
            }),
        }
    }

    fn grant(&self, turn: &Turn, standing: &Standing, name: &str) -> Grant {
        let agent = &standing.agent;
        if turn.by_program {
            // Else whoever holds a key for messages could have done by an agent what the key is not good for.
            let message = "A program wrote the message, and agents use no tools for programs.";
            return Grant::Refused(Outcome::refused("TOOL_NOT_GRANTED", message));
        }
        let named = agent.tools.iter().find(|named| named.name == name);
        let (Some(named), Some(tool)) = (named, self.tools().get(name)) else {
            let offered: Vec<String> = self.offered(agent).into_iter().map(|tool| tool.name).collect();
            let message = format!("There is no such tool here. There is: {}.", offered.join(", "));
            return Grant::Refused(Outcome::refused("TOOL_UNKNOWN", message));
        };
        if !is_granted(agent, &**tool) {
            let message = "The organisation has not granted the agent what this tool needs.";
            return Grant::Refused(Outcome::refused("TOOL_NOT_GRANTED", message));
        }
        if named.approval_required || tool.side_effect() == SideEffect::Write {
            let message = "A person must approve each use of this tool, which cannot be done here yet. Tell the \
                           person what you would have done, so that they can do it themselves.";
            return Grant::Refused(Outcome::refused("TOOL_APPROVAL_REQUIRED", message));
        }
        if !standing.member {
            let message = "Whoever asked is no longer a member of the thread and its organisation.";
            return Grant::Refused(Outcome::refused("ASKER_NOT_A_MEMBER", message));
        }
        Grant::Run(Arc::clone(tool))
    }
}

fn is_granted(agent: &InstalledAgent, tool: &dyn Tool) -> bool {
    agent.permissions.scopes.iter().any(|scope| scope == tool.scope())
}

fn within(content: String, limits: &tools::Limits) -> Outcome {
    let most = limits.result_bytes_max;
    if content.len() <= most {
        return Outcome::Result(content);
    }
    let message = format!("The tool was used, but its result has more than {most} bytes. Ask it for less.");
    Outcome::Failed(Problem::new("TOOL_RESULT_TOO_LONG", &message, &[]))
}
