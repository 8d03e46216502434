//! Registering, signing in and one's own account over a real socket.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use capecontrol::proto::capecontrol::auth::v1::account_service_client::AccountServiceClient;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::auth::v1::organization_service_client::OrganizationServiceClient;
use capecontrol::proto::capecontrol::auth::v1::{
    Account, GetAccountRequest, GetOrganizationRequest, IssuedSession, ListOrganizationsRequest,
    LoginRequest, LogoutRequest, OrganizationRole, RefreshSessionRequest, RegisterRequest, Role,
    UpdateAccountRequest, login_response,
};
use prost_types::FieldMask;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{App, on_both};

const PASSWORD: &str = "correct horse battery";
const TERMS: &str = "2026-01";

fn registration(email: &str) -> RegisterRequest {
    RegisterRequest {
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
        display_name: "Ada".to_owned(),
        accepted_terms_version: TERMS.to_owned(),
        ..RegisterRequest::default()
    }
}

fn login(email: &str, password: &str) -> LoginRequest {
    LoginRequest { email: email.to_owned(), password: password.to_owned(), ..LoginRequest::default() }
}

fn refresh(token: &str) -> RefreshSessionRequest {
    RefreshSessionRequest { refresh_token: token.to_owned(), request_id: String::new() }
}

fn request_id(number: u128) -> String {
    uuid::Uuid::from_u128(number).to_string()
}

fn auth(t: &App) -> AuthServiceClient<Channel> {
    AuthServiceClient::new(t.channel())
}

async fn sign_in(t: &App, email: &str) -> IssuedSession {
    let result = auth(t).login(login(email, PASSWORD)).await.unwrap().into_inner().result;
    let login_response::Result::Session(session) = result.unwrap();
    session
}

async fn registered(t: &App, email: &str) -> IssuedSession {
    auth(t).register(registration(email)).await.unwrap();
    sign_in(t, email).await
}

/// The request with an access token.
fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

async fn account(t: &App, token: &str) -> Result<Account, Status> {
    let answer =
        AccountServiceClient::new(t.channel()).get_account(with(token, GetAccountRequest {})).await?;
    Ok(answer.into_inner().account.unwrap())
}

#[track_caller]
fn assert_refused(status: &Status, code: Code, reason: &str) {
    let details = status.get_error_details();
    assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (code, reason), "{status:?}");
}

#[track_caller]
fn assert_wrong_fields(status: &Status, fields: &[&str]) {
    assert_refused(status, Code::InvalidArgument, "INVALID_ARGUMENT");
    let details = status.get_error_details();
    let told = &details.bad_request().unwrap().field_violations;
    assert_eq!(told.iter().map(|wrong| wrong.field.as_str()).collect::<Vec<_>>(), fields);
}

