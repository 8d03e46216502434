//! The queue on both engines: once, in order, again after a failure, and never lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capecontrol::db::{Engine, Scope};
use capecontrol::jobs::{self, Failure, Job, Registry, State, Worker, store};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{Fixture, Start as _, on_both};

const SCOPE: Scope = Scope::System("test");

#[derive(Serialize, Deserialize)]
struct Note(u32);

impl Job for Note {
    const KIND: &'static str = "test.note";
    const ATTEMPTS_MAX: u32 = 3;
}

async fn push(t: &Fixture, number: u32) {
    let mut tx = t.db.begin(SCOPE).await.unwrap();
    jobs::push(&mut tx, &t.world, None, &Note(number)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn count(t: &Fixture) -> Vec<(State, i64)> {
    store::count(&mut t.db.conn(SCOPE).await.unwrap()).await.unwrap()
}

type Seen = Arc<Mutex<Vec<u32>>>;

fn record(seen: &Seen) -> impl FnOnce(&mut Registry) {
    let seen = Arc::clone(seen);
    move |registry| {
        registry.on::<Note, _>(move |job, _| {
            seen.lock().unwrap().push(job.0);
            std::future::ready(Ok(()))
        });
    }
}

/// A worker that is cut while its handler runs: nothing is noted, as when the process is killed.
async fn claim_and_die(t: &Fixture) {
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let worker = t.worker(move |registry| {
        registry.on::<Note, _>(move |_, _| {
            begins.notify_one();
            std::future::pending::<Result<(), Failure>>()
        });
    });
    tokio::select! {
        ended = worker.run_due() => panic!("the handler never ends, and yet: {ended:?}"),
        () = begun.notified() => {}
    }
}

on_both! {
    async fn a_job_that_is_put_off_has_not_been_tried(t: Fixture) {
        push(&t, 1).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let worker = t.worker({
            let seen = Arc::clone(&seen);
            move |registry| {
                registry.on::<Note, _>(move |_, lease| {
                    seen.lock().unwrap().push(lease.attempt);
                    std::future::ready(Err(Failure::postpone(Duration::from_secs(30), "not now")))
                });
            }
        });
        // More often than a job may be tried.
        for _ in 0..Note::ATTEMPTS_MAX + 2 {
            assert_eq!(worker.run_due().await.unwrap(), 1);
            assert_eq!(worker.run_due().await.unwrap(), 0);
            t.clock.advance(Duration::from_secs(30));
        }
        assert_eq!(*seen.lock().unwrap(), vec![1; 5]);
        assert_eq!(count(&t).await, [(State::Ready, 1)]);
    }
}

on_both! {
    async fn a_job_runs_once_after_its_transaction_commits(t: Fixture) {
        let seen = Seen::default();
        let worker = t.worker(record(&seen));
        let mut dropped = t.db.begin(SCOPE).await.unwrap();
        jobs::push(&mut dropped, &t.world, None, &Note(0)).await.unwrap();
        drop(dropped);
        push(&t, 1).await;
        t.clock.advance(Duration::from_millis(1));
        push(&t, 2).await;
        assert_eq!(worker.run_due().await.unwrap(), 2);
        assert_eq!(worker.run_due().await.unwrap(), 0);
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        assert!(count(&t).await.is_empty());
    }

    async fn a_job_waits_for_its_time(t: Fixture) {
        let seen = Seen::default();
        let worker = t.worker(record(&seen));
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let later = t.world.now().plus(Duration::from_secs(60));
        jobs::push_at(&mut tx, &t.world, None, &Note(1), later).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(worker.run_due().await.unwrap(), 0);
        t.clock.advance(Duration::from_secs(60));
        assert_eq!(worker.run_due().await.unwrap(), 1);
    }

    async fn a_job_that_fails_is_tried_again_and_then_left_dead(t: Fixture) {
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let worker = t.worker(|registry| {
            registry.on::<Note, _>(move |_, lease| {
                counted.fetch_add(1, Ordering::SeqCst);
                assert!(lease.attempt != 2, "the second attempt panics");
                std::future::ready(Err(Failure::retry("not now")))
            });
        });
        push(&t, 1).await;
        for tried in 1..=3 {
            assert_eq!(worker.run_due().await.unwrap(), 1);
            assert_eq!(attempts.load(Ordering::SeqCst), tried);
            t.clock.advance(Duration::from_secs(3_600));
        }
        assert_eq!(worker.run_due().await.unwrap(), 0);
        assert_eq!(count(&t).await, [(State::Dead, 1)]);
    }

    async fn a_worker_that_dies_loses_the_job_to_another(t: Fixture) {
        push(&t, 1).await;
        claim_and_die(&t).await;
        assert_eq!(count(&t).await, [(State::Running, 1)]);
        let seen = Seen::default();
        let other = t.worker(record(&seen));
        assert_eq!(other.run_due().await.unwrap(), 0);
        t.clock.advance(Duration::from_secs(61));
        assert_eq!(other.run_due().await.unwrap(), 1);
        assert_eq!(*seen.lock().unwrap(), [1]);
    }

    async fn a_worker_takes_only_the_kinds_that_it_knows(t: Fixture) {
        push(&t, 1).await;
        let stranger = t.worker(|_| {});
        assert_eq!(stranger.run_due().await.unwrap(), 0);
        assert_eq!(count(&t).await, [(State::Ready, 1)]);
        let seen = Seen::default();
        assert_eq!(t.worker(record(&seen)).run_due().await.unwrap(), 1);
    }

    async fn a_lost_claim_cannot_have_an_effect(t: Fixture) {
        push(&t, 1).await;
        let (db, clock) = (t.db.clone(), Arc::clone(&t.clock));
        let seen = Seen::default();
        let other = t.worker(record(&seen));
        let slow = t.worker(|registry| {
            registry.on::<Note, _>(move |_, lease| {
                let (db, clock, other) = (db.clone(), Arc::clone(&clock), other.clone());
                async move {
                    // The lease runs out, and another worker does the job.
                    clock.advance(Duration::from_secs(61));
                    assert_eq!(other.run_due().await?, 1);
                    let mut tx = db.begin(SCOPE).await?;
                    assert!(lease.complete(&mut tx).await.is_err());
                    Err(Failure::retry("the claim was lost"))
                }
            });
        });
        slow.run_due().await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [1]);
        assert!(count(&t).await.is_empty());
    }

    async fn workers_share_a_queue(t: Fixture) {
        let seen = Seen::default();
        for number in 0..60 {
            push(&t, number).await;
        }
        let workers: Vec<_> = (0..6).map(|_| t.worker(record(&seen))).collect();
        futures_util::future::join_all(workers.iter().map(jobs::Worker::run_due)).await;
        let mut done = seen.lock().unwrap().clone();
        done.sort_unstable();
        assert_eq!(done, (0..60).collect::<Vec<_>>());
    }

    async fn a_claim_is_renewed_beside_the_work_not_instead_of_it(t: Fixture) {
        push(&t, 1).await;
        let attempts = Arc::new(AtomicUsize::new(0));
        let mut registry = Registry::default();
        let (db, counted) = (t.db.clone(), Arc::clone(&attempts));
        registry.on::<Note, _>(move |_, lease| {
            counted.fetch_add(1, Ordering::SeqCst);
            let db = db.clone();
            async move {
                // The renewal has to wait for this transaction, which in turn has to be carried on with.
                let mut tx = db.begin(SCOPE).await?;
                lease.complete(&mut tx).await?;
                tokio::time::sleep(Duration::from_millis(400)).await;
                Ok(tx.commit().await?)
            }
        });
        let options = jobs::Options { lease: Duration::from_millis(300), ..jobs::Options::default() };
        let worker = Worker::new(t.db.clone(), t.world.clone(), options, registry);
        // Longer than this, and the renewal and the work waited for each other.
        let ran = tokio::time::timeout(Duration::from_secs(30), worker.run_due()).await;
        assert_eq!(ran.unwrap().unwrap(), 1);
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
        assert!(count(&t).await.is_empty());
    }
}

on_both! {
    async fn a_job_that_outlasts_the_drain_is_given_back_as_if_it_had_not_been_tried(t: Fixture) {
        push(&t, 1).await;
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        let worker = t.worker(move |registry| {
            registry.on::<Note, _>(move |_, _| {
                begins.notify_one();
                std::future::pending::<Result<(), Failure>>()
            });
        });
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let signals = async {
            begun.notified().await;
            stop.cancel();
            assert_eq!(count(&t).await, [(State::Running, 1)]);
            cut.cancel();
        };
        let both = async { tokio::join!(worker.run(stop.clone(), cut.clone()), signals) };
        tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
        assert_eq!(count(&t).await, [(State::Ready, 1)]);
        // The clock stands still: another node has it at once, and it is the first attempt once more.
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&attempts);
        let other = t.worker(move |registry| {
            registry.on::<Note, _>(move |_, lease| {
                noted.lock().unwrap().push(lease.attempt);
                std::future::ready(Ok(()))
            });
        });
        assert_eq!(other.run_due().await.unwrap(), 1);
        assert_eq!(*attempts.lock().unwrap(), [1]);
    }
}

#[tokio::test]
async fn a_process_on_a_sqlite_file_takes_over_at_once_from_one_that_was_killed() {
    let t = Fixture::start(Engine::Sqlite).await;
    push(&t, 1).await;
    claim_and_die(&t).await;
    assert_eq!(count(&t).await, [(State::Running, 1)]);
    let (seen, stop) = (Seen::default(), CancellationToken::new());
    let worker = t.worker(record(&seen));
    // The clock stands still: the claim does not run out.
    let done = async {
        while !count(&t).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(worker.run(stop.clone(), CancellationToken::new()), done) };
    tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [1]);
}
