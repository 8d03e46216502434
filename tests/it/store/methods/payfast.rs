//! A PayFast that charges tokens and ends them, and answers as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capecontrol::base::{Currency, Money, Secret, Timestamp, World};
use capecontrol::payments::payfast::api::answer::{RawAnswer, Unanswered};
use capecontrol::payments::payfast::api::call::{Account, Call, Endpoint};
use capecontrol::payments::provider::Transport;
use serde_json::{Value, json};

/// What PayFast does with the next call that changes something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    /// Does it, and the answer gets lost.
    Loses,
    /// Does not do it, and there is no answer.
    Drops,
    /// Answers with a page, having done it.
    Garbles,
    /// The bank says no.
    Declines,
    /// The token is locked.
    Locks,
    /// Is not reached.
    Away,
}

struct Charged {
    token: String,
    reference: String,
    minor: i64,
    id: String,
    at: Timestamp,
}

#[derive(Default)]
struct Books {
    ended: BTreeMap<String, bool>,
    charges: Vec<Charged>,
    moods: VecDeque<Mood>,
    asked: Vec<Endpoint>,
    silent: bool,
}

/// A PayFast that charges tokens and ends them, and answers as it is told to.
pub(super) struct Cards {
    world: World,
    books: Mutex<Books>,
}

impl Cards {
    pub(super) fn new(world: &World) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), books: Mutex::default() })
    }

    pub(super) fn mood(&self, mood: Mood) {
        self.books.lock().unwrap().moods.push_back(mood);
    }

    pub(super) fn silent(&self, silent: bool) {
        self.books.lock().unwrap().silent = silent;
    }

    pub(super) fn times(&self, endpoint: Endpoint) -> usize {
        self.books.lock().unwrap().asked.iter().filter(|asked| **asked == endpoint).count()
    }

    /// PayFast's ids of what it charged.
    pub(super) fn charged(&self) -> Vec<String> {
        self.books.lock().unwrap().charges.iter().map(|charge| charge.id.clone()).collect()
    }

    pub(super) fn has_ended(&self, token: &str) -> bool {
        self.books.lock().unwrap().ended.contains_key(token)
    }
}

fn answer(code: u16, response: &Value, more: &Value) -> RawAnswer {
    let mut data = json!({"response": response, "message": "said"});
    data.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let body = json!({"code": code, "status": "said", "data": data});
    RawAnswer { status: code, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn lost() -> Result<RawAnswer, Unanswered> {
    Err(Unanswered::Lost("late".to_owned()))
}

impl Books {
    fn history(&self) -> RawAnswer {
        let mut text =
            "Date,Type,Sign,Party,Name,Description,Currency,Funding Type,Gross,Fee,Net,Balance,M Payment ID,\
             PF Payment ID\n"
                .to_owned();
        for Charged { reference, minor, id, at, .. } in &self.charges {
            let gross = Money::new(*minor, Currency::Zar).to_decimal_string();
            let at = at.plus(Duration::from_hours(2)).to_rfc3339()[..19].replace('T', " ");
            text.push_str(&format!(
                "{at},FUNDS_RECEIVED,CREDIT,Ada,,,ZAR,CC,{gross},0.00,{gross},0.00,{reference},{id}\n"
            ));
        }
        RawAnswer { status: 200, headers: Vec::new(), body: text.into_bytes() }
    }

    fn charge(
        &mut self,
        token: &str,
        call: &Call,
        mood: Option<Mood>,
        now: Timestamp,
    ) -> Result<RawAnswer, Unanswered> {
        let given = call.parameters();
        assert!(!given.to_string().contains(token), "the token stands in what is written down");
        let id = format!("90{}", self.charges.len());
        if self.ended.contains_key(token) || matches!(mood, Some(Mood::Locks)) {
            return Ok(answer(400, &json!(4), &json!({})));
        }
        if !matches!(mood, Some(Mood::Drops | Mood::Declines)) {
            self.charges.push(Charged {
                token: token.to_owned(),
                reference: given["m_payment_id"].as_str().unwrap().to_owned(),
                minor: given["amount"].as_i64().unwrap(),
                id: id.clone(),
                at: now,
            });
        }
        match mood {
            None => Ok(answer(200, &json!("true"), &json!({"pf_payment_id": id, "message": "done(00)"}))),
            Some(Mood::Declines) => Ok(answer(400, &json!(false), &json!({"message": "no(51)"}))),
            Some(Mood::Garbles) => Ok(RawAnswer { status: 200, headers: Vec::new(), body: b"<h1>".to_vec() }),
            Some(_) => lost(),
        }
    }

    fn cancel(&mut self, token: &str, mood: Option<Mood>) -> Result<RawAnswer, Unanswered> {
        if self.ended.contains_key(token) {
            return Ok(answer(400, &json!(4), &json!({})));
        }
        if !matches!(mood, Some(Mood::Drops)) {
            self.ended.insert(token.to_owned(), true);
        }
        if mood.is_some() { lost() } else { Ok(answer(200, &json!(true), &json!({}))) }
    }

    fn last(&self, token: &str) -> RawAnswer {
        match self.charges.iter().rev().find(|charge| charge.token == token) {
            None => answer(404, &json!(false), &json!({})),
            Some(Charged { reference, minor, id, .. }) => answer(
                200,
                &json!({"pf_payment_id": id, "m_payment_id": reference, "status": "COMPLETE", "amount": minor}),
                &json!({}),
            ),
        }
    }
}

#[async_trait::async_trait]
impl Transport for Cards {
    async fn send(&self, call: &Call) -> Result<RawAnswer, Unanswered> {
        let now = self.world.now();
        let account =
            Account { merchant_id: "1".to_owned(), passphrase: Secret::new("p".to_owned()), sandbox: false };
        let target = call.request(&account, now).target;
        let token = |at: usize| target.split('/').nth(at).unwrap_or_default().to_owned();
        let mut books = self.books.lock().unwrap();
        books.asked.push(call.endpoint());
        let changes = matches!(call.endpoint(), Endpoint::Charge | Endpoint::Cancel);
        let mood = if changes { books.moods.pop_front() } else { None };
        if matches!(mood, Some(Mood::Away)) {
            return Err(Unanswered::NotSent { why: "down".to_owned(), wait: Duration::from_secs(30) });
        }
        if books.silent && !changes {
            return lost();
        }
        match call.endpoint() {
            Endpoint::Charge => books.charge(&token(2), call, mood, now),
            Endpoint::Cancel => books.cancel(&token(2), mood),
            Endpoint::Query => Ok(books.last(&token(3))),
            Endpoint::History => Ok(books.history()),
            Endpoint::Fetch => {
                let code = if books.ended.contains_key(&token(2)) { 2 } else { 1 };
                // The live one repeats the token.
                Ok(answer(
                    200,
                    &json!({"status": code, "status_text": "said", "token": token(2)}),
                    &json!({}),
                ))
            }
            other => panic!("nobody asks for {}", other.as_str()),
        }
    }
}
