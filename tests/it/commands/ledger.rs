//! The ledger from the command line, beside a node that serves and seals.

use capecontrol::db::{Db, Options};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use super::{command, read};
use crate::process::{Node, PATIENCE, run};
use crate::store::ledger_chain::fill;

async fn answered(folder: &tempfile::TempDir, arguments: &[&str]) -> (i32, Vec<Value>) {
    let (code, out, error) = run(command(folder, arguments)).await;
    assert!(code != 2, "{error}");
    (code, out.lines().map(read).collect())
}

fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}", folder.path().join("data/capecontrol.db").display())
}

/// Posts so many transactions beside the node.
async fn post(folder: &tempfile::TempDir, count: u128, memo: &str) {
    let db = Db::open(&Options::new(url(folder))).await.unwrap();
    fill(&db, count, memo).await;
    db.close().await;
}

/// What a verification says once the node has sealed all that waits.
async fn sealed(folder: &tempfile::TempDir) -> Value {
    let asking = async {
        loop {
            let (code, mut told) = answered(folder, &["ledger", "verify", "--json"]).await;
            assert_eq!(code, 0, "{told:?}");
            if told[0]["unsealed"] == 0 {
                return told.remove(0);
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_are_verified_and_rebuilt_while_a_node_serves() {
    let folder = tempfile::tempdir().unwrap();
    let _node = Node::start(command(&folder, &["serve"])).await;
    post(&folder, 7, "").await;
    let report = sealed(&folder).await;
    assert!(report["balanced"] == true && report["sealed"] == 7 && report["entries"] == 14, "{report}");
    let balance = json!({ "account": "payfast_clearing", "currency": "ZAR", "minor": 35 });
    assert_eq!(report["balances"][0], balance);
    let (_, last) = answered(&folder, &["ledger", "heads", "--last", "--json"]).await;
    assert_eq!(last, [report["head"].clone()]);
    let (_, heads) = answered(&folder, &["ledger", "heads", "--json"]).await;
    assert_eq!(heads.last(), last.first());
    let (code, out, error) = run(command(&folder, &["ledger", "heads", "--after", "7"])).await;
    assert!(
        code == 0 && out.is_empty() && error.contains(report["public_key"].as_str().unwrap()),
        "{out} {error}"
    );
    let head = format!("{}:{}", last[0]["position"], last[0]["hash"].as_str().unwrap());
    assert_eq!(answered(&folder, &["ledger", "verify", "--json", "--head", &head]).await.0, 0);
    let other = format!("7:{}", "ab".repeat(32));
    let (code, told) = answered(&folder, &["ledger", "verify", "--json", "--head", &other]).await;
    assert_eq!((code, &told[0]["first_bad"]["fault"]), (1, &json!("head_unknown")));
    let (code, out, _) = run(command(&folder, &["ledger", "verify"])).await;
    assert!(code == 0 && out.contains("The books are right.") && out.contains("0.35 ZAR"), "{out}");

    // Somebody with the file changes a balance: it is found, and made anew.
    let mut intruder = SqliteConnection::connect(&url(&folder)).await.unwrap();
    let text = "UPDATE ledger_balances SET balance_minor = 36 WHERE account_id = 'payfast_clearing'";
    intruder.execute(text).await.unwrap();
    let (code, told) = answered(&folder, &["ledger", "verify", "--json"]).await;
    assert_eq!((code, &told[0]["faults"][0]["fault"]), (1, &json!("projection")));
    assert_eq!(told[0]["faults"][0]["subject"], "payfast_clearing ZAR");
    assert_eq!(told[0]["first_bad"], Value::Null);
    let (code, out, _) = run(command(&folder, &["ledger", "rebuild"])).await;
    assert!(code == 0 && out.contains("WRONG before: payfast_clearing ZAR"), "{out}");
    let (code, told) = answered(&folder, &["ledger", "rebuild", "--json"]).await;
    assert_eq!((code, told), (0, vec![json!({ "position": 7, "balances": 2, "wrong": [] })]));
    assert_eq!(sealed(&folder).await["balanced"], true);
    let (_, listed) = answered(&folder, &["audit", "list", "--json", "--action", "payments."]).await;
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|entry| entry["action"] == "payments.rebuild_ledger_balances"), "{listed:?}");

    // And an entry: it is found, and stays found.
    intruder.execute("DROP TRIGGER ledger_entries_kept_update").await.unwrap();
    let (id,): (uuid::Uuid,) = sqlx::query_as("SELECT transaction_id FROM ledger_seals WHERE position = 4")
        .fetch_one(&mut intruder)
        .await
        .unwrap();
    let text = format!(
        "UPDATE ledger_entries SET amount_minor = amount_minor * 2 WHERE transaction_id = x'{}'",
        id.simple()
    );
    intruder.execute(AssertSqlSafe(text)).await.unwrap();
    assert_eq!(run(command(&folder, &["ledger", "rebuild"])).await.0, 0);
    let (code, told) = answered(&folder, &["ledger", "verify", "--json"]).await;
    let bad = &told[0]["first_bad"];
    assert_eq!((code, &bad["position"], &bad["id"]), (1, &json!(4), &json!(id.to_string())));
    assert_eq!((&bad["fault"], &told[0]["balanced"]), (&json!("transaction_changed"), &json!(false)));
    let (code, out, _) = run(command(&folder, &["ledger", "verify"])).await;
    assert!(code == 1 && out.contains("THE BOOKS ARE BAD") && out.contains(&id.to_string()), "{out}");
    for wrong in [vec!["verify", "--head", "7"], vec!["heads", "--after", "-1"], vec!["rebuild", "--all"]] {
        let arguments = [vec!["ledger"], wrong].concat();
        assert_eq!(run(command(&folder, &arguments)).await.0, 2, "{arguments:?}");
    }
}

/// The most memory that a verification of so many transactions of a kilobyte had at any moment, in KiB.
async fn memory_of_verifying(count: u128) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(command(&folder, &["serve"])).await;
    post(&folder, count, &"m".repeat(1_000)).await;
    sealed(&folder).await;
    node.signal("-TERM");
    node.ended().await;
    let mut child = command(&folder, &["ledger", "verify", "--json"]).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let mut most = 0;
    loop {
        // The high-water mark only rises: the last look before the end tells it.
        let told = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let mark = mark.and_then(|mark| mark.trim().trim_end_matches(" kB").parse().ok());
        most = most.max(mark.unwrap_or(0));
        if child.try_wait().unwrap().is_some() {
            assert!(most > 0, "the process was never seen");
            return most;
        }
        tokio::task::yield_now().await;
    }
}

/// Ten thousand transactions are ten megabytes of memos alone. A page of them is held, not the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_holds_a_page_and_not_the_ledger() {
    let (few, many) = (memory_of_verifying(1_000).await, memory_of_verifying(12_000).await);
    assert!(many < few + 6_000, "{few} KiB for a thousand transactions, {many} KiB for twelve thousand");
}
