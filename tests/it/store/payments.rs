//! Payments over real databases: what settles, what does not, and what is never lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::Id;
use capecontrol::base::fault::{ETAG_MISMATCH, Fault as _, NOT_FOUND};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::idempotency::{IDEMPOTENCY_KEY_REUSED, RequestKey};
use capecontrol::jobs::Worker;
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::listing::Listing;
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{
    AlarmKind, Checkout, EventStatus, InvoiceId, InvoiceStatus, PaymentId, PaymentStatus, ReceiptStatus,
    SubscriptionStatus,
};
use capecontrol::payments::payfast::confirmation::Confirmation;
use capecontrol::payments::payfast::itn::{Itn, signed_body};
use capecontrol::payments::provider::Confirm;
use capecontrol::payments::service::{
    CreateCheckout, EventFilter, Incoming, Item, ProfileChange, Receipt, SeenEvent, UpdateBillingProfile,
};
use capecontrol::payments::{
    BILLING_DETAILS_REQUIRED, Error, INVOICE_NOT_OPEN, Options, PAYMENT_OVER, PAYMENT_UNDER_WAY,
    PLAN_IS_FREE, Service, register, store,
};

use crate::support::{Fixture, START, audit_log, ledger, on_both, somebody};

/// A provider that says what a test tells it to, and `VALID` when it was told nothing.
#[derive(Default)]
pub struct Told(Mutex<Vec<Confirmation>>);

impl Told {
    pub fn next(answers: &[Confirmation]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answers.iter().rev().copied().collect())))
    }
}

#[async_trait::async_trait]
impl Confirm for Told {
    async fn confirm(&self, _: &Itn) -> Confirmation {
        self.0.lock().unwrap().pop().unwrap_or(Confirmation::Valid)
    }
}

/// The domain with a provider, and a worker for its jobs.
pub fn node(t: &Fixture, provider: Arc<dyn Confirm>) -> (Arc<Service>, Worker) {
    let service = Arc::new(Service::new(
        t.db.clone(),
        t.world.clone(),
        Options::default(),
        provider,
        audit_log(&t.world),
        ledger(t),
    ));
    let worker = t.worker(|registry| register(registry, &service));
    (service, worker)
}

fn plain(t: &Fixture) -> (Arc<Service>, Worker) {
    node(t, Told::next(&[]))
}

pub fn wish(plan_id: &str, cycle: Cycle) -> CreateCheckout {
    CreateCheckout {
        organization_id: None,
        item: Item::Plan { plan_id: plan_id.to_owned(), cycle: Some(cycle) },
        return_url: String::new(),
        cancel_url: String::new(),
        payment_method_id: None,
    }
}

pub async fn checkout(service: &Service, caller: &Caller, plan_id: &str, cycle: Cycle) -> Checkout {
    service.create_checkout(caller, wish(plan_id, cycle), None).await.unwrap()
}

/// A notification as PayFast writes it, with the blanks that it sends, and a fee.
pub fn itn(payment: &str, provider_id: &str, status: &str, amount: &str) -> Vec<u8> {
    let options = Options::default();
    let mut pairs = vec![
        ("m_payment_id", payment),
        ("pf_payment_id", provider_id),
        ("payment_status", status),
        ("item_name", "CapeControl Pro"),
        ("item_description", ""),
    ];
    if status != "CANCELLED" {
        pairs.extend([("amount_gross", amount), ("amount_fee", "-2.30"), ("amount_net", "")]);
    }
    pairs.extend([("custom_str1", ""), ("custom_int1", ""), ("name_first", "Ada"), ("name_last", "")]);
    pairs.extend([("email_address", ""), ("merchant_id", options.merchant_id.as_str())]);
    signed_body(&pairs, options.passphrase())
}

pub async fn post(service: &Service, body: Vec<u8>) -> Receipt {
    let peer = Some(std::net::IpAddr::from([127, 0, 0, 1]));
    service.receive(Incoming { body, peer, headers: Vec::new() }).await.unwrap()
}

pub async fn deliver(service: &Service, worker: &Worker, body: Vec<u8>) {
    assert_eq!(post(service, body).await, Receipt::Stored);
    worker.run_due().await.unwrap();
}

pub async fn events(service: &Service) -> Vec<(EventStatus, String)> {
    let all = EventFilter::default();
    let events = service.list_provider_events(&Caller::system("test"), &all, None, 100).await.unwrap();
    let signed = events.into_iter().filter_map(|event| match event {
        SeenEvent::Signed(event) => Some((event.status, event.detail)),
        SeenEvent::Quarantined { .. } => None,
    });
    signed.collect()
}

pub async fn alarms(t: &Fixture) -> Vec<(AlarmKind, i64)> {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let alarms = store::alarm::newest(&mut conn, 100).await.unwrap();
    alarms.into_iter().map(|(kind, _, occurrences)| (kind, occurrences)).collect()
}

