//! A PayFast that is built in: its hosted page, its notifications, its confirmation, its API. Only in simulator mode.
//!
//! It can be told to lie ([`faults`]). What it was told, what it sent lately, and its books (payments, tokens, refunds,
//! the history of the account) are rows, so that all nodes lie alike and a restart between a notification and its
//! confirmation changes nothing. The page keeps nothing: it carries the signed form, and whether a notification is its
//! own is told by the signature. Late deliveries are jobs like any other. It knows the provider's side only: forms,
//! tokens and notifications, not invoices.

pub mod api;
mod books;
pub mod faults;
mod notices;
pub mod page;
mod recurring;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Timestamp, World};
use crate::db::{self, Db, Json, Scope, Tx};
use crate::jobs;

use super::address;
use super::options::Options;
use super::payfast::form::{self, SIGNATURE_FIELD};
use super::payfast::itn::Itn;
use super::payfast::verdict::amount_minor;
use super::provider::Deliver;
use super::store::simulator as memory;
use super::store::simulator::Delivery;
use super::store::simulator::token::Token;
use faults::{Fate, Fault, Plan};
use notices::Notification;

pub use notices::SendNotification;

/// The smallest payment that PayFast takes, in cents.
const AMOUNT_MINOR_MIN: i64 = 500;
/// How often a notification can be asked to be delivered.
const DELIVERIES_MAX: u64 = 10;
/// How late a notification can be asked to be, in seconds.
const DELAY_SECONDS_MAX: u64 = 86_400;
/// The longest id of the shop's that PayFast takes, and more than any status has, in bytes.
const WORD_BYTES_MAX: usize = 100;
/// How many notifications are told at once.
const DELIVERIES_TOLD: i64 = 100;
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

/// Something that was paid, or was to be.
#[derive(Clone, Copy)]
struct Made<'a> {
    provider_id: &'a str,
    /// The form's fields, or those of the form that made the token.
    fields: &'a Fields,
    gross_minor: i64,
    /// The token that was made or charged.
    token: Option<&'a Token>,
    status: &'a str,
    /// The bank's code.
    bank_code: &'a str,
}

/// The bank's code when it agrees.
const AGREED: &str = "00";

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
        recurring::check(&fields)?;
        let sets_up = given("subscription_type").is_some();
        let fits = |amount: &i64| *amount >= AMOUNT_MINOR_MIN || (sets_up && *amount == 0);
        let amount = given("amount").and_then(|amount| amount_minor(amount));
        let amount = amount.filter(fits).ok_or(Rejection::Field("amount"))?;
        let expected = form::sign(&fields, self.options.passphrase()).signature;
        if given(SIGNATURE_FIELD) != Some(&expected) {
            return Err(Rejection::Signature);
        }
        Ok(Order { fields, amount_minor: amount, controls })
    }

    /// Takes the money, and sends what the payment's fate wants to be sent.
    async fn pay(&self, order: &Order, copies: u64, delay: Duration) -> Result<(), Rejection> {
        let planned = self.take(order, copies, delay).await.map_err(|error| {
            tracing::error!(error = %error.chain(), "a simulated payment could not be written down");
            Rejection::Database
        })?;
        for (id, body) in planned {
            self.send(id, body).await?;
        }
        Ok(())
    }

    /// Draws the payment's fate, writes it into the books with its token and its notifications, queues those that are
    /// late, and hands back those that are to be sent now.
    async fn take(
        &self,
        order: &Order,
        copies: u64,
        delay: Duration,
    ) -> Result<Vec<Notification>, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let fate = self.draw(&mut tx).await?;
        let provider_id = self.provider_id();
        let status = order.controls.get(page::STATUS).map_or("COMPLETE", String::as_str);
        let token = match status {
            "COMPLETE" => self.make_token(&mut tx, order, &provider_id).await?,
            _ => None,
        };
        let made = Made {
            provider_id: &provider_id,
            fields: &order.fields,
            gross_minor: order.amount_minor,
            token: token.as_ref(),
            status,
            bank_code: if status == "COMPLETE" { AGREED } else { "" },
        };
        self.record(&mut tx, &made, &fate).await?;
        let notifications = self.tell(&mut tx, &made, &fate, (copies, delay)).await?;
        tx.commit().await?;
        let (payment, faults) = (order.fields.get("m_payment_id"), &fate.faults);
        tracing::info!(payment, number = fate.payment, ?faults, "a simulated payment was made");
        Ok(notifications)
    }

    /// What the next payment, charge, renewal or refund meets.
    async fn draw(&self, tx: &mut Tx) -> Result<Fate, db::Error> {
        Ok(match memory::count_payment(tx).await? {
            Some((Json(plan), payment)) => plan.fate(u64::try_from(payment).unwrap_or(0)),
            None => Fate::default(),
        })
    }

    fn provider_id(&self) -> String {
        self.world.below(9_000_000_000).saturating_add(1_000_000_000).to_string()
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
