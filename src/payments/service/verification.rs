//! Recomputing the books and comparing them with what the rest of the platform believes.

use std::collections::BTreeMap;

use crate::auth::Caller;
use crate::base::{Currency, Money};
use crate::db::Scope;
use crate::payments::Error;
use crate::payments::model::ledger::Account;
use crate::payments::store::verification as store;

use super::Service;
use super::reading::administrator;

/// How many faults of each kind a report names.
const FAULTS_MAX: i64 = 100;

/// A kind of fault of the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A transaction does not sum to zero, or has fewer than two entries.
    Unbalanced,
    /// A transaction was never posted.
    Unposted,
    /// An invoice disagrees with the ledger.
    Invoice,
    /// A payment disagrees with the ledger.
    Payment,
    /// A chargeback disagrees with the ledger.
    Chargeback,
}

/// Something wrong with the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub kind: FaultKind,
    /// The transaction, invoice or payment.
    pub subject: String,
    /// One sentence.
    pub detail: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many transactions there are.
    pub transactions: i64,
    /// How many entries there are.
    pub entries: i64,
    /// The sum of all entries in each currency.
    pub totals: Vec<Money>,
    /// The balance of each account in each currency.
    pub balances: Vec<(Account, Money)>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

impl Report {
    /// True when nothing is wrong.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.faults.is_empty() && self.totals.iter().all(|total| total.minor == 0)
    }
}

impl Service {
    /// Recomputes the ledger, for platform administrators.
    pub async fn verify_ledger(&self, caller: &Caller) -> Result<Report, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(Scope::System("payments.verify_ledger")).await?;
        let (transactions, entries) = store::counts(&mut conn).await?;
        let balances: Vec<(Account, Money)> = store::balances(&mut conn)
            .await?
            .into_iter()
            .map(|(account, currency, minor)| (account, Money::new(minor, currency)))
            .collect();
        let mut faults = Vec::new();
        for (id, currency, sum) in store::unbalanced(&mut conn, FAULTS_MAX).await? {
            let detail = format!("sums to {} instead of zero", Money::new(sum, currency));
            faults.push(Fault { kind: FaultKind::Unbalanced, subject: id.to_string(), detail });
        }
        for (id, entries, posted) in store::incomplete(&mut conn, FAULTS_MAX).await? {
            let (kind, detail) = if posted == 0 {
                (FaultKind::Unposted, "was never posted".to_owned())
            } else {
                (FaultKind::Unbalanced, format!("has {entries} entries instead of at least two"))
            };
            faults.push(Fault { kind, subject: id.to_string(), detail });
        }
        let issued = store::issued(&mut conn, FAULTS_MAX).await?.into_iter().map(|row| ("earned", row));
        let owed = store::owed(&mut conn, FAULTS_MAX).await?.into_iter().map(|row| ("owed", row));
        for (what, (id, expected, booked)) in issued.chain(owed) {
            let detail = format!("{what}: {}", disagreement(expected, booked));
            faults.push(Fault { kind: FaultKind::Invoice, subject: id.to_string(), detail });
        }
        for (id, expected, booked) in store::payments(&mut conn, FAULTS_MAX).await? {
            let detail = disagreement(expected, booked);
            faults.push(Fault { kind: FaultKind::Payment, subject: id.to_string(), detail });
        }
        for (id, expected, booked) in store::chargebacks(&mut conn, FAULTS_MAX).await? {
            let detail = disagreement(expected, booked);
            faults.push(Fault { kind: FaultKind::Chargeback, subject: id.to_string(), detail });
        }
        Ok(Report { transactions, entries, totals: totals(&balances), balances, faults })
    }
}

fn disagreement(expected: i64, booked: i64) -> String {
    format!("should have {expected} minor units in the ledger and has {booked}")
}

fn totals(balances: &[(Account, Money)]) -> Vec<Money> {
    let mut sums: BTreeMap<Currency, i64> = BTreeMap::new();
    for (_, balance) in balances {
        let sum = sums.entry(balance.currency).or_default();
        *sum = sum.saturating_add(balance.minor);
    }
    sums.into_iter().map(|(currency, minor)| Money::new(minor, currency)).collect()
}
