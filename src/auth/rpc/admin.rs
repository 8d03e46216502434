//! The wire of `AdminService`.

use tonic::{Request, Response, Status};

use super::organization::organization_role;
use super::{Rpc, account, seen_session};
use crate::auth::Role;
use crate::auth::model::AdministeredAccount;
use crate::auth::service::{Filter, Invite};
use crate::auth::store::administration::Membership;
use crate::base::{Timestamp, Violations};
use crate::proto::capecontrol::auth::v1 as wire;
use crate::rpc::{self, decode, encode};

const LIST_ACCOUNTS: &str = "auth.ListAccounts";

#[tonic::async_trait]
impl wire::admin_service_server::AdminService for Rpc {
    async fn list_accounts(
        &self,
        request: Request<wire::ListAccountsRequest>,
    ) -> Result<Response<wire::ListAccountsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let filter = filter(&request)?;
        let question = (
            request.role,
            request.state,
            &request.email_prefix,
            filter.from.map(Timestamp::as_micros),
            filter.until.map(Timestamp::as_micros),
        );
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<String>(&caller, LIST_ACCOUNTS, &question, size, token)?;
        let mut rows = self.service.list_accounts(&caller, &filter, page.after.clone(), page.probe()).await?;
        let cursor = |row: &AdministeredAccount| row.account.email.as_str().to_owned();
        let next = self.pages.cut(&caller, LIST_ACCOUNTS, &question, page.size, &mut rows, cursor);
        Ok(Response::new(wire::ListAccountsResponse {
            accounts: rows.into_iter().map(administered).collect(),
            next_page_token: next,
        }))
    }

    async fn get_account_for_admin(
        &self,
        request: Request<wire::GetAccountForAdminRequest>,
    ) -> Result<Response<wire::GetAccountForAdminResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = decode::only_id("account_id", &request.account_id)?;
        let told = self.service.administered_account(&caller, id).await?;
        Ok(Response::new(wire::GetAccountForAdminResponse {
            account: Some(administered(told.account)),
            sessions: told.sessions.into_iter().map(|session| seen_session(session, &caller)).collect(),
            memberships: told.memberships.into_iter().map(membership).collect(),
        }))
    }

    async fn suspend_account(
        &self,
        request: Request<wire::SuspendAccountRequest>,
    ) -> Result<Response<wire::SuspendAccountResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("account_id", &request.account_id)?;
        let done = self.service.suspend_account(&caller, id, &request.reason, key.as_deref()).await?;
        Ok(Response::new(wire::SuspendAccountResponse { account: Some(administered(done)) }))
    }

    async fn reinstate_account(
        &self,
        request: Request<wire::ReinstateAccountRequest>,
    ) -> Result<Response<wire::ReinstateAccountResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("account_id", &request.account_id)?;
        let done = self.service.reinstate_account(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::ReinstateAccountResponse { account: Some(administered(done)) }))
    }

    async fn set_account_role(
        &self,
        request: Request<wire::SetAccountRoleRequest>,
    ) -> Result<Response<wire::SetAccountRoleResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut v = Violations::new();
        let id = decode::id(&mut v, "account_id", &request.account_id);
        let wanted = known_role(request.role).flatten();
        v.check(wanted.is_some(), "role", "must be a known role");
        v.finish()?;
        let wanted = wanted.unwrap_or(Role::Customer);
        let done = self.service.set_account_role(&caller, id, wanted, key.as_deref()).await?;
        Ok(Response::new(wire::SetAccountRoleResponse { account: Some(administered(done)) }))
    }

    async fn create_platform_invitation(
        &self,
        request: Request<wire::CreatePlatformInvitationRequest>,
    ) -> Result<Response<wire::CreatePlatformInvitationResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let email = Some(request.email).filter(|email| !email.is_empty());
        // A negative number is no number of hours, and the service says so.
        let hours = (request.valid_hours != 0).then(|| u32::try_from(request.valid_hours).unwrap_or(0));
        let invited =
            self.service.create_invitation(&caller, Invite { email, hours }, key.as_deref()).await?;
        Ok(Response::new(wire::CreatePlatformInvitationResponse {
            invitation_id: invited.id.to_string(),
            invitation_token: invited.token.expose().clone(),
            expire_time: Some(encode::timestamp(invited.expires_at)),
        }))
    }
}

fn filter(request: &wire::ListAccountsRequest) -> Result<Filter, Violations> {
    let mut v = Violations::new();
    let role = known_role(request.role);
    v.check(role.is_some(), "role", "must be a known role");
    let suspended = match wire::AccountState::try_from(request.state) {
        Ok(wire::AccountState::Unspecified) => None,
        Ok(wire::AccountState::Active) => Some(false),
        Ok(wire::AccountState::Suspended) => Some(true),
        Err(_) => {
            v.add("state", "must be a known state");
            None
        }
    };
    let from = decode::optional_time(&mut v, "created_from", request.created_from);
    let until = decode::optional_time(&mut v, "created_until", request.created_until);
    v.finish()?;
    Ok(Filter { role: role.flatten(), suspended, prefix: request.email_prefix.clone(), from, until })
}

/// None when there is no such role, and an inner none when the request names none.
#[expect(clippy::option_option, reason = "the outer one is 'unknown', the inner 'not given'")]
fn known_role(number: i32) -> Option<Option<Role>> {
    match wire::Role::try_from(number).ok()? {
        wire::Role::Unspecified => Some(None),
        wire::Role::Customer => Some(Some(Role::Customer)),
        wire::Role::Developer => Some(Some(Role::Developer)),
        wire::Role::Admin => Some(Some(Role::Admin)),
    }
}

fn administered(told: AdministeredAccount) -> wire::AdministeredAccount {
    let state =
        if told.suspension.is_some() { wire::AccountState::Suspended } else { wire::AccountState::Active };
    wire::AdministeredAccount {
        account: Some(account(told.account)),
        state: state.into(),
        suspend_time: told.suspension.as_ref().map(|suspension| encode::timestamp(suspension.at)),
        suspension_reason: told.suspension.map(|suspension| suspension.reason).unwrap_or_default(),
        last_sign_in_time: told.signed_in_at.map(encode::timestamp),
    }
}

fn membership(membership: Membership) -> wire::AccountMembership {
    wire::AccountMembership {
        organization_id: membership.organization_id.to_string(),
        name: membership.name,
        role: organization_role(membership.role).into(),
        create_time: Some(encode::timestamp(membership.created_at)),
    }
}
