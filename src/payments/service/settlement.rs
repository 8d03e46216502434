//! Applying what the inbox holds: verify again, ask the provider, then have the effect in one transaction.
//!
//! A row of the provider's history has the effect that its notification would have had, by the same key. It is not
//! asked about again: we asked for it.
//!
//! Whatever dies in between, the job is still there and runs again; the effect key makes a second run nothing. Money
//! that the provider confirms is always booked: on the order when it is open and the amount is right, else as an
//! unapplied receipt with an alarm.

use serde::{Deserialize, Serialize};

use crate::audit::{Entry, Risk};
use crate::auth::Caller;
use crate::base::{Currency, Money};
use crate::db::{self, Scope, Tx};
use crate::jobs::{Failure, Job, Lease};
use crate::payments::crash::CrashPoint;
use crate::payments::model::ledger::{self, Balanced, Kind};
use crate::payments::model::settlement::{self, Effect, Paid, Standing, Word};
use crate::payments::model::{
    AlarmKind, BillingProfile, EventId, EventSource, EventStatus, Invoice, Payment, PaymentId, PaymentStatus,
    PlanKind, Provider, Receipt, ReceiptStatus, Subscription,
};
use crate::payments::payfast::confirmation::Confirmation;
use crate::payments::payfast::itn::Itn;
use crate::payments::payfast::verdict::{self, Facts, PaymentStatus as Said, Refusal};
use crate::payments::store;
use crate::payments::store::alarm::Alarm;
use crate::payments::store::ledger::Head;

use super::{Service, window};

/// Applies what is stored in the inbox.
#[derive(Debug, Serialize, Deserialize)]
pub struct ApplyEvent {
    /// Which.
    pub event_id: EventId,
}

impl Job for ApplyEvent {
    const KIND: &'static str = "payments.apply_event";
    // About two days of asking before an operator has to.
    const ATTEMPTS_MAX: u32 = 60;
}

/// What became of an event.
pub(super) struct Outcome {
    pub(super) status: EventStatus,
    pub(super) detail: String,
    pub(super) alarm: Option<Alarm>,
}

impl Outcome {
    pub(super) fn new(status: EventStatus, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), alarm: None }
    }

    pub(super) fn alarmed(self, alarm: Alarm) -> Self {
        Self { alarm: Some(alarm), ..self }
    }
}

pub(super) const PURPOSE: &str = "payments.apply_event";
const SCOPE: Scope = Scope::System(PURPOSE);

