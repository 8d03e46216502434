//! The command line. Each subcommand is one file; what it prints for people goes to standard output, logs to standard
//! error. Exit code 0 says done, 1 failed, 2 that the arguments were wrong.

mod config;
mod database;
mod descriptors;
mod health;
mod log;
mod payfast;
mod serve;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Effective, Problems, Sources};

/// Real-time AI agents, South African payments and an agent marketplace behind one gRPC API.
#[derive(Debug, Parser)]
#[command(name = "capecontrol", version, max_term_width = 100)]
struct Arguments {
    /// The file of settings; without it `capecontrol.toml` in the working folder, when there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the platform until Ctrl-C or SIGTERM, then drain and stop. A second signal stops at once.
    Serve,
    /// Bring the database to the level that this program needs.
    Migrate,
    /// Ask a running node whether it can serve; exit code 0 says yes.
    Healthcheck(health::Arguments),
    /// Look at the settings.
    #[command(subcommand)]
    Config(config::Command),
    /// Write the contract to standard output as a binary FileDescriptorSet, as Envoy's JSON transcoder and other tools
    /// read it: capecontrol descriptors > capecontrol.binpb
    Descriptors,
    /// Work out PayFast's signatures and verdicts: one JSON object from standard input, one JSON object out.
    #[command(subcommand)]
    Payfast(payfast::Command),
}

/// A failure that a person reads.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and version are asked for, and so are no failure.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "capecontrol: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    // One TLS implementation for everything that leaves the process. It fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = || settings(arguments.config.clone());
    match arguments.command {
        Command::Serve => in_runtime(serve::run(settings()?.0)),
        Command::Migrate => in_runtime(database::migrate(settings()?.0)),
        Command::Healthcheck(arguments) => in_runtime(health::run(settings()?.0, arguments)),
        Command::Config(command) => config::run(&command, settings()),
        Command::Descriptors => descriptors::run(),
        Command::Payfast(command) => payfast::run(&command),
    }
}

fn settings(file: Option<PathBuf>) -> Result<(Config, Vec<Effective>), Problems> {
    Config::read(Sources::of_process(file, Vec::new())?)
}

fn in_runtime(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Writes a line for people. A closed pipe is no failure of ours.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
