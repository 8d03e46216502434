//! What the lines of an invoice come to, with the tax in it.
//!
//! Tax is computed once, on the document's sum, and rounded half away from zero to a cent. What is rounded for each
//! line would differ from the sum by cents that nobody can explain.

use super::VAT_PERCENT;
use crate::base::{Currency, Money};

/// The most lines of an invoice.
pub const LINES_MAX: usize = 200;
/// The longest description of a line, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// The largest quantity of a line.
pub const QUANTITY_MAX: i64 = 1_000_000;
/// The highest price of one: R10 000 000.
pub const UNIT_MINOR_MAX: i64 = 1_000_000_000;
/// The largest total: R100 000 000.
pub const TOTAL_MINOR_MAX: i64 = 10_000_000_000;

const WHOLE_BP: i128 = 10_000;

/// A rate of value-added tax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaxRate {
    /// What most things are sold at.
    Standard,
    /// What is exported, among other things.
    Zero,
}

impl TaxRate {
    /// In hundredths of a percent.
    #[must_use]
    pub const fn basis_points(self) -> i64 {
        match self {
            Self::Standard => VAT_PERCENT.saturating_mul(100),
            Self::Zero => 0,
        }
    }
}

/// A line as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftLine {
    /// For people.
    pub description: String,
    /// How many.
    pub quantity: i64,
    /// The price of one.
    pub unit: Money,
}

impl DraftLine {
    /// The price of all of it; none when it is beyond what can be kept.
    #[must_use]
    pub const fn total_minor(&self) -> Option<i64> {
        self.quantity.checked_mul(self.unit.minor)
    }
}

/// What lines come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// The whole, tax included.
    pub total: Money,
    /// The tax in it.
    pub tax: Money,
}

/// What lines come to; none when it is beyond what can be kept.
#[must_use]
pub fn sums(lines: &[DraftLine], rate: TaxRate, prices_include_tax: bool) -> Option<Sums> {
    let sum = lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.total_minor()?))?;
    let bp = i128::from(rate.basis_points());
    let tax = if prices_include_tax {
        share(i128::from(sum), bp, WHOLE_BP.checked_add(bp)?)
    } else {
        share(i128::from(sum), bp, WHOLE_BP)
    }?;
    let total = if prices_include_tax { sum } else { sum.checked_add(tax)? };
    let rand = |minor| Money::new(minor, Currency::Zar);
    Some(Sums { total: rand(total), tax: rand(tax) })
}

/// `part` of `whole` of a sum, rounded half away from zero.
fn share(sum: i128, part: i128, whole: i128) -> Option<i64> {
    let twice = sum.abs().checked_mul(part)?.checked_mul(2)?.checked_add(whole)?;
    let rounded = twice.checked_div(whole.checked_mul(2)?)?;
    i64::try_from(if sum < 0 { -rounded } else { rounded }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(quantity: i64, unit_minor: i64) -> DraftLine {
        DraftLine { description: "x".to_owned(), quantity, unit: Money::new(unit_minor, Currency::Zar) }
    }

    fn of(lines: &[DraftLine], rate: TaxRate, included: bool) -> (i64, i64) {
        let sums = sums(lines, rate, included).unwrap();
        (sums.total.minor, sums.tax.minor)
    }

    #[test]
    fn tax_is_rounded_on_the_document() {
        // Three lines of 3 cents: 0.45 each would be rounded to nothing three times.
        let lines = [line(1, 3), line(1, 3), line(1, 3)];
        assert_eq!(of(&lines, TaxRate::Standard, false), (10, 1));
        assert_eq!(of(&[line(2, 26_450)], TaxRate::Standard, true), (52_900, 6_900));
        // Half a cent goes up: 15 % of 0.10 is 0.015.
        assert_eq!(of(&[line(1, 10)], TaxRate::Standard, false), (12, 2));
        assert_eq!(of(&[line(7, 99)], TaxRate::Zero, false), (693, 0));
        assert_eq!(of(&[line(7, 99)], TaxRate::Zero, true), (693, 0));
    }

    #[test]
    fn what_is_beyond_all_bounds_is_told() {
        assert_eq!(sums(&[line(i64::MAX, 2)], TaxRate::Zero, true), None);
        assert_eq!(sums(&[line(1, i64::MAX), line(1, 1)], TaxRate::Zero, true), None);
        assert_eq!(sums(&[line(1, i64::MAX)], TaxRate::Standard, false), None);
    }

    proptest! {
        #[test]
        fn included_tax_is_the_tax_fraction(quantity in 1_i64..10_000, unit in 1_i64..1_000_000) {
            let (total, tax) = of(&[line(quantity, unit)], TaxRate::Standard, true);
            prop_assert_eq!(total, quantity * unit);
            let known = super::super::tax_included(Money::new(total, Currency::Zar)).unwrap();
            prop_assert_eq!(tax, known.minor);
        }

        #[test]
        fn added_tax_is_within_half_a_cent(
            lines in prop::collection::vec((1_i64..1_000, 1_i64..1_000_000), 1..50),
        ) {
            let lines: Vec<_> = lines.into_iter().map(|(quantity, unit)| line(quantity, unit)).collect();
            let net: i64 = lines.iter().map(|line| line.total_minor().unwrap()).sum();
            let (total, tax) = of(&lines, TaxRate::Standard, false);
            prop_assert_eq!(total, net + tax);
            prop_assert!((i128::from(tax) * 200 - i128::from(net) * 30).abs() <= 100);
            // In another order it comes to the same.
            let turned: Vec<_> = lines.into_iter().rev().collect();
            prop_assert_eq!(of(&turned, TaxRate::Standard, false), (total, tax));
        }

        #[test]
        fn extremes_are_no_panic(quantity: i64, unit: i64, included: bool) {
            let _ = sums(&[line(quantity, unit), line(unit, quantity)], TaxRate::Standard, included);
        }
    }
}
