//! The command line beside a node that serves: what commands print, how they end, and what they leave.

mod audit;
mod backup;
mod chat;
mod doctor;
mod ledger;

use std::process::Stdio;

use capecontrol::proto::capecontrol::auth::v1 as wire;
use capecontrol::proto::capecontrol::auth::v1::account_service_client::AccountServiceClient;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;

use crate::process::{Node, PATIENCE, program, run};
use crate::support::app::{Bearer, PASSWORD};

/// Where the tokens of a node say that they come from, whatever port it has.
const PUBLIC_URL: &str = "http://127.0.0.1:1";

fn command(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = program(folder, arguments);
    command.env("CAPECONTROL_SERVER__PUBLIC_URL", PUBLIC_URL);
    command
}

async fn fed(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

async fn sign_in(node: &Node, email: &str, password: &str) -> Result<wire::Account, Code> {
    let request = wire::LoginRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        ..wire::LoginRequest::default()
    };
    let answer = AuthServiceClient::new(node.channel().await).login(request).await;
    match answer.map_err(|status| status.code())?.into_inner().result {
        Some(wire::login_response::Result::Session(session)) => Ok(session.account.unwrap()),
        _ => panic!("no session in the answer"),
    }
}

async fn account(node: &Node, token: &str) -> Result<wire::Account, Code> {
    let mut accounts =
        AccountServiceClient::new(InterceptedService::new(node.channel().await, Bearer::new(token)));
    let answer = accounts.get_account(wire::GetAccountRequest::default()).await;
    answer.map(|answer| answer.into_inner().account.unwrap()).map_err(|status| status.code())
}

