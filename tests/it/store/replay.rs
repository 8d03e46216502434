//! The whole inbox again, into an empty ledger: the same money comes to the same books.
//!
//! What providers said is replayed through the door that it came in by, at the times at which it came, on a copy of the
//! orders as they were before anything happened to them. What people decide (refunds, cancelled checkouts, documents of
//! staff) is no notification and so no part of it. Numbers of invoices are given in the order in which notifications
//! are
//! *applied*. So they are the same when that was the order of arrival, and are otherwise the same numbers, given to the
//! same invoices in another order: the second test shows exactly that.

use std::collections::BTreeMap;
use std::time::Duration;

use capecontrol::auth::store::{account, organization};
use capecontrol::auth::{Caller, Email, Role};
use capecontrol::db::Scope;
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{
    Invoice, InvoiceId, InvoiceStatus, Payment, PaymentId, PaymentStatus, ProviderEvent, ReceiptStatus,
};
use capecontrol::payments::payfast::confirmation::Confirmation;
use capecontrol::payments::service::{EventFilter, Incoming, InvoiceWithLines, SeenEvent};
use capecontrol::payments::{Service, store};

use super::payments::{Told, balances, checkout, deliver, itn, node, post};
use crate::support::{Fixture, on_both, somebody};

/// An order as it stands, and who made it.
type Order = (Caller, PaymentId, InvoiceId);

/// What a ledger and its surroundings come to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    balances: Vec<(Account, i64)>,
    receipts: BTreeMap<String, (ReceiptStatus, i64, i64)>,
    payments: BTreeMap<PaymentId, PaymentStatus>,
    numbers: BTreeMap<InvoiceId, Option<String>>,
    periods: Vec<Option<String>>,
}

async fn outcome(t: &Fixture, service: &Service, orders: &[Order]) -> Outcome {
    let mut found = Outcome {
        balances: balances(service).await,
        receipts: BTreeMap::new(),
        payments: BTreeMap::new(),
        numbers: BTreeMap::new(),
        periods: Vec::new(),
    };
    for (caller, payment, invoice) in orders {
        found.payments.insert(*payment, service.get_payment(caller, *payment).await.unwrap().status);
        found.numbers.insert(*invoice, service.get_invoice(caller, *invoice).await.unwrap().invoice.number);
        let bought = service.get_subscription(caller, None).await.unwrap().bought;
        found.periods.push(bought.map(|bought| format!("{} to {:?}", bought.plan_id, bought.period_end)));
    }
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    for event in arrivals(service).await {
        if let Some(receipt) = store::receipt::of_event(&mut conn, event.id).await.unwrap() {
            let told = (receipt.status, receipt.gross_minor, receipt.fee_minor);
            found.receipts.insert(receipt.provider_payment_id, told);
        }
    }
    found
}

/// All that came, in the order of arrival.
async fn arrivals(service: &Service) -> Vec<ProviderEvent> {
    let all = EventFilter::default();
    let found = service.list_provider_events(&Caller::system("test"), &all, None, 1_000).await.unwrap();
    let signed = found.into_iter().rev().map(|seen| match seen {
        SeenEvent::Signed(event) => event,
        SeenEvent::Quarantined { .. } => panic!("quarantine is no inbox"),
    });
    signed.collect()
}

/// An order as it was when it was made.
async fn before(
    service: &Service,
    (caller, payment, invoice): &Order,
) -> (Caller, Payment, InvoiceWithLines) {
    let payment = service.get_payment(caller, *payment).await.unwrap();
    let mut with_lines = service.get_invoice(caller, *invoice).await.unwrap();
    for line in &mut with_lines.lines {
        (line.period_start, line.period_end) = (None, None);
    }
    let invoice = with_lines.invoice;
    let open =
        Invoice { number: None, status: InvoiceStatus::Open, issued_at: None, paid_at: None, ..invoice };
    let created = Payment {
        status: PaymentStatus::Created,
        fee_minor: None,
        provider_payment_id: None,
        settled_at: None,
        updated_at: payment.created_at,
        ..payment
    };
    (caller.clone(), created, InvoiceWithLines { invoice: open, lines: with_lines.lines })
}

async fn place(t: &Fixture, payment: &Payment, with_lines: &InvoiceWithLines) {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    store::invoice::insert(&mut tx, &with_lines.invoice).await.unwrap();
    let organization = with_lines.invoice.organization_id;
    store::invoice::insert_lines(&mut tx, organization, &with_lines.lines).await.unwrap();
    store::payment::insert(&mut tx, payment).await.unwrap();
    tx.commit().await.unwrap();
}

