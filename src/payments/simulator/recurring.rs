//! The simulator's tokens: made by a form, charged on a schedule that moves when it is told to.

use serde_json::{Value, json};
use time::macros::format_description;
use time::{Date, Duration, Month};

use super::faults::Fault;
use super::{AGREED, Fields, Made, Order, Rejection, SCOPE, Simulator};
use crate::db::{self, Json, Tx};
use crate::payments::payfast::api::call::Frequency;
use crate::payments::payfast::verdict::amount_minor;
use crate::payments::store::simulator::token::{self, Status, Token};

/// The form's kind of subscription that is charged on a schedule.
pub(super) const SCHEDULED: i64 = 1;
/// The form's kind that is charged whenever it is asked.
pub(super) const TOKENIZED: i64 = 2;
/// After how many charges in a row that failed PayFast locks a subscription.
const FAILURES_MAX: i64 = 5;
/// What a bank says that has not enough of its customer's money.
pub(super) const NO_FUNDS: &str = "51";

/// What PayFast would refuse about a form's subscription.
pub(super) fn check(fields: &Fields) -> Result<(), Rejection> {
    let given = |name: &str| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let whole = |name: &str| given(name).map(|value| value.parse::<i64>().ok());
    let (frequency, cycles) = (whole("frequency"), whole("cycles"));
    let known = |code: Option<Option<i64>>| code.flatten().and_then(Frequency::read).is_some();
    let scheduled = match given("subscription_type") {
        None => return Ok(()),
        Some("1") => true,
        Some("2") => false,
        Some(_) => return Err(Rejection::Field("subscription_type")),
    };
    for (name, fits) in [
        ("frequency", !scheduled || known(frequency)),
        ("cycles", !scheduled || cycles.flatten().is_some_and(|cycles| cycles >= 0)),
        ("billing_date", given("billing_date").is_none_or(|date| day(date).is_some())),
        (
            "recurring_amount",
            given("recurring_amount").is_none_or(|amount| {
                amount_minor(amount).is_some_and(|amount| amount >= super::AMOUNT_MINOR_MIN)
            }),
        ),
    ] {
        if !fits {
            return Err(Rejection::Field(name));
        }
    }
    Ok(())
}

impl Simulator {
    /// Makes the token that a form asks for, if it asks for one.
    pub(super) async fn make_token(
        &self,
        tx: &mut Tx,
        order: &Order,
        provider_id: &str,
    ) -> Result<Option<Token>, db::Error> {
        let given = |name: &str| order.fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let whole = |name: &str| given(name).and_then(|value| value.parse::<i64>().ok());
        let Some(kind) = whole("subscription_type") else { return Ok(None) };
        let now = self.world.now();
        let first = given("billing_date").and_then(day).unwrap_or_else(|| super::books::local_day(now));
        // What is paid with the form is the first cycle; a first one for nothing is a trial.
        let paid = i64::from(kind == SCHEDULED && order.amount_minor > 0);
        let frequency = whole("frequency").filter(|_| kind == SCHEDULED);
        let next = if paid > 0 { after(first, frequency) } else { first };
        let token = Token {
            token: self.world.id::<Token>().to_string(),
            kind,
            status: Status::Active,
            provider_payment_id: provider_id.to_owned(),
            fields: Json(order.fields.clone()),
            amount_minor: given("recurring_amount").and_then(amount_minor).unwrap_or(order.amount_minor),
            frequency,
            cycles: whole("cycles").unwrap_or(0),
            cycles_complete: paid,
            cycles_paused: 0,
            failures: 0,
            run_date: next.to_string(),
            created_at: now,
        };
        token::insert(tx, &token).await?;
        Ok(Some(token))
    }

    /// Has a subscription's next run date come: charges it, or skips a cycle, or fails, as it stands and as its fate is.
    /// None when there is no such subscription.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn renew(&self, token: &str) -> Result<Option<Value>, Rejection> {
        let (told, notifications) = self.run(token).await.map_err(|error| {
            tracing::error!(error = %error.chain(), "a simulated renewal could not be written down");
            Rejection::Database
        })?;
        for (id, body) in notifications {
            self.send(id, body).await?;
        }
        Ok(told)
    }

    async fn run(&self, token: &str) -> Result<(Option<Value>, Vec<super::Notification>), db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let fate = self.draw(&mut tx).await?;
        let found = token::lock(&mut tx, token).await?.filter(|token| token.kind == SCHEDULED);
        let Some(mut token) = found else { return Ok((None, Vec::new())) };
        let provider_id = self.provider_id();
        let mut notifications = Vec::new();
        let ran = match token.status {
            Status::Paused => skip(&mut token),
            Status::Active if fate.has(Fault::Declined) => fail(&mut token),
            Status::Active => {
                // The notification names the day that this charge was for.
                let charged = token.clone();
                let made = Made {
                    provider_id: &provider_id,
                    fields: &charged.fields.0,
                    gross_minor: charged.amount_minor,
                    token: Some(&charged),
                    status: "COMPLETE",
                    bank_code: AGREED,
                };
                self.record(&mut tx, &made, &fate).await?;
                notifications = self.tell(&mut tx, &made, &fate, (1, std::time::Duration::ZERO)).await?;
                advance(&mut token)
            }
            Status::Cancelled | Status::Complete | Status::Failed => "not charged",
        };
        token::update(&mut tx, &token).await?;
        tx.commit().await?;
        let told = json!({
            "run": ran,
            "pf_payment_id": (ran == CHARGED).then_some(provider_id),
            "status": token.status.as_str(),
            "cycles_complete": token.cycles_complete,
            "run_date": token.run_date,
        });
        Ok((Some(told), notifications))
    }
}

