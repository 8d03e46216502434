//! Service accounts over a real socket: what they sign, what they get for it, and how they end.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use capecontrol::auth::keys::KeyPair;
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::chat::v1::chat_service_client::ChatServiceClient;
use capecontrol::proto::capecontrol::payments::v1 as payments;
use capecontrol::proto::capecontrol::payments::v1::invoice_service_client::InvoiceServiceClient;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    Impatient, assert_refused, create_thread, end, list_threads, made, subscribed, team, wanted, with,
};
use crate::support::{App, Person, on_both};

/// A service account and the program that holds its key.
pub struct Program {
    owner: Person,
    pub home: String,
    pub id: String,
    pair: KeyPair,
}

impl Program {
    pub async fn start(t: &App) -> Self {
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

    pub fn claims(&self, t: &App, jti: &str) -> Value {
        let exp = t.world.now().as_seconds() + 240;
        json!({"iss": self.id, "sub": self.id, "aud": t.url, "exp": exp, "jti": jti})
    }

    pub fn sign(&self, claims: &Value) -> String {
        sign(claims, &self.pair)
    }

    async fn exchange(
        &self,
        t: &App,
        claims: &Value,
    ) -> Result<auth::ExchangeServiceAccountTokenResponse, Status> {
        self.exchange_for(t, &self.sign(claims), &[]).await
    }

    pub async fn exchange_for(
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

on_both! {
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
