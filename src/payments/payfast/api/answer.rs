//! What came back from the API, and what it means: done, refused, or not known.
//!
//! Each status is placed once, here, and on purpose. What PayFast refused did not happen, so that it may be asked
//! again with better words; what is not known may have happened, so that it is never simply asked again. A status that
//! nobody documents is not known.

use std::time::Duration;

use serde_json::Value;

use super::lenient::{text, whole, word};
use crate::db::words;

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status of HTTP.
    pub status: u16,
    /// The headers that may help whoever looks into it.
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The call did not leave, so that nothing happened.
    #[error("the call was not sent: {why}")]
    NotSent {
        /// Why.
        why: String,
        /// When it makes sense to try again.
        wait: Duration,
    },
    /// The call left, and what came of it is not known.
    #[error("the call was not answered: {0}")]
    Lost(String),
}

words! {
    /// What kind of no it was.
    pub enum RefusalKind {
        /// The call itself is wrong.
        Request = "request",
        /// Merchant id, passphrase or address are not taken. Every call would be refused so.
        Authorisation = "authorisation",
        /// Too many wrong signatures, or too many calls.
        RateLimited = "rate_limited",
        /// There is no such payment, subscription or endpoint.
        NotFound = "not_found",
        /// The subscription is not in a state for this.
        State = "state",
        /// The bank refused the charge.
        Declined = "declined",
        /// PayFast said no and little else.
        Failed = "failed",
    }
}

/// PayFast said no: nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of no.
    pub kind: RefusalKind,
    /// The status, of HTTP or of the answer's own.
    pub code: u16,
    /// The bank's code of two characters, when the message ends in one.
    pub bank_code: Option<String>,
    /// PayFast's message, on one line.
    pub reason: String,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "what is not known must be found out"]
pub enum Outcome<T> {
    /// PayFast did it, and says this.
    Done(T),
    /// PayFast said no: nothing happened.
    Refused(Refusal),
    /// The call did not leave: nothing happened.
    NotSent {
        /// Why.
        why: String,
        /// When it makes sense to try again.
        wait: Duration,
    },
    /// It may have happened; why that is not known. For what only reads, it means to ask again.
    Unknown(String),
}

impl<T> Outcome<T> {
    /// What PayFast says, when it did it.
    #[must_use]
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(done) => Some(done),
            Self::Refused(_) | Self::NotSent { .. } | Self::Unknown(_) => None,
        }
    }

    /// For the log and the audit: the word of it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Refused(_) => "refused",
            Self::NotSent { .. } => "not_sent",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl<T> From<Unanswered> for Outcome<T> {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotSent { why, wait } => Self::NotSent { why, wait },
            Unanswered::Lost(why) => Self::Unknown(why),
        }
    }
}

/// Where a status belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// PayFast took the call; the body says the rest.
    Taken,
    /// PayFast did not take the call.
    Refused(RefusalKind),
    /// It may have happened.
    Unknown,
}

/// Places a status.
#[must_use]
pub const fn place(status: u16) -> Place {
    match status {
        200..=299 => Place::Taken,
        // 400: variables are missing, the version or the form of the signature is wrong. The others are what a server or
        // a proxy in front says without looking into a call: forbidden, method, length, size, media type.
        400 | 403 | 405 | 406 | 411 | 413..=415 | 422 => Place::Refused(RefusalKind::Request),
        // Merchant not found, origin not recognised or not whitelisted, authorisation failed.
        401 => Place::Refused(RefusalKind::Authorisation),
        404 => Place::Refused(RefusalKind::NotFound),
        // "Signature rate limit reached": after wrong signatures.
        429 => Place::Refused(RefusalKind::RateLimited),
        // A redirect is not followed and an interim answer is none; 408 and 409 may come after the fact; 500 is
        // documented as an application error and as a failed communication, of whom with whom is not; the rest of the
        // fives come from in front.
        _ => Place::Unknown,
    }
}

/// Why an answer is not a good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Refused(Refusal),
    Unknown(String),
}

impl Stop {
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(why.into())
    }
}

/// What PayFast wraps its answers in.
pub(super) struct Envelope {
    /// The code inside, or the status of HTTP.
    pub(super) code: u16,
    whole: Value,
}

