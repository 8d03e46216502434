//! API keys and service accounts over a real socket: used, limited, rotated, revoked, and attacked.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use capecontrol::auth::keys::KeyPair;
use capecontrol::base::net::Network;
use capecontrol::db::{Conn as _, Engine, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::marketplace::v1 as marketplace;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use capecontrol::proto::capecontrol::payments::v1::invoice_service_client::InvoiceServiceClient;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

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

fn keyed<T>(key: &str, message: T) -> Request<T> {
    with("x-api-key", key, message)
}

/// An API key for the person's own organisation.
fn wanted(scopes: &[&str]) -> auth::CreateApiKeyRequest {
    auth::CreateApiKeyRequest {
        name: "Importer".to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        ..Default::default()
    }
}

async fn made(person: &Person, request: auth::CreateApiKeyRequest) -> (auth::ApiKey, String) {
    let answer = person.api_keys().create_api_key(request).await.unwrap().into_inner();
    (answer.api_key.unwrap(), answer.key)
}

/// What a small call with the key answers.
async fn list_threads(t: &App, key: &str) -> Result<Vec<chat::Thread>, Status> {
    let request = keyed(key, chat::ListThreadsRequest::default());
    Ok(ChatServiceClient::new(t.channel()).list_threads(request).await?.into_inner().threads)
}

async fn create_thread(t: &App, key: &str) -> Result<chat::Thread, Status> {
    let request = keyed(key, chat::CreateThreadRequest::default());
    Ok(ChatServiceClient::new(t.channel()).create_thread(request).await?.into_inner().thread.unwrap())
}

async fn team(person: &Person) -> String {
    let request = auth::CreateOrganizationRequest { name: "Engines".to_owned(), ..Default::default() };
    let made = person.organizations().create_organization(request).await.unwrap();
    made.into_inner().organization.unwrap().id
}

async fn subscribed(t: &App, key: &str, thread: &chat::Thread) -> Streaming<chat::SubscribeResponse> {
    let cursor = chat::ThreadCursor { thread_id: thread.id.clone(), ..Default::default() };
    let request = keyed(key, chat::SubscribeRequest { threads: vec![cursor] });
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

async fn rotate(person: &Person, key: &auth::ApiKey, overlap_seconds: Option<i32>) -> Result<String, Status> {
    let request =
        auth::RotateApiKeyRequest { api_key_id: key.id.clone(), overlap_seconds, ..Default::default() };
    Ok(person.api_keys().rotate_api_key(request).await?.into_inner().key)
}

async fn revoke(person: &Person, key: &auth::ApiKey) -> Result<(), Status> {
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
        let outcome = operations.verify_ledger(keyed(&text, payments::VerifyLedgerRequest {})).await;
        assert_refused(outcome, Code::PermissionDenied, "API_KEY_NOT_ACCEPTED");
    }

    async fn a_key_ends_by_its_time(t: App) {
        let ada = t.register("ada@example.com").await;
        let end_at = t.world.now().plus(Duration::from_mins(1));
        let expire_time = Some(prost_types::Timestamp { seconds: end_at.as_seconds(), nanos: 0 });
        let (key, text) = made(&ada, auth::CreateApiKeyRequest { expire_time, ..wanted(&["chat.write"]) }).await;
        assert_eq!(key.expire_time, expire_time);
        list_threads(&t, &text).await.unwrap();
        t.advance(Duration::from_secs(59));
        list_threads(&t, &text).await.unwrap();
        t.advance(Duration::from_secs(1));
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_EXPIRED");
        assert_refused(rotate(&ada, &key, None).await, Code::FailedPrecondition, "API_KEY_REVOKED");
        let past = Some(prost_types::Timestamp { seconds: end_at.as_seconds() - 1, nanos: 0 });
        let late = auth::CreateApiKeyRequest { expire_time: past, ..wanted(&["chat.write"]) };
        assert_refused(ada.api_keys().create_api_key(late).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }

    async fn a_rotation_overlaps_for_its_time_and_no_longer(t: App) {
        let ada = t.register("ada@example.com").await;
        let (key, first) = made(&ada, wanted(&["chat.read"])).await;
        let second = rotate(&ada, &key, Some(60)).await.unwrap();
        for text in [&first, &second] {
            list_threads(&t, text).await.unwrap();
        }
        t.advance(Duration::from_secs(60));
        assert_refused(list_threads(&t, &first).await, Code::Unauthenticated, "API_KEY_EXPIRED");
        list_threads(&t, &second).await.unwrap();
        // Of two rotations in a row only the last secret but one overlaps.
        let third = rotate(&ada, &key, None).await.unwrap();
        let fourth = rotate(&ada, &key, Some(0)).await.unwrap();
        assert_refused(list_threads(&t, &second).await, Code::Unauthenticated, "API_KEY_INVALID");
        assert_refused(list_threads(&t, &third).await, Code::Unauthenticated, "API_KEY_EXPIRED");
        list_threads(&t, &fourth).await.unwrap();
        for overlap in [-1, 7 * 24 * 3_600 + 1] {
            assert_refused(
                rotate(&ada, &key, Some(overlap)).await,
                Code::InvalidArgument,
                "INVALID_ARGUMENT",
            );
        }
    }

    async fn a_revoked_key_is_refused_here_at_once_and_elsewhere_soon(t: App) {
        let ada = t.register("ada@example.com").await;
        let (first, text) = made(&ada, wanted(&["chat.read"])).await;
        list_threads(&t, &text).await.unwrap();
        revoke(&ada, &first).await.unwrap();
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
        revoke(&ada, &first).await.unwrap();
        assert_refused(rotate(&ada, &first, None).await, Code::FailedPrecondition, "API_KEY_REVOKED");
        // On another node, which this one hears of by looking.
        let (_, text) = made(&ada, wanted(&["chat.read"])).await;
        list_threads(&t, &text).await.unwrap();
        run(&t, "UPDATE api_keys SET revoked_at = created_at WHERE revoked_at IS NULL").await;
        t.advance(Duration::from_secs(3));
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
    }

    async fn a_key_goes_with_the_membership_of_its_account(t: App) {
        let (ada, bob) = (t.register("ada@example.com").await, t.register("bob@example.com").await);
        let home = team(&ada).await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let role = capecontrol::auth::OrganizationRole::Admin;
        let id = home.parse().unwrap();
        let now = t.world.now();
        capecontrol::auth::store::member::insert(&mut tx, id, bob.account_id, role, now).await.unwrap();
        tx.commit().await.unwrap();
        let request = auth::CreateApiKeyRequest {
            organization_id: home.clone(),
            ..wanted(&["chat.write", "payments.read"])
        };
        let (_, text) = made(&bob, request).await;
        create_thread(&t, &text).await.unwrap();
        let invoices = async || {
            let request = keyed(&text, payments::ListInvoicesRequest::default());
            InvoiceServiceClient::new(t.channel()).list_invoices(request).await
        };
        invoices().await.unwrap();
        // A key has no more power than its account has by then.
        let down = auth::UpdateMemberRoleRequest {
            organization_id: home.clone(),
            account_id: bob.account_id.to_string(),
            role: auth::OrganizationRole::Member.into(),
            ..Default::default()
        };
        ada.organizations().update_member_role(down).await.unwrap();
        assert_refused(invoices().await, Code::PermissionDenied, "PERMISSION_DENIED");
        let (organization_id, account_id) = (home.clone(), bob.account_id.to_string());
        let gone = auth::RemoveMemberRequest { organization_id, account_id, ..Default::default() };
        ada.organizations().remove_member(gone).await.unwrap();
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
        // Coming back does not bring the key back.
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        capecontrol::auth::store::member::insert(&mut tx, id, bob.account_id, role, now).await.unwrap();
        tx.commit().await.unwrap();
        t.advance(Duration::from_secs(3));
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
    }

    async fn a_key_stops_while_its_account_is_suspended(t: App) {
        let (root, ada) = (t.admin().await, t.register("ada@example.com").await);
        let (_, text) = made(&ada, wanted(&["chat.read"])).await;
        list_threads(&t, &text).await.unwrap();
        let (account_id, reason) = (ada.account_id.to_string(), "a stolen card".to_owned());
        let suspend =
            auth::SuspendAccountRequest { account_id: account_id.clone(), reason, ..Default::default() };
        root.admin().suspend_account(suspend).await.unwrap();
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
        let reinstate = auth::ReinstateAccountRequest { account_id, ..Default::default() };
        root.admin().reinstate_account(reinstate).await.unwrap();
        list_threads(&t, &text).await.unwrap();
    }

    async fn a_stream_of_a_key_ends_when_its_account_is_suspended(t: Impatient) {
        let t = t.0;
        let (root, ada) = (t.admin().await, t.register("ada@example.com").await);
        let (_, text) = made(&ada, wanted(&["chat.write"])).await;
        let thread = create_thread(&t, &text).await.unwrap();
        let frames = subscribed(&t, &text, &thread).await;
        let (account_id, reason) = (ada.account_id.to_string(), "a stolen card".to_owned());
        let suspend = auth::SuspendAccountRequest { account_id, reason, ..Default::default() };
        root.admin().suspend_account(suspend).await.unwrap();
        assert_refused(Err::<(), _>(end(frames).await), Code::Unauthenticated, "API_KEY_INVALID");
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

    async fn streams_end_with_the_key_that_opened_them(t: Impatient) {
        let t = t.0;
        let ada = t.register("ada@example.com").await;
        let expire_time = Some(prost_types::Timestamp {
            seconds: t.world.now().plus(Duration::from_mins(5)).as_seconds(),
            nanos: 0,
        });
        let (_, expiring) = made(&ada, auth::CreateApiKeyRequest { expire_time, ..wanted(&["chat.write"]) }).await;
        let thread = create_thread(&t, &expiring).await.unwrap();
        let (revoked, revoked_text) = made(&ada, wanted(&["chat.read"])).await;
        let (rotated, rotated_text) = made(&ada, wanted(&["chat.read"])).await;
        let (_, steady_text) = made(&ada, wanted(&["chat.read"])).await;
        let streams = [
            subscribed(&t, &revoked_text, &thread).await,
            subscribed(&t, &rotated_text, &thread).await,
            subscribed(&t, &expiring, &thread).await,
        ];
        let mut steady = subscribed(&t, &steady_text, &thread).await;
        let [of_revoked, of_rotated, of_expiring] = streams;
        revoke(&ada, &revoked).await.unwrap();
        assert_refused::<()>(Err(end(of_revoked).await), Code::Unauthenticated, "API_KEY_INVALID");
        // A secret that a rotation ended at once takes its streams along.
        rotate(&ada, &rotated, Some(0)).await.unwrap();
        assert_refused::<()>(Err(end(of_rotated).await), Code::Unauthenticated, "API_KEY_INVALID");
        t.advance(Duration::from_mins(5));
        assert_refused::<()>(Err(end(of_expiring).await), Code::Unauthenticated, "API_KEY_EXPIRED");
        // The others go on.
        let message = chat::SendMessageRequest {
            thread_id: thread.id.clone(),
            client_message_id: uuid::Uuid::from_u128(1).to_string(),
            text: "Still here".to_owned(),
        };
        let ada = t.refresh(&ada).await;
        ada.chat().send_message(message).await.unwrap();
        let told = loop {
            let frame = steady.message().await.unwrap().unwrap();
            if let Some(chat::server_frame::Frame::Event(event)) = frame.frame.unwrap().frame {
                break event;
            }
        };
        assert_eq!(told.seq, 1);
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

    async fn a_service_account_signs_for_its_token(t: App) {
        let program = Program::start(&t).await;
        let issued = program.exchange(&t, &program.claims(&t, "1")).await.unwrap();
        assert_eq!(issued.scopes, ["chat.write"]);
        let threads = async |token: &str, organization_id: &str| {
            let organization_id = organization_id.to_owned();
            let request = chat::ListThreadsRequest { organization_id, ..Default::default() };
            let request = with("authorization", &format!("Bearer {token}"), request);
            ChatServiceClient::new(t.channel()).list_threads(request).await
        };
        threads(&issued.access_token, "").await.unwrap();
        threads(&issued.access_token, &program.home).await.unwrap();
        let other = program.owner.organization_id.to_string();
        assert_refused(threads(&issued.access_token, &other).await, Code::NotFound, "NOT_FOUND");
        // It is held to its scopes as an API key is, and to what programs may do at all.
        let bearer = format!("Bearer {}", issued.access_token);
        let request = with("authorization", &bearer, payments::ListInvoicesRequest::default());
        let outcome = InvoiceServiceClient::new(t.channel()).list_invoices(request).await;
        assert_refused(outcome, Code::PermissionDenied, "API_KEY_SCOPE");
        let mut accounts = auth::account_service_client::AccountServiceClient::new(t.channel());
        let outcome = accounts.get_account(with("authorization", &bearer, auth::GetAccountRequest {})).await;
        assert_refused(outcome, Code::PermissionDenied, "API_KEY_NOT_ACCEPTED");
        // Fewer scopes can be asked for, and no others.
        let claims = program.claims(&t, "2");
        let narrow = program.exchange_for(&t, &program.sign(&claims), &["chat.read"]).await.unwrap();
        let request = with(
            "authorization",
            &format!("Bearer {}", narrow.access_token),
            chat::CreateThreadRequest::default(),
        );
        let outcome = ChatServiceClient::new(t.channel()).create_thread(request).await;
        assert_refused(outcome, Code::PermissionDenied, "API_KEY_SCOPE");
        let claims = program.claims(&t, "3");
        let wide = program.exchange_for(&t, &program.sign(&claims), &["payments.read"]).await;
        assert_refused(wide, Code::InvalidArgument, "INVALID_ARGUMENT");
        // The token has its time.
        t.advance(Duration::from_mins(10));
        let outcome = threads(&issued.access_token, "").await;
        assert_refused(outcome, Code::Unauthenticated, "TOKEN_EXPIRED");
    }

    async fn every_wrong_assertion_is_refused(t: App) {
        let program = Program::start(&t).await;
        let good = program.claims(&t, "good");
        let claim = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let now = t.world.now().as_seconds();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let stranger = uuid::Uuid::from_u128(9).to_string();
        let mut of_nobody = claim("iss", json!(stranger));
        of_nobody["sub"] = json!(stranger);
        let (secret, symmetric) =
            (EncodingKey::from_secret(&program.pair.public()), Header::new(Algorithm::HS256));
        let typed = Header { typ: Some("at+jwt".to_owned()), ..Header::new(Algorithm::EdDSA) };
        let wrong = [
            ("another audience", program.sign(&claim("aud", json!("https://elsewhere.example")))),
            ("expired", program.sign(&claim("exp", json!(now)))),
            ("too far away", program.sign(&claim("exp", json!(now + 301)))),
            ("no jti", program.sign(&claim("jti", Value::Null))),
            ("another subject", program.sign(&claim("sub", json!(program.owner.account_id)))),
            ("nobody's", program.sign(&of_nobody)),
            ("no algorithm", format!("{}.{}.", part(&json!({"alg": "none"})), part(&good))),
            ("the public key as a secret", jsonwebtoken::encode(&symmetric, &good, &secret).unwrap()),
            ("another's key", sign(&good, &KeyPair::from_seed(&[9; 32]))),
            ("an access token's type", jsonwebtoken::encode(&typed, &good, &program.pair.encoding()).unwrap()),
            ("our own access token", program.owner.token.clone()),
            ("noise", "a.b.c".to_owned()),
        ];
        for (what, assertion) in wrong {
            let status = program.exchange_for(&t, &assertion, &[]).await.unwrap_err();
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, "ASSERTION_INVALID", "{what}: {status:?}");
        }
        program.exchange(&t, &good).await.unwrap();
        // Once, on whatever node: the row says so.
        assert_refused(program.exchange(&t, &good).await, Code::Unauthenticated, "ASSERTION_REPLAYED");
        let signed = program.sign(&program.claims(&t, "race"));
        let (first, second) =
            tokio::join!(program.exchange_for(&t, &signed, &[]), program.exchange_for(&t, &signed, &[]));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    }

    async fn a_service_account_ends_with_all_that_it_has(t: Impatient) {
        let t = t.0;
        let program = Program::start(&t).await;
        let issued = program.exchange(&t, &program.claims(&t, "1")).await.unwrap();
        let request = auth::CreateApiKeyRequest {
            organization_id: program.home.clone(),
            service_account_id: program.id.clone(),
            ..wanted(&["chat.write"])
        };
        let (key, text) = made(&program.owner, request).await;
        assert_eq!(key.account_id, program.id);
        let thread = create_thread(&t, &text).await.unwrap();
        let stream = subscribed(&t, &text, &thread).await;
        // It is a member like others, but cannot be removed like one, nor manage anything.
        let (organization_id, account_id) = (program.home.clone(), program.id.clone());
        let remove = auth::RemoveMemberRequest { organization_id, account_id, ..Default::default() };
        let outcome = program.owner.organizations().remove_member(remove).await;
        assert_refused(outcome, Code::FailedPrecondition, "SERVICE_ACCOUNT");
        let raise = auth::UpdateMemberRoleRequest {
            organization_id: program.home.clone(),
            account_id: program.id.clone(),
            role: auth::OrganizationRole::Admin.into(),
            ..Default::default()
        };
        let outcome = program.owner.organizations().update_member_role(raise).await;
        assert_refused(outcome, Code::InvalidArgument, "INVALID_ARGUMENT");
        let login = auth::LoginRequest {
            email: format!("{}@service-accounts.invalid", program.id),
            password: "any password whatever".to_owned(),
            ..Default::default()
        };
        let outcome = AuthServiceClient::new(t.channel()).login(login).await;
        assert_refused(outcome, Code::Unauthenticated, "INVALID_CREDENTIALS");
        // Nor is anybody written to at an address that leads nowhere.
        let email = format!("{}@service-accounts.invalid", program.id);
        let reset = auth::RequestPasswordResetRequest { email: email.clone(), ..Default::default() };
        AuthServiceClient::new(t.channel()).request_password_reset(reset).await.unwrap();
        t.run_jobs().await;
        assert!(!t.letters().iter().any(|letter| letter.contains(&email)));

        let delete = auth::DeleteServiceAccountRequest {
            service_account_id: program.id.clone(),
            ..Default::default()
        };
        program.owner.api_keys().delete_service_account(delete).await.unwrap();
        assert_refused(list_threads(&t, &text).await, Code::Unauthenticated, "API_KEY_INVALID");
        let request = with(
            "authorization",
            &format!("Bearer {}", issued.access_token),
            chat::ListThreadsRequest::default(),
        );
        let outcome = ChatServiceClient::new(t.channel()).list_threads(request).await;
        assert_refused(outcome, Code::Unauthenticated, "SESSION_REVOKED");
        let outcome = program.exchange(&t, &program.claims(&t, "2")).await;
        assert_refused(outcome, Code::Unauthenticated, "ASSERTION_INVALID");
        assert_refused::<()>(Err(end(stream).await), Code::Unauthenticated, "API_KEY_INVALID");
    }

    async fn a_private_key_is_sent_back_with_a_warning(t: App) {
        let ada = t.register("ada@example.com").await;
        let public = KeyPair::from_seed(&[3; 32]).public();
        let x = URL_SAFE_NO_PAD.encode(public);
        let spki = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let pem = STANDARD.encode([spki.as_slice(), &public].concat());
        let create = async |public_key: String| {
            let request = auth::CreateServiceAccountRequest {
                name: "Importer".to_owned(),
                scopes: vec!["chat.read".to_owned()],
                public_key,
                ..Default::default()
            };
            ada.api_keys().create_service_account(request).await
        };
        create(format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n")).await.unwrap();
        let private = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "d": "AAAA"}).to_string();
        assert_refused(create(private).await, Code::InvalidArgument, "INVALID_ARGUMENT");
        let private = "-----BEGIN PRIVATE KEY-----".to_owned();
        assert_refused(create(private).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }
}

/// A service account and the program that holds its key.
struct Program {
    owner: Person,
    home: String,
    id: String,
    pair: KeyPair,
}

impl Program {
    async fn start(t: &App) -> Self {
        let owner = t.register("owner@example.com").await;
        let (home, pair) = (team(&owner).await, KeyPair::from_seed(&[7; 32]));
        let x = URL_SAFE_NO_PAD.encode(pair.public());
        let request = auth::CreateServiceAccountRequest {
            organization_id: home.clone(),
            name: "Importer".to_owned(),
            scopes: vec!["chat.write".to_owned()],
            public_key: json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string(),
            ..Default::default()
        };
        let made = owner.api_keys().create_service_account(request).await.unwrap().into_inner();
        Self { owner, home, id: made.service_account.unwrap().id, pair }
    }

    fn claims(&self, t: &App, jti: &str) -> Value {
        let exp = t.world.now().as_seconds() + 240;
        json!({"iss": self.id, "sub": self.id, "aud": t.url, "exp": exp, "jti": jti})
    }

    fn sign(&self, claims: &Value) -> String {
        sign(claims, &self.pair)
    }

    async fn exchange(
        &self,
        t: &App,
        claims: &Value,
    ) -> Result<auth::ExchangeServiceAccountTokenResponse, Status> {
        self.exchange_for(t, &self.sign(claims), &[]).await
    }

    async fn exchange_for(
        &self,
        t: &App,
        assertion: &str,
        scopes: &[&str],
    ) -> Result<auth::ExchangeServiceAccountTokenResponse, Status> {
        let request = auth::ExchangeServiceAccountTokenRequest {
            assertion: assertion.to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            ..Default::default()
        };
        let answer = AuthServiceClient::new(t.channel()).exchange_service_account_token(request).await?;
        Ok(answer.into_inner())
    }
}

fn sign(claims: &Value, pair: &KeyPair) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &pair.encoding()).unwrap()
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
