//! What the simulator remembers: which faults it was told to have, what it sent lately, and its books. Empty in other
//! modes.

pub mod account;
pub mod payment;
pub mod token;

use crate::base::{Id, Timestamp};
use crate::db::{self, Conn, Json, Tx};
use crate::payments::simulator::faults::{Fate, Plan};

/// Marks the id of a delivery.
pub enum DeliveryMark {}
/// The id of a delivery.
pub type DeliveryId = Id<DeliveryMark>;

/// Sets the plan. Payments are counted from 1 again.
///
/// # Errors
/// What the database refuses.
pub async fn put_plan(tx: &mut Tx, plan: &Plan, now: Timestamp) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO simulator_faults (id, plan, payments, updated_at) VALUES (1, $1, 0, $2)
         ON CONFLICT (id) DO UPDATE SET plan = excluded.plan, payments = 0, updated_at = excluded.updated_at",
    )
    .bind(Json(plan))
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// The plan, how many payments have met it, and since when it holds.
///
/// # Errors
/// What the database refuses.
pub async fn plan(conn: &mut impl Conn) -> Result<Option<(Json<Plan>, i64, Timestamp)>, db::Error> {
    conn.sql("SELECT plan, payments, updated_at FROM simulator_faults WHERE id = 1").optional().await
}

/// Counts a payment. Two at the same time get two numbers.
///
/// # Errors
/// What the database refuses.
pub async fn count_payment(tx: &mut Tx) -> Result<Option<(Json<Plan>, i64)>, db::Error> {
    tx.sql("UPDATE simulator_faults SET payments = payments + 1 WHERE id = 1 RETURNING plan, payments")
        .optional()
        .await
}

/// Forgets the plan.
///
/// # Errors
/// What the database refuses.
pub async fn clear_plan(tx: &mut Tx) -> Result<(), db::Error> {
    tx.sql("DELETE FROM simulator_faults WHERE id = 1").execute().await?;
    Ok(())
}

/// A notification that was made, and what became of it.
#[derive(Clone, Debug, db::Row)]
pub struct Delivery {
    /// Which.
    pub id: DeliveryId,
    /// The simulator's id of the payment.
    pub provider_payment_id: String,
    /// The shop's id of the payment.
    pub payment_reference: String,
    /// What the notification tells.
    pub payment_status: String,
    /// Of how much it tells, in cents.
    pub amount_minor: i64,
    /// The faults that it was made with.
    pub fate: Json<Fate>,
    /// When it is to be sent, or was.
    pub due_at: Timestamp,
    /// How often it was sent.
    pub sends: i64,
    /// The status of the last answer; none when there was no answer.
    pub answer: Option<i64>,
    /// When it was last sent.
    pub sent_at: Option<Timestamp>,
    /// How often a confirmation was asked for.
    pub confirmations: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Remembers a notification.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, delivery: &Delivery) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO simulator_deliveries (id, provider_payment_id, payment_reference, payment_status, amount_minor,
                fate, due_at, sends, confirmations, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8)",
    )
    .bind(delivery.id)
    .bind(delivery.provider_payment_id.clone())
    .bind(delivery.payment_reference.clone())
    .bind(delivery.payment_status.clone())
    .bind(delivery.amount_minor)
    .bind(&delivery.fate)
    .bind(delivery.due_at)
    .bind(delivery.created_at)
    .execute()
    .await?;
    Ok(())
}

/// Notes that a notification was sent, and the status of the answer.
///
/// # Errors
/// What the database refuses.
pub async fn sent(tx: &mut Tx, id: DeliveryId, answer: Option<u16>, now: Timestamp) -> Result<(), db::Error> {
    tx.sql("UPDATE simulator_deliveries SET sends = sends + 1, answer = $2, sent_at = $3 WHERE id = $1")
        .bind(id)
        .bind(answer.map(i64::from))
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// Which notification this is, if it is remembered.
///
/// # Errors
/// What the database refuses.
pub async fn find(
    conn: &mut impl Conn,
    provider_payment_id: &str,
    payment_status: &str,
) -> Result<Option<(DeliveryId, Json<Fate>)>, db::Error> {
    conn.sql(
        "SELECT id, fate FROM simulator_deliveries WHERE provider_payment_id = $1 AND payment_status = $2
         ORDER BY id DESC LIMIT 1",
    )
    .bind(provider_payment_id.to_owned())
    .bind(payment_status.to_owned())
    .optional()
    .await
}

/// Counts that a confirmation was asked for, and tells how often it was by now. None when it was forgotten meanwhile.
///
/// # Errors
/// What the database refuses.
pub async fn count_confirmation(tx: &mut Tx, id: DeliveryId) -> Result<Option<i64>, db::Error> {
    let counted: Option<(i64,)> = tx
        .sql("UPDATE simulator_deliveries SET confirmations = confirmations + 1 WHERE id = $1 RETURNING confirmations")
        .bind(id)
        .optional()
        .await?;
    Ok(counted.map(|(confirmations,)| confirmations))
}

/// The newest deliveries.
///
/// # Errors
/// What the database refuses.
pub async fn newest(conn: &mut impl Conn, limit: i64) -> Result<Vec<Delivery>, db::Error> {
    conn.sql(
        "SELECT id, provider_payment_id, payment_reference, payment_status, amount_minor, fate, due_at, sends, answer,
                sent_at, confirmations, created_at
         FROM simulator_deliveries ORDER BY id DESC LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// The newest deliveries about one of the shop's payments.
///
/// # Errors
/// What the database refuses.
pub async fn newest_of(
    conn: &mut impl Conn,
    payment_reference: &str,
    limit: i64,
) -> Result<Vec<Delivery>, db::Error> {
    conn.sql(
        "SELECT id, provider_payment_id, payment_reference, payment_status, amount_minor, fate, due_at, sends, answer,
                sent_at, confirmations, created_at
         FROM simulator_deliveries WHERE payment_reference = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(payment_reference.to_owned())
    .bind(limit)
    .all()
    .await
}

/// Forgets all but the newest `keep` deliveries.
///
/// # Errors
/// What the database refuses.
pub async fn prune(tx: &mut Tx, keep: i64) -> Result<(), db::Error> {
    tx.sql(
        "DELETE FROM simulator_deliveries WHERE id IN (
             SELECT id FROM simulator_deliveries ORDER BY id DESC LIMIT 1000 OFFSET $1
         )",
    )
    .bind(keep)
    .execute()
    .await?;
    Ok(())
}
