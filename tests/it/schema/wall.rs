//! The second wall, from PostgreSQL's catalogue: every table that names a tenant has the two policies, and no statement
//! goes past them by calling itself shared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use capecontrol::db::Engine;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::TENANTS;
use crate::prepare::literals::{self, Call};
use crate::support::{Fixture, Start as _};
use crate::tidy::source::{self, Source};

/// Files whose shared statements may name a tenant's table, with the reason.
const BARE: &[(&str, &str)] =
    &[("benches/load/control/store.rs", "one of them measures what the wall costs, where it is taken down")];

/// A table that names a tenant, as the catalogue has it.
struct Walled {
    enabled: bool,
    forced: bool,
    policies: BTreeMap<String, Policy>,
}

/// A policy: whether it permits, for which commands and roles, what it lets be read and what be written.
#[derive(Debug, PartialEq, Eq)]
struct Policy {
    permits: bool,
    command: String,
    roles: Vec<String>,
    read: Option<String>,
    written: Option<String>,
}

async fn walled(conn: &mut PgConnection) -> BTreeMap<String, Walled> {
    let tables: Vec<(String, bool, bool)> = sqlx::query_as(
        "SELECT t.relname::text, t.relrowsecurity, t.relforcerowsecurity FROM pg_class AS t
         WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind IN ('r', 'p')
           AND (t.relname = $1 OR EXISTS (SELECT 1 FROM pg_attribute AS a
                WHERE a.attrelid = t.oid AND a.attname = 'organization_id' AND NOT a.attisdropped))",
    )
    .bind(TENANTS)
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let mut found: BTreeMap<String, Walled> = tables
        .into_iter()
        .map(|(name, enabled, forced)| (name, Walled { enabled, forced, policies: BTreeMap::new() }))
        .collect();
    type Row = (String, String, String, String, Vec<String>, Option<String>, Option<String>);
    let policies: Vec<Row> = sqlx::query_as(
        "SELECT tablename::text, policyname::text, permissive, cmd, roles::text[], qual, with_check
         FROM pg_policies WHERE schemaname = current_schema()",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    for (table, name, permissive, command, roles, read, written) in policies {
        let permits = permissive == "PERMISSIVE";
        let policy = Policy { permits, command, roles, read, written };
        found
            .get_mut(&table)
            .unwrap_or_else(|| panic!("{table} has a policy and no tenant"))
            .policies
            .insert(name, policy);
    }
    found
}

/// What is wrong with the wall around a table, if anything is. `model` has it as it should be.
fn gap(name: &str, table: &Walled, model: &Walled) -> Option<String> {
    let same = |policy: &str| {
        let (ours, wanted) = (table.policies.get(policy)?, model.policies.get(policy)?);
        let column = |text: &Option<String>| {
            text.as_ref().map(|text| {
                if name == TENANTS { text.replacen("(id = ", "(organization_id = ", 1) } else { text.clone() }
            })
        };
        let alike = Policy {
            permits: ours.permits,
            command: ours.command.clone(),
            roles: ours.roles.clone(),
            read: column(&ours.read),
            written: column(&ours.written),
        };
        Some(alike == *wanted)
    };
    let whole = table.enabled
        && table.forced
        && table.policies.len() == 2
        && ["platform", "tenant"].iter().all(|policy| same(policy) == Some(true));
    (!whole).then(|| {
        format!(
            "{name} names a tenant and is not behind the wall: the migration in migrations/postgres that makes it \
             needs the line\n    SELECT protect_tenants('{name}');"
        )
    })
}

