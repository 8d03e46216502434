//! The simulator's notifications: written as PayFast writes them, sent now, late, twice or never.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::faults::{Fate, Fault};
use super::{Made, Rejection, SCOPE, Simulator};
use crate::db::{self, Json, Tx};
use crate::jobs::{self, Failure, Job, Lease};
use crate::payments::payfast::itn::signed_body;
use crate::payments::payfast::verdict::amount_text;
use crate::payments::store::simulator as memory;
use crate::payments::store::simulator::{Delivery, DeliveryId};

/// How long PayFast waits before it sends a notification again that was not answered with 200.
const AGAIN_AFTER: Duration = Duration::from_mins(10);
/// How many notifications are remembered.
const DELIVERIES_KEPT: i64 = 1_000;
/// Whose notification it is when it is for another merchant.
const OTHER_MERCHANT_ID: &str = "10000199";

/// A notification that is to be sent now.
pub(super) type Notification = (DeliveryId, Vec<u8>);

/// A notification, and what is written down about it.
struct Notice {
    delivery: Delivery,
    body: Vec<u8>,
}

impl Simulator {
    /// Writes down what is told of a payment, queues what is late, and hands back what is to be sent now.
    pub(super) async fn tell(
        &self,
        tx: &mut Tx,
        made: &Made<'_>,
        fate: &Fate,
        (copies, delay): (u64, Duration),
    ) -> Result<Vec<Notification>, db::Error> {
        let copies = if fate.has(Fault::Twice) { copies.max(2) } else { copies };
        let late =
            if fate.has(Fault::Late) { Duration::from_secs(fate.late_seconds) } else { Duration::ZERO };
        let delay = delay.saturating_add(late);
        let mut now = Vec::new();
        for notice in self.notices(made, fate) {
            let delivery = self.write_down(tx, notice.delivery, delay).await?;
            for _ in 0..if fate.has(Fault::Never) { 0 } else { copies } {
                if delay.is_zero() {
                    now.push((delivery, notice.body.clone()));
                } else {
                    self.push(tx, delivery, &notice.body, delay).await?;
                }
            }
        }
        Ok(now)
    }

    async fn write_down(
        &self,
        tx: &mut Tx,
        mut delivery: Delivery,
        delay: Duration,
    ) -> Result<DeliveryId, db::Error> {
        delivery.due_at = delivery.created_at.plus(delay);
        memory::insert(tx, &delivery).await?;
        memory::prune(tx, DELIVERIES_KEPT).await?;
        Ok(delivery.id)
    }

    /// What PayFast tells of a payment, in the order of telling.
    fn notices(&self, made: &Made<'_>, fate: &Fate) -> Vec<Notice> {
        let mut words = vec![made.status];
        if fate.has(Fault::Reordered) {
            words.push("PENDING");
        }
        words.into_iter().map(|word| self.notice(made, fate, word)).collect()
    }

    /// A notification as PayFast writes it: its order, its blanks, its sandbox's buyer.
    fn notice(&self, made: &Made<'_>, fate: &Fate, status: &str) -> Notice {
        let field = |name: &str| made.fields.get(name).map_or("", String::as_str);
        let gross = made.gross_minor.saturating_sub(i64::from(fate.has(Fault::Short)));
        let fee = super::books::fee(gross);
        let amounts = [
            ("amount_gross", amount_text(gross)),
            ("amount_fee", amount_text(fee)),
            ("amount_net", amount_text(gross.saturating_add(fee))),
        ];
        let mut pairs = vec![
            ("m_payment_id", field("m_payment_id")),
            ("pf_payment_id", made.provider_id),
            ("payment_status", status),
            ("item_name", field("item_name")),
            ("item_description", field("item_description")),
        ];
        // A cancellation carries no amounts.
        if status != "CANCELLED" {
            pairs.extend(amounts.iter().map(|(name, value)| (*name, value.as_str())));
        }
        let custom = ["custom_str1", "custom_str2", "custom_str3", "custom_str4", "custom_str5"];
        let numbers = ["custom_int1", "custom_int2", "custom_int3", "custom_int4", "custom_int5"];
        pairs.extend(custom.into_iter().chain(numbers).map(|name| (name, field(name))));
        pairs.extend([
            ("name_first", "Test"),
            ("name_last", "User 01"),
            ("email_address", "sbtu01@payfast.co.za"),
        ]);
        let other = fate.has(Fault::OtherMerchant);
        pairs.push(("merchant_id", if other { OTHER_MERCHANT_ID } else { &self.options.merchant_id }));
        if let Some(token) = made.token {
            pairs.extend([("token", token.token.as_str()), ("billing_date", token.run_date.as_str())]);
        }
        Notice {
            delivery: self.delivery(made, fate, status, gross),
            body: signed_body(&pairs, self.options.passphrase()),
        }
    }

