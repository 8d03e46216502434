//! The functions behind `capecontrol payfast …`: one JSON value in, one JSON object out, whatever comes in.
//!
//! A wrong signature is what stops most integrations, so what the platform does inside can be tried from a shell.
//! Nothing here prints, and no answer repeats a passphrase.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::confirmation::{self, Confirmation};
use super::itn::Itn;
use super::verdict::{self, Expected};
use super::{api, form, source};

/// A subcommand: reads the text of one JSON value and always answers.
pub type Command = fn(&str) -> Value;

/// The subcommands by name.
pub const COMMANDS: [(&str, Command); 5] = [
    ("sign-form", sign_form),
    ("verify-itn", verify_itn),
    ("sign-api", sign_api),
    ("check-source", check_source),
    ("read-confirmation", read_confirmation),
];

/// `{"fields": {name: value}, "passphrase": text or null}` → `{"signature", "fields": [[name, value], …]}`, with
/// `"left_out"` naming fields that PayFast does not know; or `{"error"}`.
#[must_use]
pub fn sign_form(input: &str) -> Value {
    answer(sign_form_or(input))
}

fn sign_form_or(input: &str) -> Result<Value, String> {
    let input = object(input)?;
    let fields = texts(&input, "fields")?.ok_or("`fields` must be an object of texts")?;
    let passphrase = optional_text(&input, "passphrase")?;
    let form = form::sign(&fields, passphrase.as_deref());
    let pairs: Vec<_> = form.fields.iter().map(|(name, value)| json!([name, value])).collect();
    let mut out = json!({ "signature": form.signature, "fields": pairs });
    if let (false, Some(out)) = (form.left_out.is_empty(), out.as_object_mut()) {
        out.insert("left_out".to_owned(), json!(form.left_out));
    }
    Ok(out)
}

/// `{"body_base64", "passphrase", "merchant_id", "expected_amount_minor"?, "processed_payment_ids"?}` →
/// `{"signature_valid", "accept", "effect", "reason"}`.
#[must_use]
pub fn verify_itn(input: &str) -> Value {
    match verify_itn_or(input) {
        Err(reason) => judged(false, false, "none", &reason),
        Ok((false, _)) => judged(false, false, "none", "the signature is missing or wrong"),
        Ok((true, seen)) => judged(true, seen.accept, seen.effect.as_str(), &seen.reason),
    }
}

fn judged(signature_valid: bool, accept: bool, effect: &str, reason: &str) -> Value {
    json!({ "signature_valid": signature_valid, "accept": accept, "effect": effect, "reason": reason })
}

fn verify_itn_or(input: &str) -> Result<(bool, verdict::Verdict), String> {
    let input = object(input)?;
    let body = required_text(&input, "body_base64")?;
    let body = STANDARD.decode(body.trim()).map_err(|_| "`body_base64` is not base64")?;
    let passphrase = optional_text(&input, "passphrase")?;
    let merchant_id = required_text(&input, "merchant_id")?;
    let amount_minor = match input.get("expected_amount_minor") {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_i64().ok_or("`expected_amount_minor` must be a whole number of cents")?),
    };
    let processed = match input.get("processed_payment_ids") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(ids)) => {
            ids.iter().map(scalar).collect::<Option<Vec<_>>>().ok_or(WRONG_PROCESSED)?
        }
        Some(_) => return Err(WRONG_PROCESSED.to_owned()),
    };
    let itn = Itn::parse(&body).map_err(|error| format!("not a PayFast notification: {error}"))?;
    let expected = Expected { merchant_id: &merchant_id, amount_minor, processed: &processed };
    Ok((itn.signature_holds(passphrase.as_deref()), verdict::judge(&itn, expected)))
}

const WRONG_PROCESSED: &str = "`processed_payment_ids` must be a list of texts";

/// `{"headers": {…}, "query": {…}, "body": {…}, "passphrase"}` → `{"signature"}` or `{"error"}`.
#[must_use]
pub fn sign_api(input: &str) -> Value {
    answer(sign_api_or(input))
}

fn sign_api_or(input: &str) -> Result<Value, String> {
    let input = object(input)?;
    // Header names mean the same in any case; PayFast signs them in lower case.
    let headers = texts(&input, "headers")?.unwrap_or_default();
    let mut parameters: BTreeMap<String, String> =
        headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    parameters.extend(texts(&input, "query")?.unwrap_or_default());
    parameters.extend(texts(&input, "body")?.unwrap_or_default());
    let passphrase = optional_text(&input, "passphrase")?;
    Ok(json!({ "signature": api::signature(&parameters, passphrase.as_deref()) }))
}

/// `{"address"}` → `{"accept"}`; what is not an address is not PayFast's.
#[must_use]
pub fn check_source(input: &str) -> Value {
    let address = object(input).ok().and_then(|input| required_text(&input, "address").ok());
    let address = address.and_then(|address| address.trim().parse::<IpAddr>().ok());
    json!({ "accept": address.is_some_and(source::is_payfast) })
}

