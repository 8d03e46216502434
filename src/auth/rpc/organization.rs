//! The service `OrganizationService`.

use tonic::{Request, Response, Status};

use crate::auth::OrganizationRole;
use crate::auth::model::Organization;
use crate::auth::model::organization::{Invitation, InvitationId, Member};
use crate::auth::service::{InviteMember, UpdateOrganization};
use crate::base::{AccountId, OrganizationId, Secret, Violations};
use crate::proto::capecontrol::auth::v1 as wire;
use crate::rpc::{self, decode, encode};

use super::Rpc;

const LIST_ORGANIZATIONS: &str = "auth.ListOrganizations";
const LIST_MEMBERS: &str = "auth.ListMembers";
const LIST_INVITATIONS: &str = "auth.ListInvitations";

#[tonic::async_trait]
impl wire::organization_service_server::OrganizationService for Rpc {
    async fn create_organization(
        &self,
        request: Request<wire::CreateOrganizationRequest>,
    ) -> Result<Response<wire::CreateOrganizationResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let made = self.service.create_organization(&caller, &request.name, key.as_deref()).await?;
        Ok(Response::new(wire::CreateOrganizationResponse { organization: Some(organization(made)) }))
    }

    async fn get_organization(
        &self,
        request: Request<wire::GetOrganizationRequest>,
    ) -> Result<Response<wire::GetOrganizationResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id: OrganizationId = decode::only_id("organization_id", &request.organization_id)?;
        let found = self.service.organization(&caller, id).await?;
        Ok(Response::new(wire::GetOrganizationResponse { organization: Some(organization(found)) }))
    }

    async fn list_organizations(
        &self,
        request: Request<wire::ListOrganizationsRequest>,
    ) -> Result<Response<wire::ListOrganizationsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<OrganizationId>(&caller, LIST_ORGANIZATIONS, &(), size, &token)?;
        let mut rows = self.service.organizations(&caller, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_ORGANIZATIONS, &(), page.size, &mut rows, |row| row.id);
        Ok(Response::new(wire::ListOrganizationsResponse {
            organizations: rows.into_iter().map(organization).collect(),
            next_page_token: next,
        }))
    }

    async fn update_organization(
        &self,
        request: Request<wire::UpdateOrganizationRequest>,
    ) -> Result<Response<wire::UpdateOrganizationResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = UpdateOrganization {
            organization: decode::only_id("organization_id", &request.organization_id)?,
            mask: request.update_mask.map(|mask| mask.paths).unwrap_or_default(),
            name: request.organization.unwrap_or_default().name,
            etag: request.etag,
        };
        let changed = self.service.update_organization(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::UpdateOrganizationResponse { organization: Some(organization(changed)) }))
    }

    async fn delete_organization(
        &self,
        request: Request<wire::DeleteOrganizationRequest>,
    ) -> Result<Response<wire::DeleteOrganizationResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("organization_id", &request.organization_id)?;
        self.service.delete_organization(&caller, id, &request.etag, key.as_deref()).await?;
        Ok(Response::new(wire::DeleteOrganizationResponse {}))
    }

    async fn list_members(
        &self,
        request: Request<wire::ListMembersRequest>,
    ) -> Result<Response<wire::ListMembersResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let named = optional("organization_id", &request.organization_id)?;
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<AccountId>(&caller, LIST_MEMBERS, &named, size, &token)?;
        let mut rows = self.service.members(&caller, named, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_MEMBERS, &named, page.size, &mut rows, |row| row.account);
        Ok(Response::new(wire::ListMembersResponse {
            members: rows.into_iter().map(member).collect(),
            next_page_token: next,
        }))
    }

    async fn invite_member(
        &self,
        request: Request<wire::InviteMemberRequest>,
    ) -> Result<Response<wire::InviteMemberResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let command = InviteMember {
            organization: decode::only_id("organization_id", &request.organization_id)?,
            role: role(request.role),
            email: request.email,
        };
        let sent = self.service.invite_member(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::InviteMemberResponse { invitation: Some(invitation(sent)) }))
    }

    async fn list_invitations(
        &self,
        request: Request<wire::ListInvitationsRequest>,
    ) -> Result<Response<wire::ListInvitationsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let named = optional("organization_id", &request.organization_id)?;
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<InvitationId>(&caller, LIST_INVITATIONS, &named, size, &token)?;
        let mut rows = self.service.invitations(&caller, named, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_INVITATIONS, &named, page.size, &mut rows, |row| row.id);
        Ok(Response::new(wire::ListInvitationsResponse {
            invitations: rows.into_iter().map(invitation).collect(),
            next_page_token: next,
        }))
    }

    async fn revoke_invitation(
        &self,
        request: Request<wire::RevokeInvitationRequest>,
    ) -> Result<Response<wire::RevokeInvitationResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("invitation_id", &request.invitation_id)?;
        self.service.revoke_invitation(&caller, id, key.as_deref()).await?;
        Ok(Response::new(wire::RevokeInvitationResponse {}))
    }

    async fn accept_invitation(
        &self,
        request: Request<wire::AcceptInvitationRequest>,
    ) -> Result<Response<wire::AcceptInvitationResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let token = Secret::new(request.token);
        let joined = self.service.accept_invitation(&caller, &token, key.as_deref()).await?;
        Ok(Response::new(wire::AcceptInvitationResponse { organization: Some(organization(joined)) }))
    }

    async fn update_member_role(
        &self,
        request: Request<wire::UpdateMemberRoleRequest>,
    ) -> Result<Response<wire::UpdateMemberRoleResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let (id, account) = seat(&request.organization_id, &request.account_id)?;
        let wanted = role(request.role);
        let changed = self.service.update_member_role(&caller, id, account, wanted, key.as_deref()).await?;
        Ok(Response::new(wire::UpdateMemberRoleResponse { member: Some(member(changed)) }))
    }

    async fn remove_member(
        &self,
        request: Request<wire::RemoveMemberRequest>,
    ) -> Result<Response<wire::RemoveMemberResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let (id, account) = seat(&request.organization_id, &request.account_id)?;
        self.service.remove_member(&caller, id, account, key.as_deref()).await?;
        Ok(Response::new(wire::RemoveMemberResponse {}))
    }
}

