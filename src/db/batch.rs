//! Group commit: what many callers want written at the same time is written by one of them, in one transaction.
//!
//! Nobody waits for a batch to fill. Whoever comes first begins at once; whoever comes meanwhile waits, and the next
//! one to begin takes all of them along. So a lone caller pays nothing, and a crowd shares the wait for the disk. This
//! knows neither rows nor transactions: how a batch is written is the caller's.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Error;

/// Work of one kind that may be done together.
pub struct Batcher<W, R> {
    waiting: Mutex<VecDeque<Waiting<W, R>>>,
    turn: tokio::sync::Mutex<()>,
    most: usize,
}

struct Waiting<W, R> {
    work: W,
    tell: oneshot::Sender<Told<R>>,
}

enum Told<R> {
    /// Done along with others.
    Done(R),
    /// What it was to be done with failed. Whose fault that was is not known: each is tried by itself.
    Alone,
}

impl<W: Clone, R> Batcher<W, R> {
    /// Nothing waits yet. At most `most` are done together, and two at least may be.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { waiting: Mutex::default(), turn: tokio::sync::Mutex::default(), most: most.max(2) }
    }

    /// Has `work` done, along with whatever else waits, and hands back its own result. `all` does the work that it is
    /// given, all of it or nothing, and answers with a result for each, in their order.
    ///
    /// A caller that goes away while it does the work of others leaves it to the next of them.
    ///
    /// # Errors
    /// What `all` answers when this very work is done by itself.
    pub async fn run<E, F>(&self, work: W, all: impl Fn(Vec<W>) -> F) -> Result<R, E>
    where
        E: From<Error>,
        F: Future<Output = Result<Vec<R>, E>>,
    {
        let (tell, mut told) = oneshot::channel();
        self.queue().push_back(Waiting { work: work.clone(), tell });
        loop {
            tokio::select! {
                biased;
                told = &mut told => match told {
                    Ok(Told::Done(result)) => return Ok(result),
                    // A sender that is gone was never heard of, and is treated like a failure of the others.
                    Ok(Told::Alone) | Err(_) => {
                        let result = all(vec![work]).await?.pop();
                        return result.ok_or_else(|| Error::NotFound.into());
                    }
                },
                _turn = self.turn.lock() => {
                    let mut batch = self.take();
                    // Done by whoever had the turn before, or not in this batch: asked again above.
                    if batch.is_empty() {
                        continue;
                    }
                    let single = batch.len() == 1;
                    match all(batch.work()).await {
                        Ok(results) => batch.done(results),
                        // The only one in a batch is this caller's own.
                        Err(error) if single => {
                            batch.entries.clear();
                            return Err(error);
                        }
                        Err(_) => batch.alone(),
                    }
                }
            }
        }
    }

    fn take(&self) -> Batch<'_, W, R> {
        let mut waiting = self.queue();
        let mut entries = Vec::new();
        while entries.len() < self.most {
            let Some(next) = waiting.pop_front() else { break };
            // Whoever no longer listens gets no answer, and will come again.
            if !next.tell.is_closed() {
                entries.push(next);
            }
        }
        Batch { home: self, entries }
    }

    /// A queue is whole after every step, so a panic elsewhere does not spoil it.
    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiting<W, R>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is being done together. What was not answered when it is dropped waits again, in its old place.
struct Batch<'a, W: Clone, R> {
    home: &'a Batcher<W, R>,
    entries: Vec<Waiting<W, R>>,
}

impl<W: Clone, R> Batch<'_, W, R> {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn work(&self) -> Vec<W> {
        self.entries.iter().map(|waiting| waiting.work.clone()).collect()
    }

    fn done(&mut self, results: Vec<R>) {
        for (waiting, result) in self.entries.drain(..).zip(results) {
            let _ = waiting.tell.send(Told::Done(result));
        }
    }

    fn alone(&mut self) {
        for waiting in self.entries.drain(..) {
            let _ = waiting.tell.send(Told::Alone);
        }
    }
}

impl<W: Clone, R> Drop for Batch<'_, W, R> {
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            let mut waiting = self.home.queue();
            for entry in self.entries.drain(..).rev() {
                waiting.push_front(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[derive(Debug, PartialEq, Eq)]
    struct Refused;

    impl From<Error> for Refused {
        fn from(_: Error) -> Self {
            Self
        }
    }

    /// Doubles numbers, refuses batches with a 13, and writes down what it was given. It begins when it is let.
    #[derive(Default)]
    struct Doubler {
        seen: Mutex<Vec<Vec<u32>>>,
    }

    impl Doubler {
        async fn double(&self, gate: &Semaphore, numbers: Vec<u32>) -> Result<Vec<u32>, Refused> {
            gate.acquire().await.unwrap().forget();
            self.seen.lock().unwrap().push(numbers.clone());
            if numbers.contains(&13) {
                return Err(Refused);
            }
            Ok(numbers.into_iter().map(|number| number * 2).collect())
        }
    }

    struct Setting {
        batcher: Batcher<u32, u32>,
        doubler: Doubler,
        gate: Semaphore,
    }

    impl Setting {
        fn new() -> Arc<Self> {
            Arc::new(Self { batcher: Batcher::new(4), doubler: Doubler::default(), gate: Semaphore::new(0) })
        }

        async fn run(&self, number: u32) -> Result<u32, Refused> {
            self.batcher.run(number, |numbers| self.doubler.double(&self.gate, numbers)).await
        }

        fn seen(&self) -> Vec<Vec<u32>> {
            self.doubler.seen.lock().unwrap().clone()
        }
    }

    /// The first begins alone; the others come while it is at work.
    async fn crowd(t: &Setting, numbers: std::ops::RangeInclusive<u32>) -> Vec<Result<u32, Refused>> {
        let opened = async {
            tokio::task::yield_now().await;
            t.gate.add_permits(100);
        };
        let all = futures_util::future::join_all(numbers.map(|number| t.run(number)));
        let (results, ()) = tokio::join!(all, opened);
        results
    }

    #[tokio::test]
    async fn whoever_comes_meanwhile_is_done_together() {
        let t = Setting::new();
        let results = crowd(&t, 1..=7).await;
        assert_eq!(results, (1..=7).map(|number| Ok(number * 2)).collect::<Vec<_>>());
        assert_eq!(t.seen(), [vec![1], vec![2, 3, 4, 5], vec![6, 7]]);
    }

    #[tokio::test]
    async fn one_that_cannot_be_done_takes_nobody_along() {
        let t = Setting::new();
        let results = crowd(&t, 11..=14).await;
        let expected: Vec<Result<u32, Refused>> = vec![Ok(22), Ok(24), Err(Refused), Ok(28)];
        assert_eq!(results, expected);
        assert_eq!(t.seen().len(), 5, "together, then each by itself");
    }

    #[tokio::test]
    async fn whoever_goes_away_leaves_the_work_of_others_behind() {
        let t = Setting::new();
        let mut first = Box::pin(t.run(1));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(t.run(2));
        let mut third = Box::pin(t.run(3));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        // Now the second is at work on its own and the third's, and goes too.
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        t.gate.add_permits(10);
        assert_eq!(third.await, Ok(6));
        assert_eq!(t.seen(), [vec![3]], "nobody waits for the others");
    }
}
