//! The functions behind `capecontrol stripe …`: one JSON value in, one JSON object out, whatever comes in.
//!
//! Nothing here prints, and no answer repeats a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::base::Secret;

use super::signature::{self, TOLERANCE_SECONDS};

/// `{"payload_base64", "header", "secrets": […], "now": unix time, "tolerance_s"?: 300}` → `{"accept", "reason"}`.
#[must_use]
pub fn verify_webhook(input: &str) -> Value {
    match verify_webhook_or(input) {
        Ok(()) => {
            json!({ "accept": true, "reason": "a v1 signature is that of this payload, and its time is near" })
        }
        Err(reason) => json!({ "accept": false, "reason": reason }),
    }
}

fn verify_webhook_or(input: &str) -> Result<(), String> {
    // The parser's own message is not passed on: it may quote the input, and the input has secrets in it.
    let input = match serde_json::from_str(input) {
        Ok(Value::Object(input)) => input,
        Ok(_) => return Err("the input must be a JSON object".to_owned()),
        Err(_) => return Err("the input is not JSON".to_owned()),
    };
    let payload = STANDARD.decode(text(&input, "payload_base64")?.trim());
    let payload = payload.map_err(|_| "`payload_base64` is not base64")?;
    let header = text(&input, "header")?;
    let secrets = secrets(&input).ok_or("`secrets` must be a list of texts")?;
    let now = input.get("now").and_then(Value::as_i64);
    let now = now.ok_or("`now` must be a whole number of seconds since 1970")?;
    let tolerance = match input.get("tolerance_s") {
        None | Some(Value::Null) => TOLERANCE_SECONDS,
        Some(given) => given.as_u64().ok_or("`tolerance_s` must be a whole number of seconds, 0 or more")?,
    };
    signature::verify(&payload, header, &secrets, now, tolerance).map_err(|refusal| refusal.to_string())
}

fn text<'i>(input: &'i Map<String, Value>, name: &str) -> Result<&'i str, String> {
    input.get(name).and_then(Value::as_str).ok_or_else(|| format!("`{name}` must be a text"))
}

fn secrets(input: &Map<String, Value>) -> Option<Vec<Secret<String>>> {
    let secrets = input.get("secrets")?.as_array()?;
    secrets.iter().map(|secret| secret.as_str().map(|text| Secret::new(text.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn input(change: impl FnOnce(&mut Value)) -> String {
        let payload = br#"{"id": "evt_1"}"#;
        let signed = signature::sign(payload, "1000", &Secret::new("whsec_new".to_owned()));
        let mut input = json!({
            "payload_base64": STANDARD.encode(payload),
            "header": format!("t=1000,v1=00,v1={signed}"),
            "secrets": ["whsec_old", "whsec_new"],
            "now": 1_100,
            "tolerance_s": 300,
        });
        change(&mut input);
        input.to_string()
    }

    #[test]
    fn a_good_webhook_is_accepted() {
        assert_eq!(verify_webhook(&input(|_| {}))["accept"], true);
        assert_eq!(verify_webhook(&input(|input| input["tolerance_s"] = Value::Null))["accept"], true);
        assert_eq!(verify_webhook(&input(|input| input["tolerance_s"] = json!(99)))["accept"], false);
        assert_eq!(verify_webhook(&input(|input| input["secrets"] = json!(["whsec_old"])))["accept"], false);
    }

    #[test]
    fn what_is_wrong_is_named_and_secrets_are_not() {
        for (field, value) in [
            ("payload_base64", json!("!")),
            ("payload_base64", json!(1)),
            ("header", json!(["t"])),
            ("secrets", json!("whsec_new")),
            ("secrets", json!([1, "whsec_new"])),
            ("now", json!("1000")),
            ("now", json!(1.5)),
            ("tolerance_s", json!(-1)),
        ] {
            let told = verify_webhook(&input(|input| input[field] = value.clone()));
            let reason = told["reason"].as_str().unwrap();
            assert!(told["accept"] == false && reason.contains(field), "{field} {value}: {reason}");
            assert!(!told.to_string().contains("whsec"), "{told}");
        }
        for input in ["", "[]", "{\"secrets\": [\"whsec_new\"", "{}"] {
            let told = verify_webhook(input);
            assert!(told["accept"] == false && !told.to_string().contains("whsec"), "{told}");
        }
    }

    proptest! {
        #[test]
        fn every_input_gets_an_answer(input in "\\PC{0,80}") {
            prop_assert_eq!(&verify_webhook(&input)["accept"], &json!(false));
        }
    }
}
