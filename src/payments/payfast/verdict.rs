//! What a notification means for a payment: authentic or not, ours or not, and what it should do.
//!
//! Pure, and shared by the command line and the inbox, so that what an operator sees with `payfast verify-itn` is what
//! the platform does. Whether the payment is still open is not known here.

use super::itn::Itn;
use crate::payments::model::settlement::Word;

/// The longest id that is taken for one, in bytes; PayFast's own bound for ours.
const ID_BYTES_MAX: usize = 100;
/// How much of a word that nobody knows is repeated, in characters.
const WORD_CHARS_MAX: usize = 64;

/// What PayFast says happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentStatus {
    /// The money is with PayFast.
    Complete,
    /// A subscription was cancelled, or the payment was.
    Cancelled,
    /// The payment failed.
    Failed,
    /// The payment is under way.
    Pending,
    /// A word that we do not know; kept for an operator, without effect.
    Unknown(String),
}

impl PaymentStatus {
    /// Reads the word exactly: PayFast writes upper case.
    #[must_use]
    pub fn read(word: &str) -> Self {
        match word {
            "COMPLETE" => Self::Complete,
            "CANCELLED" => Self::Cancelled,
            "FAILED" => Self::Failed,
            "PENDING" => Self::Pending,
            other => Self::Unknown(other.chars().take(WORD_CHARS_MAX).collect()),
        }
    }
}

/// What an accepted notification should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Book the money and give what was bought.
    Settle,
    /// Close the open payment.
    Cancel,
    /// Nothing.
    None,
}

impl Effect {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Cancel => "cancel",
            Self::None => "none",
        }
    }
}

/// What we know of the payment that a notification is about.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Our merchant id.
    pub merchant_id: &'a str,
    /// The amount of the order in cents; `None` when it is not to be compared.
    pub amount_minor: Option<i64>,
    /// The provider's ids of payments that have been settled.
    pub processed: &'a [String],
}

/// The answer to a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Authentic, for us, and of the amount that we expect.
    pub accept: bool,
    /// What to do.
    pub effect: Effect,
    /// One sentence for an operator.
    pub reason: String,
}

/// Why an authentic notification is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The same field twice.
    #[error("the field {0:?} appears more than once")]
    Repeated(String),
    /// For somebody else.
    #[error("merchant_id is not ours")]
    Merchant,
    /// Nothing that says what happened.
    #[error("payment_status is missing")]
    StatusMissing,
    /// COMPLETE without the id that tells one payment from another.
    #[error("pf_payment_id is missing")]
    ProviderIdMissing,
    /// Not `123.45`.
    #[error("amount_gross is missing or is not an amount with two decimals")]
    AmountUnreadable,
    /// An amount, but not the order's.
    #[error("amount_gross is {given} cents and the order is {expected} cents")]
    AmountDiffers {
        /// What the notification says.
        given: i64,
        /// What the order says.
        expected: i64,
    },
}

impl Refusal {
    /// True when the only thing wrong is the amount: the money is ours, although it is not what was asked.
    #[must_use]
    pub fn is_amount(&self) -> bool {
        matches!(self, Self::AmountUnreadable | Self::AmountDiffers { .. })
    }
}

/// The facts of an authentic notification that the rest of the domain works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Our payment's id as it came back, when it is readable.
    pub payment: Option<String>,
    /// PayFast's id of the payment, when there is one.
    pub provider_payment: Option<String>,
    /// What happened.
    pub status: PaymentStatus,
    /// What the buyer paid, in cents, when the notification carries an amount.
    pub gross_minor: Option<i64>,
    /// PayFast's fee in cents, positive, when the notification carries one that makes sense.
    pub fee_minor: Option<i64>,
    /// Whether something stands where the amount should, readable or not.
    pub amount_carried: bool,
}

impl Facts {
    /// What makes the effect of a word one: the provider's id. All but a completion may come without it; then ours
    /// stands for it.
    #[must_use]
    pub fn effect_key(&self) -> String {
        let ours = || format!("payment:{}", self.payment.as_deref().unwrap_or_default());
        self.provider_payment.clone().unwrap_or_else(ours)
    }

    /// What the word is about an order; none when it says nothing that is known.
    #[must_use]
    pub fn word(&self) -> Option<Word> {
        match self.status {
            PaymentStatus::Complete => Some(Word::Complete),
            PaymentStatus::Cancelled => Some(Word::Cancelled),
            PaymentStatus::Failed => Some(Word::Failed),
            PaymentStatus::Pending => Some(Word::Pending),
            PaymentStatus::Unknown(_) => None,
        }
    }
}

