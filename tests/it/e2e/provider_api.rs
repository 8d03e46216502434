//! The provider's API over real sockets: the platform's client against the simulator's side, and against servers that
//! are worse than that.

use std::sync::Arc;
use std::time::Duration;

use capecontrol::base::{Currency, ManualClock, Money, Secret, SeededRng, World};
use capecontrol::db::{Engine, Scope};
use capecontrol::payments::payfast::api::answer::{Outcome, RefusalKind, Unanswered};
use capecontrol::payments::payfast::api::call::{
    Account, BankAccountKind, Call, Charge, Frequency, Page, Payout, Period, Refund, Request, Update,
};
use capecontrol::payments::payfast::api::charge::{self, CardPayment, Charged};
use capecontrol::payments::payfast::api::history::{self, Row, Sign};
use capecontrol::payments::payfast::api::refund::{self, Refundable, Way};
use capecontrol::payments::payfast::api::subscription::{self, State, Subscription};
use capecontrol::payments::payfast::form::{Builder, SIGNATURE_FIELD, Schedule, SignedForm};
use capecontrol::payments::payfast::itn::Itn;
use capecontrol::payments::payfast::verdict::PaymentStatus;
use capecontrol::payments::provider::{Api, Transport as _};
use capecontrol::payments::{Options, store};
use capecontrol::proto::capecontrol::payments::v1 as wire;
use serde_json::{Value, json};
use time::Date;
use time::macros::date;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::payments::{checkout, events, press};
use super::simulator::{deliveries, faults};
use crate::support::app::App;
use crate::support::{START, Start, on_both};

/// The day on which every test begins, by South Africa's clocks.
const TODAY: Date = date!(2026 - 11 - 20);

/// A platform that waits a second for the API, so that a test need not wait for sixty.
pub struct Impatient(pub App);

impl Start for Impatient {
    async fn start(engine: Engine) -> Self {
        let impatient = |config: &mut capecontrol::config::Config| {
            config.bounds.api_max = Duration::from_secs(1);
        };
        Self(App::start_with(engine, impatient).await)
    }
}

fn rand(minor: i64) -> Money {
    Money::new(minor, Currency::Zar)
}

fn form(t: &App) -> Builder {
    let options = t.node.payments.options();
    Builder::new(&options.merchant_id, &options.merchant_key)
        .put("notify_url", &options.notify_url())
        .put("m_payment_id", "set-up")
        .put("item_name", "Card on file")
        .put("custom_str2", "a, b")
}

/// Has a buyer fill in a form, and tells PayFast's id of the payment.
async fn pay(t: &App, form: Builder) -> String {
    let options = t.node.payments.options();
    let SignedForm { fields, signature, .. } = form.finish(options.passphrase()).unwrap();
    let fields = fields.into_iter().chain([(SIGNATURE_FIELD.to_owned(), signature)]);
    let reference = fields.clone().find(|(name, _)| name == "m_payment_id").unwrap().1;
    let checkout = wire::CreateCheckoutResponse {
        action_url: options.process_url(),
        fields: fields.map(|(name, value)| wire::FormField { name, value }).collect(),
        ..wire::CreateCheckoutResponse::default()
    };
    press(t, &checkout, &[("simulator_action", "pay")]).await;
    deliveries(t, &reference).await[0]["pf_payment_id"].as_str().unwrap().to_owned()
}

/// The token that a payment made.
async fn token_of(t: &App, provider_payment_id: &str) -> String {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let payment = store::simulator::payment::find(&mut conn, provider_payment_id).await.unwrap().unwrap();
    assert_eq!(payment.token.len(), 36);
    payment.token
}

/// A card that can be charged.
async fn token(t: &App) -> String {
    let id = pay(t, form(t).amount(rand(0)).tokenize()).await;
    token_of(t, &id).await
}

/// Has whatever comes next meet these faults, one after another.
pub async fn meet(t: &App, first: Value) {
    let plan = json!({
        "seed": 1, "first": first, "slow_seconds": 60, "late_seconds": 500, "confirmation_failures": 2
    });
    assert_eq!(faults(t, "PUT", Some(&plan)).await.0, 200);
}

