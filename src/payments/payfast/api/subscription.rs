//! How a subscription or a token stands, and whether a change of it was taken.

use time::Date;
use time::macros::format_description;

use super::answer::{Envelope, Outcome, RawAnswer, RefusalKind, Stop, decode};
use super::call::Frequency;
use super::lenient::{truth, whole, word};

/// How a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be charged.
    Active,
    /// It was ended, by us or by the buyer.
    Cancelled,
    /// It skips some cycles.
    Paused,
    /// It has had all its cycles.
    Complete,
    /// PayFast looks into it.
    InReview,
    /// Its charges failed.
    Failed,
    /// PayFast stopped it.
    SystemPaused,
    /// A number that we do not know.
    Other(i64),
}

impl State {
    /// PayFast documents one number, 1; the others are known from those who met them.
    #[must_use]
    pub const fn read(code: i64) -> Self {
        match code {
            1 => Self::Active,
            2 => Self::Cancelled,
            3 => Self::Paused,
            4 => Self::Complete,
            5 => Self::InReview,
            6 => Self::Failed,
            7 => Self::SystemPaused,
            other => Self::Other(other),
        }
    }
}

/// A subscription, as PayFast tells of it. Of a token it tells the state only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// How it stands.
    pub state: State,
    /// PayFast's word for that.
    pub state_text: String,
    /// PayFast's reason for that; mostly empty.
    pub state_reason: String,
    /// How much is charged each time, in cents.
    pub amount_minor: Option<i64>,
    /// How many cycles it has; 0 is for ever.
    pub cycles: Option<i64>,
    /// How many it has had.
    pub cycles_complete: Option<i64>,
    /// How often it is charged.
    pub frequency: Option<Frequency>,
    /// When it is charged next, by the calendar of South Africa.
    pub run_date: Option<Date>,
}

/// Reads the answer to a fetch.
pub fn fetched(answer: &RawAnswer) -> Outcome<Subscription> {
    decode(answer, |envelope| {
        said_no(envelope)?;
        let told = envelope.response().filter(|told| told.is_object());
        let told = told.ok_or_else(|| Stop::unknown("the answer tells of no subscription"))?;
        let number = |name: &str| told.get(name).and_then(whole);
        let text = |name: &str| told.get(name).and_then(word).unwrap_or_default();
        let code = number("status").ok_or_else(|| Stop::unknown("the subscription has no status"))?;
        Ok(Subscription {
            state: State::read(code),
            state_text: text("status_text"),
            state_reason: text("status_reason"),
            amount_minor: number("amount"),
            cycles: number("cycles"),
            cycles_complete: number("cycles_complete"),
            frequency: number("frequency").and_then(Frequency::read),
            run_date: date(&text("run_date")),
        })
    })
}

/// Reads the answer to a pause, an unpause, a cancellation or an update.
pub fn confirmed(answer: &RawAnswer) -> Outcome<()> {
    decode(answer, |envelope| {
        said_no(envelope)?;
        match envelope.response().and_then(truth) {
            Some(true) => Ok(()),
            _ => Err(Stop::unknown("the answer says neither yes nor no")),
        }
    })
}

/// Reads the answer to a ping: a text, and not always JSON.
pub fn pong(answer: &RawAnswer) -> Outcome<String> {
    let text = String::from_utf8_lossy(&answer.body);
    let text = text.trim().trim_matches('"').trim().to_owned();
    if answer.status == 200 && ["Payfast API", "API V1"].iter().any(|known| text.eq_ignore_ascii_case(known))
    {
        return Outcome::Done(text);
    }
    decode(answer, |_| Err(Stop::unknown("whoever answered the ping is not PayFast's API")))
}

fn said_no(envelope: &Envelope) -> Result<(), Stop> {
    let response = envelope.response();
    match response.map(|response| (truth(response), response.is_number())) {
        Some((Some(false), _) | (_, true)) => Err(envelope.refusal(RefusalKind::Failed)),
        _ => Ok(()),
    }
}

/// The day of a time such as `2020-07-04T00:00:00+02:00`.
fn date(text: &str) -> Option<Date> {
    Date::parse(text.get(..10)?, format_description!("[year]-[month]-[day]")).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use time::macros::date;

    use super::super::answer::tests::answer;
    use super::*;

    fn fine(response: &Value) -> RawAnswer {
        answer(200, &json!({"code": 200, "status": "success", "data": {"response": response}}))
    }

    #[test]
    fn a_subscription_is_read_in_cents_and_days() {
        let told = json!({
            "amount": 1628, "cycles": "14", "cycles_complete": 9, "frequency": 3, "run_date": "2020-07-04T00:00:00+02:00",
            "status": 1, "status_reason": "", "status_text": "ACTIVE", "token": "a3b3ae55-ab8b-b388-df23-4e6882b86ce0"
        });
        let read = fetched(&fine(&told)).done().unwrap();
        assert_eq!((read.state, read.state_text.as_str()), (State::Active, "ACTIVE"));
        assert_eq!((read.amount_minor, read.cycles, read.cycles_complete), (Some(1_628), Some(14), Some(9)));
        assert_eq!((read.frequency, read.run_date), (Some(Frequency::Monthly), Some(date!(2020 - 07 - 04))));
        let token =
            fetched(&fine(&json!({"status": 1, "status_reason": "", "status_text": "ACTIVE"}))).done();
        assert_eq!(token.map(|token| (token.amount_minor, token.run_date)), Some((None, None)));
        assert_eq!(State::read(99), State::Other(99));
    }

    #[test]
    fn yes_is_yes_as_a_word_too_and_a_number_is_no() {
        for yes in [json!(true), json!("true")] {
            assert_eq!(confirmed(&fine(&yes)), Outcome::Done(()));
        }
        for no in [json!(false), json!("false"), json!(4), json!(0)] {
            assert_eq!(confirmed(&fine(&no)).word(), "refused", "{no}");
        }
        for neither in [json!(null), json!({}), json!("yes")] {
            assert_eq!(confirmed(&fine(&neither)).word(), "unknown", "{neither}");
        }
        assert_eq!(fetched(&fine(&json!(true))).word(), "unknown");
        assert_eq!(fetched(&fine(&json!(false))).word(), "refused");
    }

    #[test]
    fn a_ping_is_answered_by_payfast_or_by_nobody() {
        let raw =
            |status, body: &str| RawAnswer { status, headers: Vec::new(), body: body.as_bytes().to_vec() };
        assert_eq!(pong(&raw(200, "\"Payfast API\"")), Outcome::Done("Payfast API".to_owned()));
        assert_eq!(pong(&raw(200, "\"API V1\"\r\n")), Outcome::Done("API V1".to_owned()));
        assert_eq!(pong(&raw(200, "<html>It works!")).word(), "unknown");
        assert_eq!(pong(&raw(503, "\"Payfast API\"")).word(), "unknown");
        assert_eq!(pong(&raw(401, "")).word(), "refused");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_outcome(status in 0_u16..600, body in proptest::collection::vec(any::<u8>(), 0..120)) {
            let raw = RawAnswer { status, headers: Vec::new(), body };
            let _ = (fetched(&raw), confirmed(&raw), pong(&raw));
        }

        #[test]
        fn any_text_has_a_date_or_none(text in "\\PC{0,20}") {
            let _ = date(&text);
        }
    }
}
