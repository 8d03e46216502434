//! The double-entry ledger, pure: a transaction is only made of entries that sum to zero in every currency.
//!
//! Debits are positive, credits negative. The database refuses what is not balanced too; this is the first of the two
//! guards, and the one with the better message.

use std::collections::BTreeMap;

use crate::base::{Currency, Money};
use crate::db::words;

words! {
    /// An account of the books. Assets and expenses grow by debits, liabilities and income by credits.
    pub enum Account {
        /// Asset: what customers owe on invoices that were issued.
        Receivable = "receivable",
        /// Asset: what PayFast holds for us, its fee taken off.
        PayfastClearing = "payfast_clearing",
        /// Asset: what PayFast has paid out to our bank.
        Bank = "bank",
        /// Expense: what providers charge.
        ProviderFees = "provider_fees",
        /// Income: what was sold, without tax.
        Revenue = "revenue",
        /// Liability: what was sold and is still to be delivered, without tax.
        DeferredRevenue = "deferred_revenue",
        /// Liability: value-added tax to be paid over.
        VatOutput = "vat_output",
        /// Liability: what we owe to customers and they may buy with.
        CustomerCredit = "customer_credit",
        /// Liability: money that came for no open order; it is the payer's until somebody decides.
        UnappliedReceipts = "unapplied_receipts",
        /// Income taken back: sales that credit notes and refunds undid, without tax.
        Refunds = "refunds",
        /// Expense: what card schemes took back.
        Chargebacks = "chargebacks",
        /// Expense: invoices given up for lost.
        BadDebts = "bad_debts",
        /// Liability: what we owe to developers.
        DeveloperPayables = "developer_payables",
        /// Asset: what is on its way to developers.
        Payouts = "payouts",
    }
}

words! {
    /// What a transaction records.
    pub enum Kind {
        /// An invoice was issued: it is owed.
        InvoiceIssued = "invoice_issued",
        /// A payment for an invoice.
        Settlement = "settlement",
        /// Money for no open order.
        UnappliedReceipt = "unapplied_receipt",
        /// A credit note.
        CreditNote = "credit_note",
        /// An issued invoice was given up for lost.
        WriteOff = "write_off",
        /// Money went back to a payer.
        Refund = "refund",
        /// A card scheme took money back.
        Chargeback = "chargeback",
        /// The provider charged something, or gave it back, that no payment carries.
        ProviderCharge = "provider_charge",
        /// The provider paid out to our bank.
        BankPayout = "bank_payout",
    }
}

/// One side of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The account.
    pub account: Account,
    /// Debit when positive, credit when negative; never zero.
    pub amount: Money,
}

/// Entries that sum to zero in every currency, at least two of them, none of them zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balanced(Vec<Entry>);

/// Why entries are not a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbalanced {
    /// Nothing moves between two accounts.
    #[error("a ledger transaction needs at least two entries")]
    TooFew,
    /// The sum is not zero.
    #[error("the entries in {} sum to {sum} minor units instead of zero", currency.code())]
    Sum {
        /// In which currency.
        currency: Currency,
        /// What they sum to.
        sum: i128,
    },
    /// The parts are larger than the whole, or too large to compute with.
    #[error("the amounts do not fit together")]
    Amounts,
}

impl Balanced {
    /// Checks `entries`, leaving out those of nothing.
    ///
    /// # Errors
    /// [`Unbalanced`], with the first currency that does not sum to zero.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Result<Self, Unbalanced> {
        let entries: Vec<Entry> = entries.into_iter().filter(|entry| entry.amount.minor != 0).collect();
        if entries.len() < 2 {
            return Err(Unbalanced::TooFew);
        }
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for entry in &entries {
            *sums.entry(entry.amount.currency).or_default() += i128::from(entry.amount.minor);
        }
        match sums.into_iter().find(|(_, sum)| *sum != 0) {
            Some((currency, sum)) => Err(Unbalanced::Sum { currency, sum }),
            None => Ok(Self(entries)),
        }
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }
}

/// Books that an invoice was issued: the customer owes all of it, and it is income and tax.
///
/// # Errors
/// When the parts do not fit together.
pub fn invoice_issued(total: Money, tax: Money) -> Result<Balanced, Unbalanced> {
    let net = total.checked_sub(tax).map_err(|_| Unbalanced::Amounts)?;
    Balanced::new([
        debit(Account::Receivable, total),
        credit(Account::Revenue, net)?,
        credit(Account::VatOutput, tax)?,
    ])
}

/// Books a credit note: the sale is undone, and `to` is who has the good of it: [`Account::Receivable`] while the
/// invoice is owed, [`Account::CustomerCredit`] once it is paid.
///
/// # Errors
/// When the parts do not fit together.
pub fn credit_note(amount: Money, tax: Money, to: Account) -> Result<Balanced, Unbalanced> {
    undone(Account::Refunds, amount, tax, to)
}

