//! `stripe …`: what is done inside with Stripe's messages, to be tried from a shell.

use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;
use super::input::Input;
use crate::payments::stripe::cli as functions;

const VERIFY_WEBHOOK: &str = r#"Example:
  jq -n --arg body "$(base64 -w0 event.json)" --arg header "t=1533204620,v1=2220f8…" \
    '{payload_base64: $body, header: $header, secrets: ["whsec_…"], now: now | floor, tolerance_s: 300}' \
    | capecontrol stripe verify-webhook

Exit codes: 0 answered, whatever the verdict; 1 standard input could not be read; 2 wrong arguments.
Secrets: the endpoint's secrets come by standard input only, and are never printed."#;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Judge a webhook's signature: {"payload_base64", "header", "secrets", "now", …} → {"accept", "reason"}.
    ///
    /// The payload is what Stripe posted, byte for byte, in base64; the header is the value of Stripe-Signature. Any of
    /// its v1 signatures may match any of the secrets, for Stripe signs with two while one replaces the other. `now` is
    /// in seconds since 1970; a signature is refused that is more than `tolerance_s` (300 when it is not given) older
    /// than that, or as much ahead of it.
    #[command(verbatim_doc_comment, after_long_help = VERIFY_WEBHOOK)]
    VerifyWebhook(Input),
}

pub(super) fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::VerifyWebhook(input) => input.answer(functions::verify_webhook),
    }
}
