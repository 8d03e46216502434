//! What came of a charge, from its answer or asked later.

use super::answer::{Outcome, RawAnswer, RefusalKind, Stop, decode};
use super::check;
use super::lenient::{truth, whole, word};
use crate::payments::payfast::verdict::PaymentStatus;

/// A charge that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// PayFast's id of the payment.
    pub provider_payment_id: String,
    /// PayFast's message.
    pub message: String,
}

/// How a payment by card stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardPayment {
    /// PayFast's id of the payment, when it is told.
    pub provider_payment_id: Option<String>,
    /// Our reference, when it is told.
    pub reference: Option<String>,
    /// What became of it.
    pub status: PaymentStatus,
    /// How much, in cents.
    pub amount_minor: i64,
    /// The bank's code; `00` when it agreed.
    pub bank_code: Option<String>,
    /// The bank's words.
    pub bank_message: String,
}

/// Reads the answer to a charge. A yes without an id is no yes: the money could not be told from other money.
pub fn charged(answer: &RawAnswer) -> Outcome<Charged> {
    decode(answer, |envelope| {
        let response =
            envelope.response().ok_or_else(|| Stop::unknown("the answer says nothing of the charge"))?;
        match truth(response) {
            Some(true) => {}
            Some(false) => return Err(envelope.refusal(RefusalKind::Declined)),
            // A number or an object tells of a failure, and a text or nothing at all of nothing.
            None if response.is_number() || response.is_object() => {
                return Err(envelope.refusal(RefusalKind::Failed));
            }
            None => return Err(Stop::unknown("the answer says neither yes nor no")),
        }
        let id = envelope.data().and_then(|data| data.get("pf_payment_id")).and_then(word);
        let id = id.filter(|id| check::is_id(id));
        let id =
            id.ok_or_else(|| Stop::unknown("PayFast says that it charged, and tells no pf_payment_id"))?;
        Ok(Charged { provider_payment_id: id, message: envelope.message() })
    })
}

/// Reads the answer to a query.
pub fn queried(answer: &RawAnswer) -> Outcome<CardPayment> {
    decode(answer, |envelope| {
        let told = envelope.response().ok_or_else(|| Stop::unknown("the answer tells of no payment"))?;
        if truth(told) == Some(false) {
            return Err(envelope.refusal(RefusalKind::NotFound));
        }
        let text = |name: &str| told.get(name).and_then(word);
        let status = text("status").ok_or_else(|| Stop::unknown("the payment has no status"))?;
        let amount = told.get("amount").and_then(whole).filter(|amount| *amount >= 0);
        Ok(CardPayment {
            provider_payment_id: text("pf_payment_id").filter(|id| check::is_id(id)),
            reference: text("m_payment_id"),
            status: PaymentStatus::read(&status),
            amount_minor: amount.ok_or_else(|| Stop::unknown("the payment has no amount in whole cents"))?,
            bank_code: text("cc_status"),
            bank_message: text("cc_message").unwrap_or_default(),
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::answer::tests::answer;
    use super::*;

    fn told(status: u16, data: &Value) -> RawAnswer {
        answer(status, &json!({"code": status, "status": "x", "data": data}))
    }

    fn refusal(outcome: Outcome<Charged>) -> (RefusalKind, Option<String>) {
        let Outcome::Refused(refusal) = outcome else { panic!("{outcome:?}") };
        (refusal.kind, refusal.bank_code)
    }

    #[test]
    fn a_charge_that_was_made_has_an_id() {
        for (response, id) in [(json!(true), json!("1324567")), (json!("true"), json!(1_324_567))] {
            let data = json!({"response": response, "message": "Transaction was\r\nsuccessful(00)", "pf_payment_id": id});
            let expected = Charged {
                provider_payment_id: "1324567".into(),
                message: "Transaction was successful(00)".into(),
            };
            assert_eq!(charged(&told(200, &data)), Outcome::Done(expected));
        }
        for id in [json!(null), json!(""), json!("a b"), json!("x".repeat(37)), json!({})] {
            let data = json!({"response": true, "message": "Fine", "pf_payment_id": id});
            assert_eq!(charged(&told(200, &data)).word(), "unknown", "{id}");
        }
    }

    #[test]
    fn a_charge_that_was_refused_says_by_whom() {
        let declined = json!({"response": false, "message": "Insufficient funds (51)"});
        for status in [200, 400] {
            assert_eq!(
                refusal(charged(&told(status, &declined))),
                (RefusalKind::Declined, Some("51".into()))
            );
        }
        let locked = json!({"response": 4, "message": "The subscription is not in a valid state."});
        for status in [200, 400] {
            assert_eq!(refusal(charged(&told(status, &locked))), (RefusalKind::State, None));
        }
        let object = json!({"response": {"code": 12}, "message": ""});
        assert_eq!(refusal(charged(&told(200, &object))), (RefusalKind::Failed, None));
        let number = json!({"response": 1, "pf_payment_id": "7"});
        assert_eq!(refusal(charged(&told(200, &number))), (RefusalKind::Failed, None));
        for nothing in
            [json!({}), json!({"response": "maybe", "pf_payment_id": "7"}), json!({"response": null})]
        {
            assert_eq!(charged(&told(200, &nothing)).word(), "unknown", "{nothing}");
        }
    }

    #[test]
    fn a_query_tells_status_and_cents() {
        let response = json!({
            "pf_payment_id": 69, "m_payment_id": "attempt-1", "status": "COMPLETE", "amount": 3600,
            "cc_status": "00", "cc_message": "Approved or completed successfully (00)"
        });
        let read = queried(&told(200, &json!({"response": response, "message": "Success"}))).done().unwrap();
        assert_eq!(
            (read.provider_payment_id.as_deref(), read.reference.as_deref()),
            (Some("69"), Some("attempt-1"))
        );
        assert_eq!(
            (read.status, read.amount_minor, read.bank_code.as_deref()),
            (PaymentStatus::Complete, 3_600, Some("00"))
        );
        for broken in [json!({"status": "COMPLETE", "amount": "36.00"}), json!({"amount": 1}), json!([])] {
            assert_eq!(queried(&told(200, &json!({"response": broken}))).word(), "unknown", "{broken}");
        }
        assert_eq!(queried(&told(200, &json!({"response": false}))).word(), "refused");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_outcome(status in 0_u16..600, body in proptest::collection::vec(any::<u8>(), 0..120)) {
            let raw = RawAnswer { status, headers: Vec::new(), body };
            prop_assert!(charged(&raw).done().is_none());
            prop_assert!(queried(&raw).done().is_none());
        }

        #[test]
        fn nothing_but_yes_and_an_id_is_a_charge(response in "\\PC{0,8}", id in "\\PC{0,8}") {
            prop_assume!(!response.eq_ignore_ascii_case("true"));
            let data = json!({"response": response, "pf_payment_id": id});
            prop_assert!(charged(&told(200, &data)).done().is_none());
        }
    }
}
