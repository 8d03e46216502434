//! Bounded text: what people type, checked once where it comes in.

use super::{Id, Violations};

const NOT_AN_ID: &str = "must be a UUID such as 0198c0de-0000-7000-8000-000000000000";

/// Checks a line that people type (a name, a title): something of it is seen, no control characters, at most
/// `chars_max` characters (Unicode scalar values). Returns it without surrounding white space.
pub fn line(violations: &mut Violations, field: &str, text: &str, chars_max: usize) -> String {
    let text = text.trim();
    let seen = text.chars().any(|c| !c.is_whitespace() && !is_hidden(c));
    // What only controls is refused for that, below, and once.
    violations.check(seen || text.chars().any(char::is_control), field, "must not be empty");
    optional_line(violations, field, text, chars_max)
}

/// As [`line`], but may be empty.
pub fn optional_line(violations: &mut Violations, field: &str, text: &str, chars_max: usize) -> String {
    let text = text.trim();
    // A line ends at these two as well, wherever the text is shown.
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.chars().any(breaks) {
        violations.add_hostile(field, "must be one line without control characters");
    }
    bounded(violations, field, text, chars_max)
}

/// Checks text of several lines: no control characters but line breaks and tabs, at most `chars_max` characters.
pub fn paragraphs(violations: &mut Violations, field: &str, text: &str, chars_max: usize) -> String {
    let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    if !text.chars().all(printable) {
        violations.add_hostile(field, "must not contain control characters");
    }
    bounded(violations, field, text, chars_max)
}

/// Reads a required id. When it is wrong that is noted.
pub fn id<T>(violations: &mut Violations, field: &str, text: &str) -> Option<Id<T>> {
    violations.check(!text.is_empty(), field, "must not be empty");
    optional_id(violations, field, text)
}

/// Reads an id that may be left empty. When it is wrong that is noted.
pub fn optional_id<T>(violations: &mut Violations, field: &str, text: &str) -> Option<Id<T>> {
    if text.is_empty() {
        return None;
    }
    let read = text.parse().ok();
    violations.check(read.is_some(), field, NOT_AN_ID);
    read
}

/// Control characters, and those that are not seen or turn the direction of what follows.
#[must_use]
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn bounded(violations: &mut Violations, field: &str, text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_some() {
        violations.add_hostile(field, format!("must have at most {chars_max} characters"));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_or_their_field_is_named() {
        let mut violations = Violations::new();
        assert!(id::<()>(&mut violations, "a", "0198c0de-0000-7000-8000-00000000000a").is_some());
        assert!(optional_id::<()>(&mut violations, "b", "").is_none());
        assert!(violations.is_empty());
        assert!(id::<()>(&mut violations, "c", "").is_none());
        assert!(optional_id::<()>(&mut violations, "d", "x").is_none());
        let fields: Vec<_> = violations.as_slice().iter().map(|violation| &*violation.field).collect();
        assert_eq!(fields, ["c", "d"]);
    }

    #[test]
    fn lines_are_trimmed_and_bounded() {
        let mut violations = Violations::new();
        assert_eq!(line(&mut violations, "name", "  Ada ", 3), "Ada");
        assert!(violations.is_empty());
        line(&mut violations, "name", "Adas", 3);
        line(&mut violations, "name", " ", 3);
        line(&mut violations, "name", "a\nb", 3);
        line(&mut violations, "name", "\u{200b}", 3);
        line(&mut violations, "name", "a\u{2028}b", 3);
        line(&mut violations, "name", "a\u{2029}b", 3);
        assert_eq!(violations.len(), 6);
        let hostile: Vec<_> = violations.as_slice().iter().map(|violation| violation.hostile).collect();
        assert_eq!(hostile, [true, false, true, false, true, true], "people leave names empty");
    }
}
