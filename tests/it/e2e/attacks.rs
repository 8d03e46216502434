//! What an attacker tries, each refused with a reason, counted, and written into the audit log.
//!
//! docs/threat-model.md lists the attacks and names these tests. That nothing comes of an attack, the tests of each
//! subject prove; here it is that it does not go unseen.

use std::time::Duration;

use capecontrol::audit::{Archive, Event, Filter, Reach};
use capecontrol::base::OrganizationId;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::account_service_client::AccountServiceClient;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use super::api_keys::{Program, keyed, list_threads, made, revoke, rotate, team, wanted};
use super::passwords::token_of;
use crate::support::app::{Bearer, PASSWORD};
use crate::support::{App, Person, on_both};

const CALL: &str = "platform.call_method";

/// What a node counted and wrote down of what it refused.
pub struct Evidence {
    /// The entries, the oldest first.
    pub written: Vec<Event>,
    counted: String,
}

impl Evidence {
    /// Everything so far. The minute in which equal refusals are counted together goes by.
    pub async fn of(t: &App) -> Self {
        t.advance(Duration::from_secs(60));
        t.seal().await;
        let archive = Archive::new(t.db.clone(), t.node.auth.audit().clone());
        let seen = archive.list(Reach::Platform, Filter::default(), None, 10_000).await.unwrap();
        let mut written: Vec<Event> = seen.into_iter().map(|seen| seen.event).collect();
        written.retain(|event| event.outcome == "refused");
        written.reverse();
        let counted = t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap();
        Self { written, counted: counted.text().await.unwrap() }
    }

