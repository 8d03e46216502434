//! Accounts as whoever runs the platform finds and changes them.

use super::account::AccountRow;
use crate::auth::Role;
use crate::auth::model::{AdministeredAccount, OrganizationRole};
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};

/// Administrators that are locked together. There are a few.
const ADMINISTRATORS_MAX: i64 = 1_000;

/// Which accounts are listed. Not to be printed, as it may tell of a person.
#[derive(Clone)]
pub struct Wanted {
    /// Those with one of these roles.
    pub roles: Vec<Role>,
    /// Those that may sign in.
    pub standing: bool,
    /// Those that are suspended.
    pub suspended: bool,
    /// Those whose address begins so, in lower case.
    pub prefix: String,
    /// Those that were made at this time or later.
    pub from: Timestamp,
    /// Those that were made before this time.
    pub until: Timestamp,
    /// Those whose address comes after this one.
    pub after: String,
}

/// Accounts by their addresses.
///
/// # Errors
/// What the database refuses.
pub async fn list(
    conn: &mut impl Conn,
    wanted: &Wanted,
    limit: i64,
) -> Result<Vec<AdministeredAccount>, db::Error> {
    // Addresses are ASCII, so nothing that begins with the prefix comes behind this.
    let end = format!("{}\u{7f}", wanted.prefix);
    let rows: Vec<AccountRow> = conn
        .shared_sql(
            "SELECT id, email, email_verified_at, role, personal_organization_id, display_name, bio, company,
                website, skills, interests, preferences, version, created_at, updated_at, suspended_at,
                suspension_reason, signed_in_at
             FROM accounts
             WHERE email > $1 AND email >= $2 AND email < $3 AND created_at >= $4 AND created_at < $5
                AND ((suspended_at IS NULL AND $6) OR (suspended_at IS NOT NULL AND $7)) AND role IN $list
             ORDER BY email LIMIT $8",
        )
        .bind(wanted.after.as_str())
        .bind(wanted.prefix.as_str())
        .bind(end)
        .bind(wanted.from)
        .bind(wanted.until)
        .bind(wanted.standing)
        .bind(wanted.suspended)
        .bind(limit)
        .list(wanted.roles.iter().copied())
        .all()
        .await?;
    Ok(rows.into_iter().map(AdministeredAccount::from).collect())
}

/// An organisation that an account belongs to. Not to be printed: a personal one bears a person's name.
#[derive(Clone, PartialEq, Eq, db::Row)]
pub struct Membership {
    /// The organisation.
    pub organization_id: OrganizationId,
    /// Its name.
    pub name: String,
    /// What the account may do in it.
    pub role: OrganizationRole,
    /// Since when.
    pub created_at: Timestamp,
}

/// The organisations of an account, the oldest first.
///
/// # Errors
/// What the database refuses.
pub async fn memberships(
    conn: &mut impl Conn,
    account: AccountId,
    limit: i64,
) -> Result<Vec<Membership>, db::Error> {
    conn.sql(
        "SELECT m.organization_id, o.name, m.role, m.created_at
         FROM memberships m JOIN organizations o ON o.id = m.organization_id
         WHERE m.account_id = $1 ORDER BY m.organization_id LIMIT $2",
    )
    .bind(account)
    .bind(limit)
    .all()
    .await
}

/// The administrators that are not suspended. Whoever changes one asks this first, and a second one waits here, so that
/// two cannot take each other's role at once.
///
/// # Errors
/// What the database refuses.
pub async fn lock_administrators(tx: &mut Tx) -> Result<Vec<AccountId>, db::Error> {
    let rows: Vec<(AccountId,)> = tx
        .shared_sql(db::lock!(
            "SELECT id FROM accounts WHERE role = 'admin' AND suspended_at IS NULL ORDER BY id LIMIT $1"
        ))
        .bind(ADMINISTRATORS_MAX)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Suspends an account that is not suspended.
///
/// # Errors
/// What the database refuses.
pub async fn suspend(tx: &mut Tx, id: AccountId, reason: &str, at: Timestamp) -> Result<(), db::Error> {
    tx.shared_sql(
        "UPDATE accounts SET suspended_at = $1, suspension_reason = $2 WHERE id = $3 AND suspended_at IS NULL",
    )
    .bind(at)
    .bind(reason)
    .bind(id)
    .execute()
    .await?;
    Ok(())
}

/// Lets a suspended account in again.
///
/// # Errors
/// What the database refuses.
pub async fn reinstate(tx: &mut Tx, id: AccountId) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE accounts SET suspended_at = NULL, suspension_reason = NULL WHERE id = $1")
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

/// Gives an account a role.
///
/// # Errors
/// What the database refuses.
pub async fn set_role(tx: &mut Tx, id: AccountId, role: Role, at: Timestamp) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE accounts SET role = $1, version = version + 1, updated_at = $2 WHERE id = $3")
        .bind(role)
        .bind(at)
        .bind(id)
        .execute()
        .await?;
    Ok(())
}
