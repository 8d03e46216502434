//! What it takes to apply a notification that pays for an order: the job, the verification and everything that is
//! written, against the bare transaction that writes the same rows.
//!
//! In this process, and with a provider that confirms at once: what is measured is the platform, not the way to
//! PayFast.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use capecontrol::app::real;
use capecontrol::audit;
use capecontrol::auth::caller::Proof;
use capecontrol::auth::{Caller, Origin, Role};
use capecontrol::base::{AccountId, Money, OrganizationId, Timestamp, World};
use capecontrol::db::{Conn as _, Db, Options, Scope};
use capecontrol::jobs::{self, JobId, Registry, Worker};
use capecontrol::keyring::RootKey;
use capecontrol::payments::crash::{Crash, CrashPoint};
use capecontrol::payments::model::ledger::{self, Kind};
use capecontrol::payments::model::period::Cycle;
use capecontrol::payments::model::{
    EventId, EventStatus, Invoice, InvoiceStatus, Payment, PaymentStatus, Provider, Receipt, ReceiptStatus,
};
use capecontrol::payments::payfast::confirmation::Confirmation;
use capecontrol::payments::payfast::itn::{Itn, signed_body};
use capecontrol::payments::payfast::verdict::amount_text;
use capecontrol::payments::provider::Confirm;
use capecontrol::payments::service::{ApplyEvent, CreateCheckout, Incoming, Item};
use capecontrol::payments::store::{self, ledger::Head};
use capecontrol::payments::{Ledger, Options as Terms, Service, register};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::row;
use crate::client::unique;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::process::own_cpu;
use crate::scene::{Places, Scene};
use crate::{Failure, Outcome};

/// Orders that are paid in one round.
const ORDERS: usize = 500;
/// How long a round may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many people buy.
const BUYERS: usize = 50;
/// Of these orders only: what fills the books costs nothing.
const FEE: i64 = 231;
const SCOPE: Scope = Scope::System("bench");

/// Notifications applied by a node's worker, and their rows written bare, as many at once.
pub async fn measure(places: &Places) -> Outcome<Vec<Row>> {
    let place = places.small("effects").await?;
    let shop = Shop::open(Db::open(&Options::new(&place.database_url)).await?, &places.scene).await?;
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        let ours = shop.apply(shop.orders().await?).await?;
        rounds.push((ours, shop.write(shop.orders().await?).await?));
    }
    shop.check(rounds.len() * 2 * ORDERS).await?;
    shop.db.close().await;
    // The first one warmed up.
    rounds.remove(0);
    let name = "a notification verified and applied, beside its rows";
    Ok(vec![row(places, name, "orders/s", Target::RatioAtLeast(0.5), rounds)])
}

/// A provider that stands by whatever is said in its name.
struct Believing;

#[async_trait::async_trait]
impl Confirm for Believing {
    async fn confirm(&self, _: &Itn) -> Confirmation {
        Confirmation::Valid
    }
}

/// Counts the effects that are durable.
#[derive(Default)]
struct Count {
    left: AtomicUsize,
    none_left: Notify,
}

#[async_trait::async_trait]
impl Crash for Count {
    async fn reach(&self, point: CrashPoint) {
        if matches!(point, CrashPoint::EffectCommitted) && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.none_left.notify_one();
        }
    }
}

/// An order whose payment was notified of.
#[derive(Clone)]
struct Order {
    payment: Payment,
    invoice: Invoice,
    provider_payment_id: String,
    event: EventId,
    job: JobId,
}

struct Shop {
    db: Db,
    world: World,
    log: audit::Log,
    service: Arc<Service>,
    count: Arc<Count>,
    /// What the orders are copies of: one of each buyer's, for what one buyer pays is settled one by one.
    templates: Vec<(Payment, Invoice)>,
}

impl Shop {
    async fn open(db: Db, scene: &Scene) -> Outcome<Self> {
        let (world, root) = (real::world(), RootKey::new([7; 32]));
        let log = audit::Log::new(world.clone(), root.clone());
        let books = Ledger::new(db.clone(), world.clone(), log.clone(), &root);
        let count = Arc::new(Count::default());
        let service = Service::new(
            db.clone(),
            world.clone(),
            Terms::default(),
            Arc::new(Believing),
            log.clone(),
            books,
        );
        let service = Arc::new(service.heard_by(Arc::clone(&count) as _));
        let mut templates = Vec::new();
        for account in scene.accounts.iter().take(BUYERS) {
            templates.push(template(&db, &world, &service, *account).await?);
        }
        Ok(Self { db, world, log, service, count, templates })
    }

