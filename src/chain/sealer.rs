//! When it is sealed: again and again, a little after something was written.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::db;

/// How a sealer works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long it waits between two looks; none has it look only when it is told to.
    pub every: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { every: Some(Duration::from_millis(500)) }
    }
}

/// Has `look` seal what waits, until `stop`. `what` is sealed, for the log.
pub async fn run<F>(
    options: Options,
    stop: CancellationToken,
    what: &'static str,
    look: impl Fn() -> F + Send + Sync,
) where
    F: Future<Output = Result<usize, db::Error>> + Send,
{
    let Some(every) = options.every else { return };
    let mut failing = false;
    loop {
        match look().await {
            Ok(_) => failing = false,
            // Told once: what waits is still there, and readiness tells of a database that is gone.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = %error.chain(), "{what} could not be sealed");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Seals batch after batch until nothing waits; tells how much was sealed. `batch` tells how much one had.
///
/// # Errors
/// What the database refuses.
pub async fn seal_all<F>(batch: impl Fn() -> F + Send + Sync) -> Result<usize, db::Error>
where
    F: Future<Output = Result<usize, db::Error>> + Send,
{
    let mut sealed = 0_usize;
    loop {
        let count = batch().await?;
        if count == 0 {
            return Ok(sealed);
        }
        sealed = sealed.saturating_add(count);
    }
}
