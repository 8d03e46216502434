//! No statement of the stores reads a table that grows from one end to the other.
//!
//! Each engine is asked how it would run each statement on empty tables. PostgreSQL is told to read whole tables only
//! where it must: what is left is a question that no index answers. SQLite also tells of an index that is read whole.

mod explain;

use std::collections::BTreeSet;
use std::path::Path;

use capecontrol::db::Engine;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use crate::prepare::literals::{self, Call};
use crate::support::{Fixture, Start as _};
use crate::tidy::source;

/// Tables that may be read as a whole, with the reason.
const SMALL: &[(&str, &str)] = &[
    ("ledger_balances", "a row for each account of the books and currency"),
    ("ledger_unsealed", "what waits for the sealer: what was posted within a second"),
    ("plans", "the price list: it changes only by migration"),
];

/// Statements that read a whole table that grows: the file, the table, words of the statement, and the reason.
const EXCUSED: &[(&str, &str, &str, &str)] = &[
    (
        "src/auth/store/session.rs",
        "sessions",
        "SET ended_at = $1, end_reason = $2 WHERE ended_at IS NULL",
        "ends every session, at an operator's word",
    ),
    (
        "src/account_log/store.rs",
        "account_logs",
        "SET epoch = epoch + 1",
        "a restore begins every log's next life",
    ),
    ("src/chat/store.rs", "threads", "SET epoch = epoch + 1", "a restore begins every thread's next life"),
    (
        "src/jobs/store.rs",
        "jobs",
        "count(*)",
        "counted for each look at the metrics; what is done is deleted, so the queue is short",
    ),
    ("src/payments/store/quarantine.rs", "provider_quarantine", "", "counts what the writer keeps bounded"),
    (VERIFICATION, "chargebacks", "", LEDGER),
    (VERIFICATION, "invoices", "", LEDGER),
    (VERIFICATION, "payments", "", LEDGER),
    (VERIFICATION, "receipts", "", LEDGER),
    (VERIFICATION, "refunds", "", LEDGER),
];
const VERIFICATION: &str = "src/payments/store/verification.rs";
const LEDGER: &str = "compares the ledger with all that was sold, which is the point; only for operators";

#[tokio::test]
async fn no_statement_reads_a_whole_table_that_grows() {
    let sources = source::read(Path::new(env!("CARGO_MANIFEST_DIR")), "src", &["rs"]);
    let calls: Vec<Call> = sources.iter().flat_map(literals::calls).collect();
    let mut whole = read_whole_on_sqlite(&calls).await;
    whole.extend(read_whole_on_postgres(&calls).await);
    let small: BTreeSet<&str> = SMALL.iter().map(|(table, _)| *table).collect();
    let tables: BTreeSet<&str> = whole.iter().map(|read| read.table.as_str()).collect();
    let excuses = |read: &Read, (file, table, words, _): &(&str, &str, &str, &str)| {
        read.file == *file && read.table == *table && read.text.contains(words)
    };
    let kept = |read: &&Read| {
        small.contains(read.table.as_str()) || EXCUSED.iter().any(|excuse| excuses(read, excuse))
    };
    let mut found: Vec<String> =
        whole.iter().filter(|read| !kept(read)).map(|read| read.says.clone()).collect();
    found.extend(
        small
            .difference(&tables)
            .map(|table| format!("{table} is never read as a whole: take it from SMALL")),
    );
    for excuse in EXCUSED {
        if !whole.iter().any(|read| excuses(read, excuse)) {
            let (file, table, words, _) = excuse;
            found.push(format!(
                "no statement of {file} with {words:?} reads all of {table}: take it from EXCUSED"
            ));
        }
    }
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

/// A statement that reads a table as a whole.
struct Read {
    file: String,
    table: String,
    text: String,
    /// Where and how.
    says: String,
}

async fn read_whole_on_sqlite(calls: &[Call]) -> Vec<Read> {
    let t = Fixture::start(Engine::Sqlite).await;
    let mut conn = SqliteConnection::connect(&t.url).await.unwrap();
    let listed = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables: Vec<(String,)> = sqlx::query_as(listed).fetch_all(&mut conn).await.unwrap();
    let tables: BTreeSet<String> = tables.into_iter().map(|(name,)| name).collect();
    let mut whole = Vec::new();
    for call in calls {
        let text = literals::expanded(&call.text.as_ref().unwrap().sqlite, 3).unwrap();
        let plan = explain::sqlite(&mut conn, &text).await.unwrap();
        let scanned = plan.iter().filter_map(|line| line.trim().strip_prefix("SCAN "));
        // What is read in the order that is asked for is left early when there is a limit: an index, or a table by
        // its key.
        let sorted = plan.iter().any(|line| line.contains("TEMP B-TREE FOR ORDER BY"));
        let ordered = |line: &str| line.contains(" USING ") || (text.contains("ORDER BY") && !sorted);
        let to_the_end = |line: &&str| !(text.contains("LIMIT") && ordered(line));
        let names = scanned.filter(to_the_end).filter_map(|line| line.split(' ').next());
        for table in names.filter_map(|name| table_of(&text, name, &tables)) {
            note(&mut whole, call, &table, &plan, &text);
        }
    }
    whole
}

async fn read_whole_on_postgres(calls: &[Call]) -> Vec<Read> {
    let t = Fixture::start(Engine::Postgres).await;
    let mut conn = PgConnection::connect(&t.url).await.unwrap();
    sqlx::raw_sql("SET enable_seqscan = off").execute(&mut conn).await.unwrap();
    let mut whole = Vec::new();
    for call in calls {
        let text = literals::expanded(&call.text.as_ref().unwrap().postgres, 3).unwrap();
        let text = literals::with_ids(&text);
        let values = literals::placeholders(&text).max().unwrap_or_default();
        let plan = explain::postgres(&mut conn, &text, values).await.unwrap();
        for line in &plan {
            if let Some((_, scanned)) = line.split_once("Seq Scan on ") {
                let table = scanned.split(' ').next().unwrap_or_default();
                note(&mut whole, call, table, &plan, &text);
            }
        }
    }
    whole
}

fn note(whole: &mut Vec<Read>, call: &Call, table: &str, plan: &[String], text: &str) {
    let file = call.place.rsplit_once(':').unwrap().0.to_owned();
    let says = format!("{}: reads all of {table}\n  {text}\n    {}", call.place, plan.join("\n    "));
    whole.push(Read { file, table: table.to_owned(), text: text.to_owned(), says });
}

/// The table behind a name in a statement, which may be an alias; none when it is a result of the statement's own.
fn table_of(text: &str, name: &str, tables: &BTreeSet<String>) -> Option<String> {
    if tables.contains(name) {
        return Some(name.to_owned());
    }
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.eq_ignore_ascii_case("as")).collect();
    let named = |pair: &&[&str]| pair[1] == name && tables.contains(pair[0]);
    words.windows(2).find(named).map(|pair| pair[0].to_owned())
}

#[test]
fn an_alias_leads_to_its_table() {
    let tables = BTreeSet::from(["jobs".to_owned(), "plans".to_owned()]);
    let of = |name| {
        table_of(
            "WITH due AS (SELECT j.id FROM jobs AS j JOIN plans p ON p.id = j.id) SELECT 1",
            name,
            &tables,
        )
    };
    assert_eq!(of("j").as_deref(), Some("jobs"));
    assert_eq!(of("p").as_deref(), Some("plans"));
    assert_eq!(of("plans").as_deref(), Some("plans"));
    assert_eq!(of("due"), None);
}
