//! An Instant Transaction Notification as received: raw bytes to pairs, and the signature over them.
//!
//! PayFast signs the pairs in the order sent, blanks included, values encoded again and not trimmed, with the
//! signature itself left out. All four ITNs published with their signatures verify only this way.

use subtle::ConstantTimeEq;

use super::encode::{decode, md5_hex, push_encoded};
use super::form::SIGNATURE_FIELD;

/// The largest body that is read, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// The field with which a card could be charged.
pub const TOKEN_FIELD: &str = "token";
/// The most fields that a body may have. Real ones have about thirty.
pub const FIELDS_MAX: usize = 256;

/// Why bytes are not a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// More than [`BODY_BYTES_MAX`].
    #[error("the body is larger than 65536 bytes")]
    TooLarge,
    /// More than [`FIELDS_MAX`].
    #[error("the body has more than 256 fields")]
    TooManyFields,
    /// No `name=value` at all.
    #[error("the body has no fields")]
    Empty,
}

/// The pairs of a notification, decoded, in the order received, with repetitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Itn {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Itn {
    /// Reads a form-encoded body. Bytes that are not UTF-8 are kept as they are.
    ///
    /// # Errors
    /// [`Unreadable`] when the body is too large, has too many fields or none.
    pub fn parse(body: &[u8]) -> Result<Self, Unreadable> {
        if body.len() > BODY_BYTES_MAX {
            return Err(Unreadable::TooLarge);
        }
        let mut pairs = Vec::new();
        for part in body.split(|&byte| byte == b'&').filter(|part| !part.is_empty()) {
            if pairs.len() == FIELDS_MAX {
                return Err(Unreadable::TooManyFields);
            }
            let mut halves = part.splitn(2, |&byte| byte == b'=');
            let name = decode(halves.next().unwrap_or_default());
            let value = decode(halves.next().unwrap_or_default());
            pairs.push((name, value));
        }
        if pairs.is_empty() { Err(Unreadable::Empty) } else { Ok(Self { pairs }) }
    }

    /// All pairs, in the order received.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The value of the field when it appears exactly once.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.pairs.iter().filter(|(known, _)| known == name.as_bytes());
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// The value as text, when it appears exactly once, is UTF-8 and is not blank.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok()).filter(|text| !text.is_empty())
    }

    /// A field name that appears more than once. PayFast sends none twice, and readers that take the first disagree
    /// with readers that take the last, so a notification that has one is never acted on.
    #[must_use]
    pub fn repeated(&self) -> Option<String> {
        let mut names: Vec<&[u8]> = self.pairs.iter().map(|(name, _)| name.as_slice()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair.first() == pair.last())?;
        twice.first().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// True when the notification carries one signature and it is the one that the passphrase gives. Compared in
    /// constant time; upper-case hex is not a signature of PayFast.
    #[must_use]
    pub fn signature_holds(&self, passphrase: Option<&str>) -> bool {
        let expected = self.signature(passphrase);
        self.get(SIGNATURE_FIELD).is_some_and(|given| bool::from(given.ct_eq(expected.as_bytes())))
    }

    /// The signature that these pairs should carry.
    #[must_use]
    pub fn signature(&self, passphrase: Option<&str>) -> String {
        let mut text = self.parameters();
        if let Some(passphrase) = passphrase.filter(|passphrase| !passphrase.is_empty()) {
            push_pair(&mut text, b"passphrase", passphrase.as_bytes());
        }
        md5_hex(&text)
    }

    /// The parameter string without the signature: what is signed, and what PayFast is asked to confirm.
    #[must_use]
    pub fn parameters(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.pairs {
            if name != SIGNATURE_FIELD.as_bytes() {
                push_pair(&mut text, name, value);
            }
        }
        text
    }
}

