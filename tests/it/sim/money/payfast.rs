//! A PayFast in memory, driven by a seed: it takes money, tells of it, and while it has its moods it loses, repeats,
//! delays, reorders and garbles what it tells, and answers late, wrong or not at all. What it has truly done stands in
//! its books, and that is what the platform's books are held against in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use capecontrol::base::{ManualClock, SeededRng, Timestamp, World};
use capecontrol::payments::Options;
use capecontrol::payments::payfast::api::answer::{RawAnswer, Unanswered};
use capecontrol::payments::payfast::api::call::{Call, Endpoint};
use capecontrol::payments::payfast::api::history::grouped_text;
use capecontrol::payments::payfast::confirmation::Confirmation;
use capecontrol::payments::payfast::itn::{Itn, signed_body};
use capecontrol::payments::payfast::verdict::amount_text;
use capecontrol::payments::provider::{Confirm, Transport};
use serde_json::{Value, json};

const HEADER: &str = "Date,Type,Sign,Party,Name,Description,Currency,Funding Type,Gross,Fee,Net,Balance,\
                      M Payment ID,PF Payment ID";
/// What it charges for a chargeback, and for a payout.
const CHARGEBACK_FEE: i64 = 500;
const PAYOUT_FEE: i64 = 1_400;

/// Where chance comes from.
pub struct Dice(World);

impl Dice {
    pub fn new(clock: &Arc<ManualClock>, seed: u64) -> Self {
        Self(World::new(Arc::clone(clock) as _, Arc::new(SeededRng::new(seed))))
    }

    pub fn below(&self, below: u64) -> u64 {
        self.0.below(below)
    }

    /// True once in so many times.
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of them, when there are any.
    pub fn one<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(usize::try_from(self.below(u64::try_from(of.len()).unwrap())).unwrap())
    }

    pub fn up_to(&self, longest: Duration) -> Duration {
        Duration::from_secs(self.below(longest.as_secs()))
    }
}

/// Money that a buyer paid.
#[derive(Clone, Debug)]
pub struct Paid {
    /// Our payment, as the buyer's form named it.
    pub reference: String,
    pub gross_minor: i64,
    pub fee_minor: i64,
}

/// Money that went back to a buyer.
#[derive(Clone, Debug)]
pub struct Returned {
    pub id: String,
    pub amount_minor: i64,
    /// Why; none when somebody did it on PayFast's own page.
    pub reason: Option<String>,
    at: Timestamp,
    /// From when on it is listed.
    listed_at: Timestamp,
}

/// What PayFast truly did.
#[derive(Default)]
pub struct Books {
    pub paid: BTreeMap<String, Paid>,
    pub returned: Vec<Returned>,
    /// What card schemes took back: the payment and how much.
    pub taken: Vec<(String, i64)>,
    pub balance_minor: i64,
    /// How often each refund was sent here for good, by its reason.
    pub sent: BTreeMap<String, usize>,
    rows: Vec<(Timestamp, String)>,
    letters: Vec<(Timestamp, Vec<u8>)>,
    /// What it has said, and so confirms: its id, its word, and the payment.
    said: BTreeSet<(String, String, String)>,
    calm: bool,
}

pub struct Payfast {
    world: World,
    dice: Dice,
    books: Mutex<Books>,
}

