//! Gives entries their places in the chain, and signs the end of each batch.
//!
//! It runs on every node. Whoever locks the end of the chain first seals what waits; the others find less to do. What
//! an entry is was fixed when it was written: here only its digest is looked at. A batch is one transaction, so that a
//! node that dies in between leaves nothing behind.

use tokio_util::sync::CancellationToken;

use super::model::chain::KIND;
use super::model::event::EventId;
use super::{Log, Options, SCOPE, store};
use crate::chain::{self, Seal};
use crate::db::{self, Db};

/// How many entries one batch has at most. On PostgreSQL each is four values of at most 65,535 in a statement.
const BATCH_MAX: i64 = 1_000;
const BEFORE_ALL: EventId = EventId::from_uuid(uuid::Uuid::nil());

/// Seals what the log holds, and writes what it was told of refusals.
#[derive(Clone)]
pub struct Sealer {
    db: Db,
    log: Log,
}

impl Sealer {
    /// A sealer for this log.
    #[must_use]
    pub const fn new(db: Db, log: Log) -> Self {
        Self { db, log }
    }

    /// Works until `stop`.
    pub async fn run(&self, options: Options, stop: CancellationToken) {
        chain::run(options, stop, "the audit log", || self.run_due()).await;
    }

    /// Writes the refusals whose window is over, and seals all that waits; tells how many entries were sealed.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn run_due(&self) -> Result<usize, db::Error> {
        self.log.flush(&self.db, false).await?;
        chain::seal_all(|| self.seal()).await
    }

    /// Writes all refusals, also those whose window is not over, and seals all that waits. For the end of a process.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn finish(&self) -> Result<usize, db::Error> {
        self.log.flush(&self.db, true).await?;
        chain::seal_all(|| self.seal()).await
    }

    /// Seals one batch; tells how many entries it has.
    async fn seal(&self) -> Result<usize, db::Error> {
        {
            // Most of the time nothing waits, and nobody is to wait for the writer then.
            let mut conn = self.db.conn(SCOPE).await?;
            if !store::chain::is_waiting(&mut conn).await? {
                return Ok(0);
            }
        }
        let mut tx = self.db.begin(SCOPE).await?;
        let end = store::chain::lock(&mut tx).await?;
        let mut hash: [u8; 32] = end.hash.try_into().map_err(|_| db::Error::Failed)?;
        let mut seals = Vec::new();
        let waiting = store::chain::waiting_after(&mut tx, BEFORE_ALL, BATCH_MAX).await?;
        for ((event_id, digest), position) in waiting.into_iter().zip(end.position.saturating_add(1)..) {
            hash = KIND.link(&hash, position, &digest);
            seals.push(Seal { position, id: event_id.uuid(), digest, hash: hash.to_vec() });
        }
        let Some(last) = seals.last() else { return Ok(0) };
        let head = self.log.inner.heads.sign(end.position, last.position, hash, self.log.inner.world.now());
        store::chain::append(&mut tx, &seals, &head).await?;
        tx.commit().await?;
        Ok(seals.len())
    }
}
