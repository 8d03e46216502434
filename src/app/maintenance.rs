//! What has had its time is deleted, a little at a time.
//!
//! Every node does it; two at once delete the same rows once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::World;
use crate::db::{self, Db, Scope};
use crate::{auth, idempotency};

/// How often the tables are looked at.
const EVERY: Duration = Duration::from_secs(600);
/// How many rows one transaction deletes, so that nobody waits long for the writer.
const ROWS_MAX: i64 = 1_000;

pub(super) async fn run(db: Db, world: World, stop: CancellationToken) {
    loop {
        if let Err(error) = sweep(&db, &world).await {
            tracing::warn!(error = %error.chain(), "what has had its time was not deleted");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn sweep(db: &Db, world: &World) -> Result<(), db::Error> {
    loop {
        let mut tx = db.begin(Scope::System("maintenance")).await?;
        let answers = idempotency::prune(&mut tx, world, ROWS_MAX).await?;
        // Kept for longer than they are needed: another node's clock may be behind.
        let expired = world.now().minus(EVERY);
        let assertions = auth::store::service_account::prune_assertions(&mut tx, expired, ROWS_MAX).await?;
        tx.commit().await?;
        if answers.max(assertions) < ROWS_MAX.unsigned_abs() {
            return Ok(());
        }
    }
}