    /// Orders that are waiting for their money, each with a notification in the inbox and the job that applies it.
    async fn orders(&self) -> Outcome<Vec<Order>> {
        let mut orders = HashMap::new();
        let mut tx = self.db.begin(SCOPE).await?;
        for (mut payment, mut invoice) in self.templates.iter().cloned().cycle().take(ORDERS) {
            (payment.id, invoice.id) = (self.world.id(), self.world.id());
            payment.invoice_id = invoice.id;
            store::invoice::insert(&mut tx, &invoice).await?;
            store::payment::insert(&mut tx, &payment).await?;
            orders.insert(payment.id.to_string(), (payment, invoice));
        }
        tx.commit().await?;
        for (reference, (payment, _)) in &orders {
            self.notify(reference, payment.amount_minor).await?;
        }
        let mut conn = self.db.conn(SCOPE).await?;
        let waiting: Vec<(EventId, String, String)> = conn
            .sql(
                "SELECT id, payment_reference, provider_payment_id FROM provider_events
                 WHERE status = 'received' AND payment_status = 'COMPLETE'",
            )
            .all()
            .await?;
        let jobs: Vec<(JobId, String)> =
            conn.sql("SELECT id, payload FROM jobs WHERE state = 'ready'").all().await?;
        let jobs: HashMap<EventId, JobId> = jobs
            .into_iter()
            .filter_map(|(job, payload)| {
                let ApplyEvent { event_id } = serde_json::from_str(&payload).ok()?;
                Some((event_id, job))
            })
            .collect();
        let orders: Vec<Order> = waiting
            .into_iter()
            .filter_map(|(event, reference, provider_payment_id)| {
                let (payment, invoice) = orders.remove(&reference)?;
                let job = *jobs.get(&event)?;
                Some(Order { payment, invoice, provider_payment_id, event, job })
            })
            .collect();
        if orders.len() == ORDERS { Ok(orders) } else { Err("an order without a notification".into()) }
    }

    async fn notify(&self, reference: &str, minor: i64) -> Outcome<()> {
        let (amount, fee, id) = (amount_text(minor), amount_text(-FEE), unique().to_string());
        let fields = [
            ("m_payment_id", reference),
            ("pf_payment_id", &id),
            ("payment_status", "COMPLETE"),
            ("item_name", "Live verification"),
            ("amount_gross", &amount),
            ("amount_fee", &fee),
            ("merchant_id", "10000100"),
        ];
        let body = signed_body(&fields, Terms::default().passphrase());
        let peer = Some([127, 0, 0, 1].into());
        self.service.receive(Incoming { body, peer, headers: Vec::new() }).await?;
        Ok(())
    }

    /// As a node does it: claimed, verified, decided, written.
    async fn apply(&self, orders: Vec<Order>) -> Outcome<Round> {
        self.count.left.store(orders.len(), Ordering::Relaxed);
        let mut registry = Registry::default();
        register(&mut registry, &self.service);
        let worker = Worker::new(self.db.clone(), self.world.clone(), jobs::Options::default(), registry);
        let stop = CancellationToken::new();
        let (begin, cpu) = (Instant::now(), own_cpu()?);
        let working = tokio::spawn({
            let stop = stop.clone();
            async move { worker.run(stop, CancellationToken::new()).await }
        });
        timeout(PATIENCE, self.count.none_left.notified()).await?;
        let round = Round::rate(orders.len() as u64, begin.elapsed(), own_cpu()?.saturating_sub(cpu));
        stop.cancel();
        working.await?;
        Ok(round)
    }

    /// The same rows, and nothing that is read, checked or decided.
    async fn write(&self, orders: Vec<Order>) -> Outcome<Round> {
        let at_once = jobs::Options::default().concurrency;
        let (count, begin, cpu) = (orders.len() as u64, Instant::now(), own_cpu()?);
        let mut writing = JoinSet::new();
        for part in orders.chunks(orders.len().div_ceil(at_once)) {
            let (part, db, world, log) =
                (part.to_vec(), self.db.clone(), self.world.clone(), self.log.clone());
            writing.spawn(async move {
                for order in part {
                    write(&db, &world, &log, order).await?;
                }
                Outcome::Ok(())
            });
        }
        while let Some(written) = writing.join_next().await {
            written??;
        }
        Ok(Round::rate(count, begin.elapsed(), own_cpu()?.saturating_sub(cpu)))
    }

