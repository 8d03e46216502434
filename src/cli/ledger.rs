//! `ledger …`: the books, for whoever runs the platform: verified, reported on, their heads, their balances made anew.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::chain::{head_json, hex, known, print};
use super::{Failure, Output, log, note, operator, report, say};
use crate::app::{Console, real};
use crate::base::Money;
use crate::chain::Known;
use crate::config::Config;
use crate::db::Access;
use crate::payments::model::ledger::Account;
use crate::payments::service::{Fault, Rebuilt, Report};

/// How many heads one question asks for.
const PAGE: i64 = 200;

const VERIFY: &str = "\
Examples:
  capecontrol ledger verify
  capecontrol ledger verify --head 4211:9f86d081884c7d65…     the chain must still hold this head

Exit codes: 0 the books are right; 1 they are not, or they could not be read; 2 wrong arguments.
Secrets: the root key is read from where the node has it, for the key that heads are signed with grows from it.";

const HEADS: &str = "\
Example:
  capecontrol ledger heads --last

Exit codes: 0 listed; 1 not done; 2 wrong arguments.";

const REBUILD: &str = "\
Example:
  capecontrol ledger verify || capecontrol ledger rebuild --json

Exit codes: 0 written anew, whether or not anything was wrong; 1 not done; 2 wrong arguments.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verify the ledger from its beginning to its end.
    ///
    /// The chain is followed, every transaction is recomputed, every head's signature is checked, every projected
    /// balance is compared with the sum of its entries, and the whole with invoices and payments. Of a bad chain the
    /// first bad transaction is told, and its position. Keep the head that is printed where nobody who can write to the
    /// database can write: with --head a later verification shows that nothing was cut off. Reads only; the node may be
    /// serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = VERIFY)]
    Verify {
        /// A head that was written down before: its position, a colon, and its hash in hexadecimal digits.
        #[arg(long, value_name = "POSITION:HASH", value_parser = known)]
        head: Option<Known>,
        #[command(flatten)]
        output: Output,
    },
    /// Report revenue, tax, fees and payments by day, week or month in South African time.
    ///
    /// Each period is a line, with a bar as long as what was paid in it. Every amount is a sum over the ledger's
    /// entries; each currency, and money of tests, has a table of its own. Reads only; the node may be serving
    /// meanwhile.
    #[command(verbatim_doc_comment, after_long_help = report::REPORT)]
    Report(report::Arguments),
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
    /// Write the projected balances anew, from the entries.
    ///
    /// Balances are summed as transactions are sealed, so that nobody sums the whole ledger to know them. This throws
    /// them away and sums all that is sealed, and tells which were wrong. Entries and chain are not touched: verify
    /// them first, for a balance that is made of entries that somebody changed is as wrong as they are. The node may
    /// be serving meanwhile. It is an entry of the audit log.
    #[command(verbatim_doc_comment, after_long_help = REBUILD)]
    Rebuild {
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(config: Config, command: Command) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    match command {
        Command::Verify { head, output } => verify(&config, head, output).await,
        Command::Report(arguments) => report::run(&config, arguments).await,
        Command::Heads { after, last, output } => heads(&config, after, last, output).await,
        Command::Rebuild { output } => rebuild(&config, output).await,
    }
}

