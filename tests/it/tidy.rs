//! Reads the tree and fails, with file and line, where a rule of the house is broken.
//!
//! The floors: rpc → service → store → model → base, with db under store. What each may name is in [`rules`].

pub mod rules;
pub mod source;

use std::path::Path;

use rules::Finding;
use source::Source;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_tree_is_tidy() {
    let folders = ["src", "clients", "tests", "benches", "examples", "proto", "migrations", "scripts"];
    let sources: Vec<Source> =
        folders.iter().flat_map(|folder| source::read(root(), folder, &["rs", "proto", "sql", ""])).collect();
    let found: Vec<String> =
        sources.iter().flat_map(rules::check).map(|finding| finding.to_string()).collect();
    assert!(found.is_empty(), "{} broken rules:\n{}", found.len(), found.join("\n"));
}

#[test]
fn migrations_are_twins() {
    let names = |engine: &str| -> Vec<String> {
        let files = source::read(root(), &format!("migrations/{engine}"), &["sql"]);
        files.iter().map(|file| file.path.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    };
    let found = rules::twins(&names("sqlite"), &names("postgres"));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The threat model names tests that are there, in the files that it links to.
#[test]
fn the_tests_that_the_threat_model_names_are_there() {
    let text = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let mut named = 0;
    for (at, _) in text.match_indices("](../tests/") {
        let name = text[..at].rsplit('[').next().unwrap();
        let file = text[at + "](../".len()..].split(')').next().unwrap();
        let code =
            std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            code.contains(&format!("fn {name}(")),
            "docs/threat-model.md names {name}, which is not in {file}"
        );
        named += 1;
    }
    assert!(named > 40, "only {named} tests are named");
}

#[test]
fn directions_have_no_cycle() {
    for (at, (module, below)) in rules::MODULES.iter().enumerate() {
        for other in *below {
            let above = rules::MODULES.iter().take(at).any(|(name, _)| name == other);
            assert!(above, "{module} may name {other}, which does not stand above it in the list");
        }
    }
}

/// What is found in a file that holds one line below its first.
fn found(path: &str, line: &str) -> Vec<String> {
    let text = format!("//! A file.\n{line}\n");
    rules::check(&Source::new(path, &text)).iter().map(Finding::to_string).collect()
}

#[track_caller]
fn refuses(path: &str, line: &str) {
    let found = found(path, line);
    let there = format!("{path}:2: ");
    assert!(!found.is_empty() && found.iter().all(|says| says.starts_with(&there)), "{line}: {found:?}");
}

#[track_caller]
fn accepts(path: &str, line: &str) {
    let found = found(path, line);
    assert!(found.is_empty(), "{line}: {found:?}");
}

#[test]
fn only_the_wire_names_generated_types() {
    refuses("src/auth/service.rs", "use tonic::Status;");
    refuses("src/auth/service.rs", "let status = tonic_types::ErrorDetails::new();");
    refuses("src/auth.rs", "use prost::Message;");
    refuses("src/chat/model.rs", "fn encode() -> crate::proto::chat::v1::Thread {");
    refuses("src/chat/stream.rs", "use crate::{base::Id, proto::chat};");
    refuses("src/chat/service.rs", "use crate::rpc::page;");
    accepts("src/auth/rpc.rs", "use tonic::Status;");
    accepts("src/chat/rpc/stream.rs", "use crate::proto::chat;");
    accepts("src/rpc/status.rs", "use tonic::Status;");
    accepts("src/auth/service.rs", "// tonic is not named here");
    accepts("src/auth/service.rs", "let word = \"tonic\";");
}

#[test]
fn only_the_database_floor_names_the_driver() {
    refuses("src/payments/store.rs", "use sqlx::Row;");
    refuses("src/payments/store.rs", "db::AssertSqlSafe(text)");
    accepts("src/db/open.rs", "use sqlx::AssertSqlSafe;");
}

#[test]
fn sql_is_written_in_stores() {
    refuses("src/auth/service.rs", "    tx.sql(\"SELECT 1\").one::<(i64,)>().await?;");
    refuses("src/auth/access.rs", "    tx.shared_sql(\"SELECT 1\")");
    accepts("src/auth/store.rs", "    tx.sql(\"SELECT id FROM accounts\")");
    accepts("src/payments/store/ledger.rs", "    tx.sql(\"SELECT id FROM entries\")");
}

#[test]
fn sql_is_handed_times_and_ids_and_names_its_columns() {
    refuses("src/auth/store.rs", "tx.sql(\"UPDATE sessions SET revoked_at = now()\")");
    refuses("src/auth/store.rs", "tx.sql(\"SELECT * FROM sessions\")");
    refuses("migrations/postgres/0001_x.sql", "made_at timestamptz NOT NULL DEFAULT now(),");
    accepts("src/auth/store.rs", "tx.sql(\"SELECT count(*) FROM sessions WHERE a = $1\")");
}

#[test]
fn models_and_base_are_pure() {
    refuses("src/auth/model.rs", "pub async fn load() {}");
    refuses("src/payments/document.rs", "use std::fs;");
    refuses("src/payments/document/sheet.rs", "use crate::payments::store;");
    refuses("src/chat/model/frame.rs", "use tokio::sync::mpsc;");
    refuses("src/base/text.rs", "let now = std::time::SystemTime::now();");
    refuses("src/payments/model.rs", "use crate::db::Tx;");
    refuses("src/payments/model.rs", "use crate::{base::Id, db::{Row, Tx}};");
    refuses("src/payments/model.rs", "fn save(tx: &mut db::Tx) {}");
    refuses("src/payments/model.rs", "use super::store;");
    refuses("clients/rust/src/chat/machine.rs", "use std::time::Instant;");
    refuses("clients/rust/src/chat/machine/told.rs", "use std::net::TcpStream;");
    accepts("clients/rust/tests/chat/table.rs", "use std::fs;");
    refuses("src/payments/model.rs", "use crate::payments::service::Command;");
    accepts("src/payments/model.rs", "use crate::db::{self, Json, Row};");
    accepts("src/payments/model.rs", "#[derive(db::Row)]");
    accepts("src/payments/model.rs", "db::words! { pub enum Status { Open = \"open\" } }");
}

#[test]
fn a_store_knows_no_service() {
    refuses("src/market/store.rs", "use super::service::Service;");
    accepts("src/market/service.rs", "use super::store;");
}

#[test]
fn domains_look_in_one_direction() {
    refuses("src/auth/service.rs", "use crate::chat::Thread;");
    refuses("src/market/service.rs", "use crate::{base::Id, payments};");
    refuses("src/jobs/worker.rs", "crate::auth::access::member(conn, caller, organization)");
    refuses("src/payments/service.rs", "use crate::config::Payments;");
    assert_eq!(found("src/newcomer.rs", "").len(), 1);
    accepts("src/chat/service.rs", "use crate::{ai, auth, market};");
    accepts("src/idempotency.rs", "use crate::auth::Caller;");
    accepts("src/auth/rpc.rs", "use crate::rpc;");
    accepts("src/app.rs", "use crate::{auth, chat, http, payments};");
}

#[test]
fn small_habits() {
    refuses("src/auth/service.rs", &format!("// {}: later", concat!("TO", "DO")));
    refuses("proto/capecontrol/auth/v1/a.proto", &format!("// {}", concat!("FIX", "ME")));
    refuses("src/auth/service.rs", &format!("// {}", "long ".repeat(25)));
    assert_eq!(found("src/auth/mod.rs", "").len(), 1);
    assert_eq!(found("tests/it/support/mod.rs", "").len(), 1);
}

#[test]
fn migrations_without_a_twin_or_with_a_gap_are_found() {
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert!(
        rules::twins(&names(&["0001_a.sql", "0002_b.sql"]), &names(&["0001_a.sql", "0002_b.sql"])).is_empty()
    );
    assert_eq!(rules::twins(&names(&["0001_a.sql"]), &names(&["0001_a.sql", "0002_b.sql"])).len(), 1);
    assert_eq!(rules::twins(&names(&["0001_a.sql"]), &names(&["0001_b.sql"])).len(), 2);
    assert_eq!(
        rules::twins(&names(&["0001_a.sql", "0003_b.sql"]), &names(&["0001_a.sql", "0003_b.sql"])).len(),
        1
    );
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" 'i' '\\'' r#\"j \" k\"# &'static l br\"m\" r#type\n";
    assert_eq!(source::code(text), "a   e \n\"\" ' ' ' ' \"\" &'static l \"\" r#type\n");
    assert_eq!(source::code("\"one\ntwo\" three\n"), "\"\"\n three\n");
}

#[test]
fn a_finding_is_a_place_and_a_reason() {
    let says = "only the wire (*/rpc.rs, rpc/, app) names tonic and generated types";
    assert_eq!(
        found("src/auth/service.rs", "use tonic::Status;"),
        [format!("src/auth/service.rs:2: {says}")]
    );
}