async fn charge(t: &App, token: &str, minor: i64, reference: &str) -> Outcome<Charged> {
    let wish = Charge {
        amount: rand(minor),
        item_name: "CapeControl Pro",
        item_description: "one month",
        reference,
        notify: true,
    };
    t.node.payments.ask("test.charge", &Call::charge(token, &wish).unwrap(), charge::charged).await
}

async fn fetch(t: &App, token: &str) -> Subscription {
    let call = Call::fetch(token).unwrap();
    t.node.payments.ask("test.fetch", &call, subscription::fetched).await.done().unwrap()
}

async fn query(t: &App, id: &str) -> Outcome<CardPayment> {
    t.node.payments.ask("test.query", &Call::query(id).unwrap(), charge::queried).await
}

async fn confirm(t: &App, call: Call) -> Outcome<()> {
    t.node.payments.ask("test.confirm", &call, subscription::confirmed).await
}

async fn refund(t: &App, id: &str, minor: i64, payout: Option<&Payout>) -> Outcome<()> {
    let wish = Refund {
        amount: rand(minor),
        reason: "Not what was ordered",
        notify_buyer: true,
        notify_merchant: false,
        payout,
    };
    t.node.payments.ask("test.refund", &Call::refund(id, &wish).unwrap(), refund::made).await
}

async fn history(t: &App, period: Period, page: Page) -> Vec<Row> {
    let call = Call::history(period, page).unwrap();
    t.node.payments.ask("test.history", &call, history::rows).await.done().unwrap()
}

async fn today(t: &App) -> Vec<Row> {
    history(t, Period::Day(TODAY), Page::default()).await
}

/// The references of today's history.
async fn listed(t: &App) -> Vec<String> {
    today(t).await.into_iter().map(|row| row.reference).collect()
}

fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> (RefusalKind, Option<String>) {
    let Outcome::Refused(refusal) = outcome else { panic!("{outcome:?}") };
    (refusal.kind, refusal.bank_code)
}

/// The notifications that the platform stored, the last to come first, without those that are not about `reference`.
async fn notifications(t: &App, reference: &str) -> Vec<Itn> {
    let mut found = Vec::new();
    let stored = events(&t.admin().await).await;
    for event in stored {
        let id = event.id.parse().unwrap();
        let (body, _) = t.node.payments.notification(id).await.unwrap().unwrap();
        let itn = Itn::parse(&body).unwrap();
        if itn.text("m_payment_id") == Some(reference) {
            found.push(itn);
        }
    }
    found
}

