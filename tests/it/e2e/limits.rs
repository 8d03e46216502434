//! Budgets of calls and the counting of guesses, over a real socket and through forwarding headers.

use std::collections::HashSet;
use std::time::Duration;

use capecontrol::auth::service::{Login, Transport};
use capecontrol::auth::{Caller, Origin};
use capecontrol::base::net::Network;
use capecontrol::base::{Fault as _, Rate, Reason, Secret};
use capecontrol::config::Config;
use capecontrol::db::Engine;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::chat::v1::{client_frame, server_frame};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::attacks::Evidence;
use super::passwords::token_of;
use crate::support::app::PASSWORD;
use crate::support::{App, Start, on_both};

/// How long the refused caller is to wait.
#[track_caller]
fn delay(status: &Status, reason: &str) -> Duration {
    let details = status.get_error_details();
    let told = details.error_info().unwrap().reason.clone();
    assert_eq!((status.code(), told.as_str()), (Code::ResourceExhausted, reason), "{status:?}");
    assert!(details.quota_failure().is_some());
    details.retry_info().unwrap().retry_delay.unwrap()
}

/// A sign-in as the proxy in front hands it over.
fn attempt(email: &str, password: &str, from: &str) -> Request<auth::LoginRequest> {
    let request =
        auth::LoginRequest { email: email.to_owned(), password: password.to_owned(), ..Default::default() };
    let mut request = Request::new(request);
    request.metadata_mut().insert("x-forwarded-for", from.parse().unwrap());
    request
}

async fn sign_in(t: &App, email: &str, password: &str, from: &str) -> Result<(), Status> {
    AuthServiceClient::new(t.channel()).login(attempt(email, password, from)).await.map(drop)
}

