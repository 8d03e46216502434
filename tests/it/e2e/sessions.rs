//! One's sessions over real sockets, and two nodes that follow each other.

use std::time::Duration;

use capecontrol::db::Engine;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::app::PASSWORD;
use crate::support::{App, Person, Start as _, on_both};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[track_caller]
fn assert_refused(status: &Status, code: Code, reason: &str) {
    let details = status.get_error_details();
    assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (code, reason), "{status:?}");
}

async fn listed(who: &Person, page_size: i32, page_token: &str) -> auth::ListSessionsResponse {
    let request = auth::ListSessionsRequest { page_size, page_token: page_token.to_owned() };
    who.account().list_sessions(request).await.unwrap().into_inner()
}

async fn account(who: &Person) -> Result<auth::Account, Status> {
    let answer = who.account().get_account(auth::GetAccountRequest {}).await?;
    Ok(answer.into_inner().account.unwrap())
}

async fn revoke(who: &Person, session_id: String) -> Result<(), Status> {
    let request = auth::RevokeSessionRequest { session_id, ..Default::default() };
    who.account().revoke_session(request).await.map(drop)
}

/// A stream of somebody's own thread, which has said that it is live.
async fn stream(who: &Person) -> tonic::Streaming<chat::SubscribeResponse> {
    let made = who.chat().create_thread(chat::CreateThreadRequest::default()).await.unwrap();
    let thread_id = made.into_inner().thread.unwrap().id;
    let cursor = chat::ThreadCursor { thread_id, ..Default::default() };
    let request = chat::SubscribeRequest { threads: vec![cursor], ..Default::default() };
    let mut frames = who.chat().subscribe(request).await.unwrap().into_inner();
    loop {
        let frame = frames.message().await.unwrap().unwrap().frame.unwrap().frame.unwrap();
        if matches!(frame, chat::server_frame::Frame::Live(_)) {
            return frames;
        }
    }
}

