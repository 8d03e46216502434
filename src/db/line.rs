//! The line of those who wait for a connection, which is bounded: whoever would come too late is told so at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Error;

/// The line before one set of connections.
pub(super) struct Line {
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// A place in the line; free again when it is dropped.
pub(super) struct Place<'a>(&'a Line);

impl Line {
    pub(super) const fn new(waiting_max: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), waiting_max }
    }

    /// Takes a place, to be held while waiting for a connection.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the line is full.
    pub(super) fn enter(&self) -> Result<Place<'_>, Error> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(self);
        if before < self.waiting_max { Ok(place) } else { Err(Error::Unavailable(sqlx::Error::PoolTimedOut)) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_finds_the_line_full_is_told_so_and_a_place_is_free_again() {
        let line = Line::new(2);
        let (first, second) = (line.enter().unwrap(), line.enter().unwrap());
        assert!(matches!(line.enter(), Err(Error::Unavailable(_))));
        drop(first);
        let third = line.enter().unwrap();
        assert!(line.enter().is_err());
        drop((second, third));
        assert_eq!(line.waiting.load(Ordering::Relaxed), 0);
    }
}
