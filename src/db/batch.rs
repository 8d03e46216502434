//! Group commit: what many callers want written at the same time is written by one of them, in one transaction.
//!
//! Nobody waits for a batch to fill. Whoever comes first begins at once; whoever comes while others are at work waits,
//! and the next one to begin takes all of them along. So a lone caller pays nothing, and a crowd shares the wait for
//! the disk. Where batches may be done beside each other, a further one begins once as many wait as are being done, or
//! somebody has waited for long: small batches cost nearly as much as large ones, and would only hold each other up.
//!
//! This knows neither rows nor transactions: how a batch is written is the caller's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::sleep;

use super::Error;
use crate::base::{Fault, fault};

/// After how long a few begin beside many: longer than a batch usually takes, so that the many are held up by
/// something, such as a lock on one of their lines, which is no business of the few.
const PATIENCE: Duration = Duration::from_millis(20);

/// Work of one kind that may be done together.
pub struct Batcher<W, R> {
    desk: Mutex<Desk<W, R>>,
    turns: Semaphore,
    /// Rings when there may be something to do for somebody who had a turn and found nothing.
    left: Notify,
    bounds: Bounds<W>,
}

struct Desk<W, R> {
    waiting: VecDeque<Waiting<W, R>>,
    /// The lines of what is being done.
    busy: HashSet<u128>,
    /// How many are being done.
    working: usize,
}

/// How much is done together.
#[derive(Debug)]
pub struct Bounds<W> {
    /// How many, one at least.
    pub most: usize,
    /// How much one weighs.
    pub weigh: fn(&W) -> usize,
    /// How much all of them weigh. One that weighs more is done alone.
    pub heaviest: usize,
    /// Which line something stands in. What is in one line is done in its order.
    pub line: fn(&W) -> u128,
    /// How many batches are done beside each other at most, one at least. No two of them have to do with one line.
    pub turns: usize,
}

impl<W> Bounds<W> {
    /// So many together, whatever they weigh, one batch after the other.
    #[must_use]
    pub fn at_most(most: usize) -> Self {
        Self { most, weigh: |_| 0, heaviest: 0, line: |_| 0, turns: 1 }
    }
}

impl<W> Clone for Bounds<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Bounds<W> {}

struct Waiting<W, R> {
    work: W,
    tell: oneshot::Sender<Told<R>>,
}

enum Told<R> {
    /// Done along with others.
    Done(R),
    /// What it was to be done with failed. Whose fault that was is not known: each is tried by itself.
    Alone,
    /// The database could not be reached, which is nobody's fault. Were each tried by itself now, a database that has
    /// too much to do would get as much again at once.
    Unavailable,
}

