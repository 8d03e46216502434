//! A call of the API, checked: one constructor for each thing that PayFast can be asked.
//!
//! There is no idempotency key anywhere. So whatever moves money carries a reference of ours, by which it can be found
//! again when its answer was lost. No card's number or code is ever a field here: the platform never sees one.

mod request;

use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use time::Date;

use super::answer::RawAnswer;
use super::check;
use crate::base::{Money, Violations};
use crate::db::words;

pub use request::{Account, Request};

/// The longest name of an item, in characters.
const NAME_CHARS_MAX: usize = 100;
/// The longest description, reason, bank or holder, in characters.
const TEXT_CHARS_MAX: usize = 255;
/// The shortest reason of a refund, in characters.
const REASON_CHARS_MIN: usize = 3;
/// The longest code of a bank's branch, in digits.
const BRANCH_DIGITS_MAX: usize = 6;
/// The longest number of a bank account, in digits.
const BANK_ACCOUNT_DIGITS_MAX: usize = 12;
/// More cycles than anything has.
const CYCLES_MAX: u32 = 9_999;
/// How much of a token's digest is written down. Tokens are random, so that no digest leads back to one.
const DIGEST_BYTES: usize = 16;
/// What stands for a token in an answer that is written down.
const LEFT_OUT: &str = "(left out)";
/// The most rows of history that PayFast tells at once.
pub const HISTORY_ROWS_MAX: u32 = 1_000;

words! {
    /// What PayFast is asked.
    pub enum Endpoint {
        /// Whether the API is there and knows us.
        Ping = "ping",
        /// How a subscription stands.
        Fetch = "fetch",
        /// To skip a subscription's next cycles.
        Pause = "pause",
        /// To go on with a subscription.
        Unpause = "unpause",
        /// To end a subscription.
        Cancel = "cancel",
        /// To change a subscription.
        Update = "update",
        /// To charge a token.
        Charge = "charge",
        /// How a payment by card stands.
        Query = "query",
        /// Whether and how a payment can be refunded.
        RefundTerms = "refund_terms",
        /// To refund a payment.
        Refund = "refund",
        /// What was refunded of a payment.
        Refunds = "refunds",
        /// What moved on our account.
        History = "history",
    }
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes.
    Put,
    /// Changes parts.
    Patch,
    /// Makes.
    Post,
}

impl Method {
    /// As HTTP writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Post => "POST",
        }
    }
}

/// How often a subscription is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frequency {
    /// Every day.
    Daily,
    /// Every week.
    Weekly,
    /// Every month.
    Monthly,
    /// Every three months.
    Quarterly,
    /// Every six months.
    Biannual,
    /// Every year.
    Annual,
}

impl Frequency {
    const ALL: [Self; 6] =
        [Self::Daily, Self::Weekly, Self::Monthly, Self::Quarterly, Self::Biannual, Self::Annual];

    /// PayFast's number for it.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Daily => 1,
            Self::Weekly => 2,
            Self::Monthly => 3,
            Self::Quarterly => 4,
            Self::Biannual => 5,
            Self::Annual => 6,
        }
    }

    /// What PayFast's number stands for.
    #[must_use]
    pub fn read(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|frequency| frequency.code() == code)
    }
}

/// A charge of a token.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// How much, in rand.
    pub amount: Money,
    /// For what, as the buyer reads it.
    pub item_name: &'a str,
    /// More about it; may be empty.
    pub item_description: &'a str,
    /// Our reference, one for each attempt: by it a charge is found whose answer was lost.
    pub reference: &'a str,
    /// Whether PayFast is to send a notification as well.
    pub notify: bool,
}

/// A change of a subscription; what is none stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Update {
    /// How many cycles it has altogether; 0 is for ever.
    pub cycles: Option<u32>,
    /// How often it is charged.
    pub frequency: Option<Frequency>,
    /// When it is charged next.
    pub run_date: Option<Date>,
    /// How much.
    pub amount: Option<Money>,
}

/// A refund of a payment.
#[derive(Clone, Copy, Debug)]
pub struct Refund<'a> {
    /// How much, in rand.
    pub amount: Money,
    /// Why, as the buyer may read it.
    pub reason: &'a str,
    /// Whether PayFast writes to the buyer.
    pub notify_buyer: bool,
    /// Whether PayFast writes to us.
    pub notify_merchant: bool,
    /// Where the money goes, when it cannot go back the way that it came.
    pub payout: Option<&'a Payout>,
}

