//! What has had its time is deleted or ended, a little at a time.
//!
//! Every node does it; two at once delete the same rows once.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::World;
use crate::db::{self, Db, Scope};
use crate::{auth, chat, idempotency, payments};

/// How often the tables are looked at.
const EVERY: Duration = Duration::from_secs(600);
/// How many rows one transaction deletes, so that nobody waits long for the writer.
const ROWS_MAX: i64 = 1_000;
/// How many messages one transaction goes through: each has many rows.
const MESSAGES_MAX: i64 = 100;

/// What is deleted, and how.
#[derive(Clone)]
pub(super) struct Maintenance {
    db: Db,
    world: World,
    auth: Arc<auth::Service>,
    chat: Arc<chat::Service>,
    payments: Arc<payments::Service>,
}

impl Maintenance {
    pub(super) const fn new(
        db: Db,
        world: World,
        auth: Arc<auth::Service>,
        chat: Arc<chat::Service>,
        payments: Arc<payments::Service>,
    ) -> Self {
        Self { db, world, auth, chat, payments }
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "what has had its time was not deleted");
            }
            if let Err(error) = self.end_payments().await {
                tracing::warn!(%error, "payments that were not heard of were not ended");
            }
            if let Err(error) = self.payments.push_reconciliation().await {
                tracing::warn!(error = %error.chain(), "the daily reconciliation was not pushed");
            }
            if let Err(error) = self.keep_methods().await {
                tracing::warn!(%error, "stored cards were not looked after");
            }
            if let Err(error) = self.expire_attachments().await {
                tracing::warn!(error = %error.chain(), "files that were not sent were not removed");
            }
            if let Err(error) = self.keep_conversations().await {
                tracing::warn!(%error, "conversations were not looked after");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn sweep(&self) -> Result<(), auth::Error> {
        while self.prune_answers().await? >= ROWS_MAX.unsigned_abs() {}
        while self.prune_assertions().await? >= ROWS_MAX.unsigned_abs() {}
        while self.forget_strangers().await? >= ROWS_MAX.unsigned_abs() {}
        while self.auth.prune_guesses(ROWS_MAX).await? >= ROWS_MAX.unsigned_abs() {}
        while self.auth.prune(ROWS_MAX).await? >= ROWS_MAX.unsigned_abs() {}
        while self.payments.prune_answers(ROWS_MAX).await? >= ROWS_MAX.unsigned_abs() {}
        Ok(())
    }

    async fn end_payments(&self) -> Result<(), payments::Error> {
        while self.payments.expire(ROWS_MAX).await? >= ROWS_MAX.unsigned_abs() {}
        Ok(())
    }

    async fn expire_attachments(&self) -> Result<(), db::Error> {
        while self.chat.expire_attachments(ROWS_MAX).await? >= ROWS_MAX.unsigned_abs() {}
        Ok(())
    }

    async fn keep_methods(&self) -> Result<(), payments::Error> {
        while self.payments.keep_methods(ROWS_MAX).await? >= ROWS_MAX.unsigned_abs() {}
        Ok(())
    }

    async fn keep_conversations(&self) -> Result<(), chat::Error> {
        while self.chat.make_searchable(MESSAGES_MAX).await? >= MESSAGES_MAX.unsigned_abs() {}
        self.chat.forget_outdated().await?;
        Ok(())
    }

    async fn prune_assertions(&self) -> Result<u64, db::Error> {
        // Kept for longer than they are needed: another node's clock may be behind.
        let expired = self.world.now().minus(EVERY);
        let mut tx = self.db.begin(Scope::System("maintenance")).await?;
        let deleted = auth::store::service_account::prune_assertions(&mut tx, expired, ROWS_MAX).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    async fn forget_strangers(&self) -> Result<u64, db::Error> {
        let mut tx = self.db.begin(Scope::System("maintenance")).await?;
        let forgotten = self.auth.audit().forget_strangers(&mut tx, ROWS_MAX).await?;
        tx.commit().await?;
        Ok(forgotten)
    }

    async fn prune_answers(&self) -> Result<u64, db::Error> {
        let mut tx = self.db.begin(Scope::System("maintenance")).await?;
        let deleted = idempotency::prune(&mut tx, &self.world, ROWS_MAX).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}