#[tokio::test]
async fn every_table_that_names_a_tenant_is_behind_the_wall() {
    let t = Fixture::start(Engine::Postgres).await;
    let mut conn = PgConnection::connect(&t.url).await.unwrap();
    let tables = walled(&mut conn).await;
    assert!(tables.len() > 15, "only {} tables name a tenant", tables.len());
    let model = &tables["threads"];
    let everything = |policy: &Policy| {
        policy.permits
            && policy.command == "ALL"
            && policy.roles == ["public"]
            && policy.read.is_some()
            && policy.read == policy.written
    };
    assert!(model.policies.values().all(everything), "{:?}", model.policies);
    let gaps: Vec<String> = tables.iter().filter_map(|(name, table)| gap(name, table, model)).collect();
    assert!(gaps.is_empty(), "{}", gaps.join("\n"));
    // And a table that is not is seen.
    let open = Walled { enabled: true, forced: false, policies: BTreeMap::new() };
    assert!(gap("new_table", &open, model).unwrap().ends_with("SELECT protect_tenants('new_table');"));
}

/// A statement that says that it is shared runs without a scope: of a tenant's table it would see nothing.
#[tokio::test]
async fn no_shared_statement_names_a_tenants_table() {
    let t = Fixture::start(Engine::Postgres).await;
    let mut conn = PgConnection::connect(&t.url).await.unwrap();
    let tables: BTreeSet<String> = walled(&mut conn).await.into_keys().collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["src", "benches"].map(|folder| source::read(root, folder, &["rs"]));
    let kept = |source: &&Source| BARE.iter().all(|(path, _)| source.path != *path);
    let calls: Vec<Call> = sources.iter().flatten().filter(kept).flat_map(literals::calls).collect();
    assert!(calls.iter().filter(|call| call.shared).count() > 40, "too few statements are shared");
    let found = blind(&calls, &tables);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let text = "tx.shared_sql(\"SELECT a.id FROM accounts a JOIN memberships AS m ON m.account_id = a.id\")
        tx.sql(\"DELETE FROM jobs\")
        tx.shared_sql(\"SELECT jobs FROM accounts\")
        tx.shared_sql(\"UPDATE jobs SET kind = ''\")";
    let found = blind(&literals::calls(&Source::new("src/auth/store.rs", text)), &tables);
    let [joined, updated] = found.as_slice() else { panic!("{found:#?}") };
    assert!(joined.starts_with("src/auth/store.rs:1: ") && joined.contains("memberships"), "{joined}");
    assert!(updated.starts_with("src/auth/store.rs:4: ") && updated.contains("jobs"), "{updated}");
}

/// A purpose is written into the text that PostgreSQL is sent, and what is not plain is refused there: this finds it
/// before the day on which it is used.
#[test]
fn every_purpose_is_of_plain_characters() {
    let sources = source::read(Path::new(env!("CARGO_MANIFEST_DIR")), "src", &["rs"]);
    let mut purposes = BTreeSet::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("src/db/scope")) {
        let after = source.text.split("Scope::System(\"").skip(1);
        purposes.extend(after.map(|rest| rest.split_once('"').unwrap().0));
    }
    assert!(purposes.len() > 20, "only {} purposes were found", purposes.len());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || " ._-".contains(c);
    let spoilt: Vec<_> = purposes.iter().filter(|purpose| !purpose.chars().all(plain)).collect();
    assert!(spoilt.is_empty(), "small letters, digits, space, '.', '_' and '-': {spoilt:?}");
}

/// The shared statements that name one of these tables.
fn blind(calls: &[Call], tables: &BTreeSet<String>) -> Vec<String> {
    let shared = calls.iter().filter(|call| call.shared);
    let named = |call: &Call| {
        let text = call.text.as_ref()?.postgres.clone();
        let words: Vec<&str> =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
        let before = ["FROM", "JOIN", "INTO", "UPDATE", "USING", "TABLE"];
        let pair = words.windows(2).find(|pair| before.contains(&pair[0]) && tables.contains(pair[1]))?;
        Some(pair[1].to_owned())
    };
    shared
        .filter_map(|call| {
            let table = named(call)?;
            Some(format!(
                "{}: {table} is a tenant's table, and the statement says that it is shared: say .sql(…)",
                call.place
            ))
        })
        .collect()
}
