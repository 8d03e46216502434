//! Stored cards over real databases and a PayFast that loses answers: whose they are, what their tokens are safe from,
//! and that nothing is charged twice.

mod payfast;

use std::sync::Arc;
use std::time::Duration;

use capecontrol::auth::{Caller, Estate as _};
use capecontrol::base::Secret;
use capecontrol::base::fault::{Fault as _, NOT_FOUND};
use capecontrol::db::{Conn as _, Scope};
use capecontrol::idempotency::RequestKey;
use capecontrol::jobs::Worker;
use capecontrol::keyring::RootKey;
use capecontrol::mail::{Mail, Outbox};
use capecontrol::payments::crash::{Crash, CrashPoint};
use capecontrol::payments::model::method::{CardExpiry, Charge, ChargeStatus};
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{
    AlarmKind, Checkout, EventStatus, PaymentMethod, PaymentMethodId, PaymentMethodStatus, PaymentStatus,
};
use capecontrol::payments::payfast::api::call::Endpoint;
use capecontrol::payments::payfast::itn::signed_body;
use capecontrol::payments::service::{
    CreateCheckout, CreatePaymentMethod, Item, MethodChange, ProfileChange, Receipt, Reconcile,
    UpdateBillingProfile,
};
use capecontrol::payments::{
    Error, Options, PAYMENT_METHOD_NOT_ACTIVE, PAYMENT_UNDER_WAY, Service, TOO_MANY_PAYMENT_METHODS,
    register, store,
};
use tokio::sync::Notify;

use payfast::{Cards, Mood};

use super::payments::{Told, alarms, balances, deliver, events, itn, jobs_left, post, status, wish};
use crate::support::{Fixture, audit_log, ledger, on_both, somebody};

const ROOT: [u8; 32] = [9; 32];
const PRO: &str = "529.00";

/// The domain with this PayFast, which keeps cards and writes letters, and a worker for its jobs.
fn over(t: &Fixture, cards: &Arc<Cards>) -> Service {
    under(t, cards, Options::default())
}

fn under(t: &Fixture, cards: &Arc<Cards>, options: Options) -> Service {
    let log = audit_log(&t.world);
    let service = Service::new(t.db.clone(), t.world.clone(), options, Told::next(&[]), log, ledger(t));
    let outbox = Outbox::new(t.world.clone(), RootKey::new(ROOT));
    service.over(Arc::clone(cards) as _).sealing(RootKey::new(ROOT)).writing(outbox)
}

/// Somebody's organisation, a PayFast, and the platform between them.
struct Shop {
    cards: Arc<Cards>,
    service: Arc<Service>,
    worker: Worker,
    ada: Caller,
}

impl Shop {
    async fn open(t: &Fixture) -> Self {
        let cards = Cards::new(&t.world);
        let service = Arc::new(over(t, &cards));
        let worker = t.worker(|registry| register(registry, &service));
        Self { cards, worker, ada: somebody(t, "ada@example.com").await, service }
    }

    async fn add(&self, name: &str) -> PaymentMethod {
        self.service.create_payment_method(&self.ada, card(name), None).await.unwrap().method
    }

    /// Adds a card that PayFast keeps by this token.
    async fn store(&self, name: &str, token: &str) -> PaymentMethod {
        let method = self.add(name).await;
        deliver(&self.service, &self.worker, set_up(method.id, token, token)).await;
        self.find(method.id).await.unwrap()
    }

    async fn list(&self) -> Vec<PaymentMethod> {
        self.service.list_payment_methods(&self.ada, None, None, 100).await.unwrap()
    }

    async fn find(&self, id: PaymentMethodId) -> Option<PaymentMethod> {
        self.list().await.into_iter().find(|method| method.id == id)
    }

    async fn pay(&self, method: PaymentMethodId) -> Result<Checkout, Error> {
        self.service.create_checkout(&self.ada, with(method), None).await
    }

    async fn remove(&self, id: PaymentMethodId) -> Result<(), Error> {
        self.service.delete_payment_method(&self.ada, id, None).await
    }

    async fn status(&self, sold: &Checkout) -> PaymentStatus {
        status(&self.service, &self.ada, sold.payment_id).await
    }

    /// PayFast's notification of a charge.
    async fn confirm(&self, sold: &Checkout, id: &str) {
        deliver(&self.service, &self.worker, itn(&sold.payment_id.to_string(), id, "COMPLETE", PRO)).await;
    }