    /// How often a method refused for a reason.
    fn count(&self, method: &str, reason: &str) -> i64 {
        let labels = format!(r#"{{method="/capecontrol.{method}",reason="{reason}"}} "#);
        let line = self.counted.lines().find_map(|line| line.split_once(&labels));
        line.map_or(0, |(_, count)| count.parse().unwrap())
    }

    /// The one entry of this action and reason.
    #[track_caller]
    fn entry(&self, action: &str, reason: &str) -> &Event {
        let equal = |event: &&Event| event.action == action && event.reason.as_deref() == Some(reason);
        let found: Vec<&Event> = self.written.iter().filter(equal).collect();
        let told: Vec<_> = self.written.iter().map(|event| (&event.action, &event.reason)).collect();
        assert_eq!(found.len(), 1, "{action} {reason} in {told:?}");
        found[0]
    }

    /// That so many refusals of a method were counted, and stand in one entry under the name of all methods.
    #[track_caller]
    fn of_call(&self, method: &str, reason: &str, times: i64) -> &Event {
        self.of_action(CALL, method, reason, &format!("{reason} /capecontrol.{method}"), times)
    }

    /// The same, under a name of its own.
    #[track_caller]
    fn of_action(&self, action: &str, method: &str, reason: &str, written: &str, times: i64) -> &Event {
        assert_eq!(self.count(method, reason), times, "{reason} of {method} was counted");
        let entry = self.entry(action, written);
        assert_eq!(entry.occurrences, times, "{action} {written}");
        entry
    }
}

fn sign_in(t: &App) -> AuthServiceClient<Channel> {
    AuthServiceClient::new(t.channel())
}

#[track_caller]
fn reason<T: std::fmt::Debug>(outcome: Result<T, Status>) -> String {
    outcome.unwrap_err().get_error_details().error_info().unwrap().reason.clone()
}

fn registration(t: &App, email: &str, display_name: &str) -> auth::RegisterRequest {
    auth::RegisterRequest {
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
        display_name: display_name.to_owned(),
        accepted_terms_version: t.node.config().auth.terms_version.clone(),
        ..Default::default()
    }
}

async fn open_thread(person: &Person) -> String {
    let made = person.chat().create_thread(chat::CreateThreadRequest::default()).await.unwrap();
    made.into_inner().thread.unwrap().id
}

fn message(thread_id: &str, text: &str) -> chat::SendMessageRequest {
    let client_message_id = uuid::Uuid::from_u128(1).to_string();
    chat::SendMessageRequest {
        thread_id: thread_id.to_owned(),
        client_message_id,
        text: text.to_owned(),
        ..Default::default()
    }
}

/// Says one thing in a conversation, and tells why it was refused.
async fn refused_word(person: &Person, word: chat::client_frame::Frame) -> String {
    let (words, heard) = tokio::sync::mpsc::unbounded_channel();
    let say = |frame| {
        let frame = chat::ClientFrame { request_id: "1".to_owned(), frame: Some(frame) };
        words.send(chat::ConverseRequest { frame: Some(frame) }).unwrap();
    };
    say(chat::client_frame::Frame::Hello(chat::Hello::default()));
    let mut frames = person.chat().converse(UnboundedReceiverStream::new(heard)).await.unwrap().into_inner();
    say(word);
    loop {
        let frame = frames.message().await.unwrap().unwrap().frame.unwrap();
        if let Some(chat::server_frame::Frame::Nack(nack)) = frame.frame {
            return nack.reason;
        }
    }
}

on_both! {
    async fn a_role_that_the_caller_may_not_give(t: App) {
        let (root, ada) = (t.admin().await, t.register("ada@example.com").await);
        let account = auth::Account { role: auth::Role::Admin.into(), ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["role".to_owned()] });
        let raise = auth::UpdateAccountRequest { account: Some(account), update_mask, ..Default::default() };
        assert_eq!(reason(ada.account().update_account(raise).await), "INVALID_ARGUMENT");
        let give = |person: &Person| auth::SetAccountRoleRequest {
            account_id: person.account_id.to_string(),
            role: auth::Role::Developer.into(),
            ..Default::default()
        };
        assert_eq!(reason(ada.admin().set_account_role(give(&ada)).await), "PERMISSION_DENIED");
        assert_eq!(reason(root.admin().set_account_role(give(&root)).await), "OWN_ACCOUNT");
        // An administrator of an organisation is no owner, and a program is neither.
        let home: OrganizationId = team(&ada).await.parse().unwrap();
        let eve = t.register("eve@example.com").await;
        let mut tx = t.db.begin(capecontrol::db::Scope::System("test")).await.unwrap();
        let (role, now) = (capecontrol::auth::OrganizationRole::Admin, t.world.now());
        capecontrol::auth::store::member::insert(&mut tx, home, eve.account_id, role, now).await.unwrap();
        tx.commit().await.unwrap();
        let owner = auth::UpdateMemberRoleRequest {
            organization_id: home.to_string(),
            account_id: eve.account_id.to_string(),
            role: auth::OrganizationRole::Owner.into(),
            ..Default::default()
        };
        assert_eq!(reason(eve.organizations().update_member_role(owner).await), "PERMISSION_DENIED");
        let program = auth::CreateServiceAccountRequest {
            organization_id: home.to_string(),
            name: "Importer".to_owned(),
            scopes: vec!["chat.read".to_owned()],
            role: auth::OrganizationRole::Owner.into(),
            ..Default::default()
        };
        assert_eq!(reason(eve.api_keys().create_service_account(program).await), "INVALID_ARGUMENT");
        let seen = Evidence::of(&t).await;
        let by = |entry: &Event| entry.actor_id.unwrap();
        for (method, reason, who) in [
            ("auth.v1.AccountService/UpdateAccount", "INVALID_ARGUMENT", &ada),
            ("auth.v1.AdminService/SetAccountRole", "PERMISSION_DENIED", &ada),
            ("auth.v1.AdminService/SetAccountRole", "OWN_ACCOUNT", &root),
        ] {
            assert_eq!(by(seen.of_call(method, reason, 1)), who.account_id.uuid(), "{method}");
        }
        let raised = seen.of_call("auth.v1.OrganizationService/UpdateMemberRole", "PERMISSION_DENIED", 1);
        assert_eq!((by(raised), raised.risk.as_str()), (eve.account_id.uuid(), "medium"));
        seen.of_call("auth.v1.ApiKeyService/CreateServiceAccount", "INVALID_ARGUMENT", 1);
        assert_eq!(seen.written.len(), 5);
    }

