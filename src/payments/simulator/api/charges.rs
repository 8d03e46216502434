//! Charges of tokens, and questions about payments.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Call, Outcome, Reply};
use crate::db::{self, Tx};
use crate::payments::simulator::faults::{Fate, Fault};
use crate::payments::simulator::recurring::{NO_FUNDS, TOKENIZED};
use crate::payments::simulator::{AGREED, AMOUNT_MINOR_MIN, Fields, Made, SCOPE, Simulator, is_word};
use crate::payments::store::simulator::payment;
use crate::payments::store::simulator::token::{self, Status, Token};

/// The number of "not in a valid state".
const NOT_IN_STATE: i64 = 4;
/// The longest name of an item, in characters.
const NAME_CHARS_MAX: usize = 100;

/// What is charged.
struct Wish {
    amount_minor: i64,
    item_name: String,
    item_description: String,
    reference: String,
    notify: bool,
}

impl Simulator {
    pub(super) async fn charge(&self, call: &Call<'_>, token: &str) -> Result<Outcome, db::Error> {
        let wish = match wish(call) {
            Ok(wish) => wish,
            Err(reply) => return Ok(reply.into()),
        };
        let mut tx = self.db.begin(SCOPE).await?;
        let fate = self.draw(&mut tx).await?;
        let outcome = match token::lock(&mut tx, token).await? {
            _ if fate.has(Fault::ApiLost) => Reply::failure(500, "").into(),
            None => Reply::failure(404, "Subscription not found").into(),
            Some(token) => self.charge_token(&mut tx, token, &wish, &fate).await?,
        };
        tx.commit().await?;
        tracing::info!(reference = wish.reference, number = fate.payment, faults = ?fate.faults, "a simulated charge was asked for");
        Ok(Outcome { reply: outcome.reply.met(&fate), ..outcome })
    }

    async fn charge_token(
        &self,
        tx: &mut Tx,
        mut token: Token,
        wish: &Wish,
        fate: &Fate,
    ) -> Result<Outcome, db::Error> {
        if fate.has(Fault::Locked) && token.status == Status::Active {
            token.status = Status::Failed;
            token::update(tx, &token).await?;
        }
        if token.kind != TOKENIZED || token.status != Status::Active {
            return Ok(not_in_state().into());
        }
        let declined = fate.has(Fault::Declined);
        let fields = fields(&token, wish);
        let provider_id = self.provider_id();
        let made = Made {
            provider_id: &provider_id,
            fields: &fields,
            gross_minor: wish.amount_minor,
            token: Some(&token),
            status: if declined { "FAILED" } else { "COMPLETE" },
            bank_code: if declined { NO_FUNDS } else { AGREED },
        };
        self.record(tx, &made, fate).await?;
        if declined {
            let message = format!("Transaction was declined({NO_FUNDS})");
            return Ok(Reply::failure(400, &message).into());
        }
        // Of a charge that failed PayFast sends no notification.
        let notifications = match wish.notify {
            true => self.tell(tx, &made, fate, (1, Duration::ZERO)).await?,
            false => Vec::new(),
        };
        Ok(Outcome { reply: charged(&provider_id, fate), notifications })
    }

    pub(super) async fn query(&self, id: &str) -> Result<Reply, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let found = match payment::find(&mut tx, id).await? {
            Some(payment) => Some(payment),
            None => payment::newest_of(&mut tx, id).await?,
        };
        let Some(payment) = found else { return Ok(Reply::failure(404, "Transaction not found")) };
        let queries = payment::count_query(&mut tx, payment.id).await?;
        tx.commit().await?;
        let fate = &payment.fate.0;
        if fate.has(Fault::QueryDown)
            && u64::try_from(queries).is_ok_and(|asked| asked <= fate.confirmation_failures)
        {
            return Ok(Reply::failure(500, "Communication Failure"));
        }
        let message = if payment.bank_code == AGREED {
            "Approved or completed successfully (00)".to_owned()
        } else {
            format!("Not sufficient funds ({})", payment.bank_code)
        };
        let told = json!({
            "pf_payment_id": number(&payment.provider_payment_id),
            "m_payment_id": payment.payment_reference,
            "status": payment.status,
            "amount": payment.gross_minor,
            "cc_status": payment.bank_code,
            "cc_message": message,
        });
        Ok(Reply::yes(&told, "Success"))
    }
}

pub(super) fn not_in_state() -> Reply {
    Reply::no(400, &json!(NOT_IN_STATE), "The subscription is not in a valid state.")
}

fn charged(provider_id: &str, fate: &Fate) -> Reply {
    let (yes, message) = match fate.has(Fault::AsText) {
        true => (json!("true"), "Transaction was\r\nsuccessful(00)"),
        false => (json!(true), "Transaction was successful(00)"),
    };
    let data = json!({"response": yes, "message": message, "pf_payment_id": provider_id});
    Reply::json(200, &json!({"code": 200, "status": "success", "data": data}))
}

/// A number where it is one, as PayFast writes ids.
pub(super) fn number(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
}

fn wish(call: &Call<'_>) -> Result<Wish, Reply> {
    let required = |name: &str| Reply::failure(400, &format!("{name} : {name} is required"));
    let amount_minor = call.whole("amount")?.ok_or_else(|| required("amount"))?;
    if amount_minor < AMOUNT_MINOR_MIN {
        return Err(Reply::failure(400, "amount : must be at least 500"));
    }
    let item_name = call.given("item_name").ok_or_else(|| required("item_name"))?;
    let reference = call.given("m_payment_id").unwrap_or_default();
    if item_name.chars().count() > NAME_CHARS_MAX || !is_word(reference) {
        return Err(Reply::failure(400, "The supplied variables are not according to specification"));
    }
    Ok(Wish {
        amount_minor,
        item_name: item_name.to_owned(),
        item_description: call.given("item_description").unwrap_or_default().to_owned(),
        reference: reference.to_owned(),
        notify: call.truth("itn")?.unwrap_or(true),
    })
}

/// The fields that a charge's notification repeats: the form's that made the token, with the charge's own.
fn fields(token: &Token, wish: &Wish) -> Fields {
    let mut fields = token.fields.0.clone();
    for (name, value) in [
        ("item_name", &wish.item_name),
        ("item_description", &wish.item_description),
        ("m_payment_id", &wish.reference),
    ] {
        fields.insert(name.to_owned(), value.clone());
    }
    fields
}
