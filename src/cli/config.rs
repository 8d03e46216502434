//! `config check` and `config print`.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, say};
use crate::config::{Config, Effective, Problems};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether the settings can be used, and everything that is wrong with them.
    Check,
    /// Print what each setting came out as, where it came from and what it means. Secrets are not shown.
    Print {
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(
    command: &Command,
    settings: Result<(Config, Vec<Effective>), Problems>,
) -> Result<ExitCode, Failure> {
    let (_, effective) = settings?;
    match command {
        Command::Check => say("The settings can be used."),
        Command::Print { json: true } => say(serde_json::to_string_pretty(&effective)?),
        Command::Print { json: false } => effective.iter().for_each(print),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(setting: &Effective) {
    say(format_args!("{} = {}", setting.key, setting.value));
    say(format_args!("    {} (from {})", setting.help, setting.origin));
}