/// Books that what is owed on an invoice is given up for lost. The tax in it comes back: who accounts for tax by
/// invoices deducts it when the debt is written off (VAT Act, section 22(1)).
///
/// # Errors
/// When the parts do not fit together.
pub fn write_off(due: Money, tax: Money) -> Result<Balanced, Unbalanced> {
    undone(Account::BadDebts, due, tax, Account::Receivable)
}

fn undone(net_of: Account, amount: Money, tax: Money, to: Account) -> Result<Balanced, Unbalanced> {
    let net = amount.checked_sub(tax).map_err(|_| Unbalanced::Amounts)?;
    Balanced::new([debit(net_of, net), debit(Account::VatOutput, tax), credit(to, amount)?])
}

/// Books a payment of an invoice: PayFast holds the gross less its fee, and the customer owes as much less.
///
/// # Errors
/// When the parts do not fit together.
pub fn settlement(gross: Money, fee: Money) -> Result<Balanced, Unbalanced> {
    let (held, fee) = received(gross, fee)?;
    Balanced::new([held, fee, credit(Account::Receivable, gross)?])
}

/// Books money for no open order: we hold it and owe it.
///
/// # Errors
/// When the parts do not fit together.
pub fn unapplied_receipt(gross: Money, fee: Money) -> Result<Balanced, Unbalanced> {
    let (held, fee) = received(gross, fee)?;
    Balanced::new([held, fee, credit(Account::UnappliedReceipts, gross)?])
}

/// Books money that was held for nobody's order and turned out to be an invoice's: the customer owes as much less.
///
/// # Errors
/// When the parts do not fit together.
pub fn unapplied_settlement(gross: Money) -> Result<Balanced, Unbalanced> {
    Balanced::new([debit(Account::UnappliedReceipts, gross), credit(Account::Receivable, gross)?])
}

/// Books that money went back to a payer: `owed` is where we owed it, [`Account::CustomerCredit`] after a credit note
/// or [`Account::UnappliedReceipts`]. PayFast holds as much less; its fee becomes known later, and is a
/// [`provider_charge`].
///
/// # Errors
/// When the parts do not fit together.
pub fn refund(owed: Account, amount: Money) -> Result<Balanced, Unbalanced> {
    Balanced::new([debit(owed, amount), credit(Account::PayfastClearing, amount)?])
}

/// Books that money which was held for nobody's order becomes credit of the organisation that it came from.
///
/// # Errors
/// When the parts do not fit together.
pub fn refund_to_credit(amount: Money) -> Result<Balanced, Unbalanced> {
    Balanced::new([debit(Account::UnappliedReceipts, amount), credit(Account::CustomerCredit, amount)?])
}

/// Books what a card scheme took back: it is lost until somebody decides, and with it what the provider charges for it.
///
/// # Errors
/// When the parts do not fit together.
pub fn chargeback(amount: Money, fee: Money) -> Result<Balanced, Unbalanced> {
    left(Account::Chargebacks, amount, fee)
}

/// Books a payout to our bank, and what the provider kept of it.
///
/// # Errors
/// When the parts do not fit together.
pub fn bank_payout(amount: Money, fee: Money) -> Result<Balanced, Unbalanced> {
    left(Account::Bank, amount, fee)
}

/// Books what the provider charged by itself; negative when it gave something back.
///
/// # Errors
/// When there is nothing to book.
pub fn provider_charge(charged: Money) -> Result<Balanced, Unbalanced> {
    Balanced::new([debit(Account::ProviderFees, charged), credit(Account::PayfastClearing, charged)?])
}

/// Money that left the provider for an account, and a fee on top.
fn left(account: Account, amount: Money, fee: Money) -> Result<Balanced, Unbalanced> {
    let whole = amount.checked_add(fee).map_err(|_| Unbalanced::Amounts)?;
    Balanced::new([
        debit(account, amount),
        debit(Account::ProviderFees, fee),
        credit(Account::PayfastClearing, whole)?,
    ])
}

fn received(gross: Money, fee: Money) -> Result<(Entry, Entry), Unbalanced> {
    let held = gross.checked_sub(fee).map_err(|_| Unbalanced::Amounts)?;
    Ok((debit(Account::PayfastClearing, held), debit(Account::ProviderFees, fee)))
}

const fn debit(account: Account, amount: Money) -> Entry {
    Entry { account, amount }
}

