//! Which passwords are taken.
//!
//! Length decides first, as NIST SP 800-63B has it: rules about capitals and digits make passwords that people reuse.
//! Then the number of guesses is estimated that somebody needs who knows the lists: thirty thousand breached and common
//! passwords, words, names, runs of keys, dates, what repeats, and the person's own address and name. The lists are in
//! the program; nothing is asked of anybody.

use zxcvbn::feedback::Feedback;
use zxcvbn::{Entropy, Score, zxcvbn};

use crate::base::{Secret, Violations};

use super::Email;

/// Fewest characters.
pub const CHARS_MIN: usize = 12;
/// Most characters. Bounds the work that a stranger can cause.
pub const CHARS_MAX: usize = 128;

/// How much of a password is estimated at once. More would multiply the work, and numbers in the estimate overflow from
/// 21 parts on.
const ESTIMATED_CHARS_MAX: usize = 20;
/// Marks that may stand for letters (`p@$$word`), and how many different ones the estimate gets to see: it tries every
/// combination, and with all of them at once a stranger could keep it busy for seconds. Digits stand for letters too,
/// but are needed for rows and dates, and make few combinations by themselves.
const STANDING_FOR_LETTERS: &str = "@({[<!|$+%";
const STANDING_MAX: usize = 3;
/// What stands for those that it does not get to see.
const PLAIN_MARK: char = '~';
/// Words of the person's own that are looked for, and how long each may be.
const OWN_WORDS_MAX: usize = 16;
const OWN_WORD_CHARS_MAX: usize = 64;
/// Fewest guesses, of ten to the power of what the estimate says: a hundred million, at the price of argon2id each.
const STRENGTH_MIN: Score = Score::Three;
/// What people think of first when they are here.
const OUR_WORDS: [&str; 5] = ["capecontrol", "cape", "control", "capecraft", "autoagent"];

/// What a password must not be made of. Not to be printed, as it tells of a person.
#[derive(Clone, Copy, Default)]
pub struct Context<'a> {
    /// The account's address.
    pub email: Option<&'a Email>,
    /// The name that the account shows.
    pub display_name: &'a str,
}

/// Checks a password that somebody chooses. Some milliseconds of work, at the worst some dozens: see
/// [`super::hashing::Hashing::aside`].
pub fn check(
    violations: &mut Violations,
    field: &'static str,
    password: &Secret<String>,
    context: &Context<'_>,
) {
    if !check_length(violations, field, password) {
        return;
    }
    let own = own_words(context);
    if is_made_of(password.expose(), &own) {
        violations.add(field, "must not be made of the e-mail address, the name or ours");
        return;
    }
    let words: Vec<&str> = OUR_WORDS.into_iter().chain(own.iter().map(String::as_str)).collect();
    let estimate = estimated(password.expose(), &words);
    if estimate.score() < STRENGTH_MIN {
        violations.add(field, explained(estimate.guesses_log10(), estimate.feedback()));
    }
}

/// The estimate of the stronger end: what is strong there is strong as a whole.
fn estimated(password: &str, words: &[&str]) -> Entropy {
    let letters: Vec<char> = tamed(password).collect();
    let head: String = letters.iter().take(ESTIMATED_CHARS_MAX).collect();
    let of_head = zxcvbn(&head, words);
    let beyond = letters.len().saturating_sub(ESTIMATED_CHARS_MAX);
    if of_head.score() >= STRENGTH_MIN || beyond == 0 {
        return of_head;
    }
    let tail: String = letters.iter().skip(beyond).collect();
    let of_tail = zxcvbn(&tail, words);
    if of_tail.guesses() > of_head.guesses() { of_tail } else { of_head }
}

/// The password with no more different marks for letters than the estimate can bear.
fn tamed(password: &str) -> impl Iterator<Item = char> {
    let mut seen = Vec::with_capacity(STANDING_MAX);
    password.chars().map(move |letter| match letter {
        mark if !STANDING_FOR_LETTERS.contains(mark) || seen.contains(&mark) => mark,
        mark if seen.len() < STANDING_MAX => {
            seen.push(mark);
            mark
        }
        _ => PLAIN_MARK,
    })
}

/// Checks only how long a password is, which needs no knowledge of whose it is. `false` when that is wrong.
pub fn check_length(violations: &mut Violations, field: &'static str, password: &Secret<String>) -> bool {
    let chars = password.expose().chars().take(CHARS_MAX + 1).count();
    if chars < CHARS_MIN {
        violations.add(field, format!("must have at least {CHARS_MIN} characters"));
    } else if chars > CHARS_MAX {
        violations.add_hostile(field, format!("must have at most {CHARS_MAX} characters"));
    }
    (CHARS_MIN..=CHARS_MAX).contains(&chars)
}

/// Whether a password that somebody signs in with could be one at all. Longer ones are not hashed.
#[must_use]
pub fn is_bounded(password: &Secret<String>) -> bool {
    password.expose().chars().nth(CHARS_MAX).is_none()
}