    async fn an_organisation_that_is_somebody_elses(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let thread = open_thread(&ada).await;
        let organization_id = ada.organization_id.to_string();
        let make = chat::CreateThreadRequest { organization_id, ..Default::default() };
        for _ in 0..2 {
            assert_eq!(reason(eve.chat().create_thread(make.clone()).await), "NOT_FOUND");
        }
        let cursor = chat::ThreadCursor { thread_id: thread.clone(), ..Default::default() };
        let subscribe = chat::SubscribeRequest { threads: vec![cursor.clone()], ..Default::default() };
        assert_eq!(reason(eve.chat().subscribe(subscribe).await), "NOT_FOUND");
        // In a conversation, which goes on.
        let follow = chat::client_frame::Frame::Subscribe(cursor);
        assert_eq!(refused_word(&eve, follow).await, "NOT_FOUND");
        let seen = Evidence::of(&t).await;
        let entry = seen.of_call("chat.v1.ChatService/CreateThread", "NOT_FOUND", 2);
        assert_eq!((entry.actor_id, entry.risk.as_str()), (Some(eve.account_id.uuid()), "low"));
        seen.of_call("chat.v1.ChatService/Subscribe", "NOT_FOUND", 1);
        seen.of_call("chat.v1.ChatService/Converse", "NOT_FOUND", 1);
    }

    async fn a_link_that_was_used_or_is_used_twice_at_once(t: App) {
        t.register("ada@example.com").await;
        let token = token_of(&t, "Welcome to Cape Control").await;
        let verify = auth::VerifyEmailRequest { token, ..Default::default() };
        sign_in(&t).verify_email(verify.clone()).await.unwrap();
        assert_eq!(reason(sign_in(&t).verify_email(verify).await), "VERIFICATION_TOKEN_INVALID");
        let ask = auth::RequestPasswordResetRequest { email: "ada@example.com".to_owned(), ..Default::default() };
        sign_in(&t).request_password_reset(ask).await.unwrap();
        let token = token_of(&t, "Choose a new password").await;
        let reset = |new_password: &str| auth::ResetPasswordRequest {
            token: token.clone(),
            new_password: new_password.to_owned(),
            ..Default::default()
        };
        let (mut one, mut other) = (sign_in(&t), sign_in(&t));
        let raced = tokio::join!(
            one.reset_password(reset("a quiet lorry of gravel")),
            other.reset_password(reset("gravel of a quiet lorry"))
        );
        assert!(raced.0.is_ok() != raced.1.is_ok(), "{raced:?}");
        assert_eq!(reason(raced.0.and(raced.1)), "VERIFICATION_TOKEN_INVALID");
        let join = auth::AcceptInvitationRequest { token: "x".repeat(43), ..Default::default() };
        let eve = t.register("eve@example.com").await;
        assert_eq!(reason(eve.organizations().accept_invitation(join).await), "INVITATION_INVALID");
        let seen = Evidence::of(&t).await;
        seen.of_call("auth.v1.AuthService/VerifyEmail", "VERIFICATION_TOKEN_INVALID", 1);
        let raced = seen.of_call("auth.v1.AuthService/ResetPassword", "VERIFICATION_TOKEN_INVALID", 1);
        assert_eq!((raced.actor_kind.as_str(), raced.personal.is_some()), ("stranger", true));
        seen.of_call("auth.v1.OrganizationService/AcceptInvitation", "INVITATION_INVALID", 1);
    }

