//! The wire of how long an organisation keeps what is said.

use tonic::{Request, Response, Status};

use super::Rpc;
use crate::auth::model::etag;
use crate::base::Violations;
use crate::chat::model::plan::Allowed;
use crate::chat::model::policy::PolicyChange;
use crate::chat::service::{PolicyOf, UpdateChatPolicy};
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::{self, decode as read};

impl Rpc {
    pub(super) async fn policy(
        &self,
        request: Request<wire::GetChatPolicyRequest>,
    ) -> Result<Response<wire::GetChatPolicyResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let organization_id = read::optional_id(&mut violations, "organization_id", &request.organization_id);
        violations.finish()?;
        let policy = self.service.chat_policy(&caller, organization_id).await?;
        let allowed = self.service.chat_limits(&caller, organization_id).await?;
        let (policy, limits) = (Some(self::policy(policy)), Some(limits(allowed)));
        Ok(Response::new(wire::GetChatPolicyResponse { policy, limits }))
    }

    pub(super) async fn change_policy(
        &self,
        request: Request<wire::UpdateChatPolicyRequest>,
    ) -> Result<Response<wire::UpdateChatPolicyResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let command = command(&mut violations, request);
        violations.finish()?;
        let policy = self.service.update_chat_policy(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::UpdateChatPolicyResponse { policy: Some(self::policy(policy)) }))
    }
}

/// What is to change: what the mask names, or what is filled in.
fn command(violations: &mut Violations, request: wire::UpdateChatPolicyRequest) -> UpdateChatPolicy {
    let organization_id = read::optional_id(violations, "organization_id", &request.organization_id);
    let policy = request.policy.unwrap_or_default();
    let mut paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        let filled = [
            ("retention_days", policy.retention_days != 0),
            ("legal_hold_reason", !policy.legal_hold_reason.is_empty()),
        ];
        paths.extend(filled.into_iter().filter(|(_, filled)| *filled).map(|(path, _)| path.to_owned()));
    }
    let mut change = PolicyChange::default();
    for path in paths {
        match path.as_str() {
            "retention_days" => change.keep(violations, "policy.retention_days", policy.retention_days),
            "legal_hold_reason" => {
                change.hold(violations, "policy.legal_hold_reason", &policy.legal_hold_reason);
            }
            _ => {
                let path: String = path.chars().take(64).collect();
                violations
                    .add("update_mask", format!("names `{path}`, which is not a field that can be changed"));
            }
        }
    }
    UpdateChatPolicy { organization_id, change, etag: request.etag }
}

fn limits(allowed: Allowed) -> wire::ChatLimits {
    wire::ChatLimits {
        plan_id: allowed.plan_id,
        thread_members_max: i32::try_from(allowed.members_max).unwrap_or(i32::MAX),
        open_threads_max: i32::try_from(allowed.threads_max).unwrap_or(i32::MAX),
        file_bytes_max: allowed.files.file_bytes_max,
        stored_bytes_max: allowed.files.stored_bytes_max,
    }
}

fn policy(of: PolicyOf) -> wire::ChatPolicy {
    let PolicyOf { organization_id, policy } = of;
    wire::ChatPolicy {
        organization_id: organization_id.to_string(),
        retention_days: i32::try_from(policy.retention_days.unwrap_or(0)).unwrap_or(i32::MAX),
        legal_hold: policy.is_held(),
        legal_hold_reason: policy.hold_reason.unwrap_or_default(),
        etag: etag(policy.version),
    }
}
