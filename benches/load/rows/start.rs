//! How long a start takes, and what an idle process holds.

use std::time::Duration;

use super::row;
use crate::Outcome;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::Program;
use crate::scene::Places;

/// How long a program is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// From the start to SERVING on data that is there, and the memory of a process that nobody calls.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let platform = Program::platform(&places.platform).await?;
        let control = Program::control(&places.control).await?;
        starts.push((plain(platform.started_in), plain(control.started_in)));
        tokio::time::sleep(SETTLE).await;
        memory.push((
            Round::plain(platform.resident()? / 1_000_000.0),
            Round::plain(control.resident()? / 1_000_000.0),
        ));
        platform.stop().await?;
    }
    Ok(vec![
        row(places, "start to SERVING", "s", Target::ExcessAtMost(0.3), starts),
        row(places, "an idle process", "MB", Target::ValueAtMost(40.0), memory),
    ])
}

fn plain(time: Duration) -> Round {
    Round::plain(time.as_secs_f64())
}
