//! `payfast doctor`: the checklist before going live, walked.

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output, note, say};
use crate::app::{Console, payments_options, real};
use crate::config::{Config, Effective, Problems};
use crate::db::{Access, Scope};
use crate::payments::doctor::{self, Finding, QUESTIONS, Setting, Verdict};
use crate::payments::provider;
use crate::payments::store::golive::{self, Round};

pub(super) const DOCTOR: &str = "\
Examples:
  capecontrol payfast doctor
  capecontrol payfast doctor --json | jq -r '.checks[] | select(.result == \"fail\") | .check'

Exit codes: 0 nothing fails, though something may be worth a look; 1 something fails, or the settings cannot be used; 2
wrong arguments.
Secrets: are read from where the settings say; they are not printed, and not kept with what was found.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(
    settings: Result<(Config, Vec<Effective>), Problems>,
    arguments: Arguments,
) -> Result<ExitCode, Failure> {
    let config = match settings {
        Ok((config, _)) => config,
        Err(problems) if arguments.output.json => {
            say(json!({ "problems": problems.0, "checks": [], "questions": QUESTIONS }));
            return Ok(ExitCode::FAILURE);
        }
        Err(problems) => return Err(problems.into()),
    };
    let (world, options) = (real::world(), payments_options(&config));
    let probes = provider::probe(&options, &world).await?;
    let console = Console::open(&config, world.clone(), Access::Write).await;
    let setting = Setting {
        trusted_proxies: config.server.trusted_proxies.len(),
        listens_on_loopback: config.server.listen.ip().is_loopback(),
        database: console.as_ref().err().map(ToString::to_string),
        root_key_given: config.root_key.is_some(),
    };
    let round = Round {
        id: world.id(),
        mode: options.mode,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: world.now(),
        findings: doctor::examine(&options, &setting, &probes),
    };
    if let Ok(console) = console {
        keep(console, &round).await;
    }
    tell(&round, arguments.output);
    let fails = round.findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Keeps the evidence. What was found is told even when it cannot be kept.
async fn keep(console: Console, round: &Round) {
    let kept = async {
        let mut tx = console.db.begin(Scope::System("payments.doctor")).await?;
        golive::insert(&mut tx, round).await?;
        tx.commit().await
    };
    if let Err(error) = kept.await {
        note(format_args!("What was found could not be kept: {}", error.chain()));
    }
    console.db.close().await;
}

fn tell(round: &Round, output: Output) {
    if output.json {
        let told = |finding: &Finding| {
            let Finding { check, verdict, detail } = finding;
            json!({ "check": check, "result": verdict, "detail": detail })
        };
        let checks: Vec<_> = round.findings.iter().map(told).collect();
        let mode = round.mode.as_str();
        say(json!({ "mode": mode, "version": round.version, "checks": checks, "questions": QUESTIONS }));
        return;
    }
    for finding in &round.findings {
        let (verdict, check) = (finding.verdict.as_str(), finding.check.as_str());
        say(format_args!("{verdict:<8}{check:<13} {}", finding.detail));
    }
    say("\nWhat only a sandbox, or the first real payment, can tell:");
    for (number, question) in (1..).zip(QUESTIONS) {
        say(format_args!("{number:>3}. {question}"));
    }
}