impl<W: Clone, R> Batcher<W, R> {
    /// Nothing waits yet. At most `most` are done together.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self::within(Bounds::at_most(most))
    }

    /// Nothing waits yet, and no more than this is done together.
    #[must_use]
    pub fn within(bounds: Bounds<W>) -> Self {
        let desk = Mutex::new(Desk { waiting: VecDeque::new(), busy: HashSet::new(), working: 0 });
        Self { desk, turns: Semaphore::new(bounds.turns.max(1)), left: Notify::new(), bounds }
    }

    /// Has `work` done, along with whatever else waits, and hands back its own result. `all` does the work that it is
    /// given, all of it or nothing, and answers with a result for each, in their order.
    ///
    /// A caller that goes away while it does the work of others leaves it to the next of them.
    ///
    /// # Errors
    /// What `all` answers when this very work is done by itself; [`Error::Unavailable`] when the database could not be
    /// reached for all of it.
    pub async fn run<E, F>(&self, work: W, all: impl Fn(Vec<W>) -> F) -> Result<R, E>
    where
        E: From<Error> + Fault,
        F: Future<Output = Result<Vec<R>, E>>,
    {
        let (tell, mut told) = oneshot::channel();
        self.desk().waiting.push_back(Waiting { work: work.clone(), tell });
        let mut hand_on = HandOn { left: &self.left, armed: false };
        let (mut found_nothing, mut patient) = (false, true);
        loop {
            tokio::select! {
                biased;
                told = &mut told => match told {
                    Ok(Told::Done(result)) => return Ok(result),
                    Ok(Told::Unavailable) => return Err(Error::Unavailable(sqlx::Error::PoolTimedOut).into()),
                    // A sender that is gone was never heard of, and is treated like a failure of the others.
                    Ok(Told::Alone) | Err(_) => {
                        let result = all(vec![work]).await?.pop();
                        return result.ok_or_else(|| Error::NotFound.into());
                    }
                },
                () = self.left.notified(), if found_nothing => {
                    found_nothing = false;
                    hand_on.armed = true;
                }
                () = sleep(PATIENCE), if found_nothing && patient => {
                    found_nothing = false;
                    patient = false;
                }
                _turn = self.turns.acquire(), if !found_nothing => {
                    let mut batch = self.take(patient);
                    hand_on.armed = false;
                    // Done by whoever had a turn before, in a line that somebody is busy with, or not enough yet to
                    // begin beside others.
                    found_nothing = batch.is_empty();
                    if found_nothing {
                        continue;
                    }
                    let single = batch.len() == 1;
                    match all(batch.work()).await {
                        Ok(results) => batch.done(results),
                        // If it was another's, that one hears of nobody any more, and tries it alone.
                        Err(error) if single => {
                            batch.entries.clear();
                            if matches!(told.try_recv(), Err(TryRecvError::Closed)) {
                                return Err(error);
                            }
                        }
                        Err(error) if error.reason().name == fault::DATABASE_UNAVAILABLE.name => {
                            batch.fail(|| Told::Unavailable);
                        }
                        Err(_) => batch.fail(|| Told::Alone),
                    }
                }
            }
        }
    }

    /// What is to be done next; nothing when that is little beside what is being done, and whoever asks is patient.
    fn take(&self, patient: bool) -> Batch<'_, W, R> {
        let Bounds { most, weigh, heaviest, line, .. } = self.bounds;
        let mut desk = self.desk();
        let Desk { waiting, busy, working } = &mut *desk;
        let free = |next: &&Waiting<W, R>| !busy.contains(&line(&next.work));
        if patient && waiting.iter().filter(free).count() < *working {
            return Batch { home: self, entries: Vec::new(), lines: Vec::new() };
        }
        let mut entries: Vec<Waiting<W, R>> = Vec::new();
        let (mut weight, mut full, mut left) = (0_usize, false, false);
        for next in std::mem::take(waiting) {
            // Whoever no longer listens gets no answer, and will come again.
            if next.tell.is_closed() {
                continue;
            }
            if busy.contains(&line(&next.work)) {
                waiting.push_back(next);
                continue;
            }
            let heavier = weight.saturating_add(weigh(&next.work));
            full |= entries.len() >= most.max(1) || (!entries.is_empty() && heavier > heaviest);
            if full {
                left = true;
                waiting.push_back(next);
            } else {
                weight = heavier;
                entries.push(next);
            }
        }
        let lines: Vec<u128> = entries.iter().map(|next| line(&next.work)).collect();
        busy.extend(&lines);
        *working = working.saturating_add(lines.len());
        drop(desk);
        if left {
            self.left.notify_one();
        }
        Batch { home: self, entries, lines }
    }

    /// It is whole after every step, so a panic elsewhere does not spoil it.
    fn desk(&self) -> MutexGuard<'_, Desk<W, R>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever was told that there may be something to do, and goes away without having looked, tells the next.
struct HandOn<'a> {
    left: &'a Notify,
    armed: bool,
}

impl Drop for HandOn<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.left.notify_one();
        }
    }
}

