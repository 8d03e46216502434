//! Finding out what became of a refund that was sent and not answered. It is asked about, less and less often, and
//! never sent again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::Date;

use crate::base::Timestamp;
use crate::db::{self, Scope};
use crate::jobs::{Failure, Job, Lease};
use crate::payments::crash::CrashPoint;
use crate::payments::model::refund::{ABSENT_LOOKS_MIN, Evidence, Finding, Movement};
use crate::payments::model::{AlarmKind, Refund, RefundId, RefundStatus};
use crate::payments::payfast::api::call::{Call, Page, Period};
use crate::payments::payfast::api::history;
use crate::payments::payfast::api::refund as answer;
use crate::payments::store;

use super::Service;
use super::booking::alarm;
use super::sending::End;

/// Finds out what became of a refund.
#[derive(Debug, Serialize, Deserialize)]
pub struct SettleRefund {
    /// Which.
    pub refund_id: RefundId,
}

impl Job for SettleRefund {
    const KIND: &'static str = "payments.settle_refund";
    // After five minutes, an hour, and once a day for five days. Then an operator has to.
    const ATTEMPTS_MAX: u32 = 7;
}

/// When the provider is asked first.
pub(super) const FIRST_LOOK: Duration = Duration::from_mins(5);
/// When the second time, after the first.
const SECOND_LOOK: Duration = Duration::from_hours(1);
/// When again, after that.
const LATER_LOOK: Duration = Duration::from_hours(24);
/// How far the days of South Africa, which the history goes by, are ahead of UTC.
const AHEAD: Duration = Duration::from_hours(2);
/// How much earlier than it was sent the history is read from.
const BEFORE: Duration = Duration::from_hours(1);

const SCOPE: Scope = Scope::System("payments.settle_refund");

impl Service {
    /// Finds out what became of a refund; the job's handler.
    ///
    /// # Errors
    /// When it is not known yet.
    pub async fn settle_refund(&self, job: SettleRefund, lease: Lease) -> Result<(), Failure> {
        let refund = {
            let mut conn = self.db.conn(SCOPE).await?;
            store::refund::get(&mut conn, job.refund_id).await?
        };
        let Some(refund) = refund.filter(|refund| refund.status == RefundStatus::Unknown) else {
            return Ok(());
        };
        let evidence = self.investigate(&refund).await?;
        let finding = refund.weigh(&evidence);
        self.crash.reach(CrashPoint::RefundFoundOut).await;
        match finding {
            Finding::Done => {
                let how = "the provider has done it, as was found out afterwards";
                self.end_refund(refund.id, lease, End::Done(how)).await
            }
            Finding::Absent if lease.attempt >= ABSENT_LOOKS_MIN => {
                let why = "the provider knows of no such refund, a day after it was sent";
                self.end_refund(refund.id, lease, End::Failed(why)).await
            }
            Finding::Absent => {
                self.look_again(&refund, lease, "the provider knows of no such refund yet").await
            }
            Finding::Unclear(why) => self.look_again(&refund, lease, why).await,
        }
    }

    /// Asks all that can be asked. What is not answered is missing.
    async fn investigate(&self, refund: &Refund) -> Result<Evidence, db::Error> {
        let payment = refund.provider_payment_id.as_str();
        let mut evidence = Evidence::default();
        if let Ok(call) = Call::refund_terms(payment) {
            let terms = self.ask("refund.find", &call, answer::terms).await.done();
            evidence.available_minor = terms.map(|terms| terms.available_minor);
        }
        if let Ok(call) = Call::refunds(payment) {
            let listed = self.ask("refund.find", &call, answer::movements).await.done();
            let moved = |moved: answer::Movement| Movement { amount_minor: moved.amount_minor, at: moved.at };
            evidence.movements = listed.map(|listed| listed.movements.into_iter().map(moved).collect());
        }
        evidence.history = self.refunds_in_history(refund).await;
        let mut conn = self.db.conn(SCOPE).await?;
        evidence.alike = store::refund::alike(&mut conn, refund).await?;
        Ok(evidence)
    }

    /// What went back by the account's history since a little before a refund was sent, of the same payment; none when
    /// the history was not had whole.
    async fn refunds_in_history(&self, refund: &Refund) -> Option<Vec<Movement>> {
        let sent_at = refund.sent_at?;
        let (from, to) = (local_day(sent_at.minus(BEFORE)), local_day(self.world.now()));
        let mut page = Page::default();
        let mut found = Vec::new();
        loop {
            let call = Call::history(Period::Range { from, to }, page).ok()?;
            let rows = self.ask("refund.history", &call, history::rows).await.done()?;
            let full = u32::try_from(rows.len()).is_ok_and(|count| count >= page.limit);
            let of_payment =
                rows.into_iter().filter(|row| row.provider_payment_id == refund.provider_payment_id);
            found.extend(of_payment.map(|row| Movement { amount_minor: row.gross_minor, at: row.at }));
            if !full {
                return Some(found);
            }
            page.offset = page.offset.checked_add(page.limit)?;
        }
    }

    /// Asks again later; after the last time an operator is told, and the job stays among the dead ones until somebody
    /// has it tried again.
    async fn look_again(&self, refund: &Refund, lease: Lease, why: &str) -> Result<(), Failure> {
        if !lease.last {
            let delay = if lease.attempt == 1 { SECOND_LOOK } else { LATER_LOOK };
            return Err(Failure::retry_after(delay, why));
        }
        let mut tx = self.db.begin(SCOPE).await?;
        self.raise(&mut tx, alarm(AlarmKind::RefundUnknown, refund, why)).await?;
        tx.commit().await?;
        Err(Failure::dead(why))
    }
}

/// The day by South Africa's clocks.
fn local_day(at: Timestamp) -> Date {
    at.plus(AHEAD).date()
}
