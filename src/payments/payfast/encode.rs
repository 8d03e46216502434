//! PHP's `urlencode`, `urldecode` and `trim`, and the MD5 that PayFast signs with.
//!
//! No crate's encoder equals PHP's: one keeps `*`, another `~`, a third writes `%20` for a space. A signature is over
//! these very bytes, so the encoder is ours.

use md5::{Digest, Md5};

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// Appends `bytes` as PHP's `urlencode` writes them: letters, digits and `-_.` stay, a space is `+`, every other byte
/// is `%XX` in upper case.
pub fn push_encoded(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                push_hex(out, byte, HEX_UPPER);
            }
        }
    }
}

/// PHP's `urlencode` of `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    push_encoded(&mut out, bytes);
    out
}

/// PHP's `urldecode`: `+` is a space, `%XX` is a byte, and a `%` that starts no pair of hex digits stays as it is.
#[must_use]
pub fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, tail @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = tail;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(byte),
        }
    }
    out
}

/// PHP's `trim`: takes the space, tab, line feed, carriage return, NUL and vertical tab off both ends, and nothing
/// else; a form feed or a no-break space stays.
#[must_use]
pub fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0B'])
}

/// The MD5 of `text` in lower-case hex: PayFast's signature of a parameter string.
#[must_use]
pub fn md5_hex(text: &str) -> String {
    let mut out = String::with_capacity(32);
    for byte in Md5::digest(text.as_bytes()) {
        push_hex(&mut out, byte, HEX_LOWER);
    }
    out
}

fn push_hex(out: &mut String, byte: u8, digits: &[u8; 16]) {
    for nibble in [byte >> 4, byte & 0x0F] {
        if let Some(&digit) = digits.get(usize::from(nibble)) {
            out.push(char::from(digit));
        }
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodes_as_php_does() {
        assert_eq!(encode(b"a b~*'()!/@-_.9"), "a+b%7E%2A%27%28%29%21%2F%40-_.9");
        assert_eq!(encode("Café – R5".as_bytes()), "Caf%C3%A9+%E2%80%93+R5");
        assert_eq!(encode(&[0x00, 0xFF, b'\n']), "%00%FF%0A");
    }

    #[test]
    fn decodes_as_php_does() {
        assert_eq!(decode(b"a+b%7e%7E"), b"a b~~");
        assert_eq!(decode(b"100%"), b"100%");
        assert_eq!(decode(b"%zz%4"), b"%zz%4");
        assert_eq!(decode(b"%%41"), b"%A");
    }

    #[test]
    fn trims_as_php_does() {
        assert_eq!(trim(" \t\n\r\0\x0Bx y\x0B\0 "), "x y");
        assert_eq!(trim("\u{00A0}x\x0C"), "\u{00A0}x\x0C");
    }

    #[test]
    fn md5_is_lower_case_hex() {
        assert_eq!(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), bytes);
        }

        #[test]
        fn decoding_takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).len() <= bytes.len());
        }
    }
}