pub async fn jobs_left(t: &Fixture) -> i64 {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    capecontrol::jobs::store::count(&mut conn).await.unwrap().into_iter().map(|(_, count)| count).sum()
}

/// The balances of the books, which are right.
pub async fn balances(service: &Service) -> Vec<(Account, i64)> {
    let report = service.verify_ledger(&Caller::system("test")).await.unwrap();
    assert!(report.balanced(), "{report:?}");
    let balances = report.balances.into_iter().map(|(account, balance)| (account, balance.minor));
    balances.filter(|(_, minor)| *minor != 0).collect()
}

pub async fn status(service: &Service, caller: &Caller, id: PaymentId) -> PaymentStatus {
    service.get_payment(caller, id).await.unwrap().status
}

/// Says who is invoiced, as the law wants it of invoices above R5 000.
pub async fn name_recipient(service: &Service, caller: &Caller) {
    let change = ProfileChange {
        name: Some("Ada Ltd".to_owned()),
        address: Some("1 Long Street, Cape Town".to_owned()),
        ..ProfileChange::default()
    };
    let command = UpdateBillingProfile { organization_id: None, change, version: None };
    service.update_billing_profile(caller, command, None).await.unwrap();
}

fn again(invoice_id: InvoiceId) -> CreateCheckout {
    CreateCheckout { item: Item::Invoice(invoice_id), ..wish("pro", Cycle::Monthly) }
}

