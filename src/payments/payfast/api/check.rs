//! What may stand in a call: lengths and characters, checked before anything is sent, because PayFast answers a wrong
//! field with a riddle, and a path takes whatever stands in it.

use time::Date;

use super::super::encode::trim;
use crate::base::{Currency, Money, Violations};

/// How many characters a token has.
pub const TOKEN_CHARS: usize = 36;
/// The longest reference of ours that PayFast takes, in characters.
pub const REFERENCE_CHARS_MAX: usize = 100;
/// The smallest payment that PayFast takes, in cents.
pub const AMOUNT_MINOR_MIN: i64 = 500;
/// More than any card takes, in cents: what is larger is a mistake of ours.
pub const AMOUNT_MINOR_MAX: i64 = 1_000_000_000;
/// The longest id of PayFast's payments that is taken for one, in characters.
const ID_CHARS_MAX: usize = 36;

/// True for the id of a payment at PayFast: it goes into a path, so that it is letters, digits and hyphens only.
pub fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.len() <= ID_CHARS_MAX && text.bytes().all(plain)
}

/// True for a token of PayFast's.
pub fn is_token(text: &str) -> bool {
    is_id(text) && text.len() == TOKEN_CHARS
}

/// True for a reference of ours.
pub fn is_reference(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
    (1..=REFERENCE_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// A token.
pub fn token(violations: &mut Violations, token: &str) -> String {
    violations.check(is_token(token), "token", "must be 36 letters, digits and hyphens");
    token.to_owned()
}

/// A payment's id at PayFast.
pub fn payment(violations: &mut Violations, id: &str) -> String {
    violations.check(is_id(id), "pf_payment_id", "must be 1 to 36 letters, digits and hyphens");
    id.to_owned()
}

/// A reference of ours.
pub fn reference(violations: &mut Violations, reference: &str) -> String {
    let wrong = "must be 1 to 100 letters, digits, hyphens, underscores and slashes";
    violations.check(is_reference(reference), "m_payment_id", wrong);
    reference.to_owned()
}

/// An amount in cents: the API wants no decimals.
pub fn amount(violations: &mut Violations, amount: Money, least: i64) -> i64 {
    violations.check(amount.currency == Currency::Zar, "amount", "must be in rand");
    let fits = (least..=AMOUNT_MINOR_MAX).contains(&amount.minor);
    violations.check(fits, "amount", format!("must be from {least} to {AMOUNT_MINOR_MAX} cents"));
    amount.minor
}

/// One line of text, without the blanks around it that PayFast would not sign as we do.
pub fn line(
    violations: &mut Violations,
    field: &'static str,
    text: &str,
    least: usize,
    most: usize,
) -> String {
    let text = trim(text);
    violations.check(
        !text.chars().any(char::is_control),
        field,
        "must be one line without control characters",
    );
    let chars = text.chars().count();
    violations.check(
        (least..=most).contains(&chars),
        field,
        format!("must have {least} to {most} characters"),
    );
    // PHP takes the text 0 for nothing.
    violations.check(text != "0", field, "must not be 0");
    text.to_owned()
}

/// Digits only.
pub fn digits(
    violations: &mut Violations,
    field: &'static str,
    text: &str,
    least: usize,
    most: usize,
) -> String {
    let fits = (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    violations.check(fits, field, format!("must be {least} to {most} digits"));
    text.to_owned()
}

/// A date as PayFast writes it. A year that has not four digits is noted.
pub fn date(violations: &mut Violations, field: &'static str, date: Date) -> String {
    violations.check((1..=9_999).contains(&date.year()), field, "must be a date of four-digit years");
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}
