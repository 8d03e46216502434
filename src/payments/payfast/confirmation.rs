//! Reading PayFast's answer to "did you send this?".
//!
//! Only the two words are answers. A timeout, an error page or anything else is not "no": the notification stays
//! pending and PayFast is asked again.

/// The longest confirmation answer that is read, in bytes; the words are five and seven.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// What PayFast said about a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// PayFast sent it.
    Valid,
    /// PayFast did not send it.
    Invalid,
    /// No answer yet: ask again.
    Retry,
}

/// Reads an HTTP answer: the first line's word, trimmed, in any case, and only with status 200.
#[must_use]
pub fn read(status: u16, body: &[u8]) -> Confirmation {
    let line = body.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or_default().trim_ascii();
    match status {
        200 if line.eq_ignore_ascii_case(b"VALID") => Confirmation::Valid,
        200 if line.eq_ignore_ascii_case(b"INVALID") => Confirmation::Invalid,
        _ => Confirmation::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_words_are_answers() {
        assert_eq!(read(200, b"VALID"), Confirmation::Valid);
        assert_eq!(read(200, b" valid \r\nmore"), Confirmation::Valid);
        assert_eq!(read(200, b"INVALID\n"), Confirmation::Invalid);
        for (status, body) in [
            (200, b"".as_slice()),
            (200, b"\nVALID"),
            (200, b"<html>VALID</html>"),
            (200, b"VALIDATED"),
            (500, b"VALID"),
            (302, b"VALID"),
            (404, b"INVALID"),
        ] {
            assert_eq!(read(status, body), Confirmation::Retry, "{status} {body:?}");
        }
    }
}
