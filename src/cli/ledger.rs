//! `ledger …`: the books, for whoever runs the platform.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, log, report};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Report revenue, tax, fees and payments by day, week or month in South African time.
    ///
    /// Each period is a line, with a bar as long as what was paid in it. Every amount is a sum over the ledger's
    /// entries; each currency, and money of tests, has a table of its own. Reads only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = report::REPORT)]
    Report(report::Arguments),
}

pub(super) async fn run(config: Config, command: Command) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    match command {
        Command::Report(arguments) => report::run(&config, arguments).await,
    }
}
