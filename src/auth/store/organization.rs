//! Organisations and their members.

use crate::auth::OrganizationRole;
use crate::auth::model::Organization;
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};

/// Inserts the organisation that an account is born with, and the account as its owner.
///
/// # Errors
/// What the database refuses.
pub async fn insert_personal(
    tx: &mut Tx,
    id: OrganizationId,
    account: AccountId,
    name: &str,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO organizations (id, name, personal_account_id, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $4)",
    )
    .bind(id)
    .bind(name)
    .bind(account)
    .bind(at)
    .execute()
    .await?;
    tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(id)
        .bind(account)
        .bind(OrganizationRole::Owner)
        .bind(at)
        .execute()
        .await?;
    Ok(())
}

#[derive(db::Row)]
struct OrganizationRow {
    id: OrganizationId,
    name: String,
    personal_account_id: Option<AccountId>,
    role: OrganizationRole,
    created_at: Timestamp,
}

impl From<OrganizationRow> for Organization {
    fn from(row: OrganizationRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            personal: row.personal_account_id.is_some(),
            role: row.role,
            created_at: row.created_at,
        }
    }
}

/// An organisation as its member sees it; none for whoever is not a member.
///
/// # Errors
/// What the database refuses.
pub async fn get(
    conn: &mut impl Conn,
    id: OrganizationId,
    member: AccountId,
) -> Result<Option<Organization>, db::Error> {
    let row: Option<OrganizationRow> = conn
        .sql(
            "SELECT o.id, o.name, o.personal_account_id, m.role, o.created_at
             FROM memberships m JOIN organizations o ON o.id = m.organization_id
             WHERE m.organization_id = $1 AND m.account_id = $2",
        )
        .bind(id)
        .bind(member)
        .optional()
        .await?;
    Ok(row.map(Organization::from))
}

/// The organisations of a member, the oldest first, from behind `after`.
///
/// # Errors
/// What the database refuses.
pub async fn list(
    conn: &mut impl Conn,
    member: AccountId,
    after: Option<OrganizationId>,
    limit: i64,
) -> Result<Vec<Organization>, db::Error> {
    let rows: Vec<OrganizationRow> = match after {
        None => {
            conn.sql(
                "SELECT o.id, o.name, o.personal_account_id, m.role, o.created_at
                 FROM memberships m JOIN organizations o ON o.id = m.organization_id
                 WHERE m.account_id = $1 ORDER BY m.organization_id LIMIT $2",
            )
            .bind(member)
            .bind(limit)
            .all()
            .await?
        }
        Some(after) => {
            conn.sql(
                "SELECT o.id, o.name, o.personal_account_id, m.role, o.created_at
                 FROM memberships m JOIN organizations o ON o.id = m.organization_id
                 WHERE m.account_id = $1 AND m.organization_id > $3 ORDER BY m.organization_id LIMIT $2",
            )
            .bind(member)
            .bind(limit)
            .bind(after)
            .all()
            .await?
        }
    };
    Ok(rows.into_iter().map(Organization::from).collect())
}
