//! The main job, end to end, on an empty data folder and free ports: register, sign in, buy the Pro plan through
//! PayFast's simulator, find a payment whose notification was lost and give it back, install an agent, and talk to it
//! over a bidirectional stream while a browser watches by gRPC-Web, and resume a stream that was cut.
//!
//! Every step goes over a real socket and is checked; the program ends with 0 only if all of them held.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a demonstration talks to whoever runs it")]
#![expect(clippy::disallowed_methods, reason = "both tasks that it starts are waited for")]

mod agent;
mod books;
mod browser;
mod customer;
mod payment;
mod platform;
mod resume;

use std::process::ExitCode;

/// Why the demonstration stops.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Stops the demonstration unless `holds`.
fn verify(holds: bool, what: impl std::fmt::Display) -> Result<(), Failure> {
    if holds {
        println!("     ✓ {what}");
        Ok(())
    } else {
        Err(format!("this did not hold: {what}").into())
    }
}

/// Announces a step.
fn step(number: u32, what: &str) {
    println!("\n{number:>2}. {what}");
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(run()) {
        Ok(()) => {
            println!("\nEvery step was verified.");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &Failure) -> ExitCode {
    eprintln!("\nThe demonstration failed: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Failure> {
    let platform = platform::Platform::start().await?;
    let customer = customer::Customer::sign_up(&platform).await?;
    let payment = payment::buy_pro(&platform, &customer).await?;
    books::open_no_question(&platform, &customer, &payment).await?;
    agent::converse(&platform, &customer).await?;
    resume::miss_nothing(&customer).await?;
    platform.stop().await
}
