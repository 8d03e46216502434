//! The simulator's API: who calls is checked as PayFast does, and then the call goes where it belongs.
//!
//! What PayFast does not document, it does as its clients say that it does; docs/payfast-simulator.md tells where.

mod charges;
mod history;
mod refunds;
mod subscriptions;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::faults::{Fate, Fault};
use super::{Notification, SCOPE, Simulator};
use crate::db;
use crate::payments::payfast::api::{
    MERCHANT_HEADER, SANDBOX_PARAMETER, SIGNATURE_HEADER, TIMESTAMP_HEADER, VERSION, VERSION_HEADER,
    signature,
};
use crate::payments::payfast::itn::Itn;
use crate::payments::store::simulator::account;

/// After how many wrong signatures in a row nothing is looked at for a while.
const WRONG_SIGNATURES_MAX: i64 = 5;
/// For how long.
const BLOCKED_FOR: Duration = Duration::from_mins(5);
/// The headers of a call that matter.
pub const HEADERS: [&str; 6] =
    [MERCHANT_HEADER, VERSION_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER, "content-type", "content-length"];

type Parameters = BTreeMap<String, String>;

/// A call as it came.
#[derive(Debug)]
pub struct Asked<'a> {
    /// How, in HTTP's word.
    pub method: &'a str,
    /// Where, below the API's address, from the first slash.
    pub path: &'a str,
    /// What stands behind the question mark.
    pub query: &'a str,
    /// Those of the headers that are in [`HEADERS`].
    pub headers: BTreeMap<&'static str, String>,
    /// The bytes.
    pub body: &'a [u8],
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// After how long.
    pub after: Duration,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        let content_type = "application/json";
        Self { status, content_type, body: body.to_string(), after: Duration::ZERO }
    }

    fn yes(response: &Value, message: &str) -> Self {
        Self::json(
            200,
            &json!({"code": 200, "status": "success", "data": {"response": response, "message": message}}),
        )
    }

    fn no(code: u16, response: &Value, message: &str) -> Self {
        Self::json(
            code,
            &json!({"code": code, "status": "failed", "data": {"response": response, "message": message}}),
        )
    }

    fn failure(code: u16, message: &str) -> Self {
        Self::no(code, &json!(false), message)
    }

    fn text(content_type: &'static str, body: String) -> Self {
        Self { status: 200, content_type, body, after: Duration::ZERO }
    }

    /// The same, with what happens to answers on their way.
    fn met(self, fate: &Fate) -> Self {
        let slow = fate.has(Fault::ApiSlow) || fate.has(Fault::ApiLost);
        let after = if slow { Duration::from_secs(fate.slow_seconds) } else { Duration::ZERO };
        let reply = match () {
            () if fate.has(Fault::ApiLost) || fate.has(Fault::ApiError) => {
                Self::failure(500, "Application Error")
            }
            () if fate.has(Fault::ApiGarbled) => {
                Self::text("text/html", "<h1>We'll be right back</h1>".to_owned())
            }
            () => self,
        };
        Self { after, ..reply }
    }
}

/// What came of a call: an answer, and notifications that go out before it.
struct Outcome {
    reply: Reply,
    notifications: Vec<Notification>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self { reply, notifications: Vec::new() }
    }
}

/// A call that was let in.
struct Call<'a> {
    method: &'a str,
    parts: Vec<&'a str>,
    parameters: Parameters,
    sandbox: bool,
}

impl Call<'_> {
    fn given(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A whole number; an error when it is given and is none.
    fn whole(&self, name: &str) -> Result<Option<i64>, Reply> {
        let wrong = || Reply::failure(400, &format!("{name} : must be an integer"));
        self.given(name).map(|value| value.parse().map_err(|_| wrong())).transpose()
    }

    fn truth(&self, name: &str) -> Result<Option<bool>, Reply> {
        match self.given(name) {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(_) => Err(Reply::failure(400, &format!("{name} : must be 0 or 1"))),
        }
    }
}

