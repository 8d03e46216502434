//! Counting guesses at secrets, before anything is made of them.

use crate::auth::guess::{Count, Keys};
use crate::auth::{Caller, Error, store};
use crate::db::{Scope, Tx};

use super::Service;

const SCOPE: Scope = Scope::System("guesses");

impl Service {
    /// Counts a guess at a secret of `target`, an address or an account's id. In a transaction of its own, for a guess
    /// counts whatever becomes of it.
    ///
    /// # Errors
    /// [`Error::GuessDelayed`] when it comes too early.
    pub(super) async fn count_guess(&self, caller: &Caller, target: &str) -> Result<Keys, Error> {
        let (keys, now) = (self.guesses.keys(target, caller.origin.peer), self.world.now());
        let mut tx = self.db.begin(SCOPE).await?;
        let (mut network, mut strangers) = store::guess::lock(&mut tx, &keys, now).await?;
        let before = strangers;
        self.guesses.take(&mut network, &mut strangers, now)?;
        store::guess::put(&mut tx, keys.network, &network).await?;
        if strangers != before {
            store::guess::put(&mut tx, keys.strangers, &strangers).await?;
        }
        tx.commit().await?;
        Ok(keys)
    }

    /// The guess was right: its network is familiar to the account, and nothing counts against it.
    pub(super) async fn guessed_right(&self, tx: &mut Tx, keys: &Keys) -> Result<(), Error> {
        Ok(store::guess::put(tx, keys.network, &Count::right(self.world.now())).await?)
    }

    /// Deletes counts that say nothing any more, at most `limit`, and tells how many.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn prune_guesses(&self, limit: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let deleted = store::guess::prune(&mut tx, self.world.now(), limit).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}
