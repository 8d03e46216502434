//! How long a message takes from whoever sends it to whoever follows its thread, at half of the rate that the platform
//! can take.
//!
//! A message's own id tells when it was made, by the clock that all programs here share. The control writes the bare
//! transaction in its own process, at the same pace, and hands the message to a bare tonic stream: no call comes in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::calls::{SENDERS, messages_sent};
use super::row;
use crate::Outcome;
use crate::client::{Crowd, age, follow, stamped};
use crate::control::pace;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::Program;
use crate::scene::{Places, Scene, THREADS, member};

/// Connections that the callers and the listeners share.
const CONNECTIONS: usize = 50;
/// How long messages are sent in one round.
const TURN: Duration = Duration::from_secs(4);
/// How long the last message of a round may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The half and the ninety-nine hundredths of all messages of a round, in milliseconds.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let platform = Program::platform(&places.platform).await?;
    let mut control = Program::control(&places.control).await?;
    let crowd = Crowd::sign_in(&platform.url, &places.scene, CONNECTIONS).await?;
    let elsewhere = crowd.elsewhere(&control.url, CONNECTIONS).await?;
    let (ours, theirs) = (Ears::open(&crowd, places).await?, Ears::open(&elsewhere, places).await?);
    messages_sent(&platform, &crowd, places).await?;
    let rate = messages_sent(&platform, &crowd, places).await?.value / 2.0;
    let (mut halves, mut slowest) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=ROUNDS {
        ours.forget();
        let sent = converse(&crowd, places, rate).await?;
        let here = ours.heard(sent).await?;
        theirs.forget();
        let order = format!("converse {SENDERS} {rate} {}", TURN.as_millis());
        let sent = control.ask(&order).await?.parse()?;
        let there = theirs.heard(sent).await?;
        if round > 0 {
            halves.push((at(&here, 0.5), at(&there, 0.5)));
            slowest.push((at(&here, 0.99), at(&there, 0.99)));
        }
    }
    platform.stop().await?;
    let name = |what: &str| format!("latency, send to delivery at {rate:.0}/s, {what}");
    Ok(vec![
        row(places, name("p50"), "ms", Target::RatioAtMost(2.0), halves),
        row(places, name("p99"), "ms", Target::None, slowest),
    ])
}

/// Sends messages at a steady pace; how many.
async fn converse(crowd: &Crowd, places: &Places, rate: f64) -> Outcome<u64> {
    let (crowd, scene) = (crowd.clone(), Arc::new(places.scene.clone()));
    let send = move |sender, turn| {
        let thread = Scene::thread_of(sender, turn);
        let mut chat = crowd.chat(sender, member(thread, 0));
        let request = stamped(&scene.threads[thread].to_string());
        async move {
            chat.send_message(request).await?;
            Ok(())
        }
    };
    pace(SENDERS, rate, TURN, send).await
}

/// What a share of the messages stayed within.
fn at(took: &[Duration], share: f64) -> Round {
    let place = (took.len() as f64 * share) as usize;
    Round::plain(took.get(place).map_or(f64::NAN, |took| took.as_secs_f64() * 1_000.0))
}

/// Somebody who follows each thread, and notes how old each message is when it comes.
struct Ears {
    took: Arc<Mutex<Vec<Duration>>>,
    _streams: JoinSet<()>,
}

impl Ears {
    async fn open(crowd: &Crowd, places: &Places) -> Outcome<Self> {
        let took = Arc::new(Mutex::new(Vec::new()));
        let mut streams = JoinSet::new();
        for thread in 0..THREADS {
            let chat = crowd.chat(thread, member(thread, 1));
            let mut frames = follow(chat, places.scene.threads[thread].to_string()).await?;
            let took = Arc::clone(&took);
            streams.spawn(async move {
                while let Ok(Some(frame)) = frames.message().await {
                    if let Some(age) = age(&frame) {
                        took.lock().unwrap_or_else(PoisonError::into_inner).push(age);
                    }
                }
            });
        }
        Ok(Self { took, _streams: streams })
    }

    fn forget(&self) {
        self.took.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until so many messages have come, and tells how old they were, the youngest first.
    async fn heard(&self, sent: u64) -> Outcome<Vec<Duration>> {
        let count = || self.took.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        let all = tokio::time::timeout(PATIENCE, async {
            while count() < sent {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        all.await.map_err(|_| format!("{} of {sent} messages never came", sent - count()))?;
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner).clone();
        took.sort_unstable();
        Ok(took)
    }
}