impl Simulator {
    /// Answers a call of the API.
    pub async fn api(&self, asked: &Asked<'_>) -> Reply {
        let answered = async {
            let call = match self.admit(asked).await? {
                Ok(call) => call,
                Err(reply) => return Ok(Outcome::from(reply)),
            };
            self.route(&call).await
        };
        let outcome: Result<Outcome, db::Error> = answered.await;
        let Outcome { reply, notifications } = outcome.unwrap_or_else(|error| {
            tracing::error!(error = %error.chain(), "the simulator's API could not reach its database");
            Reply::failure(500, "Application Error").into()
        });
        for (id, body) in notifications {
            // What could not be queued was logged; the answer is not about it.
            let _ = self.send(id, body).await;
        }
        reply
    }

    async fn route(&self, call: &Call<'_>) -> Result<Outcome, db::Error> {
        match (call.method, call.parts.as_slice()) {
            ("GET", ["ping"]) => {
                let name = if call.sandbox { "\"API V1\"" } else { "\"Payfast API\"" };
                Ok(Reply::text("application/json", name.to_owned()).into())
            }
            ("POST", ["subscriptions", token, "adhoc"]) => self.charge(call, token).await,
            (method, ["subscriptions", token, action]) => {
                self.subscription(call, method, token, action).await
            }
            ("GET", ["process", "query", id]) => self.query(id).await.map(Outcome::from),
            ("GET", ["transactions", "history"]) => self.history(call, None).await.map(Outcome::from),
            ("GET", ["transactions", "history", span]) => {
                self.history(call, Some(span)).await.map(Outcome::from)
            }
            // PayFast's sandbox has no refunds.
            (_, ["refunds", ..]) if call.sandbox => Ok(nothing_here().into()),
            ("GET", ["refunds", "query", id]) => self.refund_terms(id).await.map(Outcome::from),
            ("GET", ["refunds", id]) => self.refunds(id).await.map(Outcome::from),
            ("POST", ["refunds", id]) => self.make_refund(call, id).await.map(Outcome::from),
            _ => Ok(nothing_here().into()),
        }
    }

    /// Checks who calls, and counts wrong signatures.
    async fn admit<'a>(&self, asked: &Asked<'a>) -> Result<Result<Call<'a>, Reply>, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let known = self.account(&mut tx).await?;
        let now = self.world.now();
        if known.blocked_until.is_some_and(|until| now < until) {
            return Ok(Err(Reply::failure(
                429,
                "Signature rate limit reached, please try again in a few minutes",
            )));
        }
        let checked = read(asked).and_then(|call| self.check(asked, call));
        let (wrong, until) = match &checked {
            Err(reply) if reply.status == 401 => {
                let wrong = known.wrong_signatures.saturating_add(1);
                if wrong < WRONG_SIGNATURES_MAX { (wrong, None) } else { (0, Some(now.plus(BLOCKED_FOR))) }
            }
            Err(_) => (known.wrong_signatures, known.blocked_until),
            Ok(_) => (0, None),
        };
        if (wrong, until) != (known.wrong_signatures, known.blocked_until) {
            account::note_signatures(&mut tx, wrong, until).await?;
        }
        tx.commit().await?;
        Ok(checked)
    }

    fn check<'a>(&self, asked: &Asked<'_>, call: Call<'a>) -> Result<Call<'a>, Reply> {
        let header =
            |name: &str| asked.headers.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let given = header(SIGNATURE_HEADER)
            .ok_or_else(|| Reply::failure(400, "Signature not present in headers"))?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if given.len() != 32 || !given.bytes().all(hex) {
            return Err(Reply::failure(400, "Value for signature is not in the expected format"));
        }
        let mut signed = call.parameters.clone();
        for name in [MERCHANT_HEADER, VERSION_HEADER, TIMESTAMP_HEADER] {
            let missing = || Reply::failure(400, "Required variables not present in request");
            signed.insert(name.to_owned(), header(name).ok_or_else(missing)?.to_owned());
        }
        if !header(TIMESTAMP_HEADER).is_some_and(is_timestamp) {
            return Err(Reply::failure(400, "Required variables not present in request"));
        }
        if header(VERSION_HEADER) != Some(VERSION) {
            return Err(Reply::failure(400, "API version is not valid"));
        }
        if header(MERCHANT_HEADER) != Some(self.options.merchant_id.as_str()) {
            return Err(Reply::failure(401, "Merchant not found"));
        }
        let expected = signature(&signed, self.options.passphrase());
        if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
            return Err(Reply::failure(401, "Merchant authorisation failed"));
        }
        Ok(call)
    }
}

