//! The wire of this domain: requests in, answers out, nothing decided.

mod api_key;
mod audit;
mod organization;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::base::Secret;
use crate::proto::capecontrol::auth::v1 as wire;
use crate::rpc::{self, Pages, encode};

use super::model::Account;
use super::profile::Profile;
use super::service::{Issued, Login, Register, Transport, UpdateAccount};
use super::{Error, Role, Service};

rpc::status_from!(Error);

/// The services of this domain; each that is not here has a file of its own below.
#[derive(Clone)]
pub struct Rpc {
    service: Arc<Service>,
    pages: Pages,
}

impl Rpc {
    /// Serves `service`.
    #[must_use]
    pub const fn new(service: Arc<Service>, pages: Pages) -> Self {
        Self { service, pages }
    }
}

#[tonic::async_trait]
impl wire::auth_service_server::AuthService for Rpc {
    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = Register {
            email: request.email,
            password: Secret::new(request.password),
            display_name: request.display_name,
            accepted_terms_version: request.accepted_terms_version,
        };
        self.service.register(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::RegisterResponse {}))
    }

    async fn login(
        &self,
        request: Request<wire::LoginRequest>,
    ) -> Result<Response<wire::LoginResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = Login {
            email: request.email,
            password: Secret::new(request.password),
            transport: transport(request.session_transport),
        };
        let issued = self.service.login(&caller, command, key.as_deref()).await?;
        let result = wire::login_response::Result::Session(session(issued));
        Ok(Response::new(wire::LoginResponse { result: Some(result) }))
    }

    async fn refresh_session(
        &self,
        request: Request<wire::RefreshSessionRequest>,
    ) -> Result<Response<wire::RefreshSessionResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let token = Secret::new(request.refresh_token);
        let issued = self.service.refresh(&caller, &token, key.as_deref()).await?;
        Ok(Response::new(wire::RefreshSessionResponse { session: Some(session(issued)) }))
    }

    async fn logout(
        &self,
        request: Request<wire::LogoutRequest>,
    ) -> Result<Response<wire::LogoutResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let token = Secret::new(request.refresh_token);
        self.service.logout(&caller, &token, key.as_deref()).await?;
        Ok(Response::new(wire::LogoutResponse {}))
    }

    async fn exchange_service_account_token(
        &self,
        request: Request<wire::ExchangeServiceAccountTokenRequest>,
    ) -> Result<Response<wire::ExchangeServiceAccountTokenResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let assertion = Secret::new(request.assertion);
        let scopes = request.scopes;
        let issued = self.service.exchange_assertion(&caller, &assertion, &scopes, key.as_deref()).await?;
        Ok(Response::new(wire::ExchangeServiceAccountTokenResponse {
            access_token: issued.access_token.expose().clone(),
            access_token_expire_time: Some(encode::timestamp(issued.expires_at)),
            scopes: issued.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        }))
    }
}

#[tonic::async_trait]
impl wire::account_service_server::AccountService for Rpc {
    async fn get_account(
        &self,
        request: Request<wire::GetAccountRequest>,
    ) -> Result<Response<wire::GetAccountResponse>, Status> {
        let (caller, _) = rpc::open(request)?;
        let found = self.service.account(&caller).await?;
        Ok(Response::new(wire::GetAccountResponse { account: Some(account(found)) }))
    }

    async fn update_account(
        &self,
        request: Request<wire::UpdateAccountRequest>,
    ) -> Result<Response<wire::UpdateAccountResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = UpdateAccount {
            mask: request.update_mask.map(|mask| mask.paths).unwrap_or_default(),
            profile: profile(request.account.unwrap_or_default()),
            etag: request.etag,
        };
        let changed = self.service.update_account(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::UpdateAccountResponse { account: Some(account(changed)) }))
    }
}

fn transport(number: i32) -> Transport {
    match wire::SessionTransport::try_from(number) {
        Ok(wire::SessionTransport::Unspecified | wire::SessionTransport::Token) => Transport::Token,
        Err(_) => Transport::Unknown,
    }
}

fn session(issued: Issued) -> wire::IssuedSession {
    wire::IssuedSession {
        access_token: issued.access_token.expose().clone(),
        refresh_token: issued.refresh_token.expose().clone(),
        access_token_expire_time: Some(encode::timestamp(issued.access_token_expires_at)),
        account: Some(account(issued.account)),
    }
}

/// Takes what can be changed; the rest of the message is not looked at.
fn profile(account: wire::Account) -> Profile {
    Profile {
        display_name: account.display_name,
        bio: account.bio,
        company: account.company,
        website: account.website,
        skills: account.skills,
        interests: account.interests,
        preferences: account.preferences,
    }
}

fn account(account: Account) -> wire::Account {
    wire::Account {
        etag: account.etag(),
        id: account.id.to_string(),
        email: account.email.as_str().to_owned(),
        email_verified: account.email_verified,
        role: role(account.role).into(),
        personal_organization_id: account.personal_organization.to_string(),
        display_name: account.profile.display_name,
        bio: account.profile.bio,
        company: account.profile.company,
        website: account.profile.website,
        skills: account.profile.skills,
        interests: account.profile.interests,
        preferences: account.profile.preferences,
        create_time: Some(encode::timestamp(account.created_at)),
        update_time: Some(encode::timestamp(account.updated_at)),
    }
}

const fn role(role: Role) -> wire::Role {
    match role {
        Role::Customer => wire::Role::Customer,
        Role::Developer => wire::Role::Developer,
        Role::Admin => wire::Role::Admin,
    }
}
