//! The yardstick: what CapeControl costs over the least that the same job could cost.
//!
//! Every figure stands beside a control: a bare program that does the same with the same client, in the same run,
//! turn by turn with the platform, so that a slow or busy machine slows both. The platform is the shipped binary in a
//! process of its own, and so is the control. What falls short is printed as it is.
//!
//! `make bench` runs it; `cargo bench --bench load -- WORD…` only the rows whose name holds a word.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench talks to whoever runs it")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time, and waits for the tasks that it starts"
)]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "counts become ratios; the digits that are lost are far below the noise"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::unchecked_time_subtraction,
    reason = "a bench that counted wrong had better stop"
)]

mod client;
mod control;
mod figures;
mod fill;
mod machine;
mod plans;
mod process;
mod quiet;
mod report;
mod rows;
mod scene;
mod svg;
mod tidy;

/// The tests' question for a plan.
#[path = "../../tests/it/plans/explain.rs"]
mod explain;
/// The tests' reader of statements in Rust source, so that plans are shown of the very text that runs.
#[path = "../../tests/it/prepare/literals.rs"]
#[expect(clippy::panic, reason = "written for tests")]
mod literals;

use std::process::ExitCode;

/// Why the bench stops.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

fn main() -> ExitCode {
    // Cargo adds `--bench`; the other arguments are ours.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let done = match arguments.split_first() {
        Some((role, rest)) if role == control::ROLE => in_runtime(control::run(rest)),
        Some((role, _)) if role == quiet::ROLE => in_runtime(quiet::run()),
        _ => in_runtime(rows::run(&arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(work: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
