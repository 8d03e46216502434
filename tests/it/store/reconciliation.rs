//! Reconciliation against a history that a test writes: what is booked, what is told, and what is never booked twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::fault::Fault as _;
use capecontrol::base::{Timestamp, World};
use capecontrol::db::Scope;
use capecontrol::jobs::{State, Worker};
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::reconciliation::{
    Difference, DifferenceKind, DifferenceState, Reconciliation,
};
use capecontrol::payments::model::{AlarmKind, EventStatus, PaymentStatus, ProviderEvent};
use capecontrol::payments::payfast::api::answer::{RawAnswer, Unanswered};
use capecontrol::payments::payfast::api::call::{Call, Endpoint};
use capecontrol::payments::payfast::api::history::grouped_text;
use capecontrol::payments::payfast::verdict::amount_text;
use capecontrol::payments::provider::Transport;
use capecontrol::payments::service::{ApplyEvent, EventFilter, Reconcile, SeenEvent};
use capecontrol::payments::{HISTORY_UNAVAILABLE, Options, REFUND_EXCEEDS_RECEIPT, Service, register, store};

use super::payments::{Told, balances, itn, post, wish};
use super::refunds::{self, Payfast, staff, yes};
use crate::support::{Fixture, audit_log, ledger, on_both, somebody};

const HEADER: &str = concat!(
    r#""Date","Type","Sign","Party","Name","Description","Currency","Funding Type","Gross","Fee","Net","Balance","#,
    r#""M Payment ID","PF Payment ID""#,
);

/// The days that are reconciled: the tests begin on the 20th.
fn days() -> Reconcile {
    Reconcile { from: "2026-11-18".to_owned(), to: "2026-11-20".to_owned() }
}

/// A history of what moved, in rows of PayFast's.
#[derive(Default)]
struct Books {
    rows: Vec<String>,
    balance: i64,
}

impl Books {
    fn add(&mut self, time: &str, kind: &str, (gross, fee): (i64, i64), (reference, id): (&str, &str)) {
        let net = gross + fee;
        self.balance += net;
        let sign = if net < 0 { "DEBIT" } else { "CREDIT" };
        self.rows.push(format!(
            r#""{time}",{kind},{sign},"Somebody",thing,,ZAR,CC,{},{},{},"{}",{reference},{id}"#,
            amount_text(gross),
            amount_text(fee),
            amount_text(net),
            grouped_text(self.balance),
        ));
    }
}

/// PayFast's API with a history of its own, which may answer otherwise first, and refunds that are done.
struct Provider {
    refunds: Arc<Payfast>,
    books: Mutex<Books>,
    first: Mutex<VecDeque<Result<RawAnswer, Unanswered>>>,
    asked: Mutex<usize>,
}

fn csv(rows: &[String]) -> RawAnswer {
    let body = [&[HEADER.to_owned()], rows].concat().join("\n");
    RawAnswer { status: 200, headers: Vec::new(), body: body.into_bytes() }
}

#[async_trait::async_trait]
impl Transport for Provider {
    async fn send(&self, call: &Call) -> Result<RawAnswer, Unanswered> {
        if call.endpoint() != Endpoint::History {
            return self.refunds.send(call).await;
        }
        *self.asked.lock().unwrap() += 1;
        if let Some(answer) = self.first.lock().unwrap().pop_front() {
            return answer;
        }
        let parameters = call.parameters();
        let number = |name: &str| usize::try_from(parameters[name].as_u64().unwrap_or(0)).unwrap();
        let (offset, limit) = (number("offset"), number("limit"));
        let books = self.books.lock().unwrap();
        let page: Vec<String> = books.rows.iter().skip(offset).take(limit).cloned().collect();
        Ok(csv(&page))
    }
}

struct Scene {
    provider: Arc<Provider>,
    service: Arc<Service>,
    worker: Worker,
    ada: Caller,
}

impl Scene {
    async fn start(t: &Fixture) -> Self {
        let refunds = Payfast::new(&t.world);
        let provider = Arc::new(Provider {
            refunds,
            books: Mutex::default(),
            first: Mutex::default(),
            asked: Mutex::default(),
        });
        let (service, worker) = node(t, &t.world, &provider, 1_000);
        Self { provider, service, worker, ada: somebody(t, "ada@example.com").await }
    }

