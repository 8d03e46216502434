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
        "INSERT INTO organizations (id, name, personal_account_id, version, created_at, updated_at)
         VALUES ($1, $2, $3, 1, $4, $4)",
    )
    .bind(id)
    .bind(name)
    .bind(account)
    .bind(at)
    .execute()
    .await?;
    super::member::insert(tx, id, account, OrganizationRole::Owner, at).await
}

/// Inserts an organisation that is nobody's own, and its first owner.
///
/// # Errors
/// What the database refuses.
pub async fn insert(
    tx: &mut Tx,
    id: OrganizationId,
    owner: AccountId,
    name: &str,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO organizations (id, name, version, created_at, updated_at) VALUES ($1, $2, 1, $3, $3)",
    )
    .bind(id)
    .bind(name)
    .bind(at)
    .execute()
    .await?;
    super::member::insert(tx, id, owner, OrganizationRole::Owner, at).await
}

/// An organisation that nobody else changes until the transaction ends, nor its members.
#[derive(Clone, db::Row)]
pub struct Locked {
    /// Its name.
    pub name: String,
    /// Whose own it is, if it is somebody's.
    pub personal_account_id: Option<AccountId>,
    /// Counts the changes.
    pub version: i64,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

/// Locks an organisation. Everything that changes who belongs to it, or counts what it has, does this first.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, id: OrganizationId) -> Result<Option<Locked>, db::Error> {
    tx.sql(db::lock!("SELECT name, personal_account_id, version, closed_at FROM organizations WHERE id = $1"))
        .bind(id)
        .optional()
        .await
}

/// Whether there is such an organisation, and it is not closed.
///
/// # Errors
/// What the database refuses.
pub async fn stands(conn: &mut impl Conn, id: OrganizationId) -> Result<bool, db::Error> {
    let row: Option<(OrganizationId,)> = conn
        .sql("SELECT id FROM organizations WHERE id = $1 AND closed_at IS NULL")
        .bind(id)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Renames an organisation that is locked.
///
/// # Errors
/// What the database refuses.
pub async fn rename(tx: &mut Tx, id: OrganizationId, name: &str, at: Timestamp) -> Result<(), db::Error> {
    tx.sql("UPDATE organizations SET name = $1, version = version + 1, updated_at = $2 WHERE id = $3")
        .bind(name)
        .bind(at)
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

/// Marks an organisation that is locked as closed.
///
/// # Errors
/// What the database refuses.
pub async fn close(tx: &mut Tx, id: OrganizationId, at: Timestamp) -> Result<(), db::Error> {
    tx.sql("UPDATE organizations SET closed_at = $1, version = version + 1, updated_at = $1 WHERE id = $2")
        .bind(at)
        .bind(id)
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
    version: i64,
    created_at: Timestamp,
}

impl From<OrganizationRow> for Organization {
    fn from(row: OrganizationRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            personal: row.personal_account_id.is_some(),
            role: row.role,
            version: row.version,
            created_at: row.created_at,
        }
    }
}

/// Whether there is an organisation, closed ones among them.
///
/// # Errors
/// What the database refuses.
pub async fn exists(conn: &mut impl Conn, id: OrganizationId) -> Result<bool, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT id FROM organizations WHERE id = $1").bind(id).optional().await?;
    Ok(row.is_some())
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
            "SELECT o.id, o.name, o.personal_account_id, m.role, o.version, o.created_at
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
                "SELECT o.id, o.name, o.personal_account_id, m.role, o.version, o.created_at
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
                "SELECT o.id, o.name, o.personal_account_id, m.role, o.version, o.created_at
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
