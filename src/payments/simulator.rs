//! A PayFast that is built in: its hosted page, its notifications, its confirmation. Only in simulator mode.
//!
//! It can be told to lie ([`faults`]). What it was told, and what it sent lately, are rows, so that all nodes lie alike
//! and a restart between a notification and its confirmation changes nothing. All else it keeps nowhere: the page
//! carries the signed form, and whether a notification is its own is told by the signature. Late deliveries are jobs
//! like any other. It knows the provider's side only: forms and notifications, not invoices.

pub mod faults;
pub mod page;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Timestamp, World};
use crate::db::{self, Db, Json, Scope, Tx};
use crate::jobs::{self, Failure, Job, Lease};

use super::address;
use super::options::Options;
use super::payfast::form::{self, SIGNATURE_FIELD};
use super::payfast::itn::{Itn, signed_body};
use super::payfast::verdict::{amount_minor, amount_text};
use super::provider::Deliver;
use super::store::simulator as memory;
use super::store::simulator::{Delivery, DeliveryId};
use faults::{Fate, Fault, Plan};

/// The smallest payment that PayFast takes, in cents.
const AMOUNT_MINOR_MIN: i64 = 500;
/// How often a notification can be asked to be delivered.
const DELIVERIES_MAX: u64 = 10;
/// How late a notification can be asked to be, in seconds.
const DELAY_SECONDS_MAX: u64 = 86_400;
/// How long PayFast waits before it sends a notification again that was not answered with 200.
const AGAIN_AFTER: Duration = Duration::from_mins(10);
/// The longest id of the shop's that PayFast takes, and more than any status has, in bytes.
const WORD_BYTES_MAX: usize = 100;
/// How many notifications are remembered.
const DELIVERIES_KEPT: i64 = 1_000;
/// How many notifications are told at once.
const DELIVERIES_TOLD: i64 = 100;
/// Whose notification it is when it is for another merchant.
const OTHER_MERCHANT_ID: &str = "10000199";
/// The names of the page's own fields, which are no part of the form.
const OWN_FIELDS: [&str; 4] = [page::ACTION, page::DELIVERIES, page::DELAY, page::STATUS];

/// Why the simulator does not take a form, as PayFast would not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not a form at all.
    #[error("The form could not be read.")]
    Unreadable,
    /// A field is missing or wrong.
    #[error("The field {0} is missing or wrong.")]
    Field(&'static str),
    /// The signature is not the one that the fields and the passphrase give.
    #[error("The signature does not match the submitted fields.")]
    Signature,
    /// The notification could not be queued.
    #[error("The simulator could not reach its database.")]
    Database,
}

/// A form that was checked.
#[derive(Debug, Clone)]
pub struct Order {
    /// The form's own fields, as posted.
    pub fields: BTreeMap<String, String>,
    /// What is to be paid, in cents.
    pub amount_minor: i64,
    controls: BTreeMap<String, String>,
}

/// What is answered to "did you send this?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// After how long.
    pub after: Duration,
    /// The answer.
    pub says: Says,
}

/// The answers to "did you send this?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// Yes.
    Valid,
    /// No.
    Invalid,
    /// An error page.
    Down,
}

/// A notification, and what is written down about it.
struct Notice {
    delivery: Delivery,
    body: Vec<u8>,
}

const SCOPE: Scope = Scope::System("simulator");

/// The built-in PayFast.
pub struct Simulator {
    db: Db,
    world: World,
    options: Options,
    deliver: Arc<dyn Deliver>,
}

impl Simulator {
    /// A PayFast whose only merchant is the one in `options`.
    #[must_use]
    pub fn new(db: Db, world: World, options: Options, deliver: Arc<dyn Deliver>) -> Self {
        Self { db, world, options, deliver }
    }

    /// The page on which the buyer pays or cancels.
    ///
    /// # Errors
    /// What PayFast would refuse about the form.
    pub fn page(&self, form: &[u8]) -> Result<String, Rejection> {
        let order = self.order(form)?;
        let action = format!("{}/simulator/payfast/eng/pay", self.options.public_url.trim_end_matches('/'));
        Ok(page::checkout(&order, &action))
    }

    /// The buyer pressed a button: sends the notification and tells where the browser goes.
    ///
    /// # Errors
    /// What PayFast would refuse about the form.
    pub async fn press(&self, form: &[u8]) -> Result<String, Rejection> {
        let order = self.order(form)?;
        if order.controls.get(page::ACTION).map(String::as_str) == Some(page::CANCEL) {
            // A buyer who turns back causes no notification; PayFast documents that.
            return self.destination(&order, "cancel_url");
        }
        let wish = |name: &str, max: u64| {
            order
                .controls
                .get(name)
                .and_then(|text| text.parse::<u64>().ok())
                .map_or(0, |number| number.min(max))
        };
        let delay = Duration::from_secs(wish(page::DELAY, DELAY_SECONDS_MAX));
        let copies = wish(page::DELIVERIES, DELIVERIES_MAX).max(1);
        self.pay(&order, copies, delay).await?;
        self.destination(&order, "return_url")
    }

