//! The command line. Each subcommand is one file; what it prints for people goes to standard output, logs to standard
//! error. Exit code 0 says done, 1 failed, 2 that the arguments were wrong.

mod admin;
mod audit;
mod backup;
mod chain;
mod chat;
mod config;
mod database;
mod descriptors;
mod doctor;
mod health;
mod input;
mod jobs;
mod ledger;
mod log;
mod payfast;
mod report;
mod serve;
mod stripe;
mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::auth::Caller;
use crate::config::{Config, Effective, Problems, Sources};

/// Real-time AI agents, South African payments and an agent marketplace behind one gRPC API.
#[derive(Debug, Parser)]
#[command(name = "capecontrol", version, term_width = 100, after_long_help = TOP)]
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
    #[command(verbatim_doc_comment, after_long_help = serve::SERVE)]
    Serve,
    /// Bring the database to the level that this program needs.
    ///
    /// On SQLite the start of the platform does it by itself. On PostgreSQL it is done once before a new version is
    /// served, by a role that may create tables. A database that is not there is made, on SQLite.
    #[command(verbatim_doc_comment, after_long_help = database::MIGRATE)]
    Migrate {
        #[command(flatten)]
        output: Output,
    },
    /// Ask a running node whether it can serve; exit code 0 says yes.
    #[command(verbatim_doc_comment, after_long_help = health::HEALTHCHECK)]
    Healthcheck(health::Arguments),
    /// Look at the settings.
    #[command(subcommand, after_long_help = GROUP)]
    Config(config::Command),
    /// Write the contract to standard output, as Envoy's JSON transcoder and other tools read it.
    ///
    /// It is a binary google.protobuf.FileDescriptorSet.
    #[command(verbatim_doc_comment, after_long_help = descriptors::DESCRIPTORS)]
    Descriptors,
    /// Make and list administrators; find accounts, keep them out, let them in, give them roles, invite people.
    #[command(subcommand, after_long_help = GROUP)]
    Admin(admin::Command),
    /// Issue access tokens, look into them, end sessions, and rotate the keys that sign.
    #[command(subcommand, after_long_help = GROUP)]
    Token(token::Command),
    /// Look at jobs that failed for good, and decide what becomes of them.
    #[command(subcommand, after_long_help = GROUP)]
    Jobs(jobs::Command),
    /// Look at the messages that people reported, note what came of it, and take back what a person wrote.
    #[command(subcommand, after_long_help = GROUP)]
    Chat(chat::Command),
    /// Verify the audit log, read it, and hand it out.
    #[command(subcommand, after_long_help = GROUP)]
    Audit(audit::Command),
    /// Verify the ledger, report on it, list the heads of its chain, and make its balances anew.
    #[command(subcommand, after_long_help = GROUP)]
    Ledger(ledger::Command),
    /// Write a backup of the database to a folder, also while a node serves from it.
    ///
    /// The folder holds the data as it is at one moment, and manifest.json, which tells what it is: the versions, the
    /// engine, the level, the time, and the size and SHA-256 of each file. It is written under a name with `.partial`
    /// behind it, forced to the disk and renamed, and never overwrites anything. SQLite is copied by this program,
    /// PostgreSQL by pg_dump, which must be of the server's version or newer. Letters that were written to files are
    /// not in it. Progress is told on standard error.
    #[command(verbatim_doc_comment, after_long_help = backup::BACKUP)]
    Backup(backup::BackupArguments),
    /// Restore a backup to a place where nothing is.
    ///
    /// The settings say where: the SQLite file must not exist, the PostgreSQL schema must be empty. The digests, the
    /// level, the soundness of the data, and that the root key opens it are verified before anything is put in place;
    /// then all of it is, or nothing. On PostgreSQL DATABASE__OWNER_URL names the role that is to own the tables; the
    /// role that serves is given its rights on them.
    #[command(verbatim_doc_comment, after_long_help = backup::RESTORE)]
    Restore(backup::RestoreArguments),
    /// Work out PayFast's signatures and verdicts: one JSON object from standard input, one JSON object out.
    #[command(subcommand, after_long_help = GROUP)]
    Payfast(payfast::Command),
    /// Judge Stripe's signatures: one JSON object from standard input, one JSON object out.
    #[command(subcommand, after_long_help = GROUP)]
    Stripe(stripe::Command),
}

const TOP: &str = "\
Start here:
  capecontrol serve                     serves on 127.0.0.1:8080, with everything in ./data
  capecontrol <command> --help          what it does, an example, its exit codes, where secrets come from

Exit codes: 0 done, 1 failed, 2 wrong arguments. What people read goes to standard output, errors, logs and progress to
standard error. Settings come from capecontrol.toml and the environment (CAPECONTROL_<SECTION>__<KEY>); secrets come by
settings or standard input, never by arguments.";

const GROUP: &str =
    "Each of these commands tells by --help what it does, with an example and its exit codes.";

/// How an answer is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Output {
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// On whose behalf commands act: whoever can read the settings and the data of a node is the platform.
fn operator() -> Caller {
    Caller::system("command line")
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
        Command::Migrate { output } => in_runtime(database::migrate(settings()?.0, output)),
        Command::Healthcheck(arguments) => in_runtime(health::run(settings()?.0, arguments)),
        Command::Config(command) => config::run(&command, settings()),
        Command::Descriptors => descriptors::run(),
        Command::Admin(command) => in_runtime(admin::run(settings()?.0, command)),
        Command::Token(command) => in_runtime(token::run(settings()?.0, command)),
        Command::Jobs(command) => in_runtime(jobs::run(settings()?.0, command)),
        Command::Chat(command) => in_runtime(chat::run(settings()?.0, command)),
        Command::Audit(command) => in_runtime(audit::run(settings()?.0, command)),
        Command::Ledger(command) => in_runtime(ledger::run(settings()?.0, command)),
        Command::Backup(arguments) => in_runtime(backup::write(settings()?.0, arguments)),
        Command::Restore(arguments) => in_runtime(backup::restore(settings()?.0, arguments)),
        Command::Payfast(command) => payfast::run(command, settings),
        Command::Stripe(command) => stripe::run(&command),
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

/// Writes a line beside the answer, for people.
fn note(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The help of every command, as the page docs/command-line.md has it.
#[must_use]
pub fn manual() -> String {
    let mut program = Arguments::command();
    program.build();
    let mut text = String::new();
    describe(&program, "capecontrol", &mut text);
    text
}

fn describe(command: &clap::Command, name: &str, text: &mut String) {
    let help = command.clone().render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim()));
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        describe(command, &format!("{name} {}", command.get_name()), text);
    }
}