    fn delivery(&self, made: &Made<'_>, fate: &Fate, status: &str, gross: i64) -> Delivery {
        let now = self.world.now();
        Delivery {
            id: self.world.id(),
            provider_payment_id: made.provider_id.to_owned(),
            payment_reference: made.fields.get("m_payment_id").cloned().unwrap_or_default(),
            payment_status: status.to_owned(),
            amount_minor: gross,
            fate: Json(fate.clone()),
            due_at: now,
            sends: 0,
            answer: None,
            sent_at: None,
            confirmations: 0,
            created_at: now,
        }
    }

    /// Sends a notification now, and queues it when it was not answered with 200.
    pub(super) async fn send(&self, delivery: DeliveryId, body: Vec<u8>) -> Result<(), Rejection> {
        let answer = self.post(Some(delivery), body.clone()).await;
        if answer == Some(200) {
            return Ok(());
        }
        let queue = async {
            let mut tx = self.db.begin(SCOPE).await?;
            self.push(&mut tx, delivery, &body, AGAIN_AFTER).await?;
            tx.commit().await
        };
        queue.await.map_err(|error: db::Error| {
            tracing::error!(error = %error.chain(), "a simulated notification was not queued");
            Rejection::Database
        })
    }

    /// Posts a notification and notes how it was answered. A note that could not be made changes nothing of that.
    async fn post(&self, delivery: Option<DeliveryId>, body: Vec<u8>) -> Option<u16> {
        let answer = self.deliver.deliver(&self.options.notify_url(), body).await;
        let note = async {
            let Some(delivery) = delivery else { return Ok(()) };
            let mut tx = self.db.begin(SCOPE).await?;
            memory::sent(&mut tx, delivery, answer, self.world.now()).await?;
            tx.commit().await
        };
        let noted: Result<(), db::Error> = note.await;
        if let Err(error) = noted {
            tracing::warn!(error = %error.chain(), "how a simulated notification was answered was not noted");
        }
        answer
    }

    async fn push(
        &self,
        tx: &mut Tx,
        delivery: DeliveryId,
        body: &[u8],
        after: Duration,
    ) -> Result<(), db::Error> {
        // A notification is ASCII: everything else in it is encoded.
        let body = String::from_utf8_lossy(body).into_owned();
        let job = SendNotification { body, delivery: Some(delivery) };
        jobs::push_at(tx, &self.world, None, &job, self.world.now().plus(after)).await
    }

    pub(super) async fn resend(&self, job: SendNotification, lease: Lease) -> Result<(), Failure> {
        match self.post(job.delivery, job.body.into_bytes()).await {
            Some(200) => Ok(()),
            answer => {
                let wait = AGAIN_AFTER.saturating_mul(lease.attempt);
                Err(Failure::retry_after(wait, format!("the notification was answered with {answer:?}")))
            }
        }
    }
}

/// Sends a notification that is late, or that was not answered with 200.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendNotification {
    body: String,
    /// Where its sending is noted.
    #[serde(default)]
    delivery: Option<DeliveryId>,
}

impl Job for SendNotification {
    const KIND: &'static str = "simulator.send_notification";
    const ATTEMPTS_MAX: u32 = 8;
}
