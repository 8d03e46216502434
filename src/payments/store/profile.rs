//! Billing profiles. The row is also the lock under which everything about an organisation's money is decided.

use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::BillingProfile;

/// The organisation's profile, if there is one.
///
/// # Errors
/// What the database refuses.
pub async fn get(
    conn: &mut impl Conn,
    organization_id: OrganizationId,
) -> Result<Option<BillingProfile>, db::Error> {
    conn.sql(
        "SELECT organization_id, name, email, vat_number, address, country, version, updated_at
         FROM billing_profiles WHERE organization_id = $1",
    )
    .bind(organization_id)
    .optional()
    .await
}

/// Makes an empty profile unless there is one, and locks it: until the transaction ends nobody else decides about this
/// organisation's money.
///
/// # Errors
/// What the database refuses.
pub async fn lock(
    tx: &mut Tx,
    organization_id: OrganizationId,
    now: Timestamp,
) -> Result<BillingProfile, db::Error> {
    tx.sql(
        "INSERT INTO billing_profiles (organization_id, name, email, vat_number, address, country, version, updated_at)
         VALUES ($1, '', '', '', '', '', 0, $2) ON CONFLICT (organization_id) DO NOTHING",
    )
    .bind(organization_id)
    .bind(now)
    .execute()
    .await?;
    tx.sql(db::lock!(
        "SELECT organization_id, name, email, vat_number, address, country, version, updated_at
         FROM billing_profiles WHERE organization_id = $1"
    ))
    .bind(organization_id)
    .one()
    .await
}

/// Writes a profile that was locked.
///
/// # Errors
/// What the database refuses.
pub async fn update(tx: &mut Tx, profile: &BillingProfile) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE billing_profiles SET name = $2, email = $3, vat_number = $4, address = $5, country = $6, version = $7,
                updated_at = $8
         WHERE organization_id = $1",
    )
    .bind(profile.organization_id)
    .bind(profile.name.clone())
    .bind(profile.email.clone())
    .bind(profile.vat_number.clone())
    .bind(profile.address.clone())
    .bind(profile.country.clone())
    .bind(profile.version)
    .bind(profile.updated_at)
    .execute()
    .await?;
    Ok(())
}
