//! What a notification about a stored card does: it brings the token, or says that there is none any more.

use crate::auth::Caller;
use crate::db::Tx;
use crate::jobs::Failure;
use crate::payments::model::settlement::Word;
use crate::payments::model::{
    AlarmKind, EventId, EventStatus, PaymentMethod, PaymentMethodId, PaymentMethodStatus,
};
use crate::payments::payfast::api::call::Call;
use crate::payments::payfast::itn::{Itn, TOKEN_FIELD};
use crate::payments::payfast::verdict::{self, Facts};
use crate::payments::store;

use super::super::Service;
use super::super::settlement::{Outcome, PURPOSE, alarm};
use super::{SET_UP_MINOR, about};

impl Service {
    /// The effect of a notification that moves no money and is about a stored card; none when it is about none.
    pub(in crate::payments::service) async fn about_method(
        &self,
        tx: &mut Tx,
        event: EventId,
        itn: &Itn,
        facts: &Facts,
    ) -> Result<Option<Outcome>, Failure> {
        let id = facts.payment.as_deref().and_then(|id| id.parse::<PaymentMethodId>().ok());
        let (Some(id), Some(word)) = (id, facts.word()) else { return Ok(None) };
        let Some(home) = store::method::organization_of(tx, id).await? else { return Ok(None) };
        let refused = |kind, why: &str| {
            let outcome = Outcome::new(EventStatus::Refused, format!("{why}; no card was stored"));
            Ok(Some(outcome.alarmed(alarm(kind, facts, None, why))))
        };
        let token = itn.text(TOKEN_FIELD).filter(|token| Call::fetch(token).is_ok());
        if word == Word::Complete {
            // The effect is not taken: another notification about the same card may still have it.
            if let Err(refusal) = verdict::compare_amount(facts, Some(SET_UP_MINOR)) {
                return refused(AlarmKind::AmountDiffers, &refusal.to_string());
            }
            if token.is_none() {
                return refused(AlarmKind::NotificationRefused, "the token is missing");
            }
        }
        store::profile::lock(tx, home, self.world.now()).await?;
        let method = store::method::lock(tx, home, id).await?.ok_or(crate::db::Error::NotFound)?;
        if word == Word::Cancelled && !self.is_kept_by(tx, &method, token).await? {
            // A form that was posted twice brings two tokens, and we end the second. The effect is not taken: the end
            // of the card's own token is still to be heard.
            let detail = "another token than the card's has ended; the card stays";
            return Ok(Some(Outcome::new(EventStatus::Ignored, detail)));
        }
        let key = facts.effect_key();
        if !store::event::take_effect(tx, &key, word.as_str(), event, self.world.now()).await? {
            return Ok(Some(Outcome::new(EventStatus::Ignored, "this effect has happened already")));
        }
        match (word, token) {
            (Word::Complete, Some(token)) => self.keep_card(tx, method, token).await.map(Some),
            (Word::Cancelled, _) => self.lose_card(tx, method).await.map(Some),
            _ => Ok(Some(Outcome::new(EventStatus::Ignored, "the card is not stored yet"))),
        }
    }

    /// Whether this is the token of the card, or the card has none.
    async fn is_kept_by(
        &self,
        tx: &mut Tx,
        method: &PaymentMethod,
        token: Option<&str>,
    ) -> Result<bool, Failure> {
        let Some(sealed) = store::method::token(tx, method).await? else { return Ok(true) };
        Ok(token == Some(self.open_token(method.id, &sealed)?.expose().as_str()))
    }

    /// Stores the token. What nobody waits for any more is ended at the provider: a card that was removed meanwhile,
    /// and the second token of a form that was posted twice.
    async fn keep_card(&self, tx: &mut Tx, before: PaymentMethod, token: &str) -> Result<Outcome, Failure> {
        let sealed = self.seal_token(before.id, token)?;
        if before.status != PaymentMethodStatus::Pending {
            self.cancel_later(tx, &before, &sealed).await?;
            let detail =
                format!("the payment method is {} already; the token is given up", before.status.as_str());
            return Ok(Outcome::new(EventStatus::Applied, detail));
        }
        let now = self.world.now();
        let after = PaymentMethod {
            status: before.status.change_to(PaymentMethodStatus::Active).map_err(Failure::dead)?,
            // The first one is preferred until somebody chooses.
            is_default: !store::method::has_default(tx, before.organization_id).await?,
            updated_at: now,
            activated_at: Some(now),
            ..before.clone()
        };
        store::method::activate(tx, &after, sealed).await?;
        let entry = about(Caller::system(PURPOSE).entry("payments.activate_payment_method"), &after);
        self.audit.record(tx, entry.changed(&before, &after)).await?;
        Ok(Outcome::new(EventStatus::Applied, "the card is stored"))
    }

    /// The buyer or the provider ended the token, or we did.
    async fn lose_card(&self, tx: &mut Tx, before: PaymentMethod) -> Result<Outcome, Failure> {
        let Ok(after) = before.clone().removed(self.world.now()) else {
            return Ok(Outcome::new(EventStatus::Ignored, "the payment method is removed already"));
        };
        store::method::update(tx, &after).await?;
        store::method::forget_token(tx, after.organization_id, after.id).await?;
        let entry = about(Caller::system(PURPOSE).entry("payments.lose_payment_method"), &after);
        self.audit.record(tx, entry.changed(&before, &after)).await?;
        Ok(Outcome::new(EventStatus::Applied, "the provider keeps the card no longer; it is removed"))
    }
}
