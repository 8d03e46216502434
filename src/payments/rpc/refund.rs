//! Refunds on the wire.

use tonic::{Request, Response, Status};

use crate::base::{Money, Violations, text};
use crate::payments::model::{Refund, RefundDestination, RefundStatus};
use crate::payments::service::{ApproveRefund, Cursor, RefundFilter, RefundPayment, RefundSource};
use crate::proto::capecontrol::payments::v1 as wire;
use crate::rpc::{self, decode, encode};

use super::Rpc;

const LIST_REFUNDS: &str = "payments.ListRefunds";

impl Rpc {
    pub(super) async fn propose_refund(
        &self,
        request: Request<wire::RefundPaymentRequest>,
    ) -> Result<Response<wire::RefundPaymentResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let refund = self.service.refund_payment(&caller, proposal(request)?, key.as_deref()).await?;
        Ok(Response::new(wire::RefundPaymentResponse { refund: Some(answer(refund)) }))
    }

    pub(super) async fn decide_refund(
        &self,
        request: Request<wire::ApproveRefundRequest>,
    ) -> Result<Response<wire::ApproveRefundResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut v = Violations::new();
        let approved = request.decision() == wire::RefundDecision::Approve;
        let decided = approved || request.decision() == wire::RefundDecision::Reject;
        v.check(decided, "decision", "must be to approve or to reject");
        let refund_id = decode::id(&mut v, "refund_id", &request.refund_id);
        v.finish()?;
        let command = ApproveRefund { refund_id, approved, note: request.note };
        let refund = self.service.approve_refund(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::ApproveRefundResponse { refund: Some(answer(refund)) }))
    }

    pub(super) async fn refund(
        &self,
        request: Request<wire::GetRefundRequest>,
    ) -> Result<Response<wire::GetRefundResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = decode::only_id("refund_id", &request.refund_id)?;
        let found = self.service.get_refund(&caller, id).await?;
        Ok(Response::new(wire::GetRefundResponse { refund: Some(answer(found)) }))
    }

    pub(super) async fn refunds(
        &self,
        request: Request<wire::ListRefundsRequest>,
    ) -> Result<Response<wire::ListRefundsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut v = Violations::new();
        let status = wanted_status(&mut v, request.status);
        let payment_id = decode::optional_id(&mut v, "payment_id", &request.payment_id);
        v.finish()?;
        let question = (status, payment_id.map(|id| id.to_string()));
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<Cursor>(&caller, LIST_REFUNDS, &question, size, &token)?;
        let filter = RefundFilter { status, payment_id };
        let mut rows = self.service.list_refunds(&caller, filter, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_REFUNDS, &question, page.size, &mut rows, |row| Cursor {
            at: row.created_at,
            id: row.id.uuid(),
        });
        let refunds = rows.into_iter().map(answer).collect();
        Ok(Response::new(wire::ListRefundsResponse { refunds, next_page_token: next }))
    }
}

fn proposal(request: wire::RefundPaymentRequest) -> Result<RefundPayment, Violations> {
    let mut v = Violations::new();
    let destination = match wire::RefundDestination::try_from(request.destination) {
        Ok(wire::RefundDestination::Unspecified | wire::RefundDestination::Source) => {
            Some(RefundDestination::Source)
        }
        Ok(wire::RefundDestination::Credit) => Some(RefundDestination::Credit),
        Err(_) => None,
    };
    v.check(destination.is_some(), "destination", "must be a known destination");
    v.check(request.source.is_some(), "source", "must name a payment or a notification");
    let source = match request.source {
        Some(wire::refund_payment_request::Source::PaymentId(id)) => {
            text::id(&mut v, "payment_id", &id).map(RefundSource::Payment)
        }
        Some(wire::refund_payment_request::Source::ProviderEventId(id)) => {
            text::id(&mut v, "provider_event_id", &id).map(RefundSource::Event)
        }
        None => None,
    };
    let amount = decode::optional_money(&mut v, "amount", request.amount.as_ref());
    v.check(
        amount.is_none_or(|amount| amount.minor > 0),
        "amount",
        "must be above nothing; leave it out for all",
    );
    match (source, destination) {
        (Some(source), Some(destination)) if v.is_empty() => {
            Ok(RefundPayment { source, amount, reason: request.reason, destination })
        }
        _ => Err(v),
    }
}

fn wanted_status(v: &mut Violations, number: i32) -> Option<RefundStatus> {
    match wire::RefundStatus::try_from(number) {
        Ok(wire::RefundStatus::Unspecified) => None,
        Ok(wire::RefundStatus::Proposed) => Some(RefundStatus::Proposed),
        Ok(wire::RefundStatus::Approved) => Some(RefundStatus::Approved),
        Ok(wire::RefundStatus::Rejected) => Some(RefundStatus::Rejected),
        Ok(wire::RefundStatus::Sent) => Some(RefundStatus::Sent),
        Ok(wire::RefundStatus::Unknown) => Some(RefundStatus::Unknown),
        Ok(wire::RefundStatus::Succeeded) => Some(RefundStatus::Succeeded),
        Ok(wire::RefundStatus::Failed) => Some(RefundStatus::Failed),
        Err(_) => {
            v.add("status", "must be a known status");
            None
        }
    }
}

fn answer(refund: Refund) -> wire::Refund {
    let money = |minor| encode::money(Money::new(minor, refund.currency));
    wire::Refund {
        id: refund.id.to_string(),
        status: status(refund.status).into(),
        detail: refund.detail,
        organization_id: refund.organization_id.map(|id| id.to_string()).unwrap_or_default(),
        payment_id: refund.payment_id.map(|id| id.to_string()).unwrap_or_default(),
        provider_payment_id: refund.provider_payment_id,
        amount: Some(money(refund.amount_minor)),
        fee: refund.fee_minor.map(money),
        reason: refund.reason,
        destination: destination(refund.destination).into(),
        proposer_account_id: refund.maker_id.to_string(),
        approver_account_id: refund.checker_id.map(|id| id.to_string()).unwrap_or_default(),
        note: refund.note,
        test: refund.test,
        create_time: Some(encode::timestamp(refund.created_at)),
        decide_time: refund.decided_at.map(encode::timestamp),
        send_time: refund.sent_at.map(encode::timestamp),
        settle_time: refund.settled_at.map(encode::timestamp),
    }
}

fn status(status: RefundStatus) -> wire::RefundStatus {
    match status {
        RefundStatus::Proposed => wire::RefundStatus::Proposed,
        RefundStatus::Approved => wire::RefundStatus::Approved,
        RefundStatus::Rejected => wire::RefundStatus::Rejected,
        RefundStatus::Sent => wire::RefundStatus::Sent,
        RefundStatus::Unknown => wire::RefundStatus::Unknown,
        RefundStatus::Succeeded => wire::RefundStatus::Succeeded,
        RefundStatus::Failed => wire::RefundStatus::Failed,
    }
}

fn destination(destination: RefundDestination) -> wire::RefundDestination {
    match destination {
        RefundDestination::Source => wire::RefundDestination::Source,
        RefundDestination::Credit => wire::RefundDestination::Credit,
    }
}
