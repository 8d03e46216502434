//! Charging a stored card, once.
//!
//! As with refunds there is no idempotency key. So it is written down that the card is being charged before the call
//! leaves, and whoever finds it written down does not charge again: what became of it is asked. A yes is not money yet;
//! that is booked when the provider's notification is confirmed, like any other.

use serde::{Deserialize, Serialize};

use crate::audit::{Entry, Risk};
use crate::auth::Caller;
use crate::base::Money;
use crate::db::{self, Scope, Tx};
use crate::jobs::{self, Failure, Job, Lease};
use crate::payments::Error;
use crate::payments::crash::CrashPoint;
use crate::payments::model::method::{Charge, ChargeStatus};
use crate::payments::model::{
    Payment, PaymentId, PaymentMethod, PaymentMethodId, PaymentMethodStatus, PaymentStatus,
};
use crate::payments::payfast::api::answer::{Outcome, RefusalKind};
use crate::payments::payfast::api::call::{self, Call};
use crate::payments::payfast::api::charge::{self, Charged};
use crate::payments::store;

use super::super::Service;
use super::super::refund::is_temporary;
use super::settling::{CONFIRMED_WITHIN, FIRST_LOOK, SettleCharge};

/// Charges the stored card that pays a payment.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChargeMethod {
    /// Which payment.
    pub payment_id: PaymentId,
}

impl Job for ChargeMethod {
    const KIND: &'static str = "payments.charge_method";
    // A few hours of trying while the provider is not reached; who waits longer than that buys otherwise.
    const ATTEMPTS_MAX: u32 = 12;
}

const PURPOSE: &str = "payments.charge_method";
const SCOPE: Scope = Scope::System(PURPOSE);

/// What is known of a charge.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The card was charged; the provider's id, when it is known.
    Made(Option<String>),
    /// It was not, and why.
    Failed(String),
    /// It was not and cannot be: the provider keeps it no longer.
    Unusable(String),
    /// Nobody knows, and why.
    Unknown(String),
}

/// Whether a charge may be made.
enum Intent {
    /// It is written down that it is being made, by this call.
    Send(Call),
    /// It is not to be made, and why.
    Closed(String),
}

impl Service {
    /// Has a payment made with a stored card, once the transaction commits. From now on the payment is under way, so
    /// that nobody pays it otherwise before it is known what came of the charge. The billing profile is locked.
    ///
    /// # Errors
    /// [`Error::PaymentMethodNotFound`], [`Error::PaymentMethodNotActive`].
    pub(in crate::payments::service) async fn charge_method(
        &self,
        tx: &mut Tx,
        payment: &Payment,
        id: PaymentMethodId,
    ) -> Result<Payment, Error> {
        let (organization, now) = (payment.organization_id, self.world.now());
        let method = store::method::lock(tx, organization, id).await?;
        let method = method.filter(|method| method.status != PaymentMethodStatus::Removed);
        let method = method.ok_or(Error::PaymentMethodNotFound)?;
        if !method.is_chargeable(self.options.test(), now) {
            return Err(Error::PaymentMethodNotActive(match method.status {
                PaymentMethodStatus::Active => PaymentMethodStatus::Expired.as_str(),
                status => status.as_str(),
            }));
        }
        let status = payment.status.change_to(PaymentStatus::Pending).map_err(Error::internal)?;
        let payment = Payment { status, updated_at: now, ..payment.clone() };
        store::payment::update(tx, &payment).await?;
        let charge = Charge {
            payment_id: payment.id,
            organization_id: organization,
            payment_method_id: method.id,
            status: ChargeStatus::Queued,
            provider_payment_id: None,
            detail: "it is to be made".to_owned(),
            created_at: now,
            sent_at: None,
            settled_at: None,
        };
        store::method::insert_charge(tx, &charge).await?;
        jobs::push(tx, &self.world, Some(organization), &ChargeMethod { payment_id: payment.id }).await?;
        Ok(payment)
    }

