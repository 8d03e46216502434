//! `audit …`: the audit log, for whoever runs the platform: verified, read, handed out.

use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use serde_json::{Value, json};

use super::chain::{head_json, hex, known, print};
use super::{Failure, Output, log, note, operator, say};
use crate::app::{Console, real};
use crate::audit::{Batch, EventId, Filter, Known, Link, Outcome, Remembered, Report, Risk, Seen};
use crate::auth::service::AuditReach;
use crate::base::{Id, OrganizationId, Timestamp};
use crate::config::Config;
use crate::db::Access;

/// How many entries one question asks for.
const PAGE: i64 = 200;

const VERIFY: &str = "\
Examples:
  capecontrol audit verify
  capecontrol audit verify --head 4211:9f86d081884c7d65…     the log must still hold this head

Exit codes: 0 the log is whole; 1 it is not, or it could not be read; 2 wrong arguments.
Secrets: the root key is read from where the node has it, for the key that heads are signed with grows from it.";

const LIST: &str = "\
Examples:
  capecontrol audit list --limit 20
  capecontrol audit list --action auth. --risk high --since 2026-11-01T00:00:00Z --json

Exit codes: 0 listed; 1 not done; 2 wrong arguments.";

const EXPORT: &str = "\
Example:
  capecontrol audit export > audit.jsonl

docs/audit.md tells how it is verified by a program that is not this one.

Exit codes: 0 all of it was written; 1 not; 2 wrong arguments.";

const HEADS: &str = "\
Example:
  capecontrol audit heads --last

Exit codes: 0 listed; 1 not done; 2 wrong arguments.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verify the audit log from its beginning to its end.
    ///
    /// The chain is followed, every entry is recomputed, every head's signature is checked. Of a bad log the first bad
    /// entry is told, and what is wrong with it. Keep the head that is printed where nobody who can write to the
    /// database can write: with --head a later verification shows that nothing was cut off. Reads only; the node may
    /// be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = VERIFY)]
    Verify {
        /// A head that was written down before: its position, a colon, and its hash in hexadecimal digits.
        #[arg(long, value_name = "POSITION:HASH", value_parser = known)]
        head: Option<Known>,
        #[command(flatten)]
        output: Output,
    },
    /// List entries of the audit log, the newest first.
    ///
    /// Reads only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = LIST)]
    List {
        #[command(flatten)]
        wanted: Box<Wanted>,
        #[command(flatten)]
        output: Output,
    },
    /// Write the audit log to standard output, in the order of its chain, one JSON object in a line.
    ///
    /// Each line has one of `start`, `event`, `link` and `head`. What waits for its place in the chain is not in it.
    /// The export is itself an entry of the log.
    #[command(verbatim_doc_comment, after_long_help = EXPORT)]
    Export {
        /// Only what concerns this organisation; of the other entries their digests.
        #[arg(long, value_name = "ID", value_parser = organization)]
        organization: Option<OrganizationId>,
        /// Only batches that end behind this position.
        #[arg(long, value_name = "POSITION", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
        after: i64,
    },
    /// List the signed heads of the chain, and tell the public key that they are signed with.
    ///
    /// Reads only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = HEADS)]
    Heads {
        /// Only heads behind this position.
        #[arg(long, value_name = "POSITION", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
        after: i64,
        /// Only the last one.
        #[arg(long)]
        last: bool,
        #[command(flatten)]
        output: Output,
    },
}

/// Which entries are listed.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// Only what concerns this organisation.
    #[arg(long, value_name = "ID", value_parser = organization)]
    organization: Option<OrganizationId>,
    /// Only actions that begin so, such as `auth.`.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    action: String,
    /// Only what this account, API key or service account did, or what was done in its name.
    #[arg(long, value_name = "ID", value_parser = id)]
    actor: Option<Id<()>>,
    /// Only what was done to the thing with this id.
    #[arg(long, value_name = "ID", value_parser = id)]
    subject: Option<Id<()>>,
    /// Only of this risk: low, medium or high.
    #[arg(long, value_name = "RISK", value_parser = risk)]
    risk: Option<Risk>,
    /// Only from then on, as in 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only before then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