    async fn a_refresh_token_that_comes_again(t: App) {
        let ada = t.register("ada@example.com").await;
        // Two tabs at once are no attack.
        let (one, other) = tokio::join!(t.refresh(&ada), t.refresh(&ada));
        assert_eq!(one.refresh_token, other.refresh_token);
        assert_eq!(Evidence::of(&t).await.written.len(), 0);
        let again = |token: &str| auth::RefreshSessionRequest { refresh_token: token.to_owned(), ..Default::default() };
        assert_eq!(reason(sign_in(&t).refresh_session(again(&ada.refresh_token)).await), "REFRESH_TOKEN_REUSED");
        assert_eq!(reason(sign_in(&t).refresh_session(again(&"x".repeat(43))).await), "REFRESH_TOKEN_INVALID");
        let seen = Evidence::of(&t).await;
        seen.of_call("auth.v1.AuthService/RefreshSession", "REFRESH_TOKEN_INVALID", 1);
        assert_eq!(seen.count("auth.v1.AuthService/RefreshSession", "REFRESH_TOKEN_REUSED"), 1);
        // That the session was ended is something that was done: the owner reads it.
        let ada = t.sign_in("ada@example.com", PASSWORD).await;
        let list = auth::ListAuditEventsRequest { action_prefix: "auth.refresh".to_owned(), ..Default::default() };
        let own = ada.audit().list_audit_events(list).await.unwrap().into_inner().audit_events;
        assert_eq!((own.len(), own[0].risk()), (1, auth::AuditRisk::High));
    }

    async fn a_guess_at_a_password(t: App) {
        let ada = t.register("ada@example.com").await;
        let guess = |email: &str| auth::LoginRequest {
            email: email.to_owned(),
            password: "a wrong guess".to_owned(),
            ..Default::default()
        };
        for _ in 0..12 {
            sign_in(&t).login(guess("ada@example.com")).await.unwrap_err();
        }
        sign_in(&t).login(guess("nobody@example.com")).await.unwrap_err();
        let change = auth::ChangePasswordRequest {
            current_password: "a wrong guess".to_owned(),
            new_password: "a quiet lorry of gravel".to_owned(),
            ..Default::default()
        };
        t.advance(Duration::from_secs(60));
        let mut hers = AuthServiceClient::with_interceptor(t.channel(), Bearer::new(&ada.token));
        assert_eq!(reason(hers.change_password(change).await), "CURRENT_PASSWORD_WRONG");
        let seen = Evidence::of(&t).await;
        let login = "auth.v1.AuthService/Login";
        let of_ada = |reason: &str| {
            let hers = |event: &&Event| event.subject_id == Some(ada.account_id.uuid());
            let found = seen.written.iter().filter(|event| event.reason.as_deref() == Some(reason));
            (seen.count(login, reason), found.filter(hers).map(|event| event.occurrences).sum::<i64>())
        };
        let (counted, hers) = of_ada("INVALID_CREDENTIALS");
        // Nobody looks whose address it is once the guess is delayed.
        let (delayed, _) = of_ada("SIGN_IN_DELAYED");
        assert_eq!((counted + delayed, counted, hers + 1), (13, hers + 1, counted));
        seen.of_action("auth.login", login, "SIGN_IN_DELAYED", "SIGN_IN_DELAYED", delayed);
        let method = "auth.v1.AuthService/ChangePassword";
        let wrong = "CURRENT_PASSWORD_WRONG";
        let changed = seen.of_action("auth.change_password", method, wrong, wrong, 1);
        assert_eq!(changed.subject_id, Some(ada.account_id.uuid()));
    }

    async fn a_header_that_is_typed_into_a_field_and_an_address_that_looks_like_anothers(t: App) {
        for (email, name) in [
            ("ada@example.com\r\nBcc: eve@example.com", "Ada"),
            ("ada@example.com", "Ada\r\nBcc: eve@example.com"),
            ("\u{430}da@example.com", "Ada"),
        ] {
            let outcome = sign_in(&t).register(registration(&t, email, name)).await;
            assert_eq!(reason(outcome), "INVALID_ARGUMENT", "{email:?}");
        }
        let seen = Evidence::of(&t).await;
        seen.of_call("auth.v1.AuthService/Register", "INVALID_ARGUMENT", 3);
        t.run_jobs().await;
        assert_eq!(t.letters().len(), 0);
    }

