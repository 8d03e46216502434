//! Envoy in front of a node, as it is handed out: what comes through it, what it refuses and in whose words, and what
//! it says when the node goes away.

mod agreement;

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::time::Duration;

use capecontrol::app::real;
use capecontrol::base::Timestamp;
use capecontrol::base::net::Network;
use capecontrol::db::{Engine, Scope};
use capecontrol::payments::Options;
use capecontrol::payments::payfast::itn::signed_body;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use chat::client_frame::Frame as Say;
use chat::server_frame::Frame;
use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use payments::subscription_service_client::SubscriptionServiceClient;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::e2e::chat::KINDS;
use crate::e2e::chat::ways::{Way, story};
use crate::support::app::Person;
use crate::support::edge::{PATIENCE, client, script};
use crate::support::{App, Edge, grpc_web};

const LIST_PLANS: &str = "/capecontrol.payments.v1.SubscriptionService/ListPlans";
const REGISTER: &str = "/capecontrol.auth.v1.AuthService/Register";
const LOGIN: &str = "/capecontrol.auth.v1.AuthService/Login";
const GET_ACCOUNT: &str = "/capecontrol.auth.v1.AccountService/GetAccount";
const UPDATE_ACCOUNT: &str = "/capecontrol.auth.v1.AccountService/UpdateAccount";
const SUBSCRIBE: &str = "/capecontrol.chat.v1.ChatService/Subscribe";
/// The origin that both the server and Envoy let in, and one that only the server does.
const SHOP: &str = "https://app.example.com";
const BACK_DOOR: &str = "https://internal.example.com";
/// A token that looks like one of ours, of which no key of ours knows the signature.
const FORGED: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsifQ.eyJzdWIiOiJ4In0.AAAA";

/// A node that takes its proxy's word. Its clock stands at the present, for Envoy has no other.
async fn node() -> App {
    let t = App::start_with(Engine::Sqlite, |config| {
        config.server.trusted_proxies = vec![Network::parse("127.0.0.0/8").unwrap()];
        config.server.allowed_origins.push(HeaderValue::from_static(BACK_DOOR));
    })
    .await;
    t.clock.set(now());
    t
}

fn now() -> Timestamp {
    real::world().now()
}

/// A call in JSON.
async fn post(
    edge: &Edge,
    method: &str,
    headers: &[(&str, &str)],
    body: &impl ToString,
) -> (u16, HeaderMap, Value) {
    let mut request =
        edge.http.post(format!("{}{method}", edge.url)).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_string()).send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    (status, headers, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
}

