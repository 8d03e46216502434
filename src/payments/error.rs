//! What this domain refuses, and in which words.

use std::time::Duration;

use crate::auth;
use crate::base::fault::{self, Code, Fault, Reason, Violation, Violations};
use crate::db;

/// Why something was not done. The text is what the caller reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to pay for.
    #[error(
        "The plan is free: every organisation has it until it buys another, so there is nothing to check out."
    )]
    PlanIsFree,
    /// The payment does not exist or is somebody else's: one answer for both.
    #[error("There is no such payment.")]
    PaymentNotFound,
    /// The invoice does not exist or is somebody else's: one answer for both.
    #[error("There is no such invoice.")]
    InvoiceNotFound,
    /// The invoice is paid, or was given up.
    #[error(
        "The invoice is no longer open, so there is nothing to pay; start a new checkout if you want to buy."
    )]
    InvoiceNotOpen,
    /// The provider says that money for the invoice is under way.
    #[error("A payment of this invoice is under way; wait for the provider's word before you pay again.")]
    PaymentUnderWay,
    /// The payment is over, so there is nothing to give up.
    #[error("The payment is {0}, so there is nothing to cancel.")]
    PaymentOver(&'static str),
    /// The law wants to know who buys for so much.
    #[error(
        "An invoice above R5 000 must name its recipient: give the billing profile a name and an address first."
    )]
    BillingDetailsRequired,
    /// Too many checkouts were started and not paid.
    #[error("Too many checkouts were started for this organisation; pay one of them, or wait a day.")]
    TooManyCheckouts,
    /// The provider's history was not had whole, so that nothing was compared.
    #[error("PayFast's history could not be read, and nothing was changed: {why}")]
    HistoryUnavailable {
        /// Why.
        why: String,
        /// When it makes sense to try again.
        wait: Duration,
    },
    /// There is no such difference.
    #[error("There is no such difference.")]
    DifferenceNotFound,
    /// The difference is repaired or explained.
    #[error("The difference is repaired or explained already.")]
    DifferenceClosed,
    /// Checkouts are switched off.
    #[error(
        "No checkouts can be started at the moment. What was paid is booked as ever; please try again later."
    )]
    CheckoutsClosed,
    /// Only for platform administrators.
    #[error("Only a platform administrator may do this.")]
    NotAnAdministrator,
    /// The profile changed since the etag was read.
    #[error("The billing profile was changed meanwhile; read it again and repeat the change.")]
    EtagMismatch,
    /// Fields of the request are wrong.
    #[error(transparent)]
    Invalid(#[from] Violations),
    /// Who calls may not, or names an organisation of others.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The idempotency key was refused.
    #[error(transparent)]
    Idempotency(#[from] crate::idempotency::Error),
    /// A fault of ours: amounts that do not fit together.
    #[error("Something went wrong on our side.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database refused.
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl Error {
    /// Marks a fault of ours, whose cause is logged and not told.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

/// A checkout of something that costs nothing.
pub static PLAN_IS_FREE: Reason = Reason::new(
    Code::FailedPrecondition,
    "PLAN_IS_FREE",
    "The plan costs nothing, so there is nothing to check out; choose a paid plan.",
);
/// A checkout of an invoice that is not open.
pub static INVOICE_NOT_OPEN: Reason = Reason::new(
    Code::FailedPrecondition,
    "INVOICE_NOT_OPEN",
    "The invoice is paid or was given up, so there is nothing to pay; start a new checkout to buy again.",
);
/// A checkout of an invoice for which money is under way.
pub static PAYMENT_UNDER_WAY: Reason = Reason::new(
    Code::FailedPrecondition,
    "PAYMENT_UNDER_WAY",
    "The provider says that money for this invoice is under way; wait for the outcome before paying again.",
);
/// A payment that is over cannot be cancelled.
pub static PAYMENT_OVER: Reason = Reason::new(
    Code::FailedPrecondition,
    "PAYMENT_OVER",
    "The payment has succeeded or has ended otherwise, so there is nothing to cancel; a paid one is refunded.",
);
/// A purchase above R5 000 by somebody without name or address.
pub static BILLING_DETAILS_REQUIRED: Reason = Reason::new(
    Code::FailedPrecondition,
    "BILLING_DETAILS_REQUIRED",
    "A tax invoice above R5 000 must name its recipient; set the name and address with UpdateBillingProfile.",
);
/// Too many unpaid checkouts.
pub static TOO_MANY_CHECKOUTS: Reason = Reason::new(
    Code::ResourceExhausted,
    "TOO_MANY_CHECKOUTS",
    "The organisation has started too many checkouts within a day without paying them; pay one or wait.",
);

/// The provider's history cannot be had.
pub static HISTORY_UNAVAILABLE: Reason = Reason::new(
    Code::Unavailable,
    "HISTORY_UNAVAILABLE",
    "PayFast's history could not be had or read, and nothing was changed; repeat it after the delay in RetryInfo.",
);
/// A difference that is not open.
pub static DIFFERENCE_CLOSED: Reason = Reason::new(
    Code::FailedPrecondition,
    "DIFFERENCE_CLOSED",
    "The difference was repaired or explained before; only an open one is explained.",
);
/// Checkouts are switched off.
pub static CHECKOUTS_CLOSED: Reason = Reason::new(
    Code::FailedPrecondition,
    "CHECKOUTS_CLOSED",
    "The platform's operators have closed checkouts for a while; what was paid is booked as ever.",
);

/// What this domain answers.
pub static REASONS: &[&Reason] = &[
    &PLAN_IS_FREE,
    &INVOICE_NOT_OPEN,
    &PAYMENT_UNDER_WAY,
    &PAYMENT_OVER,
    &BILLING_DETAILS_REQUIRED,
    &TOO_MANY_CHECKOUTS,
    &HISTORY_UNAVAILABLE,
    &DIFFERENCE_CLOSED,
    &CHECKOUTS_CLOSED,
];

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::PlanIsFree => &PLAN_IS_FREE,
            Self::InvoiceNotOpen => &INVOICE_NOT_OPEN,
            Self::PaymentUnderWay => &PAYMENT_UNDER_WAY,
            Self::PaymentOver(_) => &PAYMENT_OVER,
            Self::BillingDetailsRequired => &BILLING_DETAILS_REQUIRED,
            Self::HistoryUnavailable { .. } => &HISTORY_UNAVAILABLE,
            Self::DifferenceClosed => &DIFFERENCE_CLOSED,
            Self::CheckoutsClosed => &CHECKOUTS_CLOSED,
            Self::DifferenceNotFound => &fault::NOT_FOUND,
            Self::PaymentNotFound | Self::InvoiceNotFound => &fault::NOT_FOUND,
            Self::TooManyCheckouts => &TOO_MANY_CHECKOUTS,
            Self::NotAnAdministrator => &fault::PERMISSION_DENIED,
            Self::EtagMismatch => &fault::ETAG_MISMATCH,
            Self::Invalid(violations) => violations.reason(),
            Self::Auth(error) => error.reason(),
            Self::Idempotency(error) => error.reason(),
            Self::Internal(_) => &fault::INTERNAL,
            Self::Db(error) => error.reason(),
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Self::Invalid(violations) => violations.as_slice(),
            Self::Auth(error) => error.violations(),
            _ => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyCheckouts => Some(Duration::from_hours(1)),
            Self::HistoryUnavailable { wait, .. } => Some(*wait),
            Self::Auth(error) => error.retry_after(),
            Self::Idempotency(error) => error.retry_after(),
            Self::Db(error) => error.retry_after(),
            _ => None,
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Auth(error) => error.metadata(),
            _ => Vec::new(),
        }
    }
}