fn credit(account: Account, amount: Money) -> Result<Entry, Unbalanced> {
    let amount = amount.checked_neg().map_err(|_| Unbalanced::Amounts)?;
    Ok(Entry { account, amount })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rand(minor: i64) -> Money {
        Money::new(minor, Currency::Zar)
    }

    fn amounts(books: &Balanced) -> Vec<(Account, i64)> {
        books.entries().iter().map(|entry| (entry.account, entry.amount.minor)).collect()
    }

    #[test]
    fn the_pro_plan_is_sold_and_paid() {
        let issued = invoice_issued(rand(52_900), rand(6_900)).unwrap();
        let owed = [(Account::Receivable, 52_900), (Account::Revenue, -46_000), (Account::VatOutput, -6_900)];
        assert_eq!(amounts(&issued), owed);
        let paid = settlement(rand(52_900), rand(1_217)).unwrap();
        let expected = [
            (Account::PayfastClearing, 51_683),
            (Account::ProviderFees, 1_217),
            (Account::Receivable, -52_900),
        ];
        assert_eq!(amounts(&paid), expected);
    }

    #[test]
    fn money_goes_back() {
        let [back, fee] = [refund(Account::UnappliedReceipts, rand(900)), provider_charge(rand(230))];
        let [back, fee] = [back.unwrap(), fee.unwrap()];
        assert_eq!(amounts(&back), [(Account::UnappliedReceipts, 900), (Account::PayfastClearing, -900)]);
        assert_eq!(amounts(&fee), [(Account::ProviderFees, 230), (Account::PayfastClearing, -230)]);
        let kept = refund_to_credit(rand(900)).unwrap();
        assert_eq!(amounts(&kept), [(Account::UnappliedReceipts, 900), (Account::CustomerCredit, -900)]);
        let found = unapplied_settlement(rand(900)).unwrap();
        assert_eq!(amounts(&found), [(Account::UnappliedReceipts, 900), (Account::Receivable, -900)]);
    }

    #[test]
    fn a_sale_is_undone() {
        let owed = credit_note(rand(11_500), rand(1_500), Account::Receivable).unwrap();
        let expected =
            [(Account::Refunds, 10_000), (Account::VatOutput, 1_500), (Account::Receivable, -11_500)];
        assert_eq!(amounts(&owed), expected);
        let paid = credit_note(rand(100), rand(0), Account::CustomerCredit).unwrap();
        assert_eq!(amounts(&paid), [(Account::Refunds, 100), (Account::CustomerCredit, -100)]);
        let lost = write_off(rand(11_500), rand(1_500)).unwrap();
        let expected =
            [(Account::BadDebts, 10_000), (Account::VatOutput, 1_500), (Account::Receivable, -11_500)];
        assert_eq!(amounts(&lost), expected);
    }

    #[test]
    fn what_leaves_the_provider_is_booked_where_it_went() {
        let paid_out = bank_payout(rand(10_000), rand(1_400)).unwrap();
        let expected =
            [(Account::Bank, 10_000), (Account::ProviderFees, 1_400), (Account::PayfastClearing, -11_400)];
        assert_eq!(amounts(&paid_out), expected);
        let taken = chargeback(rand(52_900), rand(0)).unwrap();
        let expected = [(Account::Chargebacks, 52_900), (Account::PayfastClearing, -52_900)];
        assert_eq!(amounts(&taken), expected);
        let given_back = provider_charge(rand(-230)).unwrap();
        let expected = [(Account::ProviderFees, -230), (Account::PayfastClearing, 230)];
        assert_eq!(amounts(&given_back), expected);
        assert_eq!(provider_charge(rand(0)), Err(Unbalanced::TooFew));
    }

    #[test]
    fn what_does_not_balance_is_refused() {
        let debit = Entry { account: Account::PayfastClearing, amount: rand(5) };
        assert_eq!(Balanced::new([debit]), Err(Unbalanced::TooFew));
        let credit = Entry { account: Account::Revenue, amount: rand(-4) };
        assert_eq!(Balanced::new([debit, credit]), Err(Unbalanced::Sum { currency: Currency::Zar, sum: 1 }));
        let dollars = Entry { account: Account::Revenue, amount: Money::new(-5, Currency::Usd) };
        assert!(matches!(Balanced::new([debit, dollars]), Err(Unbalanced::Sum { .. })));
        assert_eq!(unapplied_receipt(rand(0), rand(0)), Err(Unbalanced::TooFew));
    }

    proptest! {
        #[test]
        fn every_booking_sums_to_zero(gross in 1i64..100_000_000, fee in 0i64..1_000_000) {
            let gross = rand(gross);
            let fee = rand(fee.min(gross.minor));
            let tax = super::super::tax_included(gross).unwrap();
            let all = [
                invoice_issued(gross, tax),
                settlement(gross, fee),
                unapplied_receipt(gross, fee),
                credit_note(gross, tax, Account::CustomerCredit),
                write_off(gross, tax),
            ];
            for books in all.map(Result::unwrap) {
                prop_assert_eq!(books.entries().iter().map(|entry| entry.amount.minor).sum::<i64>(), 0);
            }
        }

        #[test]
        fn extremes_are_errors_not_panics(gross: i64, fee: i64, tax: i64) {
            let _ = invoice_issued(rand(gross), rand(tax));
            let _ = settlement(rand(gross), rand(fee));
            let _ = unapplied_receipt(rand(gross), rand(fee));
            let _ = credit_note(rand(gross), rand(tax), Account::Receivable);
            let _ = write_off(rand(gross), rand(tax));
            let _ = chargeback(rand(gross), rand(fee));
            let _ = bank_payout(rand(gross), rand(fee));
            let _ = provider_charge(rand(fee));
        }
    }
}
