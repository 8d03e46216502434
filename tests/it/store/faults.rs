//! Ways in which a payment system has lost money or given it away, each tried here. One test for each; those that other
//! tests try are named.

use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::fault::{Fault as _, NOT_FOUND};
use capecontrol::payments::Options;
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::listing::Listing;
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{AlarmKind, EventStatus, PaymentStatus, SubscriptionStatus};
use capecontrol::payments::payfast::itn::signed_body;
use capecontrol::payments::service::{CreateCheckout, EventFilter, Item, Receipt, SeenEvent};

use super::payments::{
    Told, alarms, balances, checkout, deliver, events, itn, name_recipient, node, post, status, wish,
};
use super::refunds::Shop;
use crate::support::{Fixture, on_both, somebody};

/// A notification of these fields, signed as PayFast signs.
fn signed(pairs: &[(&str, &str)]) -> Vec<u8> {
    let options = Options::default();
    let ours = [("merchant_id", options.merchant_id.as_str())];
    signed_body(&[pairs, &ours].concat(), options.passphrase())
}

on_both! {
    /// Any completed payment activated whatever plan was pending.
    async fn fault_1_a_payment_gives_what_it_bought_and_nothing_else(t: Fixture) {
        let (service, worker) = node(&t, Told::next(&[]));
        let ada = somebody(&t, "ada@example.com").await;
        name_recipient(&service, &ada).await;
        let enterprise = checkout(&service, &ada, "enterprise", Cycle::Yearly).await;
        let small = checkout(&service, &ada, "live-verification", Cycle::Monthly).await;
        deliver(&service, &worker, itn(&small.payment_id.to_string(), "1", "COMPLETE", "5.00")).await;
        assert_eq!(status(&service, &ada, small.payment_id).await, PaymentStatus::Succeeded);
        assert_eq!(status(&service, &ada, enterprise.payment_id).await, PaymentStatus::Created);
        assert_eq!(service.get_subscription(&ada, None).await.unwrap().plan.id, "free");
    }

    /// The amount was not compared with the invoice, nor the merchant with ours.
    async fn fault_2_another_amount_or_merchant_gives_nothing(t: Fixture) {
        let (service, worker) = node(&t, Told::next(&[]));
        let ada = somebody(&t, "ada@example.com").await;
        name_recipient(&service, &ada).await;
        let sold = checkout(&service, &ada, "enterprise", Cycle::Yearly).await;
        let payment = sold.payment_id.to_string();
        deliver(&service, &worker, itn(&payment, "1", "COMPLETE", "0.01")).await;
        let options = Options::default();
        let foreign = signed_body(
            &[
                ("m_payment_id", payment.as_str()), ("pf_payment_id", "2"), ("payment_status", "COMPLETE"),
                ("amount_gross", "17190.00"), ("amount_fee", "-2.30"), ("merchant_id", "10000999"),
            ],
            options.passphrase(),
        );
        deliver(&service, &worker, foreign).await;
        assert_eq!(status(&service, &ada, sold.payment_id).await, PaymentStatus::Created);
        assert_eq!(service.get_subscription(&ada, None).await.unwrap().plan.id, "free");
        let books = balances(&service).await;
        assert!(books.contains(&(Account::UnappliedReceipts, -1)), "the cent is the payer's: {books:?}");
    }

    /// COMPLETE repeated after a refund made the invoice paid again, and a refund never touched the subscription.
    async fn fault_3_what_was_given_back_is_not_paid_again_by_a_repetition(t: Fixture) {
        let shop = Shop::open(&t).await;
        shop.agree(None).await;
        shop.worker.run_due().await.unwrap();
        let plan = async || service_plan(&shop).await;
        assert_eq!(plan().await, ("free".to_owned(), SubscriptionStatus::Expired));
        let books = balances(&shop.service).await;
        let payment = shop.sold.payment_id.to_string();
        assert_eq!(post(&shop.service, itn(&payment, "1", "COMPLETE", "529.00")).await, Receipt::Repeated);
        // Other bytes of the same news.
        let again = signed(&[
            ("m_payment_id", payment.as_str()), ("pf_payment_id", "1"), ("payment_status", "COMPLETE"),
            ("amount_gross", "529.00"), ("amount_fee", "-2.30"),
        ]);
        deliver(&shop.service, &shop.worker, again).await;
        assert_eq!(events(&shop.service).await[0].0, EventStatus::Ignored);
        assert_eq!((balances(&shop.service).await, plan().await.0.as_str()), (books, "free"));
    }

    /// What a payment was for was read from a field that the buyer controls, and a payment without the provider's id
    /// matched any other without one.
    async fn fault_4_the_buyers_own_fields_decide_nothing(t: Fixture) {
        let (service, worker) = node(&t, Told::next(&[]));
        let ada = somebody(&t, "ada@example.com").await;
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let payment = sold.payment_id.to_string();
        let fields = |provider_id| signed(&[
            ("m_payment_id", payment.as_str()), ("pf_payment_id", provider_id), ("payment_status", "COMPLETE"),
            ("item_name", "Enterprise"), ("amount_gross", "529.00"), ("amount_fee", "-2.30"),
            ("custom_str1", "enterprise"), ("custom_str2", "refund"), ("custom_int1", "12"),
        ]);
        for _ in 0..2 {
            t.clock.advance(Duration::from_secs(1));
            post(&service, fields("")).await;
            worker.run_due().await.unwrap();
        }
        assert_eq!(events(&service).await[0].0, EventStatus::Refused);
        assert_eq!(status(&service, &ada, sold.payment_id).await, PaymentStatus::Created);
        deliver(&service, &worker, fields("1")).await;
        let bought = service.get_subscription(&ada, None).await.unwrap().bought.unwrap();
        assert_eq!((bought.plan_id.as_str(), bought.billing_cycle), ("pro", Cycle::Monthly));
    }

    /// Amounts that cannot be read were an error of the server, so that the provider sent them for ever; what named an
    /// unknown invoice was answered with 200 and forgotten.
    async fn fault_5_what_cannot_be_read_or_is_unknown_is_kept_and_told(t: Fixture) {
        let (service, worker) = node(&t, Told::next(&[]));
        let ada = somebody(&t, "ada@example.com").await;
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let payment = sold.payment_id.to_string();
        let amounts = ["", "ten", "-529.00", "5e2", "99999999999999999999"];
        for (provider_id, amount) in ["1", "2", "3", "4", "5"].into_iter().zip(amounts) {
            t.clock.advance(Duration::from_secs(1));
            deliver(&service, &worker, itn(&payment, provider_id, "COMPLETE", amount)).await;
            assert_eq!(events(&service).await[0].0, EventStatus::Refused, "{amount:?}");
        }
        deliver(&service, &worker, itn("no invoice of ours", "6", "COMPLETE", "529.00")).await;
        let kinds: Vec<_> = alarms(&t).await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds.len(), 6);
        assert_eq!(kinds.iter().filter(|kind| **kind == AlarmKind::PaymentUnknown).count(), 1);
        assert_eq!(events(&service).await.len(), 6);
        let books = balances(&service).await;
        assert!(books.contains(&(Account::UnappliedReceipts, -52_900)), "{books:?}");
    }

    /// There was no inbox: nothing was kept before it was worked on, nothing told a repetition from news.
    async fn fault_6_what_comes_is_kept_as_it_came_before_anything_happens(t: Fixture) {
        let (service, worker) = node(&t, Told::next(&[]));
        let ada = somebody(&t, "ada@example.com").await;
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let body = itn(&sold.payment_id.to_string(), "1", "COMPLETE", "529.00");
        assert_eq!(post(&service, body.clone()).await, Receipt::Stored);
        assert_eq!(post(&service, body.clone()).await, Receipt::Repeated);
        // No job has run.
        assert_eq!(status(&service, &ada, sold.payment_id).await, PaymentStatus::Created);
        let system = Caller::system("test");
        let found = service.list_provider_events(&system, &EventFilter::default(), None, 10).await.unwrap();
        let [SeenEvent::Signed(event)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((event.status, event.deliveries), (EventStatus::Received, 2));
        let kept = service.get_provider_event(&system, event.id).await.unwrap();
        assert_eq!((kept.body_text.unwrap().into_bytes(), kept.body_bytes), (body.clone(), body.len()));
        worker.run_due().await.unwrap();
        assert_eq!(status(&service, &ada, sold.payment_id).await, PaymentStatus::Succeeded);
    }

    /// The passphrase was written into the log with every signature, and blanks were dropped before signing, so that a
    /// genuine notification could fail. (That signatures are compared in constant time stands in
    /// `Itn::signature_holds`; that no call carries the passphrase is tried beside `payfast::api::call`.)
    async fn fault_7_blanks_are_signed_and_the_passphrase_is_told_nowhere(t: Fixture) {
        let (service, worker) = node(&t, Told::next(&[]));
        let ada = somebody(&t, "ada@example.com").await;
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let body = itn(&sold.payment_id.to_string(), "1", "COMPLETE", "529.00");
        assert!(body.windows(2).any(|pair| pair == b"=&"), "it has blanks");
        deliver(&service, &worker, body).await;
        assert_eq!(status(&service, &ada, sold.payment_id).await, PaymentStatus::Succeeded);
        let options = Options::default();
        let passphrase = options.passphrase().unwrap();
        let system = Caller::system("test");
        let found = service.list_provider_events(&system, &EventFilter::default(), None, 10).await.unwrap();
        let id = capecontrol::base::Id::from_uuid(found[0].place().id);
        let told = format!(
            "{options:?} {:?} {:?} {:?}",
            service.get_provider_event(&system, id).await.unwrap(),
            service.provider_status(&system).await.unwrap(),
            sold,
        );
        assert!(!told.contains(passphrase), "{told}");
    }

    // Fault 8, numbers by max + 1: payments::numbers_have_no_gap_when_many_pay_at_once.
    // Fault 9, thirty days for a year, and early payment that shortened a period:
    //   payments::a_year_is_a_year_and_a_verification_gives_nothing, model::subscription's tests.

    /// Limits were lost at once on a late payment, and the plan was worked out in three ways.
    async fn fault_10_a_plan_ends_when_its_period_does_or_its_price_went_back(t: Fixture) {
        let shop = Shop::open(&t).await;
        shop.agree(Some(52_899)).await;
        shop.worker.run_due().await.unwrap();
        // A price that was lowered, even by nearly all of it, is still a price that was paid.
        assert_eq!(service_plan(&shop).await, ("pro".to_owned(), SubscriptionStatus::Active));
        // Refunds of the same money follow each other at ten minutes.
        t.clock.advance(Duration::from_mins(10));
        shop.agree(None).await;
        shop.worker.run_due().await.unwrap();
        assert_eq!(service_plan(&shop).await, ("free".to_owned(), SubscriptionStatus::Expired));
        // What is bought then begins anew.
        let sold = checkout(&shop.service, &shop.buyer, "pro", Cycle::Monthly).await;
        deliver(&shop.service, &shop.worker, itn(&sold.payment_id.to_string(), "2", "COMPLETE", "529.00")).await;
        let bought = shop.service.get_subscription(&shop.buyer, None).await.unwrap().bought.unwrap();
        assert_eq!(bought.period_start, t.world.now());
        assert_eq!(service_plan(&shop).await.0, "pro");
    }

    // Fault 12, paying by another invoice: payments::an_attempt_that_failed_is_followed_by_another.
    // Fault 13, work done by every process and never taken up again: store::jobs, crashes.

    /// A checkout could be started for anybody by their address, for any amount and any name.
    async fn fault_14_nobody_buys_for_others_or_at_a_price_of_their_own(t: Fixture) {
        let (service, _) = node(&t, Told::next(&[]));
        let (ada, bob) = (somebody(&t, "ada@example.com").await, somebody(&t, "bob@example.com").await);
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let hers = CreateCheckout { organization_id: ada.personal, ..wish("pro", Cycle::Monthly) };
        let of_hers = CreateCheckout { item: Item::Invoice(sold.invoice_id), ..wish("pro", Cycle::Monthly) };
        for foreign in [hers, of_hers] {
            let refused = service.create_checkout(&bob, foreign, None).await.unwrap_err();
            assert_eq!(refused.reason(), &NOT_FOUND);
        }
        // A price stands in the price list only: a wish has no field for one.
        let unsold = service.create_checkout(&bob, wish("anything", Cycle::Monthly), None).await.unwrap_err();
        assert_eq!(unsold.violations()[0].field, "plan.plan_id");
        assert_eq!(service.list_invoices(&ada, None, &Listing::default(), None, 10).await.unwrap().len(), 1);
    }
}

async fn service_plan(shop: &Shop) -> (String, SubscriptionStatus) {
    let found = shop.service.get_subscription(&shop.buyer, None).await.unwrap();
    (found.plan.id, found.status)
}
