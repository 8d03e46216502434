//! Money goes back through the front door: two administrators, the simulator's API, and a customer who sees it.

use std::time::Duration;

use capecontrol::auth::Role;
use capecontrol::db::{Conn as _, Scope};
use capecontrol::proto::capecontrol::payments::v1 as wire;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::refund_payment_request::Source;

use super::payments::{checkout, ledger, payment, press};
use crate::support::app::{App, PASSWORD, Person};
use crate::support::on_both;

/// Another administrator of the platform.
async fn second(t: &App) -> Person {
    let person = t.register("second@example.com").await;
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let update = tx.shared_sql("UPDATE accounts SET role = $1 WHERE id = $2").bind(Role::Admin);
    assert_eq!(update.bind(person.account_id).execute().await.unwrap(), 1);
    tx.commit().await.unwrap();
    t.sign_in(&person.email, PASSWORD).await
}

fn propose(payment_id: &str) -> wire::RefundPaymentRequest {
    wire::RefundPaymentRequest {
        source: Some(Source::PaymentId(payment_id.to_owned())),
        reason: "bought by mistake".to_owned(),
        ..Default::default()
    }
}

fn approve(refund: &wire::Refund) -> wire::ApproveRefundRequest {
    wire::ApproveRefundRequest {
        refund_id: refund.id.clone(),
        decision: wire::RefundDecision::Approve.into(),
        ..Default::default()
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

on_both! {
    async fn a_payment_goes_back_by_the_word_of_two(t: App) {
        let ada = t.register("ada@example.com").await;
        let (first, second) = (t.admin().await, second(&t).await);
        let sold = checkout(&ada, "pro").await;
        press(&t, &sold, &[("simulator_action", "pay")]).await;
        t.run_jobs().await;
        t.advance(Duration::from_secs(5));
        let proposed = first.payments().refund_payment(propose(&sold.payment_id)).await.unwrap();
        let proposed = proposed.into_inner().refund.unwrap();
        assert_eq!(proposed.status(), wire::RefundStatus::Proposed);
        let alone = first.payments().approve_refund(approve(&proposed)).await.unwrap_err();
        assert_eq!((alone.code(), reason(&alone).as_str()), (Code::FailedPrecondition, "SECOND_PERSON_REQUIRED"));
        let customer = ada.payments().refund_payment(propose(&sold.payment_id)).await.unwrap_err();
        assert_eq!(customer.code(), Code::PermissionDenied);
        let approved = second.payments().approve_refund(approve(&proposed)).await.unwrap().into_inner();
        assert_eq!(approved.refund.unwrap().status(), wire::RefundStatus::Approved);
        let pending = payment(&ada, &sold.payment_id).await.unwrap().refund_pending.unwrap();
        assert_eq!((pending.units, pending.currency_code.as_str()), (529, "ZAR"));
        t.run_jobs().await;
        let found = first.payments().get_refund(wire::GetRefundRequest { refund_id: proposed.id.clone() }).await;
        let found = found.unwrap().into_inner().refund.unwrap();
        assert_eq!(found.status(), wire::RefundStatus::Succeeded, "{found:?}");
        let seen = payment(&ada, &sold.payment_id).await.unwrap();
        assert_eq!((seen.refunded.unwrap().units, seen.refund_pending.unwrap().units), (529, 0));
        let plan = ada.subscriptions().get_subscription(wire::GetSubscriptionRequest::default()).await.unwrap();
        assert_eq!(plan.into_inner().subscription.unwrap().plan.unwrap().id, "free");
        // The fee, from the simulator's history.
        t.advance(Duration::from_secs(1));
        let days = wire::RunReconciliationRequest {
            from_date: "2026-11-20".to_owned(),
            to_date: "2026-11-20".to_owned(),
            request_id: String::new(),
        };
        let run = first.operations().run_reconciliation(days).await.unwrap().into_inner();
        let run = run.reconciliation.unwrap();
        assert_eq!((run.matched_count, run.repaired_count, run.open_count), (1, 1, 0), "{run:?}");
        let listed = wire::ListRefundsRequest { payment_id: sold.payment_id.clone(), ..Default::default() };
        let listed = second.payments().list_refunds(listed).await.unwrap().into_inner().refunds;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].fee.as_ref().map(|fee| (fee.units, fee.nanos)), Some((2, 300_000_000)));
        assert!(ledger(&first).await.balanced);
        let status = first.operations().get_provider_status(wire::GetProviderStatusRequest {}).await.unwrap();
        let status = status.into_inner();
        assert_eq!((status.mode.as_str(), status.api_circuit()), ("simulator", wire::CircuitState::Closed));
        let mut asked: Vec<_> = status.last_answers.iter().map(|answer| answer.endpoint.as_str()).collect();
        // The newest first; the other two were asked at the same time of the test's clock.
        assert_eq!(asked.remove(0), "history");
        asked.sort_unstable();
        assert_eq!(asked, ["refund", "refund_terms"]);
        assert_eq!((status.unknown_refund_count, status.proposed_refund_count, status.alarms.len()), (0, 0, 0));
    }
}