/// A node with settings of its own.
macro_rules! started {
    ($($(#[$doc:meta])* $name:ident: $change:expr;)+) => {
        $(
            $(#[$doc])*
            struct $name(App);
            impl Start for $name {
                async fn start(engine: Engine) -> Self {
                    let change: fn(&mut Config) = $change;
                    Self(App::start_with(engine, change).await)
                }
            }
        )+
    };
}

started! {
    /// Believes the proxy in front of it.
    Proxied: behind_a_proxy;
    FewSignIns: |config| config.limits.credential = Rate::new(3, 60);
    FewCalls: |config| config.limits.ordinary = Rate::new(5, 60);
    FewMessages: |config| config.limits.message = Rate::new(2, 60);
}

fn behind_a_proxy(config: &mut Config) {
    config.server.trusted_proxies = vec![Network::parse("127.0.0.1").unwrap()];
}

/// A wrong guess as the gate hands it over. Ten thousand over a socket would be ten thousand tests of the socket.
async fn guess(t: &App, email: &str, from: &str) -> &'static Reason {
    let caller = Caller::anonymous(Origin { peer: from.parse().ok(), ..Origin::default() });
    let (email, password) = (email.to_owned(), Secret::new("a wrong password".to_owned()));
    let login = Login { email, password, transport: Transport::Token };
    t.node.auth.login(&caller, login, None).await.unwrap_err().reason()
}

/// How many refusals of an action the audit log tells of, in entries of which there are no more than a node makes in
/// a minute.
async fn written(t: &App, action: &str) -> i64 {
    let written = Evidence::of(t).await.written;
    assert!(written.len() <= 321, "{} entries", written.len());
    written.iter().filter(|event| event.action == action).map(|event| event.occurrences).sum()
}

/// An address in a network of its own.
fn elsewhere(number: u32) -> String {
    format!("10.{}.{}.7", number / 256, number % 256)
}

on_both! {
    async fn ten_thousand_guesses_at_one_account(t: Proxied) {
        let t = t.0;
        t.register("ada@example.com").await;
        sign_in(&t, "ada@example.com", PASSWORD, "192.0.2.7").await.unwrap();
        let before = t.node.auth.hashing_rounds();
        let mut reasons = HashSet::new();
        for number in 0..10_000 {
            reasons.insert(guess(&t, "ada@example.com", &elsewhere(number)).await.name);
        }
        // Two of the thirty were Ada's own, as no network was familiar yet.
        assert_eq!(t.node.auth.hashing_rounds() - before, 28, "the rest is refused before any work");
        assert_eq!(reasons, ["INVALID_CREDENTIALS", "SIGN_IN_DELAYED"].into());
        // Nobody is locked out: not from where the owner signed in before …
        sign_in(&t, "ada@example.com", PASSWORD, "192.0.2.99").await.unwrap();
        // … nor from anywhere else, once the delay is over.
        let refused = sign_in(&t, "ada@example.com", PASSWORD, "198.51.100.1").await.unwrap_err();
        t.advance(delay(&refused, "SIGN_IN_DELAYED"));
        sign_in(&t, "ada@example.com", PASSWORD, "198.51.100.1").await.unwrap();
        let counted = t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap();
        let counted = counted.text().await.unwrap();
        let line = counted.lines().find(|line| line.contains("SIGN_IN_DELAYED")).unwrap();
        assert!(line.starts_with("capecontrol_rpc_refusals_total") && line.ends_with(" 1"), "{line}");
        // All of it is in the audit log, and does not fill it.
        assert_eq!(written(&t, "auth.login").await, 10_001);
    }

    async fn whoever_resets_the_password_is_not_made_to_wait_by_strangers(t: Proxied) {
        let t = t.0;
        t.register("ada@example.com").await;
        for number in 0..100 {
            guess(&t, "ada@example.com", &elsewhere(number)).await;
        }
        let refused = sign_in(&t, "ada@example.com", PASSWORD, "198.51.100.1").await.unwrap_err();
        delay(&refused, "SIGN_IN_DELAYED");
        let email = "ada@example.com".to_owned();
        let ask = auth::RequestPasswordResetRequest { email, ..Default::default() };
        AuthServiceClient::new(t.channel()).request_password_reset(ask).await.unwrap();
        let token = token_of(&t, "Choose a new password").await;
        let new_password = "a quiet lorry of gravel".to_owned();
        let reset = auth::ResetPasswordRequest { token, new_password: new_password.clone(), ..Default::default() };
        let mut reset = Request::new(reset);
        reset.metadata_mut().insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
        AuthServiceClient::new(t.channel()).reset_password(reset).await.unwrap();
        sign_in(&t, "ada@example.com", &new_password, "198.51.100.1").await.unwrap();
        delay(&sign_in(&t, "ada@example.com", &new_password, "203.0.113.1").await.unwrap_err(), "SIGN_IN_DELAYED");
    }

    async fn one_guess_at_each_of_ten_thousand_accounts(t: Proxied) {
        let t = t.0;
        t.register("ada@example.com").await;
        sign_in(&t, "ada@example.com", PASSWORD, "192.0.2.7").await.unwrap();
        let before = t.node.auth.hashing_rounds();
        for number in 0..10_000 {
            let email = format!("somebody-{number}@example.com");
            guess(&t, &email, &elsewhere(number)).await;
        }
        // The two sign-ins of Ada were strangers' too, before she was known.
        assert_eq!(t.node.auth.hashing_rounds() - before, 298);
        sign_in(&t, "ada@example.com", PASSWORD, "192.0.2.7").await.unwrap();
        assert_eq!(written(&t, "auth.login").await, 10_000);
    }

    async fn an_unknown_address_is_delayed_like_a_known_one(t: Proxied) {
        let t = t.0;
        t.register("ada@example.com").await;
        let mut told = Vec::new();
        for email in ["ada@example.com", "nobody@example.com"] {
            let mut answers = Vec::new();
            for _ in 0..12 {
                let refused = sign_in(&t, email, "a wrong password", "198.51.100.1").await.unwrap_err();
                answers.push((refused.code(), refused.message().to_owned(), refused.details().to_vec()));
            }
            told.push(answers);
        }
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0][11].0, Code::ResourceExhausted);
    }

    async fn a_forged_header_gives_no_further_budget(t: FewSignIns) {
        let t = t.0;
        let mut outcomes = Vec::new();
        for number in 0..6 {
            let email = format!("somebody-{number}@example.com");
            outcomes.push(sign_in(&t, &email, "a wrong password", &elsewhere(number)).await.unwrap_err());
        }
        assert!(outcomes[..3].iter().all(|refused| refused.code() == Code::Unauthenticated));
        let wait = delay(&outcomes[5], "RATE_LIMITED");
        assert_eq!(wait, Duration::from_secs(1));
        t.advance(wait);
        let refused = sign_in(&t, "somebody@example.com", "a wrong password", "10.9.9.9").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }

    async fn one_account_has_one_budget_whatever_its_sessions(t: FewCalls) {
        let t = t.0;
        let ada = t.register("ada@example.com").await;
        let again = t.sign_in("ada@example.com", PASSWORD).await;
        let bob = t.register("bob@example.com").await;
        for number in 0..5 {
            let who = if number % 2 == 0 { &ada } else { &again };
            who.account().get_account(auth::GetAccountRequest {}).await.unwrap();
        }
        let refused = again.account().get_account(auth::GetAccountRequest {}).await.unwrap_err();
        let wait = delay(&refused, "RATE_LIMITED");
        bob.account().get_account(auth::GetAccountRequest {}).await.unwrap();
        t.advance(wait);
        ada.account().get_account(auth::GetAccountRequest {}).await.unwrap();
    }

    async fn a_conversation_draws_on_the_budget_of_messages(t: FewMessages) {
        let t = t.0;
        let ada = t.register("ada@example.com").await;
        let made = ada.chat().create_thread(chat::CreateThreadRequest::default()).await.unwrap().into_inner();
        let thread_id = made.thread.unwrap().id;
        let (words, heard) = tokio::sync::mpsc::unbounded_channel();
        let say = |frame| {
            let frame = chat::ClientFrame { request_id: String::new(), frame: Some(frame) };
            words.send(chat::ConverseRequest { frame: Some(frame) }).unwrap();
        };
        let draft = |number: u128| chat::MessageDraft {
            thread_id: thread_id.clone(),
            client_message_id: uuid::Uuid::from_u128(number).to_string(),
            text: "Hello".to_owned(), ..Default::default() };
        say(client_frame::Frame::Hello(chat::Hello::default()));
        let mut frames = ada.chat().converse(UnboundedReceiverStream::new(heard)).await.unwrap().into_inner();
        for number in 1..=3 {
            say(client_frame::Frame::SendMessage(draft(number)));
        }
        let mut receipts = Vec::new();
        let refused = loop {
            match frames.message().await.unwrap().unwrap().frame.unwrap().frame.unwrap() {
                server_frame::Frame::Ack(ack) => receipts.push(ack),
                server_frame::Frame::Nack(nack) => break nack,
                _ => {}
            }
        };
        assert_eq!(receipts.len(), 2);
        assert_eq!((refused.reason.as_str(), refused.client_message_id), ("RATE_LIMITED", draft(3).client_message_id));
        // The unary call draws on the same budget, and the stream goes on.
        let chat::MessageDraft { thread_id: to, client_message_id, text, .. } = draft(4);
        let message = chat::SendMessageRequest { thread_id: to, client_message_id, text, ..Default::default() };
        delay(&ada.chat().send_message(message).await.unwrap_err(), "RATE_LIMITED");
        t.advance(Duration::from_secs(1));
        say(client_frame::Frame::SendMessage(draft(3)));
        loop {
            match frames.message().await.unwrap().unwrap().frame.unwrap().frame.unwrap() {
                server_frame::Frame::Ack(_) => break,
                server_frame::Frame::Nack(nack) => panic!("{nack:?}"),
                _ => {}
            }
        }
    }
}
