//! The whole of payments from one seed: buyers, staff and a PayFast with moods, a process that dies at the points that
//! have names and is started again, a clock that jumps. When everybody has calmed down the books have to be those of
//! PayFast, to the cent, and everything that it settled is settled here.
//!
//! A seed that fails is in the message, and so is the command that plays it again. The same seed does the same.

mod payfast;
mod pure;
mod soak;
mod truth;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::{Currency, Money, SeededRng, World};
use capecontrol::db::{Conn as _, Engine, Scope};
use capecontrol::jobs::{self, JobId, Worker};
use capecontrol::payments::crash::{Crash, CrashPoint};
use capecontrol::payments::model::draft::{DraftLine, TaxRate};
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{
    EventId, InvoiceId, PaymentId, ReceiptStatus, RefundDestination, RefundId, RefundStatus,
};
use capecontrol::payments::service::{
    ApproveRefund, CreateCheckout, CreateCreditNote, CreateInvoice, Incoming, Item, Reconcile, RefundPayment,
    RefundSource,
};
use capecontrol::payments::{Error, Options, Service, register, store};
use tokio::sync::Notify;

use crate::store::payments::{name_recipient, wish};
use crate::store::refunds::staff;
use crate::support::{Fixture, START, Start as _, audit_log, ledger, somebody};
use payfast::{Dice, Payfast};

const STEPS: usize = 28;
const BUYERS: usize = 3;
const DAY: Duration = Duration::from_hours(24);
const PLANS: [(&str, Cycle); 4] = [
    ("pro", Cycle::Monthly),
    ("pro", Cycle::Yearly),
    ("enterprise", Cycle::Monthly),
    ("live-verification", Cycle::Monthly),
];
/// How many jobs one after another may be due before something runs in circles.
const JOBS_MAX: usize = 2_000;

/// The process dies at one of the points that have names, when it is told to.
#[derive(Default)]
struct Kill {
    /// How many points it gets past.
    passes: Mutex<Option<u64>>,
    reached: Notify,
}

