//! Files of the repository that are written from the code. The tests compare them; `make gen` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use capecontrol::base::fault::{self, Code, Reason};
use capecontrol::base::{Currency, Money};
use capecontrol::config::{Config, Sources};
use capecontrol::db::{Conn as _, Engine, Scope};
use capecontrol::payments::model::ledger::{self, Account, Balanced, Kind};
use capecontrol::{ai, auth, chat, idempotency, market, payments, rpc, storage};

use crate::support::{Fixture, Start as _};
use crate::tidy::source;

/// Set by `make gen`: write instead of compare.
const VARIABLE: &str = "CAPECONTROL_WRITE_GENERATED";

/// Every registry of reasons, by the module that keeps it.
const REASONS: &[(&str, &[&Reason])] = &[
    ("Everywhere", fault::REASONS),
    ("Every call", rpc::refusal::REASONS),
    ("Lists", rpc::page::REASONS),
    ("Repetition of calls", idempotency::REASONS),
    ("Auth", auth::REASONS),
    ("Chat", chat::REASONS),
    ("Files", storage::REASONS),
    ("Marketplace", market::REASONS),
    ("Payments", payments::REASONS),
    ("AI", ai::REASONS),
];

/// The registered reason of this name.
pub fn reason(name: &str) -> Option<&'static Reason> {
    REASONS.iter().flat_map(|(_, reasons)| *reasons).copied().find(|reason| reason.name == name)
}

#[test]
fn the_registry_of_errors_is_current() {
    let mut text = "# Errors\n\n\
        Every error carries a `google.rpc.ErrorInfo` with one of these reasons and the domain `capecontrol`. Programs\n\
        compare the reason, never the message. This page is written by `make gen`.\n"
        .to_owned();
    for (title, reasons) in REASONS {
        text.extend(["\n## ", title, "\n\n| reason | code | when, and what to do |\n| --- | --- | --- |\n"]);
        let mut rows: Vec<String> = reasons.iter().map(|reason| row(reason)).collect();
        rows.sort();
        text.extend(rows);
    }
    compare("docs/errors.md", &text);
}

fn row(reason: &Reason) -> String {
    format!("| `{}` | `{}` | {} |\n", reason.name, code(reason.code), reason.help)
}

