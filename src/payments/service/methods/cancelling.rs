//! Having the provider end a token that nobody will charge again.
//!
//! The token travels sealed in the job, so that a card is removed at once and its token is not forgotten. A call that
//! was not answered is not repeated before the provider has said that the token is still good; ending it twice would
//! harm nobody, and would mail the buyer again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::base::OrganizationId;
use crate::db::{self, Scope, Tx};
use crate::jobs::{self, Failure, Job, Lease};
use crate::payments::model::{PaymentMethod, PaymentMethodId};
use crate::payments::payfast::api::answer::{Outcome, RefusalKind};
use crate::payments::payfast::api::call::Call;
use crate::payments::payfast::api::subscription::{self, State};
use crate::payments::store;

use super::super::Service;

/// Has the provider end a token.
#[derive(Debug, Serialize, Deserialize)]
pub struct CancelToken {
    /// Whose card it is.
    pub organization_id: OrganizationId,
    /// The card.
    pub payment_method_id: PaymentMethodId,
    /// Its token, sealed, in base64.
    sealed_token: String,
}

impl Job for CancelToken {
    const KIND: &'static str = "payments.cancel_token";
    // About two days; then an operator has to.
    const ATTEMPTS_MAX: u32 = 60;
}

const PURPOSE: &str = "payments.cancel_token";

impl Service {
    /// Has a token ended once the transaction commits.
    pub(super) async fn cancel_later(
        &self,
        tx: &mut Tx,
        method: &PaymentMethod,
        sealed: &[u8],
    ) -> Result<(), db::Error> {
        let job = CancelToken {
            organization_id: method.organization_id,
            payment_method_id: method.id,
            sealed_token: STANDARD.encode(sealed),
        };
        jobs::push(tx, &self.world, Some(method.organization_id), &job).await
    }

    /// Ends a token at the provider; the job's handler.
    ///
    /// # Errors
    /// When it has to be tried again, or can never succeed.
    pub async fn cancel_token(&self, job: CancelToken, lease: Lease) -> Result<(), Failure> {
        let sealed = STANDARD.decode(&job.sealed_token).map_err(Failure::dead)?;
        let token = self.open_token(job.payment_method_id, &sealed)?;
        // Somebody may have done it before, and the answer been lost.
        let ended = lease.attempt > 1 && self.has_ended(token.expose()).await?;
        if !ended {
            let call = Call::cancel(token.expose()).map_err(Failure::dead)?;
            match self.ask("method.cancel", &call, subscription::confirmed).await {
                Outcome::Done(()) => {}
                Outcome::Unknown(why) => return Err(Failure::retry(why)),
                Outcome::NotSent { why, wait } => return Err(Failure::retry_after(wait, why)),
                Outcome::Refused(refusal) if refusal.kind == RefusalKind::NotFound => {}
                // Not in a state for it: what is over cannot be ended.
                Outcome::Refused(refusal) => {
                    if !self.has_ended(token.expose()).await? {
                        return Err(Failure::retry(refusal.reason));
                    }
                }
            }
        }
        let mut tx = self.db.begin(Scope::System(PURPOSE)).await?;
        let (organization, id) = (job.organization_id, job.payment_method_id);
        store::method::forget_token(&mut tx, organization, id).await?;
        let entry = Caller::system(PURPOSE).entry("payments.cancel_token").of(organization);
        self.audit.record(&mut tx, entry.on("payment_method", id)).await?;
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Whether a token can no longer be charged, by the provider's word.
    async fn has_ended(&self, token: &str) -> Result<bool, Failure> {
        let call = Call::fetch(token).map_err(Failure::dead)?;
        match self.ask("method.find", &call, subscription::fetched).await {
            Outcome::Done(found) => Ok(matches!(found.state, State::Cancelled | State::Complete)),
            Outcome::Refused(refusal) if refusal.kind == RefusalKind::NotFound => Ok(true),
            Outcome::Refused(refusal) => Err(Failure::retry(refusal.reason)),
            Outcome::NotSent { why, wait } => Err(Failure::retry_after(wait, why)),
            Outcome::Unknown(why) => Err(Failure::retry(why)),
        }
    }
}
