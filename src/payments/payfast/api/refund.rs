//! Whether a payment can be refunded, whether it was, and how much.

use serde_json::Value;

use super::answer::{Outcome, RawAnswer, RefusalKind, Stop, decode};
use super::history::local_time;
use super::lenient::{truth, whole, word};
use crate::base::Timestamp;

/// Whether anything can be refunded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refundable {
    /// It can.
    Yes,
    /// All of it was.
    Completed,
    /// It cannot; the errors say why.
    No,
}

/// The way that a refund goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Back the way that the money came.
    Source,
    /// To a bank account that must be named.
    BankPayout,
    /// None.
    Closed,
}

/// A bank that can be paid to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bank {
    /// The name to name it by.
    pub name: String,
    /// The name to show.
    pub label: String,
}

/// On which terms a payment can be refunded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether anything can be.
    pub refundable: Refundable,
    /// What was paid, in cents.
    pub original_minor: i64,
    /// What of it can be refunded, in cents.
    pub available_minor: i64,
    /// The way of a refund of all of it.
    pub full: Way,
    /// The way of a refund of a part.
    pub partial: Way,
    /// The banks that can be paid to.
    pub banks: Vec<Bank>,
    /// How it was paid.
    pub funding: Option<String>,
    /// Why it cannot be refunded.
    pub errors: Vec<String>,
}

/// Something that moved on a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// How much, in cents; negative when it was refunded.
    pub amount_minor: i64,
    /// When.
    pub at: Timestamp,
    /// What, in PayFast's words.
    pub kind: String,
}

/// What moved on a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movements {
    /// What is left of it, in cents.
    pub available_minor: i64,
    /// What moved, as PayFast tells it.
    pub movements: Vec<Movement>,
}

/// Reads the answer to a question for a refund's terms.
pub fn terms(answer: &RawAnswer) -> Outcome<Terms> {
    decode(answer, |envelope| {
        if envelope.response().and_then(truth) == Some(false) {
            return Err(envelope.refusal(RefusalKind::Failed));
        }
        let told = envelope.object();
        let status = told.get("status").and_then(word);
        let refundable = match status.as_deref() {
            Some("REFUNDABLE") => Refundable::Yes,
            Some("COMPLETED") => Refundable::Completed,
            Some("NOT_AVAILABLE") => Refundable::No,
            _ => return Err(Stop::unknown("the terms have no status that is known")),
        };
        let cents = |name: &str| told.get(name).and_then(whole).filter(|cents| *cents >= 0);
        let missing = || Stop::unknown("the terms have no amounts in whole cents");
        Ok(Terms {
            refundable,
            original_minor: cents("amount_original").ok_or_else(missing)?,
            available_minor: cents("amount_available_for_refund").ok_or_else(missing)?,
            full: way(told, "refund_full")?,
            partial: way(told, "refund_partial")?,
            banks: list(told, "bank_names").filter_map(bank).collect(),
            funding: told.get("funding_type").and_then(word),
            errors: list(told, "errors").filter_map(word).collect(),
        })
    })
}

/// Reads the answer to a refund. PayFast gives it no id: it is found again by the payment.
pub fn made(answer: &RawAnswer) -> Outcome<()> {
    decode(answer, |envelope| {
        let response =
            envelope.response().ok_or_else(|| Stop::unknown("the answer says nothing of the refund"))?;
        match truth(response) {
            Some(true) => Ok(()),
            Some(false) => Err(envelope.refusal(RefusalKind::Failed)),
            None if response.is_number() || response.is_object() => {
                Err(envelope.refusal(RefusalKind::Failed))
            }
            None => Err(Stop::unknown("the answer says neither yes nor no")),
        }
    })
}

/// Reads the answer to a question for what was refunded.
pub fn movements(answer: &RawAnswer) -> Outcome<Movements> {
    decode(answer, |envelope| {
        if envelope.response().and_then(truth) == Some(false) {
            return Err(envelope.refusal(RefusalKind::Failed));
        }
        let told = envelope.object();
        let available = told.get("available_balance").and_then(whole);
        let available = available.ok_or_else(|| Stop::unknown("the answer has no balance in whole cents"))?;
        let listed = told.get("transactions").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| Stop::unknown("the answer lists no transactions"))?;
        let movements = listed.iter().enumerate().map(|(at, told)| {
            movement(told).ok_or_else(|| Stop::unknown(format!("transaction {} cannot be read", at + 1)))
        });
        Ok(Movements { available_minor: available, movements: movements.collect::<Result<_, _>>()? })
    })
}

fn movement(told: &Value) -> Option<Movement> {
    Some(Movement {
        amount_minor: told.get("amount").and_then(whole)?,
        at: local_time(&told.get("date").and_then(word)?)?,
        kind: told.get("type").and_then(word)?,
    })
}

