//! `make soak`: the same, ten times as long, or as long as is wanted.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Board, Plan, prove};

/// How often it is said how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "make says what is wanted by the environment")]
fn wanted(name: &str) -> Option<String> {
    std::env::var(format!("CAPECONTROL_SOAK_{name}")).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    let value = wanted(name)?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is `make soak`, which takes minutes"]
#[expect(clippy::print_stdout, reason = "somebody watches")]
async fn as_much_as_is_wanted() {
    let plan = Plan {
        messages: number("MESSAGES").unwrap_or(100_000),
        clients: number("CLIENTS").unwrap_or(50),
        threads: number("THREADS").unwrap_or(12),
        seed: number("SEED").unwrap_or(1),
    };
    println!("{plan:?}");
    let board: Arc<Board> = Arc::default();
    let proof = prove(plan, Arc::clone(&board));
    tokio::pin!(proof);
    let began = tokio::time::Instant::now();
    let outcome = loop {
        tokio::select! {
            outcome = &mut proof => break outcome,
            () = tokio::time::sleep(SAY_EVERY) => {
                let confirmed = board.confirmed.load(Ordering::Relaxed);
                let delivered = board.delivered.load(Ordering::Relaxed);
                let seconds = began.elapsed().as_secs();
                let (done, planned) = (board.done.load(Ordering::Relaxed), board.planned.load(Ordering::Relaxed));
                println!(
                    "{seconds:>5} s: {confirmed} of {} messages written, {done} of {planned} other things done, \
                     {delivered} events told",
                    plan.messages
                );
                std::io::stdout().flush().unwrap();
            }
        }
    };
    print!("{outcome}");
    if let Some(file) = wanted("JSON") {
        std::fs::write(file, format!("{:#}\n", outcome.json())).unwrap();
    }
}
