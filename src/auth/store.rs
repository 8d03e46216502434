//! The rows of this domain. Accounts, sessions and signing keys belong to no tenant; memberships say who belongs to
//! which.

pub mod account;
pub mod administration;
pub mod api_key;
pub mod guess;
pub mod invitation;
pub mod key;
pub mod link;
pub mod member;
pub mod organization;
pub mod password;
pub mod place;
pub mod platform_invitation;
pub mod service_account;
pub mod session;

use crate::base::{AccountId, OrganizationId};
use crate::db::{self, Conn};

use super::OrganizationRole;

/// The role of an account in an organisation; none when it is not a member, or when either does not exist.
///
/// # Errors
/// What the database refuses.
pub async fn membership(
    conn: &mut impl Conn,
    organization: OrganizationId,
    account: AccountId,
) -> Result<Option<OrganizationRole>, db::Error> {
    let row: Option<(OrganizationRole,)> = conn
        .sql("SELECT role FROM memberships WHERE organization_id = $1 AND account_id = $2")
        .bind(organization)
        .bind(account)
        .optional()
        .await?;
    Ok(row.map(|(role,)| role))
}

/// Those of the pairs that are memberships. Asked in the platform's own scope, for callers of all tenants; at most some
/// thousands.
///
/// # Errors
/// What the database refuses.
pub async fn memberships_among(
    conn: &mut impl Conn,
    pairs: &[(OrganizationId, AccountId)],
) -> Result<Vec<(OrganizationId, AccountId)>, db::Error> {
    conn.sql(
        "SELECT organization_id, account_id FROM memberships WHERE (organization_id, account_id) IN (VALUES $rows)",
    )
    .rows(pairs.iter().copied(), |statement, (organization, account)| statement.bind(organization).bind(account))
    .all()
    .await
}
