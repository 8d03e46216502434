//! What has had its time is deleted, a little at a time.
//!
//! Every node does it; two at once delete the same rows once.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::auth;
use crate::base::World;
use crate::db::{self, Db, Scope};
use crate::idempotency;

/// How often the tables are looked at.
const EVERY: Duration = Duration::from_secs(600);
/// How many rows one transaction deletes, so that nobody waits long for the writer.
const ROWS_MAX: i64 = 1_000;

pub(super) async fn run(db: Db, world: World, auth: Arc<auth::Service>, stop: CancellationToken) {
    loop {
        if let Err(error) = sweep(&db, &world).await {
            tracing::warn!(error = %error.chain(), "what has had its time was not deleted");
        }
        if let Err(error) = sweep_auth(&auth).await {
            tracing::warn!(%error, "sessions and invitations that have had their time were not deleted");
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
        let deleted = idempotency::prune(&mut tx, world, ROWS_MAX).await?;
        tx.commit().await?;
        if deleted < ROWS_MAX.unsigned_abs() {
            return Ok(());
        }
    }
}

async fn sweep_auth(auth: &auth::Service) -> Result<(), auth::Error> {
    while auth.prune(ROWS_MAX).await? >= ROWS_MAX.unsigned_abs() {}
    Ok(())
}
