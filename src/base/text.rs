//! Bounded text: what people type, checked once where it comes in.

use super::Violations;

/// Checks a line that people type (a name, a title): not blank, no control characters, at most `chars_max` characters
/// (Unicode scalar values). Returns it without surrounding white space.
pub fn line(violations: &mut Violations, field: &'static str, text: &str, chars_max: usize) -> String {
    let text = text.trim();
    violations.check(!text.is_empty(), field, "must not be empty");
    optional_line(violations, field, text, chars_max)
}

/// As [`line`], but may be empty.
pub fn optional_line(
    violations: &mut Violations,
    field: &'static str,
    text: &str,
    chars_max: usize,
) -> String {
    let text = text.trim();
    violations.check(
        !text.chars().any(char::is_control),
        field,
        "must be one line without control characters",
    );
    bounded(violations, field, text, chars_max)
}

/// Checks text of several lines: no control characters but line breaks and tabs, at most `chars_max` characters.
pub fn paragraphs(violations: &mut Violations, field: &'static str, text: &str, chars_max: usize) -> String {
    let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    violations.check(text.chars().all(printable), field, "must not contain control characters");
    bounded(violations, field, text, chars_max)
}

fn bounded(violations: &mut Violations, field: &'static str, text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_some() {
        violations.add(field, format!("must have at most {chars_max} characters"));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_trimmed_and_bounded() {
        let mut violations = Violations::new();
        assert_eq!(line(&mut violations, "name", "  Ada ", 3), "Ada");
        assert!(violations.is_empty());
        line(&mut violations, "name", "Adas", 3);
        line(&mut violations, "name", " ", 3);
        line(&mut violations, "name", "a\nb", 3);
        assert_eq!(violations.len(), 3);
    }
}
