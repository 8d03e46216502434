//! `make sim`: seed after seed for as long as is wanted, going on where the last run of it stopped.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use capecontrol::db::Engine;

use super::{play_seed, play_seeds, pure, word};

/// How many seeds are played before it is written down that they were.
const BATCH: u64 = 20;
/// How many seeds of the model alone are played for each of the whole service.
const MODEL: u64 = 100;

#[expect(clippy::disallowed_methods, reason = "make says what is wanted by the environment")]
fn wanted(name: &str) -> Option<String> {
    std::env::var(format!("CAPECONTROL_SIM_{name}")).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    wanted(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Where the next seed is written down.
fn place(engine: Engine) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/sim");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(format!("next-{}", word(engine)))
}

#[test]
#[ignore = "it is `make sim`, which says for how long"]
#[expect(clippy::print_stdout, reason = "somebody watches")]
#[expect(clippy::disallowed_methods, reason = "minutes of the wall are what was asked for")]
fn seeds_for_as_long_as_is_wanted() {
    let engine = match wanted("ENGINE").as_deref() {
        None | Some("sqlite") => Engine::Sqlite,
        Some("postgres") => Engine::Postgres,
        Some("model") => return pure::play_seed(number("SEED").unwrap()),
        Some(other) => panic!("ENGINE={other} is neither sqlite, postgres nor model"),
    };
    if let Some(seed) = number("SEED") {
        return play_seed(engine, seed);
    }
    let (place, began) = (place(engine), Instant::now());
    let first: u64 =
        std::fs::read_to_string(&place).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let minutes = Duration::from_secs(60 * number("MINUTES").unwrap_or(20));
    println!("from seed {first} on {}; {} says where to go on", word(engine), place.display());
    let mut next = first;
    while began.elapsed() < minutes {
        play_seeds(next..next + BATCH, |seed| play_seed(engine, seed));
        play_seeds(next * MODEL..(next + BATCH) * MODEL, pure::play_seed);
        next += BATCH;
        std::fs::write(&place, format!("{next}\n")).unwrap();
        let seconds = began.elapsed().as_secs().max(1);
        let rate = (next - first) * 60 / seconds;
        println!("{} seeds held, up to {next}; {rate} in a minute, {seconds} s", next - first);
    }
}
