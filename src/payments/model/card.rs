//! What looks like a card's number. The platform never sees one: cards are typed on the provider's page only. People
//! paste them all the same, and what was stored once is in every backup.

use crate::base::Violations;

/// The shortest number of a card, in digits.
const DIGITS_MIN: usize = 13;
/// The longest, in digits.
const DIGITS_MAX: usize = 19;

/// Notes it when a text holds what looks like a card's number. The text itself is not repeated.
pub fn refuse_number(violations: &mut Violations, field: &str, text: &str) {
    let wrong = "must not hold a card number: cards are entered on the payment provider's page only";
    violations.check(!holds_number(text), field, wrong);
}

/// Whether a text holds 13 to 19 digits with a right check digit, whole groups of digits with white space or dashes
/// between them. What stands beside a number, such as its expiry, does not hide it.
#[must_use]
pub fn holds_number(text: &str) -> bool {
    let mut groups: Vec<Vec<u8>> = Vec::new();
    let mut joined = false;
    for letter in text.chars() {
        match u8::try_from(letter.to_digit(10).unwrap_or(u32::MAX)) {
            Ok(digit) => match groups.last_mut().filter(|_| joined) {
                Some(group) => group.push(digit),
                None => groups.push(vec![digit]),
            },
            // A dash or a blank ends a group; anything else ends the number.
            Err(_) if !is_separator(letter) => {
                if ends_in_number(&groups) {
                    return true;
                }
                groups.clear();
            }
            Err(_) => {}
        }
        joined = letter.is_ascii_digit();
    }
    ends_in_number(&groups)
}

fn ends_in_number(groups: &[Vec<u8>]) -> bool {
    (0..groups.len()).any(|first| {
        let mut digits = Vec::new();
        groups.iter().skip(first).any(|group| {
            digits.extend_from_slice(group);
            (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) && checks(&digits)
        })
    })
}

fn is_separator(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// Luhn's check: from the right every second digit counts double, as the sum of its own digits.
fn checks(digits: &[u8]) -> bool {
    let counted = digits.iter().rev().enumerate().map(|(at, digit)| match (at % 2, u32::from(*digit)) {
        (0, digit) => digit,
        (_, digit) if digit > 4 => digit.saturating_mul(2).saturating_sub(9),
        (_, digit) => digit.saturating_mul(2),
    });
    counted.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_found_however_they_are_written() {
        for text in [
            "4111111111111111",
            "my card 4111 1111 1111 1111 please",
            "4111-1111-1111-1111",
            "4111\u{2013}1111\u{a0}1111 - 1111",
            "5500 0000 0000 0004, 12/30",
            "4111111111111111 12 30 123",
            "note 7 4111 1111 1111 1111",
            "378282246310005",
            "6304000000000000000",
            "4222222222222",
        ] {
            assert!(holds_number(text), "{text}");
        }
    }

    #[test]
    fn other_digits_are_let_be() {
        for text in [
            "",
            "Company card",
            "Visa ending in 4242",
            "4111111111111112",
            "+27 21 555 0100",
            "4120105119",
            "2026-11-20 to 2027-11-20",
            "411111111111",
            "41111111.11111111",
        ] {
            assert!(!holds_number(text), "{text}");
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_the_number() {
        let mut violations = Violations::new();
        refuse_number(&mut violations, "display_name", "4111 1111 1111 1111");
        let noted = &violations.as_slice()[0];
        assert_eq!(noted.field, "display_name");
        assert!(!noted.description.contains("4111"), "{}", noted.description);
    }

    /// The digits with the check digit behind them.
    fn checked(mut digits: Vec<u8>) -> Vec<u8> {
        let wanted = (0..10).find(|last| checks(&[digits.as_slice(), &[*last]].concat())).unwrap();
        digits.push(wanted);
        digits
    }

    proptest! {
        #[test]
        fn every_right_number_is_found_in_any_grouping(
            digits in prop::collection::vec(0_u8..10, DIGITS_MIN - 1..DIGITS_MAX),
            gaps in prop::collection::vec("|||[ -]| - |\u{2013}", DIGITS_MAX),
            before in "[a-z:,. ]{0,8}",
            behind in "[a-z:,. ]{0,8}",
        ) {
            let number: String =
                checked(digits).iter().zip(&gaps).map(|(digit, gap)| format!("{digit}{gap}")).collect();
            prop_assert!(holds_number(&format!("{before}{number}{behind}")), "{number}");
        }

        #[test]
        fn one_wrong_digit_is_no_number(
            digits in prop::collection::vec(0_u8..10, DIGITS_MIN - 1..DIGITS_MAX),
            at in 0_usize..DIGITS_MIN,
            by in 1_u8..10,
        ) {
            let mut digits = checked(digits);
            digits[at] = (digits[at] + by) % 10;
            let number: String = digits.iter().map(u8::to_string).collect();
            prop_assert!(!holds_number(&number), "{number}");
        }

        #[test]
        fn any_text_has_one_or_has_none(text in "\\PC{0,80}") {
            let _ = holds_number(&text);
        }
    }
}
