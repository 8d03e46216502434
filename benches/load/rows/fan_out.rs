//! Frames delivered to many subscribers, against a bare tonic fan-out of the same bytes.
//!
//! Only the delivery is measured: events are put before the platform's hub as if they had just been committed, and into
//! the control's channels. What writing costs is another row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use capecontrol::proto::capecontrol::chat::v1::server_frame::Frame;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::row;
use crate::Outcome;
use crate::client::{Crowd, follow, kind};
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::Program;
use crate::scene::{MEMBERS, Places, THREADS, member};

/// Connections that the subscribers share; the platform takes 200 streams on one.
const CONNECTIONS: usize = 50;
/// How long a wave may take before the bench gives up: a frame is missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// One thread with 1,000 subscribers, and 1,000 threads with ten each.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let hall = Shape { name: "one thread × 1,000 subscribers", order: "hall 5", frames: 5_000, waves: 30 };
    let many =
        Shape { name: "1,000 threads × 10 subscribers", order: "threads 1", frames: 10_000, waves: 15 };
    let mut rows = Vec::new();
    for shape in [hall, many] {
        let mut platform = Program::platform_without_jobs(&places.platform).await?;
        let mut control = Program::control(&places.control).await?;
        let crowd = Crowd::sign_in(&platform.url, &places.scene, CONNECTIONS).await?;
        let elsewhere = crowd.elsewhere(&control.url, CONNECTIONS).await?;
        let ours = Audience::gather(&crowd, places, &shape).await?;
        let theirs = Audience::gather(&elsewhere, places, &shape).await?;
        ours.hear(&mut platform, &shape).await?;
        theirs.hear(&mut control, &shape).await?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push((ours.hear(&mut platform, &shape).await?, theirs.hear(&mut control, &shape).await?));
        }
        let name = format!("fan-out, {}", shape.name);
        rows.push(row(places, name, "frames/s", Target::RatioAtLeast(0.85), rounds));
        drop((ours, theirs));
        platform.stop().await?;
    }
    Ok(rows)
}

struct Shape {
    name: &'static str,
    /// What the programs are told to deliver in one wave.
    order: &'static str,
    /// How many frames arrive from one wave.
    frames: u64,
    /// How many waves make a round.
    waves: u64,
}

/// Subscribers that count what they hear.
struct Audience {
    heard: Arc<Heard>,
    _streams: JoinSet<()>,
}

#[derive(Default)]
struct Heard {
    frames: AtomicU64,
    wanted: AtomicU64,
    complete: Notify,
}

impl Audience {
    async fn gather(crowd: &Crowd, places: &Places, shape: &Shape) -> Outcome<Self> {
        let heard = Arc::new(Heard::default());
        let mut streams = JoinSet::new();
        for subscriber in 0..seats(shape) {
            let (thread, person) = seat(places, shape, subscriber);
            let mut frames = follow(crowd.chat(subscriber, person), thread).await?;
            let heard = Arc::clone(&heard);
            streams.spawn(async move {
                while let Ok(Some(frame)) = frames.message().await {
                    if matches!(kind(&frame), Some(Frame::Event(_))) {
                        let count = heard.frames.fetch_add(1, Ordering::Relaxed) + 1;
                        if count == heard.wanted.load(Ordering::Relaxed) {
                            heard.complete.notify_one();
                        }
                    }
                }
            });
        }
        Ok(Self { heard, _streams: streams })
    }

    /// Has waves delivered, one after the other, and waits for the last frame of each.
    async fn hear(&self, program: &mut Program, shape: &Shape) -> Outcome<Round> {
        let (before, from) = (program.cpu()?, Instant::now());
        for _ in 0..shape.waves {
            let wanted = self.heard.frames.load(Ordering::Relaxed) + shape.frames;
            self.heard.wanted.store(wanted, Ordering::Relaxed);
            program.ask(&format!("deliver {}", shape.order)).await?;
            let complete = tokio::time::timeout(PATIENCE, self.heard.complete.notified());
            complete.await.map_err(|_| {
                let heard = self.heard.frames.load(Ordering::Relaxed);
                format!("{} frames of a wave never came", wanted - heard)
            })?;
        }
        let elapsed = from.elapsed();
        Ok(Round::rate(shape.waves * shape.frames, elapsed, program.cpu()? - before))
    }
}

fn seats(shape: &Shape) -> usize {
    if shape.order.starts_with("hall") { 1_000 } else { THREADS * MEMBERS }
}

/// The thread that a subscriber follows, and as whom.
fn seat(places: &Places, shape: &Shape, subscriber: usize) -> (String, usize) {
    if shape.order.starts_with("hall") {
        return (places.scene.hall.to_string(), subscriber);
    }
    let (thread, number) = (subscriber / MEMBERS, subscriber % MEMBERS);
    (places.scene.threads[thread].to_string(), member(thread, number))
}
