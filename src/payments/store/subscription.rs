//! Subscriptions: one for each organisation that ever bought something.

use crate::base::OrganizationId;
use crate::db::{self, Conn, Tx};
use crate::payments::model::Subscription;

/// The organisation's subscription, if it ever bought one.
///
/// # Errors
/// What the database refuses.
pub async fn get(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
) -> Result<Option<Subscription>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, plan_id, billing_cycle, anchor_day, period_start, period_end, created_at,
                updated_at
         FROM subscriptions WHERE organization_id = $1",
    )
    .bind(organization_id)
    .optional()
    .await
}

/// Writes the subscription, new or changed. The organisation's billing profile is locked.
///
/// # Errors
/// What the database refuses.
pub async fn put(tx: &mut Tx, subscription: &Subscription) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO subscriptions (id, organization_id, plan_id, billing_cycle, anchor_day, period_start, period_end,
                created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (organization_id) DO UPDATE SET plan_id = excluded.plan_id,
                billing_cycle = excluded.billing_cycle, anchor_day = excluded.anchor_day,
                period_start = excluded.period_start, period_end = excluded.period_end,
                updated_at = excluded.updated_at",
    )
    .bind(subscription.id)
    .bind(subscription.organization_id)
    .bind(subscription.plan_id.clone())
    .bind(subscription.billing_cycle)
    .bind(subscription.anchor_day)
    .bind(subscription.period_start)
    .bind(subscription.period_end)
    .bind(subscription.created_at)
    .bind(subscription.updated_at)
    .execute()
    .await?;
    Ok(())
}