    /// Answers whether the parameters are those of a notification that this PayFast sent, or lies about it.
    pub async fn confirm(&self, body: &[u8]) -> Confirmed {
        let own = |itn: &Itn| {
            itn.get("merchant_id") == Some(self.options.merchant_id.as_bytes())
                && itn.signature_holds(self.options.passphrase())
        };
        let Some(itn) = Itn::parse(body).ok().filter(own) else {
            return Confirmed { after: Duration::ZERO, says: Says::Invalid };
        };
        // A provider whose database is gone does not answer; it certainly does not say no.
        self.confirm_own(&itn).await.unwrap_or_else(|error| {
            tracing::error!(error = %error.chain(), "the simulator could not look up a notification");
            Confirmed { after: Duration::ZERO, says: Says::Down }
        })
    }

    async fn confirm_own(&self, itn: &Itn) -> Result<Confirmed, db::Error> {
        let word = |name: &str| itn.text(name).unwrap_or_default();
        let found = {
            let mut conn = self.db.conn(SCOPE).await?;
            memory::find(&mut conn, word("pf_payment_id"), word("payment_status")).await?
        };
        let Some((id, Json(fate))) = found else {
            return Ok(Confirmed { after: Duration::ZERO, says: Says::Valid });
        };
        let mut tx = self.db.begin(SCOPE).await?;
        let asked = memory::count_confirmation(&mut tx, id).await?.unwrap_or(0);
        tx.commit().await?;
        let failing = u64::try_from(asked).is_ok_and(|asked| asked <= fate.confirmation_failures);
        let after = if failing && fate.has(Fault::ConfirmationSlow) { fate.slow_seconds } else { 0 };
        let says = match () {
            () if failing && fate.has(Fault::ConfirmationDown) => Says::Down,
            () if fate.has(Fault::Invalid) => Says::Invalid,
            () => Says::Valid,
        };
        Ok(Confirmed { after: Duration::from_secs(after), says })
    }

