//! The tables that the migrations make: the same on both engines, and as the house wants them.
//!
//! Each engine's catalogue is read into one form. What only one of them has is drift.

mod postgres;
mod sqlite;
mod wall;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use capecontrol::db::Engine;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::support::{Fixture, Start as _};

/// Tables that are nobody's in particular, with the reason: they have no `organization_id` and no policies, and
/// whatever scope is set reads them. Every other table names its tenant and is behind the wall.
const SHARED: &[(&str, &str)] = &[
    ("account_blocks", "a person's, whichever organisation is worked in"),
    ("account_events", "a person's, whichever organisations they belong to; a change may name one"),
    ("account_links", "a person's, whichever organisation is worked in; found by the token's hash only"),
    ("account_logs", "a person's, whichever organisations they belong to"),
    ("account_places", "a person's, whichever organisation is worked in"),
    ("accounts", "a person, who may belong to several organisations"),
    ("audit_chain", "the platform's log"),
    ("audit_heads", "the platform's log"),
    ("audit_people", "a person's, whichever organisations they belong to"),
    ("audit_seals", "the platform's log; the entry names the organisation"),
    ("audit_unsealed", "the platform's log; the entry names the organisation"),
    ("checkout_switch", "the platform's"),
    ("connection_changes", "a person's stream's, which may follow threads of several organisations"),
    ("connections", "a person's streams, which may follow threads of several organisations"),
    ("golive_checks", "the platform's evidence of how it was set up"),
    ("guesses", "belongs to an account and a network, under a keyed hash"),
    ("idempotency_keys", "the caller's, who may be nobody; the key of every row names the caller"),
    ("invoice_counters", "the supplier's series of numbers"),
    ("ledger_accounts", "the platform's books"),
    ("ledger_balances", "the platform's books: sums over all organisations"),
    ("ledger_chain", "the platform's books"),
    ("ledger_entries", "the platform's books; the transaction names the organisation"),
    ("ledger_heads", "the platform's books"),
    ("ledger_postings", "the platform's books; the transaction names the organisation"),
    ("ledger_seals", "the platform's books; the transaction names the organisation"),
    ("ledger_unsealed", "the platform's books; the transaction names the organisation"),
    ("listing_categories", "the public catalogue"),
    ("listing_versions", "the public catalogue"),
    ("listings", "the public catalogue"),
    ("nodes", "the platform's processes"),
    ("plans", "the price list"),
    ("platform_invitations", "the platform's, for people who belong to nothing yet"),
    ("presence_modes", "a person's, whichever organisation is worked in"),
    ("provider_answers", "the platform's calls to its provider, which knows payments and no tenants"),
    ("provider_effects", "the inbox: whose money it is becomes known only when it is applied"),
    ("provider_events", "the inbox: whose money it is becomes known only when it is applied"),
    ("provider_quarantine", "what strangers sent"),
    ("reconciliation_days", "the platform's runs, which know its provider and no tenants"),
    (
        "reconciliation_differences",
        "the platform's account at its provider; the receipt names the organisation",
    ),
    ("reconciliation_matches", "the platform's account at its provider; the receipt names the organisation"),
    ("reconciliations", "the platform's account at its provider"),
    ("refresh_tokens", "a person's session's, found by the token's hash only"),
    ("sessions", "a person's, whichever organisation is worked in"),
    ("signing_keys", "the platform's, wrapped by the root key"),
    ("simulator_account", "the built-in PayFast's, which knows merchants and no tenants"),
    ("simulator_deliveries", "the built-in PayFast's, which knows merchants and no tenants"),
    ("simulator_faults", "the built-in PayFast's, which knows merchants and no tenants"),
    ("simulator_history", "the built-in PayFast's, which knows merchants and no tenants"),
    ("simulator_payments", "the built-in PayFast's, which knows merchants and no tenants"),
    ("simulator_refunds", "the built-in PayFast's, which knows merchants and no tenants"),
    ("simulator_tokens", "the built-in PayFast's, which knows merchants and no tenants"),
];

/// Tables whose rows may be nobody's, with the reason. Such a row is read and written for a purpose of the platform
/// only: the tenant's policy compares with NULL.
const NULLABLE: &[(&str, &str)] = &[
    ("alarms", "for operators; it names the organisation when there is one"),
    ("audit_events", "what concerns an account or the platform as a whole is no organisation's"),
    ("chargebacks", "money may be taken back of a payment that nobody here knows"),
    ("jobs", "the platform's work; it names the organisation when there is one"),
    ("ledger_transactions", "money may arrive for nobody's order"),
    ("receipts", "money may arrive for nobody's order"),
    ("refunds", "money may have arrived for nobody's order"),
];

/// The table of the tenants themselves, whose tenant is the row's own id.
const TENANTS: &str = "organizations";

