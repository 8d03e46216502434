//! Refunds: one person proposes, another decides, and only then money moves.
//!
//! Neither of the two has a hand in the organisation whose money it is: not as a member, not by a program that they
//! made, not as who paid. No program proposes or decides, whoever made it. What is approved is set aside on the locked
//! receipt, so that no two refunds, whenever they are approved, take more than came.

mod booking;
mod fee;
mod sending;
mod settling;

use crate::audit::{Entry, Risk};
use crate::auth::{Caller, access};
use crate::base::{AccountId, Money, Violations, text};
use crate::db::{Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::jobs;
use crate::payments::Error;
use crate::payments::crash::CrashPoint;
use crate::payments::model::refund::{REASON_CHARS_MAX, REASON_CHARS_MIN, proposable};
use crate::payments::model::{
    EventId, PaymentId, Receipt, Refund, RefundDestination, RefundId, RefundStatus,
};
use crate::payments::store;

use super::Service;
use super::reading::{Cursor, administrator};

pub use sending::SendRefund;
pub use settling::SettleRefund;

/// The longest note of who decides, in characters.
const NOTE_CHARS_MAX: usize = 255;

/// Which money is to go back.
#[derive(Clone, Copy, Debug)]
pub enum RefundSource {
    /// What paid the invoice of a payment.
    Payment(PaymentId),
    /// What a notification told of.
    Event(EventId),
}

/// A wish to give money back.
#[derive(Clone, Debug)]
pub struct RefundPayment {
    /// Which money.
    pub source: RefundSource,
    /// How much of it; none for all that is left.
    pub amount: Option<Money>,
    /// Why.
    pub reason: String,
    /// Where it goes.
    pub destination: RefundDestination,
}

/// A decision about a refund.
#[derive(Clone, Debug)]
pub struct ApproveRefund {
    /// Which.
    pub refund_id: RefundId,
    /// Whether it is to be done.
    pub approved: bool,
    /// Why; required of a rejection.
    pub note: String,
}

/// Which refunds are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefundFilter {
    /// Those of this status.
    pub status: Option<RefundStatus>,
    /// Those of this payment.
    pub payment_id: Option<PaymentId>,
}

impl Service {
    /// Proposes a refund.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::PaymentNotFound`], [`Error::EventNotFound`], [`Error::NothingToRefund`],
    /// [`Error::RefundTooLarge`], [`Error::OwnOrganization`], [`Error::Invalid`].
    pub async fn refund_payment(
        &self,
        caller: &Caller,
        command: RefundPayment,
        key: Option<&RequestKey>,
    ) -> Result<Refund, Error> {
        let maker_id = person(caller)?;
        let mut violations = Violations::new();
        let reason = text::line(&mut violations, "reason", &command.reason, REASON_CHARS_MAX);
        let long = reason.chars().count() >= REASON_CHARS_MIN;
        violations.check(long, "reason", format!("must have at least {REASON_CHARS_MIN} characters"));
        let mut tx = self.db.begin(Scope::System("payments.propose_refund")).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        still_in_office(&mut tx, maker_id).await?;
        let receipt = self.receipt_of(&mut tx, command.source).await?;
        let same = command.amount.is_none_or(|amount| amount.currency == receipt.currency);
        violations.check(same, "amount", format!("must be {}", receipt.currency.code()));
        let known = receipt.organization_id.is_some() || command.destination == RefundDestination::Source;
        violations.check(known, "destination", "must be the source: nobody knows whose money it is");
        violations.finish()?;
        disinterested(&mut tx, maker_id, &receipt).await?;
        let taken_minor = store::chargeback::taken_of(&mut tx, receipt.id).await?;
        let amount_minor = Self::amount(&receipt, taken_minor, command.amount)?;
        let refund = self.proposed(&receipt, amount_minor, reason, command.destination, maker_id);
        store::refund::insert(&mut tx, &refund).await?;
        let entry = about(caller.entry("payments.propose_refund"), &refund);
        self.audit.record(&mut tx, entry.changed(&(), &refund)).await?;
        slot.store(&mut tx, &refund).await?;
        tx.commit().await?;
        Ok(refund)
    }

    /// Decides about a refund that somebody else proposed.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::RefundNotFound`], [`Error::SamePerson`], [`Error::OwnOrganization`],
    /// [`Error::RefundDecided`], [`Error::RefundTooLarge`], [`Error::Invalid`].
    pub async fn approve_refund(
        &self,
        caller: &Caller,
        command: ApproveRefund,
        key: Option<&RequestKey>,
    ) -> Result<Refund, Error> {
        let checker_id = person(caller)?;
        let mut violations = Violations::new();
        let note = text::optional_line(&mut violations, "note", &command.note, NOTE_CHARS_MAX);
        violations.check(command.approved || !note.is_empty(), "note", "must say why it is rejected");
        violations.finish()?;
        let mut tx = self.db.begin(Scope::System("payments.decide_refund")).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        still_in_office(&mut tx, checker_id).await?;
        let mut books = self.lock_refund(&mut tx, command.refund_id).await?.ok_or(Error::RefundNotFound)?;
        if books.refund.maker_id == checker_id {
            return Err(Error::SamePerson);
        }
        disinterested(&mut tx, checker_id, &books.receipt).await?;
        let to = if command.approved { RefundStatus::Approved } else { RefundStatus::Rejected };
        let before = books.refund.clone();
        if before.status != RefundStatus::Proposed {
            return Err(Error::RefundDecided(before.status.as_str()));
        }
        let now = self.world.now();
        let status = before.status.change_to(to).map_err(Error::internal)?;
        let decided =
            Refund { status, checker_id: Some(checker_id), note, decided_at: Some(now), ..before.clone() };
        if command.approved {
            books.set_aside(&mut tx).await?;
        }
        store::refund::update(&mut tx, &decided).await?;
        let entry = about(caller.entry("payments.decide_refund"), &decided).changed(&before, &decided);
        self.audit.record(&mut tx, entry).await?;
        books.refund = decided;
        if command.approved {
            self.begin_refund(&mut tx, &mut books).await?;
        }
        slot.store(&mut tx, &books.refund).await?;
        tx.commit().await?;
        self.crash.reach(CrashPoint::RefundApproved).await;
        Ok(books.refund)
    }

