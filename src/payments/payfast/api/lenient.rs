//! Reading JSON that PHP wrote: numbers that are texts, texts that are numbers, and `"true"`.

use serde_json::Value;

/// A whole number, written as one or as text.
pub fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A text, or a whole number that stands for one.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// A text that says something.
pub fn word(value: &Value) -> Option<String> {
    text(value).map(|text| cleaned(&text)).filter(|text| !text.is_empty())
}

/// Yes or no, written as such or as text. A number is neither: PayFast's failures are numbers.
pub fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The longest message that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 255;

/// A message on one line: PayFast's may be broken by CRLF.
pub fn cleaned(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let joined = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_php_writes_is_read() {
        assert_eq!((whole(&json!(5)), whole(&json!("-5")), whole(&json!(5.5))), (Some(5), Some(-5), None));
        assert_eq!((whole(&json!("5.00")), whole(&json!(true)), whole(&json!(" 5"))), (None, None, None));
        assert_eq!(
            (text(&json!(7)), text(&json!("7")), text(&json!(null))),
            (Some("7".into()), Some("7".into()), None)
        );
        for yes in [json!(true), json!("true"), json!("TRUE")] {
            assert_eq!(truth(&yes), Some(true));
        }
        assert_eq!((truth(&json!("false")), truth(&json!(1)), truth(&json!({}))), (Some(false), None, None));
        assert_eq!(cleaned(" Declined\r\n by\tthe bank (51)\r\n"), "Declined by the bank (51)");
        assert_eq!(word(&json!(" \r\n")), None);
    }
}
