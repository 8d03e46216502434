//! Looking at runs and differences, and saying why a difference is as it is. For platform administrators.

use crate::audit::Risk;
use crate::auth::Caller;
use crate::base::Violations;
use crate::db::Scope;
use crate::idempotency::{self, Claim, RequestKey};
use crate::payments::Error;
use crate::payments::model::Payment;
use crate::payments::model::reconciliation::{
    Chargeback, Difference, DifferenceId, DifferenceState, Reconciliation,
};
use crate::payments::service::reading::{Cursor, administrator};
use crate::payments::{Service, store};

/// The longest explanation, in characters.
const EXPLANATION_CHARS_MAX: usize = 500;
const SCOPE: Scope = Scope::System("payments.list_reconciliations");

impl Service {
    /// Runs, the newest first.
    pub async fn list_reconciliations(
        &self,
        caller: &Caller,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Reconciliation>, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(SCOPE).await?;
        Ok(store::reconciliation::page(&mut conn, Cursor::place(after), limit).await?)
    }

    /// Differences, the newest first.
    pub async fn list_differences(
        &self,
        caller: &Caller,
        state: Option<DifferenceState>,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Difference>, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(SCOPE).await?;
        let after = Cursor::place(after);
        Ok(match state {
            None => store::reconciliation::differences(&mut conn, after, limit).await?,
            Some(state) => store::reconciliation::differences_in(&mut conn, state, after, limit).await?,
        })
    }

    /// Says why an open difference is as it is. The books stay as they are.
    ///
    /// # Errors
    /// [`Error::DifferenceNotFound`], [`Error::DifferenceClosed`], [`Error::Invalid`].
    pub async fn explain_difference(
        &self,
        caller: &Caller,
        id: DifferenceId,
        explanation: &str,
        key: Option<&RequestKey>,
    ) -> Result<Difference, Error> {
        administrator(caller)?;
        let explanation = explanation.trim();
        let mut v = Violations::new();
        let fits = (1..=EXPLANATION_CHARS_MAX).contains(&explanation.chars().count())
            && !explanation.chars().any(char::is_control);
        let says = format!("must be one line of 1 to {EXPLANATION_CHARS_MAX} characters");
        v.check(fits, "explanation", says);
        v.finish()?;
        let mut tx = self.db.begin(Scope::System("payments.explain_difference")).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(answer) => return Ok(answer),
            Claim::New(slot) => slot,
        };
        let before =
            store::reconciliation::difference(&mut tx, id).await?.ok_or(Error::DifferenceNotFound)?;
        let explained = store::reconciliation::explain(&mut tx, id, explanation, self.world.now()).await?;
        let explained = explained.ok_or(Error::DifferenceClosed)?;
        let entry = caller.entry("payments.explain_difference").on("reconciliation_difference", id);
        self.audit.record(&mut tx, entry.risk(Risk::Medium).changed(&before, &explained)).await?;
        slot.store(&mut tx, &explained).await?;
        tx.commit().await?;
        Ok(explained)
    }

    /// What card schemes took back of a payment that the caller was shown.
    pub async fn chargebacks(&self, payment: &Payment) -> Result<Vec<Chargeback>, Error> {
        let mut conn = self.db.conn(Scope::System("payments.chargebacks")).await?;
        Ok(store::chargeback::of_payment(&mut conn, payment.id).await?)
    }
}
