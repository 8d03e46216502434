//! Documents for tests, and a strategy that makes any.

use proptest::prelude::*;

use super::super::model::period::Period;
use super::super::options::Supplier;
use super::{Corrected, Customer, Document, Kind, Line, Payment, RateTotal};
use crate::base::{Currency, Timestamp};

const ISSUED: Timestamp = Timestamp::from_seconds(1_795_168_800);

/// A full tax invoice of one line, paid.
pub(super) fn document() -> Document {
    let period = Period { start: ISSUED, end: Timestamp::from_seconds(1_795_168_800 + 30 * 86_400) };
    Document {
        kind: Kind::TaxInvoice,
        number: "INV-000123".to_owned(),
        issued_at: ISSUED,
        due_at: None,
        supplier: Supplier { address: "12 Long Street\nCape Town\n8001".to_owned(), ..Supplier::default() },
        customer: Customer {
            name: "Table Bay Traders (Pty) Ltd".to_owned(),
            vat_number: "4012345678".to_owned(),
            address: "1 Dock Road\nCape Town\n8002".to_owned(),
            country: "ZA".to_owned(),
        },
        currency: Currency::Zar,
        prices_include_tax: true,
        lines: vec![Line {
            description: "Enterprise plan, yearly".to_owned(),
            quantity: 1,
            unit_minor: 1_719_000,
            total_minor: 1_719_000,
            rate_bp: 1_500,
            period: Some(period),
        }],
        totals: vec![RateTotal {
            rate_bp: 1_500,
            net_minor: 1_494_783,
            tax_minor: 224_217,
            gross_minor: 1_719_000,
        }],
        payments: vec![Payment {
            method: "PayFast".to_owned(),
            reference: "1089250".to_owned(),
            at: ISSUED,
            amount_minor: 1_719_000,
        }],
        test: false,
        copy: false,
    }
}

/// A credit note over the whole of it.
pub(super) fn credit_note() -> Document {
    Document {
        kind: Kind::CreditNote(Corrected {
            number: "INV-000123".to_owned(),
            issued_at: ISSUED,
            total_minor: 1_719_000,
            reason: "The agent did not work.".to_owned(),
        }),
        number: "CN-000007".to_owned(),
        ..document()
    }
}

/// Gives a document so many lines, and the sums that go with them.
pub(super) fn fill(document: &mut Document, count: usize) {
    let line = document.lines[0].clone();
    let amounts = (1_i64..).map(|at| at * 10_007);
    document.lines = amounts
        .take(count)
        .map(|minor| Line { unit_minor: minor, total_minor: minor, ..line.clone() })
        .collect();
    total(document);
}

/// The sums that go with the lines, and a payment of all.
pub(super) fn total(document: &mut Document) {
    let mut rates: Vec<i64> = document.lines.iter().map(|line| line.rate_bp).collect();
    rates.sort_unstable();
    rates.dedup();
    let sum = |rate_bp: i64| -> RateTotal {
        let of_rate = document.lines.iter().filter(|line| line.rate_bp == rate_bp);
        let sum: i64 = of_rate.map(|line| line.total_minor).sum();
        let whole = if document.prices_include_tax { 10_000 + rate_bp } else { 10_000 };
        let tax_minor = (sum * rate_bp * 2 + whole * sum.signum()) / (whole * 2);
        let net_minor = if document.prices_include_tax { sum - tax_minor } else { sum };
        RateTotal { rate_bp, net_minor, tax_minor, gross_minor: net_minor + tax_minor }
    };
    document.totals = rates.into_iter().map(sum).collect();
    document.payments.truncate(1);
    let total = document.total_minor();
    document.payments.iter_mut().for_each(|payment| payment.amount_minor = total);
    document.payments.retain(|payment| payment.amount_minor > 0);
}

fn text(chars: usize) -> impl Strategy<Value = String> {
    // Any Unicode; what people type; what cannot be broken; what is hidden.
    prop_oneof![
        proptest::collection::vec(any::<char>(), 1..chars).prop_map(String::from_iter),
        "[A-Za-z0-9 .,&-]{1,60}",
        "[W漢م]{40,90}",
        "[ \u{200b}\u{202e}\u{e000}\r\n]{0,8}x",
    ]
    .prop_filter("something must be seen", |text| !super::words::line(text).is_empty())
}

fn line(rates: &'static [i64]) -> impl Strategy<Value = Line> {
    let amounts = prop_oneof![1_i64..500_000, 1_i64..10_000_000_000, Just(0)];
    let periods = proptest::option::of((0_i64..4_000_000_000, 0_i64..40_000_000));
    (text(120), 1_i64..1_000_000, amounts, proptest::sample::select(rates), periods).prop_map(
        |(description, quantity, total_minor, rate_bp, period)| Line {
            description,
            quantity,
            unit_minor: total_minor / quantity,
            total_minor,
            rate_bp,
            period: period.map(|(start, length)| Period {
                start: Timestamp::from_seconds(start),
                end: Timestamp::from_seconds(start + length),
            }),
        },
    )
}

/// Any document that can be issued.
pub(super) fn documents() -> impl Strategy<Value = Document> {
    let lines = prop_oneof![
        proptest::collection::vec(line(&[1_500]), 1..6),
        proptest::collection::vec(line(&[1_500, 0, 1_550]), 1..60),
    ];
    let texts = (text(100), text(100), text(200), text(100), text(200), text(40), text(150));
    (lines, texts, any::<[bool; 4]>(), 0_i64..4_000_000_000).prop_map(|(lines, texts, flags, at)| {
        let (legal_name, trading_name, supplier_address, name, address, number, reason) = texts;
        let [test, copy, prices_include_tax, credits] = flags;
        let corrected = Corrected { number: number.clone(), issued_at: ISSUED, total_minor: 1, reason };
        let mut document = Document {
            kind: if credits { Kind::CreditNote(corrected) } else { Kind::TaxInvoice },
            issued_at: Timestamp::from_seconds(at),
            supplier: Supplier { legal_name, trading_name, address: supplier_address, ..Supplier::default() },
            customer: Customer { name, address, ..Customer::default() },
            number,
            prices_include_tax,
            lines,
            test,
            copy,
            ..document()
        };
        total(&mut document);
        document
    })
}