    fn row(&self, time: &str, kind: &str, amounts: (i64, i64), ids: (&str, &str)) {
        let time = format!("2026-11-{time}");
        self.provider.books.lock().unwrap().add(&time, kind, amounts, ids);
    }

    async fn checkout(&self) -> String {
        let started =
            self.service.create_checkout(&self.ada, wish("pro", Cycle::Monthly), None).await.unwrap();
        started.payment_id.to_string()
    }

    /// Buys, with a notification that comes.
    async fn bought(&self, id: &str) -> String {
        let payment = self.checkout().await;
        post(&self.service, itn(&payment, id, "COMPLETE", "529.00")).await;
        self.worker.run_due().await.unwrap();
        payment
    }

    async fn run(&self) -> Reconciliation {
        self.service.run_reconciliation(&Caller::system("test"), &days(), None).await.unwrap()
    }

    async fn differences(&self) -> Vec<Difference> {
        let mut found =
            self.service.list_differences(&Caller::system("test"), None, None, 100).await.unwrap();
        found.sort_by_key(|difference| (difference.kind, difference.provider_minor));
        found
    }

    async fn status(&self, payment: &str) -> PaymentStatus {
        self.service.get_payment(&self.ada, payment.parse().unwrap()).await.unwrap().status
    }

    /// What is in the inbox, the newest first.
    async fn inbox(&self) -> Vec<ProviderEvent> {
        let (staff, all) = (Caller::system("test"), EventFilter::default());
        let seen = self.service.list_provider_events(&staff, &all, None, 100).await.unwrap();
        let signed = seen.into_iter().map(|seen| match seen {
            SeenEvent::Signed(event) => event,
            other @ SeenEvent::Quarantined { .. } => panic!("{other:?}"),
        });
        signed.collect()
    }

    async fn events(&self) -> usize {
        self.inbox().await.len()
    }
}

fn node(t: &Fixture, world: &World, provider: &Arc<Provider>, rows: u32) -> (Arc<Service>, Worker) {
    let options = Options { history_rows: rows, ..Options::default() };
    let confirm = Arc::new(Told::default());
    let service = Service::new(t.db.clone(), world.clone(), options, confirm, audit_log(world), ledger(t));
    let service = Arc::new(service.over(provider.clone()));
    let worker = t.worker(|registry| register(registry, &service));
    (service, worker)
}

async fn alarms(t: &Fixture) -> Vec<(AlarmKind, i64)> {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let mut alarms: Vec<_> = store::alarm::newest(&mut conn, 100).await.unwrap();
    alarms.sort();
    alarms.into_iter().map(|(kind, _, count)| (kind, count)).collect()
}

async fn jobs(t: &Fixture) -> Vec<(State, i64)> {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    capecontrol::jobs::store::count(&mut conn).await.unwrap()
}

fn kinds(differences: &[Difference]) -> Vec<(DifferenceKind, DifferenceState, i64, i64)> {
    let told = |one: &Difference| (one.kind, one.state, one.provider_minor, one.booked_minor);
    differences.iter().map(told).collect()
}