#[async_trait::async_trait]
impl Crash for Kill {
    async fn reach(&self, _: CrashPoint) {
        let dies = {
            let mut passes = self.passes.lock().unwrap();
            let left = *passes;
            *passes = left.and_then(|left| left.checked_sub(1));
            left == Some(0)
        };
        if dies {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// A process of the platform.
struct Process {
    service: Arc<Service>,
    worker: Worker,
    kill: Arc<Kill>,
}

impl Process {
    fn start(t: &Fixture, payfast: &Arc<Payfast>) -> Self {
        let kill = Arc::new(Kill::default());
        let options = Options { history_rows: 7, ..Options::default() };
        let (log, books) = (audit_log(&t.world), ledger(t));
        let service =
            Service::new(t.db.clone(), t.world.clone(), options, Arc::clone(payfast) as _, log, books);
        let service = service.over(Arc::clone(payfast) as _).heard_by(Arc::clone(&kill) as _);
        let service = Arc::new(service);
        let worker = t.worker(|registry| register(registry, &service));
        Self { service, worker, kill }
    }
}

/// An attempt to pay.
struct Attempt {
    buyer: usize,
    payment: PaymentId,
    amount_minor: i64,
}

/// One run: the platform, its provider, and who plays.
struct Run<'t> {
    t: &'t Fixture,
    dice: Dice,
    payfast: Arc<Payfast>,
    process: Process,
    buyers: Vec<Caller>,
    maker: Caller,
    checker: Caller,
    attempts: Vec<Attempt>,
    /// Invoices that somebody may pay, and whose they are.
    invoices: Vec<(usize, InvoiceId)>,
    refunds: Vec<RefundId>,
    /// How many refunds were wished for.
    wishes: usize,
}

/// What came of something that may be refused, but never for a fault of ours.
fn allowed<T>(outcome: Result<T, Error>) -> Option<T> {
    match outcome {
        Ok(done) => Some(done),
        Err(error @ (Error::Internal(_) | Error::Db(_))) => panic!("a fault of ours: {error:?}"),
        Err(_) => None,
    }
}

impl<'t> Run<'t> {
    async fn new(t: &'t Fixture, seed: u64) -> Self {
        // Of their own, so that one more throw of the one moves nothing of the other.
        let payfast = Payfast::new(&t.world, Dice::new(&t.clock, seed.wrapping_add(1 << 62)));
        let mut buyers = Vec::new();
        for number in 0..BUYERS {
            buyers.push(somebody(t, &format!("buyer{number}@example.com")).await);
        }
        let process = Process::start(t, &payfast);
        for buyer in &buyers {
            name_recipient(&process.service, buyer).await;
        }
        Self {
            t,
            dice: Dice::new(&t.clock, seed.wrapping_add(1 << 63)),
            payfast,
            process,
            buyers,
            maker: staff(t, "maker@example.com").await,
            checker: staff(t, "checker@example.com").await,
            attempts: Vec::new(),
            invoices: Vec::new(),
            refunds: Vec::new(),
            wishes: 0,
        }
    }

    /// One thing happens, and the process may die of it.
    async fn step(&mut self) {
        let kill = Arc::clone(&self.process.kill);
        *kill.passes.lock().unwrap() = Some(self.dice.below(12)).filter(|_| self.dice.once_in(3));
        let died = tokio::select! {
            biased;
            () = kill.reached.notified() => true,
            () = self.act() => false,
        };
        *kill.passes.lock().unwrap() = None;
        if died {
            self.process = Process::start(self.t, &self.payfast);
        }
    }

    async fn act(&mut self) {
        match self.dice.below(32) {
            0..5 => self.buy().await,
            5..9 => self.pay(),
            9..11 => self.hear(),
            11 => self.cancel().await,
            12..17 => self.wait().await,
            17 | 18 => self.charge_somebody().await,
            19 => self.credit().await,
            20 => self.give_up().await,
            21..26 => self.propose().await,
            26..28 => self.decide().await,
            28 => self.replay().await,
            29 => self.movement().await,
            _ => self.look_after().await,
        }
        if self.dice.below(3) > 0 {
            self.deliver().await;
            self.work().await;
        }
    }

    async fn buy(&mut self) {
        let known = self.dice.one(&self.invoices).copied().filter(|_| self.dice.once_in(2));
        let (buyer, item) = if let Some((buyer, invoice)) = known {
            (buyer, Item::Invoice(invoice))
        } else {
            let buyer = usize::try_from(self.dice.below(u64::try_from(BUYERS).unwrap())).unwrap();
            let (plan, cycle) = *self.dice.one(&PLANS).unwrap();
            (buyer, wish(plan, cycle).item)
        };
        let command = CreateCheckout { item, ..wish("pro", Cycle::Monthly) };
        let (service, caller) = (&self.process.service, &self.buyers[buyer]);
        let Some(started) = allowed(service.create_checkout(caller, command, None).await) else { return };
        let amount_minor = service.get_payment(caller, started.payment_id).await.unwrap().amount_minor;
        let (payment, invoice) = (started.payment_id, started.invoice_id);
        if self.attempts.iter().all(|attempt| attempt.payment != payment) {
            self.attempts.push(Attempt { buyer, payment, amount_minor });
        }
        if !self.invoices.contains(&(buyer, invoice)) {
            self.invoices.push((buyer, invoice));
        }
        if self.dice.below(3) > 0 {
            self.payfast.pay(&payment.to_string(), amount_minor);
        }
    }

    /// A buyer pays, perhaps twice, or what is over.
    fn pay(&self) {
        let paid = self.payfast.books().references();
        let unpaid: Vec<&Attempt> =
            self.attempts.iter().filter(|attempt| !paid.contains(&attempt.payment.to_string())).collect();
        let any = self.dice.one(&self.attempts).filter(|_| self.dice.once_in(4));
        match any.or(self.dice.one(&unpaid).copied()) {
            Some(attempt) => self.payfast.pay(&attempt.payment.to_string(), attempt.amount_minor),
            None if self.dice.once_in(4) => self.payfast.pay("of-another-shop", 12_345),
            None => {}
        }
    }

    /// PayFast says something of an attempt, or somebody else does.
    fn hear(&self) {
        let Some(attempt) = self.dice.one(&self.attempts) else { return };
        let (reference, amount) = (attempt.payment.to_string(), attempt.amount_minor);
        match self.dice.below(6) {
            0 | 1 => self.payfast.say("PENDING", &reference, amount),
            2 => self.payfast.say("FAILED", &reference, amount),
            3 => self.payfast.say("CANCELLED", &reference, amount),
            4 => self.payfast.say("REVERSED", &reference, amount),
            _ => self.payfast.forge(&reference, amount),
        }
    }

    async fn cancel(&self) {
        let Some(attempt) = self.dice.one(&self.attempts) else { return };
        let caller = &self.buyers[attempt.buyer];
        allowed(self.process.service.cancel_payment(caller, attempt.payment, None).await);
    }

    async fn deliver(&self) {
        for _ in 0..=self.dice.below(4) {
            let Some(body) = self.payfast.next_letter() else { return };
            self.post(body).await;
        }
    }

    /// PayFast posts a letter, and again until it is answered.
    async fn post(&self, body: Vec<u8>) {
        let peer = Some(std::net::IpAddr::from([127, 0, 0, 1]));
        let incoming = Incoming { body: body.clone(), peer, headers: Vec::new() };
        self.process.service.receive(incoming).await.unwrap();
        self.payfast.answered(&body);
    }

    async fn work(&self) {
        self.process.worker.run_due().await.unwrap();
    }

    /// Time goes by, and a node does what it does by the clock.
    async fn wait(&self) {
        let longest = *self
            .dice
            .one(&[Duration::from_mins(2), Duration::from_mins(30), Duration::from_hours(8), DAY, 8 * DAY])
            .unwrap();
        self.t.clock.advance(self.dice.up_to(longest));
        self.process.service.push_reconciliation().await.unwrap();
        self.process.service.expire(100).await.unwrap();
        self.process.service.ledger().seal().await.unwrap();
    }

    async fn charge_somebody(&mut self) {
        let buyer = usize::try_from(self.dice.below(u64::try_from(BUYERS).unwrap())).unwrap();
        let line = |number: u64| DraftLine {
            description: format!("thing {number}"),
            quantity: 1 + i64::try_from(number).unwrap(),
            unit: rand(600 + i64::try_from(self.dice.below(9_999)).unwrap()),
        };
        let command = CreateInvoice {
            organization_id: self.buyers[buyer].personal.unwrap(),
            lines: (0..=self.dice.below(3)).map(line).collect(),
            prices_include_tax: self.dice.once_in(2),
            tax_rate: if self.dice.once_in(4) { TaxRate::Zero } else { TaxRate::Standard },
            due_at: None,
        };
        let service = &self.process.service;
        let draft = service.create_invoice(&self.maker, command, None).await.unwrap().invoice;
        if self.dice.once_in(8) {
            allowed(service.void_invoice(&self.maker, draft.id, false, None).await);
        } else if allowed(service.finalize_invoice(&self.maker, draft.id, None).await).is_some() {
            self.invoices.push((buyer, draft.id));
        }
    }

    async fn credit(&self) {
        let Some((_, invoice_id)) = self.dice.one(&self.invoices) else { return };
        let amount = if self.dice.once_in(3) {
            None
        } else {
            Some(rand(1 + i64::try_from(self.dice.below(999)).unwrap()))
        };
        let command = CreateCreditNote { invoice_id: *invoice_id, amount, reason: "a mistake".to_owned() };
        allowed(self.process.service.create_credit_note(&self.maker, command, None).await);
    }

    async fn give_up(&self) {
        let Some((_, invoice)) = self.dice.one(&self.invoices) else { return };
        let lost = self.dice.once_in(2);
        allowed(self.process.service.void_invoice(&self.maker, *invoice, lost, None).await);
    }

    /// What PayFast was paid and we know of.
    async fn some_receipt(&self) -> Option<capecontrol::payments::model::Receipt> {
        let ids: Vec<String> = self.payfast.books().paid.keys().cloned().collect();
        let id = self.dice.one(&ids)?;
        let mut conn = self.t.db.conn(Scope::System("test")).await.unwrap();
        store::receipt::of_provider_payment(&mut conn, id).await.unwrap()
    }

    async fn propose(&mut self) {
        let Some(receipt) = self.some_receipt().await else { return };
        let source = match (receipt.status, receipt.payment_id) {
            (ReceiptStatus::Applied, Some(payment)) => RefundSource::Payment(payment),
            _ => RefundSource::Event(receipt.event_id),
        };
        // Few sums, so that refunds of the same sum meet.
        let amount = *self.dice.one(&[None, Some(100), Some(100), Some(201), Some(20_000)]).unwrap();
        let source_first = self.dice.below(4) > 0;
        for _ in 0..=self.dice.below(2) {
            self.wishes += 1;
            let command = RefundPayment {
                source,
                amount: amount.map(rand),
                reason: format!("wish {}", self.wishes),
                destination: if source_first { RefundDestination::Source } else { RefundDestination::Credit },
            };
            let proposed = self.process.service.refund_payment(&self.maker, command, None).await;
            self.refunds.extend(allowed(proposed).map(|refund| refund.id));
        }
        if self.dice.once_in(2) {
            self.decide().await;
        }
    }

    async fn decide(&self) {
        let late = self.refunds.len().saturating_sub(3);
        for refund_id in &self.refunds[late..] {
            let approved = !self.dice.once_in(6);
            let command = ApproveRefund { refund_id: *refund_id, approved, note: "looked at".to_owned() };
            allowed(self.process.service.approve_refund(&self.checker, command, None).await);
        }
    }

    async fn replay(&self) {
        let events: Vec<(EventId,)> = {
            let mut conn = self.t.db.conn(Scope::System("test")).await.unwrap();
            conn.sql("SELECT id FROM provider_events ORDER BY id").all().await.unwrap()
        };
        let Some((event,)) = self.dice.one(&events) else { return };
        allowed(self.process.service.replay_provider_event(&self.maker, *event, None).await);
    }

    /// Something moves on PayFast's account that only its history tells of.
    async fn movement(&self) {
        if self.dice.once_in(2) {
            return self.payfast.charge();
        }
        // While a refund of the same money is under way nobody could tell whose trace is found: PayFast gives neither
        // an id. Two hours later it is nobody's clock that is wrong.
        let Some(receipt) = self.some_receipt().await else { return };
        if self.under_way(&receipt.provider_payment_id).await {
            return;
        }
        self.t.clock.advance(Duration::from_hours(2));
        if self.dice.once_in(2) {
            self.payfast.take_back(&receipt.provider_payment_id);
        } else {
            self.payfast.give_back_by_hand(&receipt.provider_payment_id);
        }
        self.t.clock.advance(Duration::from_hours(2));
    }

    async fn under_way(&self, provider_payment_id: &str) -> bool {
        let refunds: Vec<(RefundStatus,)> = {
            let mut conn = self.t.db.conn(Scope::System("test")).await.unwrap();
            let of = "SELECT status FROM refunds WHERE provider_payment_id = $1";
            conn.sql(of).bind(provider_payment_id.to_owned()).all().await.unwrap()
        };
        refunds.iter().any(|(status,)| status.is_pending())
    }

    /// Staff look at the last days at once.
    async fn look_after(&self) {
        let to = self.today();
        let days = Reconcile { from: before(to, 3).to_string(), to: to.to_string() };
        allowed(self.process.service.run_reconciliation(&self.maker, &days, None).await);
    }

    fn today(&self) -> time::Date {
        self.t.world.now().plus(Duration::from_hours(2)).date()
    }

    /// Works until nothing is left to do; the clock goes on to whatever is due next.
    async fn idle(&self) {
        for _ in 0..JOBS_MAX {
            self.work().await;
            let due = {
                let mut conn = self.t.db.conn(Scope::System("test")).await.unwrap();
                jobs::store::earliest(&mut conn).await.unwrap()
            };
            let Some(due) = due else { return };
            self.t.clock.set(due.max(self.t.world.now()));
        }
        panic!("there is no end to the jobs");
    }

    /// Faults end, everything arrives, operators look after what is left, and the history is held against the books.
    async fn come_to_rest(&self) {
        self.payfast.calm();
        if let Some(last) = self.payfast.last_letter() {
            self.t.clock.set(last.max(self.t.world.now()));
        }
        while let Some(body) = self.payfast.next_letter() {
            self.post(body).await;
        }
        self.idle().await;
        self.retry_dead().await;
        self.idle().await;
        self.t.clock.advance(2 * DAY);
        self.reconcile().await;
        self.idle().await;
        let again = self.reconcile().await;
        assert_eq!(again, 0, "a second reconciliation books nothing");
        self.process.service.ledger().seal().await.unwrap();
    }

    async fn retry_dead(&self) {
        let mut tx = self.t.db.begin(Scope::System("test")).await.unwrap();
        let dead: Vec<(JobId,)> = tx.sql("SELECT id FROM jobs WHERE state = 'dead'").all().await.unwrap();
        for (job,) in dead {
            assert!(jobs::store::dead::retry(&mut tx, job, self.t.world.now()).await.unwrap());
        }
        tx.commit().await.unwrap();
    }

    /// All days there were; tells how much was booked by it.
    async fn reconcile(&self) -> i64 {
        let (mut to, mut repaired) = (self.today(), 0);
        let first = START.minus(DAY).date();
        while to >= first {
            let days = Reconcile { from: before(to, 30).to_string(), to: to.to_string() };
            let run = self.process.service.run_reconciliation(&self.maker, &days, None).await.unwrap();
            repaired += run.repaired_count;
            to = before(to, 31);
        }
        repaired
    }
}

fn before(day: time::Date, days: i64) -> time::Date {
    day.checked_sub(time::Duration::days(days)).unwrap()
}

fn rand(minor: i64) -> Money {
    Money::new(minor, Currency::Zar)
}

/// A seed from its beginning to its rest, and then the truth.
async fn play(t: &mut Fixture, seed: u64) {
    t.world = World::new(Arc::clone(&t.clock) as _, Arc::new(SeededRng::new(seed)));
    let mut run = Run::new(t, seed).await;
    for _ in 0..STEPS {
        run.step().await;
    }
    run.come_to_rest().await;
    truth::holds(&run).await;
}

/// Plays a seed on a database of its own, and tells how to play it again when it fails.
fn play_seed(engine: Engine, seed: u64) {
    let played = std::panic::catch_unwind(|| {
        alone(async {
            let mut t = Fixture::start(engine).await;
            play(&mut t, seed).await;
        });
    });
    let engine = word(engine);
    assert!(played.is_ok(), "seed {seed} fails on {engine}\nagain: make sim SEED={seed} ENGINE={engine}");
}

/// Runs on this thread only, so that a seed always does the same.
fn alone<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

const fn word(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgres",
    }
}

/// Plays seeds, two at once.
fn play_seeds(seeds: std::ops::Range<u64>, play: impl Fn(u64) + Sync) {
    const THREADS: usize = 2;
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            let mine = seeds.clone().skip(first).step_by(THREADS);
            scope.spawn(|| mine.for_each(&play));
        }
    });
}

#[test]
fn two_hundred_seeds_end_with_the_books_of_the_provider_sqlite() {
    play_seeds(0..200, |seed| play_seed(Engine::Sqlite, seed));
}

#[test]
fn twenty_seeds_end_with_the_books_of_the_provider_postgres() {
    play_seeds(0..20, |seed| play_seed(Engine::Postgres, seed));
}

/// The same seed does the same, else a failure could not be looked into.
#[test]
fn a_seed_repeats_itself_sqlite() {
    let end = || {
        alone(async {
            let mut t = Fixture::start(Engine::Sqlite).await;
            play(&mut t, 3).await;
            (t.world.now(), truth::chain(&t).await)
        })
    };
    assert_eq!(end(), end());
}
