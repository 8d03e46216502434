//! Payments against a model, from seeds: buyers start, pay, cancel and repeat in any order, notifications come twice,
//! late and wrong, the provider is silent at times, workers race, and yet every rand is booked once and buys what it
//! was paid for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::{SeededRng, Timestamp, World};
use capecontrol::jobs::Worker;
use capecontrol::payments::Service;
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::listing::Listing;
use capecontrol::payments::model::period::{Cycle, after, anchor_day};
use capecontrol::payments::model::{PaymentId, PaymentStatus};
use capecontrol::payments::payfast::confirmation::Confirmation;
use capecontrol::payments::payfast::itn::Itn;
use capecontrol::payments::payfast::verdict::amount_text;
use capecontrol::payments::provider::Confirm;

use crate::store::payments::{balances, itn, node, post, wish};
use crate::support::{Fixture, on_both, somebody};

const SEEDS: u64 = 6;
const STEPS: usize = 60;
const BUYERS: u64 = 3;
const FEE: i64 = 230;
const PLANS: [(&str, Cycle, i64); 4] = [
    ("pro", Cycle::Monthly, 52_900),
    ("pro", Cycle::Yearly, 499_000),
    ("enterprise", Cycle::Monthly, 179_900),
    ("live-verification", Cycle::Monthly, 500),
];

/// A provider that is silent a third of the time.
struct Moody(Mutex<World>);

#[async_trait::async_trait]
impl Confirm for Moody {
    async fn confirm(&self, _: &Itn) -> Confirmation {
        if self.0.lock().unwrap().below(3) == 0 { Confirmation::Retry } else { Confirmation::Valid }
    }
}

/// What the model knows of a payment.
struct Order {
    buyer: usize,
    plan: usize,
    status: PaymentStatus,
}

impl Order {
    fn is_alive(&self) -> bool {
        self.status.is_alive()
    }
}

/// What ought to be.
#[derive(Default)]
struct Model {
    orders: BTreeMap<PaymentId, Order>,
    /// Effects that have happened: the provider's id and word.
    effects: BTreeSet<(u64, &'static str)>,
    sold: i64,
    held: i64,
    fees: i64,
    paid: usize,
    /// Each buyer's plan, anchor and end.
    subscriptions: BTreeMap<usize, (usize, i64, Timestamp)>,
}

/// A notification, as the model sees it.
#[derive(Clone, Copy)]
struct Notice {
    payment: Option<PaymentId>,
    provider_id: u64,
    word: &'static str,
    amount: i64,
}

impl Model {
    fn apply(&mut self, notice: Notice, now: Timestamp) {
        if !self.effects.insert((notice.provider_id, notice.word)) {
            return;
        }
        let order = notice.payment.and_then(|id| self.orders.get_mut(&id));
        let exact = order.as_ref().is_some_and(|order| PLANS[order.plan].2 == notice.amount);
        // A failed attempt may still succeed: the buyer takes another card.
        let payable = order.filter(|order| order.is_alive() || order.status == PaymentStatus::Failed);
        match (payable, notice.word) {
            (Some(order), "CANCELLED") if order.is_alive() => order.status = PaymentStatus::Cancelled,
            (Some(order), "FAILED") if exact && order.is_alive() => order.status = PaymentStatus::Failed,
            (Some(order), "PENDING") if exact && order.status == PaymentStatus::Created => {
                order.status = PaymentStatus::Pending;
            }
            (Some(order), "COMPLETE") if exact => {
                order.status = PaymentStatus::Succeeded;
                let (buyer, plan) = (order.buyer, order.plan);
                self.fees += FEE;
                self.sold += notice.amount;
                self.paid += 1;
                self.give(buyer, plan, now);
            }
            (_, "CANCELLED" | "FAILED" | "PENDING") => {}
            _ => {
                self.fees += FEE;
                self.held += notice.amount;
            }
        }
    }

    fn give(&mut self, buyer: usize, plan: usize, now: Timestamp) {
        if PLANS[plan].0 == "live-verification" {
            return;
        }
        let cycle = PLANS[plan].1;
        let bought = match self.subscriptions.get(&buyer) {
            Some((same, anchor, end)) if *same == plan && now < *end => {
                (plan, *anchor, after(*end, *anchor, cycle).end)
            }
            _ => (plan, anchor_day(now), after(now, anchor_day(now), cycle).end),
        };
        self.subscriptions.insert(buyer, bought);
        let others = self.orders.values_mut().filter(|order| order.buyer == buyer);
        for other in others.filter(|order| PLANS[order.plan].0 != "live-verification") {
            if other.is_alive() {
                other.status = PaymentStatus::Superseded;
            }
        }
    }
}

/// One run: the platform, the model, and who plays.
struct Run<'t> {
    t: &'t Fixture,
    dice: World,
    service: Arc<Service>,
    workers: [Worker; 2],
    buyers: Vec<Caller>,
    model: Model,
    sent: Vec<Notice>,
    under_way: Option<Notice>,
}

impl<'t> Run<'t> {
    async fn new(t: &'t Fixture, seed: u64) -> Self {
        let dice = World::new(Arc::clone(&t.clock) as _, Arc::new(SeededRng::new(seed)));
        let moody = || Arc::new(Moody(Mutex::new(dice.clone())));
        let (service, one) = node(t, moody());
        let (_, two) = node(t, moody());
        let mut buyers = Vec::new();
        for number in 0..BUYERS {
            buyers.push(somebody(t, &format!("buyer{number}-{seed}@example.com")).await);
        }
        let (model, sent) = (Model::default(), Vec::new());
        Self { t, dice, service, workers: [one, two], buyers, model, sent, under_way: None }
    }

