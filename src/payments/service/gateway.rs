//! Asking the provider's API: written down, sent, written down, and only then read.
//!
//! A call is written down before it leaves and its answer before it means anything, so that whatever is later believed
//! of the provider can be held against what it said. No transaction is open while it is asked.

use std::time::Duration;

use crate::db::{self, Json, Scope};
use crate::payments::payfast::api::answer::{Outcome, RawAnswer, Unanswered};
use crate::payments::payfast::api::call::Call;
use crate::payments::store::answer::{self, AnswerId, Question};

use super::Service;

/// How long calls and answers are kept: for longer than a buyer may dispute a payment at their bank.
const ANSWERS_KEPT: Duration = Duration::from_hours(24 * 550);
/// When to ask again after the call could not be written down.
const WRITE_WAIT: Duration = Duration::from_secs(30);

const SCOPE: Scope = Scope::System("payments.ask");

impl Service {
    /// Asks the provider's API, once, for the purpose named, and reads the answer with `decode`, which belongs to the
    /// call. What cannot be written down is not sent; an answer that cannot be is not believed.
    pub async fn ask<T>(
        &self,
        purpose: &'static str,
        call: &Call,
        decode: impl FnOnce(&RawAnswer) -> Outcome<T>,
    ) -> Outcome<T> {
        let id = match self.question(purpose, call).await {
            Ok(id) => id,
            Err(error) => {
                tracing::error!(error = %error.chain(), purpose, "a call could not be written down and was not sent");
                let why = "the call could not be written down".to_owned();
                return Outcome::NotSent { why, wait: WRITE_WAIT };
            }
        };
        let answered = self.transport.send(call).await;
        let stored = self.answer(id, call, &answered).await;
        let outcome = match (answered, stored) {
            (Err(unanswered), _) => unanswered.into(),
            (Ok(answer), Ok(())) => decode(&answer),
            (Ok(_), Err(error)) => {
                tracing::error!(error = %error.chain(), purpose, "an answer could not be written down");
                Outcome::Unknown("the answer could not be written down".to_owned())
            }
        };
        tracing::info!(
            purpose,
            endpoint = call.endpoint().as_str(),
            outcome = outcome.word(),
            "PayFast was asked"
        );
        outcome
    }

    /// Deletes calls and answers that have had their time, at most `limit`, and tells how many.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn prune_answers(&self, limit: i64) -> Result<u64, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let deleted = answer::prune(&mut tx, self.world.now().minus(ANSWERS_KEPT), limit).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    async fn question(&self, purpose: &'static str, call: &Call) -> Result<AnswerId, db::Error> {
        let question = Question {
            id: self.world.id(),
            endpoint: call.endpoint(),
            purpose,
            subject: call.subject().to_owned(),
            parameters: Json(call.parameters()),
            asked_at: self.world.now(),
        };
        let mut tx = self.db.begin(SCOPE).await?;
        answer::ask(&mut tx, &question).await?;
        tx.commit().await?;
        Ok(question.id)
    }

    async fn answer(
        &self,
        id: AnswerId,
        call: &Call,
        answered: &Result<RawAnswer, Unanswered>,
    ) -> Result<(), db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let now = self.world.now();
        match answered {
            Ok(answer) => answer::answered(&mut tx, id, &call.told(answer), now).await?,
            Err(why) => answer::unanswered(&mut tx, id, &why.to_string(), now).await?,
        }
        tx.commit().await
    }
}
