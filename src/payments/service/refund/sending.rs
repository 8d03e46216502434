//! Sending an approved refund to PayFast, once.
//!
//! There is no idempotency key. So it is written down that a refund is being sent before it leaves, and whoever finds
//! it written down, after a crash or an answer that never came, does not send it: what became of it is asked.

use serde::{Deserialize, Serialize};

use crate::base::Money;
use crate::db::{Scope, Tx};
use crate::jobs::{self, Failure, Job, Lease};
use crate::payments::Error;
use crate::payments::crash::CrashPoint;
use crate::payments::model::{Refund, RefundId, RefundStatus};
use crate::payments::payfast::api::answer::{Outcome, RefusalKind};
use crate::payments::payfast::api::call::{self, Call};
use crate::payments::payfast::api::refund::{self as answer, Refundable, Terms, Way};
use crate::payments::store;

use super::Service;
use super::booking::Books;
use super::settling::{FIRST_LOOK, SettleRefund};

/// Sends an approved refund.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendRefund {
    /// Which.
    pub refund_id: RefundId,
}

impl Job for SendRefund {
    const KIND: &'static str = "payments.send_refund";
    // About a day of trying while the provider refuses to talk; what was not sent by then has failed.
    const ATTEMPTS_MAX: u32 = 36;
}

/// How long a refund waits for another one of the same receipt, and after its end: longer than clocks may be apart, so
/// that the one is never taken for the other.
const TURN: std::time::Duration = std::time::Duration::from_mins(10);

const SCOPE: Scope = Scope::System("payments.send_refund");

