//! `jobs …`: work that failed for good, for whoever runs the platform.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, Output, log, operator, say};
use crate::app::{Console, real};
use crate::config::Config;
use crate::db::Access;
use crate::jobs::JobId;

const DEAD: &str = "\
Examples:
  capecontrol jobs dead
  capecontrol jobs dead --kind mail.send --json | jq -r '.[].id'

Exit codes: 0 listed; 1 not done; 2 wrong arguments.
Secrets: what a job is about is not told, for it may hold what belongs to people.";

const RETRY: &str = "\
Examples:
  capecontrol jobs retry 0199…
  capecontrol jobs dead --kind mail.send --json | jq -r '.[].id' | xargs -n 1 capecontrol jobs retry

Exit codes: 0 queued; 1 not done, or there is no such dead job; 2 wrong arguments.";

const DISCARD: &str = "\
Example:
  capecontrol jobs discard 0199… --reason \"the address does not exist\"

Exit codes: 0 gone; 1 not done, or there is no such dead job; 2 wrong arguments.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List jobs that failed for good, the latest first.
    ///
    /// Reads only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = DEAD)]
    Dead {
        /// Only those of this kind, such as mail.send.
        #[arg(long, value_name = "KIND", default_value = "")]
        kind: String,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Have a dead job tried again, with all its attempts before it.
    ///
    /// A node that serves takes it up within a second.
    #[command(verbatim_doc_comment, after_long_help = RETRY)]
    Retry {
        /// The job, as `jobs dead` lists it.
        #[arg(value_name = "ID", value_parser = job)]
        id: JobId,
        #[command(flatten)]
        output: Output,
    },
    /// Give a dead job up for good. What it was to do is not done.
    #[command(verbatim_doc_comment, after_long_help = DISCARD)]
    Discard {
        /// The job, as `jobs dead` lists it.
        #[arg(value_name = "ID", value_parser = job)]
        id: JobId,
        /// Why: one line, which is logged.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Output,
    },
}

fn job(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "must be the id of a job, such as `jobs dead` lists".to_owned())
}

pub(super) async fn run(config: Config, command: Command) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    match command {
        Command::Dead { kind, limit, output } => list(&config, &kind, limit, output).await?,
        Command::Retry { id, output } => decide(&config, id, None, output).await?,
        Command::Discard { id, reason, output } => decide(&config, id, Some(&reason), output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(config: &Config, kind: &str, limit: i64, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let listed = console.operations.dead_jobs(&operator(), kind, None, limit).await;
    console.db.close().await;
    let listed = listed?;
    if output.json {
        let told: Vec<Value> = listed
            .iter()
            .map(|job| {
                json!({
                    "id": job.id.to_string(),
                    "kind": job.kind,
                    "organization_id": job.organization_id.map(|id| id.to_string()),
                    "attempts": job.attempts,
                    "last_error": job.last_error,
                    "created_at": job.created_at.to_rfc3339(),
                    "failed_at": job.failed_at.to_rfc3339(),
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    for job in &listed {
        let (at, error) = (job.failed_at.to_rfc3339(), job.last_error.as_deref().unwrap_or("not known"));
        say(format_args!(
            "{}  {}, failed at {at} after {} attempts: {error}",
            job.id, job.kind, job.attempts
        ));
    }
    if listed.is_empty() {
        say("There is no such dead job.");
    }
    Ok(())
}

/// Gives a job up for a reason, or has it tried again without one.
async fn decide(config: &Config, id: JobId, discard: Option<&str>, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Write).await?;
    let (done, word) = match discard {
        Some(reason) => (console.operations.discard(&operator(), id, reason, None).await, "discarded"),
        None => (console.operations.retry(&operator(), id, None).await, "queued"),
    };
    console.db.close().await;
    done?;
    if output.json {
        say(json!({ "id": id.to_string(), "outcome": word }));
    } else {
        say(format_args!("The job is {word}."));
    }
    Ok(())
}
