//! Refunds over real databases and a PayFast that loses answers: who may, how much, and what is never done twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capecontrol::auth::caller::Proof;
use capecontrol::auth::model::key::Grant;
use capecontrol::auth::{Caller, OrganizationRole, Origin, Role};
use capecontrol::base::fault::{Fault as _, NOT_FOUND, PERMISSION_DENIED};
use capecontrol::base::{AccountId, Currency, Money, OrganizationId, Timestamp, World};
use capecontrol::db::{Conn as _, Db, Scope};
use capecontrol::idempotency::RequestKey;
use capecontrol::jobs::Worker;
use capecontrol::payments::model::ledger::Account;
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{
    AlarmKind, Checkout, PaymentId, Refund, RefundDestination, RefundStatus, SubscriptionStatus,
};
use capecontrol::payments::payfast::api::answer::{RawAnswer, Unanswered};
use capecontrol::payments::payfast::api::call::{Call, Endpoint};
use capecontrol::payments::provider::Transport;
use capecontrol::payments::service::{
    ApproveRefund, EventFilter, Reconcile, RefundFilter, RefundPayment, RefundSource, SeenEvent,
};
use capecontrol::payments::{
    Error, NOTHING_TO_REFUND, OWN_ORGANIZATION, Options, REFUND_DECIDED, REFUND_EXCEEDS_RECEIPT,
    SECOND_PERSON_REQUIRED, Service, register, store,
};
use serde_json::{Value, json};

use super::payments::{Told, alarms, balances, checkout, deliver, itn, jobs_left};
use crate::support::{Fixture, audit_log, insert_account, ledger, on_both, somebody};

/// What PayFast does with the next refund.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    /// Does it and says so.
    Answers,
    /// Does it, and the answer gets lost.
    Loses,
    /// Does not do it, and there is no answer.
    Drops,
    /// Says no.
    Refuses(&'static str),
    /// Is not reached.
    Away,
}

#[derive(Default)]
struct Books {
    paid: BTreeMap<String, i64>,
    refunds: Vec<(String, i64, Timestamp)>,
    moods: VecDeque<Mood>,
    asked: Vec<Endpoint>,
    silent: bool,
    closed: bool,
}

/// A PayFast that knows what was paid and what went back, and answers as it is told to.
pub struct Payfast {
    world: World,
    books: Mutex<Books>,
}

impl Payfast {
    pub fn new(world: &World) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), books: Mutex::default() })
    }

    pub fn paid(&self, id: &str, minor: i64) {
        self.books.lock().unwrap().paid.insert(id.to_owned(), minor);
    }

    /// What it does with the next refunds; afterwards it answers.
    pub fn mood(&self, mood: Mood) {
        self.books.lock().unwrap().moods.push_back(mood);
    }

    pub fn silent(&self, silent: bool) {
        self.books.lock().unwrap().silent = silent;
    }

    /// How often it was told to refund, whether it did or not.
    pub fn told(&self) -> usize {
        self.books.lock().unwrap().asked.iter().filter(|asked| **asked == Endpoint::Refund).count()
    }

    /// How much went back, refund by refund.
    pub fn gone(&self) -> Vec<i64> {
        self.books.lock().unwrap().refunds.iter().map(|(_, minor, _)| *minor).collect()
    }
}