/// What is being done together. What was not answered when it is dropped waits again, in its old place.
struct Batch<'a, W: Clone, R> {
    home: &'a Batcher<W, R>,
    entries: Vec<Waiting<W, R>>,
    lines: Vec<u128>,
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

    fn fail(&mut self, told: impl Fn() -> Told<R>) {
        for waiting in self.entries.drain(..) {
            let _ = waiting.tell.send(told());
        }
    }
}

impl<W: Clone, R> Drop for Batch<'_, W, R> {
    fn drop(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let mut desk = self.home.desk();
        desk.working = desk.working.saturating_sub(self.lines.len());
        for entry in self.entries.drain(..).rev() {
            desk.waiting.push_front(entry);
        }
        for line in &self.lines {
            desk.busy.remove(line);
        }
        drop(desk);
        self.home.left.notify_one();
    }
}

/// A [`Batcher`] for each key that anybody waits for: work for one key is done together, and work for different keys
/// beside each other. A key that nobody waits for any longer is forgotten.
pub struct Batchers<K, W, R> {
    open: Mutex<HashMap<K, Open<W, R>>>,
    bounds: Bounds<W>,
}

struct Open<W, R> {
    batcher: Arc<Batcher<W, R>>,
    callers: usize,
}

impl<K: Eq + Hash + Copy, W: Clone, R> Batchers<K, W, R> {
    /// Nothing waits yet.
    #[must_use]
    pub fn within(bounds: Bounds<W>) -> Self {
        Self { open: Mutex::default(), bounds }
    }

    /// Has `work` done for `key`, as [`Batcher::run`] does.
    ///
    /// # Errors
    /// What `all` answers when this very work is done by itself; [`Error::Unavailable`] when the database could not be
    /// reached for all of it.
    pub async fn run<E, F>(&self, key: K, work: W, all: impl Fn(Vec<W>) -> F) -> Result<R, E>
    where
        E: From<Error> + Fault,
        F: Future<Output = Result<Vec<R>, E>>,
    {
        let seat = self.sit(key);
        seat.batcher.run(work, all).await
    }

    fn sit(&self, key: K) -> Seat<'_, K, W, R> {
        let mut open = self.open();
        let fresh = || Open { batcher: Arc::new(Batcher::within(self.bounds)), callers: 0 };
        let found = open.entry(key).or_insert_with(fresh);
        found.callers = found.callers.saturating_add(1);
        Seat { home: self, key, batcher: Arc::clone(&found.batcher) }
    }
}

impl<K, W, R> Batchers<K, W, R> {
    /// Counts are whole after every step, so a panic elsewhere does not spoil them.
    fn open(&self) -> MutexGuard<'_, HashMap<K, Open<W, R>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller at a key. The last one who leaves takes the batcher along.
struct Seat<'a, K: Eq + Hash, W, R> {
    home: &'a Batchers<K, W, R>,
    key: K,
    batcher: Arc<Batcher<W, R>>,
}

