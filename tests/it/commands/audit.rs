//! The audit log from the command line, beside a node that serves and seals.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use super::{command, read};
use crate::process::{Node, PATIENCE, run};

async fn answered(folder: &tempfile::TempDir, arguments: &[&str]) -> (i32, Vec<Value>) {
    let (code, out, error) = run(command(folder, arguments)).await;
    assert!(code != 2, "{error}");
    (code, out.lines().map(read).collect())
}

/// What a verification says once the node has sealed all that waits.
async fn sealed(folder: &tempfile::TempDir) -> Value {
    let asking = async {
        loop {
            let (code, mut told) = answered(folder, &["audit", "verify", "--json"]).await;
            assert_eq!(code, 0, "{told:?}");
            if told[0]["unsealed"] == 0 {
                return told.remove(0);
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_verified_listed_and_exported_while_a_node_serves() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(command(&folder, &["serve"])).await;
    node.register().await;
    let issue = ["token", "issue", "--email", "ada@example.com"];
    assert_eq!(run(command(&folder, &issue)).await.0, 0);

    let report = sealed(&folder).await;
    assert!(report["intact"] == true && report["entries"] == report["links"], "{report}");
    let (_, last) = answered(&folder, &["audit", "heads", "--last", "--json"]).await;
    assert_eq!(last, [report["head"].clone()]);
    let head = format!("{}:{}", last[0]["position"], last[0]["hash"].as_str().unwrap());
    let (code, told) = answered(&folder, &["audit", "verify", "--json", "--head", &head]).await;
    assert!(code == 0 && told[0]["intact"] == true, "{told:?}");

    let (_, listed) =
        answered(&folder, &["audit", "list", "--json", "--risk", "high", "--action", "auth."]).await;
    let actions: Vec<&Value> = listed.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, [&json!("auth.issue_token"), &json!("auth.create_administrator")]);
    let (code, out, _) = run(command(&folder, &["audit", "list", "--limit", "1"])).await;
    assert!(code == 0 && out.lines().count() == 1 && out.contains("platform command line"), "{out}");

    let (_, export) = answered(&folder, &["audit", "export"]).await;
    assert_eq!(export[0]["start"]["public_key"], report["public_key"]);
    let events = export.iter().filter(|line| line.get("event").is_some()).count();
    assert_eq!(json!(events), report["entries"]);
    assert_eq!(export.last().unwrap()["head"], report["head"]);
    // The export itself is an entry.
    assert_eq!(json!(events + 1), sealed(&folder).await["entries"]);

    // Somebody with the file writes into it what did not happen.
    let url = format!("sqlite://{}", folder.path().join("data/capecontrol.db").display());
    let mut intruder = SqliteConnection::connect(&url).await.unwrap();
    intruder.execute("DROP TRIGGER audit_events_kept_update").await.unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    let text = format!("UPDATE audit_events SET risk = 'low' WHERE id = x'{}'", id.replace('-', ""));
    intruder.execute(AssertSqlSafe(text)).await.unwrap();
    let (code, told) = answered(&folder, &["audit", "verify", "--json"]).await;
    assert_eq!((code, &told[0]["intact"]), (1, &json!(false)));
    assert_eq!(told[0]["first_bad"]["id"], id);
    assert_eq!(told[0]["first_bad"]["position"], listed[0]["position"]);
    assert_eq!(told[0]["first_bad"]["fault"], "entry_changed");
    let (code, out, _) = run(command(&folder, &["audit", "verify"])).await;
    assert!(code == 1 && out.contains("THE LOG IS BAD") && out.contains(id), "{out}");
    for wrong in
        [vec!["verify", "--head", "7"], vec!["list", "--risk", "dire"], vec!["export", "--after", "-1"]]
    {
        let arguments = [vec!["audit"], wrong].concat();
        assert_eq!(run(command(&folder, &arguments)).await.0, 2, "{arguments:?}");
    }
}
