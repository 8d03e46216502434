//! The program as a process: what it prints, how it ends, and what is left when it is killed.

mod drain;

use std::process::Stdio;
use std::time::Duration;

use capecontrol::payments::Options;
use capecontrol::payments::payfast::itn::signed_body;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::auth::v1::{LoginRequest, RegisterRequest, login_response};
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::chat::v1::server_frame::Frame;
use capecontrol::proto::capecontrol::chat::v1::{CreateThreadRequest, SubscribeRequest, ThreadCursor};
use capecontrol::proto::capecontrol::payments::v1::create_checkout_request::Item;
use capecontrol::proto::capecontrol::payments::v1::payments_service_client::PaymentsServiceClient;
use capecontrol::proto::capecontrol::payments::v1::{
    BillingCycle, CreateCheckoutRequest, GetPaymentRequest, Payment, PaymentStatus, PlanItem,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::support::app::{Bearer, PASSWORD, ROOT_KEY};
use crate::support::postgres;

/// How long a process may take before a test gives up on it. Nothing is measured with it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program with settings of its own, in a folder of its own.
pub fn program(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capecontrol"));
    command
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .env("CAPECONTROL_SERVER__LISTEN", "127.0.0.1:0")
        .env("CAPECONTROL_OPS__LISTEN", "127.0.0.1:0")
        .env("CAPECONTROL_AUTH__ARGON2_MEMORY_KIB", "64")
        .env("CAPECONTROL_AUTH__ARGON2_PASSES", "1")
        .env("CAPECONTROL_LIMITS__ORDINARY", "1000000/min burst 1000000")
        .env("CAPECONTROL_LIMITS__CREDENTIAL", "1000000/min burst 1000000")
        .env("CAPECONTROL_LIMITS__MESSAGE", "1000000/min burst 1000000")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The program as a node on this database, which is migrated first.
pub fn serve(folder: &tempfile::TempDir, url: &str) -> Command {
    let mut command = program(folder, &["serve"]);
    command.env("CAPECONTROL_DATABASE__URL", url).env("CAPECONTROL_DATABASE__MIGRATE", "true");
    command.env("CAPECONTROL_DATABASE__OWNER_URL", postgres::owner_url(url).unwrap_or_default());
    // On PostgreSQL all nodes share it, so that it is no file of one node's.
    command.env("CAPECONTROL_SECURITY__ROOT_KEY", ROOT_KEY);
    command
}

/// A node that serves.
pub struct Node {
    child: Child,
    pub url: String,
    /// Where the counters are.
    metrics: String,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let address = first.split_once(" on ").unwrap().1.split_once(' ').unwrap().0;
        let url = format!("http://{address}");
        let mut metrics = String::new();
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if let Some((_, address)) = line.split_once("metrics    ") {
                address.clone_into(&mut metrics);
            }
            if line.starts_with("Ctrl-C") {
                return Self { child, url, metrics, lines };
            }
        }
    }

    /// Waits until so many calls and streams are under way.
    async fn under_way(&self, count: usize) {
        let http = http();
        let line = format!("capecontrol_rpc_calls_under_way {count}\n");
        let reached = async {
            while !http.get(&self.metrics).send().await.unwrap().text().await.unwrap().contains(&line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap();
    }

    /// Waits until the program has printed a line that begins so.
    async fn says(&mut self, beginning: &str) {
        let said = async { while !self.lines.next_line().await.unwrap().unwrap().starts_with(beginning) {} };
        tokio::time::timeout(PATIENCE, said).await.unwrap();
    }

    pub fn signal(&self, signal: &str) {
        let process = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    pub async fn ended(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::new(self.url.clone()).unwrap().connect().await.unwrap()
    }

    pub async fn sign_in(&self) -> InterceptedService<Channel, Bearer> {
        self.sign_in_as("ada@example.com").await
    }

    async fn sign_in_as(&self, email: &str) -> InterceptedService<Channel, Bearer> {
        let request = LoginRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            ..LoginRequest::default()
        };
        let answer = AuthServiceClient::new(self.channel().await).login(request).await.unwrap();
        let Some(login_response::Result::Session(session)) = answer.into_inner().result else {
            panic!("no session in the answer")
        };
        InterceptedService::new(self.channel().await, Bearer::new(&session.access_token))
    }

    pub async fn register(&self) {
        self.register_as("ada@example.com").await;
    }

    async fn register_as(&self, email: &str) {
        let request = RegisterRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            display_name: "Ada".to_owned(),
            accepted_terms_version: "2026-01".to_owned(),
            ..RegisterRequest::default()
        };
        AuthServiceClient::new(self.channel().await).register(request).await.unwrap();
    }
}

fn http() -> reqwest::Client {
    // The first test to come installs it for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Tells the node, as PayFast would, that a payment of R529 is complete.
async fn notify(node: &Node, payment_id: &str) {
    let options = Options::default();
    let itn = [
        ("m_payment_id", payment_id),
        ("pf_payment_id", "1089250"),
        ("payment_status", "COMPLETE"),
        ("amount_gross", "529.00"),
        ("amount_fee", "-12.17"),
        ("amount_net", "516.83"),
        ("merchant_id", options.merchant_id.as_str()),
    ];
    let body = signed_body(&itn, options.passphrase());
    let answer = http().post(format!("{}/payfast/itn", node.url)).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// The payment, once it is no longer pending.
async fn settled(node: &Node, payment_id: &str) -> Payment {
    let mut payments = PaymentsServiceClient::new(node.sign_in().await);
    let settled = async {
        loop {
            let request = GetPaymentRequest { payment_id: payment_id.to_owned() };
            let payment = payments.get_payment(request).await.unwrap().into_inner().payment.unwrap();
            if payment.status() != PaymentStatus::Created {
                return payment;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.unwrap()
}

pub async fn run(mut command: Command) -> (i32, String, String) {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_was_acknowledged_survives_a_kill_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody answers there, so that PayFast cannot confirm before the process dies.
    let mut command = program(&folder, &["serve"]);
    command.env("CAPECONTROL_SERVER__PUBLIC_URL", "http://127.0.0.1:1");
    let mut node = Node::start(command).await;
    node.register().await;
    let item = PlanItem { plan_id: "pro".to_owned(), billing_cycle: BillingCycle::Monthly.into() };
    let request = CreateCheckoutRequest { item: Some(Item::Plan(item)), ..CreateCheckoutRequest::default() };
    let checkout = PaymentsServiceClient::new(node.sign_in().await).create_checkout(request).await.unwrap();
    let payment_id = checkout.into_inner().payment_id;
    notify(&node, &payment_id).await;
    node.signal("-KILL");
    assert!(!node.ended().await.success());

    let node = Node::start(program(&folder, &["serve"])).await;
    let payment = settled(&node, &payment_id).await;
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
    assert_eq!(payment.provider_payment_id, "1089250");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_drains_open_streams_and_ends_with_success() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(program(&folder, &["serve"])).await;
    node.register().await;
    let mut chat = ChatServiceClient::new(node.sign_in().await);
    let thread =
        chat.create_thread(CreateThreadRequest::default()).await.unwrap().into_inner().thread.unwrap();
    let cursor = ThreadCursor { thread_id: thread.id, ..ThreadCursor::default() };
    let mut frames = chat
        .subscribe(SubscribeRequest { threads: vec![cursor], ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    frames.message().await.unwrap().unwrap();
    node.signal("-TERM");
    let mut goodbye = false;
    let end = loop {
        match frames.message().await {
            Ok(Some(answer)) => {
                goodbye |= matches!(answer.frame.and_then(|frame| frame.frame), Some(Frame::GoAway(_)));
            }
            Ok(None) => break None,
            Err(status) => break Some(status.code()),
        }
    };
    assert!(goodbye);
    assert_eq!(end, Some(tonic::Code::Unavailable));
    assert_eq!(node.ended().await.code(), Some(0));
    let mut last = String::new();
    while let Some(line) = node.lines.next_line().await.unwrap() {
        last = line;
    }
    assert_eq!(last, "Stopped.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_serves_from_a_file_and_health_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(program(&folder, &["serve"])).await;
    let (code, _, error) = run(program(&folder, &["serve"])).await;
    assert_eq!(code, 1);
    assert!(error.contains("another process serves"), "{error}");
    let healthy = async { while run(program(&folder, &["healthcheck", "--url", &node.url])).await.0 != 0 {} };
    tokio::time::timeout(PATIENCE, healthy).await.unwrap();
    let (code, _, error) = run(program(&folder, &["healthcheck", "--url", "http://127.0.0.1:1"])).await;
    assert_eq!(code, 1);
    assert!(error.contains("does not answer"), "{error}");
}

#[tokio::test]
async fn a_simulator_that_strangers_could_reach_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(&folder, &["serve"]);
    command.env("CAPECONTROL_SERVER__LISTEN", "0.0.0.0:0");
    let (code, _, error) = run(command).await;
    assert_eq!(code, 1);
    assert!(error.contains("PAYFAST__MODE") && error.contains("loopback"), "{error}");
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn arguments_that_are_none_end_with_two_and_help_with_none() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(program(&folder, &["surve"])).await.0, 2);
    assert_eq!(run(program(&folder, &[])).await.0, 2);
    let (code, text, _) = run(program(&folder, &["--help"])).await;
    assert_eq!(code, 0);
    for command in ["serve", "migrate", "healthcheck", "config", "payfast"] {
        assert!(text.contains(command), "{command} in {text}");
    }
    let (code, text, _) = run(program(&folder, &["config", "print"])).await;
    assert_eq!(code, 0);
    assert!(
        text.contains("SERVER__LISTEN = 127.0.0.1:0")
            && !text.contains(Options::default().passphrase().unwrap())
    );
}

#[tokio::test]
async fn signatures_are_worked_out_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(&folder, &["payfast", "sign-form", "--lines"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(b"{\"fields\": {\"merchant_id\": \"10000100\"}, \"passphrase\": \"x\"}\nnot json\n")
        .await
        .unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["signature"].as_str().unwrap().len(), 32);
    assert!(answers[1]["error"].is_string());
}
