//! Stored cards, and the charges of them. The sealed token of a card is read and written by itself, so that nothing
//! that carries a card around carries it too.

use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::method::{Charge, ChargeStatus};
use crate::payments::model::{PaymentId, PaymentMethod, PaymentMethodId, PaymentMethodStatus};

/// The organisation of a stored card.
///
/// # Errors
/// What the database refuses.
pub async fn organization_of(
    conn: &mut impl Conn,
    id: PaymentMethodId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM payment_methods WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(organization_id,)| organization_id))
}

/// A stored card of an organisation, locked; none when it has no such card. The organisation's billing profile is
/// locked.
///
/// # Errors
/// What the database refuses.
pub async fn lock(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: PaymentMethodId,
) -> Result<Option<PaymentMethod>, db::Error> {
    tx.sql(db::lock!(
        "SELECT id, organization_id, account_id, provider, status, display_name, is_default, expires_at, noticed_at,
                test, created_at, updated_at, activated_at, removed_at
         FROM payment_methods WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1"
    ))
    .bind(organization_id)
    .bind(id)
    .optional()
    .await
}

/// The cards of an organisation that are not removed, before a place, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn list(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    (at, id): (Timestamp, PaymentMethodId),
    limit: i64,
) -> Result<Vec<PaymentMethod>, db::Error> {
    conn.sql(
        "SELECT id, organization_id, account_id, provider, status, display_name, is_default, expires_at, noticed_at,
                test, created_at, updated_at, activated_at, removed_at
         FROM payment_methods WHERE organization_id = $1 AND (created_at, id) < ($2, $3) AND status <> $4
         ORDER BY created_at DESC, id DESC LIMIT $5",
    )
    .bind(organization_id)
    .bind(at)
    .bind(id)
    .bind(PaymentMethodStatus::Removed)
    .bind(limit)
    .all()
    .await
}

/// Whether the organisation has at least `limit` cards that are not removed.
///
/// # Errors
/// What the database refuses.
pub async fn has_at_least(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
    limit: i64,
) -> Result<bool, db::Error> {
    let (count,): (i64,) = conn
        .sql(
            "SELECT count(*) FROM (
                 SELECT id FROM payment_methods WHERE organization_id = $1 AND status <> $2 LIMIT $3
             ) AS kept",
        )
        .bind(organization_id)
        .bind(PaymentMethodStatus::Removed)
        .bind(limit)
        .one()
        .await?;
    Ok(count >= limit)
}

/// Whether the organisation has a card with a token that is not removed.
///
/// # Errors
/// What the database refuses.
pub async fn has_confirmed(conn: &mut impl Conn, organization_id: OrganizationId) -> Result<bool, db::Error> {
    let row: Option<(PaymentMethodId,)> = conn
        .sql("SELECT id FROM payment_methods WHERE organization_id = $1 AND status IN ($2, $3) LIMIT 1")
        .bind(organization_id)
        .bind(PaymentMethodStatus::Active)
        .bind(PaymentMethodStatus::Expired)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Whether the organisation prefers one of its cards.
///
/// # Errors
/// What the database refuses.
pub async fn has_default(conn: &mut impl Conn, organization_id: OrganizationId) -> Result<bool, db::Error> {
    let row: Option<(PaymentMethodId,)> = conn
        .sql("SELECT id FROM payment_methods WHERE organization_id = $1 AND is_default LIMIT 1")
        .bind(organization_id)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Stores a new card, which has no token yet.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, method: &PaymentMethod) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO payment_methods (id, organization_id, account_id, provider, status, display_name, is_default,
                expires_at, noticed_at, test, created_at, updated_at, activated_at, removed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(method.id)
    .bind(method.organization_id)
    .bind(method.account_id)
    .bind(method.provider)
    .bind(method.status)
    .bind(method.display_name.clone())
    .bind(method.is_default)
    .bind(method.expires_at)
    .bind(method.noticed_at)
    .bind(method.test)
    .bind(method.created_at)
    .bind(method.updated_at)
    .bind(method.activated_at)
    .bind(method.removed_at)
    .execute()
    .await?;
    Ok(())
}

/// Writes what changes of a locked card. One that becomes the preferred one is written after [`prefer_none`].
///
/// # Errors
/// What the database refuses.
pub async fn update(tx: &mut Tx, method: &PaymentMethod) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE payment_methods SET status = $3, display_name = $4, is_default = $5, expires_at = $6, noticed_at = $7,
                updated_at = $8, activated_at = $9, removed_at = $10
         WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1",
    )
    .bind(method.organization_id)
    .bind(method.id)
    .bind(method.status)
    .bind(method.display_name.clone())
    .bind(method.is_default)
    .bind(method.expires_at)
    .bind(method.noticed_at)
    .bind(method.updated_at)
    .bind(method.activated_at)
    .bind(method.removed_at)
    .execute()
    .await?;
    Ok(())
}

/// Has the organisation prefer none of its cards. Its billing profile is locked.
///
/// # Errors
/// What the database refuses.
pub async fn prefer_none(
    tx: &mut Tx,
    organization_id: OrganizationId,
    now: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE payment_methods SET is_default = $2, updated_at = $3 WHERE organization_id = $1 AND is_default",
    )
    .bind(organization_id)
    .bind(false)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// The sealed token of a card, while there is one.
