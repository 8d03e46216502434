//! Reconciliation with the simulator that lies, over real sockets: from checkouts of R5.00 to books that are matched.

use std::time::Duration;

use capecontrol::proto::capecontrol::payments::v1 as wire;
use capecontrol::proto::google::r#type as google;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;
use wire::ReconciliationDifferenceKind as Kind;

use super::payments::{checkout, ledger, payment, press};
use super::simulator::faults;
use crate::support::app::{App, Person};
use crate::support::on_both;

async fn buy(t: &App, person: &Person) -> String {
    let checkout = checkout(person, "live-verification").await;
    press(t, &checkout, &[("simulator_action", "pay")]).await;
    t.run_jobs().await;
    checkout.payment_id
}

async fn run(admin: &Person, key: &str) -> wire::Reconciliation {
    let request = wire::RunReconciliationRequest {
        from_date: "2026-11-20".to_owned(),
        to_date: "2026-11-21".to_owned(),
        request_id: key.to_owned(),
    };
    admin.operations().run_reconciliation(request).await.unwrap().into_inner().reconciliation.unwrap()
}

async fn differences(admin: &Person) -> Vec<(Kind, i64)> {
    let request = wire::ListDifferencesRequest::default();
    let listed = admin.operations().list_differences(request).await.unwrap().into_inner();
    let cents = |money: &Option<google::Money>| {
        let money = money.clone().unwrap();
        money.units * 100 + i64::from(money.nanos) / 10_000_000
    };
    let told = |one: &wire::ReconciliationDifference| {
        (one.kind(), cents(&one.provider_change) - cents(&one.booked_change))
    };
    let mut told: Vec<_> = listed.differences.iter().map(told).collect();
    told.sort();
    told
}

on_both! {
    async fn the_simulators_lies_are_found_to_the_cent(t: App) {
        let (ada, admin) = (t.register("ada@example.com").await, t.admin().await);
        let plan = json!({ "seed": 1, "first": [[], ["never"], ["short"], ["unlisted"], ["twice"]] });
        assert_eq!(faults(&t, "PUT", Some(&plan)).await.0, 200);
        let mut payments = Vec::new();
        for _ in 0..5 {
            payments.push(buy(&t, &ada).await);
        }
        assert_eq!(payment(&ada, &payments[1]).await.unwrap().status(), wire::PaymentStatus::Created);
        t.advance(Duration::from_hours(48));
        let (admin, ada) = (t.refresh(&admin).await, t.refresh(&ada).await);
        let key = "0198c0de-0000-7000-8000-000000000001";
        let first = run(&admin, key).await;
        assert_eq!((first.row_count, first.matched_count, first.repaired_count), (4, 2, 1));
        assert!(first.closed && first.end_time.is_some());
        assert_eq!(payment(&ada, &payments[1]).await.unwrap().status(), wire::PaymentStatus::Succeeded);
        let found = differences(&admin).await;
        assert_eq!(found, [(Kind::MissingPayment, 0), (Kind::ExtraPayment, -489), (Kind::AmountDiffers, 1)]);
        let difference = first.difference.clone().unwrap();
        assert_eq!((difference.units, difference.nanos), (-4, -880_000_000));
        // The same request has the same answer, and another run changes nothing.
        assert_eq!(run(&admin, key).await, first);
        t.advance(Duration::from_secs(1));
        let again = run(&admin, "").await;
        assert_eq!((again.repaired_count, &again.difference), (0, &first.difference));
        assert_eq!(differences(&admin).await, found);
        assert!(ledger(&admin).await.balanced);
        let listed = admin.operations().list_reconciliations(wire::ListReconciliationsRequest::default()).await;
        assert_eq!(listed.unwrap().into_inner().reconciliations, [again, first]);
    }

    async fn checkouts_are_closed_on_all_nodes_and_what_was_paid_is_booked(t: App) {
        let (ada, admin) = (t.register("ada@example.com").await, t.admin().await);
        let other = t.beside().await;
        let started = checkout(&ada, "live-verification").await;
        let set = async |open: bool| {
            let reason = "PayFast is ill".to_owned();
            let request = wire::SetCheckoutSwitchRequest { open, reason, ..Default::default() };
            admin.operations().set_checkout_switch(request).await.unwrap();
        };
        set(false).await;
        for person in [ada.clone(), ada.over(other.channel())] {
            let plan = wire::PlanItem { plan_id: "pro".to_owned(), billing_cycle: wire::BillingCycle::Monthly.into() };
            let item = Some(wire::create_checkout_request::Item::Plan(plan));
            let request = wire::CreateCheckoutRequest { item, ..Default::default() };
            let refused = person.payments().create_checkout(request).await.unwrap_err();
            let reason = refused.get_error_details().error_info().unwrap().reason.clone();
            assert_eq!((refused.code(), reason.as_str()), (Code::FailedPrecondition, "CHECKOUTS_CLOSED"));
        }
        press(&t, &started, &[("simulator_action", "pay")]).await;
        t.run_jobs().await;
        assert_eq!(payment(&ada, &started.payment_id).await.unwrap().status(), wire::PaymentStatus::Succeeded);
        let today = wire::RunReconciliationRequest {
            from_date: "2026-11-20".to_owned(),
            to_date: "2026-11-20".to_owned(),
            ..Default::default()
        };
        let run = admin.operations().run_reconciliation(today).await.unwrap().into_inner().reconciliation.unwrap();
        assert_eq!((run.matched_count, run.open_count), (1, 0));
        set(true).await;
        checkout(&ada.over(other.channel()), "pro").await;
    }
}