/// `{"status", "body"}` → `{"verdict": "valid" / "invalid" / "retry"}`.
#[must_use]
pub fn read_confirmation(input: &str) -> Value {
    let read = || {
        let input = object(input).ok()?;
        let status = u16::try_from(input.get("status")?.as_u64()?).ok()?;
        Some(confirmation::read(status, input.get("body")?.as_str()?.as_bytes()))
    };
    let verdict = match read() {
        Some(Confirmation::Valid) => "valid",
        Some(Confirmation::Invalid) => "invalid",
        Some(Confirmation::Retry) | None => "retry",
    };
    json!({ "verdict": verdict })
}

fn answer(result: Result<Value, String>) -> Value {
    result.unwrap_or_else(|error| json!({ "error": error }))
}

// The parser's own message is not passed on: it may quote the input, and the input has a passphrase in it.
fn object(input: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(input) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("the input must be a JSON object".to_owned()),
        Err(_) => Err("the input is not JSON".to_owned()),
    }
}

fn required_text(input: &Map<String, Value>, name: &str) -> Result<String, String> {
    input.get(name).and_then(scalar).ok_or_else(|| format!("`{name}` must be a text"))
}

fn optional_text(input: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{name}` must be a text or null")),
    }
}

fn texts(input: &Map<String, Value>, name: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    let map = match input.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(format!("`{name}` must be an object of texts")),
    };
    let mut out = BTreeMap::new();
    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        let text = scalar(value).ok_or_else(|| format!("`{name}.{key}` must be a text"))?;
        out.insert(key.clone(), text);
    }
    Ok(Some(out))
}

// A whole number or a truth value has one spelling. A fraction has not (5.00 reads as 5), so it must come as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Bool(flag) => Some(if *flag { "1" } else { "0" }.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::itn::signed_body;
    use super::*;
    use proptest::prelude::*;

    fn itn(pairs: &[(&str, &str)], more: &Value) -> Value {
        let body = STANDARD.encode(signed_body(pairs, Some("p")));
        let mut input = json!({ "body_base64": body, "passphrase": "p", "merchant_id": "10000100" });
        let fields = input.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        verify_itn(&input.to_string())
    }

    const COMPLETE: [(&str, &str); 5] = [
        ("m_payment_id", "1"),
        ("pf_payment_id", "1089250"),
        ("payment_status", "COMPLETE"),
        ("amount_gross", "529.00"),
        ("merchant_id", "10000100"),
    ];

    #[test]
    fn a_good_notification_settles() {
        let out = itn(&COMPLETE, &json!({ "expected_amount_minor": 52_900 }));
        assert_eq!(
            (&out["signature_valid"], &out["accept"], &out["effect"]),
            (&json!(true), &json!(true), &json!("settle"))
        );
        let replay = itn(&COMPLETE, &json!({ "processed_payment_ids": ["1089250"] }));
        assert_eq!((&replay["accept"], &replay["effect"]), (&json!(true), &json!("none")));
        let wrong = itn(&COMPLETE, &json!({ "expected_amount_minor": 52_901 }));
        assert_eq!(
            (&wrong["signature_valid"], &wrong["accept"], &wrong["effect"]),
            (&json!(true), &json!(false), &json!("none"))
        );
    }

    #[test]
    fn what_is_no_notification_is_an_answer() {
        for input in [
            "",
            "[]",
            "{}",
            "nonsense",
            r#"{"body_base64":"!","merchant_id":"1"}"#,
            "\u{0}",
            r#"{"body_base64":"","merchant_id":"1"}"#,
        ] {
            let out = verify_itn(input);
            assert_eq!(
                (&out["signature_valid"], &out["accept"], &out["effect"]),
                (&json!(false), &json!(false), &json!("none"))
            );
            assert!(!out["reason"].as_str().unwrap().is_empty());
            assert!(sign_form(input)["error"].is_string());
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        for input in [
            r#"{"fields": {"a": []}, "passphrase": "hunter2"}"#,
            r#"{"passphrase": "hunter2", "#,
            r#"{"body_base64": 1.5, "passphrase": "hunter2"}"#,
        ] {
            for (_, command) in COMMANDS {
                assert!(!command(input).to_string().contains("hunter2"));
            }
        }
    }

    #[test]
    fn the_small_ones() {
        assert_eq!(check_source(r#"{"address":"41.74.179.200"}"#), json!({ "accept": true }));
        assert_eq!(check_source(r#"{"address":"example"}"#), json!({ "accept": false }));
        assert_eq!(read_confirmation(r#"{"status":200,"body":"VALID"}"#), json!({ "verdict": "valid" }));
        assert_eq!(read_confirmation(r#"{"status":503,"body":""}"#), json!({ "verdict": "retry" }));
        assert!(sign_api(r#"{"headers":{"merchant-id":"1"},"passphrase":"p"}"#)["signature"].is_string());
    }

    proptest! {
        #[test]
        fn every_input_gets_one_object(input in "\\PC{0,80}") {
            for (_, command) in COMMANDS {
                prop_assert!(command(&input).is_object());
            }
        }
    }
}