/// The code as gRPC writes it.
fn code(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[test]
fn the_page_of_commands_is_current() {
    let text = "# Command line\n\n\
        What `--help` says, of every command. This page is written by `make gen`.\n"
        .to_owned();
    compare("docs/command-line.md", &(text + &capecontrol::cli::manual()));
}

/// What the migrations made of it, which is what the database holds entries to.
#[tokio::test]
async fn the_chart_of_accounts_is_current() {
    let t = Fixture::start(Engine::Sqlite).await;
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let rows: Vec<(String, String, String)> =
        conn.shared_sql("SELECT kind, id, name FROM ledger_accounts ORDER BY kind, id").all().await.unwrap();
    let mut text = "# Chart of accounts\n\n\
        The accounts of the [ledger](ledger.md), and what is booked on them. Assets and expenses grow by debits,\n\
        liabilities and income by credits. This page is written by `make gen`.\n\n\
        | kind | account | what it holds |\n| --- | --- | --- |\n"
        .to_owned();
    for (kind, id, name) in &rows {
        assert!(Account::parse(id).is_some(), "the program does not know the account {id}");
        text.push_str(&format!("| {kind} | `{id}` | {name} |\n"));
    }
    text.push_str(
        "\n## What is booked\n\n\
        By kind of transaction, as the program makes the entries. The example is a sale of R529.00, with R69.00 of\n\
        tax in it, of which PayFast keeps R12.17; giving money back costs R2.30.\n\n\
        | kind | when | account | debit | credit |\n| --- | --- | --- | ---: | ---: |\n",
    );
    text.extend(bookings().into_iter().map(booked));
    compare("docs/chart-of-accounts.md", &text);
}

/// What the program books: the kind, when, and the entries.
fn bookings() -> Vec<(Kind, &'static str, Balanced)> {
    let rand = |minor| Money::new(minor, Currency::Zar);
    let (gross, tax, fee, back) = (rand(52_900), rand(6_900), rand(1_217), rand(230));
    let made = [
        (Kind::InvoiceIssued, "an invoice gets its number: it is owed", ledger::invoice_issued(gross, tax)),
        (Kind::Settlement, "the invoice is paid", ledger::settlement(gross, fee)),
        (Kind::UnappliedReceipt, "money comes for no open order", ledger::unapplied_receipt(gross, fee)),
        (Kind::Settlement, "such money turns out to be an invoice's", ledger::unapplied_settlement(gross)),
        (
            Kind::CreditNote,
            "a sale is undone while it is owed",
            ledger::credit_note(gross, tax, Account::Receivable),
        ),
        (
            Kind::CreditNote,
            "a sale is undone once it is paid",
            ledger::credit_note(gross, tax, Account::CustomerCredit),
        ),
        (Kind::WriteOff, "an invoice is given up for lost", ledger::write_off(gross, tax)),
        (Kind::Refund, "money of a credit note goes back", ledger::refund(Account::CustomerCredit, gross)),
        (
            Kind::Refund,
            "money for no open order goes back",
            ledger::refund(Account::UnappliedReceipts, gross),
        ),
        (Kind::Refund, "money for no open order becomes credit", ledger::refund_to_credit(gross)),
        (Kind::ProviderCharge, "a fee becomes known later", ledger::provider_charge(back)),
        (Kind::Chargeback, "a card scheme takes money back", ledger::chargeback(gross, back)),
        (Kind::BankPayout, "PayFast pays out to the bank", ledger::bank_payout(gross, back)),
    ];
    made.map(|(kind, when, books)| (kind, when, books.unwrap())).into()
}

/// A booking as rows of the table, the first of which says what it is.
fn booked((kind, when, books): (Kind, &str, Balanced)) -> String {
    let mut heading = (format!("`{}`", kind.as_str()), when);
    let rows = books.entries().iter().map(|entry| {
        let (kind, when) = std::mem::take(&mut heading);
        let account = entry.account.as_str();
        match entry.amount.to_decimal_string().strip_prefix('-') {
            None => format!("| {kind} | {when} | `{account}` | {} | |\n", entry.amount.to_decimal_string()),
            Some(credit) => format!("| {kind} | {when} | `{account}` | | {credit} |\n"),
        }
    });
    rows.collect()
}

#[test]
fn every_reason_is_registered_once() {
    let mut codes = BTreeMap::new();
    for reason in REASONS.iter().flat_map(|(_, reasons)| *reasons) {
        assert!(codes.insert(reason.name, reason.code).is_none(), "{} is registered twice", reason.name);
        let shape = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(reason.name.chars().all(shape), "{} is not in upper snake case", reason.name);
    }
    let made: Vec<String> = source::read(Path::new(env!("CARGO_MANIFEST_DIR")), "src", &["rs"])
        .iter()
        .flat_map(|source| source.text.split("static ").skip(1).filter_map(reason_made).collect::<Vec<_>>())
        .collect();
    for name in &made {
        assert!(codes.contains_key(name.as_str()), "{name} is in no registry of the list above");
    }
    assert_eq!(made.len(), codes.len(), "a reason is made in a way that this test does not see");
}

/// The name of the reason whose declaration follows, if it is one's.
fn reason_made(declaration: &str) -> Option<String> {
    let value = declaration.split_once(": Reason =")?.1.trim_start().strip_prefix("Reason::new(")?;
    value.split('"').nth(1).map(str::to_owned)
}

/// The page of settings is written by hand, for its words say more than the program's; which settings there are, the
/// program says.
#[test]
fn every_setting_is_on_the_page_of_settings() {
    let (_, effective) = Config::read(Sources::default()).unwrap();
    let settings: BTreeSet<&str> = effective.iter().map(|setting| setting.key).collect();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let (_, section) = page.split_once("## Settings").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let told: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(told, settings);
}

/// Compares a file of the repository with what it must hold, or writes it.
#[expect(clippy::disallowed_methods, reason = "`make gen` says by the environment that it wants to write")]
pub fn compare(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var(VARIABLE).is_ok() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
    }
    let stands = fs::read_to_string(&file).unwrap_or_default();
    assert!(stands == text, "{path} is not current: run `make gen` and commit what it writes");
}