impl<K: Eq + Hash, W, R> Drop for Seat<'_, K, W, R> {
    fn drop(&mut self) {
        let mut open = self.home.open();
        let Some(found) = open.get_mut(&self.key) else { return };
        found.callers = found.callers.saturating_sub(1);
        if found.callers == 0 {
            open.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    #[derive(Debug, PartialEq, Eq, thiserror::Error)]
    enum Refused {
        #[error("a thirteen is not doubled")]
        Thirteen,
        #[error("nothing is doubled")]
        Away,
    }

    impl Fault for Refused {
        fn reason(&self) -> &'static crate::base::Reason {
            match self {
                Self::Thirteen => &fault::INTERNAL,
                Self::Away => &fault::DATABASE_UNAVAILABLE,
            }
        }
    }

    impl From<Error> for Refused {
        fn from(error: Error) -> Self {
            if matches!(error, Error::Unavailable(_)) { Self::Away } else { Self::Thirteen }
        }
    }

    /// Doubles numbers, refuses batches with a 13, is away when there is a 40 among them, and writes down what it was
    /// given. It begins when it is let.
    #[derive(Default)]
    struct Doubler {
        begun: Mutex<Vec<Vec<u32>>>,
        seen: Mutex<Vec<Vec<u32>>>,
    }

    impl Doubler {
        async fn double(&self, gate: &Semaphore, numbers: Vec<u32>) -> Result<Vec<u32>, Refused> {
            self.begun.lock().unwrap().push(numbers.clone());
            gate.acquire().await.unwrap().forget();
            self.seen.lock().unwrap().push(numbers.clone());
            if numbers.contains(&13) {
                return Err(Refused::Thirteen);
            }
            if numbers.contains(&40) {
                return Err(Refused::Away);
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
        fn empty() -> Self {
            Self { batcher: Batcher::new(4), doubler: Doubler::default(), gate: Semaphore::new(0) }
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
        let t = Setting::empty();
        let results = crowd(&t, 1..=7).await;
        assert_eq!(results, (1..=7).map(|number| Ok(number * 2)).collect::<Vec<_>>());
        assert_eq!(t.seen(), [vec![1], vec![2, 3, 4, 5], vec![6, 7]]);
    }

    #[tokio::test]
    async fn what_is_heavy_is_done_with_fewer() {
        let weigh = |number: &u32| usize::try_from(*number).unwrap();
        let bounds = Bounds { weigh, heaviest: 10, ..Bounds::at_most(4) };
        let t = Setting { batcher: Batcher::within(bounds), ..Setting::empty() };
        let results = crowd(&t, 3..=11).await;
        assert!(results.iter().all(Result::is_ok));
        let expected: [&[u32]; 8] = [&[3], &[4, 5], &[6], &[7], &[8], &[9], &[10], &[11]];
        assert_eq!(t.seen(), expected, "one at least, however heavy");
    }

    #[tokio::test]
    async fn keys_are_done_beside_each_other_and_forgotten() {
        let (t, keys) = (Setting::empty(), Batchers::within(Bounds::at_most(4)));
        let run = |key: u8, number| keys.run(key, number, |numbers| t.doubler.double(&t.gate, numbers));
        let mut waiting: Vec<_> = [(1, 10), (1, 11), (1, 12), (2, 20), (2, 21)]
            .map(|(key, number)| Box::pin(run(key, number)))
            .into();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        assert_eq!(keys.open().len(), 2);
        // Whoever goes away leaves the key to the others.
        drop(waiting.pop());
        assert_eq!(keys.open().len(), 2);
        t.gate.add_permits(100);
        let results = futures_util::future::join_all(waiting).await;
        assert_eq!(results, [Ok(20), Ok(22), Ok(24), Ok(40)]);
        assert_eq!(t.seen(), [vec![10], vec![11, 12], vec![20]]);
        assert!(keys.open().is_empty(), "nobody waits for a key any longer");
    }

    #[tokio::test]
    async fn one_that_cannot_be_done_takes_nobody_along() {
        let t = Setting::empty();
        let results = crowd(&t, 11..=14).await;
        let expected: Vec<Result<u32, Refused>> = vec![Ok(22), Ok(24), Err(Refused::Thirteen), Ok(28)];
        assert_eq!(results, expected);
        assert_eq!(t.seen().len(), 5, "together, then each by itself");
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_not_asked_for_each_by_itself() {
        let t = Setting::empty();
        let results = crowd(&t, 38..=42).await;
        let away = || Err(Refused::Away);
        assert_eq!(results, [Ok(76), away(), away(), away(), away()]);
        assert_eq!(t.seen(), [vec![38], vec![39, 40, 41, 42]]);
    }

    #[tokio::test]
    async fn whoever_goes_away_leaves_the_work_of_others_behind() {
        let t = Setting::empty();
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

    /// The hundreds of a number are its line.
    fn in_lines(turns: usize) -> Setting {
        let bounds = Bounds { line: |number| u128::from(number / 100), turns, ..Bounds::at_most(4) };
        Setting { batcher: Batcher::within(bounds), ..Setting::empty() }
    }

    #[tokio::test]
    async fn lines_are_done_beside_each_other_and_each_in_its_order() {
        let t = in_lines(2);
        let mut waiting: Vec<_> = [100, 101, 200, 201, 300, 102].map(|number| Box::pin(t.run(number))).into();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        // 100 is done; what stands behind it goes, and whatever is in a free line, but not 201.
        t.gate.add_permits(1);
        assert_eq!(waiting.remove(0).await, Ok(200));
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        t.gate.add_permits(100);
        let results = futures_util::future::join_all(waiting).await;
        assert_eq!(results, [202, 400, 402, 600, 204].map(Ok));
        assert_eq!(t.seen(), [vec![100], vec![200], vec![101, 300, 102], vec![201]]);
    }

    /// Polls all of them until each has seen what the others did.
    fn settle<F: Future + Unpin>(waiting: &mut [F]) {
        for _ in 0..=waiting.len() {
            for one in &mut *waiting {
                assert!(one.now_or_never().is_none());
            }
        }
    }

    #[tokio::test]
    async fn a_further_batch_begins_when_as_many_wait_as_are_being_done() {
        for enough in [true, false] {
            let t = in_lines(2);
            let begun = || t.doubler.begun.lock().unwrap().clone();
            let mut waiting: Vec<_> =
                [100, 200, 300, 301, 302, 400, 500, 600].map(|number| Box::pin(t.run(number))).into();
            settle(&mut waiting[..5]);
            assert_eq!(begun(), [vec![100], vec![200]], "one beside one, and no third");
            t.gate.add_permits(1);
            assert_eq!(waiting.remove(0).await, Ok(200));
            settle(&mut waiting[..4]);
            t.gate.add_permits(1);
            assert_eq!(waiting.remove(0).await, Ok(400));
            settle(&mut waiting[..5]);
            assert_eq!(begun().last(), Some(&vec![300, 301, 302]), "two are too few to begin beside three");
            let together: &[u32] = if enough {
                settle(&mut waiting);
                &[400, 500, 600]
            } else {
                drop(waiting.pop());
                t.gate.add_permits(1);
                for done in [600, 602, 604] {
                    assert_eq!(waiting.remove(0).await, Ok(done));
                }
                settle(&mut waiting);
                &[400, 500]
            };
            assert_eq!(begun().last().map(Vec::as_slice), Some(together));
            t.gate.add_permits(100);
            let results = futures_util::future::join_all(waiting).await;
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
    }

    #[tokio::test]
    async fn a_few_wait_for_many_only_so_long() {
        let t = in_lines(2);
        let begun = || t.doubler.begun.lock().unwrap().clone();
        let mut waiting: Vec<_> = [100, 101, 102, 103, 200, 104].map(|number| Box::pin(t.run(number))).into();
        settle(&mut waiting[..4]);
        t.gate.add_permits(1);
        assert_eq!(waiting.remove(0).await, Ok(200));
        settle(&mut waiting);
        assert_eq!(begun(), [vec![100], vec![101, 102, 103]], "one is too few to begin beside three");
        let (mut few, mut many) = (waiting.remove(3), futures_util::future::join_all(waiting));
        tokio::select! {
            biased;
            _ = &mut many => panic!("the gate is closed"),
            _ = &mut few => panic!("the gate is closed"),
            () = sleep(PATIENCE * 2) => {}
        }
        assert_eq!(begun().last(), Some(&vec![200]), "what stands behind the many waits on");
        t.gate.add_permits(100);
        let (few, many) = tokio::join!(few, many);
        assert_eq!((few, many.as_slice()), (Ok(400), [202, 204, 206, 208].map(Ok).as_slice()));
    }

    /// Does something when it is dropped.
    struct Deferred<F: FnMut()>(F);

    impl<F: FnMut()> Drop for Deferred<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    /// However batches begin and end, all is done, once, and nothing in two batches that have to do with one line.
    #[tokio::test]
    async fn a_line_is_never_in_two_batches_at_once() {
        let t = in_lines(3);
        let (busy, begun, ended) = (Mutex::new(HashSet::new()), AtomicUsize::new(0), AtomicUsize::new(0));
        let double = |numbers: Vec<u32>| {
            let (busy, begun, ended) = (&busy, &begun, &ended);
            async move {
                let lines: HashSet<u32> = numbers.iter().map(|number| number / 100).collect();
                assert!(lines.iter().all(|line| busy.lock().unwrap().insert(*line)), "{numbers:?}");
                // Also when whoever is at work goes away.
                let _leave = Deferred(|| busy.lock().unwrap().retain(|line| !lines.contains(line)));
                begun.fetch_add(1, Ordering::Relaxed);
                for _ in 0..numbers.iter().sum::<u32>() % 7 {
                    tokio::task::yield_now().await;
                }
                ended.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Refused>(numbers.iter().map(|number| number * 2).collect())
            }
        };
        let callers = (0..400_u32).map(|turn| {
            // Five lines, the first of which every other one stands in.
            let number = if turn % 2 == 0 { turn / 10 } else { (turn % 5) * 100 + turn / 10 };
            let (batcher, double) = (&t.batcher, &double);
            async move {
                for _ in 0..(turn * 7) % 101 {
                    tokio::task::yield_now().await;
                }
                let run = batcher.run(number, double);
                // Some go away before they know.
                if turn % 3 != 0 {
                    let patience = async {
                        for _ in 0..turn % 8 {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! { done = run => assert_eq!(done, Ok(number * 2)), () = patience => {} }
                } else {
                    assert_eq!(run.await, Ok(number * 2));
                }
            }
        });
        futures_util::future::join_all(callers).await;
        let desk = t.batcher.desk();
        assert!(desk.busy.is_empty(), "nobody is at work any longer");
        let (begun, ended) = (begun.into_inner(), ended.into_inner());
        assert!(ended < begun, "nobody went away while at work: {begun}");
    }

    #[tokio::test]
    async fn whoever_does_the_work_of_others_is_not_told_what_was_wrong_with_it() {
        let (line, weigh) =
            (|number: &u32| u128::from(number / 100), |number: &u32| usize::try_from(*number).unwrap());
        let bounds = Bounds { weigh, heaviest: 13, line, turns: 2, ..Bounds::at_most(4) };
        let t = Setting { batcher: Batcher::within(bounds), ..Setting::empty() };
        let mut first = Box::pin(t.run(1));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut refused = Box::pin(t.run(13));
        assert!(futures_util::poll!(&mut refused).is_pending(), "its line is busy");
        t.gate.add_permits(100);
        assert_eq!(first.await, Ok(2));
        // Whoever comes now does what waits, by itself, since it is heavy.
        assert_eq!(t.run(200).await, Ok(400));
        assert_eq!(t.seen(), [vec![1], vec![13], vec![200]]);
        assert_eq!(refused.await, Err(Refused::Thirteen));
        assert_eq!(t.seen().len(), 4);
    }

    #[tokio::test]
    async fn whoever_is_told_of_work_and_goes_away_tells_the_next() {
        let t = in_lines(2);
        let mut first = Box::pin(t.run(100));
        let mut second = Box::pin(t.run(101));
        let mut third = Box::pin(t.run(102));
        for one in [&mut first, &mut second, &mut third] {
            assert!(futures_util::poll!(one).is_pending());
        }
        t.gate.add_permits(100);
        assert_eq!(first.await, Ok(200));
        // The second was told that its line is free, and never looks.
        drop(second);
        assert_eq!(third.await, Ok(204));
        assert_eq!(t.seen(), [vec![100], vec![102]]);
    }
}
