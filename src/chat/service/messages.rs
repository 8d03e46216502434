//! Reading messages, changing them, and taking them back.

use super::{LOCATE, Service, admitted, not_held};
use crate::auth::Caller;
use crate::base::OrganizationId;
use crate::chat::error::Error;
use crate::chat::model::member::EDITS_MAX;
use crate::chat::model::search::found_by;
use crate::chat::model::{
    Actor, Change, Edit, Message, MessageId, Thread, ThreadId, ThreadKind, TurnFailure,
};
use crate::chat::store::{self, ReactionCount, TurnState};
use crate::db::{Conn, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};

/// How many ways of reacting are told of a message.
const REACTIONS_TOLD: i64 = 100;

/// Where a message is at home.
type Place = (OrganizationId, ThreadId);

/// A message after a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The message.
    pub message: Message,
    /// The position of the event that says so; 0 when nothing changed.
    pub seq: i64,
}

/// A message and how people reacted to it.
#[derive(Clone, Debug)]
pub struct SeenMessage {
    /// The message.
    pub message: Message,
    /// The most frequent ways first.
    pub reactions: Vec<ReactionCount>,
}

impl Service {
    /// Reads a message.
    pub async fn message(&self, caller: &Caller, message_id: MessageId) -> Result<SeenMessage, Error> {
        let account = caller.account()?;
        let place = self.locate_message(message_id).await?;
        let home = place.ok_or(Error::MessageNotFound)?.0;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        let message = visible(&mut conn, caller, place, message_id).await?;
        let reactions = store::reactions(&mut conn, home, message_id, account, REACTIONS_TOLD).await?;
        Ok(SeenMessage { message, reactions })
    }

    /// Gives a message another text. Only its author may: it is signed with a name.
    pub async fn edit(
        &self,
        caller: &Caller,
        edit: Edit,
        key: Option<&RequestKey>,
    ) -> Result<Changed, Error> {
        let account = caller.account()?;
        let place = self.locate_message(edit.message_id).await?;
        let mut tx = self.begin_in(place.map(|(home, _)| home)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(seq) => {
                // As it is now: a text that is kept with a key would outlive the message.
                let message = visible(&mut tx, caller, place, edit.message_id).await?;
                return Ok(Changed { message, seq });
            }
            Claim::New(slot) => slot,
        };
        let thread = self.write_to_message(&mut tx, caller, place).await?;
        let home = thread.organization_id;
        let message = store::message(&mut tx, home, edit.message_id).await?.ok_or(Error::MessageNotFound)?;
        if message.author != Actor::Account(account) {
            return Err(Error::NotTheAuthor);
        }
        if message.deleted_at.is_some() {
            return Err(Error::MessageDeleted);
        }
        if message.text == edit.text {
            self.keep_answer(tx, caller, key, &0_i64).await?;
            return Ok(Changed { message, seq: 0 });
        }
        if store::count_edits(&mut tx, home, message.id).await? >= EDITS_MAX {
            return Err(Error::TooManyEdits);
        }
        let (seq, now) = (thread.last_seq, self.world.now());
        store::replace_text(&mut tx, home, message.id, &edit.text, now).await?;
        store::insert_edit(&mut tx, home, message.id, seq).await?;
        store::delete_words(&mut tx, home, &message, found_by(&message.text)).await?;
        let words = found_by(&edit.text);
        store::insert_words(&mut tx, home, &[(&message, &words)])?;
        let change =
            Change::MessageEdited { message_id: message.id, text: edit.text.clone(), deleted: false };
        self.note(&mut tx, &thread, Actor::Account(account), change)?;
        slot.store(&mut tx, &seq).await?;
        tx.commit().await?;
        Ok(Changed { message: Message { text: edit.text, edited_at: Some(now), ..message }, seq })
    }

