//! Payments through the front door: a browser that pays on the simulator's page, PayFast's notifications over HTTP, and
//! callers who try what they should not.

use std::collections::BTreeMap;
use std::time::Duration;

use capecontrol::payments::payfast::itn::{Itn, signed_body};
use capecontrol::payments::{Options, store};
use capecontrol::proto::capecontrol::payments::v1 as wire;
use ed25519_dalek::{Signature, VerifyingKey};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::create_checkout_request::Item;
use wire::subscription_service_client::SubscriptionServiceClient;

use crate::support::app::{App, Person};
use crate::support::on_both;

/// The transactions of one sale: an invoice was issued, and paid.
const SOLD: i64 = 2;

fn wish(plan_id: &str, cycle: wire::BillingCycle) -> wire::CreateCheckoutRequest {
    let plan = wire::PlanItem { plan_id: plan_id.to_owned(), billing_cycle: cycle.into() };
    wire::CreateCheckoutRequest { item: Some(Item::Plan(plan)), ..wire::CreateCheckoutRequest::default() }
}

pub async fn checkout(person: &Person, plan_id: &str) -> wire::CreateCheckoutResponse {
    let request = wish(plan_id, wire::BillingCycle::Monthly);
    person.payments().create_checkout(request).await.unwrap().into_inner()
}

pub async fn payment(person: &Person, payment_id: &str) -> Result<wire::Payment, Status> {
    let request = wire::GetPaymentRequest { payment_id: payment_id.to_owned() };
    person.payments().get_payment(request).await.map(|answer| answer.into_inner().payment.unwrap())
}

async fn subscription(person: &Person) -> wire::Subscription {
    let request = wire::GetSubscriptionRequest::default();
    person.subscriptions().get_subscription(request).await.unwrap().into_inner().subscription.unwrap()
}

pub async fn events(admin: &Person) -> Vec<wire::ProviderEvent> {
    let request = wire::ListProviderEventsRequest::default();
    admin.operations().list_provider_events(request).await.unwrap().into_inner().provider_events
}

pub async fn ledger(admin: &Person) -> wire::VerifyLedgerResponse {
    admin.operations().verify_ledger(wire::VerifyLedgerRequest::default()).await.unwrap().into_inner()
}

/// Encodes a form as a browser does.
fn form(pairs: &[(String, String)]) -> String {
    let encoded = |text: &str| capecontrol::payments::payfast::encode::encode(text.as_bytes());
    let parts: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    parts.join("&")
}

/// What a browser that follows no redirect gets.
pub async fn submit(t: &App, url: &str, pairs: &[(String, String)]) -> (u16, String, String) {
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request =
        client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form(pairs));
    let answer = request.send().await.unwrap();
    assert!(url.starts_with(&t.url), "{url}");
    let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), location.unwrap_or_default(), answer.text().await.unwrap())
}

pub fn posted(checkout: &wire::CreateCheckoutResponse) -> Vec<(String, String)> {
    checkout.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
}

