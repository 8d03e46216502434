//! What entries sum to by account and currency, and how that compares with what was projected.

use std::collections::{BTreeMap, BTreeSet};

use super::posted::Posted;
use crate::db;

/// What the entries of an account in a currency sum to.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Balance {
    /// The account.
    pub account_id: String,
    /// The currency.
    pub currency: String,
    /// The sum; debits are positive.
    pub balance_minor: i64,
    /// Where in the chain it changed last.
    pub position: i64,
}

/// A balance that does not fit into what it is stored in: more money than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a balance of the ledger is beyond all bounds")]
pub struct Overflow;

/// Sums in the making, as many as there are accounts and currencies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<(String, String), Sum>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    minor: i128,
    position: i64,
}

/// A balance that is not the sum of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The account.
    pub account_id: String,
    /// The currency.
    pub currency: String,
    /// What was projected, and up to which position; none when nothing was.
    pub projected: Option<(i64, i64)>,
    /// What the entries sum to, and at which position the last of them is; none when there are none.
    pub summed: Option<(i128, i64)>,
}

impl Sums {
    /// Adds the entries of the transaction at a position.
    pub fn add(&mut self, position: i64, posted: &Posted) {
        for entry in &posted.entries {
            self.add_sum(&entry.account_id, &entry.currency, entry.amount_minor.into(), position);
        }
    }

    /// Adds what entries up to a position sum to.
    pub fn add_sum(&mut self, account_id: &str, currency: &str, minor: i128, position: i64) {
        let sum = self.0.entry((account_id.to_owned(), currency.to_owned())).or_default();
        sum.minor = sum.minor.saturating_add(minor);
        sum.position = sum.position.max(position);
    }

    /// The sums as they are stored.
    ///
    /// # Errors
    /// When one is too large.
    pub fn balances(&self) -> Result<Vec<Balance>, Overflow> {
        let stored = self.0.iter().map(|((account_id, currency), sum)| {
            let balance_minor = i64::try_from(sum.minor).map_err(|_| Overflow)?;
            let (account_id, currency) = (account_id.clone(), currency.clone());
            Ok(Balance { account_id, currency, balance_minor, position: sum.position })
        });
        stored.collect()
    }

    /// Where what was projected differs from these sums.
    #[must_use]
    pub fn drifts(&self, projected: &[Balance]) -> Vec<Drift> {
        let projected: BTreeMap<(String, String), (i64, i64)> = projected
            .iter()
            .map(|row| ((row.account_id.clone(), row.currency.clone()), (row.balance_minor, row.position)))
            .collect();
        let keys: BTreeSet<&(String, String)> = projected.keys().chain(self.0.keys()).collect();
        let compared = keys.into_iter().map(|key| Drift {
            account_id: key.0.clone(),
            currency: key.1.clone(),
            projected: projected.get(key).copied(),
            summed: self.0.get(key).map(|sum| (sum.minor, sum.position)),
        });
        compared.filter(|drift| !drift.is_none()).collect()
    }
}

impl Drift {
    fn is_none(&self) -> bool {
        self.projected.map(|(minor, position)| (i128::from(minor), position)) == self.summed
    }
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.projected {
            Some((minor, position)) => {
                write!(f, "is projected as {minor} minor units up to position {position}")?;
            }
            None => write!(f, "is not projected")?,
        }
        match self.summed {
            Some((minor, position)) => {
                write!(f, ", and its entries sum to {minor}, the last of them at position {position}")
            }
            None => write!(f, ", and it has no sealed entries"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(account: &str, balance_minor: i64, position: i64) -> Balance {
        Balance { account_id: account.to_owned(), currency: "ZAR".to_owned(), balance_minor, position }
    }

    fn sums(parts: &[(&str, i64, i64)]) -> Sums {
        let mut sums = Sums::default();
        for (account, minor, position) in parts {
            sums.add_sum(account, "ZAR", i128::from(*minor), *position);
        }
        sums
    }

    #[test]
    fn every_difference_is_told() {
        let sums = sums(&[("a", 5, 1), ("b", -5, 1), ("a", 2, 3), ("c", -2, 3)]);
        let whole = sums.balances().unwrap();
        assert_eq!(whole, [row("a", 7, 3), row("b", -5, 1), row("c", -2, 3)]);
        assert_eq!(sums.drifts(&whole), []);
        let drifted = |rows: &[Balance]| -> Vec<(String, String)> {
            sums.drifts(rows).iter().map(|drift| (drift.account_id.clone(), drift.to_string())).collect()
        };
        for (which, changed, says) in [
            (0, Some(row("a", 8, 3)), "is projected as 8 minor units up to position 3"),
            (0, Some(row("a", 7, 2)), "is projected as 7 minor units up to position 2"),
            (1, None, "is not projected"),
        ] {
            let mut rows = whole.clone();
            match changed {
                Some(changed) => rows[which] = changed,
                None => drop(rows.remove(which)),
            }
            let [(account, told)] = drifted(&rows).try_into().unwrap();
            assert_eq!(account, whole[which].account_id);
            assert!(told.starts_with(says), "{told}");
        }
        let added = [whole.as_slice(), &[row("d", 0, 1)]].concat();
        assert_eq!(
            drifted(&added),
            [(
                "d".to_owned(),
                "is projected as 0 minor units up to position 1, and it has no sealed entries".to_owned()
            )]
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert_eq!(sums(&[("a", i64::MAX, 1), ("a", 1, 2)]).balances(), Err(Overflow));
        assert!(sums(&[("a", i64::MAX, 1), ("a", 1, 2), ("a", -1, 3)]).balances().is_ok());
    }

    proptest! {
        /// Batches of any size come to the same: that is what makes a projection of its entries.
        #[test]
        fn sums_of_parts_are_sums_of_the_whole(
            parts in proptest::collection::vec(("[ab]", -9_i64..9), 0..20),
            cut in any::<proptest::sample::Index>(),
        ) {
            let parts: Vec<(&str, i64, i64)> =
                parts.iter().zip(1_i64..).map(|((account, minor), at)| (account.as_str(), *minor, at)).collect();
            let whole = sums(&parts);
            let (first, second) = parts.split_at(cut.index(parts.len() + 1));
            let mut joined = sums(first);
            for Balance { account_id, currency, balance_minor, position } in sums(second).balances().unwrap() {
                joined.add_sum(&account_id, &currency, balance_minor.into(), position);
            }
            prop_assert_eq!(joined, whole);
        }
    }
}
