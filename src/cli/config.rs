//! `config check` and `config print`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Output, say};
use crate::config::{Config, Effective, Problems};

const CHECK: &str = "\
Example:
  CAPECONTROL_PAYFAST__MODE=live capecontrol config check

Exit codes: 0 they can be used; 1 they cannot; 2 wrong arguments.
Secrets: are read from where the settings say, and not printed.";

const PRINT: &str = "\
Example:
  capecontrol config print --json | jq -r '.[] | select(.origin != \"default\") | .key'

Exit codes: 0 printed; 1 the settings cannot be used; 2 wrong arguments.
Secrets: a mark stands in their place.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether the settings can be used, and everything that is wrong with them.
    ///
    /// Nothing is opened or made; only the settings are read.
    #[command(verbatim_doc_comment, after_long_help = CHECK)]
    Check {
        #[command(flatten)]
        output: Output,
    },
    /// Print what each setting came out as, where it came from and what it means. Secrets are not shown.
    #[command(verbatim_doc_comment, after_long_help = PRINT)]
    Print {
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(
    command: &Command,
    settings: Result<(Config, Vec<Effective>), Problems>,
) -> Result<ExitCode, Failure> {
    let (effective, output) = match (command, settings) {
        (Command::Check { output: Output { json: true } }, Err(problems)) => {
            say(json!({ "usable": false, "problems": problems.0 }));
            return Ok(ExitCode::FAILURE);
        }
        (_, Err(problems)) => return Err(problems.into()),
        (Command::Check { output: Output { json: true } }, Ok(_)) => {
            say(json!({ "usable": true, "problems": [] }));
            return Ok(ExitCode::SUCCESS);
        }
        (Command::Check { .. }, Ok(_)) => {
            say("The settings can be used.");
            return Ok(ExitCode::SUCCESS);
        }
        (Command::Print { output }, Ok((_, effective))) => (effective, output),
    };
    if output.json {
        say(serde_json::to_string_pretty(&effective)?);
    } else {
        effective.iter().for_each(print);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(setting: &Effective) {
    say(format_args!("{} = {}", setting.key, setting.value));
    say(format_args!("    {} (from {})", setting.help, setting.origin));
}