fn nothing_here() -> Reply {
    Reply::failure(404, "Service / endpoint not found")
}

/// Reads where a call goes and what is in it.
fn read<'a>(asked: &Asked<'a>) -> Result<Call<'a>, Reply> {
    if asked.method != "GET" && asked.body.is_empty() && !asked.headers.contains_key("content-length") {
        return Err(Reply::failure(411, "Length Required"));
    }
    let unreadable = || Reply::failure(400, "Required variables not present in request");
    let mut parameters = form(asked.query.as_bytes()).ok_or_else(unreadable)?;
    let sandbox = parameters.get(SANDBOX_PARAMETER).is_some_and(|value| value == "true");
    let json = asked.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let body = if json && !asked.body.is_empty() { object(asked.body) } else { form(asked.body) };
    parameters.extend(body.ok_or_else(unreadable)?);
    let parts = asked.path.split('/').filter(|part| !part.is_empty()).collect();
    Ok(Call { method: asked.method, parts, parameters, sandbox })
}

fn form(bytes: &[u8]) -> Option<Parameters> {
    if bytes.is_empty() {
        return Some(Parameters::new());
    }
    let pairs = Itn::parse(bytes).ok()?;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    pairs.pairs().map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// An object of one level, as PHP reads its values into text.
fn object(bytes: &[u8]) -> Option<Parameters> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else { return None };
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(if truth { "1" } else { "0" }.to_owned()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    };
    fields.into_iter().map(|(name, value)| Some((name, text(value)?))).collect()
}

/// ISO 8601, the offset being optional; one of PayFast's libraries writes it without its colon.
fn is_timestamp(text: &str) -> bool {
    let (local, offset) = text.split_at_checked(19).unwrap_or((text, ""));
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                wanted => byte == wanted,
            })
    };
    shape(local, "0000-00-00T00:00:00")
        && ["", "Z", "+00:00", "+0000"].iter().any(|known| shape(offset, known))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamps_are_those_that_payfast_documents() {
        for fine in [
            "2026-11-20T12:00:00+02:00",
            "2026-11-20T12:00:00",
            "2026-11-20T12:00:00+0200",
            "2026-11-20T12:00:00Z",
        ] {
            assert!(is_timestamp(fine), "{fine}");
        }
        for wrong in [
            "",
            "2026-11-20",
            "2026-11-20 12:00:00",
            "2026-11-20T12:00:00.5+02:00",
            "2026-11-20T12:00:00+02",
            "é",
        ] {
            assert!(!is_timestamp(wrong), "{wrong}");
        }
    }

    #[test]
    fn bodies_are_one_level_of_json_or_a_form() {
        let expected: Parameters = [("a", "1"), ("b", "x y"), ("c", "0")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(object(br#"{"a":1,"b":"x y","c":false}"#).unwrap(), expected);
        assert_eq!(form(b"a=1&b=x+y&c=0").unwrap(), expected);
        assert_eq!((object(br#"{"a":{}}"#), object(b"[]"), form(b"a=%FF")), (None, None, None));
    }

    #[test]
    fn what_has_no_body_must_say_so() {
        let asked =
            |headers| Asked { method: "PUT", path: "/subscriptions/1/cancel", query: "", headers, body: b"" };
        assert_eq!(read(&asked(BTreeMap::new())).err().map(|reply| reply.status), Some(411));
        let call = read(&asked(BTreeMap::from([("content-length", "0".to_owned())]))).ok().unwrap();
        assert_eq!(call.parts, ["subscriptions", "1", "cancel"]);
    }

    proptest! {
        #[test]
        fn any_call_is_read_or_refused(path in "\\PC{0,40}", query in "\\PC{0,40}", body in proptest::collection::vec(any::<u8>(), 0..60), json in any::<bool>()) {
            let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
            let headers = BTreeMap::from([("content-type", kind.to_owned())]);
            let _ = read(&Asked { method: "POST", path: &path, query: &query, headers, body: &body });
            let _ = is_timestamp(&path);
        }
    }
}
