//! A ledger transaction as it is stored, its one encoding, which its digest is made of, and what it can be lacking.
//!
//! The encoding is part of the promise to auditors: `docs/ledger.md` describes it to the byte. A change of it is a new
//! version beside this one, for what was sealed keeps its digest. Accounts, kinds and currencies are kept as the words
//! that stand there, so that a word that somebody changed, or that a later version knows, is compared like any other.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{EventId, InvoiceId, PaymentId};
use crate::base::{Id, OrganizationId, Timestamp};
use crate::chain::Kind;
use crate::chain::encoding::{put, put_number, put_text, put_uuid};
use crate::db;

/// Marks the id of a ledger transaction.
pub enum TransactionMark {}

/// The id of a ledger transaction.
pub type TransactionId = Id<TransactionMark>;

/// What the links and heads of the ledger begin with, and the purpose of the key that signs.
pub const KIND: Kind =
    Kind::new(b"capecontrol ledger link 1\n", b"capecontrol ledger head 1\n", "ledger-heads");

/// What every encoding of this version begins with.
const TAG: &[u8] = b"capecontrol ledger transaction 1\n";

/// The head of a transaction with its posting.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Head {
    /// Its id.
    pub id: TransactionId,
    /// Whom it concerns, when known.
    pub organization_id: Option<OrganizationId>,
    /// What it records.
    pub kind: String,
    /// The payment, when known.
    pub payment_id: Option<PaymentId>,
    /// The invoice that is paid by it.
    pub invoice_id: Option<InvoiceId>,
    /// The notification that it comes from.
    pub event_id: Option<EventId>,
    /// One line for people.
    pub memo: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was posted; none when somebody took its posting away.
    pub posted_at: Option<Timestamp>,
}

/// An entry of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Entry {
    /// Whose it is.
    pub transaction_id: TransactionId,
    /// Its place in the transaction.
    pub position: i64,
    /// The account.
    pub account_id: String,
    /// The currency.
    pub currency: String,
    /// Debit when positive, credit when negative.
    pub amount_minor: i64,
}

/// A transaction: head, posting, and entries in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Head and posting.
    pub head: Head,
    /// The entries, in the order of their positions.
    pub entries: Vec<Entry>,
}

/// What a transaction lacks that every one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Its posting.
    Posting,
    /// A second entry: so many there are.
    Entries(usize),
    /// Balance: what its entries in a currency sum to.
    Balance {
        /// The currency.
        currency: String,
        /// The sum.
        sum: i128,
    },
}

impl Posted {
    /// Puts heads and entries together, each transaction with its own. Entries without a head are left out.
    #[must_use]
    pub fn join(heads: Vec<Head>, entries: Vec<Entry>) -> BTreeMap<TransactionId, Self> {
        let with_none = |head: Head| (head.id, Self { head, entries: Vec::new() });
        let mut joined: BTreeMap<_, _> = heads.into_iter().map(with_none).collect();
        for entry in entries {
            if let Some(posted) = joined.get_mut(&entry.transaction_id) {
                posted.entries.push(entry);
            }
        }
        joined
    }