/// Reads the facts of a notification whose signature has been verified, refusing those that are not for us.
///
/// # Errors
/// The [`Refusal`] that applies; amounts are compared by [`compare_amount`].
pub fn facts(itn: &Itn, merchant_id: &str) -> Result<Facts, Refusal> {
    if let Some(name) = itn.repeated() {
        return Err(Refusal::Repeated(name.chars().take(WORD_CHARS_MAX).collect()));
    }
    if itn.get("merchant_id") != Some(merchant_id.as_bytes()) {
        return Err(Refusal::Merchant);
    }
    let status = itn.get("payment_status").filter(|word| !word.is_empty()).ok_or(Refusal::StatusMissing)?;
    let status = PaymentStatus::read(&String::from_utf8_lossy(status));
    let provider_payment = id(itn, "pf_payment_id");
    if status == PaymentStatus::Complete && provider_payment.is_none() {
        return Err(Refusal::ProviderIdMissing);
    }
    let gross_minor = itn.text("amount_gross").and_then(amount_minor).filter(|gross| *gross >= 0);
    let fee_minor = itn.text("amount_fee").and_then(amount_minor).and_then(i64::checked_neg);
    let fee_minor = fee_minor.filter(|fee| *fee >= 0 && Some(*fee) <= gross_minor);
    let amount_carried = itn.get("amount_gross").is_some_and(|value| !value.is_empty());
    let payment = id(itn, "m_payment_id");
    Ok(Facts { payment, provider_payment, status, gross_minor, fee_minor, amount_carried })
}

// An id becomes a key: it is short and printable, or it is none. PostgreSQL would refuse another as a text or in an
// index, and the notification would be tried again for ever.
fn id(itn: &Itn, name: &str) -> Option<String> {
    itn.text(name).filter(|text| id_fits(text)).map(str::to_owned)
}