on_both! {
    async fn a_payment_buys_what_it_says(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let before = service.get_subscription(&ada, None).await.unwrap();
        assert_eq!((before.plan.id.as_str(), before.bought), ("free", None));

        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let pending = service.get_payment(&ada, checkout.payment_id).await.unwrap();
        assert_eq!((pending.status, pending.amount_minor), (PaymentStatus::Created, 52_900));
        t.clock.advance(Duration::from_secs(60));
        deliver(&service, &worker, itn(&checkout.payment_id.to_string(), "1089250", "COMPLETE", "529.00")).await;

        let paid = service.get_payment(&ada, checkout.payment_id).await.unwrap();
        assert_eq!((paid.status, paid.fee_minor), (PaymentStatus::Succeeded, Some(230)));
        assert_eq!(paid.provider_payment_id.as_deref(), Some("1089250"));
        let found = service.get_invoice(&ada, checkout.invoice_id).await.unwrap();
        assert_eq!(found.invoice.status, InvoiceStatus::Paid);
        assert_eq!(found.invoice.number.as_deref(), Some("TEST-000001"));
        assert_eq!(found.invoice.tax_minor, 6_900);
        let now = service.get_subscription(&ada, None).await.unwrap();
        let bought = now.bought.unwrap();
        assert_eq!((now.plan.id.as_str(), now.status), ("pro", SubscriptionStatus::Active));
        assert_eq!(bought.period_start, START.plus(Duration::from_secs(60)));
        assert_eq!(bought.period_end.to_rfc3339(), "2026-12-20T10:01:00Z");
        assert_eq!(found.lines[0].period_end, Some(bought.period_end));
        assert_eq!(
            balances(&service).await,
            [
                (Account::PayfastClearing, 52_670),
                (Account::ProviderFees, 230),
                (Account::Revenue, -46_000),
                (Account::VatOutput, -6_900),
            ]
        );
        assert_eq!(events(&service).await[0].0, EventStatus::Applied);
        assert_eq!((alarms(&t).await, jobs_left(&t).await), (Vec::new(), 0));
        t.clock.advance(Duration::from_secs(31 * 86_400));
        let over = service.get_subscription(&ada, None).await.unwrap();
        assert_eq!((over.plan.id.as_str(), over.status), ("free", SubscriptionStatus::Expired));
    }

    async fn a_year_is_a_year_and_a_verification_gives_nothing(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        name_recipient(&service, &ada).await;
        let year = checkout(&service, &ada, "enterprise", Cycle::Yearly).await;
        deliver(&service, &worker, itn(&year.payment_id.to_string(), "1", "COMPLETE", "17190.00")).await;
        let small = checkout(&service, &ada, "live-verification", Cycle::Monthly).await;
        deliver(&service, &worker, itn(&small.payment_id.to_string(), "2", "COMPLETE", "5.00")).await;
        let bought = service.get_subscription(&ada, None).await.unwrap().bought.unwrap();
        assert_eq!((bought.plan_id.as_str(), bought.billing_cycle), ("enterprise", Cycle::Yearly));
        assert_eq!(bought.period_end.to_rfc3339(), "2027-11-20T10:00:00Z");
        assert_eq!(status(&service, &ada, small.payment_id).await, PaymentStatus::Succeeded);
    }

    async fn what_has_run_out_is_neither_invoiced_nor_charged(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let started = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let paid = itn(&started.payment_id.to_string(), "1", "COMPLETE", "529.00");
        deliver(&service, &worker, paid).await;
        let booked = balances(&service).await;
        for _ in 0..10 {
            t.clock.advance(Duration::from_hours(10 * 24));
            service.expire(100).await.unwrap();
            worker.run_due().await.unwrap();
        }
        let now = service.get_subscription(&ada, None).await.unwrap();
        assert_eq!((now.plan.id.as_str(), now.status), ("free", SubscriptionStatus::Expired));
        let all = "SELECT (SELECT count(*) FROM invoices), (SELECT count(*) FROM payments),
            (SELECT count(*) FROM jobs)";
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let counted: (i64, i64, i64) = conn.sql(all).one().await.unwrap();
        assert_eq!((counted, balances(&service).await), ((1, 1, 0), booked));
    }

    async fn what_is_not_the_orders_money_gives_nothing(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let id = checkout.payment_id.to_string();
        for (provider_id, status, amount) in [
            ("1", "COMPLETE", "528.99"),
            ("2", "COMPLETE", "-529.00"),
            ("3", "PENDING", "529.00"),
            ("4", "FAILED", "529.00"),
            ("5", "REFUNDED", "529.00"),
        ] {
            t.clock.advance(Duration::from_secs(1));
            deliver(&service, &worker, itn(&id, provider_id, status, amount)).await;
        }
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Failed);
        let statuses: Vec<_> = events(&service).await.into_iter().map(|(status, _)| status).collect();
        let (applied, refused) = (EventStatus::Applied, EventStatus::Refused);
        assert_eq!(statuses, [EventStatus::Ignored, applied, applied, refused, EventStatus::Unapplied]);
        // The cent too little arrived all the same: it is held for the payer.
        let held = balances(&service).await;
        assert!(held.contains(&(Account::UnappliedReceipts, -52_899)), "{held:?}");
        let kinds: BTreeSet<_> = alarms(&t).await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, BTreeSet::from([AlarmKind::AmountDiffers, AlarmKind::StatusUnknown]));
        // The right amount still settles it: the buyer has taken another card.
        deliver(&service, &worker, itn(&id, "6", "COMPLETE", "529.00")).await;
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Succeeded);
        balances(&service).await;
    }

    async fn an_attempt_that_failed_is_followed_by_another(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let first = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        // While an attempt is alive, it is the one; its form is the same.
        assert_eq!(service.create_checkout(&ada, again(first.invoice_id), None).await.unwrap(), first);
        let id = first.payment_id.to_string();
        deliver(&service, &worker, itn(&id, "1", "PENDING", "529.00")).await;
        assert_eq!(status(&service, &ada, first.payment_id).await, PaymentStatus::Pending);
        let refused = service.create_checkout(&ada, again(first.invoice_id), None).await.unwrap_err();
        assert_eq!(refused.reason(), &PAYMENT_UNDER_WAY);
        let refused = service.cancel_payment(&ada, first.payment_id, None).await.unwrap_err();
        assert_eq!(refused.reason(), &PAYMENT_UNDER_WAY);
        deliver(&service, &worker, itn(&id, "1", "FAILED", "529.00")).await;
        t.clock.advance(Duration::from_secs(1));
        let second = service.create_checkout(&ada, again(first.invoice_id), None).await.unwrap();
        assert_ne!(second.payment_id, first.payment_id);
        assert_eq!(second.invoice_id, first.invoice_id);
        // The same form but for the attempt's id and so the signature.
        let differing = first.fields.iter().zip(&second.fields).filter(|(one, two)| one != two);
        let differing: Vec<_> = differing.map(|(field, _)| field.name.as_str()).collect();
        assert_eq!(differing, ["m_payment_id", "signature"]);
        deliver(&service, &worker, itn(&second.payment_id.to_string(), "2", "COMPLETE", "529.00")).await;
        assert_eq!(status(&service, &ada, second.payment_id).await, PaymentStatus::Succeeded);
        assert_eq!(service.get_subscription(&ada, None).await.unwrap().plan.id, "pro");
        // The first card's money comes after all: it is the payer's.
        deliver(&service, &worker, itn(&id, "1", "COMPLETE", "529.00")).await;
        let books = balances(&service).await;
        assert!(books.contains(&(Account::UnappliedReceipts, -52_900)), "{books:?}");
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        for (payment, expected) in
            [(first.payment_id, ReceiptStatus::Unapplied), (second.payment_id, ReceiptStatus::Applied)]
        {
            let receipts = store::receipt::of_payment(&mut conn, payment).await.unwrap();
            let told: Vec<_> = receipts.iter().map(|receipt| (receipt.status, receipt.gross_minor)).collect();
            assert_eq!(told, [(expected, 52_900)]);
        }
    }

    async fn what_was_paid_by_one_attempt_is_not_to_be_paid_by_another(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let first = checkout(&service, &ada, "live-verification", Cycle::Monthly).await;
        let id = first.payment_id.to_string();
        deliver(&service, &worker, itn(&id, "1", "FAILED", "5.00")).await;
        t.clock.advance(Duration::from_secs(1));
        let second = service.create_checkout(&ada, again(first.invoice_id), None).await.unwrap();
        // The first card's money comes after all.
        deliver(&service, &worker, itn(&id, "1", "COMPLETE", "5.00")).await;
        assert_eq!(status(&service, &ada, first.payment_id).await, PaymentStatus::Succeeded);
        assert_eq!(status(&service, &ada, second.payment_id).await, PaymentStatus::Superseded);
    }

    async fn what_is_given_up_or_not_heard_of_ends(t: Fixture) {
        let (service, worker) = plain(&t);
        let (ada, bob) = (somebody(&t, "ada@example.com").await, somebody(&t, "bob@example.com").await);
        let first = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let foreign = service.cancel_payment(&bob, first.payment_id, None).await.unwrap_err();
        assert_eq!(foreign.reason(), &NOT_FOUND);
        let ended = service.cancel_payment(&ada, first.payment_id, None).await.unwrap();
        assert_eq!(ended.status, PaymentStatus::Cancelled);
        let void = service.get_invoice(&ada, first.invoice_id).await.unwrap().invoice;
        assert_eq!((void.status, void.number), (InvoiceStatus::Void, None));
        let twice = service.cancel_payment(&ada, first.payment_id, None).await.unwrap_err();
        assert_eq!(twice.reason(), &PAYMENT_OVER);
        // Of the second nothing is heard for a week; the third is younger.
        let second = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        t.clock.advance(Duration::from_hours(24));
        let third = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        t.clock.advance(Duration::from_hours(6 * 24));
        assert_eq!(service.expire(10).await.unwrap(), 0);
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(service.expire(10).await.unwrap(), 1);
        assert_eq!(status(&service, &ada, second.payment_id).await, PaymentStatus::Expired);
        assert_eq!(status(&service, &ada, third.payment_id).await, PaymentStatus::Created);
        let refused = service.create_checkout(&ada, again(second.invoice_id), None).await.unwrap_err();
        assert_eq!(refused.reason(), &INVOICE_NOT_OPEN);
        deliver(&service, &worker, itn(&second.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
        let books = balances(&service).await;
        assert!(books.contains(&(Account::UnappliedReceipts, -52_900)), "{books:?}");
    }

    async fn a_checkout_whose_attempts_failed_is_given_up(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let [failed, second] = [1, 2].map(|_| checkout(&service, &ada, "pro", Cycle::Monthly));
        let (failed, second) = (failed.await, second.await);
        deliver(&service, &worker, itn(&failed.payment_id.to_string(), "1", "FAILED", "529.00")).await;
        deliver(&service, &worker, itn(&second.payment_id.to_string(), "2", "FAILED", "529.00")).await;
        t.clock.advance(Duration::from_hours(6 * 24));
        // One is tried again a day before its time is over.
        let retried = service.create_checkout(&ada, again(second.invoice_id), None).await.unwrap();
        t.clock.advance(Duration::from_hours(24));
        assert_eq!(service.expire(10).await.unwrap(), 0, "a week is not over");
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(service.expire(10).await.unwrap(), 1);
        let standing = async |id| service.get_invoice(&ada, id).await.unwrap().invoice.status;
        assert_eq!(standing(failed.invoice_id).await, InvoiceStatus::Void);
        assert_eq!(standing(second.invoice_id).await, InvoiceStatus::Open);
        assert_eq!(status(&service, &ada, failed.payment_id).await, PaymentStatus::Failed);
        let refused = service.create_checkout(&ada, again(failed.invoice_id), None).await.unwrap_err();
        assert_eq!(refused.reason(), &INVOICE_NOT_OPEN);
        // Its money, should it come after all, is the payer's; the other's buys what it should.
        deliver(&service, &worker, itn(&failed.payment_id.to_string(), "3", "COMPLETE", "529.00")).await;
        deliver(&service, &worker, itn(&retried.payment_id.to_string(), "4", "COMPLETE", "529.00")).await;
        assert_eq!(standing(second.invoice_id).await, InvoiceStatus::Paid);
        let books = balances(&service).await;
        assert!(books.contains(&(Account::UnappliedReceipts, -52_900)), "{books:?}");
    }

    async fn a_large_invoice_names_its_recipient(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let large = wish("enterprise", Cycle::Yearly);
        let refused = service.create_checkout(&ada, large.clone(), None).await.unwrap_err();
        assert_eq!(refused.reason(), &BILLING_DETAILS_REQUIRED);
        name_recipient(&service, &ada).await;
        let made = service.create_checkout(&ada, large, None).await.unwrap();
        // A profile that is emptied afterwards takes nothing off the document.
        let change = ProfileChange { address: Some(String::new()), ..ProfileChange::default() };
        let command = UpdateBillingProfile { organization_id: None, change, version: None };
        service.update_billing_profile(&ada, command, None).await.unwrap();
        deliver(&service, &worker, itn(&made.payment_id.to_string(), "1", "COMPLETE", "17190.00")).await;
        let paid = service.get_invoice(&ada, made.invoice_id).await.unwrap().invoice;
        assert_eq!((paid.status, paid.customer_name.as_str()), (InvoiceStatus::Paid, "Ada Ltd"));
        assert_eq!(paid.customer_address, "1 Long Street, Cape Town");
    }

    async fn forgeries_are_kept_aside_with_one_alarm(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let genuine = itn(&checkout.payment_id.to_string(), "1", "COMPLETE", "529.00");
        let text = String::from_utf8(genuine.clone()).unwrap();
        let (head, signature) = text.rsplit_once("&signature=").unwrap();
        let reversed: Vec<&str> = head.split('&').rev().collect();
        for forged in [
            head.to_owned(),
            format!("{head}&signature={}", "0".repeat(32)),
            format!("{}&signature={signature}", reversed.join("&")),
            format!("{head}&extra=1&signature={signature}"),
            format!("{head}&amount_gross=0.01&signature={signature}"),
            text.replace("529.00", "5.00"),
            String::new(),
            "{\"json\": true}".to_owned(),
        ] {
            assert_eq!(post(&service, forged.clone().into_bytes()).await, Receipt::Quarantined, "{forged}");
        }
        assert_eq!(post(&service, vec![0xFF, 0x00, 0xFE]).await, Receipt::Quarantined);
        worker.run_due().await.unwrap();
        assert_eq!(events(&service).await, []);
        assert_eq!(alarms(&t).await, [(AlarmKind::SignatureWrong, 9)]);
        t.clock.advance(Duration::from_secs(3_600));
        post(&service, b"x=1".to_vec()).await;
        assert_eq!(alarms(&t).await.len(), 2);
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Created);
        deliver(&service, &worker, genuine).await;
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Succeeded);
    }

    async fn the_quarantine_is_bounded_by_count_and_age(t: Fixture) {
        let suspect = |at| store::quarantine::Suspect {
            listed_source: false,
            body: vec![1],
            peer: "192.0.2.1".to_owned(),
            headers: "[]".to_owned(),
            reason: "test".to_owned(),
            at,
        };
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        for second in 0..10 {
            let at = START.plus(Duration::from_secs(second));
            store::quarantine::insert(&mut tx, t.world.id(), &suspect(at)).await.unwrap();
        }
        assert_eq!(store::quarantine::prune(&mut tx, true, START, 0).await.unwrap(), 0);
        let third = START.plus(Duration::from_secs(2));
        assert_eq!(store::quarantine::prune(&mut tx, false, third, 100).await.unwrap(), 2);
        assert_eq!(store::quarantine::prune(&mut tx, false, third, 5).await.unwrap(), 3);
        assert_eq!(store::quarantine::count(&mut tx).await.unwrap(), 5);
        tx.commit().await.unwrap();
    }

    async fn strange_but_signed_notifications_are_answers(t: Fixture) {
        let (service, worker) = plain(&t);
        let passphrase = Options::default();
        let passphrase = passphrase.passphrase();
        let long = "x".repeat(20_000);
        for pairs in [
            vec![("payment_status", "COMPLETE"), ("merchant_id", "99999999"), ("pf_payment_id", "1")],
            vec![("payment_status", "COMPLETE"), ("merchant_id", "10000100")],
            vec![("merchant_id", "10000100"), ("pf_payment_id", "1")],
            vec![("merchant_id", "10000100"), ("merchant_id", "10000100"), ("payment_status", "COMPLETE")],
            vec![("payment_status", "COMPLETE\0"), ("merchant_id", "10000100"), ("pf_payment_id", "\0")],
            vec![("name_first", "\u{FFFD}\u{1F600}"), ("merchant_id", "1")],
            vec![("merchant_id", "10000100"), ("payment_status", &long), ("pf_payment_id", &long)],
            vec![("merchant_id", "10000100"), ("payment_status", "CANCELLED"), ("m_payment_id", &long)],
            vec![(&long, "1"), (&long, "2"), ("merchant_id", "10000100")],
        ] {
            deliver(&service, &worker, signed_body(&pairs, passphrase)).await;
        }
        let raw = b"name_first=%FF%FE&merchant_id=10000100&payment_status=%FF";
        let signature = Itn::parse(raw).unwrap().signature(passphrase);
        deliver(&service, &worker, [raw, &b"&signature="[..], signature.as_bytes()].concat()).await;
        assert_eq!(jobs_left(&t).await, 0);
        assert_eq!(balances(&service).await, []);
        assert_eq!(events(&service).await.len(), 10);
    }

    async fn money_for_an_unknown_payment_is_kept(t: Fixture) {
        let (service, worker) = plain(&t);
        deliver(&service, &worker, itn("not-one-of-ours", "1", "COMPLETE", "529.00")).await;
        deliver(&service, &worker, itn(&t.world.id::<()>().to_string(), "2", "COMPLETE", "5.00")).await;
        deliver(&service, &worker, itn(&t.world.id::<()>().to_string(), "3", "CANCELLED", "")).await;
        let held = balances(&service).await;
        assert!(held.contains(&(Account::UnappliedReceipts, -53_400)), "{held:?}");
        assert_eq!(alarms(&t).await.len(), 3);
    }

    async fn a_hundred_identical_notifications_have_one_effect(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let body = itn(&checkout.payment_id.to_string(), "1089250", "COMPLETE", "529.00");
        let receipts = futures_util::future::join_all((0..100).map(|_| post(&service, body.clone()))).await;
        assert_eq!(receipts.iter().filter(|receipt| **receipt == Receipt::Stored).count(), 1);
        // The same effect in other bytes, and two workers that run into each other.
        for extra in 0..6 {
            let text = String::from_utf8(body.clone()).unwrap();
            let (head, _) = text.rsplit_once("&signature=").unwrap();
            let head = format!("{head}&extra={extra}");
            let signature = Itn::parse(head.as_bytes()).unwrap().signature(Options::default().passphrase());
            post(&service, format!("{head}&signature={signature}").into_bytes()).await;
        }
        let (_, other) = plain(&t);
        let (one, two) = tokio::join!(worker.run_due(), other.run_due());
        one.unwrap();
        two.unwrap();
        t.clock.advance(Duration::from_secs(7_200));
        worker.run_due().await.unwrap();
        let applied = events(&service).await.into_iter().filter(|(status, _)| *status == EventStatus::Applied);
        assert_eq!(applied.count(), 1);
        let bought = service.get_subscription(&ada, None).await.unwrap().bought.unwrap();
        assert_eq!(bought.period_end.to_rfc3339(), "2026-12-20T10:00:00Z");
        let books = balances(&service).await;
        assert!(books.contains(&(Account::Revenue, -46_000)), "{books:?}");
        // A repetition is not money for a closed order either.
        assert_eq!((books.len(), alarms(&t).await), (4, Vec::new()));
        assert_eq!(jobs_left(&t).await, 0);
    }

    async fn money_for_a_closed_order_is_held_with_an_alarm(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let cancelled = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let id = cancelled.payment_id.to_string();
        deliver(&service, &worker, itn(&id, "1", "CANCELLED", "")).await;
        assert_eq!(status(&service, &ada, cancelled.payment_id).await, PaymentStatus::Cancelled);
        deliver(&service, &worker, itn(&id, "1", "COMPLETE", "529.00")).await;
        assert_eq!(status(&service, &ada, cancelled.payment_id).await, PaymentStatus::Cancelled);
        assert_eq!(service.get_subscription(&ada, None).await.unwrap().bought, None);

        let first = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        name_recipient(&service, &ada).await;
        let second = checkout(&service, &ada, "enterprise", Cycle::Yearly).await;
        deliver(&service, &worker, itn(&second.payment_id.to_string(), "2", "COMPLETE", "17190.00")).await;
        assert_eq!(status(&service, &ada, first.payment_id).await, PaymentStatus::Superseded);
        let void = service.get_invoice(&ada, first.invoice_id).await.unwrap().invoice;
        assert_eq!((void.status, void.number), (InvoiceStatus::Void, None));
        deliver(&service, &worker, itn(&first.payment_id.to_string(), "3", "COMPLETE", "529.00")).await;
        // Paid twice over, under another id of the provider's; and cancelled too late.
        deliver(&service, &worker, itn(&second.payment_id.to_string(), "4", "COMPLETE", "17190.00")).await;
        deliver(&service, &worker, itn(&second.payment_id.to_string(), "2", "CANCELLED", "")).await;
        assert_eq!(status(&service, &ada, second.payment_id).await, PaymentStatus::Succeeded);
        let bought = service.get_subscription(&ada, None).await.unwrap().bought.unwrap();
        assert_eq!(bought.plan_id, "enterprise");
        assert_eq!(bought.period_end.to_rfc3339(), "2027-11-20T10:00:00Z");
        let held = balances(&service).await;
        assert!(held.contains(&(Account::UnappliedReceipts, -(2 * 52_900 + 1_719_000))), "{held:?}");
        assert_eq!(alarms(&t).await, [(AlarmKind::OrderClosed, 1); 3]);
    }

    async fn what_dies_between_the_answer_and_the_effect_is_applied_once(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let checkout = {
            let (service, _never_runs) = plain(&t);
            let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
            post(&service, itn(&checkout.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
            checkout
        };
        let (service, worker) = plain(&t);
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Created);
        worker.run_due().await.unwrap();
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Succeeded);
        assert_eq!((worker.run_due().await.unwrap(), jobs_left(&t).await), (0, 0));
    }

    async fn a_worker_that_lost_its_claim_has_no_effect(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let (service, faster) = plain(&t);
        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        post(&service, itn(&checkout.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
        // While this worker waits for the provider its lease ends, and another applies the event.
        let slow = Arc::new(Overtaken { clock: Arc::clone(&t.clock), faster });
        let (_, overtaken) = node(&t, slow);
        overtaken.run_due().await.unwrap();
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Succeeded);
        assert!(balances(&service).await.contains(&(Account::Revenue, -46_000)));
        assert_eq!(jobs_left(&t).await, 0);
    }

    async fn the_provider_is_asked_until_it_answers(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let (service, worker) = node(&t, Told::next(&[Confirmation::Retry, Confirmation::Retry]));
        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        deliver(&service, &worker, itn(&checkout.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
        assert_eq!(events(&service).await[0].0, EventStatus::Received);
        for _ in 0..2 {
            assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Created);
            t.clock.advance(Duration::from_secs(10));
            worker.run_due().await.unwrap();
        }
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Succeeded);
    }

    async fn what_the_provider_disowns_is_refused(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let (service, worker) = node(&t, Told::next(&[Confirmation::Invalid]));
        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        deliver(&service, &worker, itn(&checkout.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
        assert_eq!(events(&service).await[0].0, EventStatus::Refused);
        assert_eq!(alarms(&t).await, [(AlarmKind::ConfirmationInvalid, 1)]);
        assert_eq!(status(&service, &ada, checkout.payment_id).await, PaymentStatus::Created);
        assert_eq!(balances(&service).await, []);
    }

    async fn numbers_have_no_gap_when_many_pay_at_once(t: Fixture) {
        let (service, worker) = plain(&t);
        let mut invoices = Vec::new();
        for buyer in 0..24 {
            let caller = somebody(&t, &format!("buyer{buyer}@example.com")).await;
            let checkout = checkout(&service, &caller, "pro", Cycle::Monthly).await;
            post(&service, itn(&checkout.payment_id.to_string(), &buyer.to_string(), "COMPLETE", "529.00")).await;
            invoices.push((caller, checkout.invoice_id));
        }
        let (_, second) = plain(&t);
        let (_, third) = plain(&t);
        let _ = tokio::join!(worker.run_due(), second.run_due(), third.run_due());
        t.clock.advance(Duration::from_secs(10));
        worker.run_due().await.unwrap();
        let mut numbers = BTreeSet::new();
        for (caller, id) in invoices {
            numbers.insert(service.get_invoice(&caller, id).await.unwrap().invoice.number.unwrap());
        }
        let expected: BTreeSet<String> = (1..=24).map(|number| format!("TEST-{number:06}")).collect();
        assert_eq!(numbers, expected);
        balances(&service).await;
    }

    async fn a_checkout_is_the_callers_alone(t: Fixture) {
        let (service, worker) = plain(&t);
        let (ada, bob) = (somebody(&t, "ada@example.com").await, somebody(&t, "bob@example.com").await);
        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        deliver(&service, &worker, itn(&checkout.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
        let told = |error: Error| (error.reason().name, error.to_string(), error.metadata());
        let (unknown_payment, unknown_invoice) = (t.world.id(), t.world.id());
        let foreign = told(service.get_payment(&bob, checkout.payment_id).await.unwrap_err());
        assert_eq!(foreign, told(service.get_payment(&bob, unknown_payment).await.unwrap_err()));
        assert_eq!(foreign.0, NOT_FOUND.name);
        let foreign = told(service.get_invoice(&bob, checkout.invoice_id).await.unwrap_err());
        assert_eq!(foreign, told(service.get_invoice(&bob, unknown_invoice).await.unwrap_err()));
        for organization_id in [ada.personal, Some(Id::from_uuid(uuid::Uuid::nil()))] {
            let wish = CreateCheckout { organization_id, ..wish("pro", Cycle::Monthly) };
            let error = service.create_checkout(&bob, wish, None).await.unwrap_err();
            assert_eq!(error.reason().name, NOT_FOUND.name);
            assert!(service.list_invoices(&bob, organization_id, &Listing::default(), None, 10).await.is_err());
            assert!(service.get_subscription(&bob, organization_id).await.is_err());
            assert!(service.get_billing_profile(&bob, organization_id).await.is_err());
        }
        assert!(service.list_provider_events(&ada, &EventFilter::default(), None, 10).await.is_err());
        assert!(service.verify_ledger(&ada).await.is_err());
    }

    async fn a_wrong_wish_names_everything_that_is_wrong(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let error = service.create_checkout(&ada, wish("free", Cycle::Monthly), None).await.unwrap_err();
        assert_eq!(error.reason().name, PLAN_IS_FREE.name);
        let wrong = CreateCheckout {
            item: Item::Plan { plan_id: "gold".to_owned(), cycle: None },
            return_url: "https://evil.example".to_owned(),
            cancel_url: "javascript:alert(1)".to_owned(),
            organization_id: None,
            payment_method_id: None,
        };
        let error = service.create_checkout(&ada, wrong, None).await.unwrap_err();
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["return_url", "cancel_url", "plan.plan_id", "plan.billing_cycle"]);
        let unsold = service.create_checkout(&ada, wish("live-verification", Cycle::Yearly), None).await;
        assert_eq!(unsold.unwrap_err().violations().len(), 1);
        assert_eq!(service.list_invoices(&ada, None, &Listing::default(), None, 10).await.unwrap(), []);
    }

    async fn a_repeated_checkout_is_the_first_one(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let key = |body| RequestKey { method: "checkout".into(), key: uuid::Uuid::from_u128(5), body_hash: [body; 32] };
        let wish = || wish("pro", Cycle::Yearly);
        let first = service.create_checkout(&ada, wish(), Some(&key(1))).await.unwrap();
        let again = service.create_checkout(&ada, wish(), Some(&key(1))).await.unwrap();
        assert_eq!(first, again);
        let other = service.create_checkout(&ada, wish(), Some(&key(2))).await.unwrap_err();
        assert_eq!(other.reason().name, IDEMPOTENCY_KEY_REUSED.name);
        assert_eq!(service.list_invoices(&ada, None, &Listing::default(), None, 10).await.unwrap().len(), 1);
    }

    async fn invoices_carry_the_profile_of_the_day_they_are_paid(t: Fixture) {
        let (service, worker) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let checkout = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let read = service.get_billing_profile(&ada, None).await.unwrap();
        let change = |name: &str, version| UpdateBillingProfile {
            organization_id: None,
            change: ProfileChange { name: Some(name.to_owned()), ..ProfileChange::default() },
            version,
        };
        let changed = service.update_billing_profile(&ada, change("Ada CC", Some(read.version)), None).await.unwrap();
        assert_eq!((changed.name.as_str(), changed.version), ("Ada CC", read.version + 1));
        let stale = service.update_billing_profile(&ada, change("Eve", Some(read.version)), None).await.unwrap_err();
        assert_eq!(stale.reason().name, ETAG_MISMATCH.name);
        deliver(&service, &worker, itn(&checkout.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
        service.update_billing_profile(&ada, change("Later", None), None).await.unwrap();
        let invoice = service.get_invoice(&ada, checkout.invoice_id).await.unwrap().invoice;
        assert_eq!(invoice.customer_name, "Ada CC");
        let wrong = ProfileChange {
            name: Some("x".repeat(201)),
            email: Some("nobody".to_owned()),
            vat_number: Some("1 2".to_owned()),
            country: Some("za".to_owned()),
            address: Some("\u{1}".to_owned()),
        };
        let command = UpdateBillingProfile { organization_id: None, change: wrong, version: None };
        assert_eq!(service.update_billing_profile(&ada, command, None).await.unwrap_err().violations().len(), 5);
    }

    async fn lists_page_without_a_gap_or_a_repeat(t: Fixture) {
        let (service, _) = plain(&t);
        let ada = somebody(&t, "ada@example.com").await;
        for _ in 0..5 {
            checkout(&service, &ada, "pro", Cycle::Monthly).await;
        }
        let all = service.list_invoices(&ada, None, &Listing::default(), None, 10).await.unwrap();
        let first = service.list_invoices(&ada, None, &Listing::default(), None, 2).await.unwrap();
        let last = &first[1].invoice;
        let after = Listing::default().order.place(last);
        let rest = service.list_invoices(&ada, None, &Listing::default(), Some(after), 10).await.unwrap();
        assert_eq!([first, rest].concat(), all);
        assert_eq!((all.len(), all[0].lines.len()), (5, 1));
        let plans = service.list_plans(None, 10).await.unwrap();
        let ids: Vec<_> = plans.iter().map(|plan| plan.id.as_str()).collect();
        assert_eq!(ids, ["free", "pro", "enterprise"]);
    }
}

/// A provider so slow that the lease ends and another worker does the job.
struct Overtaken {
    clock: Arc<capecontrol::base::ManualClock>,
    faster: Worker,
}

#[async_trait::async_trait]
impl Confirm for Overtaken {
    async fn confirm(&self, _: &Itn) -> Confirmation {
        self.clock.advance(Duration::from_secs(120));
        self.faster.run_due().await.unwrap();
        Confirmation::Valid
    }
}