impl Payfast {
    pub fn new(world: &World, dice: Dice) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), dice, books: Mutex::default() })
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// From now on it does what it should.
    pub fn calm(&self) {
        self.books().calm = true;
    }

    /// A buyer pays. What is told of it depends on the mood.
    pub fn pay(&self, reference: &str, amount_minor: i64) {
        let gross_minor = if self.dice.once_in(12) { amount_minor - 1 } else { amount_minor };
        let fee_minor = if self.dice.once_in(10) { 0 } else { 200 + gross_minor * 35 / 1_000 };
        let mut books = self.books();
        let id = format!("{}", 1_000 + books.paid.len());
        books.move_money(self.world.now(), "FUNDS_RECEIVED", (gross_minor, -fee_minor), (reference, &id));
        let paid = Paid { reference: reference.to_owned(), gross_minor, fee_minor };
        books.paid.insert(id.clone(), paid.clone());
        if self.dice.once_in(5) {
            self.tell(&mut books, "PENDING", &id, &paid, "");
        }
        if self.dice.once_in(8) {
            self.tell(&mut books, "FAILED", &id, &paid, "");
        }
        match self.dice.below(8) {
            0 => {}
            1 => {
                self.tell(&mut books, "COMPLETE", &id, &paid, "");
                self.tell(&mut books, "COMPLETE", &id, &paid, "told in other bytes");
            }
            _ => self.tell(&mut books, "COMPLETE", &id, &paid, ""),
        }
    }

    /// PayFast says something of an attempt without any money.
    pub fn say(&self, word: &str, reference: &str, amount_minor: i64) {
        let paid = Paid { reference: reference.to_owned(), gross_minor: amount_minor, fee_minor: 0 };
        let id = format!("{}", 5_000_000 + self.dice.below(1_000));
        self.tell(&mut self.books(), word, &id, &paid, "");
    }

    /// Somebody who knows the passphrase, but is not PayFast, tells of money.
    pub fn forge(&self, reference: &str, amount_minor: i64) {
        let paid = Paid { reference: reference.to_owned(), gross_minor: amount_minor, fee_minor: 0 };
        let id = format!("{}", 9_000_000 + self.dice.below(1_000));
        let body = letter("COMPLETE", &id, &paid, "forged");
        self.books().letters.push((self.world.now(), body));
    }

    fn tell(&self, books: &mut Books, word: &str, id: &str, paid: &Paid, name: &str) {
        books.said.insert((id.to_owned(), word.to_owned(), paid.reference.clone()));
        let body = letter(word, id, paid, name);
        let now = self.world.now();
        let late = now.plus(self.dice.up_to(Duration::from_hours(4 * 24)));
        match self.dice.below(12) {
            0 | 1 => books.letters.push((late, body)),
            2 => books.letters.extend([(now, body.clone()), (late, body)]),
            3 | 4 => {}
            5 => {
                let mut garbled = body.clone();
                garbled[20] ^= 1;
                books.letters.extend([(now, garbled), (late, body)]);
            }
            _ => books.letters.push((now, body)),
        }
    }

    /// Money leaves for the bank, or PayFast charges something.
    pub fn charge(&self) {
        let now = self.world.now();
        let mut books = self.books();
        let half = books.balance_minor / 2;
        if half > 0 && self.dice.once_in(2) {
            books.move_money(now, "PAYOUT", (-half, -PAYOUT_FEE), ("", ""));
        } else {
            books.move_money(now, "FEE", (-300, 0), ("", ""));
        }
    }

    /// A card scheme takes back some of what is left of a payment.
    pub fn take_back(&self, id: &str) {
        let now = self.world.now();
        let mut books = self.books();
        let left = books.left(id);
        let amount = if self.dice.once_in(2) { left } else { left / 3 };
        if amount > 0 {
            let reference = books.paid[id].reference.clone();
            books.move_money(now, "CHARGEBACK", (-amount, -CHARGEBACK_FEE), (&reference, id));
            books.taken.push((id.to_owned(), amount));
        }
    }

    /// Somebody gives money back on PayFast's own page.
    pub fn give_back_by_hand(&self, id: &str) {
        let now = self.world.now();
        let mut books = self.books();
        let amount = books.left(id) / 4;
        if amount > 0 {
            books.give_back(id, amount, None, (now, now));
        }
    }

    /// What is to be delivered by now: any of it, for letters overtake each other.
    pub fn next_letter(&self) -> Option<Vec<u8>> {
        let now = self.world.now();
        let books = self.books();
        let due: Vec<&Vec<u8>> =
            books.letters.iter().filter(|(at, _)| *at <= now).map(|(_, body)| body).collect();
        self.dice.one(&due).map(|body| (*body).clone())
    }

    /// A letter was answered, and is not sent again.
    pub fn answered(&self, body: &[u8]) {
        let now = self.world.now();
        let mut books = self.books();
        if let Some(at) = books.letters.iter().position(|(due, letter)| *due <= now && letter == body) {
            books.letters.swap_remove(at);
        }
    }

    /// When the last letter is due.
    pub fn last_letter(&self) -> Option<Timestamp> {
        self.books().letters.iter().map(|(at, _)| *at).max()
    }

    fn refund(&self, call: &Call) -> Result<RawAnswer, Unanswered> {
        let (now, id) = (self.world.now(), call.subject().to_owned());
        let told = call.parameters();
        let (amount, reason) =
            (told["amount"].as_i64().unwrap(), told["reason"].as_str().unwrap().to_owned());
        let mut books = self.books();
        let mood = if books.calm { 0 } else { self.dice.below(14) };
        if mood == 13 {
            let why = "down".to_owned();
            return Err(Unanswered::NotSent { why, wait: Duration::from_secs(30) });
        }
        if mood == 12 {
            return Ok(refusal("Insufficient funds in your account"));
        }
        *books.sent.entry(reason.clone()).or_default() += 1;
        if (9..12).contains(&mood) {
            // It does not do it, and nobody can tell.
            return if mood == 9 { Ok(page(503)) } else { Err(Unanswered::Lost("late".to_owned())) };
        }
        assert!(amount <= books.left(&id), "the platform gives back more than there is");
        let listed_at = if mood == 8 { now.plus(Duration::from_hours(2)) } else { now };
        books.give_back(&id, amount, Some(reason), (now, listed_at));
        match mood {
            0..5 => Ok(answer(&json!(true))),
            5 => Ok(answer(&json!("true"))),
            6 => Ok(page(200)),
            7 => Ok(page(500)),
            _ => Err(Unanswered::Lost("late".to_owned())),
        }
    }

    fn look(&self, call: &Call) -> Result<RawAnswer, Unanswered> {
        let now = self.world.now();
        let books = self.books();
        let id = call.subject();
        match if books.calm { 9 } else { self.dice.below(10) } {
            0 => return Ok(page(500)),
            1 => return Err(Unanswered::Lost("silent".to_owned())),
            _ => {}
        }
        Ok(match call.endpoint() {
            Endpoint::RefundTerms => answer(&books.terms(id)),
            Endpoint::Refunds => answer(&books.movements(id, now)),
            Endpoint::History => books.history(&call.parameters(), now),
            other => panic!("nobody asks for {}", other.as_str()),
        })
    }
}