/// Whether a text can be an id.
pub(super) fn id_fits(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Compares the amount with the order's, to the cent. COMPLETE must carry one; CANCELLED never does, and another
/// status that carries one must carry the right one.
///
/// # Errors
/// [`Refusal::AmountUnreadable`] or [`Refusal::AmountDiffers`].
pub fn compare_amount(facts: &Facts, expected: Option<i64>) -> Result<(), Refusal> {
    match (facts.gross_minor, expected) {
        (Some(given), Some(expected)) if given != expected => Err(Refusal::AmountDiffers { given, expected }),
        (None, _) if facts.amount_carried || facts.status == PaymentStatus::Complete => {
            Err(Refusal::AmountUnreadable)
        }
        _ => Ok(()),
    }
}

/// The verdict over a notification whose signature has been verified.
#[must_use]
pub fn judge(itn: &Itn, expected: Expected<'_>) -> Verdict {
    let refused =
        |refusal: Refusal| Verdict { accept: false, effect: Effect::None, reason: refusal.to_string() };
    let accepted = |effect, reason: &str| Verdict { accept: true, effect, reason: reason.to_owned() };
    let facts = match facts(itn, expected.merchant_id) {
        Ok(facts) => facts,
        Err(refusal) => return refused(refusal),
    };
    if let Err(refusal) = compare_amount(&facts, expected.amount_minor) {
        return refused(refusal);
    }
    let replayed = facts.provider_payment.as_ref().is_some_and(|id| expected.processed.contains(id));
    match facts.status {
        _ if replayed => accepted(Effect::None, "this payment has been settled already"),
        PaymentStatus::Complete => accepted(Effect::Settle, "complete: the money is to be booked"),
        PaymentStatus::Cancelled => accepted(Effect::Cancel, "cancelled"),
        PaymentStatus::Failed => accepted(Effect::None, "failed: no money moved"),
        PaymentStatus::Pending => accepted(Effect::None, "pending: PayFast will say more"),
        PaymentStatus::Unknown(word) => {
            accepted(Effect::None, &format!("the status {word:?} is unknown; kept for an operator"))
        }
    }
}

/// Reads `123.45` into cents, exactly: ASCII digits, at most one leading minus, one or two decimals or none.
///
/// No float, no exponent, no grouping, no blanks: what is not written as PayFast writes it is not an amount.
#[must_use]
pub fn amount_minor(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (rands, cents) = digits.split_once('.').unwrap_or((digits, "00"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(rands) || !all_digits(cents) || cents.len() > 2 {
        return None;
    }
    let scale = if cents.len() == 1 { 10 } else { 1 };
    let cents = cents.parse::<i64>().ok()?.checked_mul(scale)?;
    let minor = rands.parse::<i64>().ok()?.checked_mul(100)?.checked_add(cents)?;
    if negative { minor.checked_neg() } else { Some(minor) }
}

/// Writes cents as PayFast reads them: `529.00`.
#[must_use]
pub fn amount_text(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let size = minor.unsigned_abs();
    format!("{sign}{}.{:02}", size / 100, size % 100)
}

#[cfg(test)]
mod tests {
    use super::super::itn::signed_body;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(amount_minor("529.00"), Some(52_900));
        assert_eq!(amount_minor("-2.30"), Some(-230));
        assert_eq!(amount_minor("0.01"), Some(1));
        assert_eq!(amount_minor("17190"), Some(1_719_000));
        assert_eq!(amount_minor("5.5"), Some(550));
        for wrong in [
            "",
            ".",
            "5.",
            ".50",
            "5.001",
            "1,000.00",
            "1e3",
            "+5.00",
            " 5.00",
            "5.00 ",
            "--5.00",
            "5.-1",
            "NaN",
            "٥.00",
            "99999999999999999999.00",
            "92233720368547758.08",
        ] {
            assert_eq!(amount_minor(wrong), None, "{wrong}");
        }
    }

    fn judged(pairs: &[(&str, &str)], amount_minor: Option<i64>, processed: &[String]) -> Verdict {
        let itn = Itn::parse(&signed_body(pairs, None)).unwrap();
        judge(&itn, Expected { merchant_id: "10000100", amount_minor, processed })
    }

    fn complete(amount: &str) -> Vec<(&str, &str)> {
        vec![
            ("pf_payment_id", "7"),
            ("payment_status", "COMPLETE"),
            ("amount_gross", amount),
            ("merchant_id", "10000100"),
        ]
    }

    #[test]
    fn complete_settles_once_and_only_for_the_exact_amount() {
        assert_eq!(judged(&complete("529.00"), Some(52_900), &[]).effect, Effect::Settle);
        assert_eq!(judged(&complete("529.00"), None, &[]).effect, Effect::Settle);
        let replay = judged(&complete("529.00"), Some(52_900), &["7".to_owned()]);
        assert!(replay.accept);
        assert_eq!(replay.effect, Effect::None);
        for wrong in ["528.99", "529.01", "-529.00", "", "529.000"] {
            let verdict = judged(&complete(wrong), Some(52_900), &[]);
            assert!(!verdict.accept, "{wrong}");
            assert_eq!(verdict.effect, Effect::None);
        }
    }

    #[test]
    fn cancelled_needs_no_amount() {
        let pairs = [("pf_payment_id", "7"), ("payment_status", "CANCELLED"), ("merchant_id", "10000100")];
        let verdict = judged(&pairs, Some(52_900), &[]);
        assert!(verdict.accept);
        assert_eq!(verdict.effect, Effect::Cancel);
    }

    #[test]
    fn other_statuses_have_no_effect() {
        for word in ["FAILED", "PENDING", "CANCEL", "complete", "REFUNDED"] {
            let pairs = [("pf_payment_id", "7"), ("payment_status", word), ("merchant_id", "10000100")];
            let verdict = judged(&pairs, Some(52_900), &[]);
            assert!(verdict.accept, "{word}");
            assert_eq!(verdict.effect, Effect::None, "{word}");
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let other = [("pf_payment_id", "7"), ("payment_status", "COMPLETE"), ("merchant_id", "10000101")];
        assert!(!judged(&other, None, &[]).accept);
        let twice = [&complete("5.00")[..], &[("amount_gross", "5.00")]].concat();
        assert!(!judged(&twice, Some(500), &[]).accept);
        let nameless =
            [("payment_status", "COMPLETE"), ("amount_gross", "5.00"), ("merchant_id", "10000100")];
        assert!(!judged(&nameless, Some(500), &[]).accept);
        assert!(!judged(&[("merchant_id", "10000100")], None, &[]).accept);
    }

    proptest! {
        #[test]
        fn amounts_round_trip(minor in any::<i64>()) {
            prop_assert_eq!(amount_minor(&amount_text(minor)), if minor == i64::MIN { None } else { Some(minor) });
        }

        #[test]
        fn any_text_is_an_answer(text in "\\PC{0,30}") {
            let _ = amount_minor(&text);
        }
    }
}