/// A buyer's bank account.
#[derive(Clone, PartialEq, Eq)]
pub struct Payout {
    /// Whose it is.
    pub holder: String,
    /// The bank, by the name that the refund's terms give it.
    pub bank: String,
    /// The branch.
    pub branch_code: String,
    /// The number.
    pub account_number: String,
    /// What kind of account.
    pub kind: BankAccountKind,
}

/// A bank account tells of a person, so that it reaches no log.
impl fmt::Debug for Payout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payout").field("bank", &self.bank).finish_non_exhaustive()
    }
}

words! {
    /// The kinds of bank accounts that PayFast pays to.
    pub enum BankAccountKind {
        /// A current account.
        Current = "current",
        /// A savings account.
        Savings = "savings",
    }
}

/// The time that a history tells of, in days of South Africa.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// From a day to a day, both included.
    Range {
        /// The first day.
        from: Date,
        /// The last.
        to: Date,
    },
    /// One day.
    Day(Date),
    /// The week that begins with this day.
    Week(Date),
    /// The month of this day.
    Month(Date),
}

/// Which rows of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many are passed over.
    pub offset: u32,
    /// How many are told at most, up to [`HISTORY_ROWS_MAX`].
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { offset: 0, limit: HISTORY_ROWS_MAX }
    }
}

/// A value in a call.
#[derive(Clone, PartialEq, Eq)]
enum Given {
    Number(i64),
    Text(String),
    /// Written down as its last characters only.
    Private(String),
}

