//! The checklist before going live, walked beside a node that serves.

use std::path::Path;

use serde_json::{Value, json};

use super::{command, read};
use crate::process::{Node, run};

fn found(told: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = told["checks"].as_array().unwrap().iter();
    checks.map(|check| (text(&check["check"]), text(&check["result"]))).collect()
}

async fn evidence(folder: &Path) -> i64 {
    use sqlx::Connection as _;
    let url = format!("sqlite://{}", folder.join("capecontrol.db").display());
    let mut conn = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM golive_checks").fetch_one(&mut conn).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_what_fails_and_keeps_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(command(&folder, &["serve"])).await;
    let doctor = ["payfast", "doctor", "--json"];
    // Where its public address leads, nobody is.
    let (code, out, _) = run(command(&folder, &doctor)).await;
    let told = read(&out);
    let result = |told: &Value, check: &str| {
        found(told).into_iter().find(|(name, _)| name == check).map(|(_, result)| result).unwrap()
    };
    assert_eq!((code, found(&told).len(), &told["mode"]), (1, 14, &json!("simulator")));
    assert_eq!((result(&told, "api").as_str(), result(&told, "notify_url").as_str()), ("fail", "warn"));
    assert_eq!((result(&told, "database").as_str(), result(&told, "mode").as_str()), ("ok", "warn"));
    let mut there = command(&folder, &doctor);
    there.env("CAPECONTROL_SERVER__PUBLIC_URL", &node.url);
    let (code, out, _) = run(there).await;
    let told = read(&out);
    assert_eq!(code, 0, "{out}");
    for check in ["api", "notify_url", "confirmation", "clock"] {
        assert_eq!(result(&told, check), "ok", "{out}");
    }
    assert!(!out.contains("jt7NOE43FZPn") && !out.contains("46f0cd694581a"));
    assert_eq!(told["questions"].as_array().unwrap().len(), 12);
    let mut live = command(&folder, &doctor);
    live.env("CAPECONTROL_PAYFAST__MODE", "live");
    let (code, out, _) = run(live).await;
    assert!(code == 1 && out.contains("BUSINESS__ADDRESS") && out.contains("SERVER__PUBLIC_URL"), "{out}");
    let (code, out, _) = run(command(&folder, &["payfast", "doctor"])).await;
    assert!(code == 1 && out.contains("12. ") && out.contains("skipped "), "{out}");
    let data = folder.path().join("data");
    let data = if data.exists() { data } else { folder.path().to_owned() };
    assert_eq!(evidence(&data).await, 3 * 14);
}
