//! The wire of blocks and reports.

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::base::{AccountId, Violations};
use crate::chat::error::Error;
use crate::chat::model::conduct::{Block, Complaint, ReportReason};
use crate::proto::capecontrol::chat::v1 as wire;
use crate::rpc::encode::timestamp;
use crate::rpc::{self, decode as read};

const LIST_BLOCKED: &str = "chat.ListBlockedAccounts";

impl Rpc {
    pub(super) async fn block(
        &self,
        request: Request<wire::BlockAccountRequest>,
    ) -> Result<Response<wire::BlockAccountResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let account_id = read::only_id("account_id", &request.account_id)?;
        let block = self.service.block_account(&caller, account_id, key.as_deref()).await?;
        Ok(Response::new(wire::BlockAccountResponse { blocked_account: Some(blocked(block)) }))
    }

    pub(super) async fn unblock(
        &self,
        request: Request<wire::UnblockAccountRequest>,
    ) -> Result<Response<wire::UnblockAccountResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let account_id = read::only_id("account_id", &request.account_id)?;
        self.service.unblock_account(&caller, account_id, key.as_deref()).await?;
        Ok(Response::new(wire::UnblockAccountResponse {}))
    }

    pub(super) async fn blocked(
        &self,
        request: Request<wire::ListBlockedAccountsRequest>,
    ) -> Result<Response<wire::ListBlockedAccountsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.pages.open::<AccountId>(&caller, LIST_BLOCKED, &(), size, token)?;
        let after = page.after.unwrap_or(AccountId::from_uuid(Uuid::nil()));
        let mut blocks = self.service.blocked_accounts(&caller, after, page.probe()).await?;
        let place = |block: &Block| block.account_id;
        let next_page_token = self.pages.cut(&caller, LIST_BLOCKED, &(), page.size, &mut blocks, place);
        let blocked_accounts = blocks.into_iter().map(blocked).collect();
        Ok(Response::new(wire::ListBlockedAccountsResponse { blocked_accounts, next_page_token }))
    }

    pub(super) async fn report(
        &self,
        request: Request<wire::ReportMessageRequest>,
    ) -> Result<Response<wire::ReportMessageResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let reason = reason(request.reason);
        let complaint = Complaint::parse(&mut violations, &request.message_id, reason, &request.comment);
        violations.finish()?;
        let Some(complaint) = complaint else { return Err(Error::Broken(None).into()) };
        let reported = self.service.report_message(&caller, complaint, key.as_deref()).await?;
        Ok(Response::new(wire::ReportMessageResponse {
            report_id: reported.id.to_string(),
            create_time: Some(timestamp(reported.at)),
        }))
    }
}

fn blocked(block: Block) -> wire::BlockedAccount {
    wire::BlockedAccount {
        account_id: block.account_id.to_string(),
        block_time: Some(timestamp(block.created_at)),
    }
}

/// What is wrong with a message; none when it is not said, or not known here.
fn reason(reason: i32) -> Option<ReportReason> {
    match wire::ReportReason::try_from(reason).ok()? {
        wire::ReportReason::Unspecified => None,
        wire::ReportReason::Spam => Some(ReportReason::Spam),
        wire::ReportReason::Harassment => Some(ReportReason::Harassment),
        wire::ReportReason::Hate => Some(ReportReason::Hate),
        wire::ReportReason::Violence => Some(ReportReason::Violence),
        wire::ReportReason::Sexual => Some(ReportReason::Sexual),
        wire::ReportReason::Illegal => Some(ReportReason::Illegal),
        wire::ReportReason::Other => Some(ReportReason::Other),
    }
}
