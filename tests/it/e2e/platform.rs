//! The port itself: protocols beside each other, credentials, bounds, deadlines, health, and the drain.

use std::time::Duration;

use capecontrol::db::{Conn as _, Engine, Scope, Tx};
use capecontrol::proto::capecontrol::auth::v1::account_service_client::AccountServiceClient;
use capecontrol::proto::capecontrol::auth::v1::{
    Account, GetAccountRequest, ListOrganizationsRequest, UpdateAccountRequest,
};
use capecontrol::proto::capecontrol::chat::v1::{CreateThreadRequest, SubscribeRequest, ThreadCursor};
use capecontrol::proto::capecontrol::payments::v1::subscription_service_client::SubscriptionServiceClient;
use capecontrol::proto::capecontrol::payments::v1::{ListPlansRequest, ListPlansResponse};
use http::{HeaderMap, HeaderValue};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::support::{App, Start as _, grpc_web, on_both};

const LIST_PLANS: &str = "/capecontrol.payments.v1.SubscriptionService/ListPlans";
const GET_ACCOUNT: &str = "/capecontrol.auth.v1.AccountService/GetAccount";

/// A call of which every byte is ours: the status comes from the headers or the trailers as they are.
async fn raw(
    t: &App,
    method: &str,
    headers: &[(&'static str, &str)],
    body: Vec<u8>,
) -> (u16, Option<String>) {
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let mut request = http.post(format!("{}{method}", t.url)).header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.body(body).send().await.unwrap();
    let status = response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    (response.status().as_u16(), status)
}

async fn ready(t: &App) {
    let mut health = HealthClient::new(t.channel());
    let mut watch = health.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
}

on_both! {
    async fn health_follows_the_database_for_every_service(t: App) {
        ready(&t).await;
        let mut health = HealthClient::new(t.channel());
        for service in ["capecontrol.auth.v1.AuthService", "capecontrol.chat.v1.ChatService"] {
            let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
        }
        let get = async |path: &str| t.http.get(format!("{}{path}", t.url)).send().await.unwrap().status();
        for path in ["/healthz", "/readyz", "/alive", "/api/health", "/api/version", "/.well-known/jwks.json"] {
            assert_eq!(get(path).await, 200, "{path}");
        }
        t.db.close().await;
        let mut watch = health.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status() != ServingStatus::NotServing {}
        assert_eq!(get("/readyz").await, 503);
        assert_eq!(get("/healthz").await, 200);
    }

    async fn a_page_token_serves_its_own_caller_only(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let list = |token: &str| ListOrganizationsRequest { page_size: 1, page_token: token.to_owned() };
        let refused = eve.organizations().list_organizations(list("AAAA")).await.unwrap_err();
        assert_eq!(refused.get_error_details().error_info().unwrap().reason, "PAGE_TOKEN_MISMATCH");
        assert!(ada.organizations().list_organizations(list("")).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_health_hears_of_the_drain_and_does_not_hold_it_up() {
    // Far longer than a test may take: only streams that end by themselves let the node stop.
    let t = App::start_with(Engine::Sqlite, |config| config.server.drain_max = Duration::from_hours(1)).await;
    let mut watches = Vec::new();
    for service in ["", "no.such.Service"] {
        let mut health = HealthClient::new(t.channel());
        watches.push(
            health.watch(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner(),
        );
    }
    ready(&t).await;
    t.stop().await;
    let [known, unknown] = watches.as_mut_slice() else { panic!("two were opened") };
    let mut last = None;
    while let Some(answer) = known.message().await.unwrap() {
        last = Some(answer.status());
    }
    assert_eq!(last, Some(ServingStatus::NotServing));
    while let Some(answer) = unknown.message().await.unwrap() {
        assert_eq!(answer.status(), ServingStatus::ServiceUnknown);
    }
}

/// What keeps accounts from being changed until it is dropped; on SQLite nobody writes anything meanwhile.
async fn lock(t: &App) -> Tx {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    tx.shared_sql("UPDATE accounts SET version = version").execute().await.unwrap();
    tx
}

fn change() -> UpdateAccountRequest {
    UpdateAccountRequest {
        account: Some(Account { bio: "x".to_owned(), ..Account::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["bio".to_owned()] }),
        ..UpdateAccountRequest::default()
    }
}

/// Waits until so many calls and streams are under way.
async fn under_way(t: &App, count: usize) {
    let line = format!("capecontrol_rpc_calls_under_way {count}\n");
    let reached = async {
        let metrics = async || {
            t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap().text().await.unwrap()
        };
        while !metrics().await.contains(&line) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap();
}

fn told_to_come_again(refused: &Status, code: Code, reason: &str) {
    let details = refused.get_error_details();
    assert_eq!(
        (refused.code(), details.error_info().unwrap().reason.as_str()),
        (code, reason),
        "{refused:?}"
    );
    assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
}

/// As many calls as the node takes, all of which wait; the next is refused while they do, and they end as they should.
async fn calls_beyond_the_bound_are_refused_while_the_others_wait(engine: Engine) {
    let t = App::start_with(engine, |config| config.bounds.calls.calls_max = 3).await;
    let mut people = Vec::new();
    for name in ["ada", "bob", "eve"] {
        people.push(t.register(&format!("{name}@example.com")).await);
    }
    let held = lock(&t).await;
    let mut calls = tokio::task::JoinSet::new();
    for person in people {
        let mut account = person.account();
        calls.spawn(async move { account.update_account(change()).await });
    }
    under_way(&t, 3).await;
    let mut plans = SubscriptionServiceClient::new(t.channel());
    for _ in 0..20 {
        let refused = plans.list_plans(ListPlansRequest::default()).await.unwrap_err();
        told_to_come_again(&refused, Code::ResourceExhausted, "OVERLOADED");
    }
    assert!(calls.try_join_next().is_none(), "a call ended though its row is locked");
    drop(held);
    while let Some(answer) = calls.join_next().await {
        answer.unwrap().unwrap();
    }
    assert!(plans.list_plans(ListPlansRequest::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_bound_are_refused_on_sqlite() {
    calls_beyond_the_bound_are_refused_while_the_others_wait(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_bound_are_refused_on_postgres() {
    calls_beyond_the_bound_are_refused_while_the_others_wait(Engine::Postgres).await;
}

on_both! {
    async fn a_call_that_waits_for_what_is_locked_does_not_wait_for_ever(t: App) {
        let ada = t.register("ada@example.com").await;
        let held = lock(&t).await;
        // Its own deadline counts while it waits. (A client of ours would not wait for the server to say so.)
        let bearer = format!("Bearer {}", ada.token);
        let head =
            [("content-type", "application/grpc"), ("authorization", bearer.as_str()), ("grpc-timeout", "300m")];
        const UPDATE: &str = "/capecontrol.auth.v1.AccountService/UpdateAccount";
        let late = raw(&t, UPDATE, &head, grpc_web::frame(&change().encode_to_vec())).await;
        assert_eq!(late.1.as_deref(), Some("4"));
        // Without one it is told to come again, and others are served meanwhile.
        let mut account = ada.account();
        let waits = account.update_account(change());
        let reads = async {
            under_way(&t, 1).await;
            ada.account().get_account(GetAccountRequest {}).await.unwrap();
        };
        let (refused, ()) = tokio::join!(waits, reads);
        let refused = refused.unwrap_err();
        assert!(matches!(refused.code(), Code::Unavailable | Code::Aborted), "{refused:?}");
        assert!(refused.get_error_details().retry_info().is_some(), "{refused:?}");
        drop(held);
        ada.account().update_account(change()).await.unwrap();
    }
}

#[tokio::test]
async fn streams_beyond_the_bound_are_refused_and_calls_are_not() {
    let t = App::start_with(Engine::Sqlite, |config| config.bounds.calls.streams_max = 2).await;
    let ada = t.register("ada@example.com").await;
    let created = ada.chat().create_thread(CreateThreadRequest::default()).await.unwrap();
    let thread_id = created.into_inner().thread.unwrap().id;
    let subscribe = || SubscribeRequest {
        threads: vec![ThreadCursor { thread_id: thread_id.clone(), ..ThreadCursor::default() }],
        ..Default::default()
    };
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut frames = ada.chat().subscribe(subscribe()).await.unwrap().into_inner();
        frames.message().await.unwrap().unwrap();
        open.push(frames);
    }
    let refused = ada.chat().subscribe(subscribe()).await.unwrap_err();
    told_to_come_again(&refused, Code::ResourceExhausted, "OVERLOADED");
    ada.account().get_account(GetAccountRequest {}).await.unwrap();
    drop(open);
    under_way(&t, 0).await;
    ada.chat().subscribe(subscribe()).await.unwrap();
}

#[tokio::test]
async fn both_credentials_at_once_are_refused() {
    let t = App::start(Engine::Sqlite).await;
    let ada = t.register("ada@example.com").await;
    let mut request = Request::new(GetAccountRequest {});
    request.metadata_mut().insert("x-api-key", "cape_test_x".parse().unwrap());
    let refused = ada.account().get_account(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "TWO_CREDENTIALS");
    let mut request = Request::new(GetAccountRequest {});
    request.metadata_mut().insert("x-api-key", "cape_test_x".parse().unwrap());
    let refused = AccountServiceClient::new(t.channel()).get_account(request).await.unwrap_err();
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "API_KEY_INVALID");
}

#[tokio::test]
async fn a_deadline_is_told_as_one() {
    let t = App::start(Engine::Sqlite).await;
    let ada = t.register("ada@example.com").await;
    let bearer = format!("Bearer {}", ada.token);
    let head = |timeout: &'static str| {
        [("content-type", "application/grpc"), ("authorization", bearer.as_str()), ("grpc-timeout", timeout)]
    };
    // The first is refused before it reaches the database, the second is no deadline, the third is long enough.
    let empty = grpc_web::frame(&[]);
    assert_eq!(raw(&t, GET_ACCOUNT, &head("1n"), empty.clone()).await.1.as_deref(), Some("4"));
    assert_eq!(raw(&t, GET_ACCOUNT, &head("soon"), empty.clone()).await.1.as_deref(), Some("3"));
    assert_eq!(raw(&t, GET_ACCOUNT, &head("30S"), empty).await, (200, None));
}

#[tokio::test]
async fn bodies_that_are_no_requests_are_refused_and_the_server_goes_on() {
    let t = App::start(Engine::Sqlite).await;
    let ada = t.register("ada@example.com").await;
    let bearer = format!("Bearer {}", ada.token);
    let head = [("content-type", "application/grpc"), ("authorization", bearer.as_str())];
    const UPDATE: &str = "/capecontrol.auth.v1.AccountService/UpdateAccount";
    // Field 1 with a length beyond the end.
    assert_eq!(raw(&t, UPDATE, &head, grpc_web::frame(&[0x0a, 0xff])).await.1.as_deref(), Some("3"));
    // A frame that announces more than a request may have.
    let oversized = [&[0][..], &(2_u32 << 20).to_be_bytes(), &[0; 64]].concat();
    assert_eq!(raw(&t, UPDATE, &head, oversized).await.1.as_deref(), Some("3"));
    // Nothing at all, half a frame, a frame cut short, and compression that was not agreed on.
    for wrong in [&[][..], &[0, 0], &[0, 0, 0, 0, 9, 1], &[1, 0, 0, 0, 0], &[7, 0, 0, 0, 0]] {
        assert_eq!(raw(&t, UPDATE, &head, wrong.to_vec()).await.1.as_deref(), Some("3"), "{wrong:?}");
    }
    let plain = [("content-type", "text/plain"), ("authorization", bearer.as_str())];
    assert_eq!(raw(&t, UPDATE, &plain, Vec::new()).await.0, 415);
    assert!(ada.account().get_account(GetAccountRequest {}).await.is_ok());
}

#[tokio::test]
async fn what_no_route_knows_is_answered_in_the_callers_own_way() {
    let t = App::start(Engine::Sqlite).await;
    let grpc = [("content-type", "application/grpc")];
    assert_eq!(
        raw(&t, "/no.such.Service/Method", &grpc, grpc_web::frame(&[])).await,
        (200, Some("12".to_owned()))
    );
    let missing = t.http.get(format!("{}/nowhere", t.url)).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    assert!(missing.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn a_browser_calls_by_grpc_web_and_may_read_why_it_was_refused() {
    let t = App::start(Engine::Sqlite).await;
    let origin =
        |value: &'static str| HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static(value))]);
    let mut answer = grpc_web::call(
        &t.http,
        &t.url,
        LIST_PLANS,
        origin("https://app.example.com"),
        &ListPlansRequest::default(),
    )
    .await;
    assert!(!answer.message::<ListPlansResponse>().await.unwrap().plans.is_empty());
    assert!(answer.message::<ListPlansResponse>().await.is_none());
    assert_eq!(answer.grpc_status(), Some(0));
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.com");

    let refused = grpc_web::call(
        &t.http,
        &t.url,
        GET_ACCOUNT,
        origin("https://app.example.com"),
        &GetAccountRequest {},
    )
    .await;
    assert_eq!(refused.grpc_status(), Some(16));
    assert!(refused.headers.contains_key("grpc-status-details-bin"));
    let exposed = refused.headers["access-control-expose-headers"].to_str().unwrap().to_owned();
    for header in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"] {
        assert!(exposed.contains(header), "{header} in {exposed}");
    }
    let stranger = grpc_web::call(
        &t.http,
        &t.url,
        LIST_PLANS,
        origin("https://evil.example"),
        &ListPlansRequest::default(),
    )
    .await;
    assert!(!stranger.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_preflight_is_answered_for_known_origins_only() {
    let t = App::start(Engine::Sqlite).await;
    let preflight = async |origin: &str| {
        let request = t.http.request(http::Method::OPTIONS, format!("{}{LIST_PLANS}", t.url));
        request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-grpc-web,authorization")
            .send()
            .await
            .unwrap()
    };
    let known = preflight("https://app.example.com").await;
    assert_eq!(known.headers()["access-control-allow-origin"], "https://app.example.com");
    assert!(known.headers()["access-control-allow-headers"].to_str().unwrap().contains("x-grpc-web"));
    assert!(!preflight("https://evil.example").await.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_full_node_says_when_to_come_back() {
    let t = App::start_with(Engine::Sqlite, |config| config.bounds.calls.calls_max = 0).await;
    let mut plans = SubscriptionServiceClient::new(t.channel());
    let refused = plans.list_plans(ListPlansRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_error_details().retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
}

#[tokio::test]
async fn answers_that_nobody_takes_keep_nobody_out() {
    let t = App::start_with(Engine::Sqlite, |config| config.bounds.calls.calls_max = 2).await;
    let deaf = Endpoint::new(t.url.clone()).unwrap().initial_stream_window_size(0).connect_lazy();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut plans = SubscriptionServiceClient::new(deaf.clone());
        // One after another, so that none is refused for being one too many at once.
        let asked = calls.spawn(async move { plans.list_plans(ListPlansRequest::default()).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!asked.is_finished());
    }
    assert!(
        SubscriptionServiceClient::new(t.channel()).list_plans(ListPlansRequest::default()).await.is_ok()
    );
}

#[tokio::test]
async fn an_account_cannot_leave_streams_behind_until_nobody_gets_one() {
    let t = App::start_with(Engine::Sqlite, |config| {
        config.bounds.chat.stall = Duration::from_millis(50);
        config.bounds.calls.streams_per_account_max = 2;
    })
    .await;
    let ada = t.register("ada@example.com").await;
    let created = ada.chat().create_thread(CreateThreadRequest::default()).await.unwrap();
    let threads =
        vec![ThreadCursor { thread_id: created.into_inner().thread.unwrap().id, ..ThreadCursor::default() }];
    let mut open = Vec::new();
    for _ in 0..2 {
        let subscribe = SubscribeRequest { threads: threads.clone(), ..Default::default() };
        open.push(ada.chat().subscribe(subscribe).await.unwrap().into_inner());
    }
    let refused = ada
        .chat()
        .subscribe(SubscribeRequest { threads: threads.clone(), ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(open);
    let again = async {
        while ada
            .chat()
            .subscribe(SubscribeRequest { threads: threads.clone(), ..Default::default() })
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_is_closed() {
    let t = App::start_with(Engine::Sqlite, |config| {
        config.bounds.connections.head_within = Duration::from_millis(100);
        config.bounds.connections.idle_max = Duration::from_millis(300);
    })
    .await;
    let body = "POST /payfast/itn HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nm_payment_id=";
    for words in ["", "PRI * HTTP/2.0\r\n", "GET /healthz HT", body] {
        let mut socket = TcpStream::connect(t.url.trim_start_matches("http://")).await.unwrap();
        socket.write_all(words.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "{words:?} kept the connection");
    }
}

#[tokio::test]
async fn a_call_whose_client_vanished_is_counted_as_ended() {
    let t = App::start(Engine::Sqlite).await;
    let ada = t.register("ada@example.com").await;
    // The call waits for the writer, and its client does not wait for the answer.
    let writer = t.db.begin(Scope::System("test")).await.unwrap();
    let request = UpdateAccountRequest {
        account: Some(Account { bio: "x".to_owned(), ..Account::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["bio".to_owned()] }),
        ..UpdateAccountRequest::default()
    };
    let metrics = async || {
        t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap().text().await.unwrap()
    };
    let under_way = async |count: u32| {
        while !metrics().await.contains(&format!("capecontrol_rpc_calls_under_way {count}\n")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut account = ada.account();
    tokio::select! {
        answer = account.update_account(request) => panic!("the writer is taken, and yet: {answer:?}"),
        () = under_way(1) => {}
    }
    drop(writer);
    tokio::time::timeout(Duration::from_secs(60), under_way(0)).await.unwrap();
    assert!(metrics().await.contains("UpdateAccount\",code=\"CANCELLED\"} 1"));
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let t = App::start(Engine::Sqlite).await;
    let refused = AccountServiceClient::new(t.channel()).get_account(GetAccountRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let text =
        t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap().text().await.unwrap();
    let line = format!("capecontrol_rpc_calls_total{{method=\"{GET_ACCOUNT}\",code=\"UNAUTHENTICATED\"}} 1");
    assert!(text.contains(&line), "{text}");
    // A refusal by the service, which comes in the head of the answer, counts as what it is.
    let ada = t.register("ada@example.com").await;
    let request = ListOrganizationsRequest { page_size: -1, ..Default::default() };
    ada.organizations().list_organizations(request).await.unwrap_err();
    let text =
        t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap().text().await.unwrap();
    let line = "ListOrganizations\",code=\"INVALID_ARGUMENT\"} 1";
    assert!(text.contains(line), "{text}");
    // The letter that greets her waits for a worker.
    assert!(text.contains("capecontrol_jobs{state=\"ready\"} 1"), "{text}");
    // Not on the clients' port.
    assert_eq!(t.http.get(format!("{}/metrics", t.url)).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn reflection_tells_the_services_in_both_versions() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let t = App::start(Engine::Sqlite).await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(t.channel());
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for service in [
        "capecontrol.auth.v1.AuthService",
        "capecontrol.payments.v1.SubscriptionService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|name| name == service), "{service} in {names:?}");
    }
    // The older version answers too, for older tools.
    const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
    assert_eq!(raw(&t, V1ALPHA, &[("content-type", "application/grpc")], Vec::new()).await, (200, None));
}

#[tokio::test]
async fn a_request_id_is_used_once_also_when_it_comes_as_metadata() {
    let t = App::start(Engine::Sqlite).await;
    let ada = t.register("ada@example.com").await;
    let update = |bio: &str, request_id: &str| UpdateAccountRequest {
        request_id: request_id.to_owned(),
        account: Some(capecontrol::proto::capecontrol::auth::v1::Account {
            bio: bio.to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["bio".to_owned()] }),
        ..Default::default()
    };
    const KEY: &str = "0190f0f0-0000-4000-8000-000000000001";
    let first = ada.account().update_account(update("one", KEY)).await.unwrap().into_inner();
    let mut again = Request::new(update("one", ""));
    again.metadata_mut().insert("idempotency-key", KEY.parse().unwrap());
    let again = ada.account().update_account(again).await.unwrap().into_inner();
    assert_eq!(first.encode_to_vec(), again.encode_to_vec());
    let reused = ada.account().update_account(update("two", KEY)).await.unwrap_err();
    assert_eq!(reused.get_error_details().error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    let mut torn = Request::new(update("one", KEY));
    torn.metadata_mut().insert("idempotency-key", "0190f0f0-0000-4000-8000-000000000002".parse().unwrap());
    assert_eq!(ada.account().update_account(torn).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(
        ada.account().update_account(update("x", "not-a-uuid")).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

/// The command-line client that operators use, which knows nothing but what reflection tells it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_reflection_client_lists_and_calls_the_services() {
    let t = App::start(Engine::Sqlite).await;
    let buf = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/buf");
    assert!(buf.exists(), "{} is missing: `make setup` installs it", buf.display());
    let curl = async |arguments: &[&str]| {
        let base = ["curl", "--http2-prior-knowledge", "--protocol", "grpc"];
        let output = tokio::process::Command::new(&buf).args(base).args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let methods = curl(&["--list-methods", &t.url]).await;
    for method in ["capecontrol.chat.v1.ChatService/Converse", "capecontrol.auth.v1.AuthService/Login"] {
        assert!(methods.lines().any(|line| line == method), "{method} in {methods}");
    }
    let plans = curl(&["-d", "{}", &format!("{}{LIST_PLANS}", t.url)]).await;
    assert!(plans.contains("\"pro\""), "{plans}");
}