///
/// # Errors
/// What the database refuses.
pub async fn token(conn: &mut impl Conn, method: &PaymentMethod) -> Result<Option<Vec<u8>>, db::Error> {
    let row: Option<(Option<Vec<u8>>,)> = conn
        .sql(
            "SELECT sealed_token FROM payment_methods
             WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1",
        )
        .bind(method.organization_id)
        .bind(method.id)
        .optional()
        .await?;
    Ok(row.and_then(|(token,)| token))
}

/// Writes a card that the provider confirmed, with its token. The card is locked.
///
/// # Errors
/// What the database refuses.
pub async fn activate(tx: &mut Tx, method: &PaymentMethod, sealed_token: Vec<u8>) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE payment_methods SET status = $3, is_default = $4, updated_at = $5, activated_at = $6, sealed_token = $7
         WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1",
    )
    .bind(method.organization_id)
    .bind(method.id)
    .bind(method.status)
    .bind(method.is_default)
    .bind(method.updated_at)
    .bind(method.activated_at)
    .bind(sealed_token)
    .execute()
    .await?;
    Ok(())
}

/// Forgets the token of a removed card.
///
/// # Errors
/// What the database refuses.
pub async fn forget_token(
    tx: &mut Tx,
    organization_id: OrganizationId,
    id: PaymentMethodId,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE payment_methods SET sealed_token = NULL
         WHERE id = $2 AND organization_id IS NOT DISTINCT FROM $1 AND status = $3",
    )
    .bind(organization_id)
    .bind(id)
    .bind(PaymentMethodStatus::Removed)
    .execute()
    .await?;
    Ok(())
}

/// Cards, whoever's they are, that stand so and were added before a time: the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn added_before(
    conn: &mut impl Conn,
    status: PaymentMethodStatus,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(PaymentMethodId, OrganizationId)>, db::Error> {
    conn.sql(
        "SELECT id, organization_id FROM payment_methods WHERE status = $1 AND created_at < $2
         ORDER BY created_at, id LIMIT $3",
    )
    .bind(status)
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// Cards that can be charged, whoever's they are, whose last month is over by a time: the first to end first.
///
/// # Errors
/// What the database refuses.
pub async fn over_by(
    conn: &mut impl Conn,
    by: Timestamp,
    limit: i64,
) -> Result<Vec<(PaymentMethodId, OrganizationId)>, db::Error> {
    conn.sql(
        "SELECT id, organization_id FROM payment_methods WHERE status = $1 AND expires_at <= $2
         ORDER BY expires_at, id LIMIT $3",
    )
    .bind(PaymentMethodStatus::Active)
    .bind(by)
    .bind(limit)
    .all()
    .await
}

/// The same, of which their owners were not told yet.
///
/// # Errors
/// What the database refuses.
pub async fn to_notice(
    conn: &mut impl Conn,
    by: Timestamp,
    limit: i64,
) -> Result<Vec<(PaymentMethodId, OrganizationId)>, db::Error> {
    conn.sql(
        "SELECT id, organization_id FROM payment_methods
         WHERE status = $1 AND expires_at <= $2 AND noticed_at IS NULL
         ORDER BY expires_at, id LIMIT $3",
    )
    .bind(PaymentMethodStatus::Active)
    .bind(by)
    .bind(limit)
    .all()
    .await
}

/// The charge that pays a payment, if a stored card does. For the platform.
///
/// # Errors
/// What the database refuses.
pub async fn charge(conn: &mut impl Conn, payment_id: PaymentId) -> Result<Option<Charge>, db::Error> {
    conn.sql(
        "SELECT payment_id, organization_id, payment_method_id, status, provider_payment_id, detail, created_at,
                sent_at, settled_at
         FROM card_charges WHERE payment_id = $1",
    )
    .bind(payment_id)
    .optional()
    .await
}

/// Stores a charge that is to be made.
///
/// # Errors
/// What the database refuses.
pub async fn insert_charge(tx: &mut Tx, charge: &Charge) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO card_charges (payment_id, organization_id, payment_method_id, status, provider_payment_id, detail,
                created_at, sent_at, settled_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(charge.payment_id)
    .bind(charge.organization_id)
    .bind(charge.payment_method_id)
    .bind(charge.status)
    .bind(charge.provider_payment_id.clone())
    .bind(charge.detail.clone())
    .bind(charge.created_at)
    .bind(charge.sent_at)
    .bind(charge.settled_at)
    .execute()
    .await?;
    Ok(())
}

/// Writes what changes of a charge that stood so. False when it stands otherwise by now.
///
/// # Errors
/// What the database refuses.
pub async fn update_charge(tx: &mut Tx, stood: ChargeStatus, charge: &Charge) -> Result<bool, db::Error> {
    let touched = tx
        .sql(
            "UPDATE card_charges SET status = $3, provider_payment_id = $4, detail = $5, sent_at = $6, settled_at = $7
             WHERE payment_id = $2 AND organization_id IS NOT DISTINCT FROM $1 AND status = $8",
        )
        .bind(charge.organization_id)
        .bind(charge.payment_id)
        .bind(charge.status)
        .bind(charge.provider_payment_id.clone())
        .bind(charge.detail.clone())
        .bind(charge.sent_at)
        .bind(charge.settled_at)
        .bind(stood)
        .execute()
        .await?;
    Ok(touched == 1)
}