/// Waits for as long as it takes that a node refuses a token.
async fn refused(node: &Node, token: &str) {
    let asking = async { while account(node, token).await != Err(Code::Unauthenticated) {} };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_are_made_while_a_node_serves() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(command(&folder, &["serve"])).await;
    node.register().await;
    let create = ["admin", "create", "--email", "Grace@Example.com", "--json"];
    let (code, out, _) = run(command(&folder, &create)).await;
    let told = read(&out);
    assert_eq!((code, &told["email"], &told["created"]), (0, &json!("grace@example.com"), &json!(true)));
    let password = told["one_time_password"].as_str().unwrap();
    let grace = sign_in(&node, "grace@example.com", password).await.unwrap();
    assert_eq!(grace.role(), wire::Role::Admin);
    // Good for one sign-in.
    assert_eq!(sign_in(&node, "grace@example.com", password).await.unwrap_err(), Code::Unauthenticated);
    let (code, out, _) = run(command(&folder, &create)).await;
    assert_eq!((code, read(&out)), (0, json!({ "email": "grace@example.com", "created": false })));

    let chosen = ["admin", "create", "--email", "joan@example.com", "--password-stdin"];
    let (code, out, _) = fed(command(&folder, &chosen), &format!("{PASSWORD}\n")).await;
    assert!(code == 0 && !out.contains(PASSWORD), "{out}");
    for _ in 0..2 {
        assert_eq!(sign_in(&node, "joan@example.com", PASSWORD).await.unwrap().role(), wire::Role::Admin);
    }
    for (arguments, input, words) in [
        (vec!["--email", "ada@example.com"], "", "ordinary account"),
        (vec!["--email", "nobody"], "", "email must be"),
        (vec!["--email", "eve@example.com", "--password-stdin"], "short\n", "password must have"),
        (vec!["--email", "eve@example.com", "--password-stdin"], "", "nothing came"),
    ] {
        let arguments = [vec!["admin", "create"], arguments].concat();
        let (code, out, error) = fed(command(&folder, &arguments), input).await;
        assert!(code == 1 && out.is_empty() && error.contains(words), "{out} {error}");
    }
    let (code, out, _) = run(command(&folder, &["admin", "list", "--json"])).await;
    let listed: Vec<_> = read(&out).as_array().unwrap().iter().map(|one| one["password"].clone()).collect();
    assert_eq!(
        (code, listed),
        (0, vec![json!("one-time, unused"), json!("one-time, used"), json!("chosen")])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_issued_inspected_and_revoked_while_a_node_serves() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(command(&folder, &["serve"])).await;
    node.register().await;
    let issue = ["token", "issue", "--email", "ada@example.com", "--minutes", "30"];
    let (code, token, told) = run(command(&folder, &issue)).await;
    let token = token.trim();
    assert_eq!((code, token.lines().count()), (0, 1));
    assert_eq!(account(&node, token).await.unwrap().email, "ada@example.com");

    let (code, out, error) = fed(command(&folder, &["token", "inspect", "--json"]), token).await;
    assert!(code == 0 && !out.contains(token) && !error.contains(token), "{out} {error}");
    let inspected = read(&out);
    let session = inspected["claims"]["sid"].as_str().unwrap();
    assert!(told.contains(session), "{told}");
    assert_eq!(inspected["claims"]["exp"].as_i64(), inspected["claims"]["iat"].as_i64().map(|at| at + 1_800));
    let failing = |inspected: &Value| -> Vec<String> {
        let checks = inspected["checks"].as_object().unwrap().iter();
        checks.filter(|(_, check)| check["holds"] == false).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!((failing(&inspected), &inspected["holds"]), (vec![], &json!(true)));

    let mut elsewhere = command(&folder, &["token", "inspect", "--json"]);
    elsewhere.env("CAPECONTROL_SERVER__PUBLIC_URL", "http://127.0.0.1:2");
    let (code, out, _) = fed(elsewhere, token).await;
    assert_eq!((code, failing(&read(&out))), (1, vec!["issuer".to_owned()]));
    let (body, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{body}.{}", signature.chars().rev().collect::<String>());
    let (code, out, _) = fed(command(&folder, &["token", "inspect", "--json"]), &forged).await;
    assert_eq!((code, failing(&read(&out))), (1, vec!["signature".to_owned()]));
    let (code, _, error) = fed(command(&folder, &["token", "inspect"]), "not.a.token").await;
    assert!(code == 1 && error.contains("no token"), "{error}");

    assert_eq!(run(command(&folder, &["token", "revoke", "--session", session])).await.0, 0);
    refused(&node, token).await;
    assert_eq!(run(command(&folder, &["token", "revoke", "--session", session])).await.0, 1);
    let (code, out, _) = fed(command(&folder, &["token", "inspect", "--json"]), token).await;
    assert_eq!((code, failing(&read(&out))), (1, vec!["session".to_owned()]));
    for whose in [vec!["--account", "ada@example.com"], vec!["--everyone"]] {
        let (_, token, _) = run(command(&folder, &issue)).await;
        assert!(account(&node, token.trim()).await.is_ok());
        let (code, out, _) =
            run(command(&folder, &[vec!["token", "revoke", "--json"], whose].concat())).await;
        assert_eq!((code, read(&out)), (0, json!({ "ended": 1 })));
        refused(&node, token.trim()).await;
    }
    for (arguments, code) in [
        (vec!["token", "issue", "--email", "nobody@example.com"], 1),
        (vec!["token", "issue", "--email", "ada@example.com", "--minutes", "0"], 2),
        (vec!["token", "issue", "--email", "ada@example.com", "--minutes", "1441"], 2),
        (vec!["token", "revoke", "--account", "nobody@example.com"], 1),
        (vec!["token", "revoke", "--session", "x"], 2),
        (vec!["token", "revoke"], 2),
        (vec!["token", "revoke", "--everyone", "--account", "ada@example.com"], 2),
    ] {
        assert_eq!(run(command(&folder, &arguments)).await.0, code, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_kept_out_and_let_in_while_a_node_serves() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(command(&folder, &["serve"])).await;
    node.register().await;
    let issue = ["token", "issue", "--email", "ada@example.com"];
    let token = run(command(&folder, &issue)).await.1.trim().to_owned();
    assert!(account(&node, &token).await.is_ok());
    let of_ada = ["--email", "ada@example.com", "--json"];
    let admin = |verb: &'static str, more: &[&'static str]| {
        command(&folder, &[["admin", verb].as_slice(), &of_ada, more].concat())
    };
    let (code, out, _) = run(admin("suspend", &["--reason", "a stolen card"])).await;
    assert_eq!((code, &read(&out)["suspension_reason"]), (0, &json!("a stolen card")));
    refused(&node, &token).await;
    assert_eq!(sign_in(&node, "ada@example.com", PASSWORD).await.unwrap_err(), Code::FailedPrecondition);
    let (code, out, _) = run(command(&folder, &["admin", "accounts", "--suspended", "--json"])).await;
    assert_eq!((code, &read(&out)[0]["email"]), (0, &json!("ada@example.com")));
    assert_eq!(run(command(&folder, &issue)).await.0, 1);
    assert_eq!(run(admin("reinstate", &[])).await.0, 0);
    assert_eq!(sign_in(&node, "ada@example.com", PASSWORD).await.unwrap().role(), wire::Role::Customer);
    let (code, out, _) = run(admin("set-role", &["--role", "admin"])).await;
    assert_eq!((code, &read(&out)["role"]), (0, &json!("admin")));
    assert_eq!(sign_in(&node, "ada@example.com", PASSWORD).await.unwrap().role(), wire::Role::Admin);
    // The first administrator and this one: one of them can go, the other stays.
    let first = "admin@capecontrol.localhost";
    let demote = |email| command(&folder, &["admin", "set-role", "--email", email, "--role", "customer"]);
    assert_eq!(run(demote(first)).await.0, 0);
    let (code, _, error) = run(demote("ada@example.com")).await;
    assert!(code == 1 && error.contains("last administrator"), "{error}");
    let (code, out, error) = run(command(&folder, &["admin", "invite", "--hours", "24"])).await;
    assert!(code == 0 && out.trim().len() == 43 && error.contains("good once"), "{out} {error}");
    for (arguments, code) in [
        (vec!["admin", "set-role", "--email", "ada@example.com", "--role", "root"], 2),
        (vec!["admin", "suspend", "--email", "ada@example.com"], 2),
        (vec!["admin", "suspend", "--email", "eve@example.com", "--reason", "x"], 1),
        (vec!["admin", "reinstate", "--email", "nobody"], 1),
        (vec!["admin", "invite", "--hours", "721"], 2),
    ] {
        assert_eq!(run(command(&folder, &arguments)).await.0, code, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_leaked_are_retired_while_a_node_serves() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(command(&folder, &["serve"])).await;
    node.register().await;
    let issue = ["token", "issue", "--email", "ada@example.com"];
    let keys = async |arguments: &[&str]| {
        let (code, out, _) =
            run(command(&folder, &[["token"].as_slice(), arguments, &["--json"]].concat())).await;
        assert_eq!(code, 0, "{arguments:?}");
        read(&out).as_array().unwrap().clone()
    };
    let with = |keys: &[Value], duty: &str| {
        let key = keys.iter().find(|key| key["duty"] == duty);
        key.map(|key| key["id"].as_str().unwrap().to_owned())
    };
    let before = keys(&["keys"]).await;
    let (signing, next) = (with(&before, "signing").unwrap(), with(&before, "next"));
    let token = run(command(&folder, &issue)).await.1.trim().to_owned();
    assert!(account(&node, &token).await.is_ok());
    let after = keys(&["rotate-keys", "--retire", &signing]).await;
    assert_eq!((with(&after, "signing"), after.len()), (next, 1));
    // The node hears of it by itself, signs with the other, and makes another one ahead.
    refused(&node, &token).await;
    let token = run(command(&folder, &issue)).await.1.trim().to_owned();
    assert!(account(&node, &token).await.is_ok());
    while keys(&["keys"]).await.len() < 2 {}
    // The next one was published a moment ago, and takes over when it is known.
    let early = keys(&["rotate-keys"]).await;
    assert_eq!((with(&early, "signing"), early.len()), (with(&after, "signing"), 2));
    assert_eq!(keys(&["rotate-keys", "--retire-all"]).await.len(), 1);
    refused(&node, &token).await;
    for (arguments, code) in [
        (vec!["token", "rotate-keys", "--retire", &signing], 1),
        (vec!["token", "rotate-keys", "--retire", "x"], 2),
        (vec!["token", "rotate-keys", "--retire", &signing, "--retire-all"], 2),
    ] {
        assert_eq!(run(command(&folder, &arguments)).await.0, code, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_jobs_are_decided_while_a_node_serves() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(command(&folder, &["serve"])).await;
    let url = format!("sqlite://{}", folder.path().join("data/capecontrol.db").display());
    let mut conn = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for number in 1_u128..3 {
        sqlx::query(
            "INSERT INTO jobs (id, kind, payload, state, run_at, attempts, fence, last_error, created_at)
             VALUES ($1, 'test.dead', '\"ada@example.com\"', 'dead', 0, 3, 3, 'it failed', 0)",
        )
        .bind(uuid::Uuid::from_u128(number))
        .execute(&mut conn)
        .await
        .unwrap();
    }
    let jobs = |arguments: &[&str]| command(&folder, &[["jobs"].as_slice(), arguments, &["--json"]].concat());
    let (code, out, _) = run(jobs(&["dead", "--kind", "test.dead"])).await;
    assert!(code == 0 && !out.contains("ada@"), "{out}");
    let ids: Vec<_> =
        read(&out).as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(run(jobs(&["retry", &ids[0]])).await.0, 0);
    assert_eq!(run(jobs(&["discard", &ids[1], "--reason", "of no use"])).await.0, 0);
    let (_, out, _) = run(jobs(&["dead"])).await;
    assert_eq!(read(&out), json!([]));
    for (arguments, code) in [
        (vec!["retry", &ids[1]], 1),
        (vec!["discard", &ids[1], "--reason", "x"], 1),
        (vec!["discard", &ids[1]], 2),
        (vec!["retry", "x"], 2),
    ] {
        assert_eq!(run(jobs(&arguments)).await.0, code, "{arguments:?}");
    }
    drop(node);
}

#[tokio::test]
async fn commands_make_no_database_and_change_none_that_they_read() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [vec!["admin", "list"], vec!["token", "revoke", "--everyone"], vec!["backup", "--to", "backup"]]
    {
        let (code, _, error) = run(command(&folder, &arguments)).await;
        assert!(code == 1 && error.contains("does not exist"), "{error}");
        assert!(!folder.path().join("data").exists() && !folder.path().join("backup").exists());
    }
    let (code, out, _) = run(command(&folder, &["migrate", "--json"])).await;
    assert_eq!((code, &read(&out)["before"]), (0, &json!(0)));
    let before = std::fs::read(folder.path().join("data/capecontrol.db")).unwrap();
    assert_eq!(run(command(&folder, &["admin", "list"])).await.0, 0);
    let (code, _, error) = run(command(&folder, &["token", "issue", "--email", "ada@example.com"])).await;
    assert!(code == 1 && error.contains("no key to sign with"), "{error}");
    assert_eq!(std::fs::read(folder.path().join("data/capecontrol.db")).unwrap(), before);
    assert!(!folder.path().join("data/root.key").exists());
}

#[tokio::test]
async fn a_webhook_is_judged_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let line = |header: &str, now: i64| {
        json!({ "payload_base64": "e30=", "header": header, "secrets": ["whsec_a"], "now": now }).to_string()
    };
    // printf '1000.{}' | openssl dgst -sha256 -hmac whsec_a
    let signed = "t=1000,v1=857c03773d397d92057cb2494a710df506e33c71b1e2fba087f0aedc667ef532";
    let input =
        [line(signed, 1_300), line(signed, 1_301), line("t=1000", 1_000), "nonsense".to_owned()].join("\n");
    let (code, out, _) = fed(command(&folder, &["stripe", "verify-webhook", "--lines"]), &input).await;
    let answers: Vec<Value> = out.lines().map(read).collect();
    let accepted: Vec<_> = answers.iter().map(|answer| answer["accept"].clone()).collect();
    assert_eq!((code, accepted), (0, vec![json!(true), json!(false), json!(false), json!(false)]));
    assert!(answers[1]["reason"].as_str().unwrap().contains("301 s old") && !out.contains("whsec"), "{out}");
}

#[tokio::test]
async fn programs_are_answered_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = run(command(&folder, &["config", "check", "--json"])).await;
    assert_eq!((code, read(&out)), (0, json!({ "usable": true, "problems": [] })));
    let mut wrong = command(&folder, &["config", "check", "--json"]);
    wrong.env("CAPECONTROL_SERVER__LISTEN", "nowhere").env("CAPECONTROL_LOG__FORMAT", "loud");
    let (code, out, _) = run(wrong).await;
    assert_eq!(read(&out)["usable"], false);
    let problems = read(&out)["problems"].clone();
    let keys: Vec<_> = problems.as_array().unwrap().iter().map(|problem| problem["key"].clone()).collect();
    assert_eq!((code, keys), (1, vec![json!("SERVER__LISTEN"), json!("LOG__FORMAT")]));
}