const CHARGED: &str = "charged";

fn advance(token: &mut Token) -> &'static str {
    token.cycles_complete = token.cycles_complete.saturating_add(1);
    token.failures = 0;
    move_on(token);
    if token.cycles > 0 && token.cycles_complete >= token.cycles {
        token.status = Status::Complete;
    }
    CHARGED
}

fn skip(token: &mut Token) -> &'static str {
    token.cycles_paused = token.cycles_paused.saturating_sub(1);
    move_on(token);
    if token.cycles_paused == 0 {
        token.status = Status::Active;
    }
    "skipped"
}

/// PayFast tries again on the next days and sends no word of it; then it locks the subscription.
fn fail(token: &mut Token) -> &'static str {
    token.failures = token.failures.saturating_add(1);
    if token.failures >= FAILURES_MAX {
        token.status = Status::Failed;
    }
    "declined"
}

fn move_on(token: &mut Token) {
    if let Some(date) = day(&token.run_date) {
        token.run_date = after(date, token.frequency).to_string();
    }
}

/// The next day of a schedule; the last of the month when a month is too short.
fn after(date: Date, frequency: Option<i64>) -> Date {
    let days = |days: i64| date.checked_add(Duration::days(days)).unwrap_or(date);
    match frequency.and_then(Frequency::read) {
        None | Some(Frequency::Daily) => days(1),
        Some(Frequency::Weekly) => days(7),
        Some(Frequency::Monthly) => months_after(date, 1),
        Some(Frequency::Quarterly) => months_after(date, 3),
        Some(Frequency::Biannual) => months_after(date, 6),
        Some(Frequency::Annual) => months_after(date, 12),
    }
}

fn months_after(date: Date, months: u8) -> Date {
    let zero_based = u8::from(date.month()).saturating_sub(1).saturating_add(months);
    let year = date.year().saturating_add(i32::from(zero_based / 12));
    let month = Month::try_from(zero_based % 12 + 1).unwrap_or(Month::January);
    let last = time::util::days_in_month(month, year);
    Date::from_calendar_date(year, month, date.day().min(last)).unwrap_or(date)
}

/// Reads a day such as `2026-11-20`.
pub(super) fn day(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn schedules_keep_within_the_month() {
        let next = |date, code| after(date, Some(code));
        assert_eq!(next(date!(2027 - 01 - 31), 3), date!(2027 - 02 - 28));
        assert_eq!(next(date!(2026 - 11 - 30), 4), date!(2027 - 02 - 28));
        assert_eq!(next(date!(2026 - 12 - 15), 6), date!(2027 - 12 - 15));
        assert_eq!(next(date!(2026 - 08 - 31), 5), date!(2027 - 02 - 28));
        assert_eq!(next(date!(2026 - 12 - 31), 1), date!(2027 - 01 - 01));
        assert_eq!(next(date!(2026 - 12 - 28), 2), date!(2027 - 01 - 04));
    }

    #[test]
    fn a_form_says_enough_of_its_subscription_or_which_field_is_wrong() {
        let fields = |pairs: &[(&str, &str)]| -> Fields {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let fine = [("subscription_type", "1"), ("frequency", "3"), ("cycles", "0")];
        assert_eq!(check(&fields(&fine)), Ok(()));
        assert_eq!(check(&fields(&[("subscription_type", "2")])), Ok(()));
        assert_eq!(check(&fields(&[])), Ok(()));
        for (name, wrong) in [
            ("subscription_type", "3"),
            ("frequency", "9"),
            ("cycles", "-1"),
            ("billing_date", "2026-02-30"),
            ("recurring_amount", "4.99"),
        ] {
            let mut form = fields(&fine);
            form.insert(name.to_owned(), wrong.to_owned());
            assert_eq!(check(&form), Err(Rejection::Field(name)));
        }
    }
}
