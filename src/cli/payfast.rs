//! `payfast …`: what is done inside with PayFast's messages, to be tried from a shell. Secrets come by standard input
//! only, and are never printed.

use std::io::{BufRead as _, Read as _};
use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, say};
use crate::payments::payfast::cli as functions;

/// More than any message of PayFast's, so that a wrong file is not read to its end.
const INPUT_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Input {
    /// Read one JSON object per line and answer each with a line.
    #[arg(long)]
    lines: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sign a checkout form: {"fields": {name: value}, "passphrase": text or null} → {"signature", "fields"}.
    SignForm(Input),
    /// Judge a notification: {"body_base64", "passphrase", "merchant_id", "expected_amount_minor"?,
    /// "processed_payment_ids"?} → {"signature_valid", "accept", "effect", "reason"}.
    VerifyItn(Input),
    /// Sign a call of PayFast's API: {"headers", "query", "body", "passphrase"} → {"signature"}.
    SignApi(Input),
    /// Say whether an address is one that PayFast sends from: {"address"} → {"accept"}.
    CheckSource(Input),
    /// Read PayFast's answer to a confirmation: {"status", "body"} → {"verdict"}.
    ReadConfirmation(Input),
}

pub(super) fn run(command: &Command) -> Result<ExitCode, Failure> {
    let (function, input): (functions::Command, &Input) = match command {
        Command::SignForm(input) => (functions::sign_form, input),
        Command::VerifyItn(input) => (functions::verify_itn, input),
        Command::SignApi(input) => (functions::sign_api, input),
        Command::CheckSource(input) => (functions::check_source, input),
        Command::ReadConfirmation(input) => (functions::read_confirmation, input),
    };
    let mut standard_input = std::io::stdin().lock();
    // What is not UTF-8 is not JSON; it gets the answer that any other wrong input gets, and does not end the run.
    let answer = |bytes: &[u8]| say(function(std::str::from_utf8(bytes).unwrap_or_default()));
    if input.lines {
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
