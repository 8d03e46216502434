//! The wire of this domain: requests in, answers out, nothing decided.

mod admin;
mod api_key;
mod audit;
mod organization;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::base::{Secret, SessionId};
use crate::proto::capecontrol::auth::v1 as wire;
use crate::rpc::{self, Exports, Pages, decode, encode};

use super::model::{Account, LinkPurpose, Session};
use super::profile::Profile;
use super::service::{ChangePassword, Issued, Login, Register, ResetPassword, Transport, UpdateAccount};
use super::{Caller, Error, Role, Service};

rpc::status_from!(Error);

const LIST_SESSIONS: &str = "auth.ListSessions";

/// The services of this domain; each that is not here has a file of its own below.
#[derive(Clone)]
pub struct Rpc {
    service: Arc<Service>,
    pages: Pages,
    exports: Exports,
}

impl Rpc {
    /// Serves `service`.
    #[must_use]
    pub const fn new(service: Arc<Service>, pages: Pages, exports: Exports) -> Self {
        Self { service, pages, exports }
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
            invitation: Some(request.invitation_token).filter(|token| !token.is_empty()).map(Secret::new),
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

    async fn request_email_verification(
        &self,
        request: Request<wire::RequestEmailVerificationRequest>,
    ) -> Result<Response<wire::RequestEmailVerificationResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let purpose = LinkPurpose::VerifyEmail;
        self.service.request_link(&caller, purpose, &request.email, key.as_deref()).await?;
        Ok(Response::new(wire::RequestEmailVerificationResponse {}))
    }

    async fn verify_email(
        &self,
        request: Request<wire::VerifyEmailRequest>,
    ) -> Result<Response<wire::VerifyEmailResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        self.service.verify_email(&caller, &Secret::new(request.token), key.as_deref()).await?;
        Ok(Response::new(wire::VerifyEmailResponse {}))
    }

    async fn request_password_reset(
        &self,
        request: Request<wire::RequestPasswordResetRequest>,
    ) -> Result<Response<wire::RequestPasswordResetResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let purpose = LinkPurpose::ResetPassword;
        self.service.request_link(&caller, purpose, &request.email, key.as_deref()).await?;
        Ok(Response::new(wire::RequestPasswordResetResponse {}))
    }

    async fn reset_password(
        &self,
        request: Request<wire::ResetPasswordRequest>,
    ) -> Result<Response<wire::ResetPasswordResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let (token, new_password) = (Secret::new(request.token), Secret::new(request.new_password));
        self.service.reset_password(&caller, ResetPassword { token, new_password }, key.as_deref()).await?;
        Ok(Response::new(wire::ResetPasswordResponse {}))
    }

    async fn change_password(
        &self,
        request: Request<wire::ChangePasswordRequest>,
    ) -> Result<Response<wire::ChangePasswordResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = ChangePassword {
            current_password: Secret::new(request.current_password),
            new_password: Secret::new(request.new_password),
        };
        self.service.change_password(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::ChangePasswordResponse {}))
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

    async fn list_sessions(
        &self,
        request: Request<wire::ListSessionsRequest>,
    ) -> Result<Response<wire::ListSessionsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<SessionId>(&caller, LIST_SESSIONS, &(), size, &token)?;
        let mut rows = self.service.sessions(&caller, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_SESSIONS, &(), page.size, &mut rows, |row| row.id);
        Ok(Response::new(wire::ListSessionsResponse {
            sessions: rows.into_iter().map(|row| seen_session(row, &caller)).collect(),
            next_page_token: next,
        }))
    }

    async fn revoke_session(
        &self,
        request: Request<wire::RevokeSessionRequest>,
    ) -> Result<Response<wire::RevokeSessionResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("session_id", &request.session_id)?;
        self.service.revoke_session(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::RevokeSessionResponse {}))
    }

    async fn revoke_other_sessions(
        &self,
        request: Request<wire::RevokeOtherSessionsRequest>,
    ) -> Result<Response<wire::RevokeOtherSessionsResponse>, Status> {
        let (caller, key, _) = rpc::open_mutation(request)?;
        let revoked = self.service.revoke_other_sessions(&caller, key.as_deref()).await?;
        let revoked_count = i64::try_from(revoked).unwrap_or(i64::MAX);
        Ok(Response::new(wire::RevokeOtherSessionsResponse { revoked_count }))
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

fn seen_session(session: Session, caller: &Caller) -> wire::Session {
    wire::Session {
        id: session.id.to_string(),
        agent: session.agent,
        address: session.address.map(|address| address.to_string()).unwrap_or_default(),
        current: caller.session == Some(session.id),
        create_time: Some(encode::timestamp(session.created_at)),
        last_use_time: Some(encode::timestamp(session.used_at)),
        expire_time: Some(encode::timestamp(session.expires_at)),
    }
}

const fn role(role: Role) -> wire::Role {
    match role {
        Role::Customer => wire::Role::Customer,
        Role::Developer => wire::Role::Developer,
        Role::Admin => wire::Role::Admin,
    }
}