impl Service {
    /// Applies a stored notification; the job's handler.
    ///
    /// # Errors
    /// When it has to be tried again, or can never succeed.
    pub async fn apply_event(&self, job: ApplyEvent, lease: Lease) -> Result<(), Failure> {
        let source = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::event::source(&mut conn, job.event_id).await?
        };
        let event = self.notification(job.event_id).await?;
        let Some((body, status)) = event else { return Err(Failure::dead("there is no such event")) };
        if status != EventStatus::Received {
            return Ok(());
        }
        if source == Some(EventSource::History) {
            let mut tx = self.db.begin(SCOPE).await?;
            let outcome = self.apply_row(&mut tx, job.event_id, &body).await?;
            return self.write(tx, job.event_id, lease, outcome).await;
        }
        let judged = self.judge(&body);
        let (itn, facts) = match judged {
            Ok(judged) => judged,
            Err(reason) => {
                let outcome = self.refused(&reason);
                return self.conclude(job.event_id, lease, outcome).await;
            }
        };
        self.crash.reach(CrashPoint::EventUnconfirmed).await;
        // Asked outside any transaction, and only when the answer matters.
        let confirmation = match facts.word() {
            Some(_) => self.confirm.confirm(&itn).await,
            None => Confirmation::Valid,
        };
        self.crash.reach(CrashPoint::EventConfirmed).await;
        match confirmation {
            Confirmation::Retry => Err(Failure::retry("the provider has not confirmed the notification yet")),
            Confirmation::Invalid => {
                let outcome = disowned(&facts);
                self.conclude(job.event_id, lease, outcome).await
            }
            Confirmation::Valid => self.take_effect(job.event_id, lease, &itn, &facts).await,
        }
    }

    fn judge(&self, body: &[u8]) -> Result<(Itn, Facts), String> {
        let itn = Itn::parse(body).map_err(|error| error.to_string())?;
        if !itn.signature_holds(self.options.passphrase()) {
            return Err("the signature no longer holds; was the passphrase changed?".to_owned());
        }
        let facts = verdict::facts(&itn, &self.options.merchant_id).map_err(|refusal| refusal.to_string())?;
        Ok((itn, facts))
    }

    /// Has the effect, decides the event and ends the job: all of it or nothing.
    async fn take_effect(
        &self,
        event: EventId,
        lease: Lease,
        itn: &Itn,
        facts: &Facts,
    ) -> Result<(), Failure> {
        let mut tx = self.db.begin(SCOPE).await?;
        // A form that stores a card moves no money, and its token is only in the notification.
        let moves_nothing = facts.gross_minor.unwrap_or(0) == 0;
        let about_card =
            if moves_nothing { self.about_method(&mut tx, event, itn, facts).await? } else { None };
        let outcome = match about_card {
            Some(outcome) => outcome,
            None => self.once(&mut tx, event, facts).await?,
        };
        self.write(tx, event, lease, outcome).await
    }

    async fn conclude(&self, event: EventId, lease: Lease, outcome: Outcome) -> Result<(), Failure> {
        let tx = self.db.begin(SCOPE).await?;
        self.write(tx, event, lease, outcome).await
    }

    async fn write(&self, mut tx: Tx, event: EventId, lease: Lease, outcome: Outcome) -> Result<(), Failure> {
        self.decide(&mut tx, event, outcome).await?;
        lease.complete(&mut tx).await?;
        self.crash.reach(CrashPoint::EffectWritten).await;
        tx.commit().await?;
        self.crash.reach(CrashPoint::EffectCommitted).await;
        Ok(())
    }

    /// Writes down what became of an event.
    pub(super) async fn decide(
        &self,
        tx: &mut Tx,
        event: EventId,
        outcome: Outcome,
    ) -> Result<(), db::Error> {
        let Outcome { status, detail, alarm } = outcome;
        if let Some(alarm) = alarm {
            self.raise(tx, alarm).await?;
        }
        store::event::decide(tx, event, status, &detail, self.world.now()).await?;
        tracing::info!(event = %event, status = status.as_str(), detail, "an event of the inbox was decided");
        Ok(())
    }

    /// Has the effect of what the provider says of a payment, unless it has happened.
    pub(super) async fn once(&self, tx: &mut Tx, event: EventId, facts: &Facts) -> Result<Outcome, Failure> {
        let Some(word) = facts.word() else { return Ok(meaningless(facts)) };
        if word == Word::Complete && word.received(facts.gross_minor).is_none() {
            // Nothing can be booked. So the effect is not taken either: another notification about the same payment,
            // or this one read by a later version, may still have it.
            let detail = Refusal::AmountUnreadable.to_string();
            let outcome = Outcome::new(EventStatus::Refused, format!("{detail}; nothing was booked"));
            return Ok(outcome.alarmed(alarm(AlarmKind::AmountDiffers, facts, None, &detail)));
        }
        let key = facts.effect_key();
        if !store::event::take_effect(tx, &key, word.as_str(), event, self.world.now()).await? {
            return self.again(tx, event, facts).await;
        }
        self.crash.reach(CrashPoint::EffectTaken).await;
        let Some(order) = self.order_of(tx, event, facts).await? else {
            return self.unknown(tx, event, facts).await;
        };
        if let Err(refusal) = verdict::compare_amount(facts, Some(order.payment.amount_minor)) {
            return self.wrong_amount(tx, &order, facts, &refusal).await;
        }
        match settlement::effect(word, order.standing()) {
            Effect::Pay(paid) => self.pay(tx, order, facts, paid, None).await,
            Effect::Hold => self.closed(tx, order.event, &order.payment, facts).await,
            Effect::Note(to) => self.note(tx, order, to, said(word)).await,
            Effect::Keep => {
                let detail =
                    format!("{}; but the payment is {} already", said(word), order.payment.status.as_str());
                Ok(Outcome::new(EventStatus::Ignored, detail))
            }
        }
    }

    /// The order that a notification is about, its rows locked; none when we do not know it.
    async fn order_of(&self, tx: &mut Tx, event: EventId, facts: &Facts) -> Result<Option<Order>, Failure> {
        let Some(id) = facts.payment.as_deref().and_then(|id| id.parse::<PaymentId>().ok()) else {
            return Ok(None);
        };
        let Some(found) = store::payment::get(tx, id).await? else { return Ok(None) };
        // The order of locks that everything here keeps: profile, payment, invoice.
        let profile = store::profile::lock(tx, found.organization_id, self.world.now()).await?;
        let payment = store::payment::lock(tx, found.id).await?;
        let invoice = store::invoice::lock(tx, found.invoice_id).await?;
        Ok(Some(Order { profile, payment, invoice, event }))
    }

    /// The effect was taken before. When it was by this very notification, and its money is still held for nobody's
    /// order, it may be an open order's by now; else there is nothing to do.
    async fn again(&self, tx: &mut Tx, event: EventId, facts: &Facts) -> Result<Outcome, Failure> {
        let happened = || Outcome::new(EventStatus::Ignored, "this effect has happened already");
        let Some(held) = store::receipt::of_event(tx, event).await? else { return Ok(happened()) };
        if held.status != ReceiptStatus::Unapplied {
            return Ok(happened());
        }
        let order = self.order_of(tx, event, facts).await?;
        let held = store::receipt::lock(tx, held.id).await?;
        let stays = "; the money stays an unapplied receipt";
        let whole = settlement::is_whole(&held, store::chargeback::taken_of(tx, held.id).await?);
        let order = order
            .filter(|_| whole && facts.status == Said::Complete)
            .filter(|order| verdict::compare_amount(facts, Some(order.payment.amount_minor)).is_ok());
        let Some(order) = order else {
            let detail = format!("there is still no order that it is for{stays}");
            return Ok(Outcome::new(EventStatus::Unapplied, detail));
        };
        let Effect::Pay(paid) = settlement::effect(Word::Complete, order.standing()) else {
            let detail = format!("the order is not to be paid{stays}");
            return Ok(Outcome::new(EventStatus::Unapplied, detail));
        };
        self.pay(tx, order, facts, paid, Some(held)).await
    }

    /// Notes what the provider says of an attempt without any money. With one that is cancelled its checkout is over.
    async fn note(
        &self,
        tx: &mut Tx,
        order: Order,
        status: PaymentStatus,
        detail: &str,
    ) -> Result<Outcome, Failure> {
        let Order { payment, invoice, .. } = order;
        let cancelled = status == PaymentStatus::Cancelled;
        let action = if cancelled { "payments.cancel_payment" } else { "payments.note_payment" };
        let noted = Payment { status, ..payment.clone() };
        self.write_payment(tx, &payment, noted, action).await?;
        if cancelled {
            store::invoice::void_unissued(tx, invoice.organization_id, [invoice.id]).await?;
        }
        Ok(Outcome::new(EventStatus::Applied, detail))
    }

    /// Writes a payment, and that the provider's word changed it.
    async fn write_payment(
        &self,
        tx: &mut Tx,
        before: &Payment,
        mut after: Payment,
        action: &'static str,
    ) -> Result<(), Failure> {
        after.updated_at = self.world.now();
        store::payment::update(tx, &after).await?;
        self.audit.record(tx, decided(action, &after).changed(before, &after)).await?;
        Ok(())
    }

    /// Pays an order: with money that comes now, or with what was held for it.
    async fn pay(
        &self,
        tx: &mut Tx,
        order: Order,
        facts: &Facts,
        paid: Paid,
        held: Option<Receipt>,
    ) -> Result<Outcome, Failure> {
        let now = self.world.now();
        let Order { profile, payment, mut invoice, event } = order;
        let fee = facts.fee_minor.unwrap_or(0);
        let after = Payment {
            status: paid.payment,
            fee_minor: Some(fee),
            provider_payment_id: facts.provider_payment.clone(),
            settled_at: Some(now),
            ..payment.clone()
        };
        self.write_payment(tx, &payment, after, "payments.settle_payment").await?;
        // Nobody is to go on with another attempt to pay the same.
        store::payment::supersede_of_invoice(tx, invoice.organization_id, invoice.id, now).await?;
        let gross = Money::new(payment.amount_minor, payment.currency);
        let books = match held {
            None => ledger::settlement(gross, Money::new(fee, payment.currency)),
            Some(_) => ledger::unapplied_settlement(gross),
        };
        let books = books.map_err(Failure::dead)?;
        self.book(tx, Some(event), Kind::Settlement, Some(&payment), "payment of an invoice", &books).await?;
        match held {
            None => self.take_in(tx, event, Some(&payment), facts, ReceiptStatus::Applied).await?,
            Some(held) => store::receipt::set_applied(tx, &found(held, &payment)).await?,
        }
        self.give(tx, &payment).await?;
        // Last, for the counter is everybody's: it stays locked until the transaction ends.
        invoice.status = paid.invoice;
        invoice.paid_at = Some(now);
        if invoice.number.is_none() {
            self.issue(tx, &mut invoice, &profile).await?;
        }
        store::invoice::update(tx, &invoice).await?;
        let detail = format!("invoice {} is paid", invoice.number.as_deref().unwrap_or_default());
        let outcome = Outcome::new(EventStatus::Applied, detail);
        if facts.fee_minor.is_some() {
            return Ok(outcome);
        }
        let detail = "the provider's fee could not be read and was booked as nothing";
        Ok(outcome.alarmed(alarm(AlarmKind::FeeUnreadable, facts, Some(&payment), detail)))
    }

    /// Writes down that money arrived, and on what it was booked.
    async fn take_in(
        &self,
        tx: &mut Tx,
        event: EventId,
        payment: Option<&Payment>,
        facts: &Facts,
        status: ReceiptStatus,
    ) -> Result<(), Failure> {
        let applied = payment.filter(|_| status == ReceiptStatus::Applied);
        let receipt = Receipt {
            id: self.world.id(),
            organization_id: payment.map(|payment| payment.organization_id),
            payment_id: payment.map(|payment| payment.id),
            invoice_id: applied.map(|payment| payment.invoice_id),
            event_id: event,
            provider: Provider::Payfast,
            provider_payment_id: facts.provider_payment.clone().unwrap_or_default(),
            status,
            currency: payment.map_or(Currency::Zar, |payment| payment.currency),
            gross_minor: facts.gross_minor.unwrap_or(0),
            fee_minor: facts.fee_minor.unwrap_or(0),
            returned_minor: 0,
            test: self.options.test(),
            created_at: self.world.now(),
        };
        Ok(store::receipt::insert(tx, &receipt).await?)
    }

    /// Gives what this very payment bought, and closes what else was being bought.
    async fn give(&self, tx: &mut Tx, payment: &Payment) -> Result<(), Failure> {
        let (Some(plan_id), Some(cycle)) = (&payment.plan_id, payment.billing_cycle) else { return Ok(()) };
        let plan = store::plan::get(tx, plan_id).await?.ok_or(db::Error::NotFound)?;
        if plan.kind != PlanKind::Subscription {
            return Ok(());
        }
        let (organization, now) = (payment.organization_id, self.world.now());
        let (subscription, period) = match store::subscription::get(tx, organization).await? {
            Some(current) => current.buy(plan_id, cycle, now),
            None => Subscription::begin(self.world.id(), organization, plan_id, cycle, now),
        };
        store::subscription::put(tx, &subscription).await?;
        store::invoice::set_period(tx, organization, payment.invoice_id, period).await?;
        let invoices = store::payment::supersede_others(tx, organization, payment.id, now).await?;
        store::invoice::void_unissued(tx, organization, invoices).await?;
        Ok(())
    }

    /// A notification about a payment that we do not know.
    async fn unknown(&self, tx: &mut Tx, event: EventId, facts: &Facts) -> Result<Outcome, Failure> {
        let detail = "the payment is unknown";
        let alarm = alarm(AlarmKind::PaymentUnknown, facts, None, detail);
        self.unapplied(tx, event, None, facts, detail).await.map(|outcome| outcome.alarmed(alarm))
    }

    /// Money for an order that is no longer open.
    async fn closed(
        &self,
        tx: &mut Tx,
        event: EventId,
        payment: &Payment,
        facts: &Facts,
    ) -> Result<Outcome, Failure> {
        let detail = match payment.status {
            PaymentStatus::Succeeded => "the order was paid before",
            PaymentStatus::Superseded => "another payment bought a plan first, or less of the invoice is due",
            PaymentStatus::Cancelled => "the order was cancelled",
            PaymentStatus::Expired => "the order had expired",
            PaymentStatus::Created | PaymentStatus::Pending | PaymentStatus::Failed => {
                "the invoice is no longer to be paid, or not this much of it"
            }
        };
        let alarm = alarm(AlarmKind::OrderClosed, facts, Some(payment), detail);
        self.unapplied(tx, event, Some(payment), facts, detail).await.map(|outcome| outcome.alarmed(alarm))
    }

    async fn wrong_amount(
        &self,
        tx: &mut Tx,
        order: &Order,
        facts: &Facts,
        refusal: &Refusal,
    ) -> Result<Outcome, Failure> {
        let detail = refusal.to_string();
        let alarm = alarm(AlarmKind::AmountDiffers, facts, Some(&order.payment), &detail);
        let outcome = self.unapplied(tx, order.event, Some(&order.payment), facts, &detail).await?;
        Ok(outcome.alarmed(alarm))
    }

    /// Books money that belongs to no open order. The money arrived; only what it is for is open.
    async fn unapplied(
        &self,
        tx: &mut Tx,
        event: EventId,
        payment: Option<&Payment>,
        facts: &Facts,
        detail: &str,
    ) -> Result<Outcome, Failure> {
        let received = facts.word().and_then(|word| word.received(facts.gross_minor));
        let Some(gross) = received else {
            return Ok(Outcome::new(EventStatus::Refused, format!("{detail}; nothing was booked")));
        };
        let currency = payment.map_or(Currency::Zar, |payment| payment.currency);
        let fee = Money::new(facts.fee_minor.unwrap_or(0), currency);
        let books = ledger::unapplied_receipt(Money::new(gross, currency), fee).map_err(Failure::dead)?;
        self.book(tx, Some(event), Kind::UnappliedReceipt, payment, detail, &books).await?;
        self.take_in(tx, event, payment, facts, ReceiptStatus::Unapplied).await?;
        let entry = Caller::system(PURPOSE).entry("payments.book_unapplied_receipt");
        let entry = entry.on("provider_event", event);
        let entry = match payment {
            Some(payment) => entry.of(payment.organization_id),
            None => entry,
        };
        self.audit.record(tx, entry.risk(Risk::High)).await?;
        Ok(Outcome::new(
            EventStatus::Unapplied,
            format!("{detail}; the money was booked as an unapplied receipt"),
        ))
    }

    pub(super) async fn book(
        &self,
        tx: &mut Tx,
        event: Option<EventId>,
        kind: Kind,
        payment: Option<&Payment>,
        memo: &str,
        books: &Balanced,
    ) -> Result<(), db::Error> {
        let pays = payment.filter(|_| kind == Kind::Settlement);
        let head = Head {
            id: self.world.id(),
            organization_id: payment.map(|payment| payment.organization_id),
            kind,
            payment_id: payment.map(|payment| payment.id),
            invoice_id: pays.map(|payment| payment.invoice_id),
            event_id: event,
            memo: memo.to_owned(),
            at: self.world.now(),
        };
        store::ledger::post(tx, &head, books).await
    }

    fn refused(&self, reason: &str) -> Outcome {
        let alarm = Alarm {
            kind: AlarmKind::NotificationRefused,
            dedupe_key: window(self.world.now()),
            organization_id: None,
            subject: String::new(),
            detail: reason.to_owned(),
        };
        Outcome::new(EventStatus::Refused, reason).alarmed(alarm)
    }
}

