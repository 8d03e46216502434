//! What operators do with the inbox: look, and have applied again what was kept from its effect.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::Secret;
use capecontrol::base::fault::{Fault as _, NOT_FOUND};
use capecontrol::db::Scope;
use capecontrol::jobs::Worker;
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{EventStatus, Payment, PaymentId, PaymentStatus, ReceiptStatus};
use capecontrol::payments::service::{EventFilter, Receipt, SeenEvent};
use capecontrol::payments::{
    Options, PROVIDER_EVENT_APPLIED, SIGNATURE_STILL_WRONG, Service, register, store,
};

use super::payments::{Told, balances, checkout, deliver, events, itn, post, status};
use super::refunds::staff;
use crate::support::{Fixture, audit_log, ledger, on_both, somebody};

/// The domain with another passphrase than the one that PayFast signs with.
fn with_passphrase(t: &Fixture, passphrase: &str) -> (Arc<Service>, Worker) {
    let passphrase = Secret::new(passphrase.to_owned());
    let options = Options { passphrase, ..Options::default() };
    let log = audit_log(&t.world);
    let service =
        Arc::new(Service::new(t.db.clone(), t.world.clone(), options, Told::next(&[]), log, ledger(t)));
    let worker = t.worker(|registry| register(registry, &service));
    (service, worker)
}

fn right(t: &Fixture) -> (Arc<Service>, Worker) {
    with_passphrase(t, Options::default().passphrase().unwrap())
}