impl Books {
    /// What PayFast would still give back of a payment.
    fn left(&self, id: &str) -> i64 {
        let gone: i64 = self.returned.iter().filter(|gone| gone.id == id).map(|gone| gone.amount_minor).sum();
        let taken: i64 = self.taken.iter().filter(|(of, _)| of == id).map(|(_, minor)| minor).sum();
        self.paid.get(id).map_or(0, |paid| paid.gross_minor) - gone - taken
    }

    /// The payments of ours that were paid.
    pub fn references(&self) -> BTreeSet<String> {
        self.paid.values().map(|paid| paid.reference.clone()).collect()
    }

    fn move_money(
        &mut self,
        at: Timestamp,
        kind: &str,
        (gross, fee): (i64, i64),
        (reference, id): (&str, &str),
    ) {
        self.balance_minor += gross + fee;
        let sign = if gross + fee < 0 { "DEBIT" } else { "CREDIT" };
        let (gross, fee, net) = (amount_text(gross), amount_text(fee), amount_text(gross + fee));
        let (time, left) = (local(at), grouped_text(self.balance_minor));
        let row = format!(
            "{time},{kind},{sign},Somebody,thing,,ZAR,CC,{gross},{fee},{net},\"{left}\",{reference},{id}"
        );
        self.rows.push((at, row));
    }

    fn give_back(
        &mut self,
        id: &str,
        amount: i64,
        reason: Option<String>,
        (at, listed_at): (Timestamp, Timestamp),
    ) {
        let reference = self.paid[id].reference.clone();
        // The same amount always costs the same: PayFast gives refunds no id, and nobody could tell them apart.
        let fee = if amount % 2 == 0 { 230 } else { 0 };
        self.move_money(at, "FUNDS_RECEIVED_REFUND", (-amount, -fee), (&reference, id));
        let (id, amount_minor) = (id.to_owned(), amount);
        self.returned.push(Returned { id, amount_minor, reason, at, listed_at });
    }

