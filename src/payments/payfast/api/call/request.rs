//! A call, signed: the very bytes that leave. The passphrase goes into the signature and nowhere else.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::UtcOffset;

use super::super::super::encode::push_encoded;
use super::super::{
    MERCHANT_HEADER, SANDBOX_PARAMETER, SIGNATURE_HEADER, TIMESTAMP_HEADER, VERSION, VERSION_HEADER,
    signature,
};
use super::{Call, Given, Method};
use crate::base::{Secret, Timestamp};

/// Whose account a call is signed for.
#[derive(Clone, Debug)]
pub struct Account {
    /// The merchant.
    pub merchant_id: String,
    /// What signatures are made with.
    pub passphrase: Secret<String>,
    /// Whether the call is for the sandbox.
    pub sandbox: bool,
}

/// What leaves.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// How.
    pub method: Method,
    /// The path and the query, from the first slash.
    pub target: String,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for none.
    pub body: String,
}

impl Call {
    /// Signs the call for an account, at a time.
    #[must_use]
    pub fn request(&self, account: &Account, at: Timestamp) -> Request {
        let mut headers = vec![
            (MERCHANT_HEADER, account.merchant_id.clone()),
            (VERSION_HEADER, VERSION.to_owned()),
            (TIMESTAMP_HEADER, timestamp(at)),
        ];
        let named = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let given = self.query.iter().chain(&self.body);
        let given = given.map(|(name, value)| ((*name).to_owned(), value.signed()));
        let parameters: BTreeMap<String, String> = named.chain(given).collect();
        headers.push((SIGNATURE_HEADER, signature(&parameters, Some(account.passphrase.expose()))));
        let body = self.json();
        if !body.is_empty() {
            headers.push(("content-type", "application/json".to_owned()));
        } else if self.method != Method::Get {
            // Without it PayFast answers 411.
            headers.push(("content-length", "0".to_owned()));
        }
        Request { method: self.method, target: self.target(account.sandbox), headers, body }
    }

    fn target(&self, sandbox: bool) -> String {
        let mut target = self.path.clone();
        let switch = sandbox.then(|| (SANDBOX_PARAMETER, "true".to_owned()));
        let pairs = self.query.iter().map(|(name, value)| (*name, value.signed())).chain(switch);
        for (at, (name, value)) in pairs.enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            push_encoded(&mut target, name.as_bytes());
            target.push('=');
            push_encoded(&mut target, value.as_bytes());
        }
        target
    }

    fn json(&self) -> String {
        if self.body.is_empty() {
            return String::new();
        }
        let fields = self.body.iter().map(|(name, value)| ((*name).to_owned(), value.json()));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    }
}

impl Given {
    fn signed(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) | Self::Private(text) => text.clone(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Text(text) | Self::Private(text) => json!(text),
        }
    }
}

/// How far South Africa's clocks are ahead, in hours; PayFast thinks in them.
const AHEAD_HOURS: i8 = 2;

/// The time as PayFast reads it: `2026-11-20T12:00:00+02:00`, without a fraction.
fn timestamp(at: Timestamp) -> String {
    let at = at.to_utc().to_offset(UtcOffset::from_hms(AHEAD_HOURS, 0, 0).unwrap_or(UtcOffset::UTC));
    let (hours, minutes, _) = at.offset().as_hms();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+{hours:02}:{minutes:02}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_an_offset_and_no_fraction() {
        assert_eq!(timestamp(Timestamp::from_micros(1_795_168_800_999_999)), "2026-11-20T12:00:00+02:00");
        assert_eq!(timestamp(Timestamp::from_seconds(1_798_754_400)), "2027-01-01T00:00:00+02:00");
    }
}