impl Envelope {
    fn open(answer: &RawAnswer) -> Result<Self, Stop> {
        let json = serde_json::from_slice::<Value>(&answer.body).ok().filter(Value::is_object);
        let told = json.as_ref().and_then(|json| json.get("code")).map(whole);
        let told = told.map(|code| code.and_then(|code| u16::try_from(code).ok()).unwrap_or(0));
        match (place(answer.status), json) {
            (Place::Unknown, _) => {
                Err(Stop::unknown(format!("PayFast answered with status {}", answer.status)))
            }
            (Place::Refused(kind), json) => Err(refused(kind, answer.status, told, json)),
            (Place::Taken, None) => Err(Stop::unknown("PayFast's answer is not a JSON object")),
            (Place::Taken, Some(json)) => match told.map(|code| (code, place(code))) {
                None => Ok(Self { code: answer.status, whole: json }),
                Some((code, Place::Taken)) => Ok(Self { code, whole: json }),
                Some((code, Place::Refused(kind))) => Err(refused(kind, code, None, Some(json))),
                Some((code, Place::Unknown)) => {
                    Err(Stop::unknown(format!("PayFast answered with code {code}")))
                }
            },
        }
    }

    /// What PayFast says: `data.response`.
    pub(super) fn response(&self) -> Option<&Value> {
        self.data()?.get("response")
    }

    /// What stands around it.
    pub(super) fn data(&self) -> Option<&Value> {
        self.whole.get("data")
    }

    /// The object that is asked for, in its envelope or, as some answers are documented, without one.
    pub(super) fn object(&self) -> &Value {
        self.response().filter(|response| response.is_object()).unwrap_or(&self.whole)
    }

    /// PayFast's message, on one line.
    pub(super) fn message(&self) -> String {
        message(&self.whole)
    }

    /// PayFast said no in `data.response`: `false`, or a number or an object of failure.
    pub(super) fn refusal(&self, kind: RefusalKind) -> Stop {
        Stop::Refused(refusal(kind, self.code, &self.whole))
    }
}

/// Reads an answer of JSON.
pub(super) fn decode<T>(answer: &RawAnswer, read: impl FnOnce(&Envelope) -> Result<T, Stop>) -> Outcome<T> {
    settle(Envelope::open(answer).and_then(|envelope| read(&envelope)))
}

pub(super) fn settle<T>(read: Result<T, Stop>) -> Outcome<T> {
    match read {
        Ok(done) => Outcome::Done(done),
        Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Stop::Unknown(why)) => Outcome::Unknown(why),
    }
}

/// A refusal by status, unless the body says something else.
fn refused(kind: RefusalKind, code: u16, told: Option<u16>, json: Option<Value>) -> Stop {
    if let Some(told) = told
        && !matches!(place(told), Place::Refused(_))
    {
        return Stop::unknown(format!("PayFast answered with status {code} and with code {told}"));
    }
    Stop::Refused(refusal(kind, code, &json.unwrap_or_default()))
}

/// `data.response` of a subscription that is not in a state for what was asked.
const NOT_IN_STATE: i64 = 4;

fn refusal(kind: RefusalKind, code: u16, json: &Value) -> Refusal {
    let reason = message(json);
    let bank_code = bank_code(&reason);
    let state = json.pointer("/data/response").and_then(whole) == Some(NOT_IN_STATE);
    let kind = match kind {
        RefusalKind::Request | RefusalKind::Failed | RefusalKind::Declined if state => RefusalKind::State,
        RefusalKind::Request | RefusalKind::Failed if bank_code.is_some() => RefusalKind::Declined,
        kind => kind,
    };
    let reason =
        if reason.is_empty() { format!("PayFast answered with {code} and no message") } else { reason };
    Refusal { kind, code, bank_code, reason }
}

fn message(json: &Value) -> String {
    let places = ["/data/message", "/data/response/message", "/message", "/status"];
    let found = places.iter().find_map(|place| json.pointer(place).and_then(word));
    // An object of failures under other names is told whole, so that nothing is lost.
    let object = json.pointer("/data/response").filter(|response| response.is_object());
    match (found, object) {
        (Some(message), None) => message,
        (Some(message), Some(_)) if json.pointer("/data/message").and_then(text).is_some() => message,
        (_, Some(object)) => super::lenient::cleaned(&object.to_string()),
        (None, None) => String::new(),
    }
}