    fn terms(&self, id: &str) -> Value {
        let method = json!({"method": "PAYMENT_SOURCE"});
        let left = self.left(id);
        let status = if left == 0 { "COMPLETED" } else { "REFUNDABLE" };
        json!({
            "amount_original": self.paid[id].gross_minor, "amount_available_for_refund": left,
            "status": status, "errors": [], "refund_full": method, "refund_partial": method,
        })
    }

    fn movements(&self, id: &str, now: Timestamp) -> Value {
        let listed = self.returned.iter().filter(|gone| gone.id == id && gone.listed_at <= now);
        let kind = "Funds Received (Refund)";
        let told =
            |gone: &Returned| json!({"amount": -gone.amount_minor, "date": local(gone.at), "type": kind});
        json!({"available_balance": self.left(id), "transactions": listed.map(told).collect::<Vec<_>>()})
    }

    fn history(&self, asked: &Value, now: Timestamp) -> RawAnswer {
        let day = |name: &str| asked[name].as_str().unwrap().to_owned();
        let number = |name: &str| usize::try_from(asked[name].as_u64().unwrap_or(0)).unwrap();
        let (from, to, offset, limit) = (day("from"), day("to"), number("offset"), number("limit"));
        let wanted =
            self.rows.iter().filter(|(at, row)| *at <= now && *from <= row[..10] && row[..10] <= *to);
        let page = wanted.skip(offset).take(limit).map(|(_, row)| row.as_str());
        let text = std::iter::once(HEADER).chain(page).collect::<Vec<_>>().join("\n");
        RawAnswer { status: 200, headers: Vec::new(), body: text.into_bytes() }
    }
}

fn letter(word: &str, id: &str, paid: &Paid, name: &str) -> Vec<u8> {
    let options = Options::default();
    let (gross, fee) = (amount_text(paid.gross_minor), amount_text(-paid.fee_minor));
    // A checkout that was given up has neither an id of PayFast's nor an amount.
    let gave_up = word == "CANCELLED";
    let id = if gave_up { "" } else { id };
    let mut pairs =
        vec![("m_payment_id", paid.reference.as_str()), ("pf_payment_id", id), ("payment_status", word)];
    if !gave_up {
        pairs.extend([("amount_gross", gross.as_str()), ("amount_fee", fee.as_str())]);
    }
    pairs.extend([("name_first", name), ("merchant_id", options.merchant_id.as_str())]);
    signed_body(&pairs, options.passphrase())
}

fn local(at: Timestamp) -> String {
    at.plus(Duration::from_hours(2)).to_rfc3339()[..19].replace('T', " ")
}

fn answer(response: &Value) -> RawAnswer {
    let body =
        json!({"code": 200, "status": "success", "data": {"response": response, "message": "Success"}});
    RawAnswer { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn refusal(why: &str) -> RawAnswer {
    let body = json!({"code": 400, "status": "failed", "data": {"response": false, "message": why}});
    RawAnswer { status: 400, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn page(status: u16) -> RawAnswer {
    RawAnswer { status, headers: Vec::new(), body: b"<html>Something went wrong</html>".to_vec() }
}

#[async_trait::async_trait]
impl Confirm for Payfast {
    async fn confirm(&self, itn: &Itn) -> Confirmation {
        let books = self.books();
        match if books.calm { 39 } else { self.dice.below(40) } {
            0..8 => return Confirmation::Retry,
            // It denies what it sent: its history still has the money.
            8 => return Confirmation::Invalid,
            _ => {}
        }
        let field = |name: &str| itn.text(name).unwrap_or_default().to_owned();
        let word = field("payment_status");
        let said = books.said.iter().any(|(id, said, reference)| {
            let same = *id == field("pf_payment_id") || word == "CANCELLED";
            same && *said == word && *reference == field("m_payment_id")
        });
        if said { Confirmation::Valid } else { Confirmation::Invalid }
    }
}

#[async_trait::async_trait]
impl Transport for Payfast {
    async fn send(&self, call: &Call) -> Result<RawAnswer, Unanswered> {
        if call.endpoint() == Endpoint::Refund { self.refund(call) } else { self.look(call) }
    }
}