fn way(told: &Value, name: &str) -> Result<Way, Stop> {
    let method = told.get(name).and_then(|way| way.get("method")).and_then(word);
    match method.as_deref() {
        Some("PAYMENT_SOURCE") => Ok(Way::Source),
        Some("BANK_PAYOUT") => Ok(Way::BankPayout),
        Some("NOT_AVAILABLE") => Ok(Way::Closed),
        _ => Err(Stop::unknown(format!("{name} has no method that is known"))),
    }
}

fn list<'v>(told: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    told.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn bank(told: &Value) -> Option<Bank> {
    let name = told.get("bank_name").and_then(word)?;
    let label = told.get("label").and_then(word).unwrap_or_else(|| name.clone());
    Some(Bank { name, label })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::answer::tests::answer;
    use super::*;

    fn documented() -> Value {
        json!({
            "token": "a3b3ae55-ab8b-b388-df23-4e6882b86ce0", "funding_type": "Debit Card", "amount_original": 1000,
            "amount_available_for_refund": "500", "status": "REFUNDABLE", "errors": [],
            "refund_full": {"method": "NOT_AVAILABLE"},
            "refund_partial": {"method": "BANK_PAYOUT", "bank_account_holder": "", "bank_name": ""},
            "bank_names": [{"bank_name": "ABSA", "label": "Absa"}, {"bank_name": "FNB"}, {"etc": "..."}]
        })
    }

    #[test]
    fn terms_are_read_in_an_envelope_and_without_one() {
        for body in
            [documented(), json!({"code": 200, "status": "success", "data": {"response": documented()}})]
        {
            let read = terms(&answer(200, &body)).done().unwrap();
            assert_eq!(
                (read.refundable, read.original_minor, read.available_minor),
                (Refundable::Yes, 1_000, 500)
            );
            assert_eq!((read.full, read.partial), (Way::Closed, Way::BankPayout));
            let banks: Vec<_> =
                read.banks.iter().map(|bank| (bank.name.as_str(), bank.label.as_str())).collect();
            assert_eq!(banks, [("ABSA", "Absa"), ("FNB", "FNB")]);
            assert_eq!((read.funding.as_deref(), read.errors.len()), (Some("Debit Card"), 0));
        }
    }

    #[test]
    fn terms_with_words_that_nobody_knows_are_not_known() {
        for (name, value) in [
            ("status", json!("SOON")),
            ("amount_original", json!("10.00")),
            ("amount_available_for_refund", json!(-1)),
            ("refund_full", json!({"method": "CHEQUE"})),
            ("refund_partial", json!(null)),
        ] {
            let mut body = documented();
            body[name] = value;
            assert_eq!(terms(&answer(200, &body)).word(), "unknown", "{name}");
        }
    }

    #[test]
    fn a_refund_is_made_when_payfast_says_yes() {
        let told = |response: Value| {
            answer(
                200,
                &json!({"code": 200, "status": "success", "data": {"response": response, "message": "Success"}}),
            )
        };
        assert_eq!(
            (made(&told(json!(true))), made(&told(json!("true")))),
            (Outcome::Done(()), Outcome::Done(()))
        );
        for no in [json!(false), json!(3), json!({"amount": "too much"})] {
            assert_eq!(made(&told(no.clone())).word(), "refused", "{no}");
        }
        assert_eq!(
            (made(&told(json!(null))).word(), made(&answer(200, &json!({}))).word()),
            ("unknown", "unknown")
        );
    }

    #[test]
    fn movements_have_a_sign_and_a_time() {
        let body = json!({"code": 200, "status": "success", "data": {"response": {
            "available_balance": 6800,
            "transactions": [
                {"amount": 9800, "date": "2020-05-14 12:11:05", "type": "Funds Received"},
                {"amount": "-1000", "date": "2020-05-14 14:59:59", "type": "Funds Received (Refund)"},
            ]
        }, "message": "success"}});
        let read = movements(&answer(200, &body)).done().unwrap();
        assert_eq!((read.available_minor, read.movements.len()), (6_800, 2));
        assert_eq!(read.movements[1].amount_minor, -1_000);
        assert_eq!(read.movements[1].at.to_rfc3339(), "2020-05-14T12:59:59Z");
        let mut broken = body;
        broken["data"]["response"]["transactions"][1]["amount"] = json!("-10.00");
        assert_eq!(
            movements(&answer(200, &broken)),
            Outcome::Unknown("transaction 2 cannot be read".to_owned())
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_outcome(status in 0_u16..600, body in proptest::collection::vec(any::<u8>(), 0..120)) {
            let raw = RawAnswer { status, headers: Vec::new(), body };
            let _ = (terms(&raw), made(&raw), movements(&raw));
        }
    }
}