/// The code of the bank at the end of a message such as `Insufficient funds (51)`; `00` is no refusal.
fn bank_code(message: &str) -> Option<String> {
    let (_, code) = message.trim_end_matches(['.', ' ']).strip_suffix(')')?.rsplit_once('(')?;
    let fits = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) && code != "00";
    fits.then(|| code.to_ascii_uppercase())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub fn answer(status: u16, body: &Value) -> RawAnswer {
        RawAnswer { status, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    fn read(status: u16, body: &str) -> Outcome<u16> {
        let raw = RawAnswer { status, headers: Vec::new(), body: body.as_bytes().to_vec() };
        decode(&raw, |envelope| Ok(envelope.code))
    }

    fn kind(outcome: &Outcome<u16>) -> Option<RefusalKind> {
        match outcome {
            Outcome::Refused(refusal) => Some(refusal.kind),
            _ => None,
        }
    }

    #[test]
    fn every_documented_status_has_its_place() {
        use RefusalKind::{Authorisation, NotFound, RateLimited, Request};
        let no = r#"{"code":CODE,"status":"failed","data":{"response":false,"message":"No"}}"#;
        for (status, expected) in [(400, Request), (401, Authorisation), (404, NotFound), (429, RateLimited)]
        {
            let body = no.replace("CODE", &status.to_string());
            assert_eq!(kind(&read(status, &body)), Some(expected), "{status}");
            // The code inside counts also when HTTP says that all is well.
            assert_eq!(kind(&read(200, &body)), Some(expected), "{status}");
            // A proxy's page says no as well.
            assert_eq!(kind(&read(status, "<html>")), Some(expected), "{status}");
        }
        for unknown in [100, 302, 408, 409, 418, 500, 502, 503, 504, 599, 0, 999] {
            assert_eq!(place(unknown), Place::Unknown, "{unknown}");
            assert_eq!(read(unknown, "{}").word(), "unknown");
        }
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_not_known() {
        assert_eq!(read(400, r#"{"code":200,"data":{"response":true}}"#).word(), "unknown");
        assert_eq!(read(400, r#"{"code":500}"#).word(), "unknown");
        assert_eq!(read(200, r#"{"code":500}"#).word(), "unknown");
        assert_eq!(read(200, r#"{"code":"many"}"#).word(), "unknown");
        for unreadable in ["", "<html>", "[]", "\"fine\"", "{\"code\":200", "null"] {
            assert_eq!(read(200, unreadable).word(), "unknown", "{unreadable}");
        }
        assert_eq!(read(200, r#"{"code":"200"}"#), Outcome::Done(200));
    }

    #[test]
    fn a_refusal_says_why() {
        let answered = answer(
            400,
            &json!({"code": 400, "status": "failed", "data": {"response": 4, "message": "The subscription is not in a\r\nvalid state."}}),
        );
        let Outcome::Refused(refusal) = decode(&answered, |_| Ok(())) else { panic!() };
        assert_eq!((refusal.kind, refusal.code, refusal.bank_code), (RefusalKind::State, 400, None));
        assert_eq!(refusal.reason, "The subscription is not in a valid state.");
        let declined = r#"{"code":400,"data":{"response":false,"message":"Insufficient funds (51).\r\n"}}"#;
        let Outcome::Refused(refusal) = read(400, declined) else { panic!() };
        assert_eq!((refusal.kind, refusal.bank_code.as_deref()), (RefusalKind::Declined, Some("51")));
        let object = r#"{"code":400,"status":"failed","data":{"response":{"amount":["must be more"]}}}"#;
        let Outcome::Refused(refusal) = read(400, object) else { panic!() };
        assert_eq!(
            (refusal.kind, refusal.reason.as_str()),
            (RefusalKind::Request, r#"{"amount":["must be more"]}"#)
        );
        let Outcome::Refused(refusal) = read(404, "") else { panic!() };
        assert_eq!(refusal.reason, "PayFast answered with 404 and no message");
    }

    #[test]
    fn what_has_no_answer_keeps_apart_what_left_and_what_did_not() {
        let wait = Duration::from_secs(9);
        let held = Unanswered::NotSent { why: "it is down".to_owned(), wait };
        assert_eq!(Outcome::<()>::from(held), Outcome::NotSent { why: "it is down".to_owned(), wait });
        assert_eq!(
            Outcome::<()>::from(Unanswered::Lost("late".to_owned())),
            Outcome::Unknown("late".to_owned())
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_outcome(status in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let raw = RawAnswer { status, headers: Vec::new(), body };
            let outcome = decode(&raw, |envelope| Ok(envelope.code));
            // Nothing is done unless PayFast says so in JSON.
            prop_assert!(outcome.done().is_none_or(|code| (200..300).contains(&code)));
        }

        #[test]
        fn reasons_are_short_lines(message in any::<String>()) {
            let body = json!({"code": 400, "data": {"response": false, "message": message}});
            let Outcome::Refused(refusal) = decode(&answer(400, &body), |_| Ok(())) else { panic!() };
            prop_assert!(!refusal.reason.is_empty() && refusal.reason.chars().count() <= 255);
            prop_assert!(!refusal.reason.chars().any(char::is_control));
        }
    }
}
