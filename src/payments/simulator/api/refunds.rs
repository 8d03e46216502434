//! Refunds: on which terms, done now or later, or not for want of money.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Call, Reply};
use crate::base::Timestamp;
use crate::db::{self, Tx};
use crate::payments::simulator::books::{AHEAD, REFUND_FEE_MINOR, TRANSFER};
use crate::payments::simulator::faults::{Fate, Fault};
use crate::payments::simulator::{SCOPE, Simulator};
use crate::payments::store::simulator::payment::{self, Payment};

/// How many refunds of a payment are told.
const REFUNDS_MAX: i64 = 1_000;
/// How long a reason may be, in characters.
const REASON_CHARS: std::ops::RangeInclusive<usize> = 3..=255;
/// What a refund to a bank account needs.
const PAYOUT_FIELDS: [&str; 5] =
    ["bank_account_holder", "bank_name", "bank_branch_code", "bank_account_number", "bank_account_type"];

impl Simulator {
    pub(super) async fn refund_terms(&self, id: &str) -> Result<Reply, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        let Some(payment) = payment::find(&mut tx, id).await? else { return Ok(not_found()) };
        let refunded = payment::refunded(&mut tx, payment.id).await?;
        let available =
            if payment.status == "COMPLETE" { payment.gross_minor.saturating_sub(refunded) } else { 0 };
        let (status, errors) = match available {
            0 if payment.status != "COMPLETE" => ("NOT_AVAILABLE", vec!["The payment was not completed."]),
            0 => ("COMPLETED", Vec::new()),
            _ => ("REFUNDABLE", Vec::new()),
        };
        let way = |open: bool| {
            let method = match (open, payment.funding.as_str()) {
                (false, _) => "NOT_AVAILABLE",
                (true, TRANSFER) => "BANK_PAYOUT",
                (true, _) => "PAYMENT_SOURCE",
            };
            json!({ "method": method })
        };
        Ok(Reply::json(
            200,
            &json!({
                "token": payment.token,
                "funding_type": funding(&payment),
                "amount_original": payment.gross_minor,
                "amount_available_for_refund": available,
                "status": status,
                "errors": errors,
                "refund_full": way(available > 0 && refunded == 0),
                "refund_partial": way(available > 0),
                "bank_names": [
                    {"bank_name": "ABSA", "label": "Absa"},
                    {"bank_name": "FNB", "label": "FNB"},
                    {"bank_name": "STANDARD", "label": "Standard Bank"},
                ],
            }),
        ))
    }

    pub(super) async fn make_refund(&self, call: &Call<'_>, id: &str) -> Result<Reply, db::Error> {
        let (amount, reason) = match wish(call) {
            Ok(wish) => wish,
            Err(reply) => return Ok(reply),
        };
        let mut tx = self.db.begin(SCOPE).await?;
        let fate = self.draw(&mut tx).await?;
        let reply = match payment::lock(&mut tx, id).await? {
            _ if fate.has(Fault::ApiLost) => Reply::failure(500, ""),
            None => not_found(),
            Some(payment) => self.refund_payment(&mut tx, call, &payment, (amount, reason), &fate).await?,
        };
        tx.commit().await?;
        tracing::info!(number = fate.payment, faults = ?fate.faults, "a simulated refund was asked for");
        Ok(reply.met(&fate))
    }

    async fn refund_payment(
        &self,
        tx: &mut Tx,
        call: &Call<'_>,
        payment: &Payment,
        (amount, reason): (i64, &str),
        fate: &Fate,
    ) -> Result<Reply, db::Error> {
        self.complete_refunds(tx).await?;
        let refunded = payment::refunded(tx, payment.id).await?;
        if payment.status != "COMPLETE" || amount > payment.gross_minor.saturating_sub(refunded) {
            return Ok(Reply::failure(400, "The amount is more than is available for refund"));
        }
        let missing = PAYOUT_FIELDS.iter().find(|name| call.given(name).is_none());
        if let (TRANSFER, Some(name)) = (payment.funding.as_str(), missing) {
            return Ok(Reply::failure(400, &format!("{name} : {name} is required")));
        }
        let needed = amount.saturating_add(REFUND_FEE_MINOR);
        if fate.has(Fault::Unfunded) || self.balance(tx).await? < needed {
            return Ok(Reply::failure(400, "Insufficient funds available to process the refund"));
        }
        let later = if fate.has(Fault::RefundPending) { fate.late_seconds } else { 0 };
        let due_at = self.world.now().plus(Duration::from_secs(later));
        self.refund(tx, payment, (amount, reason), due_at).await?;
        let yes = if fate.has(Fault::AsText) { json!("true") } else { json!(true) };
        Ok(Reply::yes(&yes, "Success"))
    }

    pub(super) async fn refunds(&self, id: &str) -> Result<Reply, db::Error> {
        let mut tx = self.db.begin(SCOPE).await?;
        self.complete_refunds(&mut tx).await?;
        let Some(payment) = payment::find(&mut tx, id).await? else { return Ok(not_found()) };
        let refunds = payment::refunds(&mut tx, payment.id, REFUNDS_MAX).await?;
        tx.commit().await?;
        let mut left = payment.gross_minor;
        let mut told = vec![movement(json!(payment.gross_minor), payment.created_at, "Funds Received")];
        for refund in &refunds {
            if let Some(at) = refund.completed_at {
                left = left.saturating_sub(refund.amount_minor);
                // Negative ones are texts, as PayFast documents them.
                told.push(movement(
                    json!(format!("-{}", refund.amount_minor)),
                    at,
                    "Funds Received (Refund)",
                ));
            }
        }
        Ok(Reply::yes(&json!({ "available_balance": left, "transactions": told }), "success"))
    }
}

fn wish<'c>(call: &'c Call<'_>) -> Result<(i64, &'c str), Reply> {
    let required = |name: &str| Reply::failure(400, &format!("{name} : {name} is required"));
    let amount = call.whole("amount")?.ok_or_else(|| required("amount"))?;
    let reason = call.given("reason").ok_or_else(|| required("reason"))?;
    call.truth("notify_buyer")?.ok_or_else(|| required("notify_buyer"))?;
    if amount < 1 || !REASON_CHARS.contains(&reason.chars().count()) {
        return Err(Reply::failure(400, "The supplied variables are not according to specification"));
    }
    Ok((amount, reason))
}

fn movement(amount: Value, at: Timestamp, kind: &str) -> Value {
    json!({ "amount": amount, "date": local_text(at), "type": kind })
}

/// The time by South Africa's clocks, such as `2020-02-27 13:29:55`.
pub(super) fn local_text(at: Timestamp) -> String {
    let at = at.plus(AHEAD).to_utc();
    format!("{} {:02}:{:02}:{:02}", at.date(), at.hour(), at.minute(), at.second())
}

fn funding(payment: &Payment) -> &'static str {
    if payment.funding == TRANSFER { "EFT" } else { "Credit Card" }
}

fn not_found() -> Reply {
    Reply::failure(404, "Transaction not found")
}
