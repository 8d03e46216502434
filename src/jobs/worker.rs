//! Claims jobs and runs their handlers.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::model::{Claimed, Failure, Job, JobId, State, Verdict, backoff};
use super::store;
use crate::base::{OrganizationId, Timestamp, World};
use crate::db::{self, Db, Engine, Scope, Tx};

const SCOPE: Scope = Scope::System("jobs");

/// Bounds of a worker.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many jobs run at once.
    pub concurrency: usize,
    /// How long a claim holds before another worker may take the job. It is renewed at a third of it.
    pub lease: Duration,
    /// How often the queue is looked at when nobody announced a job.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 4, lease: Duration::from_secs(60), poll: Duration::from_millis(500) }
    }
}

/// A claim on a job, handed to its handler.
#[derive(Clone, Debug)]
pub struct Lease {
    id: JobId,
    organization_id: Option<OrganizationId>,
    fence: i64,
    /// Whether the handler ended the job with its effect.
    ended: Arc<AtomicBool>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether no attempt follows when this one fails.
    pub last: bool,
}

impl Lease {
    /// Ends the job inside the transaction that has its effect, so that both happen or neither. When the claim was lost
    /// to another worker this fails, and the transaction must be dropped.
    ///
    /// # Errors
    /// [`db::Error::NotFound`] when the claim was lost.
    pub async fn complete(&self, tx: &mut Tx) -> Result<(), db::Error> {
        if !store::complete(tx, self.organization_id, self.id, self.fence).await? {
            return Err(db::Error::NotFound);
        }
        let ended = Arc::clone(&self.ended);
        tx.after_commit(move || ended.store(true, Ordering::Relaxed));
        Ok(())
    }
}

type Outcome = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;
type Handler = Box<dyn Fn(&str, Lease) -> Outcome + Send + Sync>;

/// Which handler runs which kind of job.
#[derive(Default)]
pub struct Registry {
    handlers: HashMap<&'static str, (u32, Handler)>,
}

impl Registry {
    /// Has `handler` run the jobs of type `J`.
    pub fn on<J: Job, F>(&mut self, handler: impl Fn(J, Lease) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let run: Handler = Box::new(move |payload, lease| match serde_json::from_str(payload) {
            Ok(job) => Box::pin(handler(job, lease)),
            Err(error) => {
                Box::pin(std::future::ready(Err(Failure::dead(format!("unreadable job: {error}")))))
            }
        });
        self.handlers.insert(J::KIND, (J::ATTEMPTS_MAX, run));
    }
}

/// Runs jobs of one node: those of the kinds in its registry. Jobs that may take long get a worker of their own, so
/// that quick ones do not wait for them.
#[derive(Clone)]
pub struct Worker {
    db: Db,
    world: World,
    options: Options,
    registry: Arc<Registry>,
}

impl Worker {
    /// A worker for the kinds in `registry`.
    #[must_use]
    pub fn new(db: Db, world: World, options: Options, registry: Registry) -> Self {
        Self { db, world, options, registry: Arc::new(registry) }
    }