fn id(text: &str) -> Result<Id<()>, String> {
    text.parse().map_err(|_| "must be a UUID".to_owned())
}

fn organization(text: &str) -> Result<OrganizationId, String> {
    text.parse().map_err(|_| "must be the id of an organisation".to_owned())
}

fn risk(text: &str) -> Result<Risk, String> {
    Risk::parse(text).ok_or_else(|| "must be low, medium or high".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "must be a time such as 2026-11-01T00:00:00Z".to_owned())
}

pub(super) async fn run(config: Config, command: Command) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    match command {
        Command::Verify { head, output } => verify(&config, head, output).await,
        Command::List { wanted, output } => list(&config, *wanted, output).await,
        Command::Export { organization, after } => export(&config, organization, after).await,
        Command::Heads { after, last, output } => heads(&config, after, last, output).await,
    }
}

async fn verify(config: &Config, known: Option<Known>, output: Output) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let report = console.auth.verify_audit_log(&operator(), AuditReach::Platform, known).await;
    let public_key = hex(&console.auth.audit().public_key());
    console.db.close().await;
    let report = report?;
    if output.json {
        say(report_json(&report, &public_key));
    } else {
        show(&report);
    }
    Ok(if report.bad.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report_json(report: &Report, public_key: &str) -> Value {
    let bad = report.bad.map(|bad| {
        json!({
            "position": bad.position,
            "id": bad.id,
            "fault": bad.fault.as_str(),
            "detail": bad.sentence(),
        })
    });
    json!({
        "intact": report.bad.is_none(),
        "entries": report.entries,
        "links": report.links,
        "unsealed": report.unsealed,
        "head": report.head.as_ref().map(head_json),
        "first_bad": bad,
        "public_key": public_key,
    })
}

fn show(report: &Report) {
    say(format_args!(
        "{} entries were recomputed; {} wait for their place.",
        report.entries, report.unsealed
    ));
    if let Some(head) = &report.head {
        let (hash, at) = (hex(&head.hash), head.signed_at.to_rfc3339());
        say(format_args!("The last head that holds is {}:{hash}, signed at {at}.", head.position));
    }
    let Some(bad) = report.bad else {
        say("The log is whole.");
        return;
    };
    let place =
        bad.position.map_or_else(|| "without a position".to_owned(), |at| format!("at position {at}"));
    let id = bad.id.map_or_else(|| "whose id is not known".to_owned(), |id| id.to_string());
    say(format_args!("THE LOG IS BAD. The first bad entry is {place}, {id}."));
    say(format_args!("{} ({})", bad.sentence(), bad.fault.as_str()));
}

async fn list(config: &Config, wanted: Wanted, output: Output) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let reach = wanted.organization.map_or(AuditReach::Platform, AuditReach::Organization);
    let filter = Filter {
        action_prefix: wanted.action,
        actor: wanted.actor.map(Id::uuid),
        subject: wanted.subject.map(Id::uuid),
        risk: wanted.risk,
        since: wanted.since,
        until: wanted.until,
    };
    let (mut left, mut after): (i64, Option<EventId>) = (i64::from(wanted.limit), None);
    while left > 0 {
        let page = left.min(PAGE);
        let listed = console.auth.list_audit_events(&operator(), reach, filter.clone(), after, page).await?;
        for seen in &listed {
            if output.json {
                say(event_json(seen));
            } else {
                say(line(seen));
            }
        }
        let full = i64::try_from(listed.len()).unwrap_or(i64::MAX) == page;
        after = listed.last().map(|seen| seen.event.id);
        left = if full { left.saturating_sub(page) } else { 0 };
    }
    console.db.close().await;
    Ok(ExitCode::SUCCESS)
}

