//! Memory that idle streams hold.

use std::time::Duration;

use capecontrol::proto::capecontrol::chat::v1::SubscribeResponse;
use tokio::task::JoinSet;

use super::row;
use crate::Outcome;
use crate::client::{Crowd, follow};
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::Program;
use crate::scene::{MEMBERS, Places, THREADS, member};

/// How long the programs are left alone before their memory is read.
const SETTLE: Duration = Duration::from_secs(3);
/// Streams that are opened at once.
const AT_ONCE: usize = 32;

/// 10,000 streams over 50 connections, and 4,000 over as many.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (streams, connections, most) in [(10_000, 50, 12_000.0), (4_000, 4_000, 45_000.0)] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let platform = Program::platform(&places.platform).await?;
            let crowd = Crowd::sign_in(&platform.url, &places.scene, 1).await?;
            let ours = held(&platform, &crowd, places, streams, connections).await?;
            let control = Program::control(&places.control).await?;
            let theirs = held(&control, &crowd, places, streams, connections).await?;
            rounds.push((ours, theirs));
            platform.stop().await?;
        }
        let name = format!("an idle stream of {streams} over {connections} connections");
        rows.push(row(places, name, "bytes", Target::ValueAtMost(most), rounds));
    }
    Ok(rows)
}

/// What one stream more costs, from what all of them cost a program that has just started.
async fn held(
    program: &Program,
    crowd: &Crowd,
    places: &Places,
    streams: usize,
    connections: usize,
) -> Outcome<Round> {
    tokio::time::sleep(SETTLE).await;
    let before = program.resident()?;
    let crowd = crowd.elsewhere(&program.url, connections).await?;
    let open = open(&crowd, places, streams).await?;
    tokio::time::sleep(SETTLE).await;
    let after = program.resident()?;
    drop(open);
    Ok(Round::plain((after - before) / streams as f64))
}

/// Opens so many streams that nobody writes to, ten on each thread of the scene.
pub async fn open(
    crowd: &Crowd,
    places: &Places,
    streams: usize,
) -> Outcome<Vec<tonic::Streaming<SubscribeResponse>>> {
    let mut open = Vec::with_capacity(streams);
    let mut opening = JoinSet::new();
    for number in 0..streams {
        let (thread, seat) = ((number / MEMBERS) % THREADS, number % MEMBERS);
        let chat = crowd.chat(number, member(thread, seat));
        opening.spawn(follow(chat, places.scene.threads[thread].to_string()));
        if opening.len() >= AT_ONCE
            && let Some(stream) = opening.join_next().await
        {
            open.push(stream??);
        }
    }
    while let Some(stream) = opening.join_next().await {
        open.push(stream??);
    }
    Ok(open)
}