    /// The plan of faults, if there is one; how many payments have met it; and since when it holds.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn plan(&self) -> Result<Option<(Plan, i64, Timestamp)>, db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        Ok(memory::plan(&mut conn).await?.map(|(Json(plan), payments, since)| (plan, payments, since)))
    }

    /// Sets the plan, for all nodes. Payments are counted from 1 again; those under way keep their fate.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn put_plan(&self, plan: &Plan) -> Result<(), db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        memory::put_plan(&mut tx, plan, self.world.now()).await?;
        tx.commit().await
    }

    /// Has later payments go well. Those under way keep their fate.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn clear_plan(&self) -> Result<(), db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        memory::clear_plan(&mut tx).await?;
        tx.commit().await
    }

    /// What was sent lately, the newest first; of one of the shop's payments when it is named.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn deliveries(&self, payment: Option<&str>) -> Result<Vec<Delivery>, db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        match payment {
            Some(payment) if !is_word(payment) => Ok(Vec::new()),
            Some(payment) => memory::newest_of(&mut conn, payment, DELIVERIES_TOLD).await,
            None => memory::newest(&mut conn, DELIVERIES_TOLD).await,
        }
    }

    fn order(&self, form: &[u8]) -> Result<Order, Rejection> {
        let (fields, controls) = read(form)?;
        let given = |name: &'static str| fields.get(name).filter(|value| !value.is_empty());
        for (name, expected) in [
            ("merchant_id", self.options.merchant_id.as_str()),
            ("merchant_key", self.options.merchant_key.expose().as_str()),
            // Only its own platform is notified: a signed form must not make this server post anywhere else.
            ("notify_url", self.options.notify_url().as_str()),
        ] {
            if given(name).map(String::as_str) != Some(expected) {
                return Err(Rejection::Field(name));
            }
        }
        given("item_name").ok_or(Rejection::Field("item_name"))?;
        // What is written down is short and plain.
        for (part, name) in [(&fields, "m_payment_id"), (&controls, page::STATUS)] {
            if part.get(name).is_some_and(|word| !is_word(word)) {
                return Err(Rejection::Field(name));
            }
        }
        let amount = given("amount").and_then(|amount| amount_minor(amount));
        let amount = amount.filter(|amount| *amount >= AMOUNT_MINOR_MIN).ok_or(Rejection::Field("amount"))?;
        let expected = form::sign(&fields, self.options.passphrase()).signature;
        if given(SIGNATURE_FIELD) != Some(&expected) {
            return Err(Rejection::Signature);
        }
        Ok(Order { fields, amount_minor: amount, controls })
    }

    /// Takes the money, and sends what the payment's fate wants to be sent.
    async fn pay(&self, order: &Order, copies: u64, delay: Duration) -> Result<(), Rejection> {
        let planned = self.plan_notices(order, copies, delay).await.map_err(|error| {
            tracing::error!(error = %error.chain(), "a simulated payment could not be written down");
            Rejection::Database
        })?;
        for (id, body) in planned {
            self.send(id, body).await?;
        }
        Ok(())
    }

    /// Draws the payment's fate, writes down its notifications, queues those that are late, and hands back those that
    /// are to be sent now.
    async fn plan_notices(
        &self,
        order: &Order,
        copies: u64,
        delay: Duration,
    ) -> Result<Vec<(DeliveryId, Vec<u8>)>, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let fate = match memory::count_payment(&mut tx).await? {
            Some((Json(plan), payment)) => plan.fate(u64::try_from(payment).unwrap_or(0)),
            None => Fate::default(),
        };
        let copies = if fate.has(Fault::Twice) { copies.max(2) } else { copies };
        let late =
            if fate.has(Fault::Late) { Duration::from_secs(fate.late_seconds) } else { Duration::ZERO };
        let delay = delay.saturating_add(late);
        let mut now = Vec::new();
        for notice in self.notices(order, &fate) {
            let delivery = self.write_down(&mut tx, notice.delivery, delay).await?;
            for _ in 0..if fate.has(Fault::Never) { 0 } else { copies } {
                if delay.is_zero() {
                    now.push((delivery, notice.body.clone()));
                } else {
                    self.push(&mut tx, delivery, &notice.body, delay).await?;
                }
            }
        }
        tx.commit().await?;
        let (payment, faults) = (order.fields.get("m_payment_id"), &fate.faults);
        tracing::info!(payment, number = fate.payment, ?faults, "a simulated payment was made");
        Ok(now)
    }

    async fn write_down(
        &self,
        tx: &mut Tx,
        mut delivery: Delivery,
        delay: Duration,
    ) -> Result<DeliveryId, db::Error> {
        delivery.due_at = delivery.created_at.plus(delay);
        memory::insert(tx, &delivery).await?;
        memory::prune(tx, DELIVERIES_KEPT).await?;
        Ok(delivery.id)
    }

    /// What PayFast tells of a payment, in the order of telling.
    fn notices(&self, order: &Order, fate: &Fate) -> Vec<Notice> {
        let provider_id = self.world.below(9_000_000_000).saturating_add(1_000_000_000).to_string();
        let status = order.controls.get(page::STATUS).map_or("COMPLETE", String::as_str);
        let mut words = vec![status];
        if fate.has(Fault::Reordered) {
            words.push("PENDING");
        }
        words.into_iter().map(|word| self.notice(order, fate, &provider_id, word)).collect()
    }

    /// A notification as PayFast writes it: its order, its blanks, its sandbox's buyer.
    fn notice(&self, order: &Order, fate: &Fate, provider_id: &str, status: &str) -> Notice {
        let field = |name: &str| order.fields.get(name).map_or("", String::as_str);
        let gross = order.amount_minor.saturating_sub(i64::from(fate.has(Fault::Short)));
        let fee = gross.saturating_mul(23) / 1_000;
        let amounts = [
            ("amount_gross", amount_text(gross)),
            ("amount_fee", amount_text(fee.saturating_neg())),
            ("amount_net", amount_text(gross.saturating_sub(fee))),
        ];
        let mut pairs = vec![
            ("m_payment_id", field("m_payment_id")),
            ("pf_payment_id", provider_id),
            ("payment_status", status),
            ("item_name", field("item_name")),
            ("item_description", field("item_description")),
        ];
        // A cancellation carries no amounts.
        if status != "CANCELLED" {
            pairs.extend(amounts.iter().map(|(name, value)| (*name, value.as_str())));
        }
        let custom = ["custom_str1", "custom_str2", "custom_str3", "custom_str4", "custom_str5"];
        let numbers = ["custom_int1", "custom_int2", "custom_int3", "custom_int4", "custom_int5"];
        pairs.extend(custom.into_iter().chain(numbers).map(|name| (name, field(name))));
        pairs.extend([
            ("name_first", "Test"),
            ("name_last", "User 01"),
            ("email_address", "sbtu01@payfast.co.za"),
        ]);
        let other = fate.has(Fault::OtherMerchant);
        pairs.push(("merchant_id", if other { OTHER_MERCHANT_ID } else { &self.options.merchant_id }));
        let now = self.world.now();
        let delivery = Delivery {
            id: self.world.id(),
            provider_payment_id: provider_id.to_owned(),
            payment_reference: field("m_payment_id").to_owned(),
            payment_status: status.to_owned(),
            amount_minor: gross,
            fate: Json(fate.clone()),
            due_at: now,
            sends: 0,
            answer: None,
            sent_at: None,
            confirmations: 0,
            created_at: now,
        };
        Notice { delivery, body: signed_body(&pairs, self.options.passphrase()) }
    }

    /// Sends a notification now, and queues it when it was not answered with 200.
    async fn send(&self, delivery: DeliveryId, body: Vec<u8>) -> Result<(), Rejection> {
        let answer = self.post(Some(delivery), body.clone()).await;
        if answer == Some(200) {
            return Ok(());
        }
        let queue = async {
            let mut tx = self.db.begin(SCOPE).await?;
            self.push(&mut tx, delivery, &body, AGAIN_AFTER).await?;
            tx.commit().await
        };
        queue.await.map_err(|error: db::Error| {
            tracing::error!(error = %error.chain(), "a simulated notification was not queued");
            Rejection::Database
        })
    }

    /// Posts a notification and notes how it was answered. A note that could not be made changes nothing of that.
    async fn post(&self, delivery: Option<DeliveryId>, body: Vec<u8>) -> Option<u16> {
        let answer = self.deliver.deliver(&self.options.notify_url(), body).await;
        let note = async {
            let Some(delivery) = delivery else { return Ok(()) };
            let mut tx = self.db.begin(SCOPE).await?;
            memory::sent(&mut tx, delivery, answer, self.world.now()).await?;
            tx.commit().await
        };
        let noted: Result<(), db::Error> = note.await;
        if let Err(error) = noted {
            tracing::warn!(error = %error.chain(), "how a simulated notification was answered was not noted");
        }
        answer
    }

    async fn push(
        &self,
        tx: &mut Tx,
        delivery: DeliveryId,
        body: &[u8],
        after: Duration,
    ) -> Result<(), db::Error> {
        // A notification is ASCII: everything else in it is encoded.
        let body = String::from_utf8_lossy(body).into_owned();
        let job = SendNotification { body, delivery: Some(delivery) };
        jobs::push_at(tx, &self.world, None, &job, self.world.now().plus(after)).await
    }

    fn destination(&self, order: &Order, field: &'static str) -> Result<String, Rejection> {
        let wish = order.fields.get(field).map_or("", String::as_str);
        let home = self.options.home_url();
        let origins = self.options.return_origins.iter().map(String::as_str).chain([home.as_str()]);
        match wish {
            "" => Ok(home.clone()),
            wish => address::allowed(wish, origins).map_err(|_| Rejection::Field(field)),
        }
    }

    async fn resend(&self, job: SendNotification, lease: Lease) -> Result<(), Failure> {
        match self.post(job.delivery, job.body.into_bytes()).await {
            Some(200) => Ok(()),
            answer => {
                let wait = AGAIN_AFTER.saturating_mul(lease.attempt);
                Err(Failure::retry_after(wait, format!("the notification was answered with {answer:?}")))
            }
        }
    }
}