    /// A refund, for platform administrators.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`], [`Error::RefundNotFound`].
    pub async fn get_refund(&self, caller: &Caller, id: RefundId) -> Result<Refund, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(Scope::System("payments.refunds")).await?;
        store::refund::get(&mut conn, id).await?.ok_or(Error::RefundNotFound)
    }

    /// Refunds, the newest first, for platform administrators.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`].
    pub async fn list_refunds(
        &self,
        caller: &Caller,
        filter: RefundFilter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Refund>, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(Scope::System("payments.refunds")).await?;
        let after = Cursor::place(after);
        Ok(match filter {
            RefundFilter { payment_id: Some(payment), status } => {
                store::refund::page_of_payment(&mut conn, payment, status, after, limit).await?
            }
            RefundFilter { payment_id: None, status: Some(status) } => {
                store::refund::page_of(&mut conn, status, after, limit).await?
            }
            RefundFilter { payment_id: None, status: None } => {
                store::refund::page(&mut conn, after, limit).await?
            }
        })
    }

    async fn receipt_of(&self, tx: &mut Tx, source: RefundSource) -> Result<Receipt, Error> {
        let receipt = match source {
            RefundSource::Payment(id) => {
                store::payment::organization_of(tx, id).await?.ok_or(Error::PaymentNotFound)?;
                store::receipt::applied_of_payment(tx, id).await?
            }
            RefundSource::Event(id) => {
                store::event::get(tx, id).await?.ok_or(Error::EventNotFound)?;
                store::receipt::of_event(tx, id).await?
            }
        };
        // The simulator's money cannot go back through the real PayFast, nor the other way round.
        receipt.filter(|receipt| receipt.test == self.options.test()).ok_or(Error::NothingToRefund)
    }

    fn amount(receipt: &Receipt, taken_minor: i64, wanted: Option<Money>) -> Result<i64, Error> {
        proposable(receipt, taken_minor, wanted.map(|amount| amount.minor)).map_err(|left| match left {
            ..=0 => Error::NothingToRefund,
            left => Error::RefundTooLarge(Money::new(left, receipt.currency)),
        })
    }

    fn proposed(
        &self,
        receipt: &Receipt,
        amount_minor: i64,
        reason: String,
        destination: RefundDestination,
        maker_id: AccountId,
    ) -> Refund {
        Refund {
            id: self.world.id(),
            receipt_id: receipt.id,
            organization_id: receipt.organization_id,
            payment_id: receipt.payment_id,
            provider_payment_id: receipt.provider_payment_id.clone(),
            destination,
            status: RefundStatus::Proposed,
            currency: receipt.currency,
            amount_minor,
            fee_minor: None,
            reason,
            maker_id,
            checker_id: None,
            note: String::new(),
            detail: String::new(),
            available_minor: None,
            test: receipt.test,
            created_at: self.world.now(),
            decided_at: None,
            sent_at: None,
            settled_at: None,
        }
    }

    /// Begins what was approved: it is sent by a job, or, when nothing is sent, done.
    async fn begin_refund(&self, tx: &mut Tx, books: &mut booking::Books) -> Result<(), Error> {
        match books.refund.destination {
            RefundDestination::Source => {
                let job = SendRefund { refund_id: books.refund.id };
                Ok(jobs::push(tx, &self.world, books.refund.organization_id, &job).await?)
            }
            RefundDestination::Credit => self.succeed(tx, books, "it became the organisation's credit").await,
        }
    }
}

/// The person who calls, an administrator. A program is none, whoever made it, and neither is an agent or a job: two of
/// those would be one person twice.
fn person(caller: &Caller) -> Result<AccountId, Error> {
    if !caller.is_admin() || caller.grant.is_some() {
        return Err(Error::NotAnAdministrator);
    }
    Ok(caller.account()?)
}

/// That the person is an administrator at this moment.
async fn still_in_office(tx: &mut Tx, person: AccountId) -> Result<(), Error> {
    if access::administers(tx, person).await? { Ok(()) } else { Err(Error::NotAnAdministrator) }
}

/// That the person has nothing to do with whose money it is, and did not pay it.
async fn disinterested(tx: &mut Tx, person: AccountId, receipt: &Receipt) -> Result<(), Error> {
    if let Some(organization) = receipt.organization_id
        && access::has_hand_in(tx, organization, person).await?
    {
        return Err(Error::OwnOrganization);
    }
    let Some(payment) = receipt.payment_id else { return Ok(()) };
    let payer = store::payment::get(tx, payment).await?.and_then(|payment| payment.account_id);
    match payer {
        Some(payer) if access::person_behind(tx, payer).await? == person => Err(Error::OwnOrganization),
        _ => Ok(()),
    }
}

/// An entry about a refund. What it says cannot be undone.
fn about(entry: Entry, refund: &Refund) -> Entry {
    let entry = entry.on("refund", refund.id).risk(Risk::High);
    match refund.organization_id {
        Some(organization) => entry.of(organization),
        None => entry,
    }
}