    async fn a_forwarding_header_of_nobody_that_is_trusted(t: App) {
        let ada = t.register("ada@example.com").await;
        for _ in 0..3 {
            let mut request = Request::new(auth::GetAccountRequest {});
            request.metadata_mut().insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
            request.metadata_mut().insert("authorization", format!("Bearer {}", ada.token).parse().unwrap());
            AccountServiceClient::new(t.channel()).get_account(request).await.unwrap();
        }
        let seen = Evidence::of(&t).await;
        let entry = seen.entry("platform.forward_call", "PROXY_UNTRUSTED");
        assert_eq!((entry.occurrences, entry.actor_kind.as_str()), (3, "stranger"));
        let counted = seen.counted.lines().find(|line| line.starts_with("capecontrol_http_forwarding_refused_total"));
        assert_eq!(counted.unwrap(), "capecontrol_http_forwarding_refused_total 3");
    }

    async fn a_field_and_a_request_that_are_too_large(t: App) {
        let ada = t.register("ada@example.com").await;
        let thread = open_thread(&ada).await;
        let long = "x".repeat(16_001);
        assert_eq!(reason(ada.chat().send_message(message(&thread, &long)).await), "INVALID_ARGUMENT");
        let huge = "x".repeat(1 << 20);
        assert_eq!(reason(ada.chat().send_message(message(&thread, &huge)).await), "REQUEST_TOO_LARGE");
        let path = "/capecontrol.chat.v1.ChatService/SendMessage";
        let noise = crate::coverage::wire::call(&t, path, Some(&ada.token), vec![0xff; 9]).await;
        assert_eq!(reason(noise), "REQUEST_UNREADABLE");
        let draft = |text: String| chat::client_frame::Frame::SendMessage(chat::MessageDraft {
            thread_id: thread.clone(),
            client_message_id: uuid::Uuid::from_u128(1).to_string(),
            text, ..Default::default() });
        assert_eq!(refused_word(&ada, draft(long)).await, "INVALID_ARGUMENT");
        let title = chat::CreateThreadRequest { title: "x".repeat(201), ..Default::default() };
        assert_eq!(reason(ada.chat().create_thread(title).await), "INVALID_ARGUMENT");
        let seen = Evidence::of(&t).await;
        seen.of_call("chat.v1.ChatService/SendMessage", "INVALID_ARGUMENT", 1);
        seen.of_call("chat.v1.ChatService/SendMessage", "REQUEST_TOO_LARGE", 1);
        seen.of_call("chat.v1.ChatService/SendMessage", "REQUEST_UNREADABLE", 1);
        seen.of_call("chat.v1.ChatService/Converse", "INVALID_ARGUMENT", 1);
        seen.of_call("chat.v1.ChatService/CreateThread", "INVALID_ARGUMENT", 1);
    }