/// What is known of a refund that was to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum End<'e> {
    /// The money went, and how that is known.
    Done(&'e str),
    /// It did not, and why.
    Failed(&'e str),
    /// Neither, and why.
    Unknown(&'e str),
}

/// Whether the provider would do a refund now.
enum Readiness {
    /// It would; so much is left of the payment before.
    Ready(i64),
    /// It will not, and why.
    Closed(String),
}

impl Service {
    /// Sends a refund; the job's handler.
    ///
    /// # Errors
    /// When it has to be tried again.
    pub async fn send_refund(&self, job: SendRefund, lease: Lease) -> Result<(), Failure> {
        let refund = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::refund::get(&mut conn, job.refund_id).await?
        };
        let Some(refund) = refund else { return Err(Failure::dead("there is no such refund")) };
        match refund.status {
            RefundStatus::Approved => {}
            // Whoever wrote this down is gone, and with it the answer.
            RefundStatus::Sent => {
                let why = "the process ended while it was being sent";
                return self.end_refund(refund.id, lease, End::Unknown(why)).await;
            }
            _ => return Ok(()),
        }
        let available_minor = match self.readiness(&refund).await {
            Ok(Readiness::Ready(available_minor)) => available_minor,
            Ok(Readiness::Closed(why)) => return self.give_up(refund.id, lease, &why).await,
            Err(failure) => return self.not_yet(refund.id, lease, failure).await,
        };
        self.crash.reach(CrashPoint::RefundTermsKnown).await;
        let Some(refund) = self.intend(refund.id, available_minor).await? else { return Ok(()) };
        self.crash.reach(CrashPoint::RefundIntended).await;
        let outcome = match call(&refund) {
            Ok(call) => self.ask("refund.send", &call, answer::made).await,
            Err(wrong) => return self.give_up(refund.id, lease, &wrong.to_string()).await,
        };
        self.crash.reach(CrashPoint::RefundAnswered).await;
        self.heed(&refund, lease, outcome).await
    }

    /// Asks the provider on which terms it would do the refund.
    async fn readiness(&self, refund: &Refund) -> Result<Readiness, Failure> {
        let call = match Call::refund_terms(&refund.provider_payment_id) {
            Ok(call) => call,
            Err(wrong) => return Ok(Readiness::Closed(wrong.to_string())),
        };
        match self.ask("refund.terms", &call, answer::terms).await {
            Outcome::Done(terms) => Ok(judged(refund, &terms)),
            Outcome::Refused(refusal) if is_temporary(refusal.kind) => Err(Failure::retry(refusal.reason)),
            Outcome::Refused(refusal) => Ok(Readiness::Closed(refusal.reason)),
            Outcome::NotSent { why, wait } => Err(Failure::retry_after(wait, why)),
            Outcome::Unknown(why) => Err(Failure::retry(why)),
        }
    }

    /// Writes down that the refund is being sent; none when somebody else has done so.
    async fn intend(&self, id: RefundId, available_minor: i64) -> Result<Option<Refund>, Failure> {
        let mut tx = self.db.begin(SCOPE).await?;
        let Some(books) = self.lock_refund(&mut tx, id).await? else { return Ok(None) };
        if books.refund.status != RefundStatus::Approved {
            return Ok(None);
        }
        // What became of it is told by what moved since it was sent, so nothing else may have moved shortly before.
        let since = self.world.now().minus(TURN);
        if store::refund::another_since(&mut tx, &books.refund, since).await? {
            return Err(Failure::postpone(
                TURN,
                "another refund of this money is under way, or was just now",
            ));
        }
        let status = books.refund.status.change_to(RefundStatus::Sent).map_err(Failure::dead)?;
        let sent_at = Some(self.world.now());
        let detail = "it is being sent".to_owned();
        let sent = Refund { status, sent_at, detail, available_minor: Some(available_minor), ..books.refund };
        store::refund::update(&mut tx, &sent).await?;
        tx.commit().await?;
        Ok(Some(sent))
    }

    /// Writes down what the provider answered.
    async fn heed(&self, refund: &Refund, lease: Lease, outcome: Outcome<()>) -> Result<(), Failure> {
        match outcome {
            Outcome::Done(()) => {
                self.end_refund(refund.id, lease, End::Done("the provider has done it")).await
            }
            Outcome::Unknown(why) => self.end_refund(refund.id, lease, End::Unknown(&why)).await,
            Outcome::NotSent { why, wait } => {
                self.stay(refund.id, &why).await?;
                self.not_yet(refund.id, lease, Failure::retry_after(wait, why)).await
            }
            Outcome::Refused(refusal) if is_temporary(refusal.kind) => {
                self.stay(refund.id, &refusal.reason).await?;
                self.not_yet(refund.id, lease, Failure::retry(refusal.reason)).await
            }
            Outcome::Refused(refusal) => self.give_up(refund.id, lease, &refusal.reason).await,
        }
    }

    /// The provider will not do it, and nothing moved.
    async fn give_up(&self, id: RefundId, lease: Lease, why: &str) -> Result<(), Failure> {
        self.end_refund(id, lease, End::Failed(why)).await
    }

    /// Nobody knows what came of it: from here on it is asked about.
    async fn lose_track(&self, tx: &mut Tx, books: &mut Books, why: &str) -> Result<(), Error> {
        let status = books.refund.status.change_to(RefundStatus::Unknown).map_err(Error::internal)?;
        books.refund.status = status;
        why.clone_into(&mut books.refund.detail);
        store::refund::update(tx, &books.refund).await?;
        let job = SettleRefund { refund_id: books.refund.id };
        let at = self.world.now().plus(FIRST_LOOK);
        Ok(jobs::push_at(tx, &self.world, books.refund.organization_id, &job, at).await?)
    }

    /// It did not leave, so that it may still be sent.
    async fn stay(&self, id: RefundId, why: &str) -> Result<(), Failure> {
        let mut tx = self.db.begin(SCOPE).await?;
        let Some(books) = self.lock_refund(&mut tx, id).await? else { return Ok(()) };
        let Ok(status) = books.refund.status.change_to(RefundStatus::Approved) else { return Ok(()) };
        let stays = Refund { status, detail: why.to_owned(), ..books.refund };
        store::refund::update(&mut tx, &stays).await?;
        Ok(tx.commit().await?)
    }

    /// Tries again, unless this was the last time.
    async fn not_yet(&self, id: RefundId, lease: Lease, failure: Failure) -> Result<(), Failure> {
        if lease.last {
            let why = format!("it could not be sent: {}", failure.cause);
            return self.give_up(id, lease, &why).await;
        }
        Err(failure)
    }

    /// Writes what is known of a refund that is not over, and ends the job, in one transaction.
    pub(super) async fn end_refund(&self, id: RefundId, lease: Lease, end: End<'_>) -> Result<(), Failure> {
        let mut tx = self.db.begin(SCOPE).await?;
        let Some(mut books) = self.lock_refund(&mut tx, id).await? else { return Ok(()) };
        if books.refund.status.is_pending() {
            match end {
                End::Done(how) => self.succeed(&mut tx, &mut books, how).await?,
                End::Failed(why) => self.fail(&mut tx, &mut books, why).await?,
                End::Unknown(why) => self.lose_track(&mut tx, &mut books, why).await?,
            }
        }
        lease.complete(&mut tx).await?;
        self.crash.reach(CrashPoint::RefundWritten).await;
        tx.commit().await?;
        self.crash.reach(CrashPoint::RefundCommitted).await;
        let status = books.refund.status.as_str();
        tracing::info!(refund = %id, status, detail = books.refund.detail, "a refund was looked after");
        Ok(())
    }
}

fn call(refund: &Refund) -> Result<Call, crate::base::Violations> {
    let amount = Money::new(refund.amount_minor, refund.currency);
    let wish = call::Refund {
        amount,
        reason: &refund.reason,
        notify_buyer: true,
        notify_merchant: false,
        payout: None,
    };
    Call::refund(&refund.provider_payment_id, &wish)
}

/// What the provider's terms mean for a refund.
fn judged(refund: &Refund, terms: &Terms) -> Readiness {
    let whole = refund.amount_minor == terms.original_minor;
    let way = if whole { terms.full } else { terms.partial };
    let why = match terms.refundable {
        Refundable::Yes => None,
        Refundable::Completed => Some("all of it was refunded before".to_owned()),
        Refundable::No => Some(format!("PayFast does not refund it: {}", terms.errors.join("; "))),
    };
    let short = terms.available_minor < refund.amount_minor;
    match (why, way) {
        (Some(why), _) => Readiness::Closed(why),
        (None, _) if short => {
            let left = Money::new(terms.available_minor, refund.currency);
            Readiness::Closed(format!("PayFast refunds only {left} of it"))
        }
        (None, Way::Source) => Readiness::Ready(terms.available_minor),
        (None, Way::BankPayout) => Readiness::Closed(
            "PayFast would only pay to a bank account, which the payer has to name there".to_owned(),
        ),
        (None, Way::Closed) => Readiness::Closed("PayFast does not refund this part of it".to_owned()),
    }
}

/// Refusals that are not about the refund: every call would be refused so.
pub(in crate::payments::service) const fn is_temporary(kind: RefusalKind) -> bool {
    matches!(kind, RefusalKind::Authorisation | RefusalKind::RateLimited)
}