fn answer(response: &Value) -> RawAnswer {
    let body =
        json!({"code": 200, "status": "success", "data": {"response": response, "message": "Success"}});
    RawAnswer { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn local(at: Timestamp) -> String {
    at.plus(Duration::from_hours(2)).to_rfc3339()[..19].replace('T', " ")
}

fn rand(minor: i64) -> String {
    Money::new(minor, Currency::Zar).to_decimal_string()
}

impl Books {
    fn available(&self, id: &str) -> i64 {
        let gone: i64 = self.refunds.iter().filter(|(of, ..)| of == id).map(|(_, minor, _)| minor).sum();
        self.paid.get(id).copied().unwrap_or(0) - gone
    }

    fn terms(&self, id: &str) -> Value {
        let status = if self.closed { "NOT_AVAILABLE" } else { "REFUNDABLE" };
        let errors = if self.closed { json!(["The payment is too old"]) } else { json!([]) };
        let method = json!({"method": "PAYMENT_SOURCE"});
        json!({
            "amount_original": self.paid.get(id), "amount_available_for_refund": self.available(id),
            "status": status, "errors": errors, "refund_full": method, "refund_partial": method,
        })
    }

    fn movements(&self, id: &str) -> Value {
        let of = self.refunds.iter().filter(|(of, ..)| of == id);
        let told: Vec<Value> = of
            .map(|(_, minor, at)| json!({"amount": -minor, "date": local(*at), "type": "Funds Received (Refund)"}))
            .collect();
        json!({"available_balance": self.available(id), "transactions": told})
    }

    fn history(&self) -> Vec<u8> {
        let mut text =
            "Date,Type,Sign,Party,Name,Description,Currency,Funding Type,Gross,Fee,Net,Balance,M Payment ID,\
                        PF Payment ID\n"
                .to_owned();
        for (id, minor, at) in &self.refunds {
            let (gross, net) = (rand(-minor), rand(-minor - 230));
            let row = format!(
                "{},FUNDS_RECEIVED_REFUND,DEBIT,Ada,,,ZAR,CC,{gross},-2.30,{net},0.00,,{id}\n",
                local(*at)
            );
            text.push_str(&row);
        }
        text.into_bytes()
    }
}

#[async_trait::async_trait]
impl Transport for Payfast {
    async fn send(&self, call: &Call) -> Result<RawAnswer, Unanswered> {
        let now = self.world.now();
        let mut books = self.books.lock().unwrap();
        books.asked.push(call.endpoint());
        let id = call.subject().to_owned();
        if call.endpoint() == Endpoint::Refund {
            let minor = call.parameters()["amount"].as_i64().unwrap();
            let mood = books.moods.pop_front().unwrap_or(Mood::Answers);
            if matches!(mood, Mood::Answers | Mood::Loses) {
                assert!(minor <= books.available(&id), "PayFast would refuse this");
                books.refunds.push((id, minor, now));
            }
            return match mood {
                Mood::Answers => Ok(answer(&json!(true))),
                Mood::Loses | Mood::Drops => Err(Unanswered::Lost("late".to_owned())),
                Mood::Refuses(why) => {
                    let body =
                        json!({"code": 400, "status": "failed", "data": {"response": false, "message": why}});
                    Ok(RawAnswer { status: 400, headers: Vec::new(), body: body.to_string().into_bytes() })
                }
                Mood::Away => {
                    Err(Unanswered::NotSent { why: "down".to_owned(), wait: Duration::from_secs(30) })
                }
            };
        }
        if books.silent {
            return Err(Unanswered::Lost("silent".to_owned()));
        }
        match call.endpoint() {
            Endpoint::RefundTerms => Ok(answer(&books.terms(&id))),
            Endpoint::Refunds => Ok(answer(&books.movements(&id))),
            Endpoint::History => Ok(RawAnswer { status: 200, headers: Vec::new(), body: books.history() }),
            other => panic!("nobody asks for {}", other.as_str()),
        }
    }
}

/// The domain with this PayFast, and a worker for its jobs.
pub fn over(t: &Fixture, payfast: &Arc<Payfast>) -> (Arc<Service>, Worker) {
    let service = Service::new(
        t.db.clone(),
        t.world.clone(),
        Options::default(),
        Told::next(&[]),
        audit_log(&t.world),
        ledger(t),
    );
    let service = Arc::new(service.over(Arc::clone(payfast) as _));
    let worker = t.worker(|registry| register(registry, &service));
    (service, worker)
}

/// An administrator of the platform.
pub async fn staff(t: &Fixture, email: &str) -> Caller {
    let (account, personal) = insert_account(&t.db, &t.world, email).await;
    promote(&t.db, &t.world, account, personal).await
}

/// Somebody's account, made an administrator's.
pub async fn promote(db: &Db, world: &World, account: AccountId, personal: OrganizationId) -> Caller {
    set_role(db, account, Role::Admin).await;
    let expires_at = Timestamp::from_micros(i64::MAX);
    let proof = Proof { account, session: world.id(), role: Role::Admin, personal, expires_at };
    Caller::signed_in(proof, Origin::default())
}

async fn set_role(db: &Db, account: AccountId, role: Role) {
    let mut tx = db.begin(Scope::System("test")).await.unwrap();
    let update = tx.shared_sql("UPDATE accounts SET role = $1 WHERE id = $2").bind(role).bind(account);
    assert_eq!(update.execute().await.unwrap(), 1);
    tx.commit().await.unwrap();
}

/// A payment of R529 that was made, and who can give it back.
pub struct Shop {
    pub service: Arc<Service>,
    pub worker: Worker,
    pub payfast: Arc<Payfast>,
    pub buyer: Caller,
    pub maker: Caller,
    pub checker: Caller,
    pub sold: Checkout,
}

impl Shop {
    pub async fn open(t: &Fixture) -> Self {
        let payfast = Payfast::new(&t.world);
        let (service, worker) = over(t, &payfast);
        let buyer = somebody(t, "ada@example.com").await;
        let (maker, checker) = (staff(t, "maker@example.com").await, staff(t, "checker@example.com").await);
        let sold = checkout(&service, &buyer, "pro", Cycle::Monthly).await;
        payfast.paid("1", 52_900);
        deliver(&service, &worker, itn(&sold.payment_id.to_string(), "1", "COMPLETE", "529.00")).await;
        t.clock.advance(Duration::from_secs(60));
        Self { service, worker, payfast, buyer, maker, checker, sold }
    }

    pub async fn propose(&self, amount: Option<i64>) -> Result<Refund, Error> {
        self.service.refund_payment(&self.maker, wish(self.sold.payment_id, amount), None).await
    }

    pub async fn approve(&self, refund: &Refund) -> Result<Refund, Error> {
        self.service.approve_refund(&self.checker, yes(refund), None).await
    }

    /// Proposes and approves.
    pub async fn agree(&self, amount: Option<i64>) -> Refund {
        let refund = self.propose(amount).await.unwrap();
        self.approve(&refund).await.unwrap()
    }

    pub async fn now(&self, refund: &Refund) -> Refund {
        self.service.get_refund(&self.maker, refund.id).await.unwrap()
    }

    async fn run(&self) {
        self.worker.run_due().await.unwrap();
    }

    async fn plan(&self) -> (String, SubscriptionStatus) {
        let found = self.service.get_subscription(&self.buyer, None).await.unwrap();
        (found.plan.id, found.status)
    }

    async fn refunded(&self) -> (i64, i64) {
        let found = self.service.get_payment_with_refunds(&self.buyer, self.sold.payment_id).await.unwrap();
        (found.refunded.done_minor, found.refunded.pending_minor)
    }
}

pub fn wish(payment: PaymentId, amount: Option<i64>) -> RefundPayment {
    RefundPayment {
        source: RefundSource::Payment(payment),
        amount: amount.map(|minor| Money::new(minor, Currency::Zar)),
        reason: "bought by mistake".to_owned(),
        destination: RefundDestination::Source,
    }
}

pub fn yes(refund: &Refund) -> ApproveRefund {
    ApproveRefund { refund_id: refund.id, approved: true, note: String::new() }
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.unwrap_err().reason().name
}

on_both! {
    async fn two_people_give_all_of_a_payment_back(t: Fixture) {
        let shop = Shop::open(&t).await;
        let proposed = shop.propose(None).await.unwrap();
        assert_eq!((proposed.status, proposed.amount_minor), (RefundStatus::Proposed, 52_900));
        shop.run().await;
        assert_eq!((shop.payfast.told(), shop.refunded().await), (0, (0, 0)));
        let approved = shop.approve(&proposed).await.unwrap();
        assert_eq!((approved.status, approved.checker_id), (RefundStatus::Approved, shop.checker.account));
        assert_eq!(shop.refunded().await, (0, 52_900));
        assert_eq!(shop.plan().await.0, "pro");
        shop.run().await;
        let done = shop.now(&proposed).await;
        assert_eq!((done.status, done.fee_minor), (RefundStatus::Succeeded, None));
        assert_eq!((shop.payfast.gone(), shop.refunded().await), (vec![52_900], (52_900, 0)));
        let books = [
            (Account::PayfastClearing, -230),
            (Account::ProviderFees, 230),
            (Account::Refunds, 46_000),
            (Account::Revenue, -46_000),
        ];
        assert_eq!(balances(&shop.service).await, books);
        // All of its price went back, so what it bought is over.
        assert_eq!(shop.plan().await, ("free".to_owned(), SubscriptionStatus::Expired));
        let invoice = shop.service.get_invoice(&shop.buyer, shop.sold.invoice_id).await.unwrap().invoice;
        assert_eq!((invoice.credited_minor, invoice.number.as_deref()), (52_900, Some("TEST-000001")));
        // The provider's fee is in its history, which is read daily.
        let days = Reconcile { from: "2026-11-20".to_owned(), to: "2026-11-20".to_owned() };
        let run = shop.service.run_reconciliation(&Caller::system("test"), &days, None).await.unwrap();
        assert_eq!((run.repaired_count, run.open_count, shop.now(&proposed).await.fee_minor), (1, 0, Some(230)));
        let books = balances(&shop.service).await;
        assert!(books.contains(&(Account::PayfastClearing, -460)) && books.contains(&(Account::ProviderFees, 460)));
        assert_eq!((alarms(&t).await, jobs_left(&t).await), (Vec::new(), 0));
        assert_eq!(reason(shop.propose(None).await), NOTHING_TO_REFUND.name);
    }

    async fn one_person_is_not_two_and_nobody_pays_themselves(t: Fixture) {
        let shop = Shop::open(&t).await;
        let refund = shop.propose(Some(1_000)).await.unwrap();
        let by = async |caller: &Caller| reason(shop.service.approve_refund(caller, yes(&refund), None).await);
        assert_eq!(by(&shop.maker).await, SECOND_PERSON_REQUIRED.name);
        let organization = shop.buyer.personal.unwrap();
        let propose = async |caller: &Caller| {
            reason(shop.service.refund_payment(caller, wish(shop.sold.payment_id, None), None).await)
        };
        // A member, who is an administrator of the platform as well.
        let member = staff(&t, "member@example.com").await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let account = member.account.unwrap();
        capecontrol::auth::store::member::insert(
            &mut tx, organization, account, OrganizationRole::Member, t.world.now(),
        ).await.unwrap();
        tx.commit().await.unwrap();
        // One who belongs no more, and left a key there.
        let left = staff(&t, "left@example.com").await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.sql(
            "INSERT INTO api_keys (id, organization_id, account_id, name, scopes, networks, generation, secret_hash,
                    created_by, created_at)
             VALUES ($1, $2, $3, 'Test', '[]', '[]', 1, $4, $3, $5)",
        )
        .bind(t.world.id::<()>()).bind(organization).bind(left.account.unwrap()).bind(vec![0_u8; 32])
        .bind(t.world.now())
        .execute().await.unwrap();
        tx.commit().await.unwrap();
        // The payer, made an administrator.
        let payer = promote(&t.db, &t.world, shop.buyer.account.unwrap(), shop.buyer.personal.unwrap()).await;
        for own in [&member, &left, &payer] {
            assert_eq!((by(own).await, propose(own).await), (OWN_ORGANIZATION.name, OWN_ORGANIZATION.name));
        }
        // A program has nobody's power, whoever made it, and neither has a job.
        let grant = Arc::new(Grant { organization, scopes: BTreeSet::new(), key: None });
        let program = Caller::program(shop.checker.account.unwrap(), Arc::clone(&grant), None, None, Origin::default());
        let mut disguised = program.clone();
        disguised.role = Role::Admin;
        for nobody in [program, disguised, shop.buyer.clone(), Caller::system("test")] {
            assert_eq!((by(&nobody).await, propose(&nobody).await), (PERMISSION_DENIED.name, PERMISSION_DENIED.name));
        }
        // Whoever lost the role a moment ago has a token that still says otherwise.
        let former = staff(&t, "former@example.com").await;
        set_role(&t.db, former.account.unwrap(), Role::Customer).await;
        assert_eq!((by(&former).await, propose(&former).await), (PERMISSION_DENIED.name, PERMISSION_DENIED.name));
        assert_eq!(shop.now(&refund).await.status, RefundStatus::Proposed);
        let no = |note: &str| ApproveRefund { refund_id: refund.id, approved: false, note: note.to_owned() };
        let silent = shop.service.approve_refund(&shop.checker, no(""), None).await.unwrap_err();
        assert_eq!(silent.violations()[0].field, "note");
        let rejected = shop.service.approve_refund(&shop.checker, no("not ours"), None).await.unwrap();
        assert_eq!((rejected.status, rejected.note.as_str()), (RefundStatus::Rejected, "not ours"));
        assert_eq!(by(&shop.checker).await, REFUND_DECIDED.name);
        shop.run().await;
        assert_eq!((shop.payfast.told(), shop.refunded().await), (0, (0, 0)));
    }

    async fn who_paid_through_a_program_is_behind_it(t: Fixture) {
        let shop = Shop::open(&t).await;
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let (paid_by, maker) = (shop.buyer.account.unwrap(), shop.maker.account.unwrap());
        // The payment was started by a program that the maker had made, and that is gone.
        tx.sql(
            "INSERT INTO service_accounts (account_id, organization_id, name, scopes, created_by, created_at,
                deleted_at)
             VALUES ($1, $2, 'Test', '[]', $3, $4, $4)",
        )
        .bind(paid_by).bind(shop.buyer.personal.unwrap()).bind(maker).bind(t.world.now())
        .execute().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(reason(shop.propose(None).await), OWN_ORGANIZATION.name);
        let by_others = wish(shop.sold.payment_id, None);
        assert!(shop.service.refund_payment(&shop.checker, by_others, None).await.is_ok());
    }

    async fn parts_never_exceed_the_whole_also_when_approved_at_once(t: Fixture) {
        let shop = Shop::open(&t).await;
        let mut parts = Vec::new();
        for _ in 0..3 {
            parts.push(shop.propose(Some(20_000)).await.unwrap());
        }
        let whole = shop.propose(None).await.unwrap();
        assert_eq!(reason(shop.propose(Some(52_901)).await), REFUND_EXCEEDS_RECEIPT.name);
        let (one, two, three) =
            tokio::join!(shop.approve(&parts[0]), shop.approve(&parts[1]), shop.approve(&parts[2]));
        let outcomes = [one, two, three];
        let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(|error| error.reason().name);
        assert_eq!(refused.collect::<Vec<_>>(), [REFUND_EXCEEDS_RECEIPT.name], "{outcomes:?}");
        assert_eq!(reason(shop.approve(&whole).await), REFUND_EXCEEDS_RECEIPT.name);
        // One of the two goes first; the other waits for it to be over.
        for _ in 0..3 {
            shop.run().await;
            t.clock.advance(Duration::from_mins(10));
        }
        assert_eq!((shop.payfast.gone(), shop.refunded().await), (vec![20_000, 20_000], (40_000, 0)));
        assert_eq!(shop.plan().await.0, "pro");
        // The rest is what is left, and with it the period ends.
        let rest = shop.agree(None).await;
        assert_eq!(rest.amount_minor, 12_900);
        shop.run().await;
        assert_eq!((shop.refunded().await, shop.plan().await.0.as_str()), ((52_900, 0), "free"));
        balances(&shop.service).await;
    }

    async fn what_was_not_answered_is_asked_about_and_never_sent_again(t: Fixture) {
        let shop = Shop::open(&t).await;
        shop.payfast.mood(Mood::Loses);
        let (first, second) = (shop.agree(Some(1_000)).await, shop.agree(Some(1_000)).await);
        shop.run().await;
        let told = async || {
            let (first, second) = (shop.now(&first).await.status, shop.now(&second).await.status);
            let mut told = [first, second];
            told.sort();
            told
        };
        // The second, of the same amount, waits: else nobody could tell whose trace is found.
        assert_eq!(told().await, [RefundStatus::Approved, RefundStatus::Unknown]);
        assert_eq!((shop.payfast.told(), shop.refunded().await), (1, (0, 2_000)));
        t.clock.advance(Duration::from_mins(5));
        shop.run().await;
        assert_eq!(told().await, [RefundStatus::Approved, RefundStatus::Succeeded]);
        t.clock.advance(Duration::from_mins(10));
        shop.run().await;
        assert_eq!(told().await, [RefundStatus::Succeeded, RefundStatus::Succeeded]);
        assert_eq!((shop.payfast.told(), shop.payfast.gone()), (2, vec![1_000, 1_000]));
        assert_eq!(alarms(&t).await, []);
        balances(&shop.service).await;
    }

    async fn one_refund_is_never_taken_for_another_of_the_same_sum(t: Fixture) {
        let shop = Shop::open(&t).await;
        let first = shop.agree(Some(1_000)).await;
        shop.run().await;
        assert_eq!(shop.now(&first).await.status, RefundStatus::Succeeded);
        // Right behind it another, which does not arrive. Until clocks agree that the first was before, it is not sent.
        shop.payfast.mood(Mood::Drops);
        let second = shop.agree(Some(1_000)).await;
        shop.run().await;
        assert_eq!((shop.now(&second).await.status, shop.payfast.told()), (RefundStatus::Approved, 1));
        for minutes in [10, 5, 60, 24 * 60] {
            t.clock.advance(Duration::from_mins(minutes));
            shop.run().await;
        }
        assert_eq!((shop.now(&second).await.status, shop.payfast.told()), (RefundStatus::Failed, 2));
        assert_eq!((shop.payfast.gone(), shop.refunded().await), (vec![1_000], (1_000, 0)));
    }

    async fn what_never_arrived_fails_after_a_day_and_may_be_proposed_anew(t: Fixture) {
        let shop = Shop::open(&t).await;
        shop.payfast.mood(Mood::Drops);
        let refund = shop.agree(None).await;
        shop.run().await;
        for wait in [Duration::from_mins(5), Duration::from_hours(1)] {
            t.clock.advance(wait);
            shop.run().await;
            // It may still be on its way through the provider's house.
            assert_eq!(shop.now(&refund).await.status, RefundStatus::Unknown);
        }
        t.clock.advance(Duration::from_hours(24));
        shop.run().await;
        assert_eq!(shop.now(&refund).await.status, RefundStatus::Failed);
        assert_eq!((alarms(&t).await, jobs_left(&t).await), (vec![(AlarmKind::RefundFailed, 1)], 0));
        assert_eq!((shop.refunded().await, shop.plan().await.0.as_str()), ((0, 0), "pro"));
        let again = shop.agree(None).await;
        shop.run().await;
        assert_eq!(shop.now(&again).await.status, RefundStatus::Succeeded);
        assert_eq!((shop.payfast.told(), shop.payfast.gone()), (2, vec![52_900]));
        balances(&shop.service).await;
    }

    async fn what_nobody_can_find_out_is_told_to_an_operator(t: Fixture) {
        let shop = Shop::open(&t).await;
        shop.payfast.mood(Mood::Loses);
        let refund = shop.agree(None).await;
        shop.run().await;
        shop.payfast.silent(true);
        for _ in 0..8 {
            t.clock.advance(Duration::from_hours(24));
            shop.run().await;
        }
        assert_eq!(shop.now(&refund).await.status, RefundStatus::Unknown);
        assert_eq!(alarms(&t).await, [(AlarmKind::RefundUnknown, 1)]);
        assert_eq!((shop.payfast.told(), shop.refunded().await), (1, (0, 52_900)));
        let status = shop.service.provider_status(&shop.maker).await.unwrap();
        assert_eq!((status.unknown_refunds, status.alarms.len()), (1, 1));
        // The job is among the dead ones, and goes on when an operator says so.
        shop.payfast.silent(false);
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        let dead: Vec<(capecontrol::jobs::JobId,)> =
            tx.sql("SELECT id FROM jobs WHERE state = 'dead'").all().await.unwrap();
        assert!(capecontrol::jobs::store::dead::retry(&mut tx, dead[0].0, t.world.now()).await.unwrap());
        tx.commit().await.unwrap();
        shop.run().await;
        assert_eq!(shop.now(&refund).await.status, RefundStatus::Succeeded);
        assert_eq!((shop.payfast.told(), shop.payfast.gone()), (1, vec![52_900]));
    }

    async fn what_the_provider_refuses_fails_with_its_reason(t: Fixture) {
        let shop = Shop::open(&t).await;
        shop.payfast.mood(Mood::Refuses("Insufficient funds in your account"));
        let refund = shop.agree(None).await;
        shop.run().await;
        let failed = shop.now(&refund).await;
        let told = (failed.status, failed.detail.as_str());
        assert_eq!(told, (RefundStatus::Failed, "Insufficient funds in your account"));
        assert_eq!(shop.refunded().await, (0, 0));
        shop.payfast.books.lock().unwrap().closed = true;
        let refund = shop.agree(None).await;
        shop.run().await;
        let failed = shop.now(&refund).await;
        assert!(failed.detail.contains("too old"), "{}", failed.detail);
        // It was not even sent.
        assert_eq!((failed.sent_at, shop.payfast.told()), (None, 1));
        let failures = shop.service.list_refunds(
            &shop.maker,
            RefundFilter { status: Some(RefundStatus::Failed), payment_id: Some(shop.sold.payment_id) },
            None,
            10,
        );
        assert_eq!(failures.await.unwrap().len(), 2);
        assert_eq!(alarms(&t).await.len(), 2);
        balances(&shop.service).await;
    }

    async fn what_did_not_leave_is_sent_later(t: Fixture) {
        let shop = Shop::open(&t).await;
        shop.payfast.mood(Mood::Away);
        let refund = shop.agree(None).await;
        shop.run().await;
        assert_eq!(shop.now(&refund).await.status, RefundStatus::Approved);
        t.clock.advance(Duration::from_secs(30));
        shop.run().await;
        assert_eq!(shop.now(&refund).await.status, RefundStatus::Succeeded);
        assert_eq!(shop.payfast.gone(), [52_900]);
    }

    async fn credit_is_given_at_once_and_nothing_is_sent(t: Fixture) {
        let shop = Shop::open(&t).await;
        let credit = RefundPayment { destination: RefundDestination::Credit, ..wish(shop.sold.payment_id, None) };
        let refund = shop.service.refund_payment(&shop.maker, credit, None).await.unwrap();
        assert_eq!(shop.approve(&refund).await.unwrap().status, RefundStatus::Succeeded);
        let books = balances(&shop.service).await;
        assert!(books.contains(&(Account::CustomerCredit, -52_900)), "{books:?}");
        assert_eq!((shop.payfast.told(), shop.plan().await.0.as_str()), (0, "free"));
        assert_eq!(jobs_left(&t).await, 0);
    }

    async fn money_for_nobodys_order_goes_back_by_its_notification(t: Fixture) {
        let shop = Shop::open(&t).await;
        for (id, payment) in [("7", "nobody's".to_owned()), ("8", shop.sold.payment_id.to_string())] {
            shop.payfast.paid(id, 10_000);
            deliver(&shop.service, &shop.worker, itn(&payment, id, "COMPLETE", "100.00")).await;
            t.clock.advance(Duration::from_secs(1));
        }
        let event = async |id: &str| {
            let mut filter = EventFilter::default();
            filter.wanted.provider_payment_id = Some(id.to_owned());
            let found = shop.service.list_provider_events(&shop.maker, &filter, None, 10).await.unwrap();
            let [SeenEvent::Signed(event)] = found.as_slice() else { panic!("{found:?}") };
            event.id
        };
        let by = |source, destination| RefundPayment { source, destination, ..wish(shop.sold.payment_id, None) };
        let (unknown, twice) = (RefundSource::Event(event("7").await), RefundSource::Event(event("8").await));
        let refused = by(unknown, RefundDestination::Credit);
        let refused = shop.service.refund_payment(&shop.maker, refused, None).await.unwrap_err();
        assert_eq!(refused.violations()[0].field, "destination");
        for wish in [by(unknown, RefundDestination::Source), by(twice, RefundDestination::Credit)] {
            let refund = shop.service.refund_payment(&shop.maker, wish, None).await.unwrap();
            assert_eq!(refund.amount_minor, 10_000);
            shop.approve(&refund).await.unwrap();
            shop.run().await;
            assert_eq!(shop.now(&refund).await.status, RefundStatus::Succeeded);
        }
        let books = balances(&shop.service).await;
        assert!(books.contains(&(Account::CustomerCredit, -10_000)), "{books:?}");
        assert!(books.iter().all(|(account, _)| *account != Account::UnappliedReceipts), "{books:?}");
        // The sale stands: none of it went back.
        assert_eq!((shop.plan().await.0.as_str(), shop.payfast.gone()), ("pro", vec![10_000]));
    }

    async fn a_repeated_proposal_is_the_first_one_and_what_is_unknown_is_not_found(t: Fixture) {
        let shop = Shop::open(&t).await;
        let key = RequestKey { method: "refund".into(), key: uuid::Uuid::from_u128(5), body_hash: [1; 32] };
        let wish = || wish(shop.sold.payment_id, Some(100));
        let first = shop.service.refund_payment(&shop.maker, wish(), Some(&key)).await.unwrap();
        let again = shop.service.refund_payment(&shop.maker, wish(), Some(&key)).await.unwrap();
        assert_eq!(first, again);
        let nothing = RefundPayment { source: RefundSource::Payment(t.world.id()), ..wish() };
        assert_eq!(reason(shop.service.refund_payment(&shop.maker, nothing, None).await), NOT_FOUND.name);
        let nothing = RefundPayment { source: RefundSource::Event(t.world.id()), ..wish() };
        assert_eq!(reason(shop.service.refund_payment(&shop.maker, nothing, None).await), NOT_FOUND.name);
        let unpaid = checkout(&shop.service, &shop.buyer, "pro", Cycle::Monthly).await;
        let unpaid = crate::store::refunds::wish(unpaid.payment_id, None);
        assert_eq!(reason(shop.service.refund_payment(&shop.maker, unpaid, None).await), NOTHING_TO_REFUND.name);
        for reason in ["", "no", "two\nlines", &"x".repeat(256)] {
            let wrong = RefundPayment { reason: reason.to_owned(), ..wish() };
            let refused = shop.service.refund_payment(&shop.maker, wrong, None).await.unwrap_err();
            assert_eq!(refused.violations()[0].field, "reason", "{reason:?}");
        }
        assert_eq!(reason(shop.service.get_refund(&shop.buyer, first.id).await), PERMISSION_DENIED.name);
    }

    async fn the_books_tell_when_a_refund_is_not_what_they_say(t: Fixture) {
        let shop = Shop::open(&t).await;
        let refund = shop.agree(Some(1_000)).await;
        shop.run().await;
        assert!(shop.service.verify_ledger(&shop.maker).await.unwrap().balanced());
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.sql("UPDATE refunds SET amount_minor = 1001 WHERE id = $1").bind(refund.id).execute().await.unwrap();
        tx.commit().await.unwrap();
        let report = shop.service.verify_ledger(&shop.maker).await.unwrap();
        let told: Vec<_> = report.faults.iter().map(|fault| fault.detail.as_str()).collect();
        assert_eq!(told, [
            "its refunds take 1001 minor units and 1000 are set aside",
            "should have 1001 minor units in the ledger and has 1000",
        ]);
        let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
        let receipt = store::receipt::applied_of_payment(&mut conn, shop.sold.payment_id).await.unwrap().unwrap();
        assert_eq!(receipt.returned_minor, 1_000);
    }
}
