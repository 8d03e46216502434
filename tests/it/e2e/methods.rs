//! Stored cards through the front door: a browser that leaves its card with the simulator, and charges over sockets
//! that are answered, not answered, or answered with nonsense.

use std::time::Duration;

use capecontrol::proto::capecontrol::payments::v1 as wire;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::create_checkout_request::Item;

use super::payments::{ledger, payment, post_itn, press};
use super::provider_api::{Impatient, meet};
use crate::support::app::{App, Person};
use crate::support::on_both;

async fn begin(person: &Person, name: &str) -> wire::CreatePaymentMethodResponse {
    let request = wire::CreatePaymentMethodRequest { display_name: name.to_owned(), ..Default::default() };
    person.payments().create_payment_method(request).await.unwrap().into_inner()
}

/// Leaves a card with the simulator, and tells the id of what the platform has of it.
async fn store(t: &App, person: &Person, name: &str) -> String {
    let begun = begin(person, name).await;
    let form = wire::CreateCheckoutResponse {
        action_url: begun.action_url,
        fields: begun.fields,
        ..Default::default()
    };
    press(t, &form, &[("simulator_action", "pay")]).await;
    t.run_jobs().await;
    begun.payment_method.unwrap().id
}

async fn list(person: &Person) -> Vec<wire::PaymentMethod> {
    let request = wire::ListPaymentMethodsRequest::default();
    person.payments().list_payment_methods(request).await.unwrap().into_inner().payment_methods
}