    /// Runs what is due, and the clock on to what is due next, until nothing is left to do.
    async fn work_on(&self, t: &Fixture) {
        for _ in 0..100 {
            self.worker.run_due().await.unwrap();
            let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
            let Some(due) = capecontrol::jobs::store::earliest(&mut conn).await.unwrap() else { return };
            t.clock.set(due.max(t.world.now()));
        }
        panic!("there is always something left to do");
    }
}

fn card(name: &str) -> CreatePaymentMethod {
    CreatePaymentMethod {
        organization_id: None,
        display_name: name.to_owned(),
        expiry: None,
        return_url: String::new(),
        cancel_url: String::new(),
    }
}

fn with(method: PaymentMethodId) -> CreateCheckout {
    CreateCheckout { payment_method_id: Some(method), ..wish("pro", Cycle::Monthly) }
}

pub fn token(number: u32) -> String {
    format!("dc0521d3-55fe-269b-fa00-{number:012}")
}

/// A notification of PayFast's about a card, with the blanks that it sends.
fn about(method: PaymentMethodId, id: &str, status: &str, amount: &str, token: &str) -> Vec<u8> {
    let (options, method) = (Options::default(), method.to_string());
    let mut pairs =
        vec![("m_payment_id", method.as_str()), ("pf_payment_id", id), ("payment_status", status)];
    if status != "CANCELLED" {
        pairs.extend([("amount_gross", amount), ("amount_fee", "0.00"), ("amount_net", amount)]);
    }
    pairs.extend([("item_description", ""), ("merchant_id", options.merchant_id.as_str())]);
    if !token.is_empty() {
        pairs.extend([("token", token), ("billing_date", "2026-11-20")]);
    }
    signed_body(&pairs, options.passphrase())
}

/// The notification by which PayFast says that it keeps a card.
pub fn set_up(method: PaymentMethodId, id: &str, token: &str) -> Vec<u8> {
    about(method, id, "COMPLETE", "0.00", token)
}

async fn charge_of(t: &Fixture, sold: &Checkout) -> Charge {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    store::method::charge(&mut conn, sold.payment_id).await.unwrap().unwrap()
}

async fn letters(t: &Fixture) -> Vec<Mail> {
    let outbox = Outbox::new(t.world.clone(), RootKey::new(ROOT));
    let waiting = "SELECT CAST(payload AS text) FROM jobs WHERE kind = 'mail.send' ORDER BY id LIMIT 100";
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let rows: Vec<(String,)> = conn.sql(waiting).all().await.unwrap();
    rows.iter().map(|(payload,)| outbox.open(&serde_json::from_str(payload).unwrap()).unwrap()).collect()
}

/// All bytes and texts of the tables in which a token might stand, as text.
async fn everything(t: &Fixture) -> String {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let mut found = Vec::new();
    for bytes in [
        "SELECT body FROM provider_events LIMIT 100",
        "SELECT sealed_token FROM payment_methods WHERE sealed_token IS NOT NULL LIMIT 100",
        "SELECT body FROM provider_answers WHERE body IS NOT NULL LIMIT 100",
    ] {
        let rows: Vec<(Vec<u8>,)> = conn.sql(bytes).all().await.unwrap();
        found.extend(rows.into_iter().map(|(bytes,)| String::from_utf8_lossy(&bytes).into_owned()));
    }
    for text in [
        "SELECT CAST(payload AS text) FROM jobs LIMIT 100",
        "SELECT subject || CAST(parameters AS text) FROM provider_answers LIMIT 100",
        "SELECT detail FROM provider_events LIMIT 100",
        "SELECT detail FROM card_charges LIMIT 100",
        "SELECT detail || subject FROM alarms LIMIT 100",
    ] {
        let rows: Vec<(String,)> = conn.sql(text).all().await.unwrap();
        found.extend(rows.into_iter().map(|(text,)| text));
    }
    found.join("\n")
}

fn fields(error: &Error) -> Vec<&str> {
    error.violations().iter().map(|violation| violation.field.as_str()).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Succeeded,
    Failed,
}

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

