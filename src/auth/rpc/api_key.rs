//! The service `ApiKeyService`.

use tonic::{Request, Response, Status};

use crate::auth::OrganizationRole;
use crate::auth::model::key::{ApiKey, ApiKeyId, KeyScope, ServiceAccount};
use crate::auth::service::{CreateApiKey, CreateServiceAccount};
use crate::base::AccountId;
use crate::base::Violations;
use crate::proto::capecontrol::auth::v1 as wire;
use crate::rpc::{self, decode, encode};

use super::Rpc;
use super::organization::{optional, organization_role, role};

const LIST_API_KEYS: &str = "auth.ListApiKeys";
const LIST_SERVICE_ACCOUNTS: &str = "auth.ListServiceAccounts";

#[tonic::async_trait]
impl wire::api_key_service_server::ApiKeyService for Rpc {
    async fn create_api_key(
        &self,
        request: Request<wire::CreateApiKeyRequest>,
    ) -> Result<Response<wire::CreateApiKeyResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let command = CreateApiKey {
            organization: decode::optional_id(&mut violations, "organization_id", &request.organization_id),
            service_account: decode::optional_id(
                &mut violations,
                "service_account_id",
                &request.service_account_id,
            ),
            expires_at: decode::optional_time(&mut violations, "expire_time", request.expire_time),
            name: request.name,
            scopes: request.scopes,
            networks: request.allowed_networks,
        };
        violations.finish()?;
        let made = self.service.create_api_key(&caller, command, key.as_deref()).await?;
        let text = made.text.expose().clone();
        Ok(Response::new(wire::CreateApiKeyResponse { api_key: Some(api_key(made.key)), key: text }))
    }

    async fn list_api_keys(
        &self,
        request: Request<wire::ListApiKeysRequest>,
    ) -> Result<Response<wire::ListApiKeysResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let named = optional("organization_id", &request.organization_id)?;
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<ApiKeyId>(&caller, LIST_API_KEYS, &named, size, &token)?;
        let mut rows = self.service.api_keys(&caller, named, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_API_KEYS, &named, page.size, &mut rows, |row| row.id);
        Ok(Response::new(wire::ListApiKeysResponse {
            api_keys: rows.into_iter().map(api_key).collect(),
            next_page_token: next,
        }))
    }

    async fn rotate_api_key(
        &self,
        request: Request<wire::RotateApiKeyRequest>,
    ) -> Result<Response<wire::RotateApiKeyResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("api_key_id", &request.api_key_id)?;
        let overlap = request.overlap_seconds;
        let made = self.service.rotate_api_key(&caller, id, overlap, key.as_deref()).await?;
        let text = made.text.expose().clone();
        Ok(Response::new(wire::RotateApiKeyResponse { api_key: Some(api_key(made.key)), key: text }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<wire::RevokeApiKeyRequest>,
    ) -> Result<Response<wire::RevokeApiKeyResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("api_key_id", &request.api_key_id)?;
        let revoked = self.service.revoke_api_key(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::RevokeApiKeyResponse { api_key: Some(api_key(revoked)) }))
    }

    async fn create_service_account(
        &self,
        request: Request<wire::CreateServiceAccountRequest>,
    ) -> Result<Response<wire::CreateServiceAccountResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let unspecified = request.role == i32::from(wire::OrganizationRole::Unspecified);
        let command = CreateServiceAccount {
            organization: optional("organization_id", &request.organization_id)?,
            name: request.name,
            scopes: request.scopes,
            role: if unspecified { Some(OrganizationRole::Member) } else { role(request.role) },
            public_key: request.public_key,
        };
        let made = self.service.create_service_account(&caller, command, key.as_deref()).await?;
        let service_account = Some(service_account(made));
        Ok(Response::new(wire::CreateServiceAccountResponse { service_account }))
    }

    async fn list_service_accounts(
        &self,
        request: Request<wire::ListServiceAccountsRequest>,
    ) -> Result<Response<wire::ListServiceAccountsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let named = optional("organization_id", &request.organization_id)?;
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<AccountId>(&caller, LIST_SERVICE_ACCOUNTS, &named, size, &token)?;
        let mut rows = self.service.service_accounts(&caller, named, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_SERVICE_ACCOUNTS, &named, page.size, &mut rows, |row| row.id);
        Ok(Response::new(wire::ListServiceAccountsResponse {
            service_accounts: rows.into_iter().map(service_account).collect(),
            next_page_token: next,
        }))
    }

    async fn delete_service_account(
        &self,
        request: Request<wire::DeleteServiceAccountRequest>,
    ) -> Result<Response<wire::DeleteServiceAccountResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("service_account_id", &request.service_account_id)?;
        self.service.delete_service_account(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::DeleteServiceAccountResponse {}))
    }
}

fn api_key(key: ApiKey) -> wire::ApiKey {
    wire::ApiKey {
        id: key.id.to_string(),
        organization_id: key.organization.to_string(),
        account_id: key.account.to_string(),
        name: key.name,
        scopes: words(&key.scopes),
        allowed_networks: key.networks,
        created_by_account_id: key.created_by.to_string(),
        create_time: Some(encode::timestamp(key.created_at)),
        expire_time: key.expires_at.map(encode::timestamp),
        last_use_time: key.used_at.map(encode::timestamp),
        previous_secret_expire_time: key.previous_until.map(encode::timestamp),
        revoke_time: key.revoked_at.map(encode::timestamp),
    }
}

fn service_account(account: ServiceAccount) -> wire::ServiceAccount {
    wire::ServiceAccount {
        id: account.id.to_string(),
        organization_id: account.organization.to_string(),
        name: account.name,
        scopes: words(&account.scopes),
        role: organization_role(account.role).into(),
        created_by_account_id: account.created_by.to_string(),
        create_time: Some(encode::timestamp(account.created_at)),
    }
}

fn words<'s>(scopes: impl IntoIterator<Item = &'s KeyScope>) -> Vec<String> {
    scopes.into_iter().map(|scope| scope.as_str().to_owned()).collect()
}