/// Sends a signed request as it is.
async fn send(t: &App, request: &Request) -> (u16, String) {
    let base = t.node.payments.options().api_url();
    let method = request.method.as_str().parse().unwrap();
    let mut call = t.http.request(method, format!("{base}{}", request.target)).body(request.body.clone());
    for (name, value) in &request.headers {
        call = call.header(*name, value);
    }
    let answer = call.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn account(t: &App, passphrase: &str, sandbox: bool) -> Account {
    Account {
        merchant_id: t.node.payments.options().merchant_id.clone(),
        passphrase: Secret::new(passphrase.to_owned()),
        sandbox,
    }
}

on_both! {
    async fn a_card_is_set_up_for_nothing_and_charged(t: App) {
        let pong = t.node.payments.ask("test.ping", &Call::ping(), subscription::pong).await;
        assert_eq!(pong, Outcome::Done("Payfast API".to_owned()));
        let token = token(&t).await;
        assert_eq!(fetch(&t, &token).await.state, State::Active);
        let charged = charge(&t, &token, 52_900, "attempt-1").await.done().unwrap();
        assert_eq!(charged.message, "Transaction was successful(00)");
        for id in [charged.provider_payment_id.as_str(), token.as_str()] {
            let queried = query(&t, id).await.done().unwrap();
            assert_eq!((queried.status, queried.amount_minor), (PaymentStatus::Complete, 52_900));
            assert_eq!(queried.reference.as_deref(), Some("attempt-1"));
            assert_eq!(queried.bank_code.as_deref(), Some("00"));
        }
        let rows = today(&t).await;
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.reference.as_str(), &row.provider_payment_id), ("attempt-1", &charged.provider_payment_id));
        assert_eq!((row.gross_minor, row.fee_minor, row.net_minor), (52_900, -1_216, 51_684));
        assert_eq!((row.sign, row.balance_minor, row.kind.as_str()), (Sign::Credit, 1_051_684, "FUNDS_RECEIVED"));
        // Both were told of, with the token, and a set-up of nothing moves nothing.
        let set_up = notifications(&t, "set-up").await.pop().unwrap();
        assert_eq!((set_up.text("token"), set_up.text("amount_gross")), (Some(token.as_str()), Some("0.00")));
        assert!(set_up.text("billing_date").is_some());
        let told = notifications(&t, "attempt-1").await.pop().unwrap();
        assert_eq!((told.text("token"), told.text("amount_gross")), (Some(token.as_str()), Some("529.00")));
        assert_eq!(told.text("pf_payment_id"), Some(charged.provider_payment_id.as_str()));
        t.run_jobs().await;
    }

    async fn what_was_asked_and_answered_is_kept_and_forgotten_in_time(t: App) {
        let token = token(&t).await;
        let charged = charge(&t, &token, 500, "attempt-1").await.done().unwrap();
        let about = async |subject: &str| {
            let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
            store::answer::newest_about(&mut conn, subject, 10).await.unwrap()
        };
        let kept = about(Call::fetch(&token).unwrap().subject()).await;
        let [kept] = kept.as_slice() else { panic!("{kept:?}") };
        assert_eq!((kept.purpose.as_str(), kept.status, &kept.detail), ("test.charge", Some(200), &None));
        assert_eq!(kept.parameters.0["m_payment_id"], "attempt-1");
        assert_eq!((kept.asked_at, kept.answered_at), (START, Some(START)));
        let body: Value = serde_json::from_slice(kept.body.as_ref().unwrap()).unwrap();
        assert_eq!(body["data"]["pf_payment_id"], json!(charged.provider_payment_id));
        assert!(kept.headers.as_ref().unwrap().0.contains(&("content-type".to_owned(), "application/json".to_owned())));
        t.advance(Duration::from_hours(24 * 549));
        assert_eq!(query(&t, &charged.provider_payment_id).await.word(), "done");
        assert_eq!(t.node.payments.prune_answers(10).await.unwrap(), 0);
        t.advance(Duration::from_hours(48));
        assert_eq!(t.node.payments.prune_answers(10).await.unwrap(), 1);
        let of_token = about(Call::fetch(&token).unwrap().subject()).await.len();
        assert_eq!((of_token, about(&charged.provider_payment_id).await.len()), (0, 1));
    }

    async fn a_charge_that_was_not_answered_is_found_or_is_not(t: Impatient) {
        let t = t.0;
        let token = token(&t).await;
        meet(&t, json!([["api_slow"], ["api_lost"], ["api_error"], ["api_garbled"], ["as_text"]])).await;
        let mut expected = Vec::new();
        for (reference, outcome, made) in [
            ("slow", "unknown", true),
            ("lost", "unknown", false),
            ("error", "unknown", true),
            ("garbled", "unknown", true),
            ("text", "done", true),
        ] {
            assert_eq!(charge(&t, &token, 700, reference).await.word(), outcome, "{reference}");
            expected.extend(made.then(|| reference.to_owned()));
            assert_eq!(listed(&t).await, expected, "{reference}");
            assert_eq!(deliveries(&t, reference).await.len(), usize::from(made), "{reference}");
        }
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let kept = store::answer::newest_about(&mut conn, Call::fetch(&token).unwrap().subject(), 10).await.unwrap();
        let unanswered: Vec<_> = kept.iter().filter(|answer| answer.detail.is_some()).collect();
        assert_eq!((kept.len(), unanswered.len()), (5, 2));
        assert!(unanswered.iter().all(|answer| answer.answered_at.is_some() && answer.status.is_none()));
    }

    async fn a_charge_that_is_refused_moves_nothing(t: App) {
        let token = token(&t).await;
        meet(&t, json!([["declined"], ["locked"]])).await;
        let declined = charge(&t, &token, 700, "declined").await;
        assert_eq!(refused(declined), (RefusalKind::Declined, Some("51".to_owned())));
        let queried = query(&t, &token).await.done().unwrap();
        assert_eq!((queried.status, queried.bank_code.as_deref()), (PaymentStatus::Failed, Some("51")));
        assert_eq!(refused(charge(&t, &token, 700, "locked").await), (RefusalKind::State, None));
        assert_eq!(fetch(&t, &token).await.state, State::Failed);
        // PayFast's way out of it.
        assert_eq!(confirm(&t, Call::pause(&token, 1).unwrap()).await, Outcome::Done(()));
        assert_eq!(charge(&t, &token, 700, "again").await.word(), "done");
        assert_eq!(confirm(&t, Call::cancel(&token).unwrap()).await, Outcome::Done(()));
        assert_eq!(refused(charge(&t, &token, 700, "ended").await), (RefusalKind::State, None));
        let stranger = "0198c0de-0000-7000-8000-000000000000";
        assert_eq!(refused(charge(&t, stranger, 700, "stranger").await), (RefusalKind::NotFound, None));
        assert_eq!(listed(&t).await, ["again"]);
        for nothing in ["declined", "locked", "ended", "stranger"] {
            assert_eq!(deliveries(&t, nothing).await.len(), 0, "{nothing}");
        }
        let cancelled = notifications(&t, "set-up").await;
        let cancelled = cancelled.iter().find(|itn| itn.text("payment_status") == Some("CANCELLED")).unwrap();
        assert_eq!((cancelled.text("token"), cancelled.get("amount_gross")), (Some(token.as_str()), None));
        t.run_jobs().await;
    }

    async fn notifications_of_charges_meet_faults_too(t: App) {
        let token = token(&t).await;
        meet(&t, json!([["never"], ["late", "twice"], ["unlisted"]])).await;
        for reference in ["never", "late", "unlisted"] {
            assert_eq!(charge(&t, &token, 700, reference).await.word(), "done", "{reference}");
        }
        assert_eq!(listed(&t).await, ["never", "late"]);
        let sends = async |reference: &str| deliveries(&t, reference).await[0]["sends"].as_i64().unwrap();
        assert_eq!((sends("never").await, sends("late").await, sends("unlisted").await), (0, 0, 1));
        t.advance(Duration::from_secs(500));
        t.run_jobs().await;
        assert_eq!((sends("never").await, sends("late").await), (0, 2));
        // Whoever wants none gets none.
        let quiet = Charge {
            amount: rand(500),
            item_name: "Quiet",
            item_description: "",
            reference: "quiet",
            notify: false,
        };
        let call = Call::charge(&token, &quiet).unwrap();
        assert_eq!(t.node.payments.ask("test.charge", &call, charge::charged).await.word(), "done");
        assert_eq!(deliveries(&t, "quiet").await.len(), 0);
    }

    async fn a_query_that_is_down_is_asked_again(t: App) {
        let token = token(&t).await;
        meet(&t, json!([["query_down"]])).await;
        let charged = charge(&t, &token, 700, "attempt-1").await.done().unwrap();
        let mut words = Vec::new();
        for _ in 0..3 {
            words.push(query(&t, &charged.provider_payment_id).await.word());
        }
        assert_eq!(words, ["unknown", "unknown", "done"]);
        assert_eq!(refused(query(&t, "1234").await).0, RefusalKind::NotFound);
    }

    async fn money_goes_back_in_parts_and_not_twice(t: App) {
        let id = pay(&t, form(&t).amount(rand(10_000))).await;
        let terms = async |id: &str| {
            let call = Call::refund_terms(id).unwrap();
            t.node.payments.ask("test.terms", &call, refund::terms).await.done().unwrap()
        };
        let fresh = terms(&id).await;
        assert_eq!((fresh.refundable, fresh.original_minor, fresh.available_minor), (Refundable::Yes, 10_000, 10_000));
        assert_eq!((fresh.full, fresh.partial, fresh.banks.len()), (Way::Source, Way::Source, 3));
        assert_eq!(refund(&t, &id, 4_000, None).await, Outcome::Done(()));
        let partly = terms(&id).await;
        assert_eq!((partly.available_minor, partly.full, partly.partial), (6_000, Way::Closed, Way::Source));
        assert_eq!(refused(refund(&t, &id, 6_001, None).await).0, RefusalKind::Request);
        meet(&t, json!([["unfunded"], ["refund_pending"]])).await;
        assert_eq!(refused(refund(&t, &id, 1_000, None).await).0, RefusalKind::Request);
        assert_eq!(refund(&t, &id, 6_000, None).await, Outcome::Done(()));
        assert_eq!(terms(&id).await.refundable, Refundable::Completed);
        let moved = async || {
            let call = Call::refunds(&id).unwrap();
            let read = t.node.payments.ask("test.refunds", &call, refund::movements).await.done().unwrap();
            (read.available_minor, read.movements.iter().map(|moved| moved.amount_minor).collect::<Vec<_>>())
        };
        // What is pending has not moved yet.
        assert_eq!(moved().await, (6_000, vec![10_000, -4_000]));
        assert_eq!(today(&t).await.len(), 2);
        t.advance(Duration::from_secs(500));
        assert_eq!(moved().await, (0, vec![10_000, -4_000, -6_000]));
        let rows = today(&t).await;
        let [_, part, rest] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((part.sign, part.gross_minor, part.fee_minor, part.net_minor), (Sign::Debit, -4_000, -230, -4_230));
        assert_eq!((rest.net_minor, rest.balance_minor), (-6_230, part.balance_minor - 6_230));
        assert_eq!((rest.provider_payment_id.as_str(), rest.at), (id.as_str(), START.plus(Duration::from_secs(500))));
        // What came by transfer goes back to an account that must be named.
        let transfer = pay(&t, form(&t).amount(rand(1_000)).put("payment_method", "ef")).await;
        assert_eq!(terms(&transfer).await.full, Way::BankPayout);
        assert_eq!(refused(refund(&t, &transfer, 1_000, None).await).0, RefusalKind::Request);
        let payout = Payout {
            holder: "Mr Smith".to_owned(),
            bank: "FNB".to_owned(),
            branch_code: "250655".to_owned(),
            account_number: "62000000123".to_owned(),
            kind: BankAccountKind::Savings,
        };
        assert_eq!(refund(&t, &transfer, 1_000, Some(&payout)).await, Outcome::Done(()));
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let kept = store::answer::newest_about(&mut conn, &transfer, 10).await.unwrap();
        assert!(kept.iter().any(|kept| kept.parameters.0["bank_account_number"] == "********123"));
    }

    async fn a_refund_that_was_not_answered_is_found_or_is_not(t: Impatient) {
        let t = t.0;
        let id = pay(&t, form(&t).amount(rand(10_000))).await;
        meet(&t, json!([["api_slow"], ["api_lost"]])).await;
        for available in [9_000, 9_000] {
            assert_eq!(refund(&t, &id, 1_000, None).await.word(), "unknown");
            let call = Call::refunds(&id).unwrap();
            let read = t.node.payments.ask("test.refunds", &call, refund::movements).await.done().unwrap();
            assert_eq!(read.available_minor, available);
        }
    }

    async fn a_schedule_is_charged_when_its_day_comes(t: App) {
        let schedule = Schedule {
            billing_date: Some(date!(2027 - 01 - 31)),
            amount: Some(rand(900)),
            frequency: Frequency::Monthly,
            cycles: 3,
            notify_email: None,
            notify_webhook: None,
            notify_buyer: Some(true),
        };
        let id = pay(&t, form(&t).amount(rand(0)).subscribe(&schedule)).await;
        let token = token_of(&t, &id).await;
        let fetched = fetch(&t, &token).await;
        assert_eq!((fetched.amount_minor, fetched.cycles, fetched.cycles_complete), (Some(900), Some(3), Some(0)));
        assert_eq!((fetched.frequency, fetched.run_date), (Some(Frequency::Monthly), Some(date!(2027 - 01 - 31))));
        // A token of a schedule is charged by PayFast, not by us.
        assert_eq!(refused(charge(&t, &token, 900, "ours").await).0, RefusalKind::State);
        let renew = async || {
            let url = format!("{}/simulator/payfast/subscriptions/{token}/renew", t.url);
            let text = t.http.post(url).send().await.unwrap().text().await.unwrap();
            let told: Value = serde_json::from_str(&text).unwrap();
            (told["run"].as_str().unwrap().to_owned(), told["run_date"].as_str().unwrap().to_owned())
        };
        assert_eq!(renew().await, ("charged".to_owned(), "2027-02-28".to_owned()));
        let update = Update { amount: Some(rand(1_000)), ..Update::default() };
        assert_eq!(confirm(&t, Call::update(&token, &update).unwrap()).await, Outcome::Done(()));
        assert_eq!(confirm(&t, Call::pause(&token, 1).unwrap()).await, Outcome::Done(()));
        assert_eq!(fetch(&t, &token).await.state, State::Paused);
        assert_eq!(renew().await.0, "skipped");
        assert_eq!(fetch(&t, &token).await.state, State::Active);
        meet(&t, json!([["declined"]])).await;
        assert_eq!(renew().await.0, "declined");
        assert_eq!((renew().await.0, renew().await.0), ("charged".to_owned(), "charged".to_owned()));
        let complete = fetch(&t, &token).await;
        assert_eq!((complete.state, complete.cycles_complete), (State::Complete, Some(3)));
        assert_eq!(renew().await.0, "not charged");
        assert_eq!(refused(confirm(&t, Call::unpause(&token).unwrap()).await).0, RefusalKind::State);
        let gross: Vec<_> = today(&t).await.iter().map(|row| row.gross_minor).collect();
        assert_eq!(gross, [900, 1_000, 1_000]);
        let told = notifications(&t, "set-up").await;
        assert_eq!(told.len(), 4);
        assert!(told.iter().all(|itn| itn.text("token") == Some(token.as_str())));
        t.run_jobs().await;
    }

    async fn a_schedule_that_fails_five_times_is_locked(t: App) {
        let schedule = Schedule {
            billing_date: None,
            amount: None,
            frequency: Frequency::Weekly,
            cycles: 0,
            notify_email: None,
            notify_webhook: None,
            notify_buyer: None,
        };
        let id = pay(&t, form(&t).amount(rand(900)).subscribe(&schedule)).await;
        let token = token_of(&t, &id).await;
        let declined = json!(["declined"]);
        meet(&t, json!([declined, declined, declined, declined, declined])).await;
        let before = fetch(&t, &token).await;
        assert_eq!((before.cycles_complete, before.run_date), (Some(1), Some(date!(2026 - 11 - 27))));
        for _ in 0..5 {
            let url = format!("{}/simulator/payfast/subscriptions/{token}/renew", t.url);
            assert_eq!(t.http.post(url).send().await.unwrap().status().as_u16(), 200);
        }
        assert_eq!(fetch(&t, &token).await.state, State::Failed);
        // Of all that PayFast sends no word.
        assert_eq!(notifications(&t, "set-up").await.len(), 1);
        let stranger = format!("{}/simulator/payfast/subscriptions/{}/renew", t.url, "0".repeat(36));
        assert_eq!(t.http.post(stranger).send().await.unwrap().status().as_u16(), 404);
    }

    async fn the_history_is_told_by_days_and_pages_and_adds_up(t: App) {
        let token = token(&t).await;
        for at in 0..5 {
            assert_eq!(charge(&t, &token, 500 + at, &format!("attempt-{at}")).await.word(), "done");
            t.advance(Duration::from_hours(6));
        }
        let last = date!(2026 - 11 - 21);
        let all = history(&t, Period::Range { from: TODAY, to: last }, Page::default()).await;
        assert_eq!(all.iter().map(|row| row.gross_minor).collect::<Vec<_>>(), [500, 501, 502, 503, 504]);
        let mut balance = 1_000_000;
        for row in &all {
            balance += row.net_minor;
            assert_eq!(row.balance_minor, balance);
        }
        // The tests begin at noon there, so that the third charge is of midnight.
        let sizes = async |period| history(&t, period, Page::default()).await.len();
        assert_eq!((sizes(Period::Day(TODAY)).await, sizes(Period::Day(last)).await), (2, 3));
        assert_eq!(sizes(Period::Week(date!(2026 - 11 - 16))).await, 5);
        assert_eq!(sizes(Period::Week(date!(2026 - 11 - 21))).await, 3);
        assert_eq!((sizes(Period::Month(TODAY)).await, sizes(Period::Month(date!(2026 - 12 - 01))).await), (5, 0));
        let page = Page { offset: 3, limit: 1 };
        let one = history(&t, Period::Month(TODAY), page).await;
        assert_eq!(one.iter().map(|row| row.reference.as_str()).collect::<Vec<_>>(), ["attempt-3"]);
    }

    async fn what_buyers_pay_on_the_page_is_in_the_books_too(t: App) {
        let ada = t.register("ada@example.com").await;
        meet(&t, json!([["never"], ["invalid"], ["other_merchant"], ["short"]])).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            let order = checkout(&ada, "live-verification").await;
            press(&t, &order, &[("simulator_action", "pay")]).await;
            ids.push(order.payment_id);
        }
        // What the notification hid or got wrong the history tells as it is.
        let expected = [(ids[0].clone(), 500), (ids[3].clone(), 500)];
        let rows: Vec<_> = today(&t).await.into_iter().map(|row| (row.reference, row.gross_minor)).collect();
        assert_eq!(rows, expected);
    }

    async fn a_wrong_signature_silences_us_for_a_growing_while(t: App) {
        let good = t.node.payments.options().clone();
        let bad = Options { passphrase: Secret::new("not-the-passphrase".to_owned()), ..good.clone() };
        let (right, wrong) = (Api::new(&good, t.world.clone()).unwrap(), Api::new(&bad, t.world.clone()).unwrap());
        let ping = Call::ping();
        assert_eq!(wrong.send(&ping).await.unwrap().status, 401);
        for pause in [5, 10, 20] {
            let pause = Duration::from_mins(pause);
            // Whatever it is, nothing more is sent.
            let Err(Unanswered::NotSent { why, wait }) = wrong.send(&ping).await else { panic!() };
            assert!(why.contains("check them"), "{why}");
            assert_eq!(wait, pause);
            t.advance(pause);
            assert_eq!(wrong.send(&ping).await.unwrap().status, 401);
        }
        assert_eq!(right.send(&ping).await.unwrap().status, 200);
        // Somebody else signs wrong again and again, and PayFast does not look at anybody's signature for a while.
        let mut statuses = Vec::new();
        for _ in 0..6 {
            statuses.push(send(&t, &ping.request(&account(&t, "wrong", false), t.world.now())).await.0);
        }
        assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
        let limited = t.node.payments.ask("test.ping", &ping, subscription::pong).await;
        assert_eq!(refused(limited).0, RefusalKind::RateLimited);
        assert_eq!(t.node.payments.ask("test.ping", &ping, subscription::pong).await.word(), "not_sent");
        t.advance(Duration::from_mins(5));
        assert_eq!(t.node.payments.ask("test.ping", &ping, subscription::pong).await.word(), "done");
        assert_eq!(t.node.payments.ask("test.ping", &ping, subscription::pong).await.word(), "done");
    }

    async fn who_calls_is_checked_as_payfast_does(t: App) {
        let passphrase = t.node.payments.options().passphrase().unwrap().to_owned();
        let signed = Call::ping().request(&account(&t, &passphrase, false), t.world.now());
        let changed = |name: &'static str, value: Option<&str>| {
            let mut request = signed.clone();
            request.headers.retain(|(known, _)| *known != name);
            request.headers.extend(value.map(|value| (name, value.to_owned())));
            request
        };
        for (request, status, says) in [
            (changed("signature", None), 400, "Signature not present in headers"),
            (changed("signature", Some("BEEF")), 400, "not in the expected format"),
            (changed("timestamp", None), 400, "Required variables not present"),
            (changed("timestamp", Some("yesterday")), 400, "Required variables not present"),
            (changed("version", Some("v2")), 400, "API version is not valid"),
            (changed("merchant-id", Some("10000101")), 401, "Merchant not found"),
            (changed("timestamp", Some("2026-11-20T12:00:01+02:00")), 401, "Merchant authorisation failed"),
            (signed.clone(), 200, "Payfast API"),
        ] {
            let (code, text) = send(&t, &request).await;
            assert!(code == status && text.contains(says), "{code} {text}");
        }
        // The sandbox is another server under the same name, and has no refunds.
        let sandbox = account(&t, &passphrase, true);
        let ping = send(&t, &Call::ping().request(&sandbox, t.world.now())).await;
        assert_eq!(ping, (200, "\"API V1\"".to_owned()));
        let refunds = Call::refunds("1234").unwrap().request(&sandbox, t.world.now());
        assert_eq!(send(&t, &refunds).await.0, 404);
        // A form says the same as JSON.
        let token = token(&t).await;
        let pause = Call::pause(&token, 2).unwrap().request(&account(&t, &passphrase, false), t.world.now());
        let mut as_form = Request { body: "cycles=2".to_owned(), ..pause };
        as_form.headers.retain(|(name, _)| *name != "content-type");
        assert_eq!(send(&t, &as_form).await.0, 200);
        assert_eq!(fetch(&t, &token).await.state, State::Paused);
    }
}

