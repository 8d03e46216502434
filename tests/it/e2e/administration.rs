//! Administrators, and whoever would like to be one, over real sockets.

use std::time::Duration;

use capecontrol::auth::model::Registration;
use capecontrol::db::{Conn as _, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::marketplace::v1 as marketplace;
use capecontrol::proto::capecontrol::operations::v1 as operations;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::app::PASSWORD;
use crate::support::{App, Person, on_both};

#[track_caller]
fn assert_refused(status: &Status, code: Code, reason: &str) {
    let details = status.get_error_details();
    assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (code, reason), "{status:?}");
}

async fn set_role(
    who: &Person,
    whom: &Person,
    role: auth::Role,
) -> Result<auth::AdministeredAccount, Status> {
    let account_id = whom.account_id.to_string();
    let request = auth::SetAccountRoleRequest { account_id, role: role.into(), ..Default::default() };
    Ok(who.admin().set_account_role(request).await?.into_inner().account.unwrap())
}

async fn own_role(who: &Person) -> auth::Role {
    let answer = who.account().get_account(auth::GetAccountRequest {}).await.unwrap();
    answer.into_inner().account.unwrap().role()
}

/// A job that failed for good, and is about something that nobody should read.
async fn dead_job(t: &App, kind: &str) -> String {
    let id: capecontrol::jobs::JobId = t.world.id();
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let insert = tx.sql(
        "INSERT INTO jobs (id, kind, payload, state, run_at, attempts, fence, last_error, created_at)
         VALUES ($1, $2, '{\"to\": \"ada@example.com\"}', 'dead', $3, 3, 3, 'it failed', $3)",
    );
    insert.bind(id).bind(kind.to_owned()).bind(t.world.now()).execute().await.unwrap();
    tx.commit().await.unwrap();
    id.to_string()
}

