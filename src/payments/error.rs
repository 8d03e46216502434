//! What this domain refuses, and in which words.

use std::time::Duration;

use crate::auth;
use crate::base::Money;
use crate::base::fault::{self, Code, Fault, Reason, Violation, Violations};
use crate::db;
use crate::jobs::Failure;

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
    /// Less is due than the provider takes.
    #[error("PayFast takes no payment of less than R5.00, and less than that is due on the invoice.")]
    PaymentTooSmall,
    /// The law wants to know who buys for so much.
    #[error(
        "An invoice above R5 000 must name its recipient: give the billing profile a name and an address first."
    )]
    BillingDetailsRequired,
    /// The credit note does not exist or is somebody else's: one answer for both.
    #[error("There is no such credit note.")]
    CreditNoteNotFound,
    /// Only a draft is issued.
    #[error("The invoice is {0}, not a draft, so it cannot be issued.")]
    InvoiceNotDraft(&'static str),
    /// What was issued is not made undone.
    #[error("The invoice was issued, so it cannot be void: take it back with CreateCreditNote.")]
    InvoiceIssued,
    /// What was never issued is nobody's debt.
    #[error("The invoice was not issued, so there is nothing to write off: void it.")]
    InvoiceNotIssued,
    /// What was not issued has no document.
    #[error("The invoice was not issued, so there is no document of it yet.")]
    NoDocument,
    /// The invoice is over.
    #[error("The invoice is {0}, so there is nothing to give up.")]
    InvoiceClosed(&'static str),
    /// Nothing can be taken off an invoice that was not issued, or was given up.
    #[error("The invoice is {0}: a credit note takes from one that was issued and is open or paid.")]
    InvoiceNotCreditable(&'static str),
    /// More than is left of the invoice.
    #[error("The credit is more than is left of the invoice: {0}.")]
    CreditExceedsInvoice(Money),
    /// Too many checkouts were started and not paid.
    #[error("Too many checkouts were started for this organisation; pay one of them, or wait a day.")]
    TooManyCheckouts,
    /// The stored card does not exist, was removed or is somebody else's: one answer for all.
    #[error("There is no such payment method.")]
    PaymentMethodNotFound,
    /// The stored card cannot be charged or preferred.
    #[error("The payment method is {0}, so it cannot be used; add another with CreatePaymentMethod.")]
    PaymentMethodNotActive(&'static str),
    /// The organisation keeps as many cards as it may.
    #[error("The organisation has 20 payment methods, which is the most; remove one first.")]
    TooManyPaymentMethods,
    /// There is no such refund.
    #[error("There is no such refund.")]
    RefundNotFound,
    /// There is no such notification.
    #[error("There is no such notification.")]
    EventNotFound,
    /// No money came, or all of it went back.
    #[error("There is nothing to refund: no money came for it, or all of it went back or is about to.")]
    NothingToRefund,
    /// More is asked for than is left.
    #[error("Only {0} is left to refund.")]
    RefundTooLarge(Money),
    /// Who wants the refund has to do with whose money it is.
    #[error("You have to do with this organisation or paid yourself, so others must see to its refunds.")]
    OwnOrganization,
    /// Who proposed a refund also decides about it.
    #[error("You proposed this refund yourself; somebody else must decide about it.")]
    SamePerson,
    /// The refund was decided about before.
    #[error("The refund is {0}, so there is nothing to decide.")]
    RefundDecided(&'static str),
    /// The notification had its effect.
    #[error("The notification had its effect already, so there is nothing to apply again.")]
    EventApplied,
    /// What is in quarantine is still not signed by the provider.
    #[error("Its signature is still missing or wrong, so it stays in quarantine.")]
    SignatureStillWrong,
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
    /// PayFast keeps no cards for an account without a passphrase.
    #[error("Cards cannot be stored here: the platform's account at PayFast has no passphrase.")]
    CardsNotKept,
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

/// In a job a refusal is for good, and the database may answer another time.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Db(error) => error.into(),
            Error::Internal(cause) => Self::dead(cause),
            error => Self::dead(error),
        }
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
/// An invoice on which less is due than the provider takes.
pub static PAYMENT_TOO_SMALL: Reason = Reason::new(
    Code::FailedPrecondition,
    "PAYMENT_TOO_SMALL",
    "Less is due on the invoice than PayFast takes, which is R5.00; it is credited, or paid otherwise.",
);
/// A purchase above R5 000 by somebody without name or address.
pub static BILLING_DETAILS_REQUIRED: Reason = Reason::new(
    Code::FailedPrecondition,
    "BILLING_DETAILS_REQUIRED",
    "A tax invoice above R5 000 must name its recipient; set the name and address with UpdateBillingProfile.",
);
/// An invoice that is no draft was to be issued.
pub static INVOICE_NOT_DRAFT: Reason = Reason::new(
    Code::FailedPrecondition,
    "INVOICE_NOT_DRAFT",
    "The invoice was issued or given up, so it cannot be issued; write another with CreateInvoice.",
);
/// An invoice that was issued was to be void.
pub static INVOICE_ISSUED: Reason = Reason::new(
    Code::FailedPrecondition,
    "INVOICE_ISSUED",
    "An invoice that was issued keeps its number and cannot be void; take it back with CreateCreditNote.",
);
/// An invoice that was never issued has no document, and is not written off.
pub static INVOICE_NOT_ISSUED: Reason = Reason::new(
    Code::FailedPrecondition,
    "INVOICE_NOT_ISSUED",
    "Only an invoice that was issued has a document, and can be written off; VoidInvoice gives up one that was not.",
);
/// An invoice that is over was to be given up.
pub static INVOICE_CLOSED: Reason = Reason::new(
    Code::FailedPrecondition,
    "INVOICE_CLOSED",
    "The invoice is paid or was given up before, so there is nothing to give up.",
);
/// A credit note on an invoice from which nothing can be taken.
pub static INVOICE_NOT_CREDITABLE: Reason = Reason::new(
    Code::FailedPrecondition,
    "INVOICE_NOT_CREDITABLE",
    "A credit note takes from an invoice that was issued and is open or paid; give up any other with VoidInvoice.",
);
/// A credit note that takes more than there is.
pub static CREDIT_EXCEEDS_INVOICE: Reason = Reason::new(
    Code::FailedPrecondition,
    "CREDIT_EXCEEDS_INVOICE",
    "All credit notes of an invoice together take at most its total, in its currency; credit what is left of it.",
);
/// Too many unpaid checkouts.
pub static TOO_MANY_CHECKOUTS: Reason = Reason::new(
    Code::ResourceExhausted,
    "TOO_MANY_CHECKOUTS",
    "The organisation has started too many checkouts within a day without paying them; pay one or wait.",
);
/// A stored card that cannot be used.
pub static PAYMENT_METHOD_NOT_ACTIVE: Reason = Reason::new(
    Code::FailedPrecondition,
    "PAYMENT_METHOD_NOT_ACTIVE",
    "The stored card is not confirmed yet or has expired; wait for the provider, or add another with \
     CreatePaymentMethod.",
);
/// Too many stored cards.
pub static TOO_MANY_PAYMENT_METHODS: Reason = Reason::new(
    Code::FailedPrecondition,
    "TOO_MANY_PAYMENT_METHODS",
    "An organisation keeps at most 20 payment methods, those that are not confirmed among them; remove one first.",
);
/// A refund of what is not there.
pub static NOTHING_TO_REFUND: Reason = Reason::new(
    Code::FailedPrecondition,
    "NOTHING_TO_REFUND",
    "No money came for this payment or by this notification, or all of it went back or is about to.",
);
/// A refund of more than is left.
pub static REFUND_EXCEEDS_RECEIPT: Reason = Reason::new(
    Code::FailedPrecondition,
    "REFUND_EXCEEDS_RECEIPT",
    "Less is left of the money than is to go back; look at the payment's other refunds.",
);
/// A refund for an organisation that the caller has to do with.
pub static OWN_ORGANIZATION: Reason = Reason::new(
    Code::FailedPrecondition,
    "OWN_ORGANIZATION",
    "Nobody sees to the refunds of an organisation that they belong to, have a program in, or paid for.",
);
/// A refund that its maker wants to approve.
pub static SECOND_PERSON_REQUIRED: Reason = Reason::new(
    Code::FailedPrecondition,
    "SECOND_PERSON_REQUIRED",
    "A refund is decided about by another person than the one who proposed it.",
);
/// A refund that was decided about.
pub static REFUND_DECIDED: Reason = Reason::new(
    Code::FailedPrecondition,
    "REFUND_DECIDED",
    "The refund was approved or rejected before; propose another one if money is still to go back.",
);
/// A notification that had its effect.
pub static PROVIDER_EVENT_APPLIED: Reason = Reason::new(
    Code::FailedPrecondition,
    "PROVIDER_EVENT_APPLIED",
    "The notification had its effect, which happens once; there is nothing to apply again.",
);
/// Something in quarantine that stays there.
pub static SIGNATURE_STILL_WRONG: Reason = Reason::new(
    Code::FailedPrecondition,
    "SIGNATURE_STILL_WRONG",
    "The signature of what is in quarantine does not hold by the passphrase of now; was the passphrase corrected?",
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
/// Cards cannot be stored.
pub static CARDS_NOT_KEPT: Reason = Reason::new(
    Code::FailedPrecondition,
    "CARDS_NOT_KEPT",
    "PayFast keeps no cards for an account without a passphrase; the platform's operators set one at PayFast and here.",
);

/// What this domain answers.
pub static REASONS: &[&Reason] = &[
    &PLAN_IS_FREE,
    &INVOICE_NOT_OPEN,
    &PAYMENT_UNDER_WAY,
    &PAYMENT_OVER,
    &BILLING_DETAILS_REQUIRED,
    &PAYMENT_TOO_SMALL,
    &INVOICE_NOT_DRAFT,
    &INVOICE_ISSUED,
    &INVOICE_NOT_ISSUED,
    &INVOICE_CLOSED,
    &INVOICE_NOT_CREDITABLE,
    &CREDIT_EXCEEDS_INVOICE,
    &TOO_MANY_CHECKOUTS,
    &PAYMENT_METHOD_NOT_ACTIVE,
    &TOO_MANY_PAYMENT_METHODS,
    &NOTHING_TO_REFUND,
    &REFUND_EXCEEDS_RECEIPT,
    &OWN_ORGANIZATION,
    &SECOND_PERSON_REQUIRED,
    &REFUND_DECIDED,
    &PROVIDER_EVENT_APPLIED,
    &SIGNATURE_STILL_WRONG,
    &HISTORY_UNAVAILABLE,
    &DIFFERENCE_CLOSED,
    &CHECKOUTS_CLOSED,
    &CARDS_NOT_KEPT,
];

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::PlanIsFree => &PLAN_IS_FREE,
            Self::InvoiceNotOpen => &INVOICE_NOT_OPEN,
            Self::PaymentUnderWay => &PAYMENT_UNDER_WAY,
            Self::PaymentOver(_) => &PAYMENT_OVER,
            Self::BillingDetailsRequired => &BILLING_DETAILS_REQUIRED,
            Self::PaymentTooSmall => &PAYMENT_TOO_SMALL,
            Self::PaymentNotFound
            | Self::InvoiceNotFound
            | Self::CreditNoteNotFound
            | Self::PaymentMethodNotFound
            | Self::RefundNotFound
            | Self::EventNotFound
            | Self::DifferenceNotFound => &fault::NOT_FOUND,
            Self::PaymentMethodNotActive(_) => &PAYMENT_METHOD_NOT_ACTIVE,
            Self::TooManyPaymentMethods => &TOO_MANY_PAYMENT_METHODS,
            Self::NothingToRefund => &NOTHING_TO_REFUND,
            Self::RefundTooLarge(_) => &REFUND_EXCEEDS_RECEIPT,
            Self::OwnOrganization => &OWN_ORGANIZATION,
            Self::SamePerson => &SECOND_PERSON_REQUIRED,
            Self::RefundDecided(_) => &REFUND_DECIDED,
            Self::EventApplied => &PROVIDER_EVENT_APPLIED,
            Self::SignatureStillWrong => &SIGNATURE_STILL_WRONG,
            Self::InvoiceNotDraft(_) => &INVOICE_NOT_DRAFT,
            Self::InvoiceIssued => &INVOICE_ISSUED,
            Self::InvoiceNotIssued | Self::NoDocument => &INVOICE_NOT_ISSUED,
            Self::InvoiceClosed(_) => &INVOICE_CLOSED,
            Self::InvoiceNotCreditable(_) => &INVOICE_NOT_CREDITABLE,
            Self::CreditExceedsInvoice(_) => &CREDIT_EXCEEDS_INVOICE,
            Self::HistoryUnavailable { .. } => &HISTORY_UNAVAILABLE,
            Self::DifferenceClosed => &DIFFERENCE_CLOSED,
            Self::CheckoutsClosed => &CHECKOUTS_CLOSED,
            Self::CardsNotKept => &CARDS_NOT_KEPT,
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
