//! What the provider's word about an order does to it: whether it is paid, or the money is held for the payer, or
//! nothing moves at all.

use super::{Invoice, InvoiceStatus, Payment, PaymentStatus, Receipt, ReceiptStatus};

/// What the provider says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The money is with the provider.
    Complete,
    /// The payment was given up.
    Cancelled,
    /// The payment came to nothing.
    Failed,
    /// The payment is under way.
    Pending,
}

impl Word {
    /// Its part of the key that makes an effect happen once.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "COMPLETE",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
            Self::Pending => "PENDING",
        }
    }

    /// What arrived, when the provider says that `gross_minor` did; none when no money is told of.
    #[must_use]
    pub fn received(self, gross_minor: Option<i64>) -> Option<i64> {
        gross_minor.filter(|gross| *gross > 0 && self == Self::Complete)
    }
}

/// An order, as far as its settlement depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where the attempt to pay stands.
    pub payment: PaymentStatus,
    /// What is to be paid by it.
    pub amount_minor: i64,
    /// Where the invoice stands.
    pub invoice: InvoiceStatus,
    /// What is due on the invoice.
    pub due_minor: i64,
}

impl Standing {
    /// How an attempt and its invoice stand.
    #[must_use]
    pub const fn of(payment: &Payment, invoice: &Invoice) -> Self {
        Self {
            payment: payment.status,
            amount_minor: payment.amount_minor,
            invoice: invoice.status,
            due_minor: invoice.due_minor(),
        }
    }

    /// What payment and invoice become when the order is paid; none when it is not to be paid, or not as much.
    fn payable(self) -> Option<Paid> {
        let due = self.amount_minor == self.due_minor;
        let payment = self.payment.change_to(PaymentStatus::Succeeded).ok().filter(|_| due)?;
        Some(Paid { payment, invoice: self.invoice.change_to(InvoiceStatus::Paid).ok()? })
    }
}

/// Where an order stands that is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paid {
    /// The payment.
    pub payment: PaymentStatus,
    /// The invoice.
    pub invoice: InvoiceStatus,
}

/// What a word does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The order is paid.
    Pay(Paid),
    /// The money came, and the order is not to be paid: it is held for the payer.
    Hold,
    /// The attempt stands otherwise from now on. No money moves.
    Note(PaymentStatus),
    /// The attempt is over, and stays as it is.
    Keep,
}

/// What a word of an order's own amount does. Money that is not the order's is held whatever the order is.
#[must_use]
pub fn effect(word: Word, order: Standing) -> Effect {
    let to = match word {
        Word::Complete => return order.payable().map_or(Effect::Hold, Effect::Pay),
        Word::Cancelled => PaymentStatus::Cancelled,
        Word::Failed => PaymentStatus::Failed,
        Word::Pending => PaymentStatus::Pending,
    };
    order.payment.change_to(to).map_or(Effect::Keep, Effect::Note)
}

/// Whether money that was held for nobody's order, and of which card schemes took `taken_minor`, is all there still: an
/// order is paid with the whole of it or not at all.
#[must_use]
pub fn is_whole(held: &Receipt, taken_minor: i64) -> bool {
    held.status == ReceiptStatus::Unapplied && held.returned_minor == 0 && taken_minor == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use PaymentStatus::{Cancelled, Created, Expired, Failed, Pending, Succeeded, Superseded};

    const OPEN: Standing =
        Standing { payment: Created, amount_minor: 500, invoice: InvoiceStatus::Open, due_minor: 500 };

    fn at(payment: PaymentStatus) -> Standing {
        Standing { payment, ..OPEN }
    }

    #[test]
    fn money_pays_what_is_open_and_due() {
        let paid = Effect::Pay(Paid { payment: Succeeded, invoice: InvoiceStatus::Paid });
        for payment in [Created, Pending, Failed, Cancelled, Expired] {
            assert_eq!(effect(Word::Complete, at(payment)), paid, "{payment:?}");
        }
        for payment in [Succeeded, Superseded] {
            assert_eq!(effect(Word::Complete, at(payment)), Effect::Hold, "{payment:?}");
        }
        for invoice in
            [InvoiceStatus::Draft, InvoiceStatus::Paid, InvoiceStatus::Void, InvoiceStatus::Uncollectible]
        {
            assert_eq!(effect(Word::Complete, Standing { invoice, ..OPEN }), Effect::Hold, "{invoice:?}");
        }
        for due_minor in [0, 499, 501] {
            assert_eq!(effect(Word::Complete, Standing { due_minor, ..OPEN }), Effect::Hold);
        }
    }

    #[test]
    fn a_word_without_money_ends_only_what_is_alive() {
        for (word, to) in [(Word::Cancelled, Cancelled), (Word::Failed, Failed)] {
            for alive in [Created, Pending] {
                assert_eq!(effect(word, at(alive)), Effect::Note(to));
            }
            for over in [Succeeded, Failed, Cancelled, Expired, Superseded] {
                assert_eq!(effect(word, at(over)), Effect::Keep, "{word:?} {over:?}");
            }
        }
        assert_eq!(effect(Word::Pending, at(Created)), Effect::Note(Pending));
        for later in [Pending, Succeeded, Failed, Cancelled, Expired, Superseded] {
            assert_eq!(effect(Word::Pending, at(later)), Effect::Keep);
        }
    }

    #[test]
    fn only_a_completion_brings_money() {
        assert_eq!(Word::Complete.received(Some(500)), Some(500));
        for nothing in [None, Some(0), Some(-1)] {
            assert_eq!(Word::Complete.received(nothing), None);
        }
        for word in [Word::Cancelled, Word::Failed, Word::Pending] {
            assert_eq!(word.received(Some(500)), None);
        }
    }
}
