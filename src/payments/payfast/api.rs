//! The signature of PayFast's REST API, which sorts where the form's does not.
//!
//! Headers, query, body and the passphrase are sorted together by name, byte by byte: `m_payment_id` comes before
//! `merchant-id`, and the passphrase stands wherever the alphabet puts it.

use std::collections::BTreeMap;

use super::encode::{md5_hex, push_encoded};

/// Names that the API does not sign: the sandbox switch and the signature itself.
const UNSIGNED: [&str; 2] = ["testing", "signature"];

/// The signature over every parameter of a call, the passphrase among them.
#[must_use]
pub fn signature(parameters: &BTreeMap<String, String>, passphrase: Option<&str>) -> String {
    let mut sorted: BTreeMap<&str, &str> = parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !UNSIGNED.contains(name))
        .collect();
    if let Some(passphrase) = passphrase.filter(|passphrase| !passphrase.is_empty()) {
        sorted.insert("passphrase", passphrase);
    }
    let mut text = String::new();
    for (name, value) in sorted {
        if !text.is_empty() {
            text.push('&');
        }
        push_encoded(&mut text, name.as_bytes());
        text.push('=');
        push_encoded(&mut text, value.as_bytes());
    }
    md5_hex(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_their_bytes_and_the_passphrase_among_them() {
        let parameters: BTreeMap<String, String> = [
            ("version", "v1"),
            ("merchant-id", "10000100"),
            ("timestamp", "2026-11-20T08:00:00+02:00"),
            ("m_payment_id", "a b"),
            ("testing", "true"),
        ]
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
        let text = "m_payment_id=a+b&merchant-id=10000100&passphrase=p\
                    &timestamp=2026-11-20T08%3A00%3A00%2B02%3A00&version=v1";
        assert_eq!(signature(&parameters, Some("p")), md5_hex(text));
    }
}