/// A notification's body, signed: how the simulator and the tests write one.
#[must_use]
pub fn signed_body(pairs: &[(&str, &str)], passphrase: Option<&str>) -> Vec<u8> {
    let owned = |text: &str| text.as_bytes().to_vec();
    let itn = Itn { pairs: pairs.iter().map(|(name, value)| (owned(name), owned(value))).collect() };
    let mut text = itn.parameters();
    push_pair(&mut text, SIGNATURE_FIELD.as_bytes(), itn.signature(passphrase).as_bytes());
    text.into_bytes()
}

// Names are encoded too: left raw, a name that contains `&` or `=` could be made to read as two fields while the
// signed text stays the same.
fn push_pair(text: &mut String, name: &[u8], value: &[u8]) {
    if !text.is_empty() {
        text.push('&');
    }
    push_encoded(text, name);
    text.push('=');
    push_encoded(text, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSPHRASE: Option<&str> = Some("jt7NOE43FZPn");

    #[test]
    fn blanks_are_signed() {
        let body = b"m_payment_id=1&name_last=&amount_gross=5.00&signature=";
        let expected = md5_hex("m_payment_id=1&name_last=&amount_gross=5.00&passphrase=jt7NOE43FZPn");
        let itn = Itn::parse(&[body, expected.as_bytes()].concat()).unwrap();
        assert!(itn.signature_holds(PASSPHRASE));
        assert!(!itn.signature_holds(None));
    }

    /// What PayFast's sandbox sent and others published with its signature: activemerchant and django-payfast in their
    /// tests, PayFast's own PHP SDK twice in its. The last was signed with the passphrase of the public sandbox.
    #[test]
    fn what_payfast_signed_verifies_with_its_blanks_and_not_without() {
        const CUSTOM: &str = "&custom_str1=&custom_str2=&custom_str3=&custom_str4=&custom_str5=\
                              &custom_int1=&custom_int2=&custom_int3=&custom_int4=&custom_int5=";
        let published = [
            (
                "m_payment_id=&pf_payment_id=46591&payment_status=COMPLETE&item_name=Name&item_description=\
                 &amount_gross=123.00&amount_fee=-2.80&amount_net=120.20",
                "&name_first=Test&name_last=User+01&email_address=sbtu01%40payfast.co.za&merchant_id=10000100",
                "bae21e96d4dc7bf36bd1a6bb1a103f5f",
                None,
            ),
            (
                "m_payment_id=&pf_payment_id=558900&payment_status=COMPLETE&item_name=Flux+capacitor&item_description=\
                 &amount_gross=123.00&amount_fee=-2.80&amount_net=120.20",
                "&name_first=Test&name_last=User+01&email_address=sbtu01%40payfast.co.za&merchant_id=10000100",
                "94b05677771813701468289ed3cabed1",
                None,
            ),
            (
                "m_payment_id=000000020&pf_payment_id=1579137&payment_status=COMPLETE&item_name=Order+%23000000020\
                 &item_description=&amount_gross=15.00&amount_fee=-2.30&amount_net=12.70",
                "&name_first=Tom&name_last=Tom&email_address=lindley%2Buser1%40appinlet.com&merchant_id=10027938",
                "4078bca2c8987e0e0c4e7230f2f46323",
                None,
            ),
            (
                "m_payment_id=1234&pf_payment_id=1221576&payment_status=COMPLETE&item_name=Order%23123\
                 &item_description=&amount_gross=10.00&amount_fee=-0.23&amount_net=9.77",
                "&name_first=First&name_last=Last&email_address=test%40test.com&merchant_id=10000100",
                "ac4c3e993d31b5b9d525dc0087051437",
                PASSPHRASE,
            ),
        ];
        for (first, last, signature, passphrase) in published {
            let holds = |custom: &str| {
                let body = format!("{first}{custom}{last}&signature={signature}");
                Itn::parse(body.as_bytes()).unwrap().signature_holds(passphrase)
            };
            assert!(holds(CUSTOM), "{first}");
            assert!(!holds(""), "{first}");
        }
    }

    #[test]
    fn a_body_that_is_not_text_can_be_verified() {
        let signed = "name_first=%FF%FE&amount_gross=5.00";
        let signature = md5_hex(&format!("{signed}&passphrase=jt7NOE43FZPn"));
        let itn = Itn::parse(format!("{signed}&signature={signature}").as_bytes()).unwrap();
        assert!(itn.signature_holds(PASSPHRASE));
        assert_eq!(itn.get("name_first"), Some([0xFF, 0xFE].as_slice()));
        assert_eq!(itn.text("name_first"), None);
    }

    #[test]
    fn upper_case_hex_and_a_second_signature_are_refused() {
        let body = String::from_utf8(signed_body(&[("a", "1")], PASSPHRASE)).unwrap();
        let (head, signature) = body.rsplit_once('=').unwrap();
        let upper = format!("{head}={}", signature.to_uppercase());
        assert!(!Itn::parse(upper.as_bytes()).unwrap().signature_holds(PASSPHRASE));
        let twice = format!("{body}&signature={signature}");
        assert!(!Itn::parse(twice.as_bytes()).unwrap().signature_holds(PASSPHRASE));
    }

    #[test]
    fn a_name_cannot_swallow_its_neighbour() {
        let body =
            String::from_utf8(signed_body(&[("a", ""), ("amount_gross", "9.00")], PASSPHRASE)).unwrap();
        let (_, signature) = body.rsplit_once('=').unwrap();
        let merged = format!("a%3D%26amount_gross=9.00&signature={signature}");
        assert!(!Itn::parse(merged.as_bytes()).unwrap().signature_holds(PASSPHRASE));
    }

    #[test]
    fn limits_are_answers() {
        assert_eq!(Itn::parse(b""), Err(Unreadable::Empty));
        assert_eq!(Itn::parse(b"&&"), Err(Unreadable::Empty));
        assert_eq!(Itn::parse(&vec![b'a'; BODY_BYTES_MAX + 1]), Err(Unreadable::TooLarge));
        assert_eq!(Itn::parse("a=1&".repeat(257).as_bytes()), Err(Unreadable::TooManyFields));
    }

    #[test]
    fn repetition_is_seen() {
        assert_eq!(Itn::parse(b"a=1&b=2&a=3").unwrap().repeated().as_deref(), Some("a"));
        assert_eq!(Itn::parse(b"a=1&b=2").unwrap().repeated(), None);
    }

    fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(("[a-r_]{1,12}", "\\PC{0,24}"), 2..12)
    }

    fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(itn) = Itn::parse(&body) {
                let _ = (itn.signature_holds(PASSPHRASE), itn.repeated(), itn.parameters());
            }
        }

        #[test]
        fn what_was_signed_verifies(pairs in pairs()) {
            let itn = Itn::parse(&signed_body(&borrowed(&pairs), PASSPHRASE)).unwrap();
            prop_assert!(itn.signature_holds(PASSPHRASE));
            prop_assert!(!itn.signature_holds(Some("another")));
        }

        #[test]
        fn another_order_repetition_or_value_breaks_it(pairs in pairs(), at in any::<proptest::sample::Index>()) {
            let body = String::from_utf8(signed_body(&borrowed(&pairs), PASSPHRASE)).unwrap();
            let (head, signature) = body.rsplit_once("&signature=").unwrap();
            let parts: Vec<&str> = head.split('&').collect();
            let chosen = at.index(parts.len());
            let mut reordered = parts.clone();
            reordered.reverse();
            let mut doubled = parts.clone();
            doubled.push(parts[chosen]);
            let mut dropped = parts.clone();
            dropped.remove(chosen);
            let altered: Vec<String> =
                (0..).zip(&parts).map(|(i, part)| format!("{part}{}", if i == chosen { "x" } else { "" })).collect();
            for changed in [reordered.join("&"), doubled.join("&"), dropped.join("&"), altered.join("&")] {
                if changed != head {
                    let itn = Itn::parse(format!("{changed}&signature={signature}").as_bytes()).unwrap();
                    prop_assert!(!itn.signature_holds(PASSPHRASE), "{}", changed);
                }
            }
        }
    }
}