/// The entry of what the provider's word did to a payment.
fn decided(action: &'static str, payment: &Payment) -> Entry {
    let entry = Caller::system(PURPOSE).entry(action).of(payment.organization_id);
    entry.on("payment", payment.id).risk(Risk::Medium)
}

/// An order with its rows locked.
struct Order {
    profile: BillingProfile,
    payment: Payment,
    invoice: Invoice,
    event: EventId,
}

impl Order {
    /// As far as its settlement depends on it.
    const fn standing(&self) -> Standing {
        Standing::of(&self.payment, &self.invoice)
    }
}

/// Money that was held for nobody's order, as that of a payment's.
fn found(held: Receipt, payment: &Payment) -> Receipt {
    Receipt {
        organization_id: Some(payment.organization_id),
        payment_id: Some(payment.id),
        invoice_id: Some(payment.invoice_id),
        status: ReceiptStatus::Applied,
        ..held
    }
}

/// What a word says of an attempt, for operators.
const fn said(word: Word) -> &'static str {
    match word {
        Word::Complete => "complete",
        Word::Cancelled => "cancelled: it was given up",
        Word::Failed => "failed: no money moved",
        Word::Pending => "pending: the provider will say more",
    }
}

/// A word that nobody here knows.
fn meaningless(facts: &Facts) -> Outcome {
    let detail = match &facts.status {
        Said::Unknown(word) => format!("the status {word:?} is unknown"),
        _ => "the status is unknown".to_owned(),
    };
    let alarm = alarm(AlarmKind::StatusUnknown, facts, None, &detail);
    Outcome::new(EventStatus::Ignored, detail).alarmed(alarm)
}

fn disowned(facts: &Facts) -> Outcome {
    let detail = "the provider says that it did not send this notification";
    Outcome::new(EventStatus::Refused, detail).alarmed(alarm(
        AlarmKind::ConfirmationInvalid,
        facts,
        None,
        detail,
    ))
}

pub(super) fn alarm(kind: AlarmKind, facts: &Facts, payment: Option<&Payment>, detail: &str) -> Alarm {
    let subject = facts.provider_payment.clone().or_else(|| facts.payment.clone()).unwrap_or_default();
    Alarm {
        kind,
        dedupe_key: subject.clone(),
        organization_id: payment.map(|payment| payment.organization_id),
        subject,
        detail: detail.to_owned(),
    }
}
