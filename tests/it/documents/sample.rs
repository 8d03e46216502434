//! A document of each kind.

use std::time::Duration;

use capecontrol::base::Currency;
use capecontrol::payments::Supplier;
use capecontrol::payments::document::{Corrected, Customer, Document, Kind, Line, Payment, RateTotal};
use capecontrol::payments::model::period::Period;

use super::ISSUED;

const DAY: Duration = Duration::from_hours(24);

pub fn all() -> Vec<(&'static str, Document)> {
    vec![
        ("full", full()),
        ("abridged", abridged()),
        ("credit-note", credit_note()),
        ("test", Document { test: true, ..full() }),
        ("copy", Document { copy: true, ..abridged() }),
        ("plain", plain()),
        ("two-rates", two_rates()),
        ("long", long()),
        ("names", names()),
    ]
}

/// A full tax invoice, paid.
pub fn full() -> Document {
    let total_minor = 1_719_000;
    Document {
        kind: Kind::TaxInvoice,
        number: "INV-000123".to_owned(),
        issued_at: ISSUED,
        due_at: None,
        supplier: Supplier { address: "12 Long Street\nCape Town\n8001".to_owned(), ..Supplier::default() },
        customer: Customer {
            name: "Table Bay Traders (Pty) Ltd".to_owned(),
            vat_number: "4012345678".to_owned(),
            address: "1 Dock Road\nVictoria & Alfred Waterfront\nCape Town\n8002".to_owned(),
            country: "ZA".to_owned(),
        },
        currency: Currency::Zar,
        prices_include_tax: true,
        lines: vec![Line {
            description: "Enterprise plan, yearly".to_owned(),
            quantity: 1,
            unit_minor: total_minor,
            total_minor,
            rate_bp: 1_500,
            period: Some(Period { start: ISSUED, end: ISSUED.plus(DAY * 365) }),
        }],
        totals: vec![RateTotal {
            rate_bp: 1_500,
            net_minor: 1_494_783,
            tax_minor: 224_217,
            gross_minor: total_minor,
        }],
        payments: vec![paid(total_minor)],
        test: false,
        copy: false,
    }
}

/// One of a small amount, its buyer unknown.
pub fn abridged() -> Document {
    let total_minor = 52_900;
    let plan = Line {
        description: "Pro plan, monthly".to_owned(),
        unit_minor: total_minor,
        total_minor,
        period: Some(Period { start: ISSUED, end: ISSUED.plus(DAY * 30) }),
        ..full().lines.remove(0)
    };
    Document {
        number: "INV-000124".to_owned(),
        customer: Customer::default(),
        lines: vec![plan],
        totals: vec![RateTotal {
            rate_bp: 1_500,
            net_minor: 46_000,
            tax_minor: 6_900,
            gross_minor: total_minor,
        }],
        payments: vec![paid(total_minor)],
        ..full()
    }
}

/// A part of the full invoice, credited and paid back.
pub fn credit_note() -> Document {
    let total_minor = 1_575_750;
    let line = Line {
        description: "Enterprise plan, yearly: eleven months not used".to_owned(),
        unit_minor: total_minor,
        total_minor,
        period: None,
        ..full().lines.remove(0)
    };
    Document {
        kind: Kind::CreditNote(Corrected {
            number: "INV-000123".to_owned(),
            issued_at: ISSUED,
            total_minor: 1_719_000,
            reason: "The plan was cancelled within the cooling-off period; eleven months are given back."
                .to_owned(),
        }),
        number: "CN-000007".to_owned(),
        issued_at: ISSUED.plus(DAY * 5),
        lines: vec![line],
        totals: vec![RateTotal {
            rate_bp: 1_500,
            net_minor: 1_370_217,
            tax_minor: 205_533,
            gross_minor: total_minor,
        }],
        payments: vec![Payment { at: ISSUED.plus(DAY * 5), ..paid(total_minor) }],
        ..full()
    }
}

/// Of a supplier who is not registered.
pub fn plain() -> Document {
    let mut document = abridged();
    document.supplier.vat_number.clear();
    document.customer = full().customer;
    document.lines[0].rate_bp = 0;
    document.totals = vec![RateTotal { rate_bp: 0, net_minor: 52_900, tax_minor: 0, gross_minor: 52_900 }];
    document
}

/// Prices without tax at two rates, with something taken off; not yet paid.
pub fn two_rates() -> Document {
    let line = |description: &str, quantity: i64, unit_minor: i64, rate_bp: i64| Line {
        description: description.to_owned(),
        quantity,
        unit_minor,
        total_minor: quantity * unit_minor,
        rate_bp,
        period: None,
    };
    Document {
        number: "INV-000125".to_owned(),
        due_at: Some(ISSUED.plus(DAY * 30)),
        prices_include_tax: false,
        lines: vec![
            line("Agent runs", 1_250, 20, 1_500),
            line("Loyalty discount", 1, -5_000, 1_500),
            line("Export of the same, to a customer abroad", 3, 10_000, 0),
        ],
        totals: vec![
            RateTotal { rate_bp: 1_500, net_minor: 20_000, tax_minor: 3_000, gross_minor: 23_000 },
            RateTotal { rate_bp: 0, net_minor: 30_000, tax_minor: 0, gross_minor: 30_000 },
        ],
        payments: Vec::new(),
        ..full()
    }
}

/// Two hundred lines.
pub fn long() -> Document {
    let amounts: Vec<i64> = (1..=200).map(|at| at * at * 37).collect();
    let lines = (1..).zip(&amounts).map(|(at, minor)| Line {
        description: format!("Agent run {at:03}, a long conversation with many tools"),
        unit_minor: *minor,
        total_minor: *minor,
        period: (at % 3 == 0).then_some(Period { start: ISSUED, end: ISSUED.plus(DAY * 30) }),
        ..full().lines.remove(0)
    });
    let gross_minor: i64 = amounts.iter().sum();
    let tax_minor = (gross_minor * 15 * 2 + 115) / 230;
    Document {
        lines: lines.collect(),
        totals: vec![RateTotal {
            rate_bp: 1_500,
            net_minor: gross_minor - tax_minor,
            tax_minor,
            gross_minor,
        }],
        payments: vec![paid(gross_minor)],
        ..full()
    }
}

/// Names and addresses of all the length and kinds that are taken.
pub fn names() -> Document {
    let mut document = full();
    let name = "Ṱhohoyanḓou Ñandú Söhne — Ελληνικά, Українська, 漢字 and Descendants of the Founders of the First \
                General Trading, Shipping, Storage and Forwarding Company of the Southern Cape (Pty) Ltd";
    let address = [
        "Unit 1204, The Towers North and South, Corner of Hans Strijdom Avenue and Heerengracht",
        "№ 5, Straße Ø",
        "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
        "قصر العدل",
        "Foreshore",
        "Cape Town",
        "Western Cape",
        "Republic of South Africa",
        "8001",
        "Africa",
    ];
    document.customer.name = name.to_owned();
    document.customer.address = address.join("\n");
    let description = "The Enterprise plan, for a whole year, with everything that belongs to it: agents, \
                       executions, storage, and a person who answers the telephone, also at night, in English, \
                       isiXhosa, Afrikaans and 日本語.";
    document.lines[0].description = description.to_owned();
    document
}

fn paid(amount_minor: i64) -> Payment {
    Payment { method: "PayFast".to_owned(), reference: "1089250".to_owned(), at: ISSUED, amount_minor }
}
