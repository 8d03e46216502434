//! How subscriptions stand, and what changes them.

use std::time::Duration;

use serde_json::{Value, json};

use super::charges::not_in_state;
use super::{Call, Outcome, Reply, nothing_here};
use crate::db::{self, Tx};
use crate::payments::payfast::api::call::Frequency;
use crate::payments::simulator::faults::Fate;
use crate::payments::simulator::recurring::{SCHEDULED, day};
use crate::payments::simulator::{AMOUNT_MINOR_MIN, Made, SCOPE, Simulator};
use crate::payments::store::simulator::token::{self, Status, Token};

impl Simulator {
    pub(super) async fn subscription(
        &self,
        call: &Call<'_>,
        method: &str,
        token: &str,
        action: &str,
    ) -> Result<Outcome, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let Some(mut token) = token::lock(&mut tx, token).await? else {
            return Ok(Reply::failure(404, "Subscription not found").into());
        };
        let mut notifications = Vec::new();
        let reply = match (method, action) {
            ("GET", "fetch") => return Ok(Reply::yes(&told(&token), "Success").into()),
            ("PUT", "pause") => pause(&mut token, call),
            ("PUT", "unpause") => unpause(&mut token),
            ("PATCH", "update") => update(&mut token, call),
            ("PUT", "cancel") if token.status == Status::Cancelled => Err(not_in_state()),
            ("PUT", "cancel") => {
                notifications = self.cancelled(&mut tx, &mut token).await?;
                Ok(())
            }
            _ => Err(nothing_here()),
        };
        if let Err(reply) = reply {
            return Ok(reply.into());
        }
        token::update(&mut tx, &token).await?;
        tx.commit().await?;
        Ok(Outcome { reply: Reply::yes(&json!(true), "Success"), notifications })
    }

    async fn cancelled(&self, tx: &mut Tx, token: &mut Token) -> Result<Vec<super::Notification>, db::Error> {
        token.status = Status::Cancelled;
        let made = Made {
            provider_id: &token.provider_payment_id,
            fields: &token.fields.0,
            gross_minor: 0,
            token: Some(token),
            status: "CANCELLED",
            bank_code: "",
        };
        self.tell(tx, &made, &Fate::default(), (1, Duration::ZERO)).await
    }
}

const fn code(status: Status) -> i64 {
    match status {
        Status::Active => 1,
        Status::Cancelled => 2,
        Status::Paused => 3,
        Status::Complete => 4,
        Status::Failed => 6,
    }
}

/// Of a token that has no schedule PayFast tells the state only.
fn told(token: &Token) -> Value {
    let mut told = json!({
        "status": code(token.status),
        "status_reason": "",
        "status_text": token.status.as_str().to_uppercase(),
    });
    if token.kind == SCHEDULED
        && let (Some(told), Value::Object(schedule)) = (
            told.as_object_mut(),
            json!({
                "amount": token.amount_minor,
                "cycles": token.cycles,
                "cycles_complete": token.cycles_complete,
                "frequency": token.frequency,
                "run_date": format!("{}T00:00:00+02:00", token.run_date),
                "token": token.token,
            }),
        )
    {
        told.extend(schedule);
    }
    told
}

/// Skips cycles; a subscription that PayFast locked is taken up again by it.
fn pause(token: &mut Token, call: &Call<'_>) -> Result<(), Reply> {
    let cycles = call.whole("cycles")?.unwrap_or(1);
    if cycles < 1 {
        return Err(Reply::failure(400, "cycles : must be at least 1"));
    }
    match token.status {
        Status::Active => (token.status, token.cycles_paused) = (Status::Paused, cycles),
        Status::Failed => (token.status, token.failures) = (Status::Active, 0),
        Status::Cancelled | Status::Paused | Status::Complete => return Err(not_in_state()),
    }
    Ok(())
}

fn unpause(token: &mut Token) -> Result<(), Reply> {
    if token.status != Status::Paused {
        return Err(not_in_state());
    }
    (token.status, token.cycles_paused) = (Status::Active, 0);
    Ok(())
}

fn update(token: &mut Token, call: &Call<'_>) -> Result<(), Reply> {
    if token.kind != SCHEDULED || !matches!(token.status, Status::Active | Status::Paused) {
        return Err(not_in_state());
    }
    let (cycles, frequency, amount) =
        (call.whole("cycles")?, call.whole("frequency")?, call.whole("amount")?);
    let run_date = call.given("run_date");
    if cycles.is_none() && frequency.is_none() && amount.is_none() && run_date.is_none() {
        return Err(Reply::failure(400, "Required variables not present in request"));
    }
    for (name, fits) in [
        ("cycles", cycles.is_none_or(|cycles| cycles >= 0)),
        ("frequency", frequency.is_none_or(|code| Frequency::read(code).is_some())),
        ("amount", amount.is_none_or(|amount| amount >= AMOUNT_MINOR_MIN)),
        ("run_date", run_date.is_none_or(|date| day(date).is_some())),
    ] {
        if !fits {
            return Err(Reply::failure(400, &format!("{name} : is not according to specification")));
        }
    }
    token.cycles = cycles.unwrap_or(token.cycles);
    token.frequency = frequency.or(token.frequency);
    token.amount_minor = amount.unwrap_or(token.amount_minor);
    if let Some(date) = run_date {
        date.clone_into(&mut token.run_date);
    }
    Ok(())
}