    /// Whether everything was paid, one way or the other.
    async fn check(&self, expected: usize) -> Outcome<()> {
        let mut conn = self.db.conn(SCOPE).await?;
        let (paid,): (i64,) = conn
            .sql(
                "SELECT count(*) FROM payments AS p JOIN invoices AS i ON i.id = p.invoice_id
                    JOIN receipts AS r ON r.payment_id = p.id
                 WHERE p.status = 'succeeded' AND i.status = 'paid' AND i.number IS NOT NULL
                    AND r.status = 'applied' AND r.fee_minor = $1",
            )
            .bind(FEE)
            .one()
            .await?;
        let (waiting,): (i64,) = conn.sql("SELECT count(*) FROM jobs WHERE state <> 'dead'").one().await?;
        if usize::try_from(paid)? == expected && waiting == 0 {
            return Ok(());
        }
        Err(format!("{paid} of {expected} orders were paid, and {waiting} jobs are left").into())
    }
}

/// An order that a person of the scene has begun.
async fn template(
    db: &Db,
    world: &World,
    service: &Service,
    account: AccountId,
) -> Outcome<(Payment, Invoice)> {
    let (personal,): (OrganizationId,) = {
        let mut conn = db.conn(SCOPE).await?;
        conn.shared_sql("SELECT personal_organization_id FROM accounts WHERE id = $1")
            .bind(account)
            .one()
            .await?
    };
    let proof = Proof {
        account,
        session: world.id(),
        role: Role::Customer,
        personal,
        expires_at: Timestamp::from_micros(i64::MAX),
    };
    let command = CreateCheckout {
        organization_id: None,
        item: Item::Plan { plan_id: "live-verification".to_owned(), cycle: Some(Cycle::Monthly) },
        return_url: String::new(),
        cancel_url: String::new(),
        payment_method_id: None,
    };
    let checkout =
        service.create_checkout(&Caller::signed_in(proof, Origin::default()), command, None).await?;
    let mut conn = db.conn(SCOPE).await?;
    let payment = store::payment::get(&mut conn, checkout.payment_id).await?;
    let invoice = store::invoice::get(&mut conn, checkout.invoice_id).await?;
    payment.zip(invoice).ok_or_else(|| Failure::from("a checkout without an order"))
}

async fn write(db: &Db, world: &World, log: &audit::Log, order: Order) -> Outcome<()> {
    let Order { payment, mut invoice, provider_payment_id, event, job } = order;
    let now = world.now();
    let mut tx = db.begin(SCOPE).await?;
    store::event::take_effect(&mut tx, &provider_payment_id, "COMPLETE", event, now).await?;
    let paid = Payment {
        status: PaymentStatus::Succeeded,
        fee_minor: Some(FEE),
        provider_payment_id: Some(provider_payment_id.clone()),
        settled_at: Some(now),
        updated_at: now,
        ..payment.clone()
    };
    store::payment::update(&mut tx, &paid).await?;
    let entry = Caller::system("bench").entry("payments.settle_payment").of(paid.organization_id);
    log.record(&mut tx, entry.on("payment", paid.id).changed(&payment, &paid)).await?;
    let (gross, currency) = (Money::new(paid.amount_minor, paid.currency), paid.currency);
    let head = |kind, event_id| Head {
        id: world.id(),
        organization_id: Some(paid.organization_id),
        kind,
        payment_id: Some(paid.id),
        invoice_id: Some(paid.invoice_id),
        event_id,
        memo: "payment of an invoice".to_owned(),
        at: now,
    };
    let settled = ledger::settlement(gross, Money::new(FEE, currency))?;
    store::ledger::post(&mut tx, &head(Kind::Settlement, Some(event)), &settled).await?;
    let receipt = Receipt {
        id: world.id(),
        organization_id: Some(paid.organization_id),
        payment_id: Some(paid.id),
        invoice_id: Some(paid.invoice_id),
        event_id: event,
        provider: Provider::Payfast,
        provider_payment_id,
        status: ReceiptStatus::Applied,
        currency,
        gross_minor: paid.amount_minor,
        fee_minor: FEE,
        returned_minor: 0,
        test: paid.test,
        created_at: now,
    };
    store::receipt::insert(&mut tx, &receipt).await?;
    let issued = ledger::invoice_issued(gross, Money::new(invoice.tax_minor, currency))?;
    store::ledger::post(&mut tx, &head(Kind::InvoiceIssued, None), &issued).await?;
    store::event::decide(&mut tx, event, EventStatus::Applied, "paid", now).await?;
    tx.sql("DELETE FROM jobs WHERE id = $1").bind(job).execute().await?;
    let number = store::invoice::take_number(&mut tx, &invoice.supplier_legal_name, "TEST").await?;
    (invoice.number, invoice.status) = (Some(format!("TEST-{number:06}")), InvoiceStatus::Paid);
    (invoice.issued_at, invoice.paid_at) = (Some(now), Some(now));
    store::invoice::update(&mut tx, &invoice).await?;
    Ok(tx.commit().await?)
}