/// Sends a notification that is late, or that was not answered with 200.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendNotification {
    body: String,
    /// Where its sending is noted.
    #[serde(default)]
    delivery: Option<DeliveryId>,
}

impl Job for SendNotification {
    const KIND: &'static str = "simulator.send_notification";
    const ATTEMPTS_MAX: u32 = 8;
}

/// Has the simulator's jobs run.
pub fn register(registry: &mut jobs::Registry, simulator: &Arc<Simulator>) {
    let simulator = Arc::clone(simulator);
    registry.on::<SendNotification, _>(move |job, lease| {
        let simulator = Arc::clone(&simulator);
        async move { simulator.resend(job, lease).await }
    });
}

fn is_word(text: &str) -> bool {
    text.len() <= WORD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

type Fields = BTreeMap<String, String>;

/// Splits a posted form into PayFast's fields and the page's own.
fn read(form: &[u8]) -> Result<(Fields, Fields), Rejection> {
    let posted = Itn::parse(form).map_err(|_| Rejection::Unreadable)?;
    if posted.repeated().is_some() {
        return Err(Rejection::Unreadable);
    }
    let (mut fields, mut controls) = (Fields::new(), Fields::new());
    for (name, value) in posted.pairs() {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            return Err(Rejection::Unreadable);
        };
        let part = if OWN_FIELDS.contains(&name) { &mut controls } else { &mut fields };
        part.insert(name.to_owned(), value.to_owned());
    }
    Ok((fields, controls))
}
