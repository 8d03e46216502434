//! The deadline of the call that a task works for. Every statement ends by it, and so does the work behind it.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::Error;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `future` with this deadline for all its statements. Not an `async fn`, which would keep room for it twice.
pub fn within<F: Future>(deadline: Instant, future: F) -> impl Future<Output = F::Output> {
    DEADLINE.scope(deadline, future)
}

/// How long the call may still take; `None` when it has no deadline.
#[must_use]
pub fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// Runs one statement, at most until the deadline.
pub(super) async fn bound<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    match DEADLINE.try_get() {
        Ok(deadline) => match tokio::time::timeout_at(deadline, statement).await {
            Ok(done) => done.map_err(Error::from),
            Err(_) => Err(Error::Timeout),
        },
        Err(_) => statement.await.map_err(Error::from),
    }
}
