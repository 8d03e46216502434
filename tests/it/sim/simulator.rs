//! The platform against the simulator that lies: hundreds of payments with every fault mixed, from seeds, and yet what
//! was confirmed with the right amount for the right merchant is booked, once, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::{SeededRng, World};
use capecontrol::db::{Engine, Scope};
use capecontrol::jobs::{self, Worker};
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{Checkout, PaymentId, PaymentStatus};
use capecontrol::payments::payfast::confirmation::Confirmation;
use capecontrol::payments::payfast::encode::encode;
use capecontrol::payments::payfast::itn::Itn;
use capecontrol::payments::provider::{Confirm, Deliver};
use capecontrol::payments::service::Incoming;
use capecontrol::payments::simulator::faults::{Fate, Fault, Plan};
use capecontrol::payments::simulator::{Says, Simulator};
use capecontrol::payments::{self, Options, Service, simulator};

use crate::store::payments::{balances, wish};
use crate::support::{Fixture, Start as _, audit_log, ledger, on_both, somebody};

const PAYMENTS: u64 = 300;
const PRICE: i64 = 500;
const PLAN: &str = r#"{"seed": 20261120, "late_seconds": 900, "confirmation_failures": 3, "slow_seconds": 20,
    "percent": {"late": 20, "twice": 20, "never": 8, "reordered": 15, "invalid": 8, "confirmation_down": 15,
    "confirmation_slow": 15, "short": 8, "other_merchant": 8}}"#;

/// The wire between a platform and its provider, without a socket.
#[derive(Default)]
struct Link {
    platform: OnceLock<Weak<Service>>,
    provider: OnceLock<Weak<Simulator>>,
}

#[async_trait::async_trait]
impl Deliver for Link {
    async fn deliver(&self, _: &str, body: Vec<u8>) -> Option<u16> {
        let peer = Some(std::net::IpAddr::from([127, 0, 0, 1]));
        let incoming = Incoming { body, peer, headers: Vec::new() };
        self.platform.get()?.upgrade()?.receive(incoming).await.ok().map(|_| 200)
    }
}

#[async_trait::async_trait]
impl Confirm for Link {
    async fn confirm(&self, itn: &Itn) -> Confirmation {
        let provider = self.provider.get().and_then(Weak::upgrade).unwrap();
        let body = format!("{}&signature={}", itn.parameters(), itn.text("signature").unwrap());
        let answer = provider.confirm(body.as_bytes()).await;
        // Nobody waits that long.
        match answer.says {
            _ if answer.after > Options::default().confirmation_max => Confirmation::Retry,
            Says::Valid => Confirmation::Valid,
            Says::Invalid => Confirmation::Invalid,
            Says::Down => Confirmation::Retry,
        }
    }
}

/// One node: a platform, a provider, and a worker for the jobs of both.
struct Node {
    service: Arc<Service>,
    simulator: Arc<Simulator>,
    worker: Worker,
}

fn node(t: &Fixture) -> Node {
    let link = Arc::new(Link::default());
    let service = Arc::new(Service::new(
        t.db.clone(),
        t.world.clone(),
        Options::default(),
        link.clone(),
        audit_log(&t.world),
        ledger(t),
    ));
    let simulator = Arc::new(Simulator::new(t.db.clone(), t.world.clone(), Options::default(), link.clone()));
    link.platform.set(Arc::downgrade(&service)).unwrap();
    assert!(link.provider.set(Arc::downgrade(&simulator)).is_ok());
    let worker = t.worker(|registry| {
        payments::register(registry, &service);
        simulator::register(registry, &simulator);
    });
    Node { service, simulator, worker }
}

fn pressed(checkout: &Checkout) -> Vec<u8> {
    let pair = |name: &str, value: &str| format!("{}={}", encode(name.as_bytes()), encode(value.as_bytes()));
    let fields = checkout.fields.iter().map(|field| pair(&field.name, &field.value));
    fields.chain([pair("simulator_action", "pay")]).collect::<Vec<_>>().join("&").into_bytes()
}

/// What ought to become of a payment with this fate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum End {
    Settled,
    HeldShort,
    Nothing,
}

fn end(fate: &Fate) -> End {
    match () {
        () if fate.has(Fault::Never) || fate.has(Fault::OtherMerchant) || fate.has(Fault::Invalid) => {
            End::Nothing
        }
        () if fate.has(Fault::Short) => End::HeldShort,
        () => End::Settled,
    }
}