/// The hidden fields and the address of the form on a page.
fn read_page(html: &str) -> (String, Vec<(String, String)>) {
    let between = |text: &str, before: &str| -> String {
        text.split_once(before)
            .unwrap()
            .1
            .split_once('"')
            .unwrap()
            .0
            .replace("&#39;", "'")
            .replace("&amp;", "&")
    };
    let inputs = html.split(r#"<input type="hidden" "#).skip(1);
    let fields = inputs.map(|input| (between(input, r#"name=""#), between(input, r#"value=""#)));
    (between(html, r#"action=""#), fields.collect())
}

/// Opens the page for a checkout and presses a button, with what the page can be asked for.
pub async fn press(t: &App, checkout: &wire::CreateCheckoutResponse, controls: &[(&str, &str)]) -> String {
    let (status, _, html) = submit(t, &checkout.action_url, &posted(checkout)).await;
    assert_eq!(status, 200, "{html}");
    assert!(html.contains("TEST"));
    let (action, mut fields) = read_page(&html);
    fields.extend(controls.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let (status, location, html) = submit(t, &action, &fields).await;
    assert_eq!(status, 303, "{html}");
    location
}

/// A genuine notification that PayFast might send.
fn itn(payment_id: &str, provider_id: &str, status: &str, amount: &str) -> Vec<u8> {
    let options = Options::default();
    let pairs = [
        ("m_payment_id", payment_id),
        ("pf_payment_id", provider_id),
        ("payment_status", status),
        ("item_name", "CapeControl Pro"),
        ("amount_gross", amount),
        ("amount_fee", "-2.30"),
        ("name_last", ""),
        ("merchant_id", options.merchant_id.as_str()),
    ];
    signed_body(&pairs, options.passphrase())
}

pub async fn post_itn(t: &App, body: Vec<u8>) -> (u16, String) {
    let answer = t.http.post(format!("{}/payfast/itn", t.url)).body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

on_both! {
    async fn a_person_buys_pro_on_the_hosted_page(t: App) {
        let ada = t.register("ada@example.com").await;
        let mut anybody = SubscriptionServiceClient::new(t.channel());
        let plans = anybody.list_plans(wire::ListPlansRequest::default()).await.unwrap().into_inner().plans;
        let prices: BTreeMap<_, _> = plans
            .iter()
            .map(|plan| (plan.id.as_str(), plan.monthly_price.as_ref().unwrap().units))
            .collect();
        assert_eq!(prices, BTreeMap::from([("free", 0), ("pro", 529), ("enterprise", 1_799)]));
        assert_eq!(subscription(&ada).await.plan.unwrap().id, "free");

        let checkout = checkout(&ada, "pro").await;
        let names: Vec<_> = checkout.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names.first(), Some(&"merchant_id"));
        assert_eq!(names.last(), Some(&"signature"));
        let destination = press(&t, &checkout, &[("simulator_action", "pay")]).await;
        assert_eq!(destination, format!("{}/", t.url));
        assert_eq!(payment(&ada, &checkout.payment_id).await.unwrap().status(), wire::PaymentStatus::Created);
        t.run_jobs().await;

        let paid = payment(&ada, &checkout.payment_id).await.unwrap();
        assert_eq!(paid.status(), wire::PaymentStatus::Succeeded);
        assert!(paid.test);
        let request = wire::GetInvoiceRequest { invoice_id: checkout.invoice_id.clone() };
        let invoice = ada.invoices().get_invoice(request).await.unwrap().into_inner().invoice.unwrap();
        assert_eq!((invoice.status(), invoice.number.as_str()), (wire::InvoiceStatus::Paid, "TEST-000001"));
        assert_eq!((invoice.tax.unwrap().units, invoice.tax_rate_percent.as_str()), (69, "15.00"));
        assert_eq!(invoice.supplier.unwrap().vat_number, "4270105119");
        let now = subscription(&ada).await;
        assert_eq!(now.billing_cycle(), wire::BillingCycle::Monthly);
        assert_eq!(now.status(), wire::SubscriptionStatus::Active);
        assert_eq!(now.plan.unwrap().id, "pro");
        let (start, end) = (now.current_period_start_time.unwrap(), now.current_period_end_time.unwrap());
        assert_eq!((end.seconds - start.seconds) / 86_400, 30);
        let list = ada.invoices().list_invoices(wire::ListInvoicesRequest::default()).await.unwrap().into_inner();
        assert_eq!((list.invoices.len(), list.invoices[0].lines.len()), (1, 1));

        let admin = t.admin().await;
        let events = events(&admin).await;
        assert_eq!((events.len(), events[0].status()), (1, wire::ProviderEventStatus::Applied));
        assert_eq!((&events[0].payment_id, events[0].peer.as_str()), (&checkout.payment_id, "127.0.0.1"));
        let report = ledger(&admin).await;
        assert!(report.balanced, "{report:?}");
        assert_eq!((report.transaction_count, report.entry_count), (SOLD, 6));
    }

    async fn doubled_and_late_notifications_have_one_effect(t: App) {
        let ada = t.register("ada@example.com").await;
        let checkout = checkout(&ada, "pro").await;
        let controls = [("simulator_action", "pay"), ("simulator_deliveries", "3"), ("simulator_delay_seconds", "300")];
        press(&t, &checkout, &controls).await;
        t.run_jobs().await;
        assert_eq!(payment(&ada, &checkout.payment_id).await.unwrap().status(), wire::PaymentStatus::Created);
        t.advance(Duration::from_secs(301));
        t.run_jobs().await;
        assert_eq!(payment(&ada, &checkout.payment_id).await.unwrap().status(), wire::PaymentStatus::Succeeded);
        let admin = t.admin().await;
        let events = events(&admin).await;
        assert_eq!((events.len(), events[0].deliveries), (1, 3));
        assert_eq!(ledger(&admin).await.transaction_count, SOLD);
    }

    async fn a_buyer_who_turns_back_pays_nothing(t: App) {
        let ada = t.register("ada@example.com").await;
        let request = wire::CreateCheckoutRequest {
            cancel_url: "https://app.example.com/back?from=payfast".to_owned(),
            ..wish("pro", wire::BillingCycle::Yearly)
        };
        let checkout = ada.payments().create_checkout(request).await.unwrap().into_inner();
        let destination = press(&t, &checkout, &[("simulator_action", "cancel")]).await;
        assert_eq!(destination, "https://app.example.com/back?from=payfast");
        t.run_jobs().await;
        assert_eq!(payment(&ada, &checkout.payment_id).await.unwrap().status(), wire::PaymentStatus::Created);
        assert!(events(&t.admin().await).await.is_empty());
    }

    async fn an_open_invoice_is_gone_on_with_until_it_is_paid(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let started = checkout(&ada, "pro").await;
        let of_invoice = |invoice_id: &str, return_url: &str| wire::CreateCheckoutRequest {
            item: Some(Item::InvoiceId(invoice_id.to_owned())),
            return_url: return_url.to_owned(),
            ..wire::CreateCheckoutRequest::default()
        };
        let again = of_invoice(&started.invoice_id, "");
        assert_eq!(ada.payments().create_checkout(again.clone()).await.unwrap().into_inner(), started);
        // A browser that came from elsewhere goes back there; nothing else of the form changes.
        let elsewhere = of_invoice(&started.invoice_id, "https://app.example.com/paid");
        let checkout = ada.payments().create_checkout(elsewhere).await.unwrap().into_inner();
        let changed = |one: &wire::CreateCheckoutResponse, other: &wire::CreateCheckoutResponse| -> Vec<String> {
            let pairs = one.fields.iter().zip(&other.fields).filter(|(one, other)| one != other);
            pairs.map(|(field, _)| field.name.clone()).collect()
        };
        assert_eq!(changed(&started, &checkout), ["return_url", "signature"]);
        let refused = ada.payments().create_checkout(of_invoice("x", "https://evil.example/")).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        // Another's invoice is none, and the payment's id is no invoice's.
        for (person, id) in [(&eve, &started.invoice_id), (&ada, &started.payment_id)] {
            let refused = person.payments().create_checkout(of_invoice(id, "")).await.unwrap_err();
            assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "NOT_FOUND"));
        }
        assert_eq!(press(&t, &checkout, &[("simulator_action", "pay")]).await, "https://app.example.com/paid");
        t.run_jobs().await;
        assert_eq!(payment(&ada, &started.payment_id).await.unwrap().status(), wire::PaymentStatus::Succeeded);
        let refused = ada.payments().create_checkout(again).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "INVOICE_NOT_OPEN"));
    }

    async fn the_page_takes_no_form_that_was_changed(t: App) {
        let ada = t.register("ada@example.com").await;
        let checkout = checkout(&ada, "pro").await;
        for (name, value) in [
            ("amount", "5.00"),
            ("notify_url", "http://127.0.0.1:1/"),
            ("merchant_id", "1"),
            ("signature", "0"),
            ("item_name", "<script>alert(1)</script>"),
        ] {
            let mut pairs = posted(&checkout);
            for pair in &mut pairs {
                if pair.0 == name {
                    value.clone_into(&mut pair.1);
                }
            }
            for url in [checkout.action_url.clone(), format!("{}/simulator/payfast/eng/pay", t.url)] {
                let (status, _, html) = submit(&t, &url, &pairs).await;
                assert_eq!(status, 400, "{name}");
                assert!(!html.contains("<script>"));
            }
        }
        let validate = format!("{}/simulator/payfast/eng/query/validate", t.url);
        let (status, _, answer) = submit(&t, &validate, &[("a".to_owned(), "b".to_owned())]).await;
        assert_eq!((status, answer.as_str()), (200, "INVALID"));
    }

    async fn whatever_is_posted_gets_the_same_answer(t: App) {
        let ada = t.register("ada@example.com").await;
        let checkout = checkout(&ada, "pro").await;
        let genuine = itn(&checkout.payment_id, "1089250", "COMPLETE", "529.00");
        let mut forged = genuine.clone();
        forged.extend_from_slice(b"&amount_gross=1.00");
        for body in [
            Vec::new(),
            vec![0xFF; 100],
            b"{}".to_vec(),
            forged,
            itn(&checkout.payment_id, "1", "COMPLETE", "0.01"),
            itn("nobody's", "2", "COMPLETE", "529.00"),
        ] {
            assert_eq!(post_itn(&t, body).await, (200, "OK".to_owned()));
        }
        assert_eq!(post_itn(&t, vec![b'a'; 64 * 1024 + 1]).await.0, 413);
        let get = t.http.get(format!("{}/payfast/itn", t.url)).send().await.unwrap();
        assert_eq!(get.status().as_u16(), 405);
        t.run_jobs().await;
        assert_eq!(payment(&ada, &checkout.payment_id).await.unwrap().status(), wire::PaymentStatus::Created);
        assert_eq!(post_itn(&t, genuine).await.0, 200);
        t.run_jobs().await;
        assert_eq!(payment(&ada, &checkout.payment_id).await.unwrap().status(), wire::PaymentStatus::Succeeded);
        let admin = t.admin().await;
        let request = wire::ListProviderEventsRequest {
            status: wire::ProviderEventStatus::Unapplied.into(),
            ..wire::ListProviderEventsRequest::default()
        };
        let held = admin.operations().list_provider_events(request).await.unwrap().into_inner().provider_events;
        assert_eq!(held.len(), 2);
        assert!(ledger(&admin).await.balanced);
        let mut conn = t.db.conn(capecontrol::db::Scope::System("test")).await.unwrap();
        assert_eq!(store::quarantine::count(&mut conn).await.unwrap(), 4);
    }

    async fn an_amount_that_cannot_be_read_does_not_spend_the_payment(t: App) {
        let ada = t.register("ada@example.com").await;
        let checkout = checkout(&ada, "pro").await;
        for amount in ["5.29e2", "529.00"] {
            post_itn(&t, itn(&checkout.payment_id, "1089250", "COMPLETE", amount)).await;
            t.run_jobs().await;
        }
        assert_eq!(payment(&ada, &checkout.payment_id).await.unwrap().status(), wire::PaymentStatus::Succeeded);
        let ledger = ledger(&t.admin().await).await;
        assert_eq!((ledger.balanced, ledger.transaction_count), (true, SOLD));
    }

    async fn a_hundred_notifications_at_once_over_http(t: App) {
        let ada = t.register("ada@example.com").await;
        let checkout = checkout(&ada, "pro").await;
        let body = itn(&checkout.payment_id, "1089250", "COMPLETE", "529.00");
        let answers = futures_util::future::join_all((0..100).map(|_| post_itn(&t, body.clone()))).await;
        assert!(answers.iter().all(|answer| *answer == (200, "OK".to_owned())), "{answers:?}");
        t.run_jobs().await;
        let admin = t.admin().await;
        assert_eq!(ledger(&admin).await.transaction_count, SOLD);
        assert_eq!(events(&admin).await[0].deliveries, 100);
    }

    async fn a_node_killed_after_its_answer_applies_it_after_the_restart(t: App) {
        let ada = t.register("ada@example.com").await;
        let checkout = checkout(&ada, "pro").await;
        press(&t, &checkout, &[("simulator_action", "pay")]).await;
        let t = t.kill_and_restart().await;
        t.run_jobs().await;
        let ada = t.sign_in("ada@example.com", crate::support::app::PASSWORD).await;
        assert_eq!(payment(&ada, &checkout.payment_id).await.unwrap().status(), wire::PaymentStatus::Succeeded);
        assert_eq!(t.run_jobs().await, 0);
        assert_eq!(ledger(&t.admin().await).await.transaction_count, SOLD);
    }

    async fn what_belongs_to_others_does_not_exist(t: App) {
        let (ada, bob) = (t.register("ada@example.com").await, t.register("bob@example.com").await);
        let checkout = checkout(&ada, "pro").await;
        let unknown = t.world.id::<()>().to_string();
        let told = |status: Status| (status.code(), status.message().to_owned(), status.details().to_vec());
        let foreign = told(payment(&bob, &checkout.payment_id).await.unwrap_err());
        assert_eq!(foreign.0, Code::NotFound);
        assert_eq!(foreign, told(payment(&bob, &unknown).await.unwrap_err()));
        let get = async |invoice_id: &str| {
            let request = wire::GetInvoiceRequest { invoice_id: invoice_id.to_owned() };
            told(bob.invoices().get_invoice(request).await.unwrap_err())
        };
        assert_eq!(get(&checkout.invoice_id).await, get(&unknown).await);
        let theirs = ada.organization_id.to_string();
        let request = wire::GetSubscriptionRequest { organization_id: theirs.clone() };
        assert_eq!(bob.subscriptions().get_subscription(request).await.unwrap_err().code(), Code::NotFound);
        let request = wire::ListInvoicesRequest { organization_id: theirs.clone(), ..Default::default() };
        assert_eq!(bob.invoices().list_invoices(request).await.unwrap_err().code(), Code::NotFound);
        let request = wire::CreateCheckoutRequest {
            organization_id: theirs.clone(),
            ..wish("pro", wire::BillingCycle::Monthly)
        };
        assert_eq!(bob.payments().create_checkout(request).await.unwrap_err().code(), Code::NotFound);
        let request = wire::GetBillingProfileRequest { organization_id: theirs.clone() };
        assert_eq!(bob.payments().get_billing_profile(request).await.unwrap_err().code(), Code::NotFound);
        let request = wire::UpdateBillingProfileRequest {
            organization_id: theirs,
            billing_profile: Some(wire::BillingProfile::default()),
            ..Default::default()
        };
        assert_eq!(bob.payments().update_billing_profile(request).await.unwrap_err().code(), Code::NotFound);
        let request = wire::ListProviderEventsRequest::default();
        assert_eq!(bob.operations().list_provider_events(request).await.unwrap_err().code(), Code::PermissionDenied);
        let request = wire::VerifyLedgerRequest::default();
        assert_eq!(bob.operations().verify_ledger(request).await.unwrap_err().code(), Code::PermissionDenied);
    }

    async fn an_administrator_verifies_the_chain_over_the_books(t: App) {
        let ada = t.register("ada@example.com").await;
        let bought = checkout(&ada, "pro").await;
        press(&t, &bought, &[("simulator_action", "pay")]).await;
        t.run_jobs().await;
        t.advance(Duration::from_secs(3));
        let admin = t.admin().await;
        let before = ledger(&admin).await;
        let booked = before.transaction_count;
        assert!(booked > 0 && before.balanced && before.head.is_none() && before.chain_fault.is_none());
        assert_eq!((before.sealed_count, before.unsealed_count), (0, booked));
        assert_eq!(before.unsealed_age, Some(prost_types::Duration { seconds: 3, nanos: 0 }));
        let metrics = async || {
            t.http.get(format!("{}/metrics", t.operations_url)).send().await.unwrap().text().await.unwrap()
        };
        let counted = metrics().await;
        for line in [
            format!("capecontrol_ledger_unsealed {booked}\n"),
            "capecontrol_ledger_unsealed_seconds 3\n".to_owned(),
            "capecontrol_ledger_faults 0\n".to_owned(),
        ] {
            assert!(counted.contains(&line), "{line}{counted}");
        }
        assert_eq!(t.seal_ledger().await, usize::try_from(booked).unwrap());
        let after = ledger(&admin).await;
        assert_eq!((after.sealed_count, after.unsealed_count), (booked, 0));
        assert_eq!(after.balances, before.balances);
        assert_eq!(after.unsealed_age, Some(prost_types::Duration::default()));
        let head = after.head.unwrap();
        assert_eq!((head.previous_position, head.position), (0, booked));
        // As docs/ledger.md describes it.
        let time = head.sign_time.unwrap();
        let micros = time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000;
        let signed = [
            b"capecontrol ledger head 1\n".as_slice(),
            &0_i64.to_be_bytes(),
            &head.position.to_be_bytes(),
            &head.hash,
            &micros.to_be_bytes(),
        ];
        let key = VerifyingKey::from_bytes(after.public_key.as_slice().try_into().unwrap()).unwrap();
        key.verify_strict(&signed.concat(), &Signature::from_slice(&head.signature).unwrap()).unwrap();
        assert!(metrics().await.contains("capecontrol_ledger_drift{currency=\"ZAR\"} 0\n"));

        let verify = async |known_position, known_hash| {
            let request = wire::VerifyLedgerRequest { known_position, known_hash };
            admin.operations().verify_ledger(request).await.map(tonic::Response::into_inner)
        };
        assert!(verify(head.position, head.hash.clone()).await.unwrap().balanced);
        let unknown = verify(head.position, vec![7; 32]).await.unwrap();
        let fault = unknown.chain_fault.unwrap();
        assert_eq!((unknown.balanced, fault.kind()), (false, wire::LedgerFaultKind::HeadUnknown));
        assert_eq!(fault.position, head.position);
        assert_eq!(unknown.faults[0].kind(), wire::LedgerFaultKind::HeadUnknown);
        for (position, hash) in [(-1, vec![]), (1, vec![7; 31]), (0, vec![7; 32])] {
            assert_eq!(verify(position, hash).await.unwrap_err().code(), Code::InvalidArgument);
        }
        assert!(metrics().await.contains("capecontrol_ledger_faults 1\n"));
    }

    async fn nobody_pays_without_signing_in(t: App) {
        let channel = t.channel();
        let mut payments = wire::payments_service_client::PaymentsServiceClient::new(channel.clone());
        let mut invoices = wire::invoice_service_client::InvoiceServiceClient::new(channel.clone());
        let mut subscriptions = SubscriptionServiceClient::new(channel.clone());
        let mut operations =
            wire::payment_operations_service_client::PaymentOperationsServiceClient::new(channel);
        let codes = [
            payments.create_checkout(wish("pro", wire::BillingCycle::Monthly)).await.unwrap_err().code(),
            payments.get_payment(wire::GetPaymentRequest::default()).await.unwrap_err().code(),
            payments.get_billing_profile(wire::GetBillingProfileRequest::default()).await.unwrap_err().code(),
            payments.update_billing_profile(wire::UpdateBillingProfileRequest::default()).await.unwrap_err().code(),
            invoices.get_invoice(wire::GetInvoiceRequest::default()).await.unwrap_err().code(),
            invoices.list_invoices(wire::ListInvoicesRequest::default()).await.unwrap_err().code(),
            subscriptions.get_subscription(wire::GetSubscriptionRequest::default()).await.unwrap_err().code(),
            operations.list_provider_events(wire::ListProviderEventsRequest::default()).await.unwrap_err().code(),
            operations.verify_ledger(wire::VerifyLedgerRequest::default()).await.unwrap_err().code(),
        ];
        assert_eq!(codes, [Code::Unauthenticated; 9]);
    }

    async fn bad_input_names_every_wrong_field(t: App) {
        let ada = t.register("ada@example.com").await;
        let free = ada.payments().create_checkout(wish("free", wire::BillingCycle::Monthly)).await.unwrap_err();
        assert_eq!((free.code(), reason(&free).as_str()), (Code::FailedPrecondition, "PLAN_IS_FREE"));
        let nothing = wire::CreateCheckoutRequest { organization_id: "x".to_owned(), ..Default::default() };
        let fields = |status: &Status| -> Vec<String> {
            let wrong = status.get_error_details().bad_request().unwrap().field_violations.clone();
            wrong.into_iter().map(|violation| violation.field).collect()
        };
        let wrong = ada.payments().create_checkout(nothing).await.unwrap_err();
        assert_eq!(fields(&wrong), ["organization_id", "item"]);
        let wrong = wire::CreateCheckoutRequest {
            return_url: "https://evil.example/".to_owned(),
            cancel_url: "javascript:alert(1)".to_owned(),
            ..wish("gold", wire::BillingCycle::Unspecified)
        };
        let wrong = ada.payments().create_checkout(wrong).await.unwrap_err();
        assert_eq!(fields(&wrong), ["return_url", "cancel_url", "plan.plan_id", "plan.billing_cycle"]);
        for id in ["", "x", "00000000000000000000000000000000"] {
            assert_eq!(payment(&ada, id).await.unwrap_err().code(), Code::InvalidArgument, "{id}");
        }
        let request = wire::UpdateBillingProfileRequest {
            billing_profile: Some(wire::BillingProfile { email: "x".to_owned(), ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["email".to_owned()] }),
            ..Default::default()
        };
        let wrong = ada.payments().update_billing_profile(request).await.unwrap_err();
        assert_eq!(fields(&wrong), ["billing_profile.email"]);
    }

    async fn a_request_id_makes_a_checkout_one(t: App) {
        let ada = t.register("ada@example.com").await;
        let request_id = t.world.id::<()>().to_string();
        let request = wire::CreateCheckoutRequest { request_id, ..wish("pro", wire::BillingCycle::Monthly) };
        let first = ada.payments().create_checkout(request.clone()).await.unwrap().into_inner();
        assert_eq!(ada.payments().create_checkout(request.clone()).await.unwrap().into_inner(), first);
        let other = wish("enterprise", wire::BillingCycle::Monthly);
        let other = wire::CreateCheckoutRequest { item: other.item, ..request };
        let refused = ada.payments().create_checkout(other).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"));
    }

    async fn a_billing_profile_is_changed_field_by_field(t: App) {
        let ada = t.register("ada@example.com").await;
        let read = wire::GetBillingProfileRequest::default();
        let read = ada.payments().get_billing_profile(read).await.unwrap().into_inner().billing_profile.unwrap();
        assert_eq!(read.update_time, None);
        let change = |paths: &[&str], etag: &str| wire::UpdateBillingProfileRequest {
            billing_profile: Some(wire::BillingProfile {
                name: "Ada CC".to_owned(),
                country: "ZA".to_owned(),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
            etag: etag.to_owned(),
            ..Default::default()
        };
        let changed = ada.payments().update_billing_profile(change(&["name"], &read.etag)).await.unwrap();
        let changed = changed.into_inner().billing_profile.unwrap();
        assert_eq!((changed.name.as_str(), changed.country.as_str()), ("Ada CC", ""));
        let stale = ada.payments().update_billing_profile(change(&["country"], &read.etag)).await.unwrap_err();
        assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
        let unknown = ada.payments().update_billing_profile(change(&["organization_id"], "")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::InvalidArgument);
    }
}

#[test]
fn a_notification_of_the_tests_is_genuine() {
    let itn = Itn::parse(&itn("1", "2", "COMPLETE", "5.00")).unwrap();
    assert!(itn.signature_holds(Options::default().passphrase()));
}
