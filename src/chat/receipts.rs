//! Telling how far people have read: one event for all who read within a while, so that a thread of a thousand readers
//! is no more news than one of two.
//!
//! A mark is a number beside a membership, and so is how much of it was told. Every node looks at fixed intervals
//! where the two differ. Several may find the same: the thread's lock lets one of them tell, and the others find
//! nothing left.

use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::model::member::ReadPosition;
use super::model::{Actor, Change, Event, ThreadId};
use super::service::Service;
use super::store;
use crate::base::OrganizationId;
use crate::db::Scope;

/// How many marks one event tells.
const POSITIONS_MAX: i64 = 200;
/// How many threads one look finds. What is left waits for the next.
const THREADS_MAX: i64 = 500;

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
    /// What the database refuses; what was told until then stays told.
    pub async fn tell_receipts(&self) -> Result<(), Error> {
        let untold = {
            let mut conn = self.db().conn(Scope::System("chat.receipts")).await?;
            store::untold_receipts(&mut conn, THREADS_MAX).await?
        };
        for (home, thread_id) in untold {
            self.tell_receipts_of(home, thread_id).await?;
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
        self.record(&mut tx, home, event).await?;
        Ok(tx.commit().await?)
    }
}
