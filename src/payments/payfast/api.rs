//! PayFast's REST API, byte for byte: what is asked, how it is signed, and what the answers mean.
//!
//! A [`Call`](call::Call) is checked before it can be sent, and an answer is read into an
//! [`Outcome`](answer::Outcome), which keeps apart what PayFast did, what it refused, and what nobody knows. Nothing
//! here sends; amounts are cents, as the API wants them.

pub mod answer;
pub mod call;
pub mod charge;
mod check;
pub mod history;
mod lenient;
pub mod refund;
pub mod subscription;

use std::collections::BTreeMap;

use super::encode::{md5_hex, push_encoded};

/// The header that carries the merchant's id.
pub const MERCHANT_HEADER: &str = "merchant-id";
/// The header that carries the API's version.
pub const VERSION_HEADER: &str = "version";
/// The header that carries the time of the call.
pub const TIMESTAMP_HEADER: &str = "timestamp";
/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "signature";
/// The version that is spoken.
pub const VERSION: &str = "v1";
/// The parameter that sends a call to the sandbox.
pub const SANDBOX_PARAMETER: &str = "testing";

/// Names that the API does not sign: the sandbox switch and the signature itself.
const UNSIGNED: [&str; 2] = [SANDBOX_PARAMETER, SIGNATURE_HEADER];

/// The signature over every parameter of a call, the passphrase among them.
///
/// It sorts where the form's does not: headers, query, body and the passphrase together by name, byte by byte, so that
/// `m_payment_id` comes before `merchant-id`, and the passphrase stands wherever the alphabet puts it.
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
    use proptest::prelude::*;

    fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_are_sorted_by_their_bytes_and_the_passphrase_among_them() {
        let parameters = parameters(&[
            ("version", "v1"),
            ("merchant-id", "10000100"),
            ("timestamp", "2026-11-20T08:00:00+02:00"),
            ("m_payment_id", "a b"),
            ("testing", "true"),
        ]);
        let text = "m_payment_id=a+b&merchant-id=10000100&passphrase=p\
                    &timestamp=2026-11-20T08%3A00%3A00%2B02%3A00&version=v1";
        assert_eq!(signature(&parameters, Some("p")), md5_hex(text));
    }

    proptest! {
        #[test]
        fn the_sandbox_switch_and_an_old_signature_change_nothing(value in "\\PC{0,20}", name in "[a-z_]{1,12}") {
            let plain = parameters(&[(&name, &value), ("merchant-id", "1")]);
            let mut more = plain.clone();
            more.insert("testing".to_owned(), "true".to_owned());
            more.insert("signature".to_owned(), "beef".to_owned());
            prop_assume!(!UNSIGNED.contains(&name.as_str()));
            prop_assert_eq!(signature(&plain, Some("p")), signature(&more, Some("p")));
        }

        #[test]
        fn every_value_is_signed_as_php_encodes_it(value in "\\PC{0,20}") {
            let expected = md5_hex(&format!("a={}&passphrase=p", super::super::encode::encode(value.as_bytes())));
            prop_assert_eq!(signature(&parameters(&[("a", &value)]), Some("p")), expected);
        }
    }
}