/// All that a refusal tells.
fn told(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

on_both! {
    async fn a_person_registers_signs_in_and_signs_out(t: App) {
        let session = registered(&t, "Ada@Example.com").await;
        let ada = session.account.clone().unwrap();
        assert_eq!((ada.email.as_str(), ada.role()), ("ada@example.com", Role::Customer));
        assert_eq!(account(&t, &session.access_token).await.unwrap(), ada);
        let logout = LogoutRequest { refresh_token: session.refresh_token.clone(), request_id: String::new() };
        auth(&t).logout(logout.clone()).await.unwrap();
        auth(&t).logout(logout).await.unwrap();
        let status = account(&t, &session.access_token).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "SESSION_REVOKED");
        let status = auth(&t).refresh_session(refresh(&session.refresh_token)).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "SESSION_REVOKED");
    }

    async fn all_wrong_fields_of_a_registration_are_told(t: App) {
        let request = RegisterRequest {
            email: "ada@localhost\r\nBcc: eve@example.com".to_owned(),
            password: "password".to_owned(),
            display_name: "\u{7}".to_owned(),
            ..RegisterRequest::default()
        };
        let status = auth(&t).register(request).await.unwrap_err();
        assert_wrong_fields(&status, &["email", "password", "display_name", "accepted_terms_version"]);
        let request = RegisterRequest { request_id: "one".to_owned(), ..registration("ada@example.com") };
        assert_wrong_fields(&auth(&t).register(request).await.unwrap_err(), &["request_id"]);
    }

    async fn an_address_is_not_given_away(t: App) {
        auth(&t).register(registration("ada@example.com")).await.unwrap();
        let new = auth(&t).register(registration("bob@example.com")).await.unwrap();
        let known = auth(&t).register(registration("ada@example.com")).await.unwrap();
        assert_eq!(new.into_inner(), known.into_inner());
        let wrong = auth(&t).login(login("ada@example.com", "wrong")).await.unwrap_err();
        let unknown = auth(&t).login(login("eve@example.com", "wrong")).await.unwrap_err();
        assert_refused(&wrong, Code::Unauthenticated, "INVALID_CREDENTIALS");
        assert_eq!(told(&wrong), told(&unknown));
    }

    async fn all_wrong_fields_of_a_sign_in_are_told(t: App) {
        let request = LoginRequest { session_transport: 2, ..login("ada", &"x".repeat(200)) };
        let status = auth(&t).login(request).await.unwrap_err();
        assert_wrong_fields(&status, &["email", "password", "session_transport"]);
    }

    async fn repeated_calls_happen_once(t: App) {
        let first = RegisterRequest { request_id: request_id(1), ..registration("ada@example.com") };
        for _ in 0..2 {
            auth(&t).register(first.clone()).await.unwrap();
        }
        let other = RegisterRequest { email: "bob@example.com".to_owned(), ..first };
        let status = auth(&t).register(other).await.unwrap_err();
        assert_refused(&status, Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
        let enter = LoginRequest { request_id: request_id(2), ..login("ada@example.com", PASSWORD) };
        auth(&t).login(enter.clone()).await.unwrap();
        let status = auth(&t).login(enter).await.unwrap_err();
        assert_refused(&status, Code::AlreadyExists, "SECRET_ALREADY_ISSUED");
    }

    async fn a_session_goes_on_and_a_copied_token_ends_it(t: App) {
        let first = registered(&t, "ada@example.com").await;
        t.clock.advance(Duration::from_mins(10));
        let status = account(&t, &first.access_token).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "TOKEN_EXPIRED");
        let answer = auth(&t).refresh_session(refresh(&first.refresh_token)).await.unwrap();
        let second = answer.into_inner().session.unwrap();
        account(&t, &second.access_token).await.unwrap();
        // A tab that comes a moment later goes on with the same token.
        let answer = auth(&t).refresh_session(refresh(&first.refresh_token)).await.unwrap();
        assert_eq!(answer.into_inner().session.unwrap().refresh_token, second.refresh_token);
        t.clock.advance(Duration::from_secs(10));
        let status = auth(&t).refresh_session(refresh(&first.refresh_token)).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
        let status = account(&t, &second.access_token).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "SESSION_REVOKED");
        let status = auth(&t).refresh_session(refresh("invented")).await.unwrap_err();
        assert_refused(&status, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }

    async fn hostile_tokens_are_refused(t: App) {
        let session = registered(&t, "ada@example.com").await;
        let token = &session.access_token;
        let mut parts = token.split('.');
        let (head, body) = (parts.next().unwrap(), parts.next().unwrap());
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        let cut = token.get(..token.len() - 4).unwrap();
        for hostile in [&format!("{none}.{body}."), &format!("{head}.{body}.AAAA"), cut, "x", "a.b.c"] {
            let status = account(&t, hostile).await.unwrap_err();
            assert_refused(&status, Code::Unauthenticated, "TOKEN_INVALID");
        }
        account(&t, token).await.unwrap();
    }

    async fn without_a_token_there_is_nothing(t: App) {
        let mut accounts = AccountServiceClient::new(t.channel());
        let mut organizations = OrganizationServiceClient::new(t.channel());
        let refusals = [
            accounts.get_account(GetAccountRequest {}).await.err(),
            accounts.update_account(UpdateAccountRequest::default()).await.err(),
            organizations.get_organization(GetOrganizationRequest::default()).await.err(),
            organizations.list_organizations(ListOrganizationsRequest::default()).await.err(),
        ];
        for status in refusals {
            assert_refused(&status.unwrap(), Code::Unauthenticated, "UNAUTHENTICATED");
        }
    }

    async fn a_profile_is_changed(t: App) {
        let session = registered(&t, "ada@example.com").await;
        let mut accounts = AccountServiceClient::new(t.channel());
        let change = UpdateAccountRequest {
            account: Some(Account {
                bio: "Counts.".to_owned(),
                skills: vec!["analysis".to_owned()],
                preferences: [("theme".to_owned(), "dark".to_owned())].into(),
                // Neither of these can be changed, and outside the mask they are not looked at.
                role: Role::Admin.into(),
                display_name: String::new(),
                ..Account::default()
            }),
            update_mask: Some(FieldMask { paths: ["bio", "skills", "preferences"].map(str::to_owned).to_vec() }),
            etag: session.account.clone().unwrap().etag,
            request_id: request_id(3),
        };
        let answer = accounts.update_account(with(&session.access_token, change.clone())).await.unwrap();
        let changed = answer.into_inner().account.unwrap();
        assert_eq!((changed.bio.as_str(), changed.display_name.as_str()), ("Counts.", "Ada"));
        assert_eq!((changed.skills.len(), changed.preferences.len(), changed.role()), (1, 1, Role::Customer));
        let repeated = accounts.update_account(with(&session.access_token, change.clone())).await.unwrap();
        assert_eq!(repeated.into_inner().account.unwrap(), changed);

        let stale = UpdateAccountRequest { request_id: String::new(), ..change };
        let status = accounts.update_account(with(&session.access_token, stale)).await.unwrap_err();
        assert_refused(&status, Code::Aborted, "ETAG_MISMATCH");
        let wrong = UpdateAccountRequest {
            account: Some(Account { website: "javascript:alert(1)".to_owned(), ..Account::default() }),
            update_mask: Some(FieldMask { paths: ["role", "display_name", "website"].map(str::to_owned).to_vec() }),
            ..UpdateAccountRequest::default()
        };
        let status = accounts.update_account(with(&session.access_token, wrong)).await.unwrap_err();
        assert_wrong_fields(&status, &["update_mask", "account.display_name", "account.website"]);
    }

    async fn organizations_of_others_are_not_there(t: App) {
        let (ada, eve) = (registered(&t, "ada@example.com").await, registered(&t, "eve@example.com").await);
        let of_ada = ada.account.clone().unwrap().personal_organization_id;
        let mut organizations = OrganizationServiceClient::new(t.channel());
        let mut get = async |session: &IssuedSession, organization_id: &str| {
            let request = GetOrganizationRequest { organization_id: organization_id.to_owned() };
            organizations.get_organization(with(&session.access_token, request)).await
        };
        let own = get(&ada, &of_ada).await.unwrap().into_inner().organization.unwrap();
        assert_eq!((own.personal, own.role()), (true, OrganizationRole::Owner));
        let foreign = get(&eve, &of_ada).await.unwrap_err();
        let missing = get(&eve, &request_id(9)).await.unwrap_err();
        assert_refused(&foreign, Code::NotFound, "NOT_FOUND");
        assert_eq!(told(&foreign), told(&missing));
        for wrong in ["", "1", "../secret"] {
            assert_wrong_fields(&get(&ada, wrong).await.unwrap_err(), &["organization_id"]);
        }
    }

    async fn ones_own_organizations_are_listed(t: App) {
        let ada = registered(&t, "ada@example.com").await;
        let mut organizations = OrganizationServiceClient::new(t.channel());
        let mut list = async |page_size: i32, page_token: &str| {
            let request = ListOrganizationsRequest { page_size, page_token: page_token.to_owned() };
            organizations.list_organizations(with(&ada.access_token, request)).await
        };
        let page = list(0, "").await.unwrap().into_inner();
        let ids: Vec<_> = page.organizations.iter().map(|organization| organization.id.as_str()).collect();
        assert_eq!(ids, [ada.account.clone().unwrap().personal_organization_id]);
        assert_eq!(page.next_page_token, "");
        assert_wrong_fields(&list(-1, "").await.unwrap_err(), &["page_size"]);
        let status = list(0, "AAAAAAAAAAAAAAAAAAAAAAAAAAAA").await.unwrap_err();
        assert_refused(&status, Code::InvalidArgument, "PAGE_TOKEN_MISMATCH");
    }
}