on_both! {
    async fn a_lost_notification_is_repaired_and_buys_what_it_should(t: Fixture) {
        let s = Scene::start(&t).await;
        let (known, lost) = (s.bought("11").await, s.checkout().await);
        s.row("20 12:00:00", "FUNDS_RECEIVED", (52_900, -230), (&known, "11"));
        s.row("20 12:00:01", "FUNDS_RECEIVED", (52_900, -1_216), (&lost, "12"));
        s.row("20 12:00:02", "FUNDS_RECEIVED", (700, -16), ("not-ours", "13"));
        let before = s.service.get_subscription(&s.ada, None).await.unwrap().bought.unwrap();
        let run = s.run().await;
        assert_eq!((run.row_count, run.matched_count, run.repaired_count, run.open_count), (3, 1, 2, 0));
        assert_eq!((run.provider_change_minor, run.difference_minor()), (52_670 + 51_684 + 684, 0));
        assert!(!run.closed);
        assert_eq!(s.status(&lost).await, PaymentStatus::Succeeded);
        let after = s.service.get_subscription(&s.ada, None).await.unwrap().bought.unwrap();
        assert!(after.period_end > before.period_end);
        let held = balances(&s.service).await;
        assert!(held.contains(&(Account::PayfastClearing, run.provider_change_minor)), "{held:?}");
        assert!(held.contains(&(Account::UnappliedReceipts, -700)), "{held:?}");
        let found = s.differences().await;
        let (kind, state) = (DifferenceKind::MissingPayment, DifferenceState::Repaired);
        assert_eq!(kinds(&found), [(kind, state, 684, 684), (kind, state, 51_684, 51_684)]);
        assert_eq!(alarms(&t).await, [(AlarmKind::PaymentUnknown, 1)]);
        // A run more changes nothing, and a notification that comes at last is a replay.
        let events = s.events().await;
        let again = s.run().await;
        assert_eq!((again.matched_count, again.repaired_count, again.difference_minor()), (3, 0, 0));
        assert_eq!((s.differences().await, s.events().await), (found, events));
        t.clock.advance(Duration::from_secs(1));
        post(&s.service, itn(&lost, "12", "COMPLETE", "529.00")).await;
        s.worker.run_due().await.unwrap();
        let told = s.inbox().await;
        assert_eq!(told[0].status, EventStatus::Ignored);
        assert_eq!(told[0].detail, "this effect has happened already");
        assert_eq!(balances(&s.service).await, held);
    }

    async fn what_differs_is_told_to_the_cent_and_left_as_it_is(t: Fixture) {
        let s = Scene::start(&t).await;
        let (short, dear) = (s.bought("11").await, s.checkout().await);
        post(&s.service, itn(&dear, "12", "COMPLETE", "528.99")).await;
        s.bought("13").await;
        s.row("20 12:00:00", "FUNDS_RECEIVED", (52_900, -231), (&short, "11"));
        s.row("20 12:00:01", "FUNDS_RECEIVED", (52_900, -230), (&dear, "12"));
        s.row("20 12:00:02", "SOMETHING_NEW", (-5, 0), ("", ""));
        s.row("20 12:00:03", "FUNDS_RECEIVED", (52_900, -231), (&short, "11"));
        let held = balances(&s.service).await;
        // A day later, so that what is not listed cannot come any more.
        t.clock.advance(Duration::from_hours(24));
        let run = s.run().await;
        assert!(run.closed);
        assert_eq!((run.matched_count, run.repaired_count, run.open_count), (0, 0, 5));
        let (open, found) = (DifferenceState::Open, s.differences().await);
        let expected = [
            (DifferenceKind::ExtraPayment, open, 0, 52_670),
            (DifferenceKind::AmountDiffers, open, 52_670, 52_669),
            (DifferenceKind::FeeDiffers, open, 52_669, 52_670),
            (DifferenceKind::UnknownRow, open, -5, 0),
            (DifferenceKind::UnknownRow, open, 52_669, 0),
        ];
        assert_eq!(kinds(&found), expected);
        // The cents of the differences are the difference.
        let cents: i64 = found.iter().map(|one| one.provider_minor - one.booked_minor).sum();
        assert_eq!((run.difference_minor(), cents), (-1 + 1 - 5 + 52_669 - 52_670, run.difference_minor()));
        assert_eq!(balances(&s.service).await, held);
        let alarmed = alarms(&t).await;
        assert_eq!(alarmed.iter().filter(|(kind, _)| *kind == AlarmKind::ReconciliationDiffers).count(), 5);
        // Each difference is one, and its alarm too.
        s.run().await;
        assert_eq!((s.differences().await, alarms(&t).await), (found.clone(), alarmed));
        // What turns up is explained, and so is what somebody explains; it stays in the sum.
        s.row("20 12:00:04", "FUNDS_RECEIVED", (52_900, -230), ("", "13"));
        let staff = Caller::system("test");
        let explained = s.service.explain_difference(&staff, found[3].id, "a test of PayFast's", None).await.unwrap();
        assert_eq!(explained.state, DifferenceState::Explained);
        assert!(s.service.explain_difference(&staff, found[3].id, "again", None).await.is_err());
        let run = s.run().await;
        assert_eq!((run.open_count, run.difference_minor()), (3, -5 + 52_669));
        let states: Vec<_> = s.differences().await.iter().map(|one| one.state).collect();
        assert_eq!(states, [DifferenceState::Explained, open, open, DifferenceState::Explained, open]);
    }

    async fn what_only_the_history_tells_of_is_booked_once(t: Fixture) {
        let s = Scene::start(&t).await;
        let payment = s.bought("11").await;
        s.row("19 12:00:00", "FUNDS_RECEIVED", (52_900, -230), (&payment, "11"));
        s.row("19 13:00:00", "PAYOUT", (-20_000, -1_400), ("", "901"));
        s.row("19 14:00:00", "FEE", (-300, 0), ("", ""));
        s.row("19 14:00:00", "FEE", (-300, 0), ("", ""));
        s.row("20 09:00:00", "CHARGEBACK", (-52_900, -500), (&payment, "11"));
        s.row("20 10:00:00", "FUNDS_RECEIVED_REFUND", (-100, -230), (&payment, "11"));
        let run = s.run().await;
        assert_eq!((run.matched_count, run.repaired_count, run.open_count), (1, 4, 1));
        // The refund is nobody's here: all but its cents agree.
        assert_eq!(run.difference_minor(), -330);
        let held = balances(&s.service).await;
        let expected = [
            (Account::Bank, 20_000),
            (Account::Chargebacks, 52_900),
            (Account::PayfastClearing, 52_670 - 21_400 - 600 - 53_400),
            (Account::ProviderFees, 230 + 1_400 + 600 + 500),
            (Account::Revenue, -46_000),
            (Account::VatOutput, -6_900),
        ];
        assert_eq!(held, expected);
        let paid = s.service.get_payment(&s.ada, payment.parse().unwrap()).await.unwrap();
        let chargebacks = s.service.chargebacks(&paid).await.unwrap();
        let [chargeback] = chargebacks.as_slice() else { panic!("{chargebacks:?}") };
        assert_eq!((chargeback.amount_minor, chargeback.organization_id), (52_900, Some(paid.organization_id)));
        assert_eq!(chargeback.occurred_at.to_rfc3339(), "2026-11-20T07:00:00Z");
        let kinds: Vec<_> = alarms(&t).await.into_iter().map(|(kind, _)| kind).collect();
        assert!(kinds.contains(&AlarmKind::Chargeback) && kinds.contains(&AlarmKind::ReconciliationDiffers));
        let again = s.run().await;
        assert_eq!((again.matched_count, again.repaired_count, again.open_count), (5, 0, 1));
        assert_eq!((balances(&s.service).await, again.difference_minor()), (held.clone(), -330));
        // Applying the whole inbox again has no effect either.
        let events = s.inbox().await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        for event in events {
            let job = ApplyEvent { event_id: event.id };
            capecontrol::jobs::push(&mut tx, &t.world, None, &job).await.unwrap();
        }
        tx.commit().await.unwrap();
        s.worker.run_due().await.unwrap();
        assert_eq!(balances(&s.service).await, held);
    }

    async fn a_history_is_read_over_its_pages_or_not_at_all(t: Fixture) {
        let s = Scene::start(&t).await;
        for row in 0..5 {
            let id = format!("{}", 20 + row);
            s.row(&format!("20 12:00:0{row}"), "FUNDS_RECEIVED", (1_000 + row, -20), ("", &id));
        }
        let (paged, _) = node(&t, &t.world, &s.provider, 2);
        let staff = Caller::system("test");
        let failed = async |answers: Vec<Result<RawAnswer, Unanswered>>| {
            *s.provider.first.lock().unwrap() = answers.into();
            let error = paged.run_reconciliation(&staff, &days(), None).await.unwrap_err();
            assert_eq!(error.reason(), &HISTORY_UNAVAILABLE);
            assert!(error.retry_after().is_some());
            assert_eq!((s.events().await, s.differences().await.len()), (0, 0), "{error}");
            assert!(paged.list_reconciliations(&staff, None, 10).await.unwrap().is_empty());
            error.to_string()
        };
        let rows = s.provider.books.lock().unwrap().rows.clone();
        let unreadable = rows[3].replace("10.03", "1.0.03");
        let says = failed(vec![Ok(csv(&rows[..2])), Ok(csv(&[rows[2].clone(), unreadable]))]).await;
        assert!(says.contains("line 3"), "{says}");
        let down = Unanswered::NotSent { why: "PayFast is down".to_owned(), wait: Duration::from_secs(9) };
        let says = failed(vec![Ok(csv(&rows[..2])), Err(down)]).await;
        assert!(says.contains("PayFast is down"), "{says}");
        failed(vec![Ok(csv(&rows[..2])), Err(Unanswered::Lost("timed out".to_owned()))]).await;
        // Rows that moved from page to page while we asked.
        let says = failed(vec![Ok(csv(&rows[..2])), Ok(csv(&rows[1..3]))]).await;
        assert!(says.contains("came before"), "{says}");
        *s.provider.asked.lock().unwrap() = 0;
        let run = paged.run_reconciliation(&staff, &days(), None).await.unwrap();
        assert_eq!((run.row_count, run.repaired_count, run.difference_minor()), (5, 5, 0));
        assert_eq!(*s.provider.asked.lock().unwrap(), 3);
        // A row that is left out between others is seen by the balances, whatever else agrees.
        s.provider.books.lock().unwrap().rows.remove(2);
        let run = paged.run_reconciliation(&staff, &days(), None).await.unwrap();
        assert_eq!((run.matched_count, run.open_count), (4, 1));
        assert_eq!(s.differences().await.last().unwrap().kind, DifferenceKind::BrokenBalance);
    }

    async fn two_nodes_at_once_book_once(t: Fixture) {
        let s = Scene::start(&t).await;
        let lost = s.checkout().await;
        s.row("20 12:00:00", "FUNDS_RECEIVED", (52_900, -1_216), (&lost, "12"));
        s.row("20 12:00:01", "PAYOUT", (-20_000, 0), ("", "901"));
        for number in 0..10 {
            let id = format!("{}", 30 + number);
            s.row(&format!("20 12:01:0{number}"), "FUNDS_RECEIVED", (1_000, -20), ("", &id));
        }
        let world = World::new(t.clock.clone(), Arc::new(capecontrol::base::SeededRng::new(99)));
        let (other, _) = node(&t, &world, &s.provider, 5);
        let staff = Caller::system("test");
        let days = days();
        let (one, two) = tokio::join!(
            s.service.run_reconciliation(&staff, &days, None),
            other.run_reconciliation(&staff, &days, None),
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        for run in [&one, &two] {
            assert_eq!((run.row_count, run.open_count, run.difference_minor()), (12, 0, 0), "{run:?}");
        }
        assert_eq!(one.repaired_count + two.repaired_count, 12);
        let held = balances(&s.service).await;
        assert!(held.contains(&(Account::PayfastClearing, one.provider_change_minor)), "{held:?}");
        assert!(held.contains(&(Account::Bank, 20_000)), "{held:?}");
        assert_eq!(s.differences().await.len(), 12);
    }

    async fn each_day_is_reconciled_by_one_node_and_tried_again(t: Fixture) {
        let s = Scene::start(&t).await;
        let (other, _) = node(&t, &t.world, &s.provider, 1_000);
        // Nobody ever paid.
        assert!(!s.service.push_reconciliation().await.unwrap());
        let lost = s.checkout().await;
        s.row("20 12:00:00", "FUNDS_RECEIVED", (52_900, -1_216), (&lost, "12"));
        assert!(!s.service.push_reconciliation().await.unwrap());
        // An hour after midnight in South Africa.
        let morning = Timestamp::parse_rfc3339("2026-11-20T23:00:00Z").unwrap();
        t.clock.set(morning.minus(Duration::from_secs(1)));
        assert!(!s.service.push_reconciliation().await.unwrap());
        t.clock.set(morning);
        assert!(s.service.push_reconciliation().await.unwrap());
        assert!(!other.push_reconciliation().await.unwrap());
        assert!(!s.service.push_reconciliation().await.unwrap());
        let down = Unanswered::NotSent { why: "PayFast is down".to_owned(), wait: Duration::from_secs(900) };
        s.provider.first.lock().unwrap().push_back(Err(down));
        s.worker.run_due().await.unwrap();
        assert_eq!((s.status(&lost).await, jobs(&t).await), (PaymentStatus::Created, vec![(State::Ready, 1)]));
        t.clock.advance(Duration::from_secs(900));
        s.worker.run_due().await.unwrap();
        assert_eq!((s.status(&lost).await, jobs(&t).await), (PaymentStatus::Succeeded, vec![]));
        let runs = s.service.list_reconciliations(&Caller::system("test"), None, 10).await.unwrap();
        let [run] = runs.as_slice() else { panic!("{runs:?}") };
        assert_eq!((run.from_day.as_str(), run.to_day.as_str(), run.closed), ("2026-11-18", "2026-11-20", true));
        t.clock.advance(Duration::from_hours(24));
        assert!(other.push_reconciliation().await.unwrap());
    }

    async fn refunds_are_matched_by_what_went_and_their_fees_booked_once(t: Fixture) {
        let s = Scene::start(&t).await;
        let payment = s.bought("11").await;
        s.provider.refunds.paid("11", 52_900);
        let (maker, checker) = (staff(&t, "maker@example.com").await, staff(&t, "checker@example.com").await);
        let give_back = async |minor| {
            let wish = refunds::wish(payment.parse().unwrap(), Some(minor));
            let refund = s.service.refund_payment(&maker, wish, None).await.unwrap();
            s.service.approve_refund(&checker, yes(&refund), None).await.unwrap();
            s.worker.run_due().await.unwrap();
            t.clock.advance(Duration::from_mins(10));
            refund.id
        };
        let (first, second, third) = (give_back(100).await, give_back(400).await, give_back(100).await);
        s.row("20 12:00:00", "FUNDS_RECEIVED", (52_900, -230), (&payment, "11"));
        s.row("20 12:00:01", "FUNDS_RECEIVED_REFUND", (-400, -230), (&payment, "11"));
        s.row("20 12:00:02", "FUNDS_RECEIVED_REFUND", (-100, 0), (&payment, "11"));
        let run = s.run().await;
        assert_eq!((run.matched_count, run.repaired_count, run.open_count), (2, 1, 0));
        assert_eq!(run.difference_minor(), 0);
        let fees = [(first, Some(0)), (second, Some(230)), (third, None)];
        for (id, fee) in fees {
            assert_eq!(s.service.get_refund(&maker, id).await.unwrap().fee_minor, fee);
        }
        let held = balances(&s.service).await;
        assert!(held.contains(&(Account::ProviderFees, 460)), "{held:?}");
        // The history has no third refund, nor does it when the day is over, which is told.
        t.clock.advance(Duration::from_hours(24));
        let run = s.run().await;
        assert_eq!((run.matched_count, run.repaired_count, run.open_count), (3, 0, 1));
        assert_eq!(run.difference_minor(), 100);
        let found = s.differences().await;
        let extra = (DifferenceKind::ExtraRefund, DifferenceState::Open, 0, -100);
        let fee = (DifferenceKind::MissingCharge, DifferenceState::Repaired, -630, -630);
        assert_eq!(kinds(&found), [fee, extra]);
        assert_eq!(found[1].subject, third.to_string());
        // When it turns up it is that one, and one more is nobody's.
        s.row("20 12:00:03", "FUNDS_RECEIVED_REFUND", (-100, -230), (&payment, "11"));
        s.row("20 12:00:04", "FUNDS_RECEIVED_REFUND", (-100, -230), (&payment, "11"));
        let run = s.run().await;
        assert_eq!((run.matched_count, run.repaired_count, run.open_count), (3, 1, 1));
        assert_eq!(run.difference_minor(), -330);
        let states: Vec<_> = s.differences().await.iter().map(|one| (one.kind, one.state)).collect();
        let missing = (DifferenceKind::MissingRefund, DifferenceState::Open);
        assert!(states.contains(&missing), "{states:?}");
        assert!(states.contains(&(DifferenceKind::ExtraRefund, DifferenceState::Explained)), "{states:?}");
        let report = s.service.verify_ledger(&Caller::system("test")).await.unwrap();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }

    async fn what_a_card_scheme_took_back_is_not_given_back(t: Fixture) {
        let s = Scene::start(&t).await;
        let payment = s.bought("11").await;
        s.provider.refunds.paid("11", 52_900);
        let (maker, checker) = (staff(&t, "maker@example.com").await, staff(&t, "checker@example.com").await);
        let wish = |minor| refunds::wish(payment.parse().unwrap(), Some(minor));
        let before = s.service.refund_payment(&maker, wish(10_000), None).await.unwrap();
        s.row("20 12:00:00", "FUNDS_RECEIVED", (52_900, -230), (&payment, "11"));
        s.row("20 12:30:00", "CHARGEBACK", (-50_000, 0), (&payment, "11"));
        s.run().await;
        // Neither what was proposed before, nor a new one.
        let late = s.service.approve_refund(&checker, yes(&before), None).await.unwrap_err();
        let new = s.service.refund_payment(&maker, wish(2_901), None).await.unwrap_err();
        assert_eq!([late.reason(), new.reason()], [&REFUND_EXCEEDS_RECEIPT, &REFUND_EXCEEDS_RECEIPT]);
        let rest = s.service.refund_payment(&maker, wish(2_900), None).await.unwrap();
        s.service.approve_refund(&checker, yes(&rest), None).await.unwrap();
        let report = s.service.verify_ledger(&Caller::system("test")).await.unwrap();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }
}