/// Foreign keys without an index that begins with their columns, as `table (columns)`, with the reason.
const UNINDEXED: &[(&str, &str)] = &[
    ("messages (organization_id)", "written with every message, and an organisation is never deleted"),
    ("thread_events (organization_id)", "written with every event, and an organisation is never deleted"),
];

/// All tables of a database, by name.
type Schema = BTreeMap<String, Table>;

/// What a catalogue tells of a table.
#[derive(Debug, Default)]
struct Table {
    columns: BTreeMap<String, Column>,
    primary_key: Vec<String>,
    /// Unique constraints, by the name that an error gives them.
    uniques: BTreeMap<String, Vec<String>>,
    indexes: BTreeMap<String, Index>,
    foreign_keys: BTreeSet<ForeignKey>,
    /// Check constraints by name, each as its engine writes it.
    checks: BTreeMap<String, String>,
    /// Such as `BEFORE UPDATE`. SQLite has no TRUNCATE, so a trigger on that is left out.
    triggers: BTreeSet<String>,
}

#[derive(Debug)]
struct Column {
    /// As the engine names it.
    kind: String,
    nullable: bool,
    default: bool,
}

#[derive(Debug)]
struct Index {
    columns: Vec<String>,
    unique: bool,
    partial: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ForeignKey {
    columns: Vec<String>,
    table: String,
    referenced: Vec<String>,
    on_delete: String,
    on_update: String,
}

impl fmt::Display for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { columns, table, referenced, on_delete, on_update } = self;
        let (columns, referenced) = (columns.join(", "), referenced.join(", "));
        write!(f, "({columns}) references {table} ({referenced}) on delete {on_delete} on update {on_update}")
    }
}

impl Column {
    /// The type as SQLite keeps it. A type that has no twin is left as it is, and so becomes drift.
    fn class(&self) -> &str {
        match self.kind.as_str() {
            "uuid" | "bytea" => "BLOB",
            "text" | "jsonb" => "TEXT",
            "bigint" | "boolean" | "timestamp with time zone" => "INTEGER",
            other => other,
        }
    }
}

impl Table {
    /// The table in lines that both engines should have alike.
    fn facts(&self, name: &str) -> BTreeSet<String> {
        let mut facts = BTreeSet::from([format!("table {name}")]);
        for (column, has) in &self.columns {
            let nullable = if has.nullable { "" } else { " not null" };
            let default = if has.default { " with a default" } else { "" };
            facts.insert(format!("column {name}.{column} {}{nullable}{default}", has.class()));
        }
        facts.insert(format!("{name} primary key ({})", self.primary_key.join(", ")));
        facts.extend(
            self.uniques.iter().map(|(key, columns)| format!("{name} unique {key} ({})", columns.join(", "))),
        );
        for (index, Index { columns, unique, partial }) in &self.indexes {
            let columns = columns.join(", ");
            facts.insert(format!("{name} index {index} ({columns}) unique: {unique} partial: {partial}"));
        }
        facts.extend(self.foreign_keys.iter().map(|key| format!("{name} foreign key {key}")));
        facts.extend(self.checks.iter().map(|(check, text)| format!("{name} check {check}: {text}")));
        facts.extend(self.triggers.iter().map(|event| format!("{name} trigger {event}")));
        facts
    }

    /// Whether the rows with given values in these columns are found without reading the table: some index begins with
    /// them, in whatever order, or they hold a whole key, of which there is one row.
    fn is_indexed(&self, columns: &[String]) -> bool {
        let among =
            |index: &[String]| index.iter().take(columns.len()).all(|column| columns.contains(column));
        let mut keys = self.uniques.values().chain([&self.primary_key]);
        let mut indexes = self.indexes.values().filter(|index| !index.partial).map(|index| &index.columns);
        keys.any(|key| among(key)) || indexes.any(|index| index.len() >= columns.len() && among(index))
    }
}

/// Both databases, read, and a connection to the one in which checks can be put side by side.
struct Twins {
    sqlite: Schema,
    postgres: Schema,
    conn: PgConnection,
    _databases: [Fixture; 2],
}

impl Twins {
    async fn start() -> Self {
        let databases = [Fixture::start(Engine::Sqlite).await, Fixture::start(Engine::Postgres).await];
        // As the owner: a check of one engine is tried out on the table of the other.
        let owner = crate::support::postgres::owner_url(&databases[1].url).unwrap();
        let mut conn = PgConnection::connect(&owner).await.unwrap();
        let (sqlite, postgres) = (sqlite::read(&databases[0].url).await, postgres::read(&mut conn).await);
        Self { sqlite, postgres, conn, _databases: databases }
    }
}

