//! A bounded set of connections to one database, of either engine.
//!
//! Not the driver's pool, for two reasons. That one asks every connection that comes back whether it lives, a message
//! and its answer for each read; here only one on which something failed is asked. And a dropped future does not stop
//! its statement, so what is to become of the connection is decided by how its user left it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Error;
use super::line::Line;

/// How long a connection that is asked whether it lives may take.
const RESTORE_MAX: Duration = Duration::from_secs(10);

/// How long a pool that closes waits for the connections that are in use.
const RETURN_MAX: Duration = Duration::from_secs(1);

/// A connection of one engine.
pub(super) trait Link: Sized + Send + 'static {
    /// What it is opened with.
    type Options: Send + Sync + 'static;
    /// How old a connection gets. The server's memory for one grows, and an address may have come to mean another
    /// server.
    const AGE_MAX: Duration;
    /// How long a connection lies unused. A firewall forgets one that is silent for long.
    const IDLE_MAX: Duration;

    /// Opens one, by `deadline`.
    fn open(
        options: &Self::Options,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self, sqlx::Error>> + Send;

    /// Stops the statement that still runs. False when nothing but closing the connection does.
    fn interrupt(&self) -> bool;

    /// Ends what is open on it. False when it is of no more use.
    fn restore(&mut self, in_transaction: bool) -> impl Future<Output = bool> + Send;

    /// Closes it.
    fn close(self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// The connections.
pub(super) struct Pool<L: Link> {
    options: L::Options,
    size: u32,
    permits: Arc<Semaphore>,
    line: Line,
    wait_max: Duration,
    /// Those that nobody uses, the one that came back last at the end: the next caller finds the warmest.
    idle: Mutex<Vec<Idle<L>>>,
}

struct Idle<L> {
    link: L,
    opened: Instant,
    since: Instant,
}

/// A connection lent from the pool. Dropped it is closed.
pub(super) struct Lent<L: Link> {
    link: L,
    opened: Instant,
    pool: Arc<Pool<L>>,
    permit: OwnedSemaphorePermit,
}

impl<L: Link> Pool<L> {
    /// A pool of at most `size` connections. Nobody waits longer than `wait_max` for one, and not more than
    /// `waiting_max` wait.
    pub(super) fn new(options: L::Options, size: u32, wait_max: Duration, waiting_max: usize) -> Arc<Self> {
        let size = size.max(1);
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            options,
            size,
            permits,
            line: Line::new(waiting_max),
            wait_max,
            idle: Mutex::default(),
        })
    }

    /// How many connections there are at most.
    pub(super) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    /// What connections are opened with, for one that is not of the pool.
    pub(super) const fn options(&self) -> &L::Options {
        &self.options
    }

    /// Lends a connection, in the order of asking.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is free in time, or too many wait; and when none can be opened.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Lent<L>, Error> {
        let _place = self.line.enter()?;
        let deadline = Instant::now() + self.wait_max;
        let waiting = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout_at(deadline, waiting)
            .await
            .map_err(|_| Error::Unavailable(sqlx::Error::PoolTimedOut))?
            .map_err(|_| Error::Unavailable(sqlx::Error::PoolClosed))?;
        let (link, opened) = match self.warmest() {
            Some(idle) => (idle.link, idle.opened),
            // Large and rare: in a box, so that not every call carries room for it.
            None => (Box::pin(L::open(&self.options, deadline)).await?, Instant::now()),
        };
        Ok(Lent { link, opened, pool: Arc::clone(self), permit })
    }

    /// Lends no more, waits for a moment for what is lent and closes the connections.
    ///
    /// One that is being restored comes back by itself. Were it not waited for, it would be closed by the end of the
    /// process, and a SQLite file be left beside a log that is not part of it yet.
    pub(super) async fn close(&self) {
        if tokio::time::timeout(RETURN_MAX, self.permits.acquire_many(self.size)).await.is_err() {
            tracing::warn!(after = ?RETURN_MAX, "a database connection is still in use and was not waited for");
        }
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for Idle { link, .. } in idle {
            if let Err(error) = link.close().await {
                tracing::warn!(%error, "a database connection did not close cleanly");
            }
        }
    }

    fn warmest(&self) -> Option<Idle<L>> {
        let mut idle = self.idle();
        let last = idle.pop()?;
        if last.since.elapsed() <= L::IDLE_MAX {
            return Some(last);
        }
        // The others lie there even longer.
        idle.clear();
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle<L>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Link> Lent<L> {
    /// The connection itself.
    pub(super) const fn link(&mut self) -> &mut L {
        &mut self.link
    }

    /// Takes the connection back as it is.
    pub(super) fn give_back(self) {
        let Self { link, opened, pool, permit } = self;
        let mut idle = pool.idle();
        // Asked under the lock: whoever closes the pool takes the idle ones afterwards.
        if !pool.permits.is_closed() && opened.elapsed() <= L::AGE_MAX {
            if idle.first().is_some_and(|coldest| coldest.since.elapsed() > L::IDLE_MAX) {
                idle.remove(0);
            }
            idle.push(Idle { link, opened, since: Instant::now() });
        }
        drop(idle);
        // Last, so that whoever waits for it finds the connection.
        drop(permit);
    }

    /// Stops the statement that still runs. False when nothing but closing the connection does.
    pub(super) fn interrupt(&self) -> bool {
        self.link.interrupt()
    }

    /// Ends what is open on the connection and takes it back. One that cannot be restored is closed, and the idle ones
    /// with it: what broke this one has most likely broken them too, and the next callers get new ones.
    pub(super) async fn recover(mut self, in_transaction: bool) {
        // A peer that vanished does not even refuse.
        let restored = tokio::time::timeout(RESTORE_MAX, self.link.restore(in_transaction)).await;
        if restored.unwrap_or(false) {
            self.give_back();
        } else {
            tracing::warn!("a database connection was of no more use and was closed");
            self.pool.idle().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::poll;

    use super::*;

    /// A connection that is only a number, and whether it still works.
    struct Counted {
        number: u32,
        works: bool,
        counts: Counts,
    }

    /// How many were opened, and how many closed.
    #[derive(Clone, Default)]
    struct Counts {
        opened: Arc<AtomicU32>,
        closed: Arc<AtomicU32>,
    }

    impl Link for Counted {
        type Options = Counts;
        const AGE_MAX: Duration = Duration::from_secs(100);
        const IDLE_MAX: Duration = Duration::from_secs(10);

        async fn open(counts: &Counts, _deadline: Instant) -> Result<Self, sqlx::Error> {
            let number = counts.opened.fetch_add(1, Ordering::Relaxed);
            Ok(Self { number, works: true, counts: counts.clone() })
        }

        fn interrupt(&self) -> bool {
            self.works
        }

        async fn restore(&mut self, _in_transaction: bool) -> bool {
            self.works
        }

        async fn close(self) -> Result<(), sqlx::Error> {
            self.counts.closed.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    fn pool(size: u32) -> Arc<Pool<Counted>> {
        Pool::new(Counts::default(), size, Duration::from_secs(60), 2)
    }

    /// Has `seconds` pass for the idle connections.
    fn pass(pool: &Pool<Counted>, seconds: u64) {
        for idle in pool.idle().iter_mut() {
            idle.since -= Duration::from_secs(seconds);
            idle.opened -= Duration::from_secs(seconds);
        }
    }

    /// Borrows a connection for a moment and tells its number; none when it could not.
    async fn number(pool: &Arc<Pool<Counted>>) -> Option<u32> {
        let lent = pool.lend().await.ok()?;
        let number = lent.link.number;
        lent.give_back();
        Some(number)
    }

    #[tokio::test]
    async fn the_connection_that_came_back_last_is_lent_first() {
        let pool = pool(2);
        let (first, second) = (pool.lend().await.unwrap(), pool.lend().await.unwrap());
        second.give_back();
        first.give_back();
        assert_eq!(number(&pool).await, Some(0));
        assert_eq!(number(&pool).await, Some(0));
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_so() {
        let pool = Pool::<Counted>::new(Counts::default(), 1, Duration::from_millis(1), 2);
        let _held = pool.lend().await.unwrap();
        assert!(matches!(pool.lend().await, Err(Error::Unavailable(sqlx::Error::PoolTimedOut))));
    }

    #[tokio::test]
    async fn who_waits_in_the_line_gets_the_connection_that_comes_back() {
        let pool = pool(1);
        let held = pool.lend().await.unwrap();
        let mut first = Box::pin(number(&pool));
        let mut second = Box::pin(number(&pool));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut Box::pin(number(&pool))).is_ready(), "the line is full");
        held.give_back();
        assert_eq!((first.await, second.await), (Some(0), Some(0)));
    }

    #[tokio::test]
    async fn an_old_connection_and_one_long_idle_are_not_lent_again() {
        let pool = pool(2);
        assert_eq!(number(&pool).await, Some(0));
        pass(&pool, 11);
        assert_eq!(number(&pool).await, Some(1), "the first lay idle too long");
        for _ in 0..11 {
            pass(&pool, 9);
            assert_eq!(number(&pool).await, Some(1));
        }
        pass(&pool, 9);
        assert_eq!(number(&pool).await, Some(1), "used once more, and then too old to be kept");
        assert_eq!(number(&pool).await, Some(2), "the second is too old");
    }

    #[tokio::test]
    async fn what_nobody_needs_any_more_is_closed_while_others_are_used() {
        let pool = pool(2);
        let (first, second) = (pool.lend().await.unwrap(), pool.lend().await.unwrap());
        first.give_back();
        second.give_back();
        for _ in 0..2 {
            pass(&pool, 6);
            assert_eq!(number(&pool).await, Some(1));
        }
        assert_eq!(pool.idle().len(), 1);
    }

    #[tokio::test]
    async fn a_broken_connection_takes_the_idle_ones_with_it() {
        let pool = pool(2);
        let (mut first, second) = (pool.lend().await.unwrap(), pool.lend().await.unwrap());
        second.give_back();
        first.link().works = false;
        first.recover(false).await;
        assert_eq!(number(&pool).await, Some(2));
        let whole = pool.lend().await.unwrap();
        whole.recover(true).await;
        assert_eq!(number(&pool).await, Some(2), "one that could be restored is used on");
    }

    #[tokio::test]
    async fn a_pool_that_closes_waits_for_what_is_lent() {
        let pool = pool(2);
        let held = pool.lend().await.unwrap();
        let mut closing = Box::pin(pool.close());
        assert!(poll!(&mut closing).is_pending());
        let mut late = Box::pin(number(&pool));
        assert!(poll!(&mut late).is_pending());
        held.recover(false).await;
        closing.await;
        assert_eq!(pool.options.closed.load(Ordering::Relaxed), 1);
        assert_eq!(late.await, None, "whoever asks for one meanwhile gets none");
    }

    #[tokio::test]
    async fn a_closed_pool_lends_nothing_and_keeps_nothing() {
        let pool = pool(2);
        let held = pool.lend().await.unwrap();
        pool.close().await;
        held.give_back();
        assert_eq!(pool.idle().len(), 0);
        assert!(matches!(pool.lend().await, Err(Error::Unavailable(sqlx::Error::PoolClosed))));
    }
}
