//! E-mail addresses: one spelling each, and masked wherever they could be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::Violations;

const ADDRESS_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 63;
const LOCAL_MARKS: &str = "!#$%&'*+-/=?^_`{|}~";

/// An e-mail address in lower case.
///
/// Only plain ASCII addresses are taken, internationalised domains in their `xn--` form: two spellings that look the
/// same can then never be two accounts. Case is dropped before the `@` too, as every mail service of today does.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("must not be empty");
        }
        if text.len() > ADDRESS_BYTES_MAX {
            return Err("must have at most 254 characters");
        }
        if !text.is_ascii() {
            return Err("must be a plain ASCII address (internationalised domains in their xn-- form)");
        }
        match text.rsplit_once('@') {
            Some((local, domain)) if local_is_sound(local) && domain_is_sound(domain) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err("must be an e-mail address such as ada@example.com"),
        }
    }

    /// Reads the address in a field. When it is wrong that is noted.
    pub fn read(violations: &mut Violations, field: &'static str, text: &str) -> Option<Self> {
        match Self::parse(text) {
            Ok(email) => Some(email),
            Err(fault) if is_hostile(text) => {
                violations.add_hostile(field, fault);
                None
            }
            Err(fault) => {
                violations.add(field, fault);
                None
            }
        }
    }

    /// Reads the address of a request that has no other field to check.
    ///
    /// # Errors
    /// When it is wrong.
    pub fn only(field: &'static str, text: &str) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        Self::read(&mut violations, field, text).ok_or(violations)
    }

    /// An address that the platform stored, and so has checked.
    #[must_use]
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// The address, for letters and queries. Logs get the `Debug` form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }
}

/// `a…@example.com`: enough to follow a case, not enough to write to the person.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, domain) = self.0.rsplit_once('@').unwrap_or(("", ""));
        let first: String = local.chars().take(1).collect();
        write!(f, "{first}…@{domain}")
    }
}

/// Whether what is no address is more than mistyped: a second line would be another header of a letter, and foreign
/// characters that look like ours would be somebody else's address.
fn is_hostile(text: &str) -> bool {
    text.len() > ADDRESS_BYTES_MAX || !text.is_ascii() || text.trim().chars().any(char::is_control)
}

fn local_is_sound(local: &str) -> bool {
    let atom = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || LOCAL_MARKS.contains(c))
    };
    local.len() <= LOCAL_BYTES_MAX && local.split('.').all(atom)
}

fn domain_is_sound(domain: &str) -> bool {
    let label = |part: &str| {
        (1..=LABEL_BYTES_MAX).contains(&part.len())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    domain.contains('.') && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_person_has_one_spelling() {
        let email = Email::parse("  Ada.Lovelace+cape@Example.COM ").unwrap();
        assert_eq!(email.as_str(), "ada.lovelace+cape@example.com");
        assert_eq!(Email::parse("ada.lovelace+CAPE@example.com").unwrap(), email);
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            " ",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "ada@@example.com",
            "a b@example.com",
            ".ada@example.com",
            "ada.@example.com",
            "a..b@example.com",
            "ada@-x.com",
            "ada@x-.com",
            "ada@x..com",
            "ada@example.com\r\nBcc: eve@example.com",
            "\"ada\"@example.com",
            "аda@example.com",
            "ada@ехample.com",
            &long,
        ] {
            assert!(Email::parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn an_address_is_masked_when_printed() {
        assert_eq!(format!("{:?}", Email::parse("ada@example.com").unwrap()), "a…@example.com");
    }

    proptest! {
        #[test]
        fn nothing_that_is_taken_could_break_a_mail_header(text in "\\PC{0,40}@\\PC{0,40}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert!(email.as_str().chars().all(|c| c.is_ascii_graphic() && !"<>,;:\"\\()[]".contains(c)));
                prop_assert_eq!(Email::parse(email.as_str()).unwrap(), email);
            }
        }
    }
}
