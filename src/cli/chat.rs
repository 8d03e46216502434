//! `chat …`: what was reported, and taking back what a person wrote, for whoever runs the platform.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, Output, log, operator, say};
use crate::app::{Console, real};
use crate::base::AccountId;
use crate::chat::model::Actor;
use crate::chat::model::conduct::{Report, ReportId};
use crate::config::Config;
use crate::db::Access;

const REPORTS: &str = "\
Examples:
  capecontrol chat reports
  capecontrol chat reports --all --json | jq -r '.[].author'

Exit codes: 0 listed; 1 not done; 2 wrong arguments.
Secrets: the texts that were reported are printed, for that is what it is for.";

const RESOLVE: &str = "\
Example:
  capecontrol chat resolve 0199… --as \"the account was suspended, ticket 4711\"

Exit codes: 0 resolved; 1 not done, or there is no such open report; 2 wrong arguments.";

const ERASE: &str = "\
Example:
  capecontrol chat erase --account 0199…

Exit codes: 0 a job does it; 1 not done; 2 wrong arguments.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the messages that people reported, the oldest first, each with its text as it was then.
    ///
    /// Reads only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = REPORTS)]
    Reports {
        /// Those that were resolved, too.
        #[arg(long)]
        all: bool,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Note what came of a report, which takes it off the list.
    #[command(verbatim_doc_comment, after_long_help = RESOLVE)]
    Resolve {
        /// The report, as `chat reports` lists it.
        #[arg(value_name = "ID", value_parser = report)]
        id: ReportId,
        /// What came of it: one line.
        #[arg(long = "as", value_name = "TEXT")]
        resolution: String,
        #[command(flatten)]
        output: Output,
    },
    /// Take back everything that a person wrote, in every organisation.
    ///
    /// Their messages keep their places and lose their texts, also in the stored events and in searches, as if the
    /// person had deleted each of them. A node that serves does it, message by message, and begins within a second. It
    /// cannot be undone. What an organisation holds for a court goes when the hold ends. What was reported of it stays
    /// with the reports.
    #[command(verbatim_doc_comment, after_long_help = ERASE)]
    Erase {
        /// The person's account, as GetAccount tells its id.
        #[arg(long, value_name = "ID", value_parser = account)]
        account: AccountId,
        #[command(flatten)]
        output: Output,
    },
}

fn account(text: &str) -> Result<AccountId, String> {
    text.parse().map_err(|_| "must be the id of an account".to_owned())
}

fn report(text: &str) -> Result<ReportId, String> {
    text.parse().map_err(|_| "must be the id of a report, such as `chat reports` lists".to_owned())
}

pub(super) async fn run(config: Config, command: Command) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    match command {
        Command::Reports { all, limit, output } => reports(&config, all, limit, output).await?,
        Command::Erase { account, output } => erase(&config, account, output).await?,
        Command::Resolve { id, resolution, output } => resolve(&config, id, &resolution, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn reports(config: &Config, all: bool, limit: i64, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let listed = console.chat.reports(&operator(), all, limit).await;
    console.db.close().await;
    let listed = listed?;
    if output.json {
        let told: Vec<Value> = listed.iter().map(report_json).collect();
        say(serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    for report in &listed {
        let (at, reason) = (report.created_at.to_rfc3339(), report.reason.as_str());
        say(format_args!("{}  {reason}, {at}, written by {}", report.id, author(report.author)));
        say(format_args!("    {}", one_line(&report.text)));
        if !report.comment.is_empty() {
            say(format_args!("    the reporter: {}", one_line(&report.comment)));
        }
        if let Some((_, resolution)) = &report.resolution {
            say(format_args!("    resolved: {resolution}"));
        }
    }
    if listed.is_empty() {
        say("There is no such report.");
    }
    Ok(())
}

/// What people wrote must not look like another line of the list, or drive the terminal.
fn one_line(text: &str) -> String {
    text.escape_debug().to_string()
}

fn author(author: Actor) -> String {
    match author {
        Actor::Account(id) => format!("account {id}"),
        Actor::Agent(id) => format!("agent {id}"),
    }
}

fn report_json(report: &Report) -> Value {
    let (account, agent) = match report.author {
        Actor::Account(id) => (Some(id.to_string()), None),
        Actor::Agent(id) => (None, Some(id.to_string())),
    };
    json!({
        "id": report.id.to_string(),
        "organization_id": report.organization_id.to_string(),
        "thread_id": report.thread_id.to_string(),
        "message_id": report.message_id.to_string(),
        "author": { "account_id": account, "listing_id": agent },
        "text": report.text,
        "reporter_id": report.reporter_id.to_string(),
        "reason": report.reason.as_str(),
        "comment": report.comment,
        "created_at": report.created_at.to_rfc3339(),
        "resolved_at": report.resolution.as_ref().map(|(at, _)| at.to_rfc3339()),
        "resolution": report.resolution.as_ref().map(|(_, resolution)| resolution),
    })
}

async fn resolve(config: &Config, id: ReportId, resolution: &str, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Write).await?;
    let done = console.chat.resolve(&operator(), id, resolution).await;
    console.db.close().await;
    done?;
    if output.json {
        say(json!({ "id": id.to_string(), "outcome": "resolved" }));
    } else {
        say("The report is resolved.");
    }
    Ok(())
}

async fn erase(config: &Config, account: AccountId, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Write).await?;
    let done = console.chat.erase_messages(&operator(), account).await;
    console.db.close().await;
    done?;
    if output.json {
        say(json!({ "account_id": account.to_string(), "outcome": "queued" }));
    } else {
        say("A node will take back what the account wrote.");
    }
    Ok(())
}
