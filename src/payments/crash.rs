//! The points at which a process may die between the arrival of money and its effect.
//!
//! They have names, so that tests can have one die at each of them and see that what was begun is ended once. In
//! earnest nobody listens, and reaching a point does nothing.

use async_trait::async_trait;

use crate::db::words;

words! {
    /// A point at which a process may die.
    pub enum CrashPoint {
        /// A notification is stored; its sender has no answer yet.
        EventStored = "event_stored",
        /// A job has the notification; the provider was not asked whether it sent it.
        EventUnconfirmed = "event_unconfirmed",
        /// The provider has confirmed; nothing is written.
        EventConfirmed = "event_confirmed",
        /// The right to the effect is taken, in a transaction that is open.
        EffectTaken = "effect_taken",
        /// Everything of the effect is written, in a transaction that is open.
        EffectWritten = "effect_written",
        /// The effect is committed; the worker does not know.
        EffectCommitted = "effect_committed",
        /// A refund is approved; who approved it has no answer yet.
        RefundApproved = "refund_approved",
        /// The provider told the refund's terms; nothing is written.
        RefundTermsKnown = "refund_terms_known",
        /// It is written down that the refund is being sent; nothing has left.
        RefundIntended = "refund_intended",
        /// The provider has done it and said so; nothing is written.
        RefundAnswered = "refund_answered",
        /// The provider was asked what became of a refund and told it; nothing is written.
        RefundFoundOut = "refund_found_out",
        /// Everything of the refund's end is written, in a transaction that is open.
        RefundWritten = "refund_written",
        /// The refund's end is committed; the worker does not know.
        RefundCommitted = "refund_committed",
        /// It is written down that a stored card is being charged; nothing has left.
        ChargeIntended = "charge_intended",
        /// The provider has charged the card and said so; nothing is written.
        ChargeAnswered = "charge_answered",
        /// The provider was asked what became of a charge and told it; nothing is written.
        ChargeFoundOut = "charge_found_out",
    }
}

/// Hears that a point is reached.
#[async_trait]
pub trait Crash: Send + Sync + 'static {
    /// Returns when the process may go on; a test's does not where it has it die.
    async fn reach(&self, point: CrashPoint);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug)]
pub struct Never;

#[async_trait]
impl Crash for Never {
    async fn reach(&self, _: CrashPoint) {}
}