/// The address as a whole and in parts, and the words of the name.
fn own_words(context: &Context<'_>) -> Vec<String> {
    let address = context.email.map(Email::as_str).unwrap_or_default();
    let name: String = context.display_name.chars().take(OWN_WORD_CHARS_MAX).collect();
    let joined: String = name.split_whitespace().collect();
    let parts =
        address.split(|c: char| !c.is_alphanumeric()).chain(name.split(|c: char| !c.is_alphanumeric()));
    let whole = [address, context.email.map(Email::local).unwrap_or_default(), joined.as_str()];
    let words = whole.into_iter().chain(parts).filter(|word| word.chars().nth(2).is_some());
    words.take(OWN_WORDS_MAX).map(|word| word.chars().take(OWN_WORD_CHARS_MAX).collect()).collect()
}

/// Whether little is left of a password when the words are taken out that anybody thinks of who knows whose it is.
fn is_made_of(password: &str, own: &[String]) -> bool {
    let lower = password.to_lowercase();
    let mut words: Vec<&str> = OUR_WORDS.into_iter().chain(own.iter().map(String::as_str)).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let rest = words.into_iter().fold(lower.clone(), |rest, word| rest.replace(&word.to_lowercase(), ""));
    rest.len() < lower.len() && rest.chars().count() < CHARS_MIN / 2
}

/// What makes a password weak, and what would help, as the end of a sentence.
fn explained(guesses_log10: f64, feedback: Option<&Feedback>) -> String {
    let mut says =
        format!("is too easy to guess: about 10^{guesses_log10:.0} attempts find it, and it must take 10^8.");
    let warning = feedback.and_then(Feedback::warning).map(|warning| warning.to_string());
    let suggestions = feedback.map(Feedback::suggestions).unwrap_or_default().iter().map(ToString::to_string);
    for sentence in warning.into_iter().chain(suggestions) {
        says.push(' ');
        says.push_str(&sentence);
        if !sentence.ends_with('.') {
            says.push('.');
        }
    }
    says
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(password: &str) -> Option<String> {
        let mut violations = Violations::new();
        let email = Email::parse("lovelace@example.com").unwrap();
        let context = Context { email: Some(&email), display_name: "Ada Byron King" };
        check(&mut violations, "password", &Secret::new(password.to_owned()), &context);
        violations.as_slice().first().map(|violation| violation.description.clone())
    }

    #[test]
    fn length_decides_first() {
        assert_eq!(fault("correct horse battery"), None);
        assert_eq!(fault("пароль из слов"), None);
        assert_eq!(fault("Tr0ub4dor&3x lorry"), None);
        assert!(fault("Tr0ub4dor&3").unwrap().contains("at least 12"));
        assert!(fault(&"xyzzy plugh ".repeat(11)).unwrap().contains("at most 128"));
        assert!(fault(&"x".repeat(1 << 20)).unwrap().contains("at most 128"));
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        for weak in [
            "aaaaaaaaaaaaaaaa",
            "passwordpassword",
            "Password1234!",
            "P@ssw0rd2026",
            "qwertyuiop123",
            "1q2w3e4r5t6y",
            "123456789012",
            "abcdefghijklm",
            "letmeinletmein",
            "iloveyou1234",
            "zxcvbnm,./asdf",
        ] {
            let says = fault(weak).unwrap_or_else(|| panic!("{weak} was taken"));
            assert!(says.starts_with("is too easy to guess: about 10^"), "{says}");
        }
    }

    #[test]
    fn the_persons_own_words_and_ours_are_not_enough() {
        for weak in [
            "Lovelace@example.com",
            "lovelace2026",
            "adabyronking1",
            "King.Byron.Ada",
            "capecontrol26",
            "CapeControl!!!",
        ] {
            let says = fault(weak).unwrap_or_else(|| panic!("{weak} was taken"));
            assert!(says.starts_with("must not be made of"), "{weak}: {says}");
        }
        assert_eq!(fault("lovelace and the difference engine"), None);
    }

    #[test]
    fn the_refusal_says_what_is_weak_and_what_would_help() {
        let says = fault("passwordpassword").unwrap();
        assert!(says.contains("10^8"), "{says}");
        assert!(says.to_lowercase().contains("add"), "{says}");
        assert!(!says.contains("passwordpassword"), "{says}");
    }

    #[test]
    fn what_would_be_dear_to_estimate_is_tamed() {
        let dear: String = "4@8({[</36&9#!1|7$5+0%2".chars().cycle().take(CHARS_MAX).collect();
        let tamed: String = tamed(&dear).collect();
        assert!(tamed.starts_with("4@8({~~/36&9#~1~7~5~0~2"), "{tamed}");
        assert_eq!(fault(&dear), None);
        // Numbers in the estimate overflow for long rows of these, and rows of single letters.
        for row in ["1q2w3e4r5t", "aAbBcC11", "789456123", "a1b2c3d4e5", "ab"] {
            let long: String = row.chars().cycle().take(CHARS_MAX).collect();
            let _ = fault(&long);
        }
    }

    proptest! {
        #[test]
        fn rows_of_keys_are_judged(password in "[qwertasdfg0-9@!$|]{12,128}") {
            let _ = fault(&password);
        }

        #[test]
        fn any_password_is_judged(password in "\\PC{0,140}", name in "\\PC{0,200}") {
            let mut violations = Violations::new();
            let context = Context { email: None, display_name: &name };
            check(&mut violations, "password", &Secret::new(password), &context);
            prop_assert!(violations.len() <= 1);
        }
    }
}
