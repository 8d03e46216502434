//! A checkout form that PayFast will take: each field by its own rule, and the fields among themselves.
//!
//! What must not be sent has no rule, so that it cannot be: `notify_method` and `currency` are known to one of PayFast's
//! libraries only, `fica_idnumber` to its pages only, and what is unsigned passes through the buyer's browser.

use std::collections::BTreeMap;

use reqwest::Url;
use time::Date;
use time::macros::format_description;

use super::super::api::call::Frequency;
use super::super::encode::trim;
use super::super::verdict::{amount_minor, amount_text};
use super::{SignedForm, sign};
use crate::base::{Currency, Money, Secret, Violations};

/// The smallest payment that PayFast takes, in cents, unless it only sets something up.
const AMOUNT_MINOR_MIN: i64 = 500;
/// The longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_000;

/// What may stand in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Digits,
    /// Letters and digits.
    Plain,
    /// Letters, digits, `-`, `_` and `/`.
    Reference,
    Address,
    /// An e-mail address, as far as can be seen.
    Mailbox,
    /// One line.
    Line,
    /// `123.45`.
    Amount,
    /// `2026-11-20`.
    Day,
    /// `1`: PHP takes a zero for nothing, so that a no is not sent at all.
    Set,
    /// `true` or `false`.
    Truth,
    /// Two or three small letters.
    Method,
    /// A whole number, 0 included.
    Count,
}

/// The fields that may be sent, with their longest value in characters.
const RULES: [(&str, Class, usize); 34] = [
    ("merchant_id", Class::Digits, 8),
    ("merchant_key", Class::Plain, 32),
    ("return_url", Class::Address, ADDRESS_BYTES_MAX),
    ("cancel_url", Class::Address, ADDRESS_BYTES_MAX),
    ("notify_url", Class::Address, ADDRESS_BYTES_MAX),
    ("name_first", Class::Line, 100),
    ("name_last", Class::Line, 100),
    ("email_address", Class::Mailbox, 100),
    ("cell_number", Class::Digits, 10),
    ("m_payment_id", Class::Reference, 100),
    ("amount", Class::Amount, 13),
    ("item_name", Class::Line, 100),
    ("item_description", Class::Line, 255),
    ("custom_int1", Class::Digits, 255),
    ("custom_int2", Class::Digits, 255),
    ("custom_int3", Class::Digits, 255),
    ("custom_int4", Class::Digits, 255),
    ("custom_int5", Class::Digits, 255),
    ("custom_str1", Class::Line, 255),
    ("custom_str2", Class::Line, 255),
    ("custom_str3", Class::Line, 255),
    ("custom_str4", Class::Line, 255),
    ("custom_str5", Class::Line, 255),
    ("email_confirmation", Class::Set, 1),
    ("confirmation_address", Class::Mailbox, 100),
    ("payment_method", Class::Method, 3),
    ("subscription_type", Class::Digits, 1),
    ("billing_date", Class::Day, 10),
    ("recurring_amount", Class::Amount, 13),
    ("frequency", Class::Digits, 1),
    ("cycles", Class::Count, 4),
    ("subscription_notify_email", Class::Truth, 5),
    ("subscription_notify_webhook", Class::Truth, 5),
    ("subscription_notify_buyer", Class::Truth, 5),
];

/// The fields that a form must have.
const REQUIRED: [&str; 4] = ["merchant_id", "merchant_key", "amount", "item_name"];

/// What PayFast is to charge by itself, on its own schedule.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When it charges first; today when none.
    pub billing_date: Option<Date>,
    /// How much it charges each time; the form's amount when none.
    pub amount: Option<Money>,
    /// How often.
    pub frequency: Frequency,
    /// How many times; 0 is for ever.
    pub cycles: u32,
    /// Whether we are told by mail before a trial ends or an amount rises.
    pub notify_email: Option<bool>,
    /// Whether our hook is told.
    pub notify_webhook: Option<bool>,
    /// Whether the buyer is told.
    pub notify_buyer: Option<bool>,
}

/// A form that is being put together.
pub struct Builder {
    fields: BTreeMap<String, String>,
    violations: Violations,
}

impl Builder {
    /// A form for this merchant.
    #[must_use]
    pub fn new(merchant_id: &str, merchant_key: &Secret<String>) -> Self {
        let empty = Self { fields: BTreeMap::new(), violations: Violations::new() };
        empty.put("merchant_id", merchant_id).put("merchant_key", merchant_key.expose())
    }

    /// Puts a value into a field. A blank one is not sent; a wrong one is noted.
    #[must_use]
    pub fn put(mut self, name: &str, value: &str) -> Self {
        match wrong(name, trim(value)) {
            None => self.set(name, value),
            Some(wrong) => self.violations.add(name, wrong),
        }
        self
    }

