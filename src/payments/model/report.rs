//! What a verification of the books tells.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ledger::Account;
use super::posted::{Lack, Posted, TransactionId};
use crate::base::{Currency, Money};
use crate::chain::{self, Head};
use crate::db::words;

/// How many faults of each kind a report names.
pub const FAULTS_OF_A_KIND_MAX: i64 = 100;

words! {
    /// A kind of fault of the books.
    pub enum FaultKind {
        /// A transaction does not sum to zero, or has fewer than two entries.
        Unbalanced = "unbalanced",
        /// A transaction was never posted.
        Unposted = "unposted",
        /// An invoice disagrees with the ledger.
        Invoice = "invoice",
        /// A payment disagrees with the ledger.
        Payment = "payment",
        /// A receipt disagrees with the ledger, or with its refunds.
        Receipt = "receipt",
        /// A refund disagrees with the ledger.
        Refund = "refund",
        /// A chargeback disagrees with the ledger.
        Chargeback = "chargeback",
        /// A projected balance is not the sum of its entries.
        Projection = "projection",
        /// A transaction has a place in the chain, or waits for one, and is not there.
        TransactionMissing = "transaction_missing",
        /// A transaction is not what was sealed.
        TransactionChanged = "transaction_changed",
        /// A transaction holds what none can hold.
        TransactionUnreadable = "transaction_unreadable",
        /// A transaction has no place in the chain and does not wait for one.
        TransactionUnchained = "transaction_unchained",
        /// A position is not there.
        SealMissing = "seal_missing",
        /// A link does not hang on the one before.
        SealChanged = "seal_changed",
        /// A batch has no signed head.
        HeadMissing = "head_missing",
        /// A head is not of this chain, or its signature is wrong.
        HeadForged = "head_forged",
        /// A head was signed with another key than the one of this root key.
        HeadOfOtherKey = "head_of_other_key",
        /// The chain does not hold the head that the auditor knows.
        HeadUnknown = "head_unknown",
        /// The stored end of the chain is another than its last link.
        EndChanged = "end_changed",
    }
}

impl From<chain::Fault> for FaultKind {
    fn from(fault: chain::Fault) -> Self {
        match fault {
            chain::Fault::EntryMissing => Self::TransactionMissing,
            chain::Fault::EntryChanged => Self::TransactionChanged,
            chain::Fault::EntryUnreadable => Self::TransactionUnreadable,
            chain::Fault::EntryUnchained => Self::TransactionUnchained,
            chain::Fault::SealMissing => Self::SealMissing,
            chain::Fault::SealChanged => Self::SealChanged,
            chain::Fault::HeadMissing => Self::HeadMissing,
            chain::Fault::HeadForged => Self::HeadForged,
            chain::Fault::HeadOfOtherKey => Self::HeadOfOtherKey,
            chain::Fault::HeadUnknown => Self::HeadUnknown,
            chain::Fault::EndChanged => Self::EndChanged,
        }
    }
}

/// What a fault of the chain means, for people.
const fn sentence(fault: chain::Fault) -> &'static str {
    match fault {
        chain::Fault::EntryMissing => {
            "the transaction was sealed, or waits for it, and is not there any more"
        }
        chain::Fault::EntryChanged => {
            "the transaction is not the one that was sealed: its head, an entry or its posting was changed, added or \
             removed"
        }
        chain::Fault::EntryUnreadable => "the transaction cannot be read: a field holds what none can hold",
        chain::Fault::EntryUnchained => {
            "the transaction has no place in the chain and does not wait for one, or has entries and no head"
        }
        chain::Fault::SealMissing => {
            "there is no link at this position: it was removed, with or without its transaction"
        }
        chain::Fault::SealChanged => "the link at this position does not follow from the one before it",
        chain::Fault::HeadMissing => "the batch that holds this position has no signed head",
        chain::Fault::HeadForged => {
            "the signed head at this position is not of this chain: the head was changed, or a transaction of its \
             batch together with its link"
        }
        chain::Fault::HeadOfOtherKey => {
            "the head at this position was signed with another key: is this the root key that the ledger was sealed \
             with? If it is, the head is forged"
        }
        chain::Fault::HeadUnknown => {
            "the chain does not hold the head that is known at this position: it was cut off or written anew"
        }
        chain::Fault::EndChanged => "the stored end of the chain is not where its links end",
    }
}

