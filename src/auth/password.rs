//! Which passwords are taken.
//!
//! Length decides, as NIST SP 800-63B has it: rules about capitals and digits make passwords that people reuse. What is
//! known to be guessed first is refused.

use crate::base::{Secret, Violations};

use super::Email;

/// Fewest characters.
pub const CHARS_MIN: usize = 12;
/// Most characters. Bounds the work that a stranger can cause.
pub const CHARS_MAX: usize = 128;

const DISTINCT_CHARS_MIN: usize = 5;

/// Checks a password that somebody chooses for the account of `email`.
pub fn check(
    violations: &mut Violations,
    field: &'static str,
    password: &Secret<String>,
    email: Option<&Email>,
) {
    let password = password.expose();
    let chars = password.chars().count();
    if chars < CHARS_MIN {
        violations.add(field, format!("must have at least {CHARS_MIN} characters"));
    } else if chars > CHARS_MAX {
        violations.add(field, format!("must have at most {CHARS_MAX} characters"));
    } else if distinct(password) < DISTINCT_CHARS_MIN {
        violations.add(field, format!("must have at least {DISTINCT_CHARS_MIN} different characters"));
    } else if email.is_some_and(|email| tells_of(password, email)) {
        violations.add(field, "must not be made of the e-mail address");
    }
}

/// Whether a password that somebody signs in with could be one at all. Longer ones are not hashed.
#[must_use]
pub fn is_bounded(password: &Secret<String>) -> bool {
    password.expose().chars().nth(CHARS_MAX).is_none()
}

fn distinct(password: &str) -> usize {
    password.chars().collect::<std::collections::BTreeSet<_>>().len()
}

fn tells_of(password: &str, email: &Email) -> bool {
    let lower = password.to_lowercase();
    // What is left when the name is taken out must carry the password alone.
    let rest = lower.replace(email.as_str(), "");
    let rest = if email.local().len() > 3 { rest.replace(email.local(), "") } else { rest };
    rest.len() < lower.len() && rest.chars().count() < CHARS_MIN / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(password: &str) -> Option<String> {
        let mut violations = Violations::new();
        let email = Email::parse("lovelace@example.com").unwrap();
        check(&mut violations, "password", &Secret::new(password.to_owned()), Some(&email));
        violations.as_slice().first().map(|violation| violation.description.clone())
    }

    #[test]
    fn length_decides() {
        assert_eq!(fault("correct horse battery"), None);
        assert_eq!(fault("пароль из слов"), None);
        assert!(fault("Tr0ub4dor&3").unwrap().contains("at least 12"));
        assert!(fault(&"xyzzy plugh ".repeat(11)).unwrap().contains("at most 128"));
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        assert!(fault("aaaaaaaaaaaaaaaa").unwrap().contains("different"));
        assert!(fault("Lovelace@example.com").unwrap().contains("e-mail"));
        assert!(fault("lovelace2026").unwrap().contains("e-mail"));
        assert_eq!(fault("lovelace and the engine"), None);
    }
}