async fn buy(person: &Person, method: &str) -> Result<wire::CreateCheckoutResponse, Status> {
    let plan =
        wire::PlanItem { plan_id: "pro".to_owned(), billing_cycle: wire::BillingCycle::Monthly.into() };
    let request = wire::CreateCheckoutRequest {
        item: Some(Item::Plan(plan)),
        payment_method_id: method.to_owned(),
        ..Default::default()
    };
    person.payments().create_checkout(request).await.map(tonic::Response::into_inner)
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

on_both! {
    async fn a_card_is_stored_on_the_hosted_page_and_pays(t: App) {
        let ada = t.register("ada@example.com").await;
        let first = store(&t, &ada, "Company card").await;
        let second = store(&t, &ada, "").await;
        let listed = list(&ada).await;
        assert!(listed.iter().all(|method| method.status() == wire::PaymentMethodStatus::Active && method.test));
        let find = |id: &str| listed.iter().find(|method| method.id == id).unwrap();
        assert!(find(&first).is_default && !find(&second).is_default && find(&second).activate_time.is_some());

        let change = wire::UpdatePaymentMethodRequest {
            payment_method_id: second.clone(),
            payment_method: Some(wire::PaymentMethod {
                display_name: "Own card".to_owned(),
                is_default: true,
                expiry: Some(wire::CardExpiry { year: 2030, month: 4 }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let changed = ada.payments().update_payment_method(change.clone()).await.unwrap().into_inner();
        let changed = changed.payment_method.unwrap();
        assert_eq!((changed.display_name.as_str(), changed.is_default), ("Own card", true));
        assert_eq!(changed.expiry, Some(wire::CardExpiry { year: 2030, month: 4 }));
        assert_eq!(list(&ada).await.iter().filter(|method| method.is_default).count(), 1);
        let eve = t.register("eve@example.com").await;
        let refused = eve.payments().update_payment_method(change).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "NOT_FOUND"));
        assert_eq!(buy(&eve, &second).await.unwrap_err().code(), Code::NotFound);

        let sold = buy(&ada, &second).await.unwrap();
        assert!(sold.action_url.is_empty() && sold.fields.is_empty());
        let waiting = payment(&ada, &sold.payment_id).await.unwrap();
        assert_eq!(waiting.status(), wire::PaymentStatus::Pending);
        t.run_jobs().await;
        t.run_jobs().await;
        let paid = payment(&ada, &sold.payment_id).await.unwrap();
        assert_eq!(paid.status(), wire::PaymentStatus::Succeeded);
        assert!(paid.fee.is_some() && !paid.provider_payment_id.is_empty());

        let remove = wire::DeletePaymentMethodRequest { payment_method_id: first.clone(), ..Default::default() };
        ada.payments().delete_payment_method(remove).await.unwrap();
        assert_eq!(list(&ada).await.len(), 1);
        assert_eq!(buy(&ada, &first).await.unwrap_err().code(), Code::NotFound);
        t.run_jobs().await;
        t.run_jobs().await;
        let admin = t.admin().await;
        assert!(ledger(&admin).await.balanced);
        let status = admin.operations().get_provider_status(wire::GetProviderStatusRequest {}).await.unwrap();
        let status = status.into_inner();
        assert!(status.alarms.is_empty(), "{:?}", status.alarms);
        assert!(status.last_answers.iter().any(|answer| answer.endpoint == "cancel"));
    }

    async fn charges_that_are_not_answered_are_booked_once_or_not_at_all(t: Impatient) {
        let t = t.0;
        let ada = t.register("ada@example.com").await;
        let method = store(&t, &ada, "Company card").await;
        let faults = json!([["api_slow"], ["api_error"], ["api_garbled"], ["declined"], ["api_lost"]]);
        meet(&t, faults).await;
        use wire::PaymentStatus::{Failed, Pending, Succeeded};
        for (fault, at_once) in [
            ("slow", Succeeded),
            ("error", Succeeded),
            ("garbled", Succeeded),
            ("declined", Failed),
            ("lost", Pending),
        ] {
            let sold = buy(&ada, &method).await.unwrap();
            t.run_jobs().await;
            t.run_jobs().await;
            assert_eq!(payment(&ada, &sold.payment_id).await.unwrap().status(), at_once, "{fault}");
            if at_once == Pending {
                // A day later it is known that the card was not charged.
                for wait in [Duration::from_mins(6), Duration::from_mins(61), Duration::from_hours(25)] {
                    t.advance(wait);
                    t.run_jobs().await;
                }
                let ada = t.refresh(&ada).await;
                assert_eq!(payment(&ada, &sold.payment_id).await.unwrap().status(), Failed, "{fault}");
            }
        }
        let admin = t.admin().await;
        assert!(ledger(&admin).await.balanced);
        // Three sales, of an invoice and its payment each: nothing was charged twice, and nothing booked twice.
        let ada = t.refresh(&ada).await;
        let booked = wire::ListTransactionsRequest { page_size: 50, ..Default::default() };
        let booked = ada.payments().list_transactions(booked).await.unwrap().into_inner().transactions;
        let settled =
            booked.iter().filter(|one| one.kind() == wire::TransactionKind::Settlement).count();
        assert_eq!((settled, booked.len()), (3, 6));
    }

    async fn a_card_number_is_refused_and_not_repeated(t: App) {
        let ada = t.register("ada@example.com").await;
        let number = "4111 1111 1111 1111";
        let request = wire::CreatePaymentMethodRequest { display_name: number.to_owned(), ..Default::default() };
        let refused = ada.payments().create_payment_method(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = refused.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "display_name");
        assert!(!format!("{refused:?}").contains("1111"));
        // A notification that is not signed stores nothing.
        let begun = begin(&ada, "Company card").await.payment_method.unwrap();
        let forged = format!(
            "m_payment_id={}&pf_payment_id=1&payment_status=COMPLETE&amount_gross=0.00&merchant_id=10000100&token=\
             dc0521d3-55fe-269b-fa00-000000000001&signature=00000000000000000000000000000000",
            begun.id
        );
        assert_eq!(post_itn(&t, forged.into_bytes()).await.0, 200);
        t.run_jobs().await;
        assert_eq!(list(&ada).await[0].status(), wire::PaymentMethodStatus::Pending);
    }
}