on_both! {
    async fn a_card_is_added_named_preferred_and_removed(t: Fixture) {
        let shop = Shop::open(&t).await;
        let key = RequestKey { method: "m".into(), key: t.world.id::<()>().uuid(), body_hash: [0; 32] };
        let started = shop.service.create_payment_method(&shop.ada, card("Company"), Some(&key)).await.unwrap();
        let again = shop.service.create_payment_method(&shop.ada, card("Company"), Some(&key)).await.unwrap();
        assert_eq!(started, again);
        let value = |name: &str| started.fields.iter().find(|field| field.name == name).unwrap().value.clone();
        assert_eq!((value("amount"), value("subscription_type")), ("0.00".to_owned(), "2".to_owned()));
        assert_eq!(value("m_payment_id"), started.method.id.to_string());
        let first = started.method;
        assert_eq!((first.status, first.is_default), (PaymentMethodStatus::Pending, false));
        let early = shop.pay(first.id).await.unwrap_err();
        assert_eq!(early.reason().name, PAYMENT_METHOD_NOT_ACTIVE.name);

        deliver(&shop.service, &shop.worker, set_up(first.id, "1", &token(1))).await;
        let stored = shop.find(first.id).await.unwrap();
        assert_eq!((stored.status, stored.is_default), (PaymentMethodStatus::Active, true));
        t.clock.advance(Duration::from_secs(1));
        let second = shop.store("Own", &token(2)).await;
        assert!(!second.is_default);
        let prefer = MethodChange { make_default: true, ..MethodChange::default() };
        let preferred = shop.service.update_payment_method(&shop.ada, second.id, prefer, None).await.unwrap();
        assert!(preferred.is_default);
        let name = MethodChange { display_name: Some("Petty cash".to_owned()), ..MethodChange::default() };
        shop.service.update_payment_method(&shop.ada, first.id, name, None).await.unwrap();
        let seen: Vec<_> = shop.list().await.into_iter().map(|one| (one.display_name, one.is_default)).collect();
        assert_eq!(seen, [("Own".to_owned(), true), ("Petty cash".to_owned(), false)]);

        let organization = shop.ada.personal().unwrap();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let keeps = shop.service.unsettled(&mut tx, organization).await.unwrap();
        assert_eq!(keeps, Some("a stored payment method"));
        drop(tx);
        for (id, token) in [(first.id, token(1)), (second.id, token(2))] {
            shop.remove(id).await.unwrap();
            assert!(shop.find(id).await.is_none(), "it is gone at once");
            shop.worker.run_due().await.unwrap();
            assert!(shop.cards.has_ended(&token));
            assert_eq!(shop.remove(id).await.unwrap_err().reason().name, NOT_FOUND.name);
            // PayFast tells of what we did.
            deliver(&shop.service, &shop.worker, about(id, &token, "CANCELLED", "", &token)).await;
        }
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let left: (i64,) =
            conn.sql("SELECT count(*) FROM payment_methods WHERE sealed_token IS NOT NULL").one().await.unwrap();
        assert_eq!((left.0, jobs_left(&t).await, alarms(&t).await), (0, 0, Vec::new()));
        drop(conn);
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        assert_eq!(shop.service.unsettled(&mut tx, organization).await.unwrap(), None);
    }

    async fn a_token_is_nowhere_to_be_read(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        let sold = shop.pay(method.id).await.unwrap();
        shop.cards.mood(Mood::Loses);
        shop.worker.run_due().await.unwrap();
        t.clock.advance(Duration::from_mins(5));
        shop.worker.run_due().await.unwrap();
        shop.confirm(&sold, "900").await;
        shop.remove(method.id).await.unwrap();
        assert!(!everything(&t).await.contains(&token(1)), "while its end waits");
        shop.cards.mood(Mood::Drops);
        shop.work_on(&t).await;
        assert!(shop.cards.has_ended(&token(1)) && shop.cards.times(Endpoint::Fetch) > 0);
        let all = everything(&t).await;
        assert!(!all.contains(&token(1)) && all.contains("(left out)"));
        assert!(!serde_json::to_string(&method).unwrap().contains("token"));
    }

    async fn without_a_passphrase_no_card_is_stored(t: Fixture) {
        let shop = Shop::open(&t).await;
        let options = Options { passphrase: Secret::new(String::new()), ..Options::default() };
        let service = under(&t, &shop.cards, options);
        let error = service.create_payment_method(&shop.ada, card("Company"), None).await.unwrap_err();
        assert_eq!(error.reason().name, "CARDS_NOT_KEPT", "{error}");
        assert!(shop.list().await.is_empty());
    }

    async fn only_what_payfast_says_stores_a_card_and_once(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.add("Company").await;
        let pending = async || shop.find(method.id).await.unwrap().status == PaymentMethodStatus::Pending;
        let mut forged = set_up(method.id, "1", &token(1));
        *forged.last_mut().unwrap() ^= 1;
        assert!(matches!(post(&shop.service, forged).await, Receipt::Quarantined));
        for wrong in [
            about(method.id, "2", "COMPLETE", "0.00", ""),
            about(method.id, "3", "COMPLETE", "0.00", "short"),
            about(method.id, "4", "COMPLETE", "nothing", &token(1)),
            about(method.id, "5", "PENDING", "0.00", ""),
            about(method.id, "6", "FAILED", "0.00", ""),
        ] {
            deliver(&shop.service, &shop.worker, wrong).await;
            assert!(pending().await);
        }
        // Money that nobody asked for is money all the same, and stores nothing.
        deliver(&shop.service, &shop.worker, about(method.id, "7", "COMPLETE", "5.00", &token(1))).await;
        assert!(pending().await);
        assert!(!balances(&shop.service).await.is_empty());

        deliver(&shop.service, &shop.worker, set_up(method.id, "8", &token(1))).await;
        let stored = shop.find(method.id).await.unwrap();
        assert_eq!(stored.status, PaymentMethodStatus::Active);
        // The same again: by the byte, by another spelling, and by a form that was posted twice.
        assert_eq!(post(&shop.service, set_up(method.id, "8", &token(1))).await, Receipt::Repeated);
        t.clock.advance(Duration::from_secs(1));
        deliver(&shop.service, &shop.worker, about(method.id, "8", "COMPLETE", "0", &token(1))).await;
        assert_eq!(events(&shop.service).await[0].0, EventStatus::Ignored);
        assert_eq!(shop.cards.times(Endpoint::Cancel), 0);
        deliver(&shop.service, &shop.worker, set_up(method.id, "9", &token(9))).await;
        shop.work_on(&t).await;
        assert_eq!(shop.find(method.id).await.unwrap(), stored);
        assert_eq!((shop.cards.has_ended(&token(9)), shop.cards.has_ended(&token(1))), (true, false));
    }

    async fn the_end_of_another_token_leaves_the_card(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        // The form was posted twice: the second token is ended, and PayFast tells of it.
        deliver(&shop.service, &shop.worker, set_up(method.id, "2", &token(2))).await;
        assert!(shop.cards.has_ended(&token(2)) && !shop.cards.has_ended(&token(1)));
        for told in [token(2), String::new()] {
            deliver(&shop.service, &shop.worker, about(method.id, "", "CANCELLED", "", &told)).await;
            let stays = shop.find(method.id).await.unwrap();
            assert_eq!((stays.status, stays.is_default), (PaymentMethodStatus::Active, true));
        }
        let sold = shop.pay(method.id).await.unwrap();
        shop.worker.run_due().await.unwrap();
        assert_eq!(charge_of(&t, &sold).await.status, ChargeStatus::Accepted);
        // The buyer ends the card's own at PayFast.
        deliver(&shop.service, &shop.worker, about(method.id, "", "CANCELLED", "", &token(1))).await;
        assert!(shop.find(method.id).await.is_none());
    }

    async fn two_cards_at_once_are_two_and_one_is_preferred(t: Fixture) {
        let shop = Shop::open(&t).await;
        let add = || shop.service.create_payment_method(&shop.ada, card("One"), None);
        let (one, other) = tokio::join!(add(), add());
        let (one, other) = (one.unwrap().method.id, other.unwrap().method.id);
        post(&shop.service, set_up(one, "1", &token(1))).await;
        post(&shop.service, set_up(other, "2", &token(2))).await;
        shop.work_on(&t).await;
        let listed = shop.list().await;
        assert_eq!(listed.iter().filter(|method| method.status == PaymentMethodStatus::Active).count(), 2);
        assert_eq!(listed.iter().filter(|method| method.is_default).count(), 1);
        let prefer = |id| {
            let change = MethodChange { make_default: true, ..MethodChange::default() };
            shop.service.update_payment_method(&shop.ada, id, change, None)
        };
        let (first, second) = tokio::join!(prefer(one), prefer(other));
        first.unwrap();
        second.unwrap();
        assert_eq!(shop.list().await.iter().filter(|method| method.is_default).count(), 1);
        for _ in 2..20 {
            shop.add("More").await;
        }
        let full = add().await.unwrap_err();
        assert_eq!(full.reason().name, TOO_MANY_PAYMENT_METHODS.name);
    }

    async fn a_stored_card_pays_when_payfast_has_said_so_twice(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        let sold = shop.pay(method.id).await.unwrap();
        assert!(sold.action_url.is_empty() && sold.fields.is_empty());
        assert_eq!(shop.status(&sold).await, PaymentStatus::Pending);
        let other = CreateCheckout { item: Item::Invoice(sold.invoice_id), ..wish("pro", Cycle::Monthly) };
        let other = shop.service.create_checkout(&shop.ada, other, None).await.unwrap_err();
        assert_eq!(other.reason().name, PAYMENT_UNDER_WAY.name, "nobody pays it twice");
        shop.worker.run_due().await.unwrap();
        assert_eq!(charge_of(&t, &sold).await.status, ChargeStatus::Accepted);
        // What the API says is not money.
        assert_eq!(shop.status(&sold).await, PaymentStatus::Pending);
        assert!(balances(&shop.service).await.is_empty());
        shop.confirm(&sold, "900").await;
        assert_eq!(shop.status(&sold).await, PaymentStatus::Succeeded);
        let booked = balances(&shop.service).await;
        deliver(&shop.service, &shop.worker, itn(&sold.payment_id.to_string(), "900", "COMPLETE", "529.0")).await;
        shop.work_on(&t).await;
        assert_eq!(balances(&shop.service).await, booked);
        assert_eq!((shop.cards.times(Endpoint::Charge), alarms(&t).await), (1, Vec::new()));
    }

    async fn a_charge_without_an_answer_is_never_made_again(t: Fixture) {
        for (mood, told, ends) in [
            (Mood::Loses, true, Ends::Succeeded),
            (Mood::Garbles, true, Ends::Succeeded),
            (Mood::Loses, false, Ends::Succeeded),
            (Mood::Drops, false, Ends::Failed),
        ] {
            let t = Fixture::start_like(&t).await;
            let shop = Shop::open(&t).await;
            let method = shop.store("Company", &token(1)).await;
            shop.cards.mood(mood);
            let sold = shop.pay(method.id).await.unwrap();
            shop.worker.run_due().await.unwrap();
            assert_eq!(charge_of(&t, &sold).await.status, ChargeStatus::Unknown, "{mood:?}");
            assert_eq!(shop.status(&sold).await, PaymentStatus::Pending);
            if told {
                shop.confirm(&sold, "900").await;
            }
            shop.work_on(&t).await;
            let charge = charge_of(&t, &sold).await.status;
            if ends == Ends::Succeeded {
                assert_eq!(charge, ChargeStatus::Accepted, "{mood:?}");
                if !told {
                    // It is known that money moved, and it is not booked before PayFast notifies.
                    assert_eq!(shop.status(&sold).await, PaymentStatus::Pending);
                    assert_eq!(alarms(&t).await, [(AlarmKind::ChargeUnconfirmed, 1)]);
                    shop.confirm(&sold, "900").await;
                }
                assert_eq!(shop.status(&sold).await, PaymentStatus::Succeeded);
                assert_eq!(shop.cards.charged(), ["900"]);
            } else {
                assert_eq!((charge, shop.status(&sold).await), (ChargeStatus::Failed, PaymentStatus::Failed));
                assert!(balances(&shop.service).await.is_empty());
            }
            assert_eq!(shop.cards.times(Endpoint::Charge), 1, "{mood:?}");
        }
    }

    async fn a_charge_whose_notification_is_lost_is_booked_from_the_history(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        shop.cards.mood(Mood::Loses);
        let sold = shop.pay(method.id).await.unwrap();
        shop.worker.run_due().await.unwrap();
        assert_eq!(shop.status(&sold).await, PaymentStatus::Pending);
        t.clock.advance(Duration::from_secs(1));
        let day = "2026-11-20".to_owned();
        let days = Reconcile { from: day.clone(), to: day };
        let run = shop.service.run_reconciliation(&Caller::system("test"), &days, None).await.unwrap();
        assert_eq!((run.row_count, run.repaired_count, run.open_count), (1, 1, 0));
        assert_eq!(shop.status(&sold).await, PaymentStatus::Succeeded);
        // Whoever looks for the charge finds its money booked, and a notification that comes at last is a replay.
        let booked = balances(&shop.service).await;
        shop.work_on(&t).await;
        assert_eq!(charge_of(&t, &sold).await.status, ChargeStatus::Accepted);
        shop.confirm(&sold, "900").await;
        assert_eq!((balances(&shop.service).await, alarms(&t).await), (booked, Vec::new()));
        assert_eq!(shop.cards.times(Endpoint::Charge), 1);
    }

    async fn a_payfast_that_tells_nothing_leaves_a_charge_unknown(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        shop.cards.mood(Mood::Drops);
        shop.cards.silent(true);
        let sold = shop.pay(method.id).await.unwrap();
        shop.work_on(&t).await;
        assert_eq!(charge_of(&t, &sold).await.status, ChargeStatus::Unknown);
        assert_eq!(shop.status(&sold).await, PaymentStatus::Pending);
        assert_eq!((alarms(&t).await, shop.cards.times(Endpoint::Charge)), (vec![(AlarmKind::ChargeUnknown, 1)], 1));
    }

    async fn a_charge_that_is_refused_fails_and_one_that_did_not_leave_is_made(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        shop.cards.mood(Mood::Declines);
        let sold = shop.pay(method.id).await.unwrap();
        shop.work_on(&t).await;
        assert_eq!(shop.status(&sold).await, PaymentStatus::Failed);
        assert_eq!(charge_of(&t, &sold).await.status, ChargeStatus::Failed);
        assert_eq!(shop.find(method.id).await.unwrap().status, PaymentMethodStatus::Active);
        // The invoice is still to be paid: by the same card, which PayFast is not reached for at first.
        for _ in 0..2 {
            shop.cards.mood(Mood::Away);
        }
        let again = CreateCheckout { item: Item::Invoice(sold.invoice_id), ..with(method.id) };
        let again = shop.service.create_checkout(&shop.ada, again, None).await.unwrap();
        assert_ne!(again.payment_id, sold.payment_id);
        shop.worker.run_due().await.unwrap();
        assert_eq!(charge_of(&t, &again).await.status, ChargeStatus::Queued);
        t.clock.advance(Duration::from_mins(5));
        shop.worker.run_due().await.unwrap();
        t.clock.advance(Duration::from_mins(5));
        shop.worker.run_due().await.unwrap();
        assert_eq!(charge_of(&t, &again).await.status, ChargeStatus::Accepted);
        shop.confirm(&again, "900").await;
        assert_eq!(shop.status(&again).await, PaymentStatus::Succeeded);
        assert_eq!(shop.cards.charged().len(), 1);
        // One that PayFast charges no longer has expired.
        shop.cards.mood(Mood::Locks);
        let locked = shop.pay(method.id).await.unwrap();
        shop.work_on(&t).await;
        assert_eq!(shop.status(&locked).await, PaymentStatus::Failed);
        let expired = shop.find(method.id).await.unwrap();
        assert_eq!((expired.status, expired.is_default), (PaymentMethodStatus::Expired, false));
        assert_eq!(shop.pay(method.id).await.unwrap_err().reason().name, PAYMENT_METHOD_NOT_ACTIVE.name);
    }

    async fn a_process_that_dies_charges_nothing_twice(t: Fixture) {
        for (at, ends) in [
            (CrashPoint::ChargeIntended, Ends::Failed),
            (CrashPoint::ChargeAnswered, Ends::Succeeded),
            (CrashPoint::ChargeFoundOut, Ends::Succeeded),
        ] {
            let t = Fixture::start_like(&t).await;
            let shop = Shop::open(&t).await;
            let method = shop.store("Company", &token(1)).await;
            let sold = shop.pay(method.id).await.unwrap();
            if at == CrashPoint::ChargeFoundOut {
                shop.cards.mood(Mood::Loses);
                shop.worker.run_due().await.unwrap();
                t.clock.advance(Duration::from_mins(5));
            }
            let kill = Arc::new(Kill { at, reached: Notify::new() });
            let doomed = Arc::new(over(&t, &shop.cards).heard_by(Arc::clone(&kill) as _));
            let worker = t.worker(|registry| register(registry, &doomed));
            tokio::select! {
                () = kill.reached.notified() => {}
                _ = worker.run_due() => panic!("{} was not reached", at.as_str()),
            }
            drop((worker, doomed));
            if ends == Ends::Succeeded {
                post(&shop.service, itn(&sold.payment_id.to_string(), "900", "COMPLETE", PRO)).await;
            }
            shop.work_on(&t).await;
            let expected = match ends {
                Ends::Succeeded => PaymentStatus::Succeeded,
                Ends::Failed => PaymentStatus::Failed,
            };
            assert_eq!(shop.status(&sold).await, expected, "{}", at.as_str());
            assert!(shop.cards.times(Endpoint::Charge) <= 1, "{}", at.as_str());
            assert_eq!(shop.cards.charged().is_empty(), ends == Ends::Failed);
            balances(&shop.service).await;
        }
    }

    async fn a_card_that_was_removed_is_not_charged(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        let sold = shop.pay(method.id).await.unwrap();
        // Its token lives on for a while.
        shop.cards.mood(Mood::Away);
        shop.remove(method.id).await.unwrap();
        shop.work_on(&t).await;
        assert_eq!(shop.status(&sold).await, PaymentStatus::Failed);
        assert_eq!((shop.cards.times(Endpoint::Charge), shop.cards.has_ended(&token(1))), (0, true));
        assert_eq!(shop.pay(method.id).await.unwrap_err().reason().name, NOT_FOUND.name);
        // Nor is one charged for a payment that is over meanwhile.
        let card = shop.store("Own", &token(2)).await;
        let other = shop.service.create_checkout(&shop.ada, wish("pro", Cycle::Monthly), None).await.unwrap();
        shop.cards.mood(Mood::Away);
        let late = shop.pay(card.id).await.unwrap();
        shop.worker.run_due().await.unwrap();
        shop.confirm(&other, "1000").await;
        shop.work_on(&t).await;
        assert_eq!(shop.status(&late).await, PaymentStatus::Superseded);
        assert_eq!((charge_of(&t, &late).await.status, shop.cards.charged().len()), (ChargeStatus::Failed, 0));
    }

    async fn removing_and_charging_at_once_end_one_way(t: Fixture) {
        for _ in 0..4 {
            let t = Fixture::start_like(&t).await;
            let shop = Shop::open(&t).await;
            let method = shop.store("Company", &token(1)).await;
            let sold = shop.pay(method.id).await.unwrap();
            let (worked, removed) = tokio::join!(shop.worker.run_due(), shop.remove(method.id));
            worked.unwrap();
            removed.unwrap();
            if let [id] = shop.cards.charged().as_slice() {
                shop.confirm(&sold, id).await;
            }
            shop.work_on(&t).await;
            let charged = shop.cards.charged().len();
            let expected = if charged == 1 { PaymentStatus::Succeeded } else { PaymentStatus::Failed };
            assert_eq!((shop.status(&sold).await, charged <= 1), (expected, true));
            assert!(shop.cards.has_ended(&token(1)) && shop.list().await.is_empty());
            balances(&shop.service).await;
        }
    }

    async fn an_end_that_was_not_answered_is_asked_about_before_it_is_repeated(t: Fixture) {
        for (mood, cancels) in [(Mood::Loses, 1), (Mood::Drops, 2), (Mood::Away, 2)] {
            let t = Fixture::start_like(&t).await;
            let shop = Shop::open(&t).await;
            let method = shop.store("Company", &token(1)).await;
            shop.cards.mood(mood);
            shop.remove(method.id).await.unwrap();
            assert!(shop.list().await.is_empty());
            shop.work_on(&t).await;
            assert!(shop.cards.has_ended(&token(1)), "{mood:?}");
            assert_eq!((shop.cards.times(Endpoint::Cancel), jobs_left(&t).await), (cancels, 0), "{mood:?}");
        }
        // The token of a card that nobody waits for any more is ended when it comes.
        let shop = Shop::open(&t).await;
        let method = shop.add("Company").await;
        shop.remove(method.id).await.unwrap();
        post(&shop.service, set_up(method.id, "1", &token(1))).await;
        shop.work_on(&t).await;
        assert!(shop.list().await.is_empty() && shop.cards.has_ended(&token(1)));
    }

    async fn what_is_somebody_elses_does_not_exist(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        let eve = somebody(&t, "eve@example.com").await;
        let change = || MethodChange { display_name: Some("Mine".to_owned()), ..MethodChange::default() };
        let of_ada = CreateCheckout { organization_id: shop.ada.personal, ..with(method.id) };
        let elsewhere = CreatePaymentMethod { organization_id: shop.ada.personal, ..card("Mine") };
        for error in [
            shop.service.update_payment_method(&eve, method.id, change(), None).await.unwrap_err(),
            shop.service.update_payment_method(&eve, t.world.id(), change(), None).await.unwrap_err(),
            shop.service.delete_payment_method(&eve, method.id, None).await.unwrap_err(),
            shop.service.create_checkout(&eve, with(method.id), None).await.unwrap_err(),
            shop.service.create_checkout(&eve, of_ada, None).await.unwrap_err(),
            shop.service.create_payment_method(&eve, elsewhere, None).await.unwrap_err(),
            shop.service.list_payment_methods(&eve, shop.ada.personal, None, 10).await.unwrap_err(),
        ] {
            assert_eq!(error.reason().name, NOT_FOUND.name, "{error}");
        }
        assert!(shop.service.list_payment_methods(&eve, None, None, 10).await.unwrap().is_empty());
        assert_eq!((shop.find(method.id).await.unwrap(), shop.cards.times(Endpoint::Charge)), (method, 0));
    }

    async fn a_card_number_is_refused_wherever_people_type(t: Fixture) {
        let shop = Shop::open(&t).await;
        let method = shop.store("Company", &token(1)).await;
        let number = "4111 1111 1111-1111";
        let named = shop.service.create_payment_method(&shop.ada, card(number), None).await.unwrap_err();
        let renamed = MethodChange { display_name: Some(format!("my {number}")), ..MethodChange::default() };
        let renamed = shop.service.update_payment_method(&shop.ada, method.id, renamed, None).await.unwrap_err();
        let change = ProfileChange {
            name: Some(number.to_owned()),
            address: Some(format!("1 Long Street\n{number}")),
            ..ProfileChange::default()
        };
        let profile = UpdateBillingProfile { organization_id: None, change, version: None };
        let profile = shop.service.update_billing_profile(&shop.ada, profile, None).await.unwrap_err();
        assert_eq!(fields(&named), ["display_name"]);
        assert_eq!(fields(&renamed), ["payment_method.display_name"]);
        assert_eq!(fields(&profile), ["billing_profile.name", "billing_profile.address"]);
        for error in [named, renamed, profile] {
            assert!(!format!("{error} {error:?} {:?}", error.violations()).contains("1111"), "{error:?}");
        }
        assert_eq!(shop.list().await, [method]);
    }

    async fn a_card_that_expires_is_announced_once_and_then_not_charged(t: Fixture) {
        let shop = Shop::open(&t).await;
        let change = ProfileChange { email: Some("books@example.com".to_owned()), ..ProfileChange::default() };
        let profile = UpdateBillingProfile { organization_id: None, change, version: None };
        shop.service.update_billing_profile(&shop.ada, profile, None).await.unwrap();
        let method = shop.store("Company", &token(1)).await;
        let ends = |year, month| MethodChange { expiry: Some(CardExpiry { year, month }), ..MethodChange::default() };
        let update = async |change| shop.service.update_payment_method(&shop.ada, method.id, change, None).await;
        assert_eq!(fields(&update(ends(2026, 10)).await.unwrap_err()), ["payment_method.expiry"]);
        update(ends(2027, 1)).await.unwrap();
        let keep = async || shop.service.keep_methods(100).await.unwrap();
        assert_eq!(keep().await, 0);
        t.clock.advance(Duration::from_hours(24 * 45));
        assert_eq!((keep().await, keep().await), (1, 0));
        let sent = letters(&t).await;
        let [letter] = sent.as_slice() else { panic!("{}", sent.len()) };
        assert_eq!(letter.to, "books@example.com");
        assert_eq!(letter.subject, "A payment method of yours expires soon");
        assert!(letter.text.contains("Company") && letter.text.contains("01/2027"), "{}", letter.text);
        // Another expiry is another notice.
        update(ends(2027, 2)).await.unwrap();
        assert_eq!(keep().await, 0);
        t.clock.advance(Duration::from_hours(24 * 30));
        assert_eq!((keep().await, letters(&t).await.len()), (1, 2));
        t.clock.advance(Duration::from_hours(24 * 30));
        assert_eq!(shop.pay(method.id).await.unwrap_err().reason().name, PAYMENT_METHOD_NOT_ACTIVE.name);
        assert_eq!((keep().await, keep().await, letters(&t).await.len()), (1, 0, 2));
        let expired = shop.find(method.id).await.unwrap();
        assert_eq!((expired.status, expired.is_default), (PaymentMethodStatus::Expired, false));
        let renewed = update(MethodChange { make_default: true, ..ends(2030, 2) }).await.unwrap();
        assert_eq!((renewed.status, renewed.is_default), (PaymentMethodStatus::Active, true));
        // What nobody confirms is given up.
        let unheard = shop.add("Forgotten").await;
        t.clock.advance(Duration::from_hours(24 * 8));
        assert_eq!((keep().await, keep().await), (1, 0));
        assert!(shop.find(unheard.id).await.is_none());
    }
}