fn line(seen: &Seen) -> String {
    let event = &seen.event;
    let text = |value: Option<String>| value.map(|value| format!(" {value}")).unwrap_or_default();
    let actor = event.actor_id.map(|id| id.to_string()).or_else(|| event.purpose.clone());
    let name = event.on_behalf_of.map(|id| format!("for {id}"));
    let subject =
        event.subject_kind.as_ref().zip(event.subject_id).map(|(kind, id)| format!("on {kind} {id}"));
    let from = match &seen.personal {
        Remembered::Known(known) => known.address.map(|address| format!("from {address}")),
        Remembered::Erased => Some("from (erased)".to_owned()),
        Remembered::Nothing => None,
    };
    let refused = event.reason.as_ref().map(|reason| format!("REFUSED {}x {reason}", event.occurrences));
    let position = seen.place.map_or_else(|| "-".to_owned(), |place| place.position.to_string());
    format!(
        "{} {position:>8} {:<6} {} {}{}{}{}{}{}",
        event.created_at.to_rfc3339(),
        event.risk,
        event.action,
        event.actor_kind,
        text(actor),
        text(name),
        text(subject),
        text(from),
        text(refused),
    )
}

async fn export(
    config: &Config,
    organization: Option<OrganizationId>,
    after: i64,
) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Write).await?;
    let reach = organization.map_or(AuditReach::Platform, AuditReach::Organization);
    let mut auditing = console.auth.export_audit_events(operator(), reach, after).await?;
    let mut out = BufWriter::new(std::io::stdout());
    let key = hex(&console.auth.audit().public_key());
    let start = json!({ "position": auditing.position, "hash": hex(&auditing.hash), "public_key": key });
    writeln!(out, "{}", json!({ "start": start }))?;
    while let Some(Batch { links, head }) = console.auth.next_audit_batch(&mut auditing).await? {
        for link in &links {
            let told = match link {
                Link::Entry(seen) => json!({ "event": event_json(seen) }),
                Link::Others { position, digest } => {
                    json!({ "link": { "position": position, "digest": hex(digest) } })
                }
            };
            writeln!(out, "{told}")?;
        }
        writeln!(out, "{}", json!({ "head": head_json(&head) }))?;
    }
    out.flush()?;
    console.db.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn heads(config: &Config, after: i64, last: bool, output: Output) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let (mut after, mut newest) = (after, None);
    if !output.json {
        note(format_args!("Signed with {}", hex(&console.auth.audit().public_key())));
    }
    loop {
        let page = console.auth.audit_heads(&operator(), after, PAGE).await?;
        let Some(end) = page.last().cloned() else { break };
        if !last {
            for head in &page {
                print(head, output);
            }
        }
        after = end.position;
        newest = Some(end);
    }
    if let Some(head) = newest.filter(|_| last) {
        print(&head, output);
    }
    console.db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// An entry as programs read it, with everything that its digest is made of.
fn event_json(seen: &Seen) -> Value {
    let event = &seen.event;
    let (address, user_agent) = match &seen.personal {
        Remembered::Known(known) => (known.address, Some(known.agent.as_str())),
        Remembered::Erased | Remembered::Nothing => (None, None),
    };
    json!({
        "position": seen.place.map(|place| place.position),
        "hash": seen.place.map(|place| hex(&place.hash)),
        "id": event.id,
        "organization_id": event.organization_id,
        "action": event.action,
        "outcome": event.outcome,
        "reason": event.reason,
        "occurrences": event.occurrences,
        "risk": event.risk,
        "actor_kind": event.actor_kind,
        "actor_id": event.actor_id,
        "on_behalf_of": event.on_behalf_of,
        "session_id": event.session_id,
        "purpose": event.purpose,
        "subject_kind": event.subject_kind,
        "subject_id": event.subject_id,
        "before_digest": event.before_digest.as_deref().map(hex),
        "after_digest": event.after_digest.as_deref().map(hex),
        "request_id": event.request_id,
        "person_id": event.person_id,
        "sealed_personal": event.personal.as_deref().map(|bytes| STANDARD.encode(bytes)),
        "created_at_micros": event.created_at.as_micros(),
        "created_at": event.created_at.to_rfc3339(),
        "address": address,
        "user_agent": user_agent,
        "erased": seen.personal == Remembered::Erased,
        "refused": event.outcome == Outcome::Refused.as_str(),
    })
}