    /// Puts a value into a field if PayFast takes it. For what only spares the buyer some typing.
    #[must_use]
    pub fn offer(mut self, name: &str, value: &str) -> Self {
        if wrong(name, trim(value)).is_none() {
            self.set(name, value);
        }
        self
    }

    /// What is to be paid now.
    #[must_use]
    pub fn amount(mut self, amount: Money) -> Self {
        self.violations.check(amount.currency == Currency::Zar, "amount", "must be in rand");
        self.put("amount", &amount_text(amount.minor))
    }

    /// Has PayFast make a token, by which we charge whenever we want. With an amount of nothing the card is only set up.
    #[must_use]
    pub fn tokenize(self) -> Self {
        self.put("subscription_type", "2")
    }

    /// Has PayFast charge again by itself. With an amount of nothing the first time is free.
    #[must_use]
    pub fn subscribe(mut self, schedule: &Schedule) -> Self {
        if let Some(amount) = schedule.amount {
            self.violations.check(amount.currency == Currency::Zar, "recurring_amount", "must be in rand");
        }
        let truth = |flag: Option<bool>| flag.map(|flag| flag.to_string()).unwrap_or_default();
        self.put("subscription_type", "1")
            .put("billing_date", &schedule.billing_date.map(day_text).unwrap_or_default())
            .put(
                "recurring_amount",
                &schedule.amount.map(|amount| amount_text(amount.minor)).unwrap_or_default(),
            )
            .put("frequency", &schedule.frequency.code().to_string())
            .put("cycles", &schedule.cycles.to_string())
            .put("subscription_notify_email", &truth(schedule.notify_email))
            .put("subscription_notify_webhook", &truth(schedule.notify_webhook))
            .put("subscription_notify_buyer", &truth(schedule.notify_buyer))
    }