async fn verify(config: &Config, known: Option<Known>, output: Output) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let report = console.ledger.verify(&operator(), known).await;
    console.db.close().await;
    let report = report?;
    if output.json {
        say(report_json(&report));
    } else {
        show(&report);
    }
    Ok(if report.balanced() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report_json(report: &Report) -> Value {
    let chain = &report.chain;
    let broken = chain.broken.map(|broken| {
        json!({
            "position": broken.position,
            "id": broken.transaction,
            "fault": broken.kind.as_str(),
            "detail": broken.detail,
        })
    });
    json!({
        "balanced": report.balanced(),
        "transactions": report.transactions,
        "entries": report.entries,
        "sealed": chain.sealed,
        "unsealed": chain.unsealed,
        "unsealed_seconds": chain.unsealed_for.as_secs(),
        "head": chain.head.as_ref().map(head_json),
        "first_bad": broken,
        "balances": report.balances.iter().map(balance_json).collect::<Vec<_>>(),
        "faults": report.faults.iter().map(fault_json).collect::<Vec<_>>(),
        "public_key": hex(&chain.public_key),
    })
}

fn balance_json((account, balance): &(Account, Money)) -> Value {
    json!({ "account": account.as_str(), "currency": balance.currency.code(), "minor": balance.minor })
}

fn fault_json(fault: &Fault) -> Value {
    json!({ "fault": fault.kind.as_str(), "subject": fault.subject, "detail": fault.detail })
}

fn show(report: &Report) {
    let chain = &report.chain;
    let (transactions, entries, unsealed) = (report.transactions, report.entries, chain.unsealed);
    say(format_args!("{transactions} transactions with {entries} entries; {unsealed} wait for their place."));
    if unsealed > 0 {
        say(format_args!("The first of them has waited for {} seconds.", chain.unsealed_for.as_secs()));
    }
    if let Some(head) = &chain.head {
        let (hash, at) = (hex(&head.hash), head.signed_at.to_rfc3339());
        say(format_args!("The last head that holds is {}:{hash}, signed at {at}.", head.position));
    }
    for (account, balance) in &report.balances {
        let (amount, currency) = (balance.to_decimal_string(), balance.currency.code());
        say(format_args!("{:<24} {amount:>20} {currency}", account.as_str()));
    }
    if report.balanced() {
        say("The books are right.");
        return;
    }
    say("THE BOOKS ARE BAD.");
    if let Some(broken) = chain.broken {
        let place =
            broken.position.map_or_else(|| "without a position".to_owned(), |at| format!("at position {at}"));
        let id = broken.transaction.map_or_else(|| "whose id is not known".to_owned(), |id| id.to_string());
        say(format_args!("The first bad transaction is {place}, {id}."));
    }
    for fault in &report.faults {
        say(format_args!("{} {}: {}", fault.kind.as_str(), fault.subject, fault.detail));
    }
}

async fn heads(config: &Config, after: i64, last: bool, output: Output) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    if !output.json {
        note(format_args!("Signed with {}", hex(&console.ledger.public_key())));
    }
    if last {
        let head = console.ledger.last_head(&operator()).await?;
        if let Some(head) = head.filter(|head| head.position > after) {
            print(&head, output);
        }
    } else {
        let mut after = after;
        loop {
            let page = console.ledger.heads(&operator(), after, PAGE).await?;
            let Some(end) = page.last() else { break };
            after = end.position;
            for head in &page {
                print(head, output);
            }
        }
    }
    console.db.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn rebuild(config: &Config, output: Output) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Write).await?;
    let rebuilt = console.ledger.rebuild(&operator()).await;
    console.db.close().await;
    let Rebuilt { position, balances, drifts } = rebuilt?;
    if output.json {
        let wrong: Vec<Value> = drifts
            .iter()
            .map(|drift| {
                json!({
                    "account": drift.account_id,
                    "currency": drift.currency,
                    "projected_minor": drift.projected.map(|(minor, _)| minor),
                    "summed_minor": drift.summed.and_then(|(minor, _)| i64::try_from(minor).ok()),
                    "detail": drift.to_string(),
                })
            })
            .collect();
        say(json!({ "position": position, "balances": balances, "wrong": wrong }));
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!("{balances} balances were written anew, up to position {position}."));
    for drift in &drifts {
        say(format_args!("WRONG before: {} {} {drift}.", drift.account_id, drift.currency));
    }
    if drifts.is_empty() {
        say("None of them was wrong.");
    }
    Ok(ExitCode::SUCCESS)
}
