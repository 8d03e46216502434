//! API keys over a real socket: used, and limited to an organisation, to scopes and to networks.

mod ends;
mod service_accounts;

use std::time::Duration;

use capecontrol::base::net::Network;
use capecontrol::db::{Conn as _, Engine, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::marketplace::v1 as marketplace;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

pub use service_accounts::Program;

use crate::support::{App, Person, Start, on_both};

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, reason: &str) {
    let status = outcome.unwrap_err();
    let details = status.get_error_details();
    assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (code, reason), "{status:?}");
}

fn with<T>(name: &'static str, value: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(name, value.parse().unwrap());
    request
}

pub fn keyed<T>(key: &str, message: T) -> Request<T> {
    with("x-api-key", key, message)
}

/// An API key for the person's own organisation.
pub fn wanted(scopes: &[&str]) -> auth::CreateApiKeyRequest {
    auth::CreateApiKeyRequest {
        name: "Importer".to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        ..Default::default()
    }
}

pub async fn made(person: &Person, request: auth::CreateApiKeyRequest) -> (auth::ApiKey, String) {
    let answer = person.api_keys().create_api_key(request).await.unwrap().into_inner();
    (answer.api_key.unwrap(), answer.key)
}

/// What a small call with the key answers.
pub async fn list_threads(t: &App, key: &str) -> Result<Vec<chat::Thread>, Status> {
    let request = keyed(key, chat::ListThreadsRequest::default());
    Ok(ChatServiceClient::new(t.channel()).list_threads(request).await?.into_inner().threads)
}

async fn create_thread(t: &App, key: &str) -> Result<chat::Thread, Status> {
    let request = keyed(key, chat::CreateThreadRequest::default());
    Ok(ChatServiceClient::new(t.channel()).create_thread(request).await?.into_inner().thread.unwrap())
}

pub async fn team(person: &Person) -> String {
    let request = auth::CreateOrganizationRequest { name: "Engines".to_owned(), ..Default::default() };
    let made = person.organizations().create_organization(request).await.unwrap();
    made.into_inner().organization.unwrap().id
}

async fn subscribed(t: &App, key: &str, thread: &chat::Thread) -> Streaming<chat::SubscribeResponse> {
    let cursor = chat::ThreadCursor { thread_id: thread.id.clone(), ..Default::default() };
    let request = keyed(key, chat::SubscribeRequest { threads: vec![cursor], ..Default::default() });
    let mut frames = ChatServiceClient::new(t.channel()).subscribe(request).await.unwrap().into_inner();
    frames.message().await.unwrap().unwrap();
    frames
}

/// With which status a stream ends.
async fn end(mut frames: Streaming<chat::SubscribeResponse>) -> Status {
    loop {
        match frames.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a word"),
            Err(status) => return status,
        }
    }
}

async fn run(t: &App, sql: &'static str) {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    assert_eq!(tx.shared_sql(sql).execute().await.unwrap(), 1, "{sql}");
    tx.commit().await.unwrap();
}

pub async fn rotate(
    person: &Person,
    key: &auth::ApiKey,
    overlap_seconds: Option<i32>,
) -> Result<String, Status> {
    let request =
        auth::RotateApiKeyRequest { api_key_id: key.id.clone(), overlap_seconds, ..Default::default() };
    Ok(person.api_keys().rotate_api_key(request).await?.into_inner().key)
}

pub async fn revoke(person: &Person, key: &auth::ApiKey) -> Result<(), Status> {
    let request = auth::RevokeApiKeyRequest { api_key_id: key.id.clone(), ..Default::default() };
    person.api_keys().revoke_api_key(request).await.map(|_| ())
}

async fn listed(person: &Person) -> Vec<auth::ApiKey> {
    let answer = person.api_keys().list_api_keys(auth::ListApiKeysRequest::default()).await.unwrap();
    answer.into_inner().api_keys
}

/// Asks an agent of the person's for a plan, with a key or as the person; tells how many payments there are then.
async fn asked_for_a_plan(t: &App, ada: &Person, listing_id: &str, key: Option<&str>) -> i64 {
    let create = chat::CreateThreadRequest { listing_id: listing_id.to_owned(), ..Default::default() };
    let thread = ada.chat().create_thread(create).await.unwrap().into_inner().thread.unwrap();
    let message = chat::SendMessageRequest {
        thread_id: thread.id.clone(),
        client_message_id: t.world.id::<()>().to_string(),
        text: "I want the pro plan monthly".to_owned(),
        ..Default::default()
    };
    let message = match key {
        Some(key) => keyed(key, message),
        None => with("authorization", &format!("Bearer {}", ada.token), message),
    };
    ChatServiceClient::new(t.channel()).send_message(message).await.unwrap();
    t.run_jobs().await;
    let read = ada.chat().get_thread(chat::GetThreadRequest { thread_id: thread.id }).await.unwrap();
    // The message and the answer; for the person the tool's call too.
    assert_eq!(read.into_inner().thread.unwrap().last_seq, if key.is_some() { 2 } else { 3 });
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let (count,): (i64,) = conn.sql("SELECT count(*) FROM payments").one().await.unwrap();
    count
}