async fn only(service: &Service, filter: &EventFilter) -> SeenEvent {
    let found = service.list_provider_events(&Caller::system("test"), filter, None, 10).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

fn id(seen: &SeenEvent) -> capecontrol::payments::model::EventId {
    capecontrol::base::Id::from_uuid(seen.place().id)
}

on_both! {
    async fn what_was_refused_for_a_wrong_passphrase_is_applied_again_once(t: Fixture) {
        let (service, worker) = right(&t);
        let (_, wrong) = with_passphrase(&t, "another");
        let (ada, admin) = (somebody(&t, "ada@example.com").await, staff(&t, "admin@example.com").await);
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        post(&service, itn(&sold.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
        wrong.run_due().await.unwrap();
        assert_eq!(events(&service).await[0].0, EventStatus::Refused);
        let event = id(&only(&service, &EventFilter::default()).await);
        assert!(service.replay_provider_event(&ada, event, None).await.is_err());
        let replayed = service.replay_provider_event(&admin, event, None).await.unwrap();
        assert_eq!(replayed.status, EventStatus::Received);
        // Twice at once: still one effect.
        service.replay_provider_event(&admin, event, None).await.unwrap();
        worker.run_due().await.unwrap();
        assert_eq!(status(&service, &ada, sold.payment_id).await, PaymentStatus::Succeeded);
        let refused = service.replay_provider_event(&admin, event, None).await.unwrap_err();
        assert_eq!(refused.reason(), &PROVIDER_EVENT_APPLIED);
        let books = service.verify_ledger(&admin).await.unwrap();
        assert_eq!((books.balanced(), books.transactions), (true, 2));
        let unknown = service.replay_provider_event(&admin, t.world.id(), None).await.unwrap_err();
        assert_eq!(unknown.reason(), &NOT_FOUND);
    }

    async fn quarantine_is_looked_into_and_left_by_a_good_signature_only(t: Fixture) {
        let (service, worker) = right(&t);
        let (mistaken, _) = with_passphrase(&t, "another");
        let (ada, admin) = (somebody(&t, "ada@example.com").await, staff(&t, "admin@example.com").await);
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let good = itn(&sold.payment_id.to_string(), "1", "COMPLETE", "529.00");
        assert_eq!(post(&mistaken, good.clone()).await, Receipt::Quarantined);
        let quarantined = EventFilter { quarantined: true, ..EventFilter::default() };
        let seen = only(&service, &quarantined).await;
        let detail = service.get_provider_event(&admin, id(&seen)).await.unwrap();
        assert!(detail.signature_valid, "by the passphrase of now");
        assert_eq!(detail.body_text.unwrap().as_bytes(), good);
        let refused = mistaken.replay_provider_event(&admin, id(&seen), None).await.unwrap_err();
        assert_eq!(refused.reason(), &SIGNATURE_STILL_WRONG);
        service.replay_provider_event(&admin, id(&seen), None).await.unwrap();
        worker.run_due().await.unwrap();
        assert_eq!(status(&service, &ada, sold.payment_id).await, PaymentStatus::Succeeded);
        let left = service.list_provider_events(&admin, &quarantined, None, 10).await.unwrap();
        assert_eq!(left, []);
        // The same bytes once more, by way of quarantine: they are in the inbox already.
        t.clock.advance(Duration::from_secs(1));
        post(&mistaken, good).await;
        let again = only(&service, &quarantined).await;
        let refused = service.replay_provider_event(&admin, id(&again), None).await.unwrap_err();
        assert_eq!(refused.reason(), &PROVIDER_EVENT_APPLIED);
        balances(&service).await;
    }

    async fn money_of_nobody_becomes_an_orders_when_the_payment_is_known(t: Fixture) {
        let (service, worker) = right(&t);
        let (ada, admin) = (somebody(&t, "ada@example.com").await, staff(&t, "admin@example.com").await);
        let late: PaymentId = t.world.id();
        deliver(&service, &worker, itn(&late.to_string(), "1", "COMPLETE", "529.00")).await;
        let event = id(&only(&service, &EventFilter::default()).await);
        service.replay_provider_event(&admin, event, None).await.unwrap();
        worker.run_due().await.unwrap();
        // Nobody knows it still, and nothing is booked a second time.
        assert_eq!(events(&service).await[0].0, EventStatus::Unapplied);
        assert_eq!(service.verify_ledger(&admin).await.unwrap().transactions, 1);
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let payment = service.get_payment(&ada, sold.payment_id).await.unwrap();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        store::payment::insert(&mut tx, &Payment { id: late, ..payment }).await.unwrap();
        tx.commit().await.unwrap();
        service.replay_provider_event(&admin, event, None).await.unwrap();
        worker.run_due().await.unwrap();
        assert_eq!(events(&service).await[0].0, EventStatus::Applied);
        assert_eq!(status(&service, &ada, late).await, PaymentStatus::Succeeded);
        assert_eq!(service.get_subscription(&ada, None).await.unwrap().plan.id, "pro");
        let sales = [
            (Account::PayfastClearing, 52_670),
            (Account::ProviderFees, 230),
            (Account::Revenue, -46_000),
            (Account::VatOutput, -6_900),
        ];
        assert_eq!(balances(&service).await, sales);
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let receipts = store::receipt::of_payment(&mut conn, late).await.unwrap();
        let told: Vec<_> = receipts.iter().map(|receipt| (receipt.status, receipt.organization_id)).collect();
        assert_eq!(told, [(ReceiptStatus::Applied, ada.personal)]);
    }

    async fn the_inbox_is_found_by_payment_status_and_time(t: Fixture) {
        let (service, worker) = right(&t);
        let ada = somebody(&t, "ada@example.com").await;
        let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
        let payment = sold.payment_id.to_string();
        let mut times = Vec::new();
        for (number, word) in ["PENDING", "FAILED", "COMPLETE"].into_iter().enumerate() {
            t.clock.advance(Duration::from_secs(10));
            times.push(t.world.now());
            deliver(&service, &worker, itn(&payment, &format!("{number}"), word, "529.00")).await;
        }
        deliver(&service, &worker, itn("nobody", "9", "COMPLETE", "1.00")).await;
        let words = async |filter: EventFilter| -> Vec<String> {
            let found = service.list_provider_events(&Caller::system("test"), &filter, None, 10).await.unwrap();
            let word = |seen| match seen {
                SeenEvent::Signed(event) => event.payment_status,
                SeenEvent::Quarantined { .. } => panic!(),
            };
            found.into_iter().map(word).collect()
        };
        let of = |change: &dyn Fn(&mut EventFilter)| {
            let mut filter = EventFilter::default();
            change(&mut filter);
            filter
        };
        assert_eq!(words(of(&|_| {})).await.len(), 4);
        let mine = of(&|filter| filter.wanted.payment_reference = Some(payment.clone()));
        assert_eq!(words(mine).await, ["COMPLETE", "FAILED", "PENDING"]);
        let one = of(&|filter| filter.wanted.provider_payment_id = Some("1".to_owned()));
        assert_eq!(words(one).await, ["FAILED"]);
        let window = of(&|filter| {
            filter.wanted.from = Some(times[1]);
            filter.until = Some(times[2]);
        });
        assert_eq!(words(window).await, ["FAILED"]);
        let held = of(&|filter| filter.wanted.status = Some(EventStatus::Unapplied));
        assert_eq!(words(held).await, ["COMPLETE"]);
        let both = of(&|filter| {
            filter.wanted.status = Some(EventStatus::Unapplied);
            filter.wanted.payment_reference = Some(payment.clone());
        });
        assert_eq!(words(both).await, [] as [&str; 0]);
    }
}
