//! The simulator that lies, over HTTP: how its faults are switched, what each does to a payment, and what is told.

use std::collections::BTreeSet;
use std::time::Duration;

use capecontrol::db::{Engine, Scope};
use capecontrol::payments::model::AlarmKind;
use capecontrol::payments::store;
use capecontrol::proto::capecontrol::payments::v1 as wire;
use serde_json::{Value, json};
use wire::{PaymentStatus as Payment, ProviderEventStatus as Event};

use super::payments::{checkout, events, ledger, payment, posted, press, submit};
use crate::support::app::{App, PASSWORD, Person};
use crate::support::{Start, on_both};

/// Five rand, which any number of times can be bought at once.
const PRODUCT: &str = "live-verification";

/// A platform that waits two seconds for a confirmation, so that a test need not wait for fifteen.
struct Impatient(App);

impl Start for Impatient {
    async fn start(engine: Engine) -> Self {
        let impatient = |config: &mut capecontrol::config::Config| {
            config.bounds.confirmation_max = Duration::from_secs(2);
        };
        Self(App::start_with(engine, impatient).await)
    }
}

pub async fn faults(t: &App, method: &str, body: Option<&Value>) -> (u16, Value) {
    let url = format!("{}/simulator/payfast/faults", t.url);
    let request = t.http.request(method.parse().unwrap(), url);
    let request = match body {
        Some(body) => request.body(body.to_string()),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

pub async fn deliveries(t: &App, payment_id: &str) -> Vec<Value> {
    let url = format!("{}/simulator/payfast/deliveries?payment_id={payment_id}", t.url);
    let text = t.http.get(url).send().await.unwrap().text().await.unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    told["deliveries"].as_array().unwrap().clone()
}

/// Has the next payment meet these faults, and pays. Tells the payment's id.
async fn pay(t: &App, person: &Person, plan: Value) -> String {
    assert_eq!(faults(t, "PUT", Some(&plan)).await.0, 200);
    let checkout = checkout(person, PRODUCT).await;
    press(t, &checkout, &[("simulator_action", "pay")]).await;
    t.run_jobs().await;
    checkout.payment_id
}

async fn meeting(t: &App, person: &Person, fault: &str) -> String {
    pay(t, person, json!({ "seed": 0, "first": [[fault]] })).await
}

async fn status(person: &Person, payment_id: &str) -> Payment {
    payment(person, payment_id).await.unwrap().status()
}

/// What was decided over the notifications of a payment, the first to come first.
async fn decided(admin: &Person, payment_id: &str) -> Vec<(Event, String, i64)> {
    let mut events = events(admin).await;
    events.retain(|event| event.payment_id == payment_id);
    events.iter().rev().map(|event| (event.status(), event.detail.clone(), event.deliveries)).collect()
}

async fn alarms(t: &App) -> Vec<AlarmKind> {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    store::alarm::newest(&mut conn, 100).await.unwrap().into_iter().map(|(kind, ..)| kind).collect()
}

on_both! {
    async fn faults_are_switched_while_it_runs(t: App) {
        assert_eq!(faults(&t, "GET", None).await, (200, json!({ "faults": null })));
        let plan = json!({ "seed": 7, "percent": { "late": 20 }, "first": [["never"], []] });
        let (code, told) = faults(&t, "PUT", Some(&plan)).await;
        assert_eq!((code, &told["payments"], &told["faults"]["seed"]), (200, &json!(0), &json!(7)));
        assert_eq!(told["faults"]["late_seconds"], 300);
        // What is told can be put back.
        assert_eq!(faults(&t, "PUT", Some(&told["faults"])).await.1["faults"], told["faults"]);
        let wrong = json!({ "percent": { "late": 200, "lost": 1 }, "sead": 7 });
        let (code, refused) = faults(&t, "PUT", Some(&wrong)).await;
        let wrong = refused["violations"].as_array().unwrap().iter();
        let fields: Vec<_> = wrong.map(|wrong| wrong["field"].as_str().unwrap()).collect();
        assert_eq!((code, fields), (400, vec!["seed", "percent.late", "percent.lost", "sead"]));
        assert_eq!(faults(&t, "GET", None).await.1["faults"], told["faults"]);
        assert_eq!(faults(&t, "DELETE", None).await, (200, json!({ "faults": null })));
        let ada = t.register("ada@example.com").await;
        let checkout = checkout(&ada, PRODUCT).await;
        press(&t, &checkout, &[("simulator_action", "pay")]).await;
        t.run_jobs().await;
        assert_eq!(status(&ada, &checkout.payment_id).await, Payment::Succeeded);
        let sent = deliveries(&t, &checkout.payment_id).await;
        assert_eq!((sent.len(), &sent[0]["payment"], &sent[0]["faults"]), (1, &json!(0), &json!([])));
        assert_eq!((&sent[0]["sends"], &sent[0]["last_answer"]), (&json!(1), &json!(200)));
    }

    async fn what_cannot_be_written_down_is_refused(t: App) {
        let ada = t.register("ada@example.com").await;
        let checkout = checkout(&ada, PRODUCT).await;
        for wrong in ["\0".to_owned(), "a b".to_owned(), "A".repeat(3_000)] {
            let mut pairs = posted(&checkout);
            pairs.extend([("simulator_action", "pay"), ("simulator_status", &wrong)].map(|(name, value)| {
                (name.to_owned(), value.to_owned())
            }));
            let (status, _, html) = submit(&t, &format!("{}/simulator/payfast/eng/pay", t.url), &pairs).await;
            assert!(status == 400 && html.contains("simulator_status"), "{html}");
        }
        assert_eq!(deliveries(&t, "%00").await.len(), 0);
        assert_eq!(deliveries(&t, &checkout.payment_id).await.len(), 0);
    }

    async fn late_means_paid_later(t: App) {
        let ada = t.register("ada@example.com").await;
        let id = pay(&t, &ada, json!({ "seed": 0, "first": [["late"]], "late_seconds": 500 })).await;
        t.advance(Duration::from_secs(499));
        t.run_jobs().await;
        assert_eq!(status(&ada, &id).await, Payment::Created);
        assert_eq!(deliveries(&t, &id).await[0]["sends"], 0);
        t.advance(Duration::from_secs(1));
        t.run_jobs().await;
        assert_eq!(status(&ada, &id).await, Payment::Succeeded);
        assert_eq!(deliveries(&t, &id).await[0]["sends"], 1);
    }

    async fn twice_means_paid_once(t: App) {
        let ada = t.register("ada@example.com").await;
        let id = meeting(&t, &ada, "twice").await;
        assert_eq!(status(&ada, &id).await, Payment::Succeeded);
        let admin = t.admin().await;
        assert_eq!(decided(&admin, &id).await[0].2, 2);
        assert_eq!(deliveries(&t, &id).await[0]["sends"], 2);
        assert_eq!(ledger(&admin).await.transaction_count, 2, "an invoice was issued, and paid");
    }

    async fn never_means_never_paid(t: App) {
        let ada = t.register("ada@example.com").await;
        let id = meeting(&t, &ada, "never").await;
        t.advance(Duration::from_hours(7 * 24));
        assert_eq!(t.run_jobs().await, 0);
        let ada = t.sign_in(&ada.email, PASSWORD).await;
        assert_eq!(status(&ada, &id).await, Payment::Created);
        assert_eq!(decided(&t.admin().await, &id).await, []);
        let sent = deliveries(&t, &id).await;
        assert_eq!((&sent[0]["faults"], &sent[0]["sends"]), (&json!(["never"]), &json!(0)));
        assert_eq!(sent[0]["due"], Value::Null);
    }

    async fn what_comes_after_the_end_changes_nothing(t: App) {
        let (ada, admin) = (t.register("ada@example.com").await, t.admin().await);
        // Both come within one moment of the clock, so that their order is not kept: one payment in two meets the word
        // that comes after the end.
        let mut met = false;
        for _ in 0..20 {
            let id = meeting(&t, &ada, "reordered").await;
            assert_eq!(status(&ada, &id).await, Payment::Succeeded);
            let decided: Vec<_> = decided(&admin, &id).await.into_iter().map(|(status, ..)| status).collect();
            assert!(decided.len() == 2 && decided.contains(&Event::Applied), "{decided:?}");
            let words: BTreeSet<_> =
                deliveries(&t, &id).await.iter().map(|sent| sent["payment_status"].to_string()).collect();
            assert_eq!(words, BTreeSet::from(["\"COMPLETE\"".to_owned(), "\"PENDING\"".to_owned()]));
            met = decided.contains(&Event::Ignored);
            if met {
                break;
            }
        }
        assert!(met, "the end always came last");
    }

    async fn what_payfast_disowns_is_not_booked(t: App) {
        let ada = t.register("ada@example.com").await;
        let id = meeting(&t, &ada, "invalid").await;
        assert_eq!(status(&ada, &id).await, Payment::Created);
        let admin = t.admin().await;
        let decided = decided(&admin, &id).await;
        assert!(decided[0].0 == Event::Refused && decided[0].1.contains("did not send"), "{decided:?}");
        assert_eq!(alarms(&t).await, [AlarmKind::ConfirmationInvalid]);
        assert_eq!(ledger(&admin).await.transaction_count, 0);
    }

    async fn a_confirmation_that_is_down_is_asked_for_again(t: App) {
        let ada = t.register("ada@example.com").await;
        let plan = json!({ "seed": 0, "first": [["confirmation_down"]], "confirmation_failures": 5 });
        let id = pay(&t, &ada, plan).await;
        // The fate of a payment outlives the plan and the process.
        assert_eq!(faults(&t, "DELETE", None).await.0, 200);
        let t = t.kill_and_restart().await;
        let ada = t.sign_in(&ada.email, PASSWORD).await;
        let mut attempts = 1;
        while status(&ada, &id).await == Payment::Created {
            assert_eq!(deliveries(&t, &id).await[0]["confirmations"], attempts);
            t.advance(Duration::from_mins(1));
            t.run_jobs().await;
            attempts += 1;
        }
        assert_eq!(attempts, 6);
        assert_eq!(status(&ada, &id).await, Payment::Succeeded);
        assert_eq!(decided(&t.admin().await, &id).await[0].0, Event::Applied);
    }

    async fn a_confirmation_that_is_slow_is_asked_for_again(t: Impatient) {
        let t = t.0;
        let ada = t.register("ada@example.com").await;
        let mut plan = json!({ "seed": 0, "first": [["confirmation_slow"]], "confirmation_failures": 1 });
        plan["slow_seconds"] = json!(60);
        let id = pay(&t, &ada, plan).await;
        assert_eq!(status(&ada, &id).await, Payment::Created);
        t.advance(Duration::from_mins(1));
        t.run_jobs().await;
        assert_eq!(status(&ada, &id).await, Payment::Succeeded);
    }

    async fn a_cent_short_is_booked_and_buys_nothing(t: App) {
        let ada = t.register("ada@example.com").await;
        let id = meeting(&t, &ada, "short").await;
        assert_eq!(status(&ada, &id).await, Payment::Created);
        let admin = t.admin().await;
        let decided = decided(&admin, &id).await;
        assert!(decided[0].0 == Event::Unapplied && decided[0].1.contains("499 cents"), "{decided:?}");
        assert_eq!(alarms(&t).await, [AlarmKind::AmountDiffers]);
        assert_eq!(ledger(&admin).await.transaction_count, 1);
    }

    async fn what_is_for_another_merchant_is_refused(t: App) {
        let ada = t.register("ada@example.com").await;
        let id = meeting(&t, &ada, "other_merchant").await;
        assert_eq!(status(&ada, &id).await, Payment::Created);
        let admin = t.admin().await;
        let decided = decided(&admin, &id).await;
        assert!(decided[0].0 == Event::Refused && decided[0].1.contains("merchant_id is not ours"), "{decided:?}");
        assert_eq!(alarms(&t).await, [AlarmKind::NotificationRefused]);
        assert_eq!(ledger(&admin).await.transaction_count, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_simulator_mode_there_are_no_switches() {
    let sandbox = |config: &mut capecontrol::config::Config| {
        config.payfast.mode = capecontrol::payments::Mode::Sandbox;
    };
    let t = App::start_with(Engine::Sqlite, sandbox).await;
    for path in ["faults", "deliveries"] {
        let answer = t.http.get(format!("{}/simulator/payfast/{path}", t.url)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{path}");
    }
}
