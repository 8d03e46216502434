//! A PayFast that is built in: its hosted page, its notifications, its confirmation. Only in simulator mode.
//!
//! It keeps no state. The page carries the signed form, and whether a notification is its own is told by the signature,
//! so that a restart between a notification and its confirmation changes nothing. Late and repeated deliveries are jobs
//! like any other. It knows the provider's side only: forms and notifications, not invoices.

pub mod page;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::World;
use crate::db::{self, Db, Scope};
use crate::jobs::{self, Failure, Job, Lease};

use super::address;
use super::options::Options;
use super::payfast::form::{self, SIGNATURE_FIELD};
use super::payfast::itn::{Itn, signed_body};
use super::payfast::verdict::{amount_minor, amount_text};
use super::provider::Deliver;

/// The smallest payment that PayFast takes, in cents.
const AMOUNT_MINOR_MIN: i64 = 500;
/// How often a notification can be asked to be delivered.
const DELIVERIES_MAX: u64 = 10;
/// How late a notification can be asked to be, in seconds.
const DELAY_SECONDS_MAX: u64 = 86_400;
/// How long PayFast waits before it sends a notification again that was not answered with 200.
const AGAIN_AFTER: Duration = Duration::from_mins(10);
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
        let body = self.notification(&order);
        let wish = |name: &str, max: u64| {
            order
                .controls
                .get(name)
                .and_then(|text| text.parse::<u64>().ok())
                .map_or(0, |number| number.min(max))
        };
        let delay = Duration::from_secs(wish(page::DELAY, DELAY_SECONDS_MAX));
        for _ in 0..wish(page::DELIVERIES, DELIVERIES_MAX).max(1) {
            self.send(body.clone(), delay).await?;
        }
        self.destination(&order, "return_url")
    }

    /// Whether the parameters are those of a notification that this PayFast sent.
    #[must_use]
    pub fn validate(&self, body: &[u8]) -> bool {
        let own = |itn: Itn| {
            itn.get("merchant_id") == Some(self.options.merchant_id.as_bytes())
                && itn.signature_holds(self.options.passphrase())
        };
        Itn::parse(body).is_ok_and(own)
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
        let amount = given("amount").and_then(|amount| amount_minor(amount));
        let amount = amount.filter(|amount| *amount >= AMOUNT_MINOR_MIN).ok_or(Rejection::Field("amount"))?;
        let expected = form::sign(&fields, self.options.passphrase()).signature;
        if given(SIGNATURE_FIELD) != Some(&expected) {
            return Err(Rejection::Signature);
        }
        Ok(Order { fields, amount_minor: amount, controls })
    }

    /// A notification as PayFast writes it: its order, its blanks, its sandbox's buyer.
    fn notification(&self, order: &Order) -> Vec<u8> {
        let field = |name: &str| order.fields.get(name).map_or("", String::as_str);
        let provider_id = self.world.below(9_000_000_000).saturating_add(1_000_000_000).to_string();
        let status = order.controls.get(page::STATUS).map_or("COMPLETE", String::as_str);
        let fee = order.amount_minor.saturating_mul(23) / 1_000;
        let amounts = [
            ("amount_gross", amount_text(order.amount_minor)),
            ("amount_fee", amount_text(fee.saturating_neg())),
            ("amount_net", amount_text(order.amount_minor.saturating_sub(fee))),
        ];
        let mut pairs = vec![
            ("m_payment_id", field("m_payment_id")),
            ("pf_payment_id", provider_id.as_str()),
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
        pairs.push(("merchant_id", &self.options.merchant_id));
        signed_body(&pairs, self.options.passphrase())
    }

    /// Sends a notification now, or queues it: when it is to be late, and when it was not answered with 200.
    async fn send(&self, body: Vec<u8>, delay: Duration) -> Result<(), Rejection> {
        let url = self.options.notify_url();
        let again = match delay {
            Duration::ZERO if self.deliver.deliver(&url, body.clone()).await == Some(200) => return Ok(()),
            Duration::ZERO => AGAIN_AFTER,
            late => late,
        };
        self.queue(body, again).await.map_err(|error| {
            tracing::error!(error = %error.chain(), "a simulated notification was not queued");
            Rejection::Database
        })
    }

    async fn queue(&self, body: Vec<u8>, after: Duration) -> Result<(), db::Error> {
        let mut tx = self.db.begin(Scope::System("simulator.send")).await?;
        // A notification is ASCII: everything else in it is encoded.
        let job = SendNotification { body: String::from_utf8_lossy(&body).into_owned() };
        jobs::push_at(&mut tx, &self.world, None, &job, self.world.now().plus(after)).await?;
        tx.commit().await
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
        match self.deliver.deliver(&self.options.notify_url(), job.body.into_bytes()).await {
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