    fn roll(&self, below: usize) -> usize {
        usize::try_from(self.dice.below(u64::try_from(below).unwrap())).unwrap()
    }

    async fn step(&mut self) {
        match self.roll(10) {
            0..=2 => self.start().await,
            3..=6 => self.notify().await,
            7 => self.repeat().await,
            8 => self.t.clock.advance(Duration::from_secs(self.dice.below(40 * 86_400))),
            _ => {}
        }
        self.settle().await;
    }

    async fn start(&mut self) {
        let (buyer, plan) = (self.roll(self.buyers.len()), self.roll(PLANS.len()));
        let (plan_id, cycle, _) = PLANS[plan];
        let checkout =
            self.service.create_checkout(&self.buyers[buyer], wish(plan_id, cycle), None).await.unwrap();
        self.model.orders.insert(checkout.payment_id, Order { buyer, plan, status: PaymentStatus::Created });
    }

    async fn notify(&mut self) {
        let ids: Vec<PaymentId> = self.model.orders.keys().copied().collect();
        let payment =
            if ids.is_empty() || self.roll(12) == 0 { None } else { Some(ids[self.roll(ids.len())]) };
        let price = payment.map_or(1_000, |id| PLANS[self.model.orders[&id].plan].2);
        let amount = if self.roll(8) == 0 { price + 1 } else { price };
        let word = ["COMPLETE", "COMPLETE", "COMPLETE", "CANCELLED", "FAILED", "PENDING"][self.roll(6)];
        // The provider's ids collide at times, which they never should.
        let provider_id = self.dice.below(200);
        self.send(Notice { payment, provider_id, word, amount }).await;
    }

    async fn repeat(&mut self) {
        if !self.sent.is_empty() {
            let again = self.sent[self.roll(self.sent.len())];
            self.send(again).await;
        }
    }

    async fn send(&mut self, notice: Notice) {
        let payment = notice.payment.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let body = itn(&payment, &notice.provider_id.to_string(), notice.word, &amount_text(notice.amount));
        post(&self.service, body).await;
        self.sent.push(notice);
        self.under_way = Some(notice);
    }

    /// Lets both workers run until the provider has answered everything, then compares.
    async fn settle(&mut self) {
        for _ in 0..100 {
            let (one, two) = tokio::join!(self.workers[0].run_due(), self.workers[1].run_due());
            one.unwrap();
            two.unwrap();
            let mut conn = self.t.db.conn(capecontrol::db::Scope::System("test")).await.unwrap();
            let left = capecontrol::jobs::store::earliest(&mut conn).await.unwrap();
            drop(conn);
            match left {
                None => break,
                // The job's own back-off; the model applies at the time at which the event is applied.
                Some(due) => self.t.clock.set(due),
            }
        }
        // Only one event is ever under way, so it was applied at this very time.
        if let Some(notice) = self.under_way.take() {
            self.model.apply(notice, self.t.world.now());
        }
        self.compare().await;
    }

    async fn compare(&self) {
        for (id, order) in &self.model.orders {
            let payment = self.service.get_payment(&self.buyers[order.buyer], *id).await.unwrap();
            assert_eq!(payment.status, order.status, "{id}");
        }
        for (buyer, caller) in self.buyers.iter().enumerate() {
            let found = self.service.get_subscription(caller, None).await.unwrap().bought;
            let found = found.map(|bought| (bought.plan_id, bought.billing_cycle, bought.period_end));
            let expected = self.model.subscriptions.get(&buyer);
            let expected = expected.map(|(plan, _, end)| (PLANS[*plan].0.to_owned(), PLANS[*plan].1, *end));
            assert_eq!(found, expected);
        }
        let books: BTreeMap<Account, i64> = balances(&self.service).await.into_iter().collect();
        let of = |account| books.get(&account).copied().unwrap_or(0);
        assert_eq!(-of(Account::Revenue) - of(Account::VatOutput), self.model.sold);
        assert_eq!(-of(Account::UnappliedReceipts), self.model.held);
        assert_eq!(of(Account::ProviderFees), self.model.fees);
        assert_eq!(of(Account::PayfastClearing), self.model.sold + self.model.held - self.model.fees);
    }

    /// Numbers of invoices are 1 to n, whoever paid when.
    async fn numbers(&self) {
        let mut numbers = BTreeSet::new();
        for caller in &self.buyers {
            let invoices =
                self.service.list_invoices(caller, None, &Listing::default(), None, 1_000).await.unwrap();
            numbers.extend(invoices.into_iter().filter_map(|with| with.invoice.number));
        }
        let expected: BTreeSet<_> = (1..=self.model.paid).map(|number| format!("TEST-{number:06}")).collect();
        assert_eq!(numbers, expected);
    }
}

async fn play(t: &Fixture, seed: u64) {
    let mut run = Run::new(t, seed).await;
    for step in 0..STEPS {
        tracing::debug!(seed, step);
        run.step().await;
    }
    run.numbers().await;
    assert!(run.model.paid > 0 && run.model.held > 0, "seed {seed} tries too little");
}

on_both! {
    async fn every_rand_is_booked_once_and_buys_what_it_paid_for(t: Fixture) {
        play(&t, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_other_seeds() {
    use crate::support::Start as _;
    for seed in 2..=SEEDS {
        let t = Fixture::start(capecontrol::db::Engine::Sqlite).await;
        play(&t, seed).await;
    }
}