    async fn a_key_beyond_its_life_its_network_and_its_scopes(t: App) {
        let ada = t.register("ada@example.com").await;
        let soon = t.world.now().plus(Duration::from_secs(30)).as_seconds();
        let expire_time = Some(prost_types::Timestamp { seconds: soon, nanos: 0 });
        let (expired, expired_text) =
            made(&ada, auth::CreateApiKeyRequest { expire_time, ..wanted(&["chat.read"]) }).await;
        let elsewhere = vec!["203.0.113.0/24".to_owned()];
        let (elsewhere, elsewhere_text) =
            made(&ada, auth::CreateApiKeyRequest { allowed_networks: elsewhere, ..wanted(&["chat.read"]) }).await;
        let (revoked, revoked_text) = made(&ada, wanted(&["chat.read"])).await;
        revoke(&ada, &revoked).await.unwrap();
        let (replaced, replaced_text) = made(&ada, wanted(&["chat.read"])).await;
        for _ in 0..2 {
            rotate(&ada, &replaced, Some(0)).await.unwrap();
        }
        let (narrow, narrow_text) = made(&ada, wanted(&["payments.read"])).await;
        t.advance(Duration::from_secs(30));
        let invented = format!("cape_test_{}_{}", "0".repeat(32), "0".repeat(72));
        for (text, says) in [
            (&expired_text, "API_KEY_EXPIRED"),
            (&elsewhere_text, "API_KEY_ADDRESS"),
            (&revoked_text, "API_KEY_INVALID"),
            (&replaced_text, "API_KEY_INVALID"),
            (&narrow_text, "API_KEY_SCOPE"),
            (&invented, "API_KEY_INVALID"),
            (&narrow_text.replace("cape_test_", "cape_live_"), "API_KEY_KIND"),
        ] {
            for _ in 0..2 {
                assert_eq!(reason(list_threads(&t, text).await), says);
            }
        }
        let mut accounts = AccountServiceClient::new(t.channel());
        let outcome = accounts.get_account(keyed(&narrow_text, auth::GetAccountRequest {})).await;
        assert_eq!(reason(outcome), "API_KEY_NOT_ACCEPTED");
        let both = {
            let mut both = keyed(&narrow_text, payments::ListInvoicesRequest::default());
            both.metadata_mut().insert("authorization", format!("Bearer {}", ada.token).parse().unwrap());
            both
        };
        let mut invoices = payments::invoice_service_client::InvoiceServiceClient::new(t.channel());
        assert_eq!(reason(invoices.list_invoices(both).await), "TWO_CREDENTIALS");

        let seen = Evidence::of(&t).await;
        let of = |key: &auth::ApiKey, reason: &str| {
            let id = key.id.parse().unwrap();
            let found: Vec<_> = seen.written.iter().filter(|event| event.subject_id == Some(id)).collect();
            let [entry] = *found.as_slice() else { panic!("{} entries of {reason}", found.len()) };
            assert_eq!((entry.action.as_str(), entry.reason.as_deref()), ("auth.authenticate", Some(reason)));
            assert_eq!((entry.occurrences, entry.risk.as_str()), (2, "medium"));
            assert_eq!(entry.organization_id, Some(ada.organization_id), "its owner reads it");
        };
        of(&expired, "API_KEY_EXPIRED");
        of(&elsewhere, "API_KEY_ADDRESS");
        of(&revoked, "API_KEY_INVALID");
        of(&replaced, "API_KEY_INVALID");
        let list = "chat.v1.ChatService/ListThreads";
        let counted = [("API_KEY_EXPIRED", 2), ("API_KEY_ADDRESS", 2), ("API_KEY_INVALID", 6), ("API_KEY_KIND", 2)];
        for (reason, times) in counted {
            assert_eq!(seen.count(list, reason), times, "{reason}");
        }
        seen.entry("auth.authenticate", "API_KEY_KIND");
        let beyond = seen.of_call(list, "API_KEY_SCOPE", 2);
        assert_eq!(beyond.actor_id, Some(narrow.id.parse().unwrap()));
        assert_eq!(beyond.organization_id, Some(ada.organization_id));
        seen.of_call("auth.v1.AccountService/GetAccount", "API_KEY_NOT_ACCEPTED", 1);
        seen.of_call("payments.v1.InvoiceService/ListInvoices", "TWO_CREDENTIALS", 1);
        // Whoever made the keys sees it, too.
        let ask = auth::ListAuditEventsRequest { page_size: 200, ..Default::default() };
        let own = ada.audit().list_audit_events(ask).await.unwrap().into_inner().audit_events;
        assert_eq!(own.iter().filter(|event| event.outcome() == auth::AuditOutcome::Refused).count(), 6);
    }