#[tokio::test]
async fn both_engines_have_the_same_tables() {
    let mut twins = Twins::start().await;
    let mut found = Vec::new();
    for (name, table) in &mut twins.sqlite {
        if let Some(twin) = twins.postgres.get(name) {
            found.extend(take_boolean_checks(name, table, twin));
        }
        for text in table.checks.values_mut() {
            *text = postgres::canonical(&mut twins.conn, name, text).await;
        }
    }
    let facts = |schema: &Schema| -> BTreeSet<String> {
        schema.iter().flat_map(|(name, table)| table.facts(name)).collect()
    };
    let (sqlite, postgres) = (facts(&twins.sqlite), facts(&twins.postgres));
    assert!(sqlite.len() > 300, "only {} facts were read", sqlite.len());
    found.extend(sqlite.difference(&postgres).map(|fact| format!("only on SQLite: {fact}")));
    found.extend(postgres.difference(&sqlite).map(|fact| format!("only on PostgreSQL: {fact}")));
    assert!(found.is_empty(), "the migrations drift apart:\n{}", found.join("\n"));
}

/// A boolean is an integer on SQLite, held to 0 and 1 by a check of its own. Takes those checks out, and tells which
/// are missing.
fn take_boolean_checks(name: &str, table: &mut Table, twin: &Table) -> Vec<String> {
    let booleans = twin.columns.iter().filter(|(_, column)| column.kind == "boolean");
    booleans
        .filter_map(|(column, _)| {
            let wanted = format!("{column} IN (0, 1)");
            let checks = table.checks.len();
            table.checks.retain(|_, text| *text != wanted);
            (table.checks.len() == checks).then(|| format!("SQLite: {name} has no CHECK ({wanted})"))
        })
        .collect()
}

#[tokio::test]
async fn every_foreign_key_has_an_index() {
    let twins = Twins::start().await;
    let mut without = BTreeSet::new();
    for (name, table) in &twins.postgres {
        let keys = table.foreign_keys.iter().filter(|key| !table.is_indexed(&key.columns));
        without.extend(keys.map(|key| format!("{name} ({})", key.columns.join(", "))));
    }
    let excused: BTreeSet<String> = UNINDEXED.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(without, excused, "deleting what these refer to reads the whole table");
}

#[tokio::test]
async fn every_tenants_table_names_its_tenant() {
    let twins = Twins::start().await;
    let shared: Vec<&str> = SHARED.iter().map(|(table, _)| *table).collect();
    let nullable: Vec<&str> = NULLABLE.iter().map(|(table, _)| *table).collect();
    let mut found = Vec::new();
    for (name, table) in twins.postgres.iter().filter(|(name, _)| *name != TENANTS) {
        match (table.columns.get("organization_id"), shared.contains(&name.as_str())) {
            (None, false) => found.push(format!(
                "{name} names no tenant: give it `organization_id uuid NOT NULL REFERENCES organizations (id) …` and \
                 the line `SELECT protect_tenants('{name}');`, or add (\"{name}\", \"why it is nobody's\") to SHARED"
            )),
            (Some(_), true) => found.push(format!("{name} has organization_id: take it from SHARED")),
            (Some(column), false) if column.nullable != nullable.contains(&name.as_str()) => found.push(format!(
                "{name}.organization_id must be NOT NULL, or (\"{name}\", \"why\") stands in NULLABLE"
            )),
            _ => {}
        }
    }
    let gone = shared.iter().chain(&nullable).filter(|name| !twins.postgres.contains_key(**name));
    found.extend(gone.map(|name| format!("there is no table {name}: take it from the list")));
    assert!(found.is_empty(), "tests/it/schema.rs:\n{}", found.join("\n"));
}

/// SQLite names a refused unique index by its columns, and PostgreSQL by its name: code that compares the name needs
/// both to be one.
#[tokio::test]
async fn a_refused_unique_index_has_one_name() {
    let twins = Twins::start().await;
    for (table, Table { indexes, uniques, .. }) in &twins.postgres {
        let indexes =
            indexes.iter().filter(|(_, index)| index.unique).map(|(name, index)| (name, &index.columns));
        for (name, columns) in indexes.chain(uniques) {
            assert_eq!(*name, key_name(table, columns), "{table}");
        }
    }
}

/// What the database floor calls a unique constraint that SQLite did not name.
fn key_name(table: &str, columns: &[String]) -> String {
    format!("{table}_{}_key", columns.join("_"))
}

#[test]
fn drift_is_seen() {
    let column = |kind: &str| Column { kind: kind.to_owned(), nullable: false, default: false };
    let table = |kind: &str| Table {
        columns: BTreeMap::from([("a".to_owned(), column(kind))]),
        primary_key: vec!["a".to_owned(), "b".to_owned()],
        ..Table::default()
    };
    assert_eq!(table("uuid").facts("t"), table("BLOB").facts("t"));
    assert_ne!(table("integer").facts("t"), table("INTEGER").facts("t"));
    assert_ne!(table("jsonb").facts("t"), table("BLOB").facts("t"));
    let indexed = |columns: &[&str]| {
        table("uuid").is_indexed(&columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>())
    };
    assert!(indexed(&["a"]) && indexed(&["b", "a"]) && indexed(&["a", "b", "c"]) && !indexed(&["b"]));
}