    /// Checks the fields among themselves, and signs.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn finish(mut self, passphrase: Option<&str>) -> Result<SignedForm, Violations> {
        for name in REQUIRED {
            let noted = self.violations.as_slice().iter().any(|violation| violation.field == name);
            self.violations.check(noted || self.fields.contains_key(name), name, "must not be empty");
        }
        let kind = self.get("subscription_type").map(str::to_owned);
        self.check_amounts(kind.is_some());
        match kind.as_deref() {
            None => self.refuse(&SUBSCRIPTION_FIELDS, "belongs to a subscription"),
            Some("1") => {
                for name in ["frequency", "cycles"] {
                    self.violations.check(self.fields.contains_key(name), name, "must not be empty");
                }
            }
            Some(_) => self.refuse(&SCHEDULE_FIELDS, "belongs to a schedule of PayFast's"),
        }
        let passphrase = passphrase.filter(|passphrase| !trim(passphrase).is_empty());
        let wrong = "needs a passphrase, which is not set";
        self.violations.check(kind.is_none() || passphrase.is_some(), "subscription_type", wrong);
        self.violations.finish()?;
        Ok(sign(&self.fields, passphrase))
    }

    fn check_amounts(&mut self, sets_up: bool) {
        let cents = |name| self.get(name).and_then(amount_minor);
        let (amount, recurring) = (cents("amount"), cents("recurring_amount"));
        let least = format!("must be at least {}", amount_text(AMOUNT_MINOR_MIN));
        let fits = |amount: i64| amount >= AMOUNT_MINOR_MIN || (sets_up && amount == 0);
        self.violations.check(amount.is_none_or(fits), "amount", least.as_str());
        let fits = recurring.is_none_or(|amount| amount >= AMOUNT_MINOR_MIN);
        self.violations.check(fits, "recurring_amount", least);
    }

    fn refuse(&mut self, names: &[&str], why: &str) {
        for name in names {
            self.violations.check(!self.fields.contains_key(*name), *name, why);
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn set(&mut self, name: &str, value: &str) {
        let value = trim(value);
        if !value.is_empty() {
            self.fields.insert(name.to_owned(), value.to_owned());
        }
    }
}

const SCHEDULE_FIELDS: [&str; 6] = [
    "recurring_amount",
    "frequency",
    "cycles",
    "subscription_notify_email",
    "subscription_notify_webhook",
    "subscription_notify_buyer",
];
const SUBSCRIPTION_FIELDS: [&str; 7] = [
    "billing_date",
    "recurring_amount",
    "frequency",
    "cycles",
    "subscription_notify_email",
    "subscription_notify_webhook",
    "subscription_notify_buyer",
];

fn day_text(day: Date) -> String {
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

/// What is wrong with a value, as the end of a sentence; nothing is wrong with a blank one.
fn wrong(name: &str, value: &str) -> Option<String> {
    let Some((_, class, most)) = RULES.iter().find(|(known, ..)| *known == name) else {
        return Some("is not a field that may be sent".to_owned());
    };
    if value.is_empty() {
        return None;
    }
    if value.chars().count() > *most {
        return Some(format!("must have at most {most} characters"));
    }
    let (fits, says) = match class {
        Class::Digits => (value.bytes().all(|byte| byte.is_ascii_digit()), "must be digits"),
        Class::Plain => {
            (value.bytes().all(|byte| byte.is_ascii_alphanumeric()), "must be letters and digits")
        }
        Class::Reference => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
            (value.bytes().all(plain), "must be letters, digits, hyphens, underscores and slashes")
        }
        Class::Address => (is_address(value), "must be an http or https URL"),
        Class::Mailbox => (is_mailbox(value), "must be an e-mail address"),
        // PHP takes the text 0 for nothing.
        Class::Line => (
            value != "0" && !value.chars().any(char::is_control),
            "must be one line without control characters, and not 0",
        ),
        Class::Amount => (is_amount(value), "must be an amount such as 529.00"),
        Class::Day => (is_day(value), "must be a date such as 2026-11-20"),
        Class::Set => (value == "1", "must be 1 or blank"),
        Class::Truth => (matches!(value, "true" | "false"), "must be true or false"),
        Class::Method => {
            let fits = value.len() >= 2 && value.bytes().all(|byte| byte.is_ascii_lowercase());
            (fits, "must be two or three small letters")
        }
        Class::Count => (
            value.bytes().all(|byte| byte.is_ascii_digit()) && (value == "0" || !value.starts_with('0')),
            "must be a whole number",
        ),
    };
    let known = match (name, value) {
        ("subscription_type", kind) => matches!(kind, "1" | "2"),
        ("frequency", code) => code.parse().ok().and_then(Frequency::read).is_some(),
        _ => true,
    };
    match (fits, known) {
        (true, true) => None,
        (true, false) => Some("must be a number that PayFast knows".to_owned()),
        (false, _) => Some(says.to_owned()),
    }
}

fn is_address(value: &str) -> bool {
    let plain = value.bytes().all(|byte| byte.is_ascii_graphic());
    plain && Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn is_mailbox(value: &str) -> bool {
    let sides = value.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    sides && !value.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// Two decimals, as PayFast signs it: another spelling of the same amount would be another signature.
fn is_amount(value: &str) -> bool {
    amount_minor(value).is_some_and(|minor| minor >= 0 && amount_text(minor) == value)
}

fn is_day(value: &str) -> bool {
    Date::parse(value, format_description!("[year]-[month]-[day]")).is_ok_and(|day| day_text(day) == value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::date;

    use super::super::{SIGNED_FIELDS, UNSIGNED_FIELDS};
    use super::*;
    use crate::payments::payfast::encode::md5_hex;

    fn rand(minor: i64) -> Money {
        Money::new(minor, Currency::Zar)
    }

    fn form() -> Builder {
        Builder::new("10000100", &Secret::new("46f0cd694581a".to_owned())).put("item_name", "CapeControl Pro")
    }

    fn schedule() -> Schedule {
        Schedule {
            billing_date: Some(date!(2026 - 12 - 01)),
            amount: Some(rand(52_900)),
            frequency: Frequency::Monthly,
            cycles: 0,
            notify_email: None,
            notify_webhook: Some(true),
            notify_buyer: Some(false),
        }
    }

    fn fields(refused: Result<SignedForm, Violations>) -> Vec<String> {
        refused.unwrap_err().as_slice().iter().map(|wrong| wrong.field.clone()).collect()
    }

    fn names(form: &SignedForm) -> Vec<&str> {
        form.fields.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn every_field_that_is_signed_has_a_rule_or_must_not_be_sent() {
        let ruled: Vec<&str> = RULES.iter().map(|(name, ..)| *name).collect();
        let kept: Vec<&str> = SIGNED_FIELDS
            .into_iter()
            .filter(|name| !["notify_method", "fica_idnumber", "currency"].contains(name))
            .collect();
        assert_eq!(ruled, kept);
        for hidden in ["notify_method", "fica_idnumber", "currency", "signature", "cc_cvv"]
            .iter()
            .chain(&UNSIGNED_FIELDS)
        {
            let refused = form().amount(rand(500)).put(hidden, "1").finish(Some("p"));
            assert_eq!(fields(refused), [*hidden]);
        }
    }

    #[test]
    fn a_plain_form_is_signed_as_before() {
        let built = form()
            .amount(rand(52_900))
            .put("name_first", " Ada ")
            .put("item_description", " ")
            .finish(Some("p"));
        let text = "merchant_id=10000100&merchant_key=46f0cd694581a&name_first=Ada&amount=529.00\
                    &item_name=CapeControl+Pro&passphrase=p";
        assert_eq!(built.unwrap().signature, md5_hex(text));
    }

    #[test]
    fn a_token_can_be_made_for_nothing_and_nothing_else_can() {
        let token = form().amount(rand(0)).tokenize().finish(Some("p")).unwrap();
        assert_eq!(
            names(&token),
            ["merchant_id", "merchant_key", "amount", "item_name", "subscription_type"]
        );
        assert!(token.fields.contains(&("amount".to_owned(), "0.00".to_owned())));
        assert_eq!(fields(form().amount(rand(0)).finish(Some("p"))), ["amount"]);
        assert_eq!(fields(form().amount(rand(499)).tokenize().finish(Some("p"))), ["amount"]);
        assert_eq!(fields(form().amount(rand(0)).tokenize().finish(None)), ["subscription_type"]);
        let dated = form().amount(rand(0)).tokenize().put("billing_date", "2026-12-01").finish(Some("p"));
        assert!(dated.is_ok());
        let both =
            form().amount(rand(0)).tokenize().put("frequency", "3").put("cycles", "0").finish(Some("p"));
        assert_eq!(fields(both), ["frequency", "cycles"]);
    }

    #[test]
    fn a_schedule_has_all_that_it_needs() {
        let form_of = |schedule: &Schedule| form().amount(rand(0)).subscribe(schedule).finish(Some("p"));
        let built = form_of(&schedule()).unwrap();
        let expected = [
            "subscription_type",
            "billing_date",
            "recurring_amount",
            "frequency",
            "cycles",
            "subscription_notify_webhook",
            "subscription_notify_buyer",
        ];
        assert_eq!(names(&built)[4..], expected);
        assert!(built.fields.contains(&("cycles".to_owned(), "0".to_owned())));
        let cheap = Schedule { amount: Some(rand(499)), ..schedule() };
        assert_eq!(fields(form_of(&cheap)), ["recurring_amount"]);
        assert_eq!(fields(form_of(&Schedule { cycles: 10_000, ..schedule() })), ["cycles", "cycles"]);
        let bare = form().amount(rand(0)).put("subscription_type", "1").finish(Some("p"));
        assert_eq!(fields(bare), ["frequency", "cycles"]);
        assert_eq!(fields(form().amount(rand(500)).put("cycles", "3").finish(Some("p"))), ["cycles"]);
    }

    #[test]
    fn what_payfast_would_not_take_is_named() {
        for (name, wrong) in [
            ("cell_number", "+27821234567"),
            ("m_payment_id", "a b"),
            ("amount", "5"),
            ("amount", "05.00"),
            ("amount", "1,000.00"),
            ("amount", "-5.00"),
            ("item_name", "0"),
            ("item_description", "a\nb"),
            ("name_first", &"é".repeat(101)),
            ("email_address", "nobody"),
            ("email_confirmation", "0"),
            ("payment_method", "CC"),
            ("return_url", "javascript:alert(1)"),
            ("notify_url", "https://a b"),
            ("custom_int1", "1.5"),
            ("billing_date", "2026-02-30"),
            ("subscription_type", "3"),
            ("frequency", "7"),
            ("cycles", "007"),
            ("subscription_notify_buyer", "1"),
        ] {
            let refused = form().put("amount", "5.00").put(name, wrong).finish(Some("p"));
            assert_eq!(fields(refused)[0], name, "{wrong}");
        }
        assert_eq!(
            fields(Builder::new("1a", &Secret::default()).finish(None)),
            ["merchant_id", "merchant_key", "amount", "item_name"]
        );
    }

    #[test]
    fn what_is_only_offered_is_left_out_when_it_does_not_fit() {
        let long = format!("{}@example.com", "a".repeat(100));
        let built = form()
            .amount(rand(500))
            .offer("email_address", &long)
            .offer("name_first", "Ada")
            .finish(None)
            .unwrap();
        assert_eq!(names(&built), ["merchant_id", "merchant_key", "name_first", "amount", "item_name"]);
    }

    proptest! {
        #[test]
        fn whatever_is_put_is_a_form_or_a_list_of_what_is_wrong(name in "[a-z_]{1,20}", field in 0_usize..34, value in "\\PC{0,120}") {
            let _ = form().amount(rand(500)).put(&name, &value).finish(Some("p"));
            if let Ok(built) = form().amount(rand(500)).put(RULES[field].0, &value).finish(Some("p")) {
                prop_assert!(built.left_out.is_empty());
                prop_assert!(built.fields.iter().all(|(_, value)| trim(value) == value && !value.is_empty()));
            }
        }
    }
}