on_both! {
    async fn nobody_makes_themselves_an_administrator(t: App) {
        let ada = t.register("ada@example.com").await;
        // A role in a body that has no such field: number 3 with the role's number, wherever a role might be read.
        let mut body = auth::RegisterRequest {
            email: "eve@example.com".to_owned(),
            password: PASSWORD.to_owned(),
            display_name: "Eve".to_owned(),
            accepted_terms_version: t.node.config().auth.terms_version.clone(),
            ..Default::default()
        }
        .encode_to_vec();
        for field in 7_u8..16 {
            body.extend([field << 3, 3]);
        }
        let path = "/capecontrol.auth.v1.AuthService/Register";
        crate::coverage::wire::call(&t, path, None, body).await.unwrap();
        assert_eq!(own_role(&t.sign_in("eve@example.com", PASSWORD).await).await, auth::Role::Customer);
        let account = auth::Account { role: auth::Role::Admin.into(), ..Default::default() };
        let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
        for update_mask in [mask("role"), mask("*")] {
            let account = Some(auth::Account { display_name: "Ada".to_owned(), ..account.clone() });
            let request = auth::UpdateAccountRequest { account, update_mask, ..Default::default() };
            let _ = ada.account().update_account(request).await;
            assert_eq!(own_role(&ada).await, auth::Role::Customer);
        }
        assert_refused(
            &set_role(&ada, &ada, auth::Role::Admin).await.unwrap_err(),
            Code::PermissionDenied,
            "PERMISSION_DENIED",
        );
        let status = ada.platform().get_system_status(operations::GetSystemStatusRequest {}).await.unwrap_err();
        assert_refused(&status, Code::PermissionDenied, "PERMISSION_DENIED");
    }

    async fn an_administrator_finds_suspends_and_reinstates(t: App) {
        let root = t.admin().await;
        let ada = t.register("ada@example.com").await;
        t.register("bob@example.com").await;
        let list = async |email_prefix: &str, page_size: i32, page_token: String| {
            let email_prefix = email_prefix.to_owned();
            let request = auth::ListAccountsRequest { email_prefix, page_size, page_token, ..Default::default() };
            root.admin().list_accounts(request).await.unwrap().into_inner()
        };
        let page = list("", 2, String::new()).await;
        let rest = list("", 2, page.next_page_token.clone()).await;
        let both = page.accounts.iter().chain(&rest.accounts);
        let emails: Vec<_> = both.map(|it| it.account.clone().unwrap().email).collect();
        assert_eq!(emails, ["ada@example.com", "admin@capecontrol.localhost", "bob@example.com"]);
        // A page token is good for its own question only.
        let other = auth::ListAccountsRequest {
            page_token: page.next_page_token,
            role: auth::Role::Admin.into(),
            page_size: 2,
            ..Default::default()
        };
        let status = root.admin().list_accounts(other).await.unwrap_err();
        assert_refused(&status, Code::InvalidArgument, "PAGE_TOKEN_MISMATCH");
        let account_id = ada.account_id.to_string();
        let get = async || {
            let request = auth::GetAccountForAdminRequest { account_id: account_id.clone() };
            root.admin().get_account_for_admin(request).await.unwrap().into_inner()
        };
        let told = get().await;
        assert_eq!((told.sessions.len(), told.memberships.len()), (1, 1));
        assert!(!told.sessions[0].current && told.account.unwrap().last_sign_in_time.is_some());

        let reason = "a stolen card".to_owned();
        let suspend = auth::SuspendAccountRequest { account_id: account_id.clone(), reason, ..Default::default() };
        let done = root.admin().suspend_account(suspend).await.unwrap().into_inner().account.unwrap();
        assert_eq!((done.state(), done.suspension_reason.as_str()), (auth::AccountState::Suspended, "a stolen card"));
        let status = ada.account().get_account(auth::GetAccountRequest {}).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "SESSION_REVOKED");
        let enter = |password: &str| auth::LoginRequest {
            email: "ada@example.com".to_owned(),
            password: password.to_owned(),
            ..Default::default()
        };
        let mut client = AuthServiceClient::new(t.channel());
        let status = client.login(enter(PASSWORD)).await.unwrap_err();
        assert_refused(&status, Code::FailedPrecondition, "ACCOUNT_SUSPENDED");
        let status = client.login(enter("not the password")).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "INVALID_CREDENTIALS");
        assert!(get().await.sessions.is_empty());

        let reinstate = auth::ReinstateAccountRequest { account_id: account_id.clone(), ..Default::default() };
        root.admin().reinstate_account(reinstate).await.unwrap();
        t.sign_in("ada@example.com", PASSWORD).await;
    }

    async fn agents_do_nothing_for_somebody_who_is_suspended(t: App) {
        let (root, ada) = (t.admin().await, t.register("ada@example.com").await);
        let listing_id = "0195b3a0-0000-7000-8000-000000000001".to_owned();
        let install = marketplace::InstallListingRequest { listing_id: listing_id.clone(), ..Default::default() };
        ada.market().install_listing(install).await.unwrap();
        let made = ada.chat().create_thread(chat::CreateThreadRequest { listing_id, ..Default::default() }).await;
        let message = chat::SendMessageRequest {
            thread_id: made.unwrap().into_inner().thread.unwrap().id,
            client_message_id: uuid::Uuid::from_u128(1).to_string(),
            text: "What does the pro plan cost?".to_owned(), ..Default::default() };
        ada.chat().send_message(message).await.unwrap();
        let (account_id, reason) = (ada.account_id.to_string(), "a stolen card".to_owned());
        let suspend = auth::SuspendAccountRequest { account_id, reason, ..Default::default() };
        root.admin().suspend_account(suspend).await.unwrap();
        t.run_jobs().await;
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let (state,): (String,) = conn.sql("SELECT state FROM agent_turns").one().await.unwrap();
        assert_eq!(state, "failed");
    }

    async fn a_role_is_given_and_taken_in_sessions_that_stand(t: App) {
        let root = t.admin().await;
        let ada = t.register("ada@example.com").await;
        let given = set_role(&root, &ada, auth::Role::Developer).await.unwrap().account.unwrap();
        assert_eq!(given.role(), auth::Role::Developer);
        assert_eq!(own_role(&ada).await, auth::Role::Developer);
        let status = set_role(&root, &root, auth::Role::Customer).await.unwrap_err();
        assert_refused(&status, Code::FailedPrecondition, "OWN_ACCOUNT");
        let status = set_role(&root, &ada, auth::Role::Admin).await.unwrap_err();
        assert_refused(&status, Code::FailedPrecondition, "ADDRESS_NOT_VERIFIED");
    }

    async fn dead_jobs_are_seen_without_what_they_are_about_and_decided(t: App) {
        let root = t.admin().await;
        let (one, two) = (dead_job(&t, "test.one").await, dead_job(&t, "test.two").await);
        let list = async |kind: &str| {
            let request = operations::ListDeadJobsRequest { kind: kind.to_owned(), ..Default::default() };
            root.platform().list_dead_jobs(request).await.unwrap().into_inner().jobs
        };
        assert_eq!(list("").await.len(), 2);
        let listed = list("test.one").await;
        let first = &listed[0];
        assert_eq!((listed.len(), &first.id, first.last_error.as_str()), (1, &one, "it failed"));
        assert!(!format!("{listed:?}").contains("ada@"));
        let count = async |state: operations::JobState| {
            let status = root.platform().get_system_status(operations::GetSystemStatusRequest {}).await.unwrap();
            let status = status.into_inner();
            status.jobs.iter().find(|job| job.state() == state).unwrap().count
        };
        assert_eq!(count(operations::JobState::Dead).await, 2);
        let retry = operations::RetryDeadJobRequest { job_id: one.clone(), ..Default::default() };
        root.platform().retry_dead_job(retry.clone()).await.unwrap();
        assert_eq!((count(operations::JobState::Dead).await, count(operations::JobState::Ready).await), (1, 1));
        let status = root.platform().retry_dead_job(retry).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "NOT_FOUND");
        let discard = operations::DiscardDeadJobRequest {
            job_id: two,
            reason: "of no use".to_owned(),
            ..Default::default()
        };
        root.platform().discard_dead_job(discard.clone()).await.unwrap();
        let status = root.platform().discard_dead_job(discard).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "NOT_FOUND");
        assert!(list("").await.is_empty());
    }

    async fn the_status_tells_of_jobs_and_keys(t: App) {
        let root = t.admin().await;
        let status = async || {
            let answer = root.platform().get_system_status(operations::GetSystemStatusRequest {}).await;
            answer.unwrap().into_inner()
        };
        let told = status().await;
        let database = told.database.clone().unwrap();
        assert_eq!(database.applied_migration, database.expected_migration);
        assert_eq!((told.payment_mode.as_str(), told.registration.as_str()), ("simulator", "open"));
        assert_eq!(told.signing_keys.len(), 2);
        let duties: Vec<_> = told.signing_keys.iter().map(operations::SigningKeyStatus::duty).collect();
        assert_eq!(duties, [operations::SigningKeyDuty::Next, operations::SigningKeyDuty::Signing]);
        let days = told.next_key_rotation_time.unwrap().seconds - told.time.unwrap().seconds;
        assert_eq!(days, 30 * 86_400);
        assert!(told.oldest_due_job_time.is_none());
        t.register("ada@example.com").await;
        let told = status().await;
        assert_eq!((told.oldest_due_job_time, told.start_time), (told.time, told.time));
        // What the sign-ins left in the audit log waits, as nobody seals here.
        let waiting = told.audit_log.unwrap();
        assert!(waiting.unsealed_count >= 2 && waiting.sealed_count == 0, "{waiting:?}");
        assert_eq!((waiting.oldest_unsealed_time, waiting.last_seal_time), (told.time, None));
        t.advance(Duration::from_secs(5));
        assert_eq!(status().await.audit_log.unwrap().oldest_unsealed_time, told.time);
        t.seal().await;
        let (told, sealed) = (status().await, status().await.audit_log.unwrap());
        assert_eq!((sealed.unsealed_count, sealed.oldest_unsealed_time), (0, None));
        assert_eq!((sealed.sealed_count, sealed.last_seal_time), (waiting.unsealed_count, told.time));
        assert!(told.newest_alarms.is_empty());
        // Somebody posts what is no notification.
        let noise = t.http.post(format!("{}/payfast/itn", t.url)).body("payment_status=COMPLETE").send().await.unwrap();
        assert!(noise.status().is_success());
        let [alarm] = <[_; 1]>::try_from(status().await.newest_alarms).unwrap();
        assert_eq!((alarm.kind.as_str(), alarm.occurrence_count), ("signature_wrong", 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_registration_is_closed_only_the_invited_get_in() {
    let closed = |config: &mut capecontrol::config::Config| config.auth.registration = Registration::Invited;
    let t = App::start_with(capecontrol::db::Engine::Sqlite, closed).await;
    let root = t.admin().await;
    let register = async |email: &str, invitation_token: &str| {
        let request = auth::RegisterRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            display_name: "Ada".to_owned(),
            accepted_terms_version: t.node.config().auth.terms_version.clone(),
            invitation_token: invitation_token.to_owned(),
            ..Default::default()
        };
        AuthServiceClient::new(t.channel()).register(request).await.map(drop)
    };
    let status = register("ada@example.com", "").await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVITATION_REQUIRED");
    let known = register("admin@capecontrol.localhost", "").await.unwrap_err();
    assert_eq!((status.message(), status.details()), (known.message(), known.details()));
    let request = auth::CreatePlatformInvitationRequest {
        email: "ada@example.com".to_owned(),
        request_id: uuid::Uuid::from_u128(5).to_string(),
        ..Default::default()
    };
    let invited = root.admin().create_platform_invitation(request.clone()).await.unwrap().into_inner();
    let status = root.admin().create_platform_invitation(request).await.unwrap_err();
    assert_refused(&status, Code::AlreadyExists, "SECRET_ALREADY_ISSUED");
    assert_eq!(t.run_jobs().await, 1);
    let status = register("eve@example.com", &invited.invitation_token).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVITATION_INVALID");
    register("ada@example.com", &invited.invitation_token).await.unwrap();
    t.sign_in("ada@example.com", PASSWORD).await;
    t.advance(Duration::from_secs(1));
    let status = register("ada@example.com", &invited.invitation_token).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "INVITATION_INVALID");
}