    /// Writes the encoding into an empty buffer. No two different transactions have the same one: the number and the
    /// order of the fields are fixed or told, and each says whether it is there and how long it is.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { head, entries } = self;
        out.extend_from_slice(TAG);
        put_uuid(out, Some(head.id.uuid()));
        put_uuid(out, head.organization_id.map(Id::uuid));
        put_text(out, &head.kind);
        put_uuid(out, head.payment_id.map(Id::uuid));
        put_uuid(out, head.invoice_id.map(Id::uuid));
        put_uuid(out, head.event_id.map(Id::uuid));
        put_text(out, &head.memo);
        put_number(out, head.created_at.as_micros());
        put(out, head.posted_at.map(|at| at.as_micros().to_be_bytes()).as_ref().map(<[u8; 8]>::as_slice));
        put_number(out, i64::try_from(entries.len()).unwrap_or(i64::MAX));
        for entry in entries {
            put_number(out, entry.position);
            put_text(out, &entry.account_id);
            put_text(out, &entry.currency);
            put_number(out, entry.amount_minor);
        }
    }

    /// The digest that stands for the transaction in the chain. `buffer` is worked in, and may be used again.
    pub fn digest(&self, buffer: &mut Vec<u8>) -> [u8; 32] {
        buffer.clear();
        self.encode(buffer);
        Sha256::digest(buffer).into()
    }

    /// What it lacks.
    #[must_use]
    pub fn lacks(&self) -> Vec<Lack> {
        let mut lacks = Vec::new();
        if self.head.posted_at.is_none() {
            lacks.push(Lack::Posting);
        }
        if self.entries.len() < 2 {
            lacks.push(Lack::Entries(self.entries.len()));
        }
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for entry in &self.entries {
            *sums.entry(entry.currency.as_str()).or_default() += i128::from(entry.amount_minor);
        }
        let unbalanced = sums.into_iter().filter(|(_, sum)| *sum != 0);
        lacks.extend(unbalanced.map(|(currency, sum)| Lack::Balance { currency: currency.to_owned(), sum }));
        lacks
    }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::chain::encoding::{ABSENT, PRESENT};

    /// Any transaction, short fields and empty ones among them, where a careless encoding would mix two up.
    fn transactions() -> impl Strategy<Value = Posted> {
        let id = || any::<u128>().prop_map(Uuid::from_u128);
        let word = || "[ab\u{0}\u{1}]{0,3}";
        let entry = (0_i64..3, word(), word(), any::<i64>());
        let first = (id(), option::of(id()), word(), option::of(id()), option::of(id()));
        let second = (option::of(id()), word(), any::<i64>(), option::of(any::<i64>()));
        (first, second, proptest::collection::vec(entry, 0..4)).prop_map(|(first, second, entries)| Posted {
            head: Head {
                id: Id::from_uuid(first.0),
                organization_id: first.1.map(Id::from_uuid),
                kind: first.2,
                payment_id: first.3.map(Id::from_uuid),
                invoice_id: first.4.map(Id::from_uuid),
                event_id: second.0.map(Id::from_uuid),
                memo: second.1,
                created_at: Timestamp::from_micros(second.2),
                posted_at: second.3.map(Timestamp::from_micros),
            },
            entries: entries
                .into_iter()
                .map(|(position, account_id, currency, amount_minor)| Entry {
                    transaction_id: Id::from_uuid(first.0),
                    position,
                    account_id,
                    currency,
                    amount_minor,
                })
                .collect(),
        })
    }

    fn encoded(posted: &Posted) -> Vec<u8> {
        let mut out = Vec::new();
        posted.encode(&mut out);
        out
    }

    /// Reads an encoding as somebody else would who has only the description.
    fn decoded(bytes: &[u8]) -> Posted {
        let mut rest = bytes.strip_prefix(TAG).unwrap();
        let mut next = || {
            let (mark, after) = rest.split_first().unwrap();
            if *mark == ABSENT {
                rest = after;
                return None;
            }
            assert_eq!(*mark, PRESENT);
            let (length, after) = after.split_first_chunk::<4>().unwrap();
            let (field, after) = after.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
            rest = after;
            Some(field.to_vec())
        };
        let text = |field: Option<Vec<u8>>| String::from_utf8(field.unwrap()).unwrap();
        let id = |field: Option<Vec<u8>>| field.map(|bytes| Uuid::from_slice(&bytes).unwrap());
        let number = |field: Vec<u8>| i64::from_be_bytes(field.try_into().unwrap());
        let head = Head {
            id: Id::from_uuid(id(next()).unwrap()),
            organization_id: id(next()).map(Id::from_uuid),
            kind: text(next()),
            payment_id: id(next()).map(Id::from_uuid),
            invoice_id: id(next()).map(Id::from_uuid),
            event_id: id(next()).map(Id::from_uuid),
            memo: text(next()),
            created_at: Timestamp::from_micros(number(next().unwrap())),
            posted_at: next().map(number).map(Timestamp::from_micros),
        };
        let entries = (0..number(next().unwrap()))
            .map(|_| Entry {
                transaction_id: head.id,
                position: number(next().unwrap()),
                account_id: text(next()),
                currency: text(next()),
                amount_minor: number(next().unwrap()),
            })
            .collect();
        assert!(rest.is_empty());
        Posted { head, entries }
    }

    proptest! {
        /// What can be read back is not the encoding of anything else.
        #[test]
        fn an_encoding_is_of_one_transaction_only(posted in transactions()) {
            prop_assert_eq!(decoded(&encoded(&posted)), posted);
        }

        #[test]
        fn two_different_transactions_have_two_encodings(one in transactions(), other in transactions()) {
            prop_assert_eq!(one == other, encoded(&one) == encoded(&other));
        }

        /// The likeliest to be mixed up: the same, but for one thing.
        #[test]
        fn a_change_of_one_thing_changes_the_encoding(posted in transactions(), which in 0_usize..12) {
            let mut other = posted.clone();
            let no_entry = || Entry {
                transaction_id: posted.head.id,
                position: 0,
                account_id: String::new(),
                currency: String::new(),
                amount_minor: 0,
            };
            match which {
                0 => other.head.kind.push('a'),
                1 => other.head.memo.push('\u{0}'),
                2 => std::mem::swap(&mut other.head.kind, &mut other.head.memo),
                3 => other.head.payment_id = other.head.invoice_id.map(Id::uuid).map(Id::from_uuid),
                4 => other.head.posted_at = None,
                5 => other.head.created_at = Timestamp::from_micros(7),
                6 => other.entries.push(no_entry()),
                7 => drop(other.entries.pop()),
                8 => other.entries.reverse(),
                _ => {
                    for entry in &mut other.entries {
                        match which {
                            9 => entry.amount_minor = !entry.amount_minor,
                            10 => std::mem::swap(&mut entry.account_id, &mut entry.currency),
                            _ => entry.position ^= 1,
                        }
                    }
                }
            }
            prop_assert_eq!(posted == other, encoded(&posted) == encoded(&other));
        }
    }

    fn example() -> Posted {
        let id = Id::from_uuid(Uuid::from_u128(1));
        let entry = |position, account: &str, amount_minor| Entry {
            transaction_id: id,
            position,
            account_id: account.to_owned(),
            currency: "ZAR".to_owned(),
            amount_minor,
        };
        let at = Timestamp::from_seconds(1_795_168_800);
        Posted {
            head: Head {
                id,
                organization_id: Some(Id::from_uuid(Uuid::from_u128(2))),
                kind: "settlement".to_owned(),
                payment_id: Some(Id::from_uuid(Uuid::from_u128(3))),
                invoice_id: None,
                event_id: None,
                memo: String::new(),
                created_at: at,
                posted_at: Some(at),
            },
            entries: vec![entry(1, "payfast_clearing", 500), entry(2, "revenue", -500)],
        }
    }

    /// The example of `docs/ledger.md`. Whatever changes it breaks every ledger that was sealed before.
    #[test]
    fn the_encoding_is_what_the_page_says() {
        let hex: String = encoded(&example()).iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = [
            "6361706563 6f6e74726f6c 20 6c6564676572 20 7472616e73616374696f6e 20 31 0a",
            "01 00000010 00000000000000000000000000000001",
            "01 00000010 00000000000000000000000000000002",
            "01 0000000a 736574746c656d656e74",
            "01 00000010 00000000000000000000000000000003",
            "00 00",
            "01 00000000",
            "01 00000008 000660b24ea2c800",
            "01 00000008 000660b24ea2c800",
            "01 00000008 0000000000000002",
            "01 00000008 0000000000000001",
            "01 00000010 706179666173745f636c656172696e67",
            "01 00000003 5a4152",
            "01 00000008 00000000000001f4",
            "01 00000008 0000000000000002",
            "01 00000007 726576656e7565",
            "01 00000003 5a4152",
            "01 00000008 fffffffffffffe0c",
        ];
        assert_eq!(hex, expected.concat().replace(' ', ""));
    }

    #[test]
    fn what_a_transaction_lacks_is_told() {
        assert_eq!(example().lacks(), []);
        let mut lacking = example();
        lacking.head.posted_at = None;
        lacking.entries.truncate(1);
        let sum = Lack::Balance { currency: "ZAR".to_owned(), sum: 500 };
        assert_eq!(lacking.lacks(), [Lack::Posting, Lack::Entries(1), sum]);
        let mut huge = example();
        for entry in &mut huge.entries {
            entry.amount_minor = i64::MAX;
        }
        assert_eq!(huge.lacks().len(), 1);
    }
}
