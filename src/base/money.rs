//! Money: whole minor units with their currency. No floats, and every rounding names its strategy.

use std::fmt;

use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// A currency of ISO 4217 that the platform keeps books in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// South African rand.
    Zar,
    /// United States dollar.
    Usd,
    /// Euro.
    Eur,
    /// Pound sterling.
    Gbp,
}

impl Currency {
    /// The three letters of ISO 4217.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Zar => "ZAR",
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Gbp => "GBP",
        }
    }

    /// From the three letters, in upper case.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Zar, Self::Usd, Self::Eur, Self::Gbp].into_iter().find(|known| known.code() == code)
    }

    /// How many decimal places the currency has.
    #[must_use]
    pub const fn exponent(self) -> u32 {
        match self {
            Self::Zar | Self::Usd | Self::Eur | Self::Gbp => 2,
        }
    }
}

/// An amount in the minor units of a currency (cents), possibly negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Whole minor units.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

/// Amounts of two currencies met, or the result is beyond what can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Amounts of two currencies cannot be added or compared.
    #[error("amounts in {} and {} cannot be combined", .0.code(), .1.code())]
    Currencies(Currency, Currency),
    /// The result is too large.
    #[error("the amount is too large")]
    Overflow,
}

impl Money {
    /// An amount of minor units.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in this currency.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The sum.
    ///
    /// # Errors
    /// When the currencies differ or the sum is too large.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Currencies(self.currency, other.currency));
        }
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }

    /// The difference.
    ///
    /// # Errors
    /// When the currencies differ or the difference is too large.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.checked_add(other.checked_neg()?)
    }

    /// The same amount the other way.
    ///
    /// # Errors
    /// When there is no such amount (the smallest integer).
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        Ok(Self::new(self.minor.checked_neg().ok_or(MoneyError::Overflow)?, self.currency))
    }

    /// The tax that a tax-inclusive amount contains, at `rate_percent`, rounded half away from zero to a minor unit.
    /// For South African VAT of 15 % this is the tax fraction 15/115 of the VAT Act.
    ///
    /// # Errors
    /// When the amount or the rate is too large to compute with.
    pub fn tax_included(self, rate_percent: Decimal) -> Result<Self, MoneyError> {
        let divisor = Decimal::ONE_HUNDRED.checked_add(rate_percent).ok_or(MoneyError::Overflow)?;
        let tax = Decimal::from(self.minor)
            .checked_mul(rate_percent)
            .and_then(|product| product.checked_div(divisor))
            .ok_or(MoneyError::Overflow)?;
        let rounded = tax.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
        Ok(Self::new(rounded.to_i64().ok_or(MoneyError::Overflow)?, self.currency))
    }

    /// Splits the amount in proportion to `weights` by the largest remainder, so that the parts add up to the whole.
    /// Equal remainders go to the earlier part. No parts come back when the weights are empty or add up to zero.
    #[must_use]
    pub fn allocate(self, weights: &[u32]) -> Vec<Self> {
        let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
        if total == 0 {
            return Vec::new();
        }
        let whole = i128::from(self.minor);
        let mut shares: Vec<(i128, i128)> = weights
            .iter()
            .map(|weight| whole * i128::from(*weight))
            .map(|product| (product.div_euclid(total), product.rem_euclid(total)))
            .collect();
        let left = whole - shares.iter().map(|(share, _)| share).sum::<i128>();
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by_key(|index| {
            std::cmp::Reverse(shares.get(*index).map_or(0, |(_, remainder)| *remainder))
        });
        for index in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
            if let Some((share, _)) = shares.get_mut(index) {
                *share += 1;
            }
        }
        // A part is never larger than the whole, which was an i64.
        shares.iter().map(|(share, _)| Self::new(i64::try_from(*share).unwrap_or(0), self.currency)).collect()
    }

    /// The amount as digits with the currency's decimal places, such as `529.00` or `-0.05`.
    #[must_use]
    pub fn to_decimal_string(self) -> String {
        Decimal::new(self.minor, self.currency.exponent()).to_string()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.currency {
            Currency::Zar if self.minor < 0 => {
                write!(f, "-R{}", self.to_decimal_string().trim_start_matches('-'))
            }
            Currency::Zar => write!(f, "R{}", self.to_decimal_string()),
            other => write!(f, "{} {}", other.code(), self.to_decimal_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_print_with_their_cents() {
        assert_eq!(Money::new(52_900, Currency::Zar).to_string(), "R529.00");
        assert_eq!(Money::new(-5, Currency::Zar).to_string(), "-R0.05");
        assert_eq!(Money::new(500, Currency::Usd).to_string(), "USD 5.00");
    }

    #[test]
    fn vat_is_the_tax_fraction_rounded_half_away_from_zero() {
        let vat = |minor| Money::new(minor, Currency::Zar).tax_included(Decimal::from(15)).unwrap().minor;
        assert_eq!(vat(52_900), 6_900);
        assert_eq!(vat(499_000), 65_087);
        assert_eq!((vat(23), vat(-23), vat(0)), (3, -3, 0));
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(minor: i64, weights in prop::collection::vec(0_u32..10_000, 1..20)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let parts = Money::new(minor, Currency::Zar).allocate(&weights);
            prop_assert_eq!(parts.len(), weights.len());
            prop_assert_eq!(parts.iter().map(|part| i128::from(part.minor)).sum::<i128>(), i128::from(minor));
        }

        #[test]
        fn tax_is_within_half_a_cent_of_the_fraction(minor in -1_000_000_000_i64..1_000_000_000) {
            let tax = Money::new(minor, Currency::Zar).tax_included(Decimal::from(15)).unwrap().minor;
            prop_assert!((i128::from(tax) * 115 * 2 - i128::from(minor) * 15 * 2).abs() <= 115);
        }
    }
}