/// A client of whatever listens there.
fn client(url: &str) -> (Api, Arc<ManualClock>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Arc::new(ManualClock::new(START));
    let world = World::new(Arc::clone(&clock) as _, Arc::new(SeededRng::new(1)));
    let options =
        Options { public_url: url.to_owned(), api_max: Duration::from_secs(5), ..Options::default() };
    (Api::new(&options, world).unwrap(), clock)
}

/// A server that answers every request with these bytes and hangs up.
async fn canned(answer: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let read = socket.read(&mut buffer).await.unwrap();
                request.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    break;
                }
            }
            let _ = socket.write_all(answer).await;
        }
    });
    url
}

#[tokio::test]
async fn what_never_left_is_told_apart_from_what_was_lost() {
    // Nobody listens there.
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (api, clock) = client(&closed);
    let ping = Call::ping();
    for _ in 0..3 {
        assert!(matches!(api.send(&ping).await, Err(Unanswered::NotSent { .. })));
    }
    let Err(Unanswered::NotSent { why, wait }) = api.send(&ping).await else { panic!() };
    assert_eq!((why.as_str(), wait), ("PayFast's API did not serve lately", Duration::from_secs(30)));
    clock.advance(Duration::from_secs(30));
    let Err(Unanswered::NotSent { why, .. }) = api.send(&ping).await else { panic!() };
    assert_ne!(why, "PayFast's API did not serve lately");

    for broken in [
        b"".as_slice(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"code\":200",
        b"not HTTP at all\r\n\r\n",
    ] {
        let (api, _) = client(&canned(broken).await);
        assert!(matches!(api.send(&ping).await, Err(Unanswered::Lost(_))), "{broken:?}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed_and_failures_open_the_circuit() {
    let ping = Call::ping();
    let elsewhere = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (api, _) = client(&canned(elsewhere).await);
    assert_eq!(subscription::pong(&api.send(&ping).await.unwrap()).word(), "unknown");

    let down = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let (api, clock) = client(&canned(down).await);
    for _ in 0..3 {
        assert_eq!(api.send(&ping).await.unwrap().status, 503);
    }
    assert!(matches!(api.send(&ping).await, Err(Unanswered::NotSent { .. })));
    clock.advance(Duration::from_secs(30));
    assert_eq!(api.send(&ping).await.unwrap().status, 503);
}

#[tokio::test]
async fn without_a_passphrase_nothing_is_sent() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (world, _) = crate::support::world(1);
    let options = Options { passphrase: Secret::default(), ..Options::default() };
    let api = Api::new(&options, world).unwrap();
    let Err(Unanswered::NotSent { why, .. }) = api.send(&Call::ping()).await else { panic!() };
    assert!(why.contains("passphrase"), "{why}");
}
