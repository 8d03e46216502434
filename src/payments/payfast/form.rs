//! The checkout form: its fields in the order that PayFast signs them, and its signature.
//!
//! The order is neither the caller's nor the alphabet's, so it is a table here. A field that PayFast does not sign
//! (`setup`, `source`) goes along unsigned; a field that PayFast does not know is left out and named to the caller. What the platform sends is put together by the
//! [`Builder`], which checks it first.

mod builder;

use std::collections::BTreeMap;

use super::encode::{md5_hex, push_encoded, trim};

pub use builder::{Builder, Schedule};

/// The fields that PayFast signs, in its order.
pub const SIGNED_FIELDS: [&str; 37] = [
    "merchant_id",
    "merchant_key",
    "return_url",
    "cancel_url",
    "notify_url",
    "notify_method",
    "fica_idnumber",
    "name_first",
    "name_last",
    "email_address",
    "cell_number",
    "m_payment_id",
    "amount",
    "item_name",
    "item_description",
    "custom_int1",
    "custom_int2",
    "custom_int3",
    "custom_int4",
    "custom_int5",
    "custom_str1",
    "custom_str2",
    "custom_str3",
    "custom_str4",
    "custom_str5",
    "email_confirmation",
    "confirmation_address",
    "currency",
    "payment_method",
    "subscription_type",
    "billing_date",
    "recurring_amount",
    "frequency",
    "cycles",
    "subscription_notify_email",
    "subscription_notify_webhook",
    "subscription_notify_buyer",
];

/// The fields that PayFast reads but does not sign. Whatever they say passes through the buyer's browser, so nothing
/// that matters may stand in them alone.
pub const UNSIGNED_FIELDS: [&str; 2] = ["setup", "source"];

/// The field that carries the signature itself.
pub const SIGNATURE_FIELD: &str = "signature";

/// A form ready to be posted: the fields in PayFast's order and the signature over the signed ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedForm {
    /// The signed fields in PayFast's order, then the unsigned ones. The signature is not among them.
    pub fields: Vec<(String, String)>,
    /// MD5 in lower-case hex.
    pub signature: String,
    /// The names that PayFast does not know, which were left out.
    pub left_out: Vec<String>,
}

/// Orders and signs `fields`. Values are trimmed as PayFast trims them, and blank ones are left out, because PayFast
/// leaves them out of what it signs.
#[must_use]
pub fn sign(fields: &BTreeMap<String, String>, passphrase: Option<&str>) -> SignedForm {
    let pick = |name: &&str| {
        let value = trim(fields.get(*name)?);
        (!value.is_empty()).then(|| ((*name).to_owned(), value.to_owned()))
    };
    let mut ordered: Vec<_> = SIGNED_FIELDS.iter().filter_map(pick).collect();
    let signature = signature(&ordered, passphrase);
    ordered.extend(UNSIGNED_FIELDS.iter().filter_map(pick));
    let known = |name: &str| {
        name == SIGNATURE_FIELD || SIGNED_FIELDS.contains(&name) || UNSIGNED_FIELDS.contains(&name)
    };
    let left_out = fields.keys().filter(|name| !known(name)).cloned().collect();
    SignedForm { fields: ordered, signature, left_out }
}

/// The signature over `pairs` in the order given: `name=value` joined by `&`, the passphrase last when there is one.
#[must_use]
pub fn signature(pairs: &[(String, String)], passphrase: Option<&str>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        push_pair(&mut text, name, value.as_bytes());
    }
    match passphrase.map(trim) {
        Some(passphrase) if !passphrase.is_empty() => {
            push_pair(&mut text, "passphrase", passphrase.as_bytes());
        }
        _ => {}
    }
    md5_hex(&text)
}

fn push_pair(text: &mut String, name: &str, value: &[u8]) {
    if !text.is_empty() {
        text.push('&');
    }
    text.push_str(name);
    text.push('=');
    push_encoded(text, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_signature_covers_the_fields_in_payfasts_order() {
        let form = sign(
            &fields(&[
                ("item_name", "Order#123"),
                ("amount", "100.00"),
                ("merchant_key", "46f0cd694581a"),
                ("merchant_id", "10000100"),
                ("return_url", "https://www.example.com/success"),
            ]),
            Some("jt7NOE43FZPn"),
        );
        let text = "merchant_id=10000100&merchant_key=46f0cd694581a\
                    &return_url=https%3A%2F%2Fwww.example.com%2Fsuccess&amount=100.00&item_name=Order%23123\
                    &passphrase=jt7NOE43FZPn";
        assert_eq!(form.signature, md5_hex(text));
        let names: Vec<_> = form.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["merchant_id", "merchant_key", "return_url", "amount", "item_name"]);
    }

    #[test]
    fn blanks_are_dropped_and_zero_is_not_blank() {
        let form = sign(&fields(&[("amount", " 5.00 "), ("name_first", " \t"), ("cycles", "0")]), None);
        assert_eq!(form.signature, md5_hex("amount=5.00&cycles=0"));
    }

    #[test]
    fn what_payfast_does_not_sign_is_left_unsigned() {
        let plain = sign(&fields(&[("amount", "5.00")]), Some("x"));
        let more = fields(&[("amount", "5.00"), ("setup", "{}"), ("foo", "bar"), ("signature", "beef")]);
        let form = sign(&more, Some("x"));
        assert_eq!(form.signature, plain.signature);
        assert_eq!(form.left_out, ["foo"]);
        assert_eq!(form.fields.last().map(|(name, _)| name.as_str()), Some("setup"));
    }

    #[test]
    fn an_empty_passphrase_is_none() {
        let fields = fields(&[("amount", "5.00")]);
        assert_eq!(sign(&fields, None), sign(&fields, Some("  ")));
        assert_ne!(sign(&fields, None).signature, sign(&fields, Some("a/b")).signature);
        assert_eq!(sign(&fields, Some(" a/b ")).signature, md5_hex("amount=5.00&passphrase=a%2Fb"));
    }

    proptest! {
        #[test]
        fn every_value_is_signed(name in 0usize..37, value in "[a-z]{1,8}", other in "[A-Z]{1,8}") {
            let one = sign(&fields(&[(SIGNED_FIELDS[name], &value)]), Some("p"));
            let two = sign(&fields(&[(SIGNED_FIELDS[name], &other)]), Some("p"));
            prop_assert_ne!(one.signature, two.signature);
        }
    }
}
