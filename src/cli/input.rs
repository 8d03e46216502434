//! What comes by standard input: JSON objects to be answered, and secrets, which never stand among the arguments, where
//! everybody on the machine can read them.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;

use serde_json::Value;

use super::{Failure, note, say};
use crate::base::Secret;

/// More than any message of a payment provider, so that a wrong file is not read to its end.
const INPUT_BYTES_MAX: u64 = 4 << 20;
/// More than any token or password.
const SECRET_BYTES_MAX: u64 = 16 << 10;

/// How objects come.
#[derive(Debug, clap::Args)]
pub(super) struct Input {
    /// Read one JSON object per line and answer each with a line.
    #[arg(long)]
    lines: bool,
}

impl Input {
    /// Answers every object with one object, whatever it is.
    pub(super) fn answer(&self, function: fn(&str) -> Value) -> Result<ExitCode, Failure> {
        let mut standard_input = std::io::stdin().lock();
        // What is not UTF-8 is not JSON; it gets the answer that any other wrong input gets, and does not end the run.
        let answer = |bytes: &[u8]| say(function(std::str::from_utf8(bytes).unwrap_or_default()));
        if self.lines {
            for line in standard_input.split(b'\n') {
                let line = line?;
                if !line.trim_ascii().is_empty() {
                    answer(&line);
                }
            }
        } else {
            let mut bytes = Vec::new();
            standard_input.by_ref().take(INPUT_BYTES_MAX).read_to_end(&mut bytes)?;
            answer(&bytes);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a secret: the first line of standard input.
pub(super) fn secret(what: &str) -> Result<Secret<String>, Failure> {
    let standard_input = std::io::stdin();
    if standard_input.is_terminal() {
        note(format_args!("{what}, and Enter (it is shown as you type):"));
    }
    let mut line = String::new();
    let read = standard_input.lock().take(SECRET_BYTES_MAX).read_line(&mut line);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(format!("{what} must come by standard input, and nothing came").into());
    }
    Ok(Secret::new(secret.to_owned()))
}