    /// Takes a message back: its place stays, its texts go, also from the events of the past. Returns the position of
    /// the event; 0 when it had been deleted before.
    pub async fn delete(
        &self,
        caller: &Caller,
        message_id: MessageId,
        key: Option<&RequestKey>,
    ) -> Result<i64, Error> {
        let actor = Actor::Account(caller.account()?);
        let place = self.locate_message(message_id).await?;
        let mut tx = self.begin_in(place.map(|(home, _)| home)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(seq) => return Ok(seq),
            Claim::New(slot) => slot,
        };
        let (home, thread_id) = place.ok_or(Error::MessageNotFound)?;
        let locked = self.lock(&mut tx, caller, home, thread_id).await;
        let (thread, manages) = locked.map_err(unseen_message)?;
        let message = store::message(&mut tx, home, message_id).await?.ok_or(Error::MessageNotFound)?;
        // Between two people nobody manages the other's words.
        if message.author != actor && (!manages || thread.kind == ThreadKind::Direct) {
            return Err(Error::NotTheAuthor);
        }
        if message.deleted_at.is_some() {
            self.keep_answer(tx, caller, key, &0_i64).await?;
            return Ok(0);
        }
        not_held(&mut tx, home, self.world.now()).await?;
        self.withdraw(&mut tx, home, message).await?;
        self.note(&mut tx, &thread, actor, Change::MessageDeleted { message_id })?;
        self.end_turn_of(&mut tx, &thread, message_id).await?;
        let entry = caller.entry("chat.delete_message").of(home).on("message", message_id);
        self.outside.auth.audit().record(&mut tx, entry).await?;
        slot.store(&mut tx, &thread.last_seq).await?;
        tx.commit().await?;
        Ok(thread.last_seq)
    }

    /// Removes every text of a message, its files, and how people reacted to it.
    pub(in crate::chat) async fn withdraw(
        &self,
        tx: &mut Tx,
        home: OrganizationId,
        message: Message,
    ) -> Result<(), Error> {
        let (message_id, thread_id, seq, now) =
            (message.id, message.thread_id, message.seq, self.world.now());
        store::delete_words(tx, home, &message, found_by(&message.text)).await?;
        let change = Change::MessageEdited { message_id, text: String::new(), deleted: true };
        store::rewrite_edits(tx, home, (thread_id, message_id), &change).await?;
        let emptied = Message {
            text: String::new(),
            attachments: Vec::new(),
            edited_at: None,
            deleted_at: Some(now),
            ..message
        };
        store::rewrite_event(tx, home, thread_id, seq, &Change::MessageCreated(emptied)).await?;
        store::delete_reactions(tx, home, message_id).await?;
        store::empty_rounds(tx, home, message_id).await?;
        let taken = store::take_from_message(tx, home, message_id).await?;
        self.remove_after(tx, home, taken).await?;
        Ok(store::delete_text(tx, home, message_id, now).await?)
    }

    /// Ends the agent's turn of a message that is no longer there to be answered.
    pub(in crate::chat) async fn end_turn_of(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        message_id: MessageId,
    ) -> Result<(), Error> {
        let Some(turn) = store::turn(tx, thread.organization_id, message_id).await? else { return Ok(()) };
        if !store::end_turn(tx, &turn, TurnState::Failed, None, self.world.now()).await? {
            return Ok(());
        }
        let change = Change::AgentTurnFailed { message_id, reason: TurnFailure::MessageDeleted };
        self.note_also(tx, thread, Actor::Agent(turn.listing_id), change).await
    }

    /// Where a message is at home, if there is one.
    pub(super) async fn locate_message(&self, message_id: MessageId) -> Result<Option<Place>, Error> {
        let mut conn = self.db.conn(LOCATE).await?;
        Ok(store::home_of_message(&mut conn, message_id).await?)
    }

    /// Gives out the next position of a message's thread, to somebody who may write in it.
    pub(super) async fn write_to_message(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        place: Option<Place>,
    ) -> Result<Thread, Error> {
        let home = admitted(tx, caller, place, Error::MessageNotFound).await?;
        let (_, thread_id) = place.ok_or(Error::MessageNotFound)?;
        let changed = self.change_in(tx, home, thread_id, caller.account()?).await;
        Ok(changed.map_err(unseen_message)?.0)
    }
}

/// A message that the caller may see.
pub(super) async fn visible(
    conn: &mut impl Conn,
    caller: &Caller,
    place: Option<Place>,
    message_id: MessageId,
) -> Result<Message, Error> {
    let home = admitted(conn, caller, place, Error::MessageNotFound).await?;
    let (_, thread_id) = place.ok_or(Error::MessageNotFound)?;
    let member = store::member(conn, home, thread_id, caller.account()?).await?;
    member.ok_or(Error::MessageNotFound)?;
    store::message(conn, home, message_id).await?.ok_or(Error::MessageNotFound)
}

/// Whoever asked for a message and may not see its thread is told of the message.
fn unseen_message(error: Error) -> Error {
    if matches!(error, Error::ThreadNotFound) { Error::MessageNotFound } else { error }
}
