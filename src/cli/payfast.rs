//! `payfast …`: what is done inside with PayFast's messages, to be tried from a shell. Secrets come by standard input
//! only, and are never printed.

use std::process::ExitCode;

use clap::Subcommand;

use super::input::Input;
use super::{Failure, doctor, in_runtime};
use crate::config::{Config, Effective, Problems};
use crate::payments::payfast::cli as functions;

const SIGN_FORM: &str = r#"Example:
  echo '{"fields": {"merchant_id": "10000100", "amount": "5.00"}, "passphrase": "jt7NOE43FZPn"}' \
    | capecontrol payfast sign-form

Exit codes: 0 answered, also with {"error"}; 1 standard input could not be read; 2 wrong arguments.
Secrets: the passphrase comes by standard input only, and is never printed."#;

const VERIFY_ITN: &str = r#"Example:
  jq -n --arg body "$(base64 -w0 itn.body)" \
    '{body_base64: $body, passphrase: "jt7NOE43FZPn", merchant_id: "10000100", expected_amount_minor: 52900}' \
    | capecontrol payfast verify-itn

Exit codes: 0 answered, whatever the verdict; 1 standard input could not be read; 2 wrong arguments.
Secrets: the passphrase comes by standard input only, and is never printed."#;

const SIGN_API: &str = r#"Example:
  echo '{"headers": {"merchant-id": "10000100", "version": "v1", "timestamp": "2026-11-20T10:00:00+02:00"},
    "query": {}, "body": {}, "passphrase": "jt7NOE43FZPn"}' | capecontrol payfast sign-api

Exit codes: 0 answered, also with {"error"}; 1 standard input could not be read; 2 wrong arguments.
Secrets: the passphrase comes by standard input only, and is never printed."#;

const CHECK_SOURCE: &str = r#"Example:
  echo '{"address": "41.74.179.200"}' | capecontrol payfast check-source

Exit codes: 0 answered, whatever the answer; 1 standard input could not be read; 2 wrong arguments."#;

const READ_CONFIRMATION: &str = r#"Example:
  echo '{"status": 200, "body": "VALID"}' | capecontrol payfast read-confirmation

Exit codes: 0 answered, whatever the answer; 1 standard input could not be read; 2 wrong arguments."#;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sign a checkout form: {"fields": {name: value}, "passphrase"} → {"signature", "fields"}.
    ///
    /// The fields ({name: value}) may come in any order; they are told in PayFast's. The passphrase may be null. Fields
    /// that PayFast does not sign are told in `left_out`. What cannot be signed is told as {"error"}.
    #[command(verbatim_doc_comment, after_long_help = SIGN_FORM)]
    SignForm(Input),
    /// Judge a notification: {"body_base64", "passphrase", "merchant_id", …} → {"accept", "effect", …}.
    ///
    /// The body is what PayFast posted, byte for byte, in base64. `expected_amount_minor` is compared when it is given;
    /// `processed_payment_ids` are those of PayFast's ids that were settled before. The answer is {"signature_valid",
    /// "accept", "effect", "reason"}: accepted is what is authentic and fits our record; the effect is settle, cancel
    /// or none. PayFast is not asked, so that this works offline.
    #[command(verbatim_doc_comment, after_long_help = VERIFY_ITN)]
    VerifyItn(Input),
    /// Sign a call of PayFast's API: {"headers", "query", "body", "passphrase"} → {"signature"}.
    #[command(verbatim_doc_comment, after_long_help = SIGN_API)]
    SignApi(Input),
    /// Say whether an address is one that PayFast sends from: {"address"} → {"accept"}.
    #[command(verbatim_doc_comment, after_long_help = CHECK_SOURCE)]
    CheckSource(Input),
    /// Walk through what must be right before real money is taken, and say what to do.
    ///
    /// Settings, the public address, PayFast's API and confirmation host, clock, database and root key are looked at.
    /// What was found is kept in the database as evidence, without a secret. Our own address is asked for /healthz
    /// only, and PayFast's API for a ping. At the end stand the questions that only a sandbox can answer.
    #[command(verbatim_doc_comment, after_long_help = doctor::DOCTOR)]
    Doctor(doctor::Arguments),
    /// Read PayFast's answer to a confirmation: {"status", "body"} → {"verdict": valid, invalid or retry}.
    #[command(verbatim_doc_comment, after_long_help = READ_CONFIRMATION)]
    ReadConfirmation(Input),
}

pub(super) fn run(
    command: Command,
    settings: impl FnOnce() -> Result<(Config, Vec<Effective>), Problems>,
) -> Result<ExitCode, Failure> {
    let (function, input): (functions::Command, Input) = match command {
        Command::Doctor(arguments) => return in_runtime(doctor::run(settings(), arguments)),
        Command::SignForm(input) => (functions::sign_form, input),
        Command::VerifyItn(input) => (functions::verify_itn, input),
        Command::SignApi(input) => (functions::sign_api, input),
        Command::CheckSource(input) => (functions::check_source, input),
        Command::ReadConfirmation(input) => (functions::read_confirmation, input),
    };
    input.answer(function)
}