/// The reason in a body of JSON.
fn told(body: &Value) -> &str {
    body["details"][0]["reason"].as_str().unwrap_or_default()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

async fn account(person: &Person) -> Result<auth::Account, Status> {
    let answer = person.account().get_account(auth::GetAccountRequest {}).await?;
    Ok(answer.into_inner().account.unwrap())
}

async fn metrics(t: &App) -> String {
    t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap().text().await.unwrap()
}

fn cursor(thread_id: &str) -> chat::ThreadCursor {
    chat::ThreadCursor { thread_id: thread_id.to_owned(), ..chat::ThreadCursor::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_caller_is_served() {
    let t = node().await;
    let edge = Edge::start(&t, &[]).await;
    let direct = t.register("ada@example.com").await;
    let ada = direct.over(edge.channel());
    assert_eq!(account(&ada).await.unwrap().email, "ada@example.com");
    streams(&t, &edge, &ada).await;
    json(&edge, &ada).await;
    browsers(&t, &edge).await;
    deadlines(&t, &edge, &ada).await;
    agreement::with_the_contract(&edge).await;
    agreement::of_what_is_refused_with_the_registry(&edge).await;
    agreement::of_the_routes_with_the_shim(&edge).await;
    sickness(&t, &edge).await;
}

/// A node that says that it cannot serve is asked for nothing, though it could be reached.
async fn sickness(t: &App, edge: &Edge) {
    t.db.close().await;
    edge.until_healthz_says(503).await;
    assert_eq!(t.http.get(format!("{}/healthz", t.url)).send().await.unwrap().status(), 200);
    assert_eq!(edge.http.get(format!("{}/healthz", edge.url)).send().await.unwrap().status(), 503);
    let (_, _, body) = post(edge, LIST_PLANS, &[], &json!({})).await;
    assert_eq!(told(&body), "PLATFORM_UNAVAILABLE");
}

/// One message, heard on each kind of stream.
async fn streams(t: &App, edge: &Edge, ada: &Person) {
    let created = ada.chat().create_thread(chat::CreateThreadRequest::default()).await.unwrap();
    let thread_id = created.into_inner().thread.unwrap().id;
    let request = chat::SubscribeRequest { threads: vec![cursor(&thread_id)], ..Default::default() };
    let mut native = ada.chat().subscribe(request.clone()).await.unwrap().into_inner();
    let bearer = HeaderValue::from_str(&format!("Bearer {}", ada.token)).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    let mut browser = grpc_web::call(&t.http, &edge.url, SUBSCRIBE, headers, &request).await;
    let (words, heard) = tokio::sync::mpsc::unbounded_channel();
    let heard =
        tokio_stream::StreamExt::map(tokio_stream::wrappers::UnboundedReceiverStream::new(heard), |frame| {
            chat::ConverseRequest {
                frame: Some(chat::ClientFrame { request_id: "1".to_owned(), frame: Some(frame) }),
            }
        });
    words.send(Say::Hello(chat::Hello { threads: vec![cursor(&thread_id)], ..Default::default() })).unwrap();
    let mut both = ada.chat().converse(heard).await.unwrap().into_inner();

    let draft = chat::MessageDraft {
        thread_id: thread_id.clone(),
        client_message_id: t.world.id::<chat::Message>().to_string(),
        text: "through the proxy".to_owned(),
        ..Default::default()
    };
    words.send(Say::SendMessage(draft)).unwrap();
    let said = |frame: Option<chat::ServerFrame>| match frame.unwrap().frame.unwrap() {
        Frame::Event(event) => format!("{event:?}").contains("through the proxy"),
        _ => false,
    };
    let all = async {
        while !said(both.message().await.unwrap().unwrap().frame) {}
        while !said(native.message().await.unwrap().unwrap().frame) {}
        while !said(browser.message::<chat::SubscribeResponse>().await.unwrap().frame) {}
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

/// The same is told through the proxy as without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_stream_tells_the_same_story() {
    let t = node().await;
    let edge = Edge::start(&t, &[]).await;
    for (number, kind) in KINDS.into_iter().enumerate() {
        let way = Way { kind, url: edge.url.clone(), channel: edge.channel(), http: edge.http.clone() };
        story(&t, &way, number).await;
    }
}

async fn json(edge: &Edge, ada: &Person) {
    let (status, _, body) = post(edge, LIST_PLANS, &[], &json!({})).await;
    assert_eq!((status, body["plans"][1]["monthlyPrice"]["units"].as_str()), (200, Some("529")));
    let bearer = format!("Bearer {}", ada.token);
    let (status, _, body) = post(edge, GET_ACCOUNT, &[("authorization", &bearer)], &json!({})).await;
    assert_eq!((status, body["account"]["email"].as_str()), (200, Some("ada@example.com")));

    // The server's refusals, with their details.
    let (status, _, body) = post(edge, REGISTER, &[], &json!({ "email": "x" })).await;
    assert_eq!((status, body["code"].as_i64(), told(&body)), (400, Some(3), "INVALID_ARGUMENT"));
    assert_eq!(body["details"][1]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(body["details"][1]["fieldViolations"][0]["field"], "email");
    let (status, _, body) = post(edge, GET_ACCOUNT, &[], &json!({})).await;
    assert_eq!((status, told(&body)), (401, "UNAUTHENTICATED"));
    // Envoy's own, in the same form.
    let (status, _, body) = post(edge, REGISTER, &[], &r#"{"email": "#).await;
    assert_eq!((status, told(&body)), (400, "REQUEST_UNREADABLE"));
    let large = json!({ "email": "x".repeat(2 << 20) });
    let (status, _, body) = post(edge, REGISTER, &[], &large).await;
    assert_eq!((status, told(&body)), (413, "REQUEST_TOO_LARGE"));
    let plain = edge.http.post(format!("{}{LIST_PLANS}", edge.url)).body("{}").send().await.unwrap();
    assert_eq!(plain.status(), 415);
    let (status, _, body) = post(edge, "/capecontrol.auth.v1.AuthService/NoSuch", &[], &json!({})).await;
    assert_eq!((status, body["code"].as_i64()), (404, Some(12)));
}

/// The server speaks of origins too, for it does not know whether there is a proxy. One of them is heard.
async fn browsers(t: &App, edge: &Edge) {
    let preflight = async |origin: &str| {
        let request = edge.http.request(Method::OPTIONS, format!("{}{LIST_PLANS}", edge.url));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        let headers = "content-type,x-grpc-web,authorization";
        request.header("access-control-request-headers", headers).send().await.unwrap().headers().clone()
    };
    let known = preflight(SHOP).await;
    assert_eq!(once(&known, "access-control-allow-origin"), Some(SHOP));
    assert!(once(&known, "access-control-allow-headers").unwrap().contains("x-grpc-web"));
    assert_eq!(once(&preflight("https://evil.example").await, "access-control-allow-origin"), None);

    // The server's own answer, at the node and behind Envoy.
    let origin = |value: &'static str| HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(value))]);
    let request = payments::ListPlansRequest::default();
    for url in [&t.url, &edge.url] {
        let answer = grpc_web::call(&t.http, url, LIST_PLANS, origin(SHOP), &request).await;
        assert_eq!(once(&answer.headers, "access-control-allow-origin"), Some(SHOP));
        assert_eq!(once(&answer.headers, "access-control-allow-credentials"), Some("true"));
    }
    for (url, caller, allowed) in
        [(&t.url, BACK_DOOR, true), (&edge.url, BACK_DOOR, false), (&edge.url, "https://evil.example", false)]
    {
        let answer = grpc_web::call(&t.http, url, LIST_PLANS, origin(caller), &request).await;
        assert_eq!(once(&answer.headers, "access-control-allow-origin").is_some(), allowed, "{caller}");
    }
    // A refusal by the server, and one by Envoy: both can be read by the page that called.
    let mut forged = origin(SHOP);
    forged.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {FORGED}")).unwrap());
    for headers in [origin(SHOP), forged] {
        let request = auth::GetAccountRequest {};
        let refused = grpc_web::call(&t.http, &edge.url, GET_ACCOUNT, headers, &request).await;
        assert_eq!(refused.grpc_status(), Some(16));
        assert!(once(&refused.headers, "grpc-status-details-bin").is_some());
        assert_eq!(once(&refused.headers, "access-control-allow-origin"), Some(SHOP));
        let exposed = once(&refused.headers, "access-control-expose-headers").unwrap();
        for header in
            ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id", "retry-after"]
        {
            assert!(exposed.contains(header), "{header} in {exposed}");
        }
        assert!(once(&refused.headers, "x-request-id").is_some());
    }
}

/// The value of a header that comes once or not at all.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values: Vec<_> = headers.get_all(name.parse::<HeaderName>().unwrap()).iter().collect();
    assert!(values.len() <= 1, "{name}: {values:?}");
    values.first().map(|value| value.to_str().unwrap())
}

/// A call that cannot be done before its deadline says so, in the server's words.
async fn deadlines(t: &App, edge: &Edge, ada: &Person) {
    let writer = t.db.begin(Scope::System("test")).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let request = auth::UpdateAccountRequest {
        account: Some(auth::Account { bio: "x".to_owned(), ..auth::Account::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["bio".to_owned()] }),
        ..auth::UpdateAccountRequest::default()
    };
    let answer = http
        .post(format!("{}{UPDATE_ACCOUNT}", edge.url))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "300m")
        .header("authorization", format!("Bearer {}", ada.token))
        .body(grpc_web::frame(&prost::Message::encode_to_vec(&request)))
        .send();
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(once(answer.headers(), "grpc-status"), Some("4"));
    assert!(once(answer.headers(), "grpc-status-details-bin").is_some());
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_to_reach_the_server_does_not() {
    let t = node().await;
    // A balancer stands in front and says from where each call comes.
    let settings =
        [("EDGE_TRUSTED_HOPS", "1"), ("EDGE_ADDRESS_BURST", "100"), ("EDGE_ADDRESS_PER_SECOND", "1")];
    let edge = Edge::start(&t, &settings).await;
    tokens(&t, &edge).await;
    paths(&edge).await;
    notifications(&t, &edge).await;
    crowds(&edge).await;
    let admin = std::fs::metadata(edge.admin_socket()).unwrap();
    assert!(admin.file_type().is_socket());
    assert_eq!(admin.permissions().mode() & 0o777, 0o600);
}

async fn tokens(t: &App, edge: &Edge) {
    // Signed in an hour ago by the clock that Envoy goes by.
    t.clock.set(now().minus(Duration::from_hours(1)));
    let stale = t.register("stale@example.com").await.over(edge.channel());
    t.clock.set(now());
    let mut forged = stale.clone();
    FORGED.clone_into(&mut forged.token);
    for (person, why) in [(&stale, "TOKEN_EXPIRED"), (&forged, "TOKEN_INVALID")] {
        let refused = account(person).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, why));
        let bearer = format!("Bearer {}", person.token);
        let (status, _, body) = post(edge, GET_ACCOUNT, &[("authorization", &bearer)], &json!({})).await;
        assert_eq!((status, body["code"].as_i64(), told(&body)), (401, Some(16), why));
    }
    // Envoy marks what it translated; nobody else can.
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let request = http.post(format!("{}{GET_ACCOUNT}", edge.url)).header("content-type", "application/grpc");
    let request = request.header("te", "trailers").header("x-envoy-original-path", "/x");
    let answer = request.header("authorization", format!("Bearer {FORGED}")).send().await.unwrap();
    assert!(once(answer.headers(), "grpc-status-details-bin").is_some());
    let counted = metrics(t).await;
    assert!(!counted.contains(GET_ACCOUNT), "a refused token reached the server: {counted}");
    // Where anybody may call, a stale token is in nobody's way; and none is asked for.
    let login = json!({ "email": "stale@example.com", "password": crate::support::app::PASSWORD });
    let bearer = format!("Bearer {}", stale.token);
    assert_eq!(post(edge, LOGIN, &[("authorization", &bearer)], &login).await.0, 200);
    let mut anybody = SubscriptionServiceClient::new(edge.channel());
    assert!(anybody.list_plans(payments::ListPlansRequest::default()).await.is_ok());
    // An API key is the server's business.
    let (status, _, body) = post(edge, GET_ACCOUNT, &[("x-api-key", "k")], &json!({})).await;
    assert_eq!((status, told(&body)), (401, "API_KEY_INVALID"));
    assert!(metrics(t).await.contains(GET_ACCOUNT));
}

async fn paths(edge: &Edge) {
    let call = async |path: &str, header: &str| {
        let head = "host: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2";
        edge.raw(&format!("POST {path} HTTP/1.1\r\n{head}\r\n{header}\r\n{{}}")).await
    };
    let bad = format!("authorization: Bearer {FORGED}\r\n");
    // The same rules for every spelling.
    for path in [
        "//capecontrol.auth.v1.AccountService//GetAccount",
        "/x/../capecontrol.auth.v1.AccountService/GetAccount",
    ] {
        assert_eq!(call(path, &bad).await, 401, "{path}");
    }
    let public = "/capecontrol.payments.v1.SubscriptionService/ListPlans";
    assert_eq!(call(public, "").await, 200);
    for path in [
        "/capecontrol.auth.v1.AccountService%2FGetAccount",
        "/capecontrol.payments.v1.SubscriptionService/..%2f..%5cmetrics",
    ] {
        assert_eq!(call(path, "").await, 400, "{path}");
    }
    assert_eq!(call(public, "x_forwarded_for: 1\r\n").await, 400);
    assert_eq!(call(public, &format!("x-long: {}\r\n", "x".repeat(20_000))).await, 431);
    let get = async |path: &str| {
        edge.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    };
    for path in ["/metrics", "//metrics", "/api/../metrics", "/config_dump", "/payfast/itn", "/"] {
        assert_eq!(get(path).await, 404, "{path}");
    }
    assert_eq!(get("/readyz").await, 200);
}

/// A payment is notified through Envoy, and the server knows from where.
async fn notifications(t: &App, edge: &Edge) {
    let ada = t.register("ada@example.com").await.over(edge.channel());
    let plan = payments::PlanItem {
        plan_id: "pro".to_owned(),
        billing_cycle: payments::BillingCycle::Monthly.into(),
    };
    let request = payments::CreateCheckoutRequest {
        item: Some(payments::create_checkout_request::Item::Plan(plan)),
        ..payments::CreateCheckoutRequest::default()
    };
    let payment_id = ada.payments().create_checkout(request).await.unwrap().into_inner().payment_id;
    let options = Options::default();
    let itn = [
        ("m_payment_id", payment_id.as_str()),
        ("pf_payment_id", "1089250"),
        ("payment_status", "COMPLETE"),
        ("amount_gross", "529.00"),
        ("merchant_id", options.merchant_id.as_str()),
    ];
    let send = async |body: Vec<u8>| {
        let request = edge.http.post(format!("{}/payfast/itn", edge.url)).body(body);
        // What the caller wrote itself, and then what the balancer wrote.
        let answer = request.header("x-forwarded-for", "203.0.113.7, 198.51.100.9").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(send(signed_body(&itn, options.passphrase())).await, (200, "OK".to_owned()));
    t.run_jobs().await;
    let request = payments::GetPaymentRequest { payment_id };
    let payment = ada.payments().get_payment(request).await.unwrap().into_inner().payment.unwrap();
    assert_eq!(payment.status(), payments::PaymentStatus::Succeeded);
    let request = payments::ListProviderEventsRequest::default();
    let events = t.admin().await.operations().list_provider_events(request).await.unwrap().into_inner();
    assert_eq!(events.provider_events[0].peer, "198.51.100.9");
    assert_eq!(send(vec![b'x'; (64 << 10) + 1]).await.0, 413);
}

/// Whoever asks too often is told so, in their own language, and nobody else is.
async fn crowds(edge: &Edge) {
    let from = |address: &'static str| [("x-forwarded-for", address)];
    let version = async |address: &str| {
        let request = edge.http.get(format!("{}/api/version", edge.url)).header("x-forwarded-for", address);
        request.send().await.unwrap().status().as_u16()
    };
    let mut asked = 0;
    while version("198.51.100.1").await == 200 {
        asked += 1;
        assert!(asked < 10_000, "no limit");
    }
    assert!(asked >= 100, "{asked}");
    let refused = loop {
        let (status, headers, body) = post(edge, LIST_PLANS, &from("198.51.100.1"), &json!({})).await;
        // A call may be let through now and then.
        if status != 200 {
            break (status, headers, body);
        }
    };
    assert_eq!((refused.0, refused.2["code"].as_i64(), told(&refused.2)), (429, Some(8), "RATE_LIMITED"));
    assert_eq!(refused.2["details"][1]["retryDelay"], "1s");
    assert_eq!(once(&refused.1, "retry-after"), Some("1"));
    let mut plans = SubscriptionServiceClient::new(edge.channel());
    let refused = loop {
        let mut request = tonic::Request::new(payments::ListPlansRequest::default());
        request.metadata_mut().insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
        if let Err(refused) = plans.list_plans(request).await {
            break refused;
        }
    };
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
    assert!(refused.get_error_details().retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    assert_eq!(version("198.51.100.2").await, 200);
    // News of money has a bucket of its own.
    let itn = edge.http.post(format!("{}/payfast/itn", edge.url)).header("x-forwarded-for", "198.51.100.1");
    assert_eq!(itn.body("x=y").send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_goes_away_is_told_cleanly() {
    let t = node().await;
    let edge = Edge::start(&t, &[]).await;
    let ada = t.register("ada@example.com").await.over(edge.channel());
    let created = ada.chat().create_thread(chat::CreateThreadRequest::default()).await.unwrap();
    let threads = vec![cursor(&created.into_inner().thread.unwrap().id)];
    let mut stream = ada
        .chat()
        .subscribe(chat::SubscribeRequest { threads, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();

    // An Envoy that never got the keys signs nobody out for it.
    let alone = Edge::start_alone(&t).await;
    let refused = account(&ada.over(alone.channel())).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "PLATFORM_UNAVAILABLE"));

    t.stop().await;
    let mut goodbye = false;
    let end = loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.unwrap() {
            Ok(Some(item)) => goodbye |= matches!(item.frame.unwrap().frame, Some(Frame::GoAway(_))),
            Ok(None) => panic!("the stream ended as if all were well"),
            Err(status) => break status,
        }
    };
    assert!(goodbye);
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Unavailable, "SERVER_DRAINING"));
    edge.until_healthz_says(503).await;
    let refused = account(&ada).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "PLATFORM_UNAVAILABLE"));
    assert!(refused.get_error_details().retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    let (status, _, body) = post(&edge, LIST_PLANS, &[], &json!({})).await;
    assert_eq!((status, body["code"].as_i64(), told(&body)), (503, Some(14), "PLATFORM_UNAVAILABLE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_everything_is_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let pem = std::fs::read(&certificate).unwrap();
    let t = node().await;
    let root = reqwest::Certificate::from_pem(&pem).unwrap();
    let http = client().tls_certs_only([root]).build().unwrap();
    let settings = [("EDGE_TLS_CERTIFICATE", certificate.as_str()), ("EDGE_TLS_KEY", key.as_str())];
    let edge = Edge::start_with_tls(&t, &settings, http).await;
    // gRPC, for which the client and Envoy agree on HTTP/2.
    let request =
        edge.http.post(format!("{}{LIST_PLANS}", edge.url)).header("content-type", "application/grpc");
    let answer = request.header("te", "trailers").body(grpc_web::frame(&[])).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    assert!(once(answer.headers(), "strict-transport-security").is_some());
    assert!(answer.bytes().await.unwrap().windows(3).any(|word| word == b"pro"));
    let (status, _, body) = post(&edge, LIST_PLANS, &[], &json!({})).await;
    assert_eq!((status, body["plans"][1]["id"].as_str()), (200, Some("pro")));
    assert!(t.http.get(edge.url.replace("https", "http")).send().await.is_err());
}

/// A certificate for 127.0.0.1, made on the spot.
fn certificate(folder: &std::path::Path) -> (String, String) {
    let path = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let output = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=edge", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .unwrap_or_else(|error| panic!("openssl does not run ({error}): `make setup` installs it"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (certificate, key)
}

#[tokio::test]
async fn envoy_takes_every_variant_and_the_script_refuses_what_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let validate = async |settings: &[(&str, &str)]| {
        let output = script(folder.path(), "validate", settings).output().await.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let origins = ("CAPECONTROL_SERVER__ALLOWED_ORIGINS", "https://a.example, http://localhost:3000");
    for settings in [
        &[][..],
        &[("EDGE_TLS_CERTIFICATE", certificate.as_str()), ("EDGE_TLS_KEY", key.as_str())],
        &[
            origins,
            ("EDGE_LISTEN", "[::]:443"),
            ("EDGE_UPSTREAM", "capecontrol:8080"),
            ("EDGE_TRUSTED_HOPS", "2"),
        ],
    ] {
        let (taken, says) = validate(settings).await;
        assert!(taken, "{settings:?}: {says}");
    }
    for (name, value) in [
        ("EDGE_LISTEN", "127.0.0.1"),
        ("EDGE_UPSTREAM", "a\"b:1"),
        ("EDGE_TLS_CERTIFICATE", certificate.as_str()),
        ("CAPECONTROL_SERVER__ALLOWED_ORIGINS", "https://a\" }, { prefix: \"h"),
        ("CAPECONTROL_SERVER__PUBLIC_URL", "capecontrol.example"),
        ("EDGE_DESCRIPTORS", "/nowhere"),
    ] {
        let (taken, says) = validate(&[(name, value)]).await;
        assert!(!taken && says.starts_with("envoy: "), "{name}={value}: {says}");
    }
}