/// A call that was checked. Signed and sent it becomes a [`Request`].
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    endpoint: Endpoint,
    method: Method,
    path: String,
    subject: String,
    token: Option<String>,
    query: Vec<(&'static str, Given)>,
    body: Vec<(&'static str, Given)>,
}

/// With a token a card can be charged, so that paths and bodies reach no log.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Call {
    /// Asks whether the API is there and takes our signature.
    #[must_use]
    pub fn ping() -> Self {
        Self::new(Endpoint::Ping, Method::Get, "/ping".to_owned(), String::new())
    }

    /// Asks how a subscription stands.
    ///
    /// # Errors
    /// When the token cannot be one; likewise below.
    pub fn fetch(token: &str) -> Result<Self, Violations> {
        Self::subscription(Endpoint::Fetch, Method::Get, token, |_, _| {})
    }

    /// Skips a subscription's next cycles. Its end moves; the number of payments stays.
    pub fn pause(token: &str, cycles: u32) -> Result<Self, Violations> {
        Self::subscription(Endpoint::Pause, Method::Put, token, |call, v| {
            v.check((1..=CYCLES_MAX).contains(&cycles), "cycles", format!("must be from 1 to {CYCLES_MAX}"));
            call.number("cycles", i64::from(cycles));
        })
    }

    /// Goes on with a subscription that is paused.
    pub fn unpause(token: &str) -> Result<Self, Violations> {
        Self::subscription(Endpoint::Unpause, Method::Put, token, |_, _| {})
    }

    /// Ends a subscription. PayFast writes to the buyer and sends a notification.
    pub fn cancel(token: &str) -> Result<Self, Violations> {
        Self::subscription(Endpoint::Cancel, Method::Put, token, |_, _| {})
    }

    /// Changes a subscription of PayFast's own schedule.
    pub fn update(token: &str, update: &Update) -> Result<Self, Violations> {
        Self::subscription(Endpoint::Update, Method::Patch, token, |call, v| {
            if let Some(cycles) = update.cycles {
                v.check(cycles <= CYCLES_MAX, "cycles", format!("must be from 0 to {CYCLES_MAX}"));
                call.number("cycles", i64::from(cycles));
            }
            if let Some(frequency) = update.frequency {
                call.number("frequency", frequency.code());
            }
            if let Some(date) = update.run_date {
                let date = check::date(v, "run_date", date);
                call.text("run_date", date);
            }
            if let Some(amount) = update.amount {
                let amount = check::amount(v, amount, check::AMOUNT_MINOR_MIN);
                call.number("amount", amount);
            }
            v.check(!call.body.is_empty(), "update", "must change something");
        })
    }

    /// Charges a token, now. What came of it is in the answer, in a notification, or found by the reference.
    pub fn charge(token: &str, charge: &Charge<'_>) -> Result<Self, Violations> {
        Self::subscription(Endpoint::Charge, Method::Post, token, |call, v| {
            let amount = check::amount(v, charge.amount, check::AMOUNT_MINOR_MIN);
            call.number("amount", amount);
            call.text("item_name", check::line(v, "item_name", charge.item_name, 1, NAME_CHARS_MAX));
            let description = check::line(v, "item_description", charge.item_description, 0, TEXT_CHARS_MAX);
            call.text("item_description", description);
            call.flag("itn", charge.notify);
            call.text("m_payment_id", check::reference(v, charge.reference));
        })
    }

    /// Asks how a payment by card stands, by PayFast's id of it.
    pub fn query(id: &str) -> Result<Self, Violations> {
        Self::payment(Endpoint::Query, Method::Get, "/process/query/", id, |_, _| {})
    }

    /// Asks how the last payment by a token stands.
    pub fn query_token(token: &str) -> Result<Self, Violations> {
        let mut v = Violations::new();
        let token = check::token(&mut v, token);
        v.finish()
            .map(|()| Self::by_token(Endpoint::Query, Method::Get, format!("/process/query/{token}"), token))
    }

    /// Asks whether and how a payment can be refunded.
    pub fn refund_terms(payment: &str) -> Result<Self, Violations> {
        Self::payment(Endpoint::RefundTerms, Method::Get, "/refunds/query/", payment, |_, _| {})
    }

    /// Refunds a payment, or a part of it. PayFast's sandbox has no refunds.
    pub fn refund(payment: &str, refund: &Refund<'_>) -> Result<Self, Violations> {
        Self::payment(Endpoint::Refund, Method::Post, "/refunds/", payment, |call, v| {
            call.number("amount", check::amount(v, refund.amount, 1));
            call.text("reason", check::line(v, "reason", refund.reason, REASON_CHARS_MIN, TEXT_CHARS_MAX));
            call.flag("notify_buyer", refund.notify_buyer);
            call.flag("notify_merchant", refund.notify_merchant);
            if let Some(payout) = refund.payout {
                call.payout(v, payout);
            }
        })
    }

    /// Asks what was refunded of a payment.
    pub fn refunds(payment: &str) -> Result<Self, Violations> {
        Self::payment(Endpoint::Refunds, Method::Get, "/refunds/", payment, |_, _| {})
    }

    /// Asks what moved on our account.
    pub fn history(period: Period, page: Page) -> Result<Self, Violations> {
        let mut v = Violations::new();
        let (path, dates) = dates(&mut v, period);
        let mut call = Self::new(Endpoint::History, Method::Get, path.to_owned(), String::new());
        call.query.extend(dates.into_iter().map(|(name, date)| (name, Given::Text(date))));
        let fits = (1..=HISTORY_ROWS_MAX).contains(&page.limit);
        v.check(fits, "limit", format!("must be from 1 to {HISTORY_ROWS_MAX}"));
        call.query.push(("limit", Given::Number(i64::from(page.limit))));
        // PHP takes a zero for nothing, and so may what signs there.
        if page.offset > 0 {
            call.query.push(("offset", Given::Number(i64::from(page.offset))));
        }
        v.finish().map(|()| call)
    }

    /// What is asked.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// What it is about, to be written down: PayFast's id of a payment, or a digest of a token, by which the calls
    /// about one are found and no card is charged; empty when it is about neither.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// An answer to it, to be written down: without the token.
    #[must_use]
    pub fn told(&self, answer: &RawAnswer) -> RawAnswer {
        let body = String::from_utf8_lossy(&answer.body);
        match self.token.as_deref().filter(|token| !token.is_empty() && body.contains(token)) {
            Some(token) => RawAnswer { body: body.replace(token, LEFT_OUT).into_bytes(), ..answer.clone() },
            None => answer.clone(),
        }
    }

    /// What was asked, to be written down: no signature, and of a bank account the last digits only.
    #[must_use]
    pub fn parameters(&self) -> Value {
        let told = |(name, value): &(&str, Given)| {
            let value = match value {
                Given::Number(number) => json!(number),
                Given::Text(text) => json!(text),
                Given::Private(text) => json!(masked(text)),
            };
            ((*name).to_owned(), value)
        };
        Value::Object(self.query.iter().chain(&self.body).map(told).collect::<Map<_, _>>())
    }

    fn new(endpoint: Endpoint, method: Method, path: String, subject: String) -> Self {
        Self { endpoint, method, path, subject, token: None, query: Vec::new(), body: Vec::new() }
    }

    fn by_token(endpoint: Endpoint, method: Method, path: String, token: String) -> Self {
        let digest: String =
            Sha256::digest(&token).iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Self { token: Some(token), ..Self::new(endpoint, method, path, format!("token-{digest}")) }
    }

    fn subscription(
        endpoint: Endpoint,
        method: Method,
        token: &str,
        fill: impl FnOnce(&mut Self, &mut Violations),
    ) -> Result<Self, Violations> {
        let mut v = Violations::new();
        let token = check::token(&mut v, token);
        let action = match endpoint {
            Endpoint::Charge => "adhoc",
            other => other.as_str(),
        };
        let mut call = Self::by_token(endpoint, method, format!("/subscriptions/{token}/{action}"), token);
        fill(&mut call, &mut v);
        v.finish().map(|()| call)
    }

    fn payment(
        endpoint: Endpoint,
        method: Method,
        folder: &str,
        id: &str,
        fill: impl FnOnce(&mut Self, &mut Violations),
    ) -> Result<Self, Violations> {
        let mut v = Violations::new();
        let id = check::payment(&mut v, id);
        let mut call = Self::new(endpoint, method, format!("{folder}{id}"), id);
        fill(&mut call, &mut v);
        v.finish().map(|()| call)
    }

    fn payout(&mut self, v: &mut Violations, payout: &Payout) {
        let holder = check::line(v, "bank_account_holder", &payout.holder, 1, TEXT_CHARS_MAX);
        self.text("bank_account_holder", holder);
        self.text("bank_name", check::line(v, "bank_name", &payout.bank, 1, TEXT_CHARS_MAX));
        let branch = check::digits(v, "bank_branch_code", &payout.branch_code, 1, BRANCH_DIGITS_MAX);
        self.text("bank_branch_code", branch);
        let number =
            check::digits(v, "bank_account_number", &payout.account_number, 1, BANK_ACCOUNT_DIGITS_MAX);
        self.body.push(("bank_account_number", Given::Private(number)));
        self.text("bank_account_type", payout.kind.as_str().to_owned());
    }

    fn number(&mut self, name: &'static str, number: i64) {
        self.body.push((name, Given::Number(number)));
    }

    // What PayFast signs of `false` nobody knows: one of its libraries says nothing, another 0. So it is 0, a number.
    fn flag(&mut self, name: &'static str, flag: bool) {
        self.number(name, i64::from(flag));
    }

    // Blanks are signed by some of PayFast's libraries and left out by others. So they are never sent.
    fn text(&mut self, name: &'static str, text: String) {
        if !text.is_empty() {
            self.body.push((name, Given::Text(text)));
        }
    }
}

fn dates(v: &mut Violations, period: Period) -> (&'static str, Vec<(&'static str, String)>) {
    match period {
        Period::Range { from, to } => {
            v.check(from <= to, "to", "must not be before from");
            let range = vec![("from", check::date(v, "from", from)), ("to", check::date(v, "to", to))];
            ("/transactions/history", range)
        }
        Period::Day(day) => ("/transactions/history/daily", vec![("date", check::date(v, "date", day))]),
        Period::Week(day) => ("/transactions/history/weekly", vec![("date", check::date(v, "date", day))]),
        Period::Month(day) => {
            let date = check::date(v, "date", day);
            let month = date.get(..7).unwrap_or_default().to_owned();
            ("/transactions/history/monthly", vec![("date", month)])
        }
    }
}

/// How much of a private text is written down, in characters.
const SHOWN_CHARS: usize = 3;

fn masked(text: &str) -> String {
    let hidden = text.chars().count().saturating_sub(SHOWN_CHARS);
    text.chars().enumerate().map(|(at, c)| if at < hidden { '*' } else { c }).collect()
}

#[cfg(test)]
mod tests;
