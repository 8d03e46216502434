//! Taking back all that a person wrote, one message at a time: somebody who wrote much must not hold anybody up.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::Error;
use super::model::{Actor, Change, MessageId, ThreadId};
use super::removal::HELD_PAUSE;
use super::service::{Service, not_held};
use super::store;
use crate::base::{AccountId, Fault as _, OrganizationId};
use crate::db::Scope;
use crate::jobs::{Failure, Job};

/// How many messages are looked up at a time.
const MESSAGES_AT_ONCE: i64 = 100;
const SCOPE: Scope = Scope::System("chat.erase_messages");

/// A person's messages are to be erased.
#[derive(Debug, Serialize, Deserialize)]
pub struct EraseMessages {
    /// Whose.
    pub account_id: AccountId,
}

impl Job for EraseMessages {
    const KIND: &'static str = "chat.erase_messages";
    const ATTEMPTS_MAX: u32 = 10;
}

impl Service {
    /// Takes back every message of a person that is there. What was done before is not done again, so that the job may
    /// be repeated.
    pub(super) async fn erase_messages(&self, job: EraseMessages) -> Result<(), Failure> {
        let mut after = MessageId::from_uuid(Uuid::nil());
        let mut held = false;
        loop {
            let found = {
                let mut conn = self.db().conn(SCOPE).await?;
                store::messages_of(&mut conn, job.account_id, after, MESSAGES_AT_ONCE).await?
            };
            let Some((_, _, last)) = found.last() else { break };
            after = *last;
            for place in found {
                match self.erase(job.account_id, place).await {
                    Ok(()) => {}
                    Err(Error::LegalHold) => held = true,
                    Err(error) => return Err(Failure::retry(format!("{}: {error}", error.reason().name))),
                }
            }
        }
        // What is held goes when the hold ends.
        if held { Err(Failure::postpone(HELD_PAUSE, Error::LegalHold)) } else { Ok(()) }
    }

    /// Takes one back, as if its author did. Of a thread that was deleted nothing is left before long.
    async fn erase(
        &self,
        author: AccountId,
        (home, thread_id, message_id): (OrganizationId, ThreadId, MessageId),
    ) -> Result<(), Error> {
        let mut tx = self.db().begin(Scope::Organization(home)).await?;
        let thread = store::advance(&mut tx, home, thread_id, self.world().now()).await?;
        let message = store::message(&mut tx, home, message_id).await?;
        let Some((thread, message)) = thread.zip(message.filter(|message| message.deleted_at.is_none()))
        else {
            return Ok(());
        };
        not_held(&mut tx, home, self.world().now()).await?;
        self.withdraw(&mut tx, home, message).await?;
        let change = Change::MessageDeleted { message_id };
        self.note(&mut tx, &thread, Actor::Account(author), change)?;
        self.end_turn_of(&mut tx, &thread, message_id).await?;
        Ok(tx.commit().await?)
    }
}
