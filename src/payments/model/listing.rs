//! How lists of invoices are asked for: what they show, in which order, and a place in that order.
//!
//! Each order has a range of its own kind and no other, so that every page is read from one index: the invoices of one
//! state in one order, from a place on. How many invoices there are makes no difference then.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Invoice, InvoiceStatus};
use crate::base::Timestamp;

/// The longest beginning of a number or a name that is searched for, in characters.
pub const PREFIX_CHARS_MAX: usize = 200;

const EVERY_STATUS: [InvoiceStatus; 5] = [
    InvoiceStatus::Draft,
    InvoiceStatus::Open,
    InvoiceStatus::Paid,
    InvoiceStatus::Void,
    InvoiceStatus::Uncollectible,
];
/// The years 1 and 9999, which both engines can store.
const FIRST: Timestamp = Timestamp::from_micros(-62_135_596_800_000_000);
const LAST: Timestamp = Timestamp::from_micros(253_370_764_800_000_000);
/// Behind every text that begins alike: the last code point, which no text has.
const BEHIND: char = '\u{10ffff}';

/// What a list shows, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Invoices that stand so; all when empty.
    pub statuses: Vec<InvoiceStatus>,
    /// Invoices of tests, or only others.
    pub test: Option<bool>,
    /// The order, and the range in it.
    pub order: Order,
}

impl Listing {
    /// The states that it shows, each once.
    #[must_use]
    pub fn shown(&self) -> Vec<InvoiceStatus> {
        let named = |status: &InvoiceStatus| self.statuses.is_empty() || self.statuses.contains(status);
        EVERY_STATUS.into_iter().filter(named).collect()
    }

    /// Whether it shows invoices of tests, and whether it shows others: the words that are looked for.
    #[must_use]
    pub fn tests(&self) -> Vec<bool> {
        self.test.map_or_else(|| vec![false, true], |test| vec![test])
    }
}

/// The order of a list, and the part of it that is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Order {
    /// By when they were made, the last first.
    Newest(Span<Timestamp>),
    /// By when they were made, the first first.
    Oldest(Span<Timestamp>),
    /// By when they were issued, the last first.
    Issued(Span<Timestamp>),
    /// By when they are due, the first first.
    Due(Span<Timestamp>),
    /// By total, the largest first.
    Total(Span<i64>),
    /// By number; those that begin so.
    Number(String),
    /// By the customer's name as [`customer_key`] folds it; those that begin so.
    Customer(String),
}

impl Default for Order {
    fn default() -> Self {
        Self::Newest(Span::default())
    }
}

/// From a value on, and up to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span<T> {
    /// The first that is in it.
    pub from: Option<T>,
    /// The first that is no longer in it.
    pub until: Option<T>,
}

impl<T> Default for Span<T> {
    fn default() -> Self {
        Self { from: None, until: None }
    }
}

/// What an order sorts by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// A time.
    At(Timestamp),
    /// An amount.
    Minor(i64),
    /// A number or a name.
    Text(String),
}

/// A place in a list, behind the invoice that it names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// What the order sorts by.
    pub key: Key,
    /// Among equals, the invoice.
    pub id: Uuid,
}

impl Order {
    /// Whether it goes from large to small.
    #[must_use]
    pub const fn descends(&self) -> bool {
        matches!(self, Self::Newest(_) | Self::Issued(_) | Self::Total(_))
    }

    /// Before everything that is in its range.
    #[must_use]
    pub fn start(&self) -> Place {
        // No invoice has the nil id, so a place with it stands before all with the same key, from either side.
        let at = |key| Place { key, id: Uuid::nil() };
        at(match self {
            Self::Newest(span) | Self::Issued(span) => Key::At(span.until.unwrap_or(LAST)),
            Self::Oldest(span) | Self::Due(span) => Key::At(span.from.unwrap_or(FIRST)),
            Self::Total(span) => Key::Minor(span.until.unwrap_or(i64::MAX)),
            Self::Number(prefix) | Self::Customer(prefix) => Key::Text(prefix.clone()),
        })
    }

    /// Where its range ends: the last key that is in it when it descends, else the first that is not.
    #[must_use]
    pub fn end(&self) -> Key {
        match self {
            Self::Newest(span) | Self::Issued(span) => Key::At(span.from.unwrap_or(FIRST)),
            Self::Oldest(span) | Self::Due(span) => Key::At(span.until.unwrap_or(LAST)),
            Self::Total(span) => Key::Minor(span.from.unwrap_or(0)),
            Self::Number(prefix) | Self::Customer(prefix) => Key::Text(format!("{prefix}{BEHIND}")),
        }
    }

    /// The place of an invoice in it.
    #[must_use]
    pub fn place(&self, invoice: &Invoice) -> Place {
        let at = |at: Option<Timestamp>| Key::At(at.unwrap_or(FIRST));
        let key = match self {
            Self::Newest(_) | Self::Oldest(_) => Key::At(invoice.created_at),
            Self::Issued(_) => at(invoice.issued_at),
            Self::Due(_) => at(invoice.due_at),
            Self::Total(_) => Key::Minor(invoice.total_minor),
            Self::Number(_) => Key::Text(invoice.number.clone().unwrap_or_default()),
            Self::Customer(_) => Key::Text(customer_key(&invoice.customer_name)),
        };
        Place { key, id: invoice.id.uuid() }
    }
}

/// A customer's name as it is sorted and searched by: in small letters.
#[must_use]
pub fn customer_key(name: &str) -> String {
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::model::invoice::tests::issued;

    #[test]
    fn a_range_has_its_first_and_not_its_last() {
        let moment = Timestamp::from_seconds;
        let span = Span { from: Some(moment(10)), until: Some(moment(20)) };
        let inside = |order: &Order, at| {
            let invoice = Invoice { created_at: at, ..issued(100, 0) };
            let place = order.place(&invoice);
            if order.descends() {
                place < order.start() && place.key >= order.end()
            } else {
                place > order.start() && place.key < order.end()
            }
        };
        for order in [Order::Newest(span), Order::Oldest(span)] {
            let seen: Vec<bool> = [9, 10, 19, 20].map(|at| inside(&order, moment(at))).into();
            assert_eq!(seen, [false, true, true, false], "{order:?}");
        }
    }

    #[test]
    fn a_beginning_is_found_whatever_the_letters() {
        let named = |name: &str| Invoice { customer_name: name.to_owned(), ..issued(100, 0) };
        let order = Order::Customer(customer_key("ÉCO"));
        let found = |name: &str| {
            let place = order.place(&named(name));
            place > order.start() && place.key < order.end()
        };
        assert!(found("éco") && found("Économie (Pty) Ltd") && found(" ÉCOLE"));
        assert!(!found("Eco") && !found("Éc") && !found(""));
    }

    #[test]
    fn every_state_is_shown_once() {
        assert_eq!(Listing::default().shown(), EVERY_STATUS);
        let paid = vec![InvoiceStatus::Paid, InvoiceStatus::Paid];
        assert_eq!(Listing { statuses: paid, ..Listing::default() }.shown(), [InvoiceStatus::Paid]);
    }
}