/// Pays again and again on two nodes that share a database, and tells the buyer's payments in the order of paying.
async fn play(t: &Fixture, nodes: &[Node; 2], buyer: &Caller, dice: &World) -> Vec<PaymentId> {
    let mut payments = Vec::new();
    for _ in 0..PAYMENTS {
        let node = &nodes[usize::try_from(dice.below(2)).unwrap()];
        let wish = wish("live-verification", Cycle::Monthly);
        let checkout = node.service.create_checkout(buyer, wish, None).await.unwrap();
        node.simulator.press(&pressed(&checkout)).await.unwrap();
        payments.push(checkout.payment_id);
        if dice.below(3) == 0 {
            t.clock.advance(Duration::from_secs(dice.below(600)));
            let (one, two) = tokio::join!(nodes[0].worker.run_due(), nodes[1].worker.run_due());
            assert!(one.is_ok() && two.is_ok());
        }
    }
    loop {
        let (one, two) = tokio::join!(nodes[0].worker.run_due(), nodes[1].worker.run_due());
        assert!(one.is_ok() && two.is_ok());
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        assert!(
            jobs::store::count(&mut conn).await.unwrap().iter().all(|(state, _)| *state != jobs::State::Dead)
        );
        match jobs::store::earliest(&mut conn).await.unwrap() {
            Some(due) => t.clock.set(due.max(t.world.now())),
            None => return payments,
        }
    }
}

/// Plays and compares. Tells what became of each payment, by its place.
async fn run(mut t: Fixture, ids: u64) -> Vec<PaymentStatus> {
    let drawing = |seed| World::new(Arc::clone(&t.clock) as _, Arc::new(SeededRng::new(seed)));
    // Ids differ from run to run; the faults must not.
    let (world, dice) = (drawing(ids), drawing(1));
    t.world = world;
    let t = &t;
    let nodes = [node(t), node(t)];
    let plan = Plan::read(PLAN.as_bytes()).unwrap();
    nodes[0].simulator.put_plan(&plan).await.unwrap();
    let buyer = somebody(t, "buyer@example.com").await;
    let payments = play(t, &nodes, &buyer, &dice).await;

    let service = &nodes[1].service;
    let mut ends: BTreeMap<End, i64> = BTreeMap::new();
    let mut statuses = Vec::new();
    for (number, id) in (1..).zip(&payments) {
        let end = end(&plan.fate(number));
        *ends.entry(end).or_default() += 1;
        let payment = service.get_payment(&buyer, *id).await.unwrap();
        let expected = if end == End::Settled { PaymentStatus::Succeeded } else { PaymentStatus::Created };
        assert_eq!(payment.status, expected, "payment {number}: {:?}", plan.fate(number).faults);
        statuses.push(payment.status);
    }
    let of = |end: End| ends.get(&end).copied().unwrap_or(0);
    assert!([End::Settled, End::HeldShort, End::Nothing].iter().all(|end| of(*end) > 0), "{ends:?}");
    let books: BTreeMap<Account, i64> = balances(service).await.into_iter().collect();
    let booked = |account: Account| books.get(&account).copied().unwrap_or(0);
    assert_eq!(-booked(Account::Revenue) - booked(Account::VatOutput), of(End::Settled) * PRICE);
    assert_eq!(-booked(Account::UnappliedReceipts), of(End::HeldShort) * (PRICE - 1));
    assert_eq!(books.values().sum::<i64>(), 0);
    // A payment that was settled twice would have two invoices' numbers, and a hole behind it.
    let invoices = service.list_invoices(&buyer, None, None, 1_000).await.unwrap();
    let numbers: BTreeSet<_> = invoices.into_iter().filter_map(|with| with.invoice.number).collect();
    let expected: BTreeSet<_> = (1..=of(End::Settled)).map(|number| format!("TEST-{number:06}")).collect();
    assert_eq!(numbers, expected);
    statuses
}

on_both! {
    async fn what_was_confirmed_is_booked_once_whatever_else_goes_wrong(t: Fixture) {
        run(t, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_plan_and_order_of_payments_meet_the_same_faults() {
    let one = run(Fixture::start(Engine::Sqlite).await, 1).await;
    let other = run(Fixture::start(Engine::Sqlite).await, 2).await;
    assert_eq!(one, other);
}
