//! How a document writes dates, amounts and names. One style, everywhere.

use std::time::Duration;

use time::OffsetDateTime;

use crate::base::text::is_hidden;
use crate::base::{Currency, Money, Timestamp};

use super::super::model::period::Period;
use super::form::Form;
use super::{Document, Kind};

/// South Africa's time is two hours ahead of UTC, all year.
const SAST: Duration = Duration::from_hours(2);
/// What stands across a document of a test.
pub(super) const NOT_A_TAX_INVOICE: &str = "TEST — NOT A TAX INVOICE";

/// The calendar in South Africa. Only the date and the time of day are to be read from it.
pub(super) fn in_south_africa(at: Timestamp) -> OffsetDateTime {
    at.plus(SAST).to_utc()
}

/// The date in South Africa, such as `26 November 2026`.
#[must_use]
pub fn date(at: Timestamp) -> String {
    let day = in_south_africa(at);
    format!("{} {} {}", day.day(), day.month(), day.year())
}

/// The date in South Africa as machines write it, such as `2026-11-26`.
pub(super) fn iso_date(at: Timestamp) -> String {
    let day = in_south_africa(at);
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

/// The last moment of a period, whose end is the first one after it.
pub(super) fn last_moment(period: Period) -> Timestamp {
    period.end.minus(Duration::from_micros(1)).max(period.start)
}

/// From the first to the last day, such as `26 November 2026 to 25 December 2026`.
pub(super) fn period(period: Period) -> String {
    format!("{} to {}", date(period.start), date(last_moment(period)))
}

/// An amount, such as `R 1 799.00` or `-R 20.00`; of another currency, such as `USD 1 799.00`.
#[must_use]
pub fn amount(minor: i64, currency: Currency) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let symbol = match currency {
        Currency::Zar => "R",
        other => other.code(),
    };
    let digits = Money::new(minor, currency).to_decimal_string();
    let digits = digits.trim_start_matches('-');
    let (whole, cents) = digits.split_once('.').unwrap_or((digits, ""));
    let point = if cents.is_empty() { "" } else { "." };
    format!("{sign}{symbol} {}{point}{cents}", grouped(whole))
}

/// Digits in groups of three, such as `1 234 567`.
pub(super) fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A rate of tax without what says nothing, such as `15%` or `15.5%`.
pub(super) fn rate(bp: i64) -> String {
    format!("{}%", percent(bp))
}

/// A rate of tax as a number of percent, such as `15` or `15.5`.
pub(super) fn percent(bp: i64) -> String {
    let digits = rust_decimal::Decimal::new(bp, 2).normalize();
    digits.to_string()
}

/// What a document calls itself.
pub(super) fn title(document: &Document, form: Form) -> &'static str {
    match (&document.kind, form) {
        (Kind::TaxInvoice, Form::Full | Form::Abridged) => "Tax Invoice",
        (Kind::TaxInvoice, Form::Plain) => "Invoice",
        (Kind::TaxInvoice, Form::Test) => "Test Invoice",
        (Kind::CreditNote(_), Form::Test) => "Test Credit Note",
        (Kind::CreditNote(_), _) => "Credit Note",
    }
}

/// A text as it may stand in one line: nothing hidden in it, and no more than one space in a row.
pub(super) fn line(text: &str) -> String {
    let visible: String = text.chars().map(shown).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The lines of an address that hold something. Those beyond `lines_max` are joined with the last.
pub(super) fn lines(text: &str, lines_max: usize) -> Vec<String> {
    let all: Vec<String> = text.lines().map(line).filter(|line| !line.is_empty()).collect();
    let kept = lines_max.saturating_sub(1).min(all.len());
    let (kept, rest) = all.split_at(kept);
    let mut kept = kept.to_vec();
    if !rest.is_empty() {
        kept.push(rest.join(", "));
    }
    kept
}

/// A character as it is shown. What is not seen, or turns the direction of what follows, becomes a space; what means
/// nothing outside one machine, and what PDF forbids, is replaced in view of everybody.
fn shown(letter: char) -> char {
    if is_hidden(letter) {
        return ' ';
    }
    match letter {
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'.. => char::REPLACEMENT_CHARACTER,
        _ if u32::from(letter) & 0xfffe == 0xfffe => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn dates_are_those_of_south_africa() {
        assert_eq!(date(at("2026-11-26T21:59:59Z")), "26 November 2026");
        assert_eq!(date(at("2026-11-26T22:00:00Z")), "27 November 2026");
        assert_eq!(iso_date(at("2026-12-31T22:00:00Z")), "2027-01-01");
        // No summer time.
        assert_eq!(iso_date(at("2026-06-30T21:59:59Z")), "2026-06-30");
    }

    #[test]
    fn a_period_ends_on_its_last_day() {
        let months = Period { start: at("2026-10-31T22:00:00Z"), end: at("2026-11-30T22:00:00Z") };
        assert_eq!(period(months), "1 November 2026 to 30 November 2026");
        let empty = Period { start: at("2026-10-31T22:00:00Z"), end: at("2026-10-31T22:00:00Z") };
        assert_eq!(period(empty), "1 November 2026 to 1 November 2026");
    }

    #[test]
    fn amounts_have_one_style() {
        let rand = |minor| amount(minor, Currency::Zar);
        assert_eq!(rand(179_900), "R 1 799.00");
        assert_eq!(
            (rand(0).as_str(), rand(5).as_str(), rand(99_999).as_str()),
            ("R 0.00", "R 0.05", "R 999.99")
        );
        assert_eq!(rand(-2_000), "-R 20.00");
        assert_eq!(rand(123_456_789_012), "R 1 234 567 890.12");
        assert_eq!(rand(i64::MIN), "-R 92 233 720 368 547 758.08");
        assert_eq!(amount(179_900, Currency::Usd), "USD 1 799.00");
        assert_eq!(
            (rate(1_500), rate(1_550), rate(0)),
            ("15%".to_owned(), "15.5%".to_owned(), "0%".to_owned())
        );
    }

    #[test]
    fn what_is_hidden_is_not_drawn() {
        assert_eq!(line(" Ada\u{202e} \u{200b}Ltd\r\n(Pty)\u{0} "), "Ada Ltd (Pty)");
        assert_eq!(line("a\u{e000}b\u{fffe}c\u{10ffff}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(
            lines("1 Long Street\n\n Cape Town \n8001\nRSA", 3),
            ["1 Long Street", "Cape Town", "8001, RSA"]
        );
        assert_eq!(lines("", 3), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn an_amount_loses_no_digit(minor: i64) {
            let digits: String = amount(minor, Currency::Zar).chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(digits.parse::<u64>().unwrap(), minor.unsigned_abs());
        }
    }
}