    /// Runs jobs as they come, until `stop`. Jobs that run then are finished first; those that still run at `cut` are
    /// stopped and given back, so that the next process has them at once.
    pub async fn run(&self, stop: CancellationToken, cut: CancellationToken) {
        let mut running = tokio::task::JoinSet::new();
        let mut pushed = self.db.announcements();
        if let Err(error) = self.inherit().await {
            tracing::warn!(error = %error.chain(), "jobs of the process before wait until their claims run out");
        }
        while !stop.is_cancelled() {
            // What is pushed from here on is news, also when it is claimed below.
            pushed.mark_unchanged();
            let free = self.options.concurrency.saturating_sub(running.len());
            let claimed = self.claim_or_warn(free).await;
            let full = !claimed.is_empty() && claimed.len() == free;
            for job in claimed {
                let (worker, cut) = (self.clone(), cut.clone());
                running.spawn(async move {
                    // The attempt is dropped before the job is given back, and with it its transaction.
                    let cut_short = tokio::select! {
                        biased;
                        () = worker.attempt(&job) => false,
                        () = cut.cancelled() => true,
                    };
                    if cut_short {
                        worker.give_back(&job).await;
                    }
                });
            }
            if full && running.len() < self.options.concurrency {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = pushed.changed() => {}
                () = tokio::time::sleep(self.options.poll) => {}
                Some(_) = running.join_next(), if !running.is_empty() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Runs everything that is due by the clock, one after another, and tells how many attempts were made. Tests call
    /// it after they moved the clock.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub async fn run_due(&self) -> Result<usize, db::Error> {
        let mut attempts = 0;
        loop {
            let claimed = self.claim(1).await?;
            if claimed.is_empty() {
                return Ok(attempts);
            }
            for job in claimed {
                self.attempt(&job).await;
                attempts += 1;
            }
        }
    }

    /// How many jobs are in each state, those that no job is in included.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub async fn census(&self) -> Result<[(State, i64); 3], db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        let counted = store::count(&mut conn).await?;
        let of = |wanted| counted.iter().find(|(state, _)| *state == wanted).map_or(0, |(_, count)| *count);
        Ok([State::Ready, State::Running, State::Dead].map(|state| (state, of(state))))
    }

    /// Makes the jobs of the process before ready again. From a SQLite file one process serves at a time, so that
    /// whoever still has a claim is dead; on PostgreSQL it may be another node, and only time tells.
    async fn inherit(&self) -> Result<(), db::Error> {
        if self.db.engine() == Engine::Postgres {
            return Ok(());
        }
        let mut tx = self.db.begin(SCOPE).await?;
        let released =
            store::release_expired(&mut tx, Timestamp::from_micros(i64::MAX), self.kinds()).await?;
        tx.commit().await?;
        if released > 0 {
            tracing::warn!(jobs = released, "jobs that a process left behind are tried again");
        }
        Ok(())
    }

    async fn claim_or_warn(&self, limit: usize) -> Vec<Claimed> {
        if limit == 0 {
            return Vec::new();
        }
        self.claim(limit).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error.chain(), "the job queue cannot be read");
            Vec::new()
        })
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Claimed>, db::Error> {
        // A look first, for it needs no lock on the queue.
        if !self.something_due().await? {
            return Ok(Vec::new());
        }
        let now = self.world.now();
        let mut tx = self.db.begin(SCOPE).await?;
        let released = store::release_expired(&mut tx, now, self.kinds()).await?;
        if released > 0 {
            tracing::warn!(jobs = released, "jobs whose worker did not end them are tried again");
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let claimed = store::claim(&mut tx, now, now.plus(self.options.lease), limit, self.kinds()).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    fn kinds(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.registry.handlers.keys().copied()
    }

    async fn something_due(&self) -> Result<bool, db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        let due = store::earliest(&mut conn).await?;
        Ok(due.is_some_and(|due| due <= self.world.now()))
    }

    /// Runs one claimed job and notes how it ended.
    async fn attempt(&self, job: &Claimed) {
        let outcome = match self.registry.handlers.get(job.kind.as_str()) {
            Some((attempts_max, handler)) => {
                let attempt = u32::try_from(job.attempts).unwrap_or(u32::MAX);
                let (id, organization_id, fence) = (job.id, job.organization_id, job.fence);
                let (last, ended) = (attempt >= *attempts_max, Arc::new(AtomicBool::new(false)));
                let lease = Lease { id, organization_id, fence, ended: Arc::clone(&ended), attempt, last };
                match self.guarded(job, lease, handler).await {
                    // Nothing is left to be noted.
                    Ok(()) if ended.load(Ordering::Relaxed) => return,
                    Ok(()) => Ok(()),
                    Err(failure) => Err((failure, last)),
                }
            }
            // Another version of the program may know it: keep it and say so.
            None => Err((Failure::retry("no handler for this kind of job"), false)),
        };
        let noted = match outcome {
            Ok(()) => self.note_done(job).await,
            Err((failure, last)) => self.note_failure(job, failure, last).await,
        };
        if let Err(error) = noted {
            // The lease ends by itself, and the job runs again.
            tracing::warn!(job = %job.id, kind = job.kind, error = %error.chain(), "a job's end was not noted");
        }
    }

    /// Gives a claimed job back as if it had not been tried. Without it another process would wait for the claim to run
    /// out.
    async fn give_back(&self, job: &Claimed) {
        let given = async {
            let mut tx = self.db.begin(SCOPE).await?;
            store::give_back(&mut tx, job.id, job.fence).await?;
            tx.commit().await
        };
        match given.await {
            Ok(()) => {
                tracing::warn!(job = %job.id, kind = job.kind, "a job was given back at the drain's end");
            }
            Err(error) => {
                tracing::warn!(job = %job.id, kind = job.kind, error = %error.chain(), "a job was not given back");
            }
        }
    }

    /// Runs the handler while renewing the claim; a panic is a failure like any other.
    async fn guarded(&self, job: &Claimed, lease: Lease, handler: &Handler) -> Result<(), Failure> {
        // The call stands inside: a handler may panic before it has made its future.
        let work = async { handler(&job.payload, lease).await };
        let work = std::panic::AssertUnwindSafe(work).catch_unwind();
        // Both go on at once: a renewal may have to wait for the very transaction that the handler has open, or stands
        // in a queue behind it.
        tokio::select! {
            biased;
            done = work => done.unwrap_or_else(|_| Err(Failure::retry("the handler panicked"))),
            () = self.keep(job) => Err(Failure::retry("the claim was lost to another worker")),
        }
    }

    /// Renews the claim again and again. Comes back when it is lost.
    async fn keep(&self, job: &Claimed) {
        let mut renewal = tokio::time::interval(self.options.lease / 3);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        renewal.tick().await;
        loop {
            renewal.tick().await;
            match self.renew(job).await {
                Ok(true) => {}
                Ok(false) => return,
                // The claim still holds for two thirds of its time, and the fence guards the effect after that.
                Err(error) => {
                    tracing::warn!(job = %job.id, kind = job.kind, error = %error.chain(), "a claim was not renewed");
                }
            }
        }
    }

    /// False when the claim was lost.
    async fn renew(&self, job: &Claimed) -> Result<bool, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let until = self.world.now().plus(self.options.lease);
        let held = store::renew(&mut tx, job.id, job.fence, until).await?;
        tx.commit().await?;
        Ok(held)
    }

    async fn note_done(&self, job: &Claimed) -> Result<(), db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        store::complete(&mut tx, job.organization_id, job.id, job.fence).await?;
        tx.commit().await
    }

    async fn note_postponed(&self, job: &Claimed, delay: Duration, cause: &str) -> Result<(), db::Error> {
        tracing::info!(job = %job.id, kind = job.kind, cause, ?delay, "a job was put off");
        let mut tx = self.db.begin(SCOPE).await?;
        store::postpone(&mut tx, job, self.world.now().plus(delay), cause).await?;
        tx.commit().await
    }

    async fn note_failure(&self, job: &Claimed, failure: Failure, last: bool) -> Result<(), db::Error> {
        let attempts = u32::try_from(job.attempts).unwrap_or(u32::MAX);
        let jitter = u32::try_from(self.world.below(1_000)).unwrap_or(0);
        let (state, delay) = match failure.verdict {
            Verdict::Postpone(delay) => return self.note_postponed(job, delay, &failure.cause).await,
            Verdict::Dead => (State::Dead, Duration::ZERO),
            Verdict::Retry | Verdict::RetryAfter(_) if last => (State::Dead, Duration::ZERO),
            Verdict::Retry => (State::Ready, backoff(attempts, jitter)),
            Verdict::RetryAfter(delay) => (State::Ready, delay),
        };
        if state == State::Dead {
            tracing::error!(job = %job.id, kind = job.kind, attempts, cause = failure.cause, "a job is dead");
        } else {
            tracing::warn!(job = %job.id, kind = job.kind, attempts, cause = failure.cause, ?delay, "a job failed");
        }
        let mut tx = self.db.begin(SCOPE).await?;
        store::fail(&mut tx, job, state, self.world.now().plus(delay), &failure.cause).await?;
        tx.commit().await
    }
}