/// An id that may be left empty, of a request that has no other field to check.
pub(super) fn optional(field: &str, text: &str) -> Result<Option<OrganizationId>, Violations> {
    let mut violations = Violations::new();
    let id = decode::optional_id(&mut violations, field, text);
    violations.finish().map(|()| id)
}

/// A member's place: both ids, or all that is wrong with them.
fn seat(organization: &str, account: &str) -> Result<(OrganizationId, AccountId), Violations> {
    let mut violations = Violations::new();
    let organization = decode::id(&mut violations, "organization_id", organization);
    let account = decode::id(&mut violations, "account_id", account);
    violations.finish().map(|()| (organization, account))
}

fn organization(organization: Organization) -> wire::Organization {
    wire::Organization {
        etag: organization.etag(),
        id: organization.id.to_string(),
        name: organization.name,
        personal: organization.personal,
        role: organization_role(organization.role).into(),
        create_time: Some(encode::timestamp(organization.created_at)),
    }
}

fn member(member: Member) -> wire::Member {
    wire::Member {
        account_id: member.account.to_string(),
        email: member.email.as_str().to_owned(),
        display_name: member.display_name,
        role: organization_role(member.role).into(),
        service_account: member.service_account,
        create_time: Some(encode::timestamp(member.created_at)),
    }
}

fn invitation(invitation: Invitation) -> wire::Invitation {
    wire::Invitation {
        id: invitation.id.to_string(),
        organization_id: invitation.organization.to_string(),
        email: invitation.email.as_str().to_owned(),
        role: organization_role(invitation.role).into(),
        invited_by_account_id: invitation.invited_by.to_string(),
        create_time: Some(encode::timestamp(invitation.created_at)),
        expire_time: Some(encode::timestamp(invitation.expires_at)),
    }
}

/// The role that a number stands for; none for none.
pub(super) fn role(number: i32) -> Option<OrganizationRole> {
    match wire::OrganizationRole::try_from(number).ok()? {
        wire::OrganizationRole::Unspecified => None,
        wire::OrganizationRole::Owner => Some(OrganizationRole::Owner),
        wire::OrganizationRole::Admin => Some(OrganizationRole::Admin),
        wire::OrganizationRole::Billing => Some(OrganizationRole::Billing),
        wire::OrganizationRole::Member => Some(OrganizationRole::Member),
    }
}

pub(super) const fn organization_role(role: OrganizationRole) -> wire::OrganizationRole {
    match role {
        OrganizationRole::Owner => wire::OrganizationRole::Owner,
        OrganizationRole::Admin => wire::OrganizationRole::Admin,
        OrganizationRole::Billing => wire::OrganizationRole::Billing,
        OrganizationRole::Member => wire::OrganizationRole::Member,
    }
}