on_both! {
    async fn an_agent_does_nothing_for_a_program_that_its_key_is_not_good_for(t: App) {
        let ada = t.register("ada@example.com").await;
        let listing_id = "0195b3a0-0000-7000-8000-000000000001";
        let install = marketplace::InstallListingRequest { listing_id: listing_id.to_owned(), ..Default::default() };
        ada.market().install_listing(install).await.unwrap();
        let (_, key) = made(&ada, wanted(&["chat.write"])).await;
        let prepared = asked_for_a_plan(&t, &ada, listing_id, Some(&key)).await;
        assert_eq!(prepared, 0, "a key for messages prepared a checkout");
        assert_eq!(asked_for_a_plan(&t, &ada, listing_id, None).await, 1);
    }

    async fn a_key_is_shown_once_and_works_in_its_organisation(t: App) {
        let ada = t.register("ada@example.com").await;
        let home = team(&ada).await;
        let request = auth::CreateApiKeyRequest { organization_id: home.clone(), ..wanted(&["chat.write"]) };
        let (key, text) = made(&ada, request).await;
        assert!(text.starts_with("cape_test_"), "the simulator moves no real money");
        // An empty organization_id is the key's organisation, not the person's own.
        let thread = create_thread(&t, &text).await.unwrap();
        assert_eq!(thread.organization_id, home);
        assert_eq!(list_threads(&t, &text).await.unwrap().len(), 1);
        let own = chat::ListThreadsRequest {
            organization_id: ada.organization_id.to_string(),
            ..Default::default()
        };
        let outcome = ChatServiceClient::new(t.channel()).list_threads(keyed(&text, own)).await;
        assert_refused(outcome, Code::NotFound, "NOT_FOUND");
        // What the database holds opens nothing.
        let shown = listed(&ada).await;
        assert!(shown.is_empty(), "the key is not of the personal organisation");
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let (hash,): (Vec<u8>,) = conn.sql("SELECT secret_hash FROM api_keys").one().await.unwrap();
        assert!(!text.contains(&hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
        assert_eq!(key.account_id, ada.account_id.to_string());
    }

    async fn a_person_with_platform_power_lends_none_of_it_to_a_key(t: App) {
        let admin = t.admin().await;
        let (_, text) = made(&admin, wanted(&["payments.write", "chat.write"])).await;
        let mut operations =
            payments::payment_operations_service_client::PaymentOperationsServiceClient::new(t.channel());
        let outcome = operations.verify_ledger(keyed(&text, payments::VerifyLedgerRequest::default())).await;
        assert_refused(outcome, Code::PermissionDenied, "API_KEY_NOT_ACCEPTED");
    }

    async fn a_key_is_good_from_its_networks_only(t: Proxied) {
        let t = t.0;
        let ada = t.register("ada@example.com").await;
        let limited = |network: &str| auth::CreateApiKeyRequest {
            allowed_networks: vec![network.to_owned()],
            ..wanted(&["chat.read"])
        };
        let (_, elsewhere) = made(&ada, limited("203.0.113.0/24")).await;
        let from = async |key: &str, forwarded: &str| {
            let mut request = keyed(key, chat::ListThreadsRequest::default());
            request.metadata_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
            ChatServiceClient::new(t.channel()).list_threads(request).await
        };
        assert_refused(list_threads(&t, &elsewhere).await, Code::PermissionDenied, "API_KEY_ADDRESS");
        from(&elsewhere, "203.0.113.9").await.unwrap();
        // The trusted proxy's word is the last; what a client put before it is nothing.
        let forged = from(&elsewhere, "203.0.113.9, 198.51.100.1").await;
        assert_refused(forged, Code::PermissionDenied, "API_KEY_ADDRESS");
        let (_, here) = made(&ada, limited("127.0.0.1")).await;
        list_threads(&t, &here).await.unwrap();
        assert_refused(from(&here, "203.0.113.9").await, Code::PermissionDenied, "API_KEY_ADDRESS");
        let wrong = ada.api_keys().create_api_key(limited("203.0.113.0/33")).await;
        assert_refused(wrong, Code::InvalidArgument, "INVALID_ARGUMENT");
    }

    async fn a_forged_address_is_not_believed_without_a_proxy(t: App) {
        let ada = t.register("ada@example.com").await;
        let request = auth::CreateApiKeyRequest {
            allowed_networks: vec!["203.0.113.0/24".to_owned()],
            ..wanted(&["chat.read"])
        };
        let (_, key) = made(&ada, request).await;
        for header in ["x-forwarded-for", "x-real-ip", "forwarded"] {
            let mut request = keyed(&key, chat::ListThreadsRequest::default());
            request.metadata_mut().insert(header, "203.0.113.9".parse().unwrap());
            let outcome = ChatServiceClient::new(t.channel()).list_threads(request).await;
            assert_refused(outcome, Code::PermissionDenied, "API_KEY_ADDRESS");
        }
    }

    async fn a_use_is_noted_to_the_minute(t: App) {
        let ada = t.register("ada@example.com").await;
        let (_, text) = made(&ada, wanted(&["chat.read"])).await;
        let used = async || listed(&ada).await[0].last_use_time.map(|at| at.seconds);
        assert_eq!(used().await, None);
        let began = t.world.now().as_seconds();
        for _ in 0..3 {
            list_threads(&t, &text).await.unwrap();
            t.advance(Duration::from_secs(20));
            assert_eq!(used().await, Some(began));
        }
        list_threads(&t, &text).await.unwrap();
        assert_eq!(used().await, Some(began + 60));
    }

    async fn what_a_key_did_is_told_to_no_other_organisations_key(t: App) {
        let ada = t.register("ada@example.com").await;
        let request_id = uuid::Uuid::from_u128(7).to_string();
        let mut threads = Vec::new();
        for _ in 0..2 {
            let home = team(&ada).await;
            let request = auth::CreateApiKeyRequest { organization_id: home.clone(), ..wanted(&["chat.write"]) };
            let (_, text) = made(&ada, request).await;
            // The same request id in the name of the same person.
            let request = chat::CreateThreadRequest { request_id: request_id.clone(), ..Default::default() };
            let made = ChatServiceClient::new(t.channel()).create_thread(keyed(&text, request)).await.unwrap();
            let thread = made.into_inner().thread.unwrap();
            assert_eq!(thread.organization_id, home);
            threads.push(thread.id);
        }
        assert_ne!(threads[0], threads[1]);
    }

    async fn a_stream_of_a_key_follows_nothing_of_another_organization(t: App) {
        let ada = t.register("ada@example.com").await;
        let home = team(&ada).await;
        let request = auth::CreateApiKeyRequest { organization_id: home, ..wanted(&["chat.write"]) };
        let (_, text) = made(&ada, request).await;
        let within = create_thread(&t, &text).await.unwrap();
        drop(subscribed(&t, &text, &within).await);
        // Its person is a member of this one, and of its organisation.
        let create = chat::CreateThreadRequest::default();
        let beyond = ada.chat().create_thread(create).await.unwrap().into_inner().thread.unwrap();
        let cursor = |thread_id: &str| chat::ThreadCursor { thread_id: thread_id.to_owned(), ..Default::default() };
        let nowhere = t.world.id::<()>().to_string();
        let mut refusals = Vec::new();
        for thread_id in [&beyond.id, &nowhere] {
            let request = chat::SubscribeRequest { threads: vec![cursor(thread_id)], ..Default::default() };
            let refused = ChatServiceClient::new(t.channel()).subscribe(keyed(&text, request)).await;
            let refused = refused.map(drop).unwrap_err();
            assert_eq!(refused.code(), Code::NotFound);
            refusals.push(refused.message().replace(thread_id.as_str(), "…"));
        }
        assert_eq!(refusals[0], refusals[1], "a thread elsewhere is told from none");
        let own = chat::SubscribeRequest { threads: vec![cursor(&beyond.id)], ..Default::default() };
        drop(ada.chat().subscribe(own).await.unwrap());
    }
}

/// A node behind a proxy that it trusts.
struct Proxied(App);

impl Start for Proxied {
    async fn start(engine: Engine) -> Self {
        let loopback = Network::parse("127.0.0.0/8").unwrap();
        Self(App::start_with(engine, |config| config.server.trusted_proxies = vec![loopback]).await)
    }
}

/// A node that looks after its streams more often than it has to, so that a test need not wait.
struct Impatient(App);

impl Start for Impatient {
    async fn start(engine: Engine) -> Self {
        Self(App::start_with(engine, |config| config.bounds.chat.recheck = Duration::from_millis(20)).await)
    }
}