/// Waits for the end of a stream.
async fn end(mut frames: tonic::Streaming<chat::SubscribeResponse>) -> Code {
    let end = async {
        loop {
            match frames.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.unwrap()
}

on_both! {
    async fn sessions_are_listed_and_ended_one_by_one_and_together(t: App) {
        let laptop = t.register("ada@example.com").await;
        let mut others = Vec::new();
        for _ in 0..2 {
            t.advance(Duration::from_secs(1));
            others.push(t.sign_in("ada@example.com", PASSWORD).await);
        }
        let all = listed(&laptop, 0, "").await;
        let ids: Vec<_> = all.sessions.iter().map(|session| session.id.clone()).collect();
        assert_eq!(ids, [others[1].session_id(), others[0].session_id(), laptop.session_id()]);
        let current: Vec<_> = all.sessions.iter().map(|session| session.current).collect();
        assert_eq!(current, [false, false, true]);
        let one = &all.sessions[2];
        assert!(one.agent.contains("tonic") && one.address == "127.0.0.1", "{one:?}");
        assert!(one.create_time.is_some() && one.last_use_time.is_some() && one.expire_time.is_some());
        let first = listed(&laptop, 2, "").await;
        let rest = listed(&laptop, 2, &first.next_page_token).await;
        assert_eq!([first.sessions, rest.sessions].concat(), all.sessions);

        let eve = t.register("eve@example.com").await;
        let foreign = revoke(&eve, others[0].session_id()).await.unwrap_err();
        let missing = revoke(&eve, uuid::Uuid::from_u128(9).to_string()).await.unwrap_err();
        assert_refused(&foreign, Code::NotFound, "NOT_FOUND");
        assert_eq!((foreign.message(), foreign.details()), (missing.message(), missing.details()));

        revoke(&laptop, others[0].session_id()).await.unwrap();
        assert_refused(&account(&others[0]).await.unwrap_err(), Code::Unauthenticated, "SESSION_REVOKED");
        let others_of_one = auth::RevokeOtherSessionsRequest::default();
        let revoked = laptop.account().revoke_other_sessions(others_of_one).await.unwrap().into_inner();
        assert_eq!(revoked.revoked_count, 1);
        assert_refused(&account(&others[1]).await.unwrap_err(), Code::Unauthenticated, "SESSION_REVOKED");
        account(&laptop).await.unwrap();
        // One's own may be ended too.
        revoke(&laptop, laptop.session_id()).await.unwrap();
        assert_refused(&account(&laptop).await.unwrap_err(), Code::Unauthenticated, "SESSION_REVOKED");
        account(&eve).await.unwrap();
    }

    async fn two_tabs_refresh_at_once_and_both_go_on(t: App) {
        let mut tab = t.register("ada@example.com").await;
        for _ in 0..4 {
            t.advance(Duration::from_mins(10));
            let (one, two) = futures_util::future::join(t.refresh(&tab), t.refresh(&tab)).await;
            assert_eq!(one.refresh_token, two.refresh_token);
            account(&one).await.unwrap();
            account(&two).await.unwrap();
            tab = two;
        }
        assert_eq!(listed(&tab, 0, "").await.sessions.len(), 1);
    }

    async fn a_copied_token_ends_the_session_and_its_streams_and_the_owner_is_written_to(t: App) {
        let ada = t.register("ada@example.com").await;
        t.run_jobs().await;
        let frames = stream(&ada).await;
        let tab = t.refresh(&t.refresh(&ada).await).await;
        let mut client = AuthServiceClient::new(t.channel());
        let copy = auth::RefreshSessionRequest { refresh_token: ada.refresh_token.clone(), ..Default::default() };
        let status = client.refresh_session(copy).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
        assert_refused(&account(&tab).await.unwrap_err(), Code::Unauthenticated, "SESSION_REVOKED");
        assert_eq!(end(frames).await, Code::Unauthenticated);
        assert_eq!(t.run_jobs().await, 1);
        let letters = t.letters();
        assert!(letters.iter().any(|letter| letter.contains("signed out for safety")), "{letters:?}");
    }
}

/// What is ended on one node is refused on the other: a call when the memory of three seconds is over, a stream when it
/// is looked at, every two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_ended_on_one_node_ends_on_the_other() {
    let here = App::start(Engine::Postgres).await;
    let there = here.beside().await;
    let root = here.admin().await;
    for round in 0..3 {
        let email = format!("ada{round}@example.com");
        let laptop = here.register(&email).await;
        let phone = there.sign_in(&email, PASSWORD).await;
        account(&phone).await.unwrap();
        let frames = stream(&phone).await;
        match round {
            0 => revoke(&laptop, phone.session_id()).await.unwrap(),
            1 => {
                let others = auth::RevokeOtherSessionsRequest::default();
                laptop.account().revoke_other_sessions(others).await.unwrap();
            }
            _ => {
                let account_id = laptop.account_id.to_string();
                let reason = "a stolen card".to_owned();
                let request = auth::SuspendAccountRequest { account_id, reason, ..Default::default() };
                root.admin().suspend_account(request).await.unwrap();
            }
        }
        assert_eq!(end(frames).await, Code::Unauthenticated, "round {round}");
        there.advance(Duration::from_secs(3));
        assert_refused(&account(&phone).await.unwrap_err(), Code::Unauthenticated, "SESSION_REVOKED");
        assert_eq!(account(&laptop).await.is_ok(), round < 2);
    }
}

/// A node hears of a key that another retired by itself, and both publish the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_retired_on_one_node_is_refused_on_the_other() {
    use capecontrol::auth::Caller;
    use capecontrol::auth::keys::Rotate;
    let here = App::start(Engine::Postgres).await;
    let there = here.beside().await;
    // Tokens of one are good on the other, whoever that is for.
    let ada = here.register("ada@example.com").await.over(there.channel());
    account(&ada).await.unwrap();
    let kid = capecontrol::auth::token::key_id(&ada.token).unwrap();
    here.node.auth.rotate_keys(&Caller::system("test"), Rotate::Retire(kid)).await.unwrap();
    let refused = async {
        loop {
            if let Err(status) = account(&ada).await {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_refused(&status, Code::Unauthenticated, "TOKEN_INVALID");
    account(&there.refresh(&ada).await).await.unwrap();
    let published = async |t: &App| {
        let answer = t.http.get(format!("{}/.well-known/jwks.json", t.url)).send().await.unwrap();
        answer.text().await.unwrap()
    };
    assert!(!published(&there).await.contains(&kid.to_string()));
}
