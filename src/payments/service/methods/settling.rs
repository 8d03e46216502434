//! Finding out what became of a charge that was not answered, or was and of which no notification came. It is asked
//! about, less and less often, and never made again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::db::Scope;
use crate::jobs::{Failure, Job, Lease};
use crate::payments::crash::CrashPoint;
use crate::payments::model::method::{
    ABSENT_LOOKS_MIN, Charge, ChargeEvidence, ChargeFinding, ChargeStatus, LastPayment,
};
use crate::payments::model::{AlarmKind, Payment, PaymentId};
use crate::payments::payfast::api::answer::{Outcome, RefusalKind};
use crate::payments::payfast::api::call::Call;
use crate::payments::payfast::api::charge::{self, CardPayment};
use crate::payments::payfast::verdict::PaymentStatus as Said;
use crate::payments::store;
use crate::payments::store::alarm::Alarm;

use super::super::Service;
use super::charging::End;

/// Finds out what became of a charge.
#[derive(Debug, Serialize, Deserialize)]
pub struct SettleCharge {
    /// Of which payment.
    pub payment_id: PaymentId,
}

impl Job for SettleCharge {
    const KIND: &'static str = "payments.settle_charge";
    // After five minutes, an hour, and once a day for five days. Then an operator has to.
    const ATTEMPTS_MAX: u32 = 7;
}

/// When the provider is asked first about a charge that was not answered.
pub(super) const FIRST_LOOK: Duration = Duration::from_mins(5);
/// How soon the notification of a charge that was answered should have come.
pub(super) const CONFIRMED_WITHIN: Duration = Duration::from_hours(1);
/// When it is asked the second time, after the first.
const SECOND_LOOK: Duration = Duration::from_hours(1);
/// When again, after that.
const LATER_LOOK: Duration = Duration::from_hours(24);
/// How much earlier than it was sent the history is read from.
const BEFORE: Duration = Duration::from_hours(1);

const SCOPE: Scope = Scope::System("payments.settle_charge");

impl Service {
    /// Finds out what became of a charge; the job's handler.
    ///
    /// # Errors
    /// When it is not known yet.
    pub async fn settle_charge(&self, job: SettleCharge, lease: Lease) -> Result<(), Failure> {
        let mut conn = self.db.conn(SCOPE).await?;
        let charge = store::method::charge(&mut conn, job.payment_id).await?;
        let payment = store::payment::get(&mut conn, job.payment_id).await?;
        let booked = !store::receipt::of_payment(&mut conn, job.payment_id).await?.is_empty();
        drop(conn);
        let (Some(charge), Some(payment)) = (charge, payment) else {
            return Err(Failure::dead("there is no such charge"));
        };
        match charge.status {
            ChargeStatus::Unknown if booked => {
                return self.end_charge(&charge, &lease, End::Made(None)).await;
            }
            ChargeStatus::Unknown | ChargeStatus::Accepted if !booked => {}
            _ => return Ok(()),
        }
        let finding = self.look_for(&charge, &payment).await?.weigh();
        self.crash.reach(CrashPoint::ChargeFoundOut).await;
        let unknown = charge.status == ChargeStatus::Unknown;
        match finding {
            ChargeFinding::Made(id) if unknown => self.end_charge(&charge, &lease, End::Made(id)).await,
            ChargeFinding::Declined if unknown => {
                let why = "the bank refused the charge, as was found out afterwards".to_owned();
                self.end_charge(&charge, &lease, End::Failed(why)).await
            }
            ChargeFinding::Absent if unknown && lease.attempt >= ABSENT_LOOKS_MIN => {
                let why = "the provider knows of no such charge, a day after it was sent".to_owned();
                self.end_charge(&charge, &lease, End::Failed(why)).await
            }
            _ if unknown => {
                let why = "nobody knows what became of the charge";
                self.look_for_it_again(&charge, lease, AlarmKind::ChargeUnknown, why).await
            }
            _ => {
                let why = "the provider charged the card, and no notification came";
                self.look_for_it_again(&charge, lease, AlarmKind::ChargeUnconfirmed, why).await
            }
        }
    }

    /// Asks all that can be asked. What is not answered is missing.
    async fn look_for(&self, charge: &Charge, payment: &Payment) -> Result<ChargeEvidence, Failure> {
        let reference = payment.id.to_string();
        let since = charge.sent_at.unwrap_or(charge.created_at).minus(BEFORE);
        let rows = self
            .in_history("charge.history", since, |row| {
                row.reference == reference && row.gross_minor == payment.amount_minor
            })
            .await;
        let history = rows.map(|rows| rows.into_iter().next().map(|row| row.provider_payment_id));
        let last = match self.token_of(charge).await? {
            Some(token) => self.last_payment(token.expose(), &reference).await,
            // It was ended since, so that the history alone tells.
            None => Some(LastPayment::Other),
        };
        Ok(ChargeEvidence { history, last })
    }

    async fn token_of(&self, charge: &Charge) -> Result<Option<crate::base::Secret<String>>, Failure> {
        let mut tx = self.db.begin(SCOPE).await?;
        let found = store::method::lock(&mut tx, charge.organization_id, charge.payment_method_id).await?;
        let Some(method) = found else { return Ok(None) };
        match store::method::token(&mut tx, &method).await? {
            Some(sealed) => Ok(Some(self.open_token(method.id, &sealed)?)),
            None => Ok(None),
        }
    }

    /// What the provider tells of the last payment by a token; none when it does not answer.
    async fn last_payment(&self, token: &str, reference: &str) -> Option<LastPayment> {
        let call = Call::query_token(token).ok()?;
        match self.ask("charge.find", &call, charge::queried).await {
            Outcome::Done(told) => Some(of(told, reference)),
            Outcome::Refused(refusal) if refusal.kind == RefusalKind::NotFound => Some(LastPayment::Other),
            _ => None,
        }
    }

    /// Asks again later; after the last time an operator is told, and the job stays among the dead ones until somebody
    /// has it tried again.
    async fn look_for_it_again(
        &self,
        charge: &Charge,
        lease: Lease,
        kind: AlarmKind,
        why: &str,
    ) -> Result<(), Failure> {
        if !lease.last {
            let delay = if lease.attempt == 1 { SECOND_LOOK } else { LATER_LOOK };
            return Err(Failure::retry_after(delay, why));
        }
        let alarm = Alarm {
            kind,
            dedupe_key: charge.payment_id.to_string(),
            organization_id: Some(charge.organization_id),
            subject: charge.payment_id.to_string(),
            detail: why.to_owned(),
        };
        let mut tx = self.db.begin(SCOPE).await?;
        self.raise(&mut tx, alarm).await?;
        tx.commit().await?;
        Err(Failure::dead(why))
    }
}

fn of(told: CardPayment, reference: &str) -> LastPayment {
    if told.reference.as_deref() != Some(reference) {
        return LastPayment::Other;
    }
    match told.status {
        Said::Complete => LastPayment::Made(told.provider_payment_id),
        Said::Failed => LastPayment::Declined,
        Said::Cancelled | Said::Pending | Said::Unknown(_) => LastPayment::UnderWay,
    }
}
