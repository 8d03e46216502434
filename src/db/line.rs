//! The line of those who wait for a connection, which is bounded: whoever would come too late is told so at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Error;

/// The line before one set of connections.
pub(super) struct Line {
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// A place in the line; free again when it is dropped.
struct Place<'a>(&'a Line);

impl Line {
    pub(super) const fn new(waiting_max: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), waiting_max }
    }

    /// Waits for a connection in the line.
    ///
    /// # Errors
    /// [`Error::Unavailable`] at once when the line is full.
    pub(super) async fn wait<T, E: Into<Error>>(
        &self,
        connection: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = Place(self);
        if before >= self.waiting_max {
            return Err(Error::Unavailable(sqlx::Error::PoolTimedOut));
        }
        connection.await.map_err(Into::into)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn whoever_finds_the_line_full_is_told_so_and_a_place_is_free_again() {
        let line = Line::new(1);
        let mut waits = Box::pin(line.wait(pending::<Result<(), Error>>()));
        assert!(waits.as_mut().now_or_never().is_none());
        let refused = line.wait(ready(Ok::<(), Error>(()))).now_or_never();
        assert!(matches!(refused, Some(Err(Error::Unavailable(_)))));
        drop(waits);
        assert!(matches!(line.wait(ready(Ok::<(), Error>(()))).now_or_never(), Some(Ok(()))));
        assert_eq!(line.waiting.load(Ordering::Relaxed), 0);
    }
}
