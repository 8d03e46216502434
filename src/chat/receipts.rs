//! Telling how far people have read: one event for all who read within a while, so that a thread of a thousand readers
//! is no more news than one of two.
//!
//! A mark is a number beside a membership, and so is how much of it was told. Every node looks at fixed intervals
//! where the two differ. Several may find the same: the thread's lock lets one of them tell, and the others find
//! nothing left.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::Error;
use super::model::member::ReadPosition;
use super::model::{Actor, Change, Event, ThreadId};
use super::service::Service;
use super::store;
use crate::base::OrganizationId;
use crate::db::Scope;

/// Before all threads.
const FIRST: ThreadId = ThreadId::from_uuid(Uuid::nil());
/// How many marks one event tells.
const POSITIONS_MAX: i64 = 200;
/// How many threads one look finds. What is left waits for the next.
const THREADS_MAX: i64 = 500;

/// Where the next look begins.
#[derive(Debug)]
pub(super) struct Place(Mutex<ThreadId>);

impl Default for Place {
    fn default() -> Self {
        Self(Mutex::new(FIRST))
    }
}

impl Place {
    fn get(&self) -> ThreadId {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, after: ThreadId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = after;
    }
}

impl Service {
    /// Looks at fixed intervals, until `stop`.
    pub(super) async fn watch_receipts(&self, stop: &CancellationToken) {
        let _stopped = stop
            .run_until_cancelled(async {
                loop {
                    tokio::time::sleep(self.options().receipts_every).await;
                    if let Err(error) = self.tell_receipts().await {
                        tracing::debug!(%error, "how far people have read cannot be told");
                    }
                }
            })
            .await;
    }

    /// Tells how far people have read since it was last told.
    ///
    /// # Errors
    /// When it cannot be found out where. A thread in which it cannot be told waits for the next look.
    pub async fn tell_receipts(&self) -> Result<(), Error> {
        let after = self.receipts_place().get();
        let untold = {
            let mut conn = self.db().conn(Scope::System("chat.receipts")).await?;
            store::untold_receipts(&mut conn, after, THREADS_MAX).await?
        };
        // The next look goes on behind these, so that a crowd of old threads does not keep the newest waiting for ever.
        let full = untold.len() >= usize::try_from(THREADS_MAX).unwrap_or(usize::MAX);
        let last = untold.last().filter(|_| full).map(|(_, thread_id)| *thread_id);
        self.receipts_place().set(last.unwrap_or(FIRST));
        for (home, thread_id) in untold {
            if let Err(error) = self.tell_receipts_of(home, thread_id).await {
                tracing::debug!(%error, thread = %thread_id, "how far people have read cannot be told");
            }
        }
        Ok(())
    }

    async fn tell_receipts_of(&self, home: OrganizationId, thread_id: ThreadId) -> Result<(), Error> {
        let mut tx = self.db().begin(Scope::Organization(home)).await?;
        let (members, _) = store::count_members(&mut tx, home, thread_id).await?;
        if members <= 1 {
            // There is nobody to be told.
            store::take_receipts(&mut tx, home, thread_id, POSITIONS_MAX).await?;
            return Ok(tx.commit().await?);
        }
        let Some(seq) = store::advance_quietly(&mut tx, home, thread_id).await? else { return Ok(()) };
        let positions = store::take_receipts(&mut tx, home, thread_id, POSITIONS_MAX).await?;
        // Another node was first; the position taken is dropped with the transaction.
        let Some(ReadPosition { account_id, .. }) = positions.first().copied() else { return Ok(()) };
        let event = Event {
            thread_id,
            seq,
            actor: Actor::Account(account_id),
            at: self.world().now(),
            change: Change::ReceiptsMoved { positions },
        };
        self.record(&mut tx, home, event)?;
        Ok(tx.commit().await?)
    }
}
