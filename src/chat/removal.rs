//! Removing what is left of a thread that was deleted, some at a time: a long thread must not hold its database up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::model::ThreadId;
use super::service::{Service, not_held};
use super::store;
use crate::base::{Fault as _, OrganizationId};
use crate::db::Scope;
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
        match self.remove_all(&job).await {
            Err(Error::LegalHold) => Err(Failure::postpone(HELD_PAUSE, Error::LegalHold)),
            Err(error) => Err(Failure::retry(format!("{}: {error}", error.reason().name))),
            Ok(()) => Ok(()),
        }
    }

    async fn remove_all(&self, job: &RemoveThread) -> Result<(), Error> {
        // The files first: what they went with is how they are found.
        while self.take_attachments(job.organization_id, job.thread_id).await? {}
        while self.remove_some(job).await? {}
        Ok(())
    }

    /// Whether there is more to remove.
    async fn remove_some(&self, job: &RemoveThread) -> Result<bool, Error> {
        let mut tx = self.db().begin(Scope::Organization(job.organization_id)).await?;
        not_held(&mut tx, job.organization_id, self.world().now()).await?;
        let removed = store::remove_some(&mut tx, job.organization_id, job.thread_id, ROWS_AT_ONCE).await?;
        tx.commit().await?;
        Ok(removed)
    }
}
