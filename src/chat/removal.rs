//! Removing what is left of a thread that was deleted, some at a time: a long thread must not hold its database up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::ThreadId;
use super::service::Service;
use super::store;
use crate::base::OrganizationId;
use crate::db::{self, Scope};
use crate::jobs::{Failure, Job};

/// How many rows of a kind one transaction removes.
const ROWS_AT_ONCE: i64 = 500;

/// How long what is held is left alone before it is looked at again.
pub(super) const HELD_PAUSE: Duration = Duration::from_hours(24);

/// A thread was deleted.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveThread {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The thread.
    pub thread_id: ThreadId,
}

impl Job for RemoveThread {
    const KIND: &'static str = "chat.remove_thread";
    const ATTEMPTS_MAX: u32 = 10;
}

impl Service {
    pub(super) async fn remove_thread(&self, job: RemoveThread) -> Result<(), Failure> {
        let held = {
            let mut conn = self.db().conn(Scope::Organization(job.organization_id)).await?;
            store::policy(&mut conn, job.organization_id).await?.is_held()
        };
        if held {
            return Err(Failure::postpone(HELD_PAUSE, "the organisation is under a legal hold"));
        }
        // The files first: what they went with is how they are found.
        while self
            .take_attachments(job.organization_id, job.thread_id)
            .await
            .map_err(|error| Failure::retry(error.chain()))?
        {}
        while self.remove_some(&job).await.map_err(Failure::retry)? {}
        Ok(())
    }

    /// Whether there is more to remove.
    async fn remove_some(&self, job: &RemoveThread) -> Result<bool, db::Error> {
        let mut tx = self.db().begin(Scope::Organization(job.organization_id)).await?;
        let removed = store::remove_some(&mut tx, job.organization_id, job.thread_id, ROWS_AT_ONCE).await?;
        tx.commit().await?;
        Ok(removed)
    }
}
