//! How people react to messages.

use super::Service;
use crate::auth::Caller;
use crate::chat::error::Error;
use crate::chat::model::member::REACTIONS_MAX;
use crate::chat::model::{Actor, Change, Reaction, Thread};
use crate::chat::store;
use crate::db::Tx;
use crate::idempotency::{self, Claim, RequestKey};

impl Service {
    /// Notes a reaction. Returns the position of the event; 0 when it was there before.
    pub async fn add_reaction(
        &self,
        caller: &Caller,
        reaction: Reaction,
        key: Option<&RequestKey>,
    ) -> Result<i64, Error> {
        self.react(caller, reaction, true, key).await
    }

    /// Forgets a reaction. Returns the position of the event; 0 when it was not there.
    pub async fn remove_reaction(
        &self,
        caller: &Caller,
        reaction: Reaction,
        key: Option<&RequestKey>,
    ) -> Result<i64, Error> {
        self.react(caller, reaction, false, key).await
    }

    async fn react(
        &self,
        caller: &Caller,
        reaction: Reaction,
        wanted: bool,
        key: Option<&RequestKey>,
    ) -> Result<i64, Error> {
        let place = self.locate_message(reaction.message_id).await?;
        let mut tx = self.begin_in(place.map(|(home, _)| home)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(seq) => return Ok(seq),
            Claim::New(slot) => slot,
        };
        let thread = self.write_to_message(&mut tx, caller, place).await?;
        let changed = if wanted {
            self.note_reaction(&mut tx, caller, &thread, &reaction).await?
        } else {
            store::delete_reaction(&mut tx, thread.organization_id, &reaction, caller.account()?).await?
        };
        if !changed {
            self.keep_answer(tx, caller, key, &0_i64).await?;
            return Ok(0);
        }
        let Reaction { message_id, emoji } = reaction;
        let change = if wanted {
            Change::ReactionAdded { message_id, emoji }
        } else {
            Change::ReactionRemoved { message_id, emoji }
        };
        self.note(&mut tx, &thread, Actor::Account(caller.account()?), change)?;
        slot.store(&mut tx, &thread.last_seq).await?;
        tx.commit().await?;
        Ok(thread.last_seq)
    }

    /// Whether the reaction is new.
    async fn note_reaction(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        thread: &Thread,
        reaction: &Reaction,
    ) -> Result<bool, Error> {
        let (home, account) = (thread.organization_id, caller.account()?);
        let message = store::message(tx, home, reaction.message_id).await?;
        if message.ok_or(Error::MessageNotFound)?.deleted_at.is_some() {
            return Err(Error::MessageDeleted);
        }
        if !store::insert_reaction(tx, home, reaction, account, self.world.now()).await? {
            return Ok(false);
        }
        if store::count_reactions(tx, home, reaction.message_id, account).await? > REACTIONS_MAX {
            return Err(Error::TooManyReactions);
        }
        Ok(true)
    }
}
