//! What calls say of streams, whichever node these are on, and of presence.

use uuid::Uuid;

use super::{Service, store};
use crate::auth::Caller;
use crate::base::{AccountId, Secret, Timestamp};
use crate::chat::error::Error;
use crate::chat::hub::{Inbox, Registration};
use crate::chat::model::ConnectionId;
use crate::chat::model::frame::Fleeting;
use crate::chat::model::presence::{CHANGES_MAX, PresenceSaid, SubscriptionChange};
use crate::db::Scope;

const SCOPE: Scope = Scope::System("chat.connections");

/// What a stream may count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Until when it is open without another word.
    pub until: Timestamp,
    /// Until when its token is good.
    pub token_until: Option<Timestamp>,
    /// The time.
    pub at: Timestamp,
}

impl Service {
    /// Says that a stream's client is there, and has it go on with the caller's token. Whoever says so once has to go
    /// on saying so.
    pub async fn keep_alive(&self, caller: &Caller, connection: ConnectionId) -> Result<Kept, Error> {
        let now = self.world.now();
        let mut tx = self.db.begin(SCOPE).await?;
        let found = store::lock_connection(&mut tx, connection, credential(caller)?, now).await?;
        let token_until = found.ok_or(Error::ConnectionNotFound)?.max(caller.expires_at);
        let until = now.plus(self.options.lease);
        store::keep_connection(&mut tx, connection, until, token_until).await?;
        tx.commit().await?;
        Ok(Kept { until, token_until, at: now })
    }

    /// Changes what a stream tells.
    pub async fn update_subscription(
        &self,
        caller: &Caller,
        connection: ConnectionId,
        change: &SubscriptionChange,
    ) -> Result<(), Error> {
        // Said here, where it can be said: a stream has no answer to a call.
        let followed = change.follow.iter().map(|wish| wish.thread_id);
        for thread_id in followed.chain(change.forget.iter().copied()) {
            self.open(caller, thread_id).await?;
        }
        if let Some(accounts) = &change.watch {
            self.check_watched(caller, accounts).await?;
        }
        let mut tx = self.db.begin(SCOPE).await?;
        let found =
            store::lock_connection(&mut tx, connection, credential(caller)?, self.world.now()).await?;
        found.ok_or(Error::ConnectionNotFound)?;
        if store::count_changes(&mut tx, connection).await? >= CHANGES_MAX {
            return Err(Error::TooManyChanges);
        }
        store::insert_change(&mut tx, connection, change).await?;
        let hub = std::sync::Arc::clone(&self.hub);
        tx.after_commit(move || hub.pass(&Fleeting::Change { connection_id: connection }));
        Ok(tx.commit().await?)
    }

    /// Notes what the caller says of their presence, and has it told soon.
    pub async fn set_presence(&self, caller: &Caller, said: PresenceSaid) -> Result<(), Error> {
        let account = caller.account()?;
        let mut tx = self.db.begin(SCOPE).await?;
        if let Some((connection, idle)) = said.device {
            let found =
                store::lock_connection(&mut tx, connection, credential(caller)?, self.world.now()).await?;
            found.ok_or(Error::ConnectionNotFound)?;
            store::set_idle(&mut tx, connection, idle).await?;
        }
        if let Some(mode) = said.mode {
            store::set_presence_mode(&mut tx, account, mode).await?;
        }
        self.hint_presence(&mut tx, [account].into());
        Ok(tx.commit().await?)
    }

    /// Has a stream go on with another token of the same session.
    pub(in crate::chat) async fn reauthenticate(
        &self,
        caller: &Caller,
        stream: &Inbox,
        token: &Secret<String>,
    ) -> Result<(), Error> {
        let other = self.outside.auth.authenticate(token.expose(), caller.origin.clone()).await?;
        if credential(&other)? != credential(caller)? {
            return Err(Error::OtherSession);
        }
        stream.extend(other.expires_at);
        Ok(())
    }

    /// Takes what calls have left to change about a stream.
    pub(in crate::chat) async fn take_changes(
        &self,
        registration: &Registration,
    ) -> Result<Vec<SubscriptionChange>, Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let changes = store::take_changes(&mut tx, registration.id()).await?;
        tx.commit().await?;
        Ok(changes)
    }
}

/// Who calls, and with which session or API key. A call names those streams that were opened with the same: what one
/// program may do is nothing that another of the same person's may.
fn credential(caller: &Caller) -> Result<(AccountId, Uuid), Error> {
    Ok((caller.account()?, caller.credential()?))
}
