//! The wire of reconciliation and of the switch of checkouts.

use tonic::{Request, Response, Status};

use super::{Cursor, Rpc};
use crate::base::{Money, Violations};
use crate::payments::model::reconciliation::{
    Chargeback, Difference, DifferenceKind, DifferenceState, Reconciliation,
};
use crate::payments::service::Reconcile;
use crate::proto::capecontrol::payments::v1 as wire;
use crate::rpc::{self, decode, encode};

const LIST_RUNS: &str = "payments.ListReconciliations";
const LIST_DIFFERENCES: &str = "payments.ListDifferences";

impl Rpc {
    pub(super) async fn reconcile(
        &self,
        request: Request<wire::RunReconciliationRequest>,
    ) -> Result<Response<wire::RunReconciliationResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let days = Reconcile { from: request.from_date, to: request.to_date };
        let run = self.service.run_reconciliation(&caller, &days, key.as_deref()).await?;
        Ok(Response::new(wire::RunReconciliationResponse { reconciliation: Some(told(run)) }))
    }

    pub(super) async fn runs(
        &self,
        request: Request<wire::ListReconciliationsRequest>,
    ) -> Result<Response<wire::ListReconciliationsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<Cursor>(&caller, LIST_RUNS, &(), size, &token)?;
        let mut rows = self.service.list_reconciliations(&caller, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_RUNS, &(), page.size, &mut rows, |row| Cursor {
            at: row.started_at,
            id: row.id.uuid(),
        });
        let reconciliations = rows.into_iter().map(told).collect();
        Ok(Response::new(wire::ListReconciliationsResponse { reconciliations, next_page_token: next }))
    }

    pub(super) async fn differences(
        &self,
        request: Request<wire::ListDifferencesRequest>,
    ) -> Result<Response<wire::ListDifferencesResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let state = state(request.state)?;
        let question = state.map(DifferenceState::as_str);
        let (size, token) = (request.page_size, request.page_token);
        let page = self.pages.open::<Cursor>(&caller, LIST_DIFFERENCES, &question, size, &token)?;
        let mut rows = self.service.list_differences(&caller, state, page.after, page.probe()).await?;
        let next = self.pages.cut(&caller, LIST_DIFFERENCES, &question, page.size, &mut rows, |row| Cursor {
            at: row.created_at,
            id: row.id.uuid(),
        });
        let differences = rows.into_iter().map(difference).collect();
        Ok(Response::new(wire::ListDifferencesResponse { differences, next_page_token: next }))
    }

    pub(super) async fn explain(
        &self,
        request: Request<wire::ExplainDifferenceRequest>,
    ) -> Result<Response<wire::ExplainDifferenceResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let id = decode::only_id("difference_id", &request.difference_id)?;
        let explanation = &request.explanation;
        let explained = self.service.explain_difference(&caller, id, explanation, key.as_deref()).await?;
        let difference = Some(difference(explained));
        Ok(Response::new(wire::ExplainDifferenceResponse { difference }))
    }

    pub(super) async fn switch(
        &self,
        request: Request<wire::SetCheckoutSwitchRequest>,
    ) -> Result<Response<wire::SetCheckoutSwitchResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let (open, reason) = (request.open, &request.reason);
        let switch = self.service.set_checkout_switch(&caller, open, reason, key.as_deref()).await?;
        Ok(Response::new(wire::SetCheckoutSwitchResponse {
            open: switch.open,
            reason: switch.reason,
            change_time: Some(encode::timestamp(switch.changed_at)),
        }))
    }
}

fn state(number: i32) -> Result<Option<DifferenceState>, Violations> {
    match wire::ReconciliationDifferenceState::try_from(number) {
        Ok(wire::ReconciliationDifferenceState::Unspecified) => Ok(None),
        Ok(wire::ReconciliationDifferenceState::Open) => Ok(Some(DifferenceState::Open)),
        Ok(wire::ReconciliationDifferenceState::Repaired) => Ok(Some(DifferenceState::Repaired)),
        Ok(wire::ReconciliationDifferenceState::Explained) => Ok(Some(DifferenceState::Explained)),
        Err(_) => Err(Violations::one("state", "must be a known state")),
    }
}

fn told(run: Reconciliation) -> wire::Reconciliation {
    let money = |minor| Some(encode::money(Money::new(minor, run.currency)));
    wire::Reconciliation {
        id: run.id.to_string(),
        provider: run.provider.as_str().to_owned(),
        origin: run.origin.as_str().to_owned(),
        closed: run.closed,
        row_count: run.row_count,
        matched_count: run.matched_count,
        repaired_count: run.repaired_count,
        open_count: run.open_count,
        provider_change: money(run.provider_change_minor),
        booked_change: money(run.booked_change_minor),
        difference: money(run.difference_minor()),
        start_time: Some(encode::timestamp(run.started_at)),
        end_time: run.finished_at.map(encode::timestamp),
        from_date: run.from_day,
        to_date: run.to_day,
    }
}

fn difference(found: Difference) -> wire::ReconciliationDifference {
    let money = |minor| Some(encode::money(Money::new(minor, found.currency)));
    wire::ReconciliationDifference {
        id: found.id.to_string(),
        reconciliation_id: found.reconciliation_id.to_string(),
        kind: kind(found.kind).into(),
        state: match found.state {
            DifferenceState::Open => wire::ReconciliationDifferenceState::Open,
            DifferenceState::Repaired => wire::ReconciliationDifferenceState::Repaired,
            DifferenceState::Explained => wire::ReconciliationDifferenceState::Explained,
        }
        .into(),
        provider_change: money(found.provider_minor),
        booked_change: money(found.booked_minor),
        provider_event_id: found.event_id.map(|id| id.to_string()).unwrap_or_default(),
        occur_time: Some(encode::timestamp(found.occurred_at)),
        create_time: Some(encode::timestamp(found.created_at)),
        decide_time: found.decided_at.map(encode::timestamp),
        subject: found.subject,
        detail: found.detail,
        explanation: found.explanation,
    }
}

const fn kind(kind: DifferenceKind) -> wire::ReconciliationDifferenceKind {
    use wire::ReconciliationDifferenceKind as Wire;
    match kind {
        DifferenceKind::MissingPayment => Wire::MissingPayment,
        DifferenceKind::MissingRefund => Wire::MissingRefund,
        DifferenceKind::MissingPayout => Wire::MissingPayout,
        DifferenceKind::MissingCharge => Wire::MissingCharge,
        DifferenceKind::MissingChargeback => Wire::MissingChargeback,
        DifferenceKind::ExtraPayment => Wire::ExtraPayment,
        DifferenceKind::ExtraRefund => Wire::ExtraRefund,
        DifferenceKind::AmountDiffers => Wire::AmountDiffers,
        DifferenceKind::FeeDiffers => Wire::FeeDiffers,
        DifferenceKind::UnknownRow => Wire::UnknownRow,
        DifferenceKind::BrokenBalance => Wire::BrokenBalance,
    }
}

/// A chargeback, as the payment shows it.
pub(super) fn chargeback(chargeback: Chargeback) -> wire::Chargeback {
    wire::Chargeback {
        id: chargeback.id.to_string(),
        state: chargeback.state.as_str().to_owned(),
        amount: Some(encode::money(Money::new(chargeback.amount_minor, chargeback.currency))),
        occur_time: Some(encode::timestamp(chargeback.occurred_at)),
    }
}