    /// Charges a stored card; the job's handler.
    ///
    /// # Errors
    /// When it has to be tried again.
    pub async fn send_charge(&self, job: ChargeMethod, lease: Lease) -> Result<(), Failure> {
        let charge = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::method::charge(&mut conn, job.payment_id).await?
        };
        let Some(charge) = charge else { return Err(Failure::dead("there is no such charge")) };
        match charge.status {
            ChargeStatus::Queued => {}
            // Whoever wrote this down is gone, and with it the answer.
            ChargeStatus::Sent => {
                let why = "the process ended while the card was being charged".to_owned();
                return self.end_charge(&charge, &lease, End::Unknown(why)).await;
            }
            ChargeStatus::Unknown | ChargeStatus::Accepted | ChargeStatus::Failed => return Ok(()),
        }
        let call = match self.intend_charge(&charge).await? {
            Intent::Send(call) => call,
            Intent::Closed(why) => return self.end_charge(&charge, &lease, End::Failed(why)).await,
        };
        self.crash.reach(CrashPoint::ChargeIntended).await;
        let outcome = self.ask("charge.send", &call, charge::charged).await;
        self.crash.reach(CrashPoint::ChargeAnswered).await;
        self.heed_charge(&charge, &lease, outcome).await
    }

    /// Writes down that the card is being charged, unless the payment or the card is gone by now.
    async fn intend_charge(&self, charge: &Charge) -> Result<Intent, Failure> {
        let mut tx = self.db.begin(SCOPE).await?;
        let (organization, now) = (charge.organization_id, self.world.now());
        store::profile::lock(&mut tx, organization, now).await?;
        let payment = store::payment::lock(&mut tx, charge.payment_id).await?;
        if payment.status != PaymentStatus::Pending {
            return Ok(Intent::Closed(format!("the payment is {}", payment.status.as_str())));
        }
        let method = store::method::lock(&mut tx, organization, charge.payment_method_id).await?;
        let method = method.filter(|method| method.is_chargeable(self.options.test(), now));
        let gone = || Intent::Closed("the payment method was removed, or has expired".to_owned());
        let Some(method) = method else { return Ok(gone()) };
        let Some(sealed) = store::method::token(&mut tx, &method).await? else { return Ok(gone()) };
        let call = match self.call(&mut tx, &payment, &method, &sealed).await {
            Ok(call) => call,
            Err(Error::Db(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(payment = %payment.id, %error, "a stored card cannot be charged");
                return Ok(Intent::Closed("its token cannot be used".to_owned()));
            }
        };
        let sent = Charge {
            status: charge.status.change_to(ChargeStatus::Sent).map_err(Failure::dead)?,
            detail: "the card is being charged".to_owned(),
            sent_at: Some(now),
            ..charge.clone()
        };
        if !store::method::update_charge(&mut tx, charge.status, &sent).await? {
            return Err(Failure::retry("somebody else looks after this charge"));
        }
        tx.commit().await?;
        Ok(Intent::Send(call))
    }

    async fn call(
        &self,
        tx: &mut Tx,
        payment: &Payment,
        method: &PaymentMethod,
        sealed: &[u8],
    ) -> Result<Call, Error> {
        let token = self.open_token(method.id, sealed)?;
        let invoice = store::invoice::get(tx, payment.invoice_id).await?.ok_or(db::Error::NotFound)?;
        let subject = self.subject(tx, &invoice, payment).await?.clipped();
        let wish = call::Charge {
            amount: Money::new(payment.amount_minor, payment.currency),
            item_name: &subject.name,
            item_description: &subject.description,
            reference: &payment.id.to_string(),
            notify: true,
        };
        Ok(Call::charge(token.expose(), &wish)?)
    }

    /// Writes down what the provider answered.
    async fn heed_charge(
        &self,
        charge: &Charge,
        lease: &Lease,
        outcome: Outcome<Charged>,
    ) -> Result<(), Failure> {
        let failure = match outcome {
            Outcome::Done(made) => {
                return self.end_charge(charge, lease, End::Made(Some(made.provider_payment_id))).await;
            }
            Outcome::Unknown(why) => return self.end_charge(charge, lease, End::Unknown(why)).await,
            Outcome::NotSent { why, wait } => Failure::retry_after(wait, why),
            Outcome::Refused(refusal) if is_temporary(refusal.kind) => Failure::retry(refusal.reason),
            Outcome::Refused(refusal) => {
                let unusable = matches!(refusal.kind, RefusalKind::State | RefusalKind::NotFound);
                let end = if unusable { End::Unusable } else { End::Failed };
                return self.end_charge(charge, lease, end(refusal.reason)).await;
            }
        };
        if lease.last {
            let why = format!("it could not be sent: {}", failure.cause);
            return self.end_charge(charge, lease, End::Failed(why)).await;
        }
        self.charge_stays(charge).await?;
        Err(failure)
    }

    /// The call did not leave, or was not looked at, so that it may still be made.
    async fn charge_stays(&self, charge: &Charge) -> Result<(), Failure> {
        let mut tx = self.db.begin(SCOPE).await?;
        let stays = Charge {
            status: ChargeStatus::Sent.change_to(ChargeStatus::Queued).map_err(Failure::dead)?,
            sent_at: None,
            ..charge.clone()
        };
        store::method::update_charge(&mut tx, ChargeStatus::Sent, &stays).await?;
        Ok(tx.commit().await?)
    }

    /// Writes what is known of a charge that is not over, and ends the job, in one transaction.
    pub(super) async fn end_charge(&self, charge: &Charge, lease: &Lease, end: End) -> Result<(), Failure> {
        let mut tx = self.db.begin(SCOPE).await?;
        let (organization, now) = (charge.organization_id, self.world.now());
        store::profile::lock(&mut tx, organization, now).await?;
        let payment = store::payment::lock(&mut tx, charge.payment_id).await?;
        let before = store::method::charge(&mut tx, charge.payment_id).await?.ok_or(db::Error::NotFound)?;
        if let Some(after) = ended(&before, &end, now) {
            store::method::update_charge(&mut tx, before.status, &after).await?;
            let entry = charged(&payment).changed(&before, &after);
            self.audit.record(&mut tx, entry).await?;
            let job = SettleCharge { payment_id: payment.id };
            match end {
                End::Made(_) => {
                    let at = now.plus(CONFIRMED_WITHIN);
                    jobs::push_at(&mut tx, &self.world, Some(organization), &job, at).await?;
                }
                End::Unknown(_) => {
                    let at = now.plus(FIRST_LOOK);
                    jobs::push_at(&mut tx, &self.world, Some(organization), &job, at).await?;
                }
                End::Failed(_) => self.fail_payment(&mut tx, &payment).await?,
                End::Unusable(_) => {
                    self.fail_payment(&mut tx, &payment).await?;
                    self.retire(&mut tx, &before).await?;
                }
            }
            tracing::info!(payment = %payment.id, status = after.status.as_str(), detail = after.detail,
                "a charge of a stored card was looked after");
        }
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Nothing was charged, so that the payment came to nothing; unless it is over by now.
    async fn fail_payment(&self, tx: &mut Tx, before: &Payment) -> Result<(), Failure> {
        let Ok(status) = before.status.change_to(PaymentStatus::Failed) else { return Ok(()) };
        let after = Payment { status, updated_at: self.world.now(), ..before.clone() };
        store::payment::update(tx, &after).await?;
        let entry = Caller::system(PURPOSE).entry("payments.fail_payment").of(before.organization_id);
        let entry = entry.on("payment", before.id).risk(Risk::Medium);
        self.audit.record(tx, entry.changed(before, &after)).await?;
        Ok(())
    }

    /// The provider charges this card no longer.
    async fn retire(&self, tx: &mut Tx, charge: &Charge) -> Result<(), Failure> {
        let found = store::method::lock(tx, charge.organization_id, charge.payment_method_id).await?;
        let Some(before) = found else { return Ok(()) };
        let Ok(after) = before.clone().expired(self.world.now()) else { return Ok(()) };
        store::method::update(tx, &after).await?;
        let entry = super::about(Caller::system(PURPOSE).entry("payments.expire_payment_method"), &after);
        self.audit.record(tx, entry.changed(&before, &after)).await?;
        Ok(())
    }
}

/// The charge with what is known of it; none when it is known already.
fn ended(before: &Charge, end: &End, now: crate::base::Timestamp) -> Option<Charge> {
    let (to, detail) = match end {
        End::Made(_) => (ChargeStatus::Accepted, "the provider charged the card"),
        End::Failed(why) | End::Unusable(why) => (ChargeStatus::Failed, why.as_str()),
        End::Unknown(why) => (ChargeStatus::Unknown, why.as_str()),
    };
    let status = before.status.change_to(to).ok()?;
    let id = match end {
        End::Made(id) => id.clone(),
        _ => None,
    };
    Some(Charge {
        status,
        provider_payment_id: id,
        detail: detail.to_owned(),
        settled_at: (to != ChargeStatus::Unknown).then_some(now),
        ..before.clone()
    })
}

/// The entry of how far a charge got.
fn charged(payment: &Payment) -> Entry {
    let entry = Caller::system(PURPOSE).entry("payments.charge_payment_method").of(payment.organization_id);
    entry.on("payment", payment.id).risk(Risk::High)
}
