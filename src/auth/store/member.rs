//! Who belongs to an organisation. The organisation is locked wherever something here is changed.

use crate::auth::model::organization::Member;
use crate::auth::{Email, OrganizationRole};
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};

/// Inserts a member.
///
/// # Errors
/// What the database refuses.
pub async fn insert(
    tx: &mut Tx,
    organization: OrganizationId,
    account: AccountId,
    role: OrganizationRole,
    at: Timestamp,
) -> Result<(), db::Error> {
    tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(organization)
        .bind(account)
        .bind(role)
        .bind(at)
        .execute()
        .await?;
    Ok(())
}

/// Gives a member another role.
///
/// # Errors
/// What the database refuses.
pub async fn set_role(
    tx: &mut Tx,
    organization: OrganizationId,
    account: AccountId,
    role: OrganizationRole,
) -> Result<(), db::Error> {
    tx.sql("UPDATE memberships SET role = $1 WHERE organization_id = $2 AND account_id = $3")
        .bind(role)
        .bind(organization)
        .bind(account)
        .execute()
        .await?;
    Ok(())
}

/// Removes a member.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, organization: OrganizationId, account: AccountId) -> Result<(), db::Error> {
    tx.sql("DELETE FROM memberships WHERE organization_id = $1 AND account_id = $2")
        .bind(organization)
        .bind(account)
        .execute()
        .await?;
    Ok(())
}

/// Removes all members.
///
/// # Errors
/// What the database refuses.
pub async fn delete_all(tx: &mut Tx, organization: OrganizationId) -> Result<Vec<AccountId>, db::Error> {
    let rows: Vec<(AccountId,)> = tx
        .sql("DELETE FROM memberships WHERE organization_id = $1 RETURNING account_id")
        .bind(organization)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(account,)| account).collect())
}

/// Whether a member who is an owner is the only one.
///
/// # Errors
/// What the database refuses.
pub async fn is_last_owner(
    conn: &mut impl Conn,
    organization: OrganizationId,
    account: AccountId,
) -> Result<bool, db::Error> {
    let other: Option<(AccountId,)> = conn
        .sql(
            "SELECT account_id FROM memberships
             WHERE organization_id = $1 AND role = 'owner' AND account_id <> $2 LIMIT 1",
        )
        .bind(organization)
        .bind(account)
        .optional()
        .await?;
    Ok(other.is_none())
}

/// How many members there are.
///
/// # Errors
/// What the database refuses.
pub async fn count(conn: &mut impl Conn, organization: OrganizationId) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn
        .sql("SELECT CAST(count(*) AS bigint) FROM memberships WHERE organization_id = $1")
        .bind(organization)
        .one()
        .await?;
    Ok(count)
}

/// Whether two accounts belong to one organisation. Asked in the platform's own scope.
///
/// # Errors
/// What the database refuses.
pub async fn have_one_in_common(
    conn: &mut impl Conn,
    one: AccountId,
    other: AccountId,
) -> Result<bool, db::Error> {
    let row: Option<(OrganizationId,)> = conn
        .sql(
            "SELECT a.organization_id FROM memberships AS a JOIN memberships AS b
                ON b.organization_id = a.organization_id AND b.account_id = $2
             WHERE a.account_id = $1 LIMIT 1",
        )
        .bind(one)
        .bind(other)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// How many organisations an account belongs to. Asked in the platform's own scope.
///
/// # Errors
/// What the database refuses.
pub async fn count_of(conn: &mut impl Conn, account: AccountId) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn
        .sql("SELECT CAST(count(*) AS bigint) FROM memberships WHERE account_id = $1")
        .bind(account)
        .one()
        .await?;
    Ok(count)
}

#[derive(db::Row)]
struct MemberRow {
    account_id: AccountId,
    email: String,
    display_name: String,
    role: OrganizationRole,
    service_account_id: Option<AccountId>,
    created_at: Timestamp,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        Self {
            account: row.account_id,
            email: Email::stored(row.email),
            display_name: row.display_name,
            role: row.role,
            service_account: row.service_account_id.is_some(),
            created_at: row.created_at,
        }
    }
}

/// A member.
///
/// # Errors
/// What the database refuses.
pub async fn get(
    conn: &mut impl Conn,
    organization: OrganizationId,
    account: AccountId,
) -> Result<Option<Member>, db::Error> {
    let row: Option<MemberRow> = conn
        .sql(
            "SELECT m.account_id, a.email, a.display_name, m.role, s.account_id AS service_account_id, m.created_at
             FROM memberships m
             JOIN accounts a ON a.id = m.account_id
             LEFT JOIN service_accounts s ON s.account_id = m.account_id
             WHERE m.organization_id = $1 AND m.account_id = $2",
        )
        .bind(organization)
        .bind(account)
        .optional()
        .await?;
    Ok(row.map(Member::from))
}

/// The members in the order of their ids, from behind `after`.
///
/// # Errors
/// What the database refuses.
pub async fn list(
    conn: &mut impl Conn,
    organization: OrganizationId,
    after: AccountId,
    limit: i64,
) -> Result<Vec<Member>, db::Error> {
    let rows: Vec<MemberRow> = conn
        .sql(
            "SELECT m.account_id, a.email, a.display_name, m.role, s.account_id AS service_account_id, m.created_at
             FROM memberships m
             JOIN accounts a ON a.id = m.account_id
             LEFT JOIN service_accounts s ON s.account_id = m.account_id
             WHERE m.organization_id = $1 AND m.account_id > $2 ORDER BY m.account_id LIMIT $3",
        )
        .bind(organization)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Member::from).collect())
}