/// Something wrong with the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub kind: FaultKind,
    /// The transaction, invoice or payment; of a balance its account and currency; empty when it is not known.
    pub subject: String,
    /// One sentence.
    pub detail: String,
}

/// The first place where the chain is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The position; none for a transaction without one.
    pub position: Option<i64>,
    /// The transaction, as far as it can be told.
    pub transaction: Option<TransactionId>,
    /// What is wrong.
    pub kind: FaultKind,
    /// What that means, for people.
    pub detail: &'static str,
}

impl From<chain::Bad> for Broken {
    fn from(bad: chain::Bad) -> Self {
        let transaction = bad.id.map(TransactionId::from_uuid);
        Self { position: bad.position, transaction, kind: bad.fault.into(), detail: sentence(bad.fault) }
    }
}

impl Broken {
    /// It as one of the faults of the books.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let subject = self.transaction.map(|id| id.to_string()).unwrap_or_default();
        let detail = match self.position {
            Some(position) => format!("position {position}: {}", self.detail),
            None => self.detail.to_owned(),
        };
        Fault { kind: self.kind, subject, detail }
    }
}

/// How the chain stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// How many positions were followed: all of them when nothing is wrong.
    pub sealed: i64,
    /// How many transactions waited for a place.
    pub unsealed: i64,
    /// For how long the first of them had waited.
    pub unsealed_for: Duration,
    /// The last signed head that holds.
    pub head: Option<Head>,
    /// The first place where something is wrong.
    pub broken: Option<Broken>,
    /// The public half of the key that heads should be signed with.
    pub public_key: [u8; 32],
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
    /// The balance of each account in each currency: what is projected, and what waits for a place in the chain.
    pub balances: Vec<(Account, Money)>,
    /// How the chain stands.
    pub chain: Chain,
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

/// Faults, of each kind so many at most.
#[derive(Debug, Default)]
pub struct Findings {
    /// The faults, in the order in which they were found.
    pub faults: Vec<Fault>,
    counts: BTreeMap<FaultKind, i64>,
}

impl Findings {
    /// Notes a fault.
    pub fn note(&mut self, kind: FaultKind, subject: String, detail: String) {
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
        if *count <= FAULTS_OF_A_KIND_MAX {
            self.faults.push(Fault { kind, subject, detail });
        }
    }

    /// Notes what a transaction lacks.
    pub fn lacking(&mut self, posted: &Posted) {
        for lack in posted.lacks() {
            let (kind, detail) = match lack {
                Lack::Posting => (FaultKind::Unposted, "was never posted".to_owned()),
                Lack::Entries(count) => {
                    (FaultKind::Unbalanced, format!("has {count} entries instead of at least two"))
                }
                Lack::Balance { currency, sum } => (
                    FaultKind::Unbalanced,
                    format!("sums to {sum} minor units of {currency} instead of zero"),
                ),
            };
            self.note(kind, posted.head.id.to_string(), detail);
        }
    }
}

/// What balances sum to in each currency.
#[must_use]
pub fn totals(balances: &[(Account, Money)]) -> Vec<Money> {
    let mut sums: BTreeMap<Currency, i64> = BTreeMap::new();
    for (_, balance) in balances {
        let sum = sums.entry(balance.currency).or_default();
        *sum = sum.saturating_add(balance.minor);
    }
    sums.into_iter().map(|(currency, minor)| Money::new(minor, currency)).collect()
}