async fn settle_in(t: &Fixture, caller: &Caller, number: usize) {
    let (account, personal) = (caller.account.unwrap(), caller.personal.unwrap());
    let new = account::NewAccount {
        id: account,
        personal_organization_id: personal,
        email: Email::parse(&format!("copy{number}@example.com")).unwrap(),
        role: Role::Customer,
        password_hash: "none".to_owned(),
        one_time_issued_at: None,
        terms_version: "1".to_owned(),
        display_name: "Somebody".to_owned(),
        at: t.world.now(),
    };
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    if account::insert(&mut tx, &new).await.unwrap() {
        organization::insert_personal(&mut tx, personal, account, "Somebody", new.at).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Replays the inbox of one database into another one that is empty, and tells what that comes to.
async fn replayed(t: &Fixture, service: &Service, buyers: &[Caller], orders: &[Order]) -> Outcome {
    let copy = Fixture::start_like(t).await;
    let (again, worker) = node(&copy, Told::next(&[]));
    for (number, buyer) in buyers.iter().enumerate() {
        settle_in(&copy, buyer, number).await;
    }
    let mut waiting = Vec::new();
    for order in orders {
        waiting.push(before(service, order).await);
    }
    for event in arrivals(service).await {
        // An order stands there when its time has come: what is bought first takes the place of what is open.
        while waiting.first().is_some_and(|(_, payment, _)| payment.created_at <= event.received_at) {
            let (_, payment, with_lines) = waiting.remove(0);
            place(&copy, &payment, &with_lines).await;
        }
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let body = store::event::stored(&mut conn, event.id).await.unwrap().unwrap().body;
        drop(conn);
        copy.clock.set(event.received_at);
        for _ in 0..event.deliveries {
            let peer = event.peer.parse().ok();
            again.receive(Incoming { body: body.clone(), peer, headers: Vec::new() }).await.unwrap();
        }
        worker.run_due().await.unwrap();
    }
    for (_, payment, with_lines) in waiting {
        place(&copy, &payment, &with_lines).await;
    }
    outcome(&copy, &again, orders).await
}

on_both! {
    async fn the_whole_inbox_again_comes_to_the_same_books(t: Fixture) {
        let (service, worker) = node(&t, Told::next(&[]));
        let mut buyers = Vec::new();
        for number in 0..3 {
            buyers.push(somebody(&t, &format!("buyer{number}@example.com")).await);
        }
        let mut orders: Vec<Order> = Vec::new();
        let mut sent = 0;
        let tick = || t.clock.advance(Duration::from_secs(7));
        let mut say = async |payment: String, word: &str, amount: &str| {
            sent += 1;
            tick();
            deliver(&service, &worker, itn(&payment, &format!("{sent}"), word, amount)).await;
        };
        for round in 0..4 {
            for (number, buyer) in buyers.iter().enumerate() {
                tick();
                let plan = if round == 2 { "enterprise" } else { "pro" };
                let price = if round == 2 { "1799.00" } else { "529.00" };
                let bought = checkout(&service, buyer, plan, Cycle::Monthly).await;
                let left = checkout(&service, buyer, "pro", Cycle::Monthly).await;
                for order in [&bought, &left] {
                    orders.push((buyer.clone(), order.payment_id, order.invoice_id));
                }
                let (bought, left) = (bought.payment_id.to_string(), left.payment_id.to_string());
                match (round + number) % 4 {
                    0 => say(bought.clone(), "PENDING", price).await,
                    1 => say(bought.clone(), "FAILED", price).await,
                    2 => say(bought.clone(), "COMPLETE", "1.00").await,
                    _ => say(left.clone(), "CANCELLED", "").await,
                }
                say(bought.clone(), "COMPLETE", price).await;
                say(left, "COMPLETE", "529.00").await;
                say(bought, "COMPLETE", price).await;
                say("nobody's".to_owned(), "COMPLETE", "3.00").await;
            }
        }
        // The same bytes once more are one event.
        let (_, payment, _) = &orders[0];
        post(&service, itn(&payment.to_string(), "2", "COMPLETE", "529.00")).await;
        let first = outcome(&t, &service, &orders).await;
        assert!(first.receipts.len() > 30 && first.numbers.values().flatten().count() == 12, "{first:?}");
        assert_eq!(replayed(&t, &service, &buyers, &orders).await, first);
    }

    async fn numbers_follow_the_order_of_application(t: Fixture) {
        // The provider does not confirm the first at once, so the second is applied before it.
        let (service, worker) = node(&t, Told::next(&[Confirmation::Retry]));
        let buyers = vec![somebody(&t, "one@example.com").await, somebody(&t, "two@example.com").await];
        let mut orders: Vec<Order> = Vec::new();
        for buyer in &buyers {
            let order = checkout(&service, buyer, "live-verification", Cycle::Monthly).await;
            orders.push((buyer.clone(), order.payment_id, order.invoice_id));
        }
        for (number, (_, payment, _)) in orders.iter().enumerate() {
            t.clock.advance(Duration::from_millis(1));
            deliver(&service, &worker, itn(&payment.to_string(), &format!("{number}"), "COMPLETE", "5.00")).await;
        }
        t.clock.advance(Duration::from_secs(10));
        worker.run_due().await.unwrap();
        let first = outcome(&t, &service, &orders).await;
        let again = replayed(&t, &service, &buyers, &orders).await;
        let numbers = |outcome: &Outcome| -> Vec<Option<String>> {
            orders.iter().map(|(_, _, invoice)| outcome.numbers[invoice].clone()).collect()
        };
        let number = |digit| Some(format!("TEST-00000{digit}"));
        assert_eq!(numbers(&first), [number(2), number(1)]);
        assert_eq!(numbers(&again), [number(1), number(2)]);
        // Nothing else differs.
        assert_eq!((again.balances, again.receipts, again.payments), (first.balances, first.receipts, first.payments));
    }
}
