//! A process that dies at each named point between money and its effect. After the next start the effect is there,
//! once.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::db::Scope;
use capecontrol::jobs::Worker;
use capecontrol::payments::crash::{Crash, CrashPoint};
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{EventStatus, PaymentStatus, RefundStatus};
use capecontrol::payments::{Options, Service, register, store};
use tokio::sync::Notify;

use super::payments::{Told, balances, checkout, events, itn, jobs_left, post, status};
use super::refunds::{Mood, Payfast, Shop, over, yes};
use crate::support::{Fixture, audit_log, ledger, on_both, somebody};

/// Points on the way of a notification, after it was posted.
const APPLYING: [CrashPoint; 5] = [
    CrashPoint::EventUnconfirmed,
    CrashPoint::EventConfirmed,
    CrashPoint::EffectTaken,
    CrashPoint::EffectWritten,
    CrashPoint::EffectCommitted,
];
/// Points on the way of a refund, after it was approved.
const SENDING: [CrashPoint; 5] = [
    CrashPoint::RefundTermsKnown,
    CrashPoint::RefundIntended,
    CrashPoint::RefundAnswered,
    CrashPoint::RefundWritten,
    CrashPoint::RefundCommitted,
];

/// Nothing goes on behind this point.
struct Kill {
    at: CrashPoint,
    reached: Notify,
}

#[async_trait::async_trait]
impl Crash for Kill {
    async fn reach(&self, point: CrashPoint) {
        if point == self.at {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// A process that will die at a point.
struct Doomed {
    kill: Arc<Kill>,
    service: Arc<Service>,
    worker: Worker,
}

impl Doomed {
    fn new(t: &Fixture, payfast: &Arc<Payfast>, at: CrashPoint) -> Self {
        let kill = Arc::new(Kill { at, reached: Notify::new() });
        let log = audit_log(&t.world);
        let service =
            Service::new(t.db.clone(), t.world.clone(), Options::default(), Told::next(&[]), log, ledger(t));
        let service = service.over(Arc::clone(payfast) as _).heard_by(Arc::clone(&kill) as _);
        let service = Arc::new(service);
        let worker = t.worker(|registry| register(registry, &service));
        Self { kill, service, worker }
    }

    /// Lets it work until it dies. What it had open goes with it.
    async fn dies<T>(&self, at_work: impl Future<Output = T>) {
        tokio::select! {
            () = self.kill.reached.notified() => {}
            _ = at_work => panic!("{} was not reached", self.kill.at.as_str()),
        }
    }
}

/// Another process runs until nothing is left to do; its clock goes on to whatever is due next.
async fn next_process(t: &Fixture, payfast: &Arc<Payfast>) -> Arc<Service> {
    let (service, worker) = over(t, payfast);
    for _ in 0..40 {
        worker.run_due().await.unwrap();
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let Some(due) = capecontrol::jobs::store::earliest(&mut conn).await.unwrap() else { break };
        t.clock.set(due);
    }
    assert_eq!(jobs_left(t).await, 0, "something is still to be done");
    service
}

async fn dies_with_a_payment(t: &Fixture, at: CrashPoint) {
    let payfast = Payfast::new(&t.world);
    let (service, _) = over(t, &payfast);
    let ada = somebody(t, "ada@example.com").await;
    let sold = checkout(&service, &ada, "pro", Cycle::Monthly).await;
    let body = itn(&sold.payment_id.to_string(), "1", "COMPLETE", "529.00");
    let doomed = Doomed::new(t, &payfast, at);
    if at == CrashPoint::EventStored {
        doomed.dies(post(&doomed.service, body)).await;
    } else {
        post(&service, body).await;
        doomed.dies(doomed.worker.run_due()).await;
    }
    drop(doomed);
    let service = next_process(t, &payfast).await;
    let what = at.as_str();
    assert_eq!(status(&service, &ada, sold.payment_id).await, PaymentStatus::Succeeded, "{what}");
    assert_eq!(events(&service).await[0].0, EventStatus::Applied, "{what}");
    let invoice = service.get_invoice(&ada, sold.invoice_id).await.unwrap().invoice;
    assert_eq!(invoice.number.as_deref(), Some("TEST-000001"), "{what}");
    balances(&service).await;
    let report = service.verify_ledger(&capecontrol::auth::Caller::system("test")).await.unwrap();
    assert_eq!(report.transactions, 2, "{what}");
    let bought = service.get_subscription(&ada, None).await.unwrap().bought.unwrap();
    assert_eq!(bought.period_start.date().day(), bought.period_end.date().day(), "{what}: one month");
}

/// What is true wherever it died: what went back at the provider is what the books say went back.
async fn agrees_with_the_provider(t: &Fixture, shop: &Shop, service: &Service, what: &str) {
    balances(service).await;
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let receipt = store::receipt::applied_of_payment(&mut conn, shop.sold.payment_id).await.unwrap().unwrap();
    let gone: i64 = shop.payfast.gone().iter().sum();
    assert_eq!(receipt.returned_minor, gone, "{what}");
    assert!(shop.payfast.told() <= 1, "{what}: it was sent twice");
}

async fn dies_with_a_refund(t: &Fixture, at: CrashPoint) {
    let shop = Shop::open(t).await;
    let refund = shop.propose(None).await.unwrap();
    let doomed = Doomed::new(t, &shop.payfast, at);
    match at {
        CrashPoint::RefundApproved => {
            doomed.dies(doomed.service.approve_refund(&shop.checker, yes(&refund), None)).await;
        }
        CrashPoint::RefundFoundOut => {
            shop.payfast.mood(Mood::Loses);
            shop.approve(&refund).await.unwrap();
            shop.worker.run_due().await.unwrap();
            t.clock.advance(Duration::from_mins(5));
            doomed.dies(doomed.worker.run_due()).await;
        }
        _ => {
            shop.approve(&refund).await.unwrap();
            doomed.dies(doomed.worker.run_due()).await;
        }
    }
    drop(doomed);
    let service = next_process(t, &shop.payfast).await;
    let what = at.as_str();
    agrees_with_the_provider(t, &shop, &service, what).await;
    let ended = shop.now(&refund).await.status;
    // Only what was written down and never left ends without money; everywhere else the money went, once.
    let expected =
        if at == CrashPoint::RefundIntended { RefundStatus::Failed } else { RefundStatus::Succeeded };
    assert_eq!(ended, expected, "{what}");
}

on_both! {
    async fn a_payment_is_applied_once_wherever_the_process_died(t: Fixture) {
        for at in std::iter::once(CrashPoint::EventStored).chain(APPLYING) {
            let t = Fixture::start_like(&t).await;
            dies_with_a_payment(&t, at).await;
        }
    }

    async fn a_refund_is_done_once_wherever_the_process_died(t: Fixture) {
        for at in [CrashPoint::RefundApproved, CrashPoint::RefundFoundOut].into_iter().chain(SENDING) {
            let t = Fixture::start_like(&t).await;
            dies_with_a_refund(&t, at).await;
        }
    }
}