    async fn an_assertion_that_is_forged_or_comes_again(t: App) {
        let program = Program::start(&t).await;
        let good = program.sign(&program.claims(&t, "1"));
        program.exchange_for(&t, &good, &[]).await.unwrap();
        assert_eq!(reason(program.exchange_for(&t, &good, &[]).await), "ASSERTION_REPLAYED");
        let (body, _) = good.rsplit_once('.').unwrap();
        for forged in [format!("{body}.{}", "A".repeat(86)), "a.b.c".to_owned()] {
            assert_eq!(reason(program.exchange_for(&t, &forged, &[]).await), "ASSERTION_INVALID");
        }
        let wide = program.exchange_for(&t, &program.sign(&program.claims(&t, "2")), &["payments.read"]).await;
        assert_eq!(reason(wide), "INVALID_ARGUMENT");
        let seen = Evidence::of(&t).await;
        let method = "auth.v1.AuthService/ExchangeServiceAccountToken";
        let action = "auth.exchange_service_account_token";
        let replayed = seen.of_action(action, method, "ASSERTION_REPLAYED", "ASSERTION_REPLAYED", 1);
        let whose = (Some(program.id.parse().unwrap()), Some(program.home.parse().unwrap()));
        assert_eq!((replayed.subject_id, replayed.organization_id), whose);
        let forged = seen.written.iter().filter(|event| event.reason.as_deref() == Some("ASSERTION_INVALID"));
        let subjects: Vec<_> = forged.map(|event| (event.subject_id, event.organization_id)).collect();
        // They happened in the same instant: which comes first is chance.
        assert!(subjects.len() == 2 && subjects.contains(&whose) && subjects.contains(&(None, None)), "{subjects:?}");
        assert_eq!(seen.count(method, "ASSERTION_INVALID"), 2);
        seen.of_call(method, "INVALID_ARGUMENT", 1);
    }

    async fn what_people_get_wrong_every_day_is_counted_and_not_written(t: App) {
        let ada = t.register("ada@example.com").await;
        let empty = chat::SendMessageRequest::default();
        assert_eq!(reason(ada.chat().send_message(empty).await), "INVALID_ARGUMENT");
        for (email, name) in [("ada", "Ada"), ("ada@example.com", " ")] {
            let outcome = sign_in(&t).register(registration(&t, email, name)).await;
            assert_eq!(reason(outcome), "INVALID_ARGUMENT");
        }
        let mut nobody = ChatServiceClient::new(t.channel());
        assert_eq!(reason(nobody.list_threads(chat::ListThreadsRequest::default()).await), "UNAUTHENTICATED");
        t.advance(Duration::from_secs(600));
        assert_eq!(reason(ada.account().get_account(auth::GetAccountRequest {}).await), "TOKEN_EXPIRED");
        let seen = Evidence::of(&t).await;
        assert_eq!(seen.count("auth.v1.AuthService/Register", "INVALID_ARGUMENT"), 2);
        assert_eq!(seen.count("auth.v1.AccountService/GetAccount", "TOKEN_EXPIRED"), 1);
        assert_eq!(seen.written.len(), 0, "{:?}", seen.written[0].reason);
    }

    async fn a_flood_of_refusals_fills_no_log(t: App) {
        let ada = t.register("ada@example.com").await;
        let (_, text) = made(&ada, wanted(&["chat.read"])).await;
        let origin = |number: u32| capecontrol::auth::Origin {
            peer: Some(std::net::IpAddr::from(number.to_be_bytes())),
            ..Default::default()
        };
        // Every one from another address, which is how a flood makes the most entries.
        for number in 0..5_000 {
            let slip = text.replace("cape_test", "cape_live");
            t.node.auth.authenticate_key(&slip, origin(number)).await.unwrap_err();
        }
        let seen = Evidence::of(&t).await;
        assert!(seen.written.len() <= 321, "{} entries", seen.written.len());
        assert_eq!(seen.written.iter().map(|event| event.occurrences).sum::<i64>(), 5_000);
    }
}
