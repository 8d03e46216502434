//! Accounts: who they are and how they sign in.

use std::collections::BTreeMap;

use crate::auth::model::{Account, AdministeredAccount, Suspension};
use crate::auth::profile::Profile;
use crate::auth::{Email, Role};
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::db::{self, Conn, Json, Tx};

/// What a new account begins with.
#[derive(Clone)]
pub struct NewAccount {
    /// Its id.
    pub id: AccountId,
    /// Its own organisation, which the same transaction makes.
    pub personal_organization_id: OrganizationId,
    /// Its address.
    pub email: Email,
    /// Its role.
    pub role: Role,
    /// The hash of its password, as a PHC string.
    pub password_hash: String,
    /// When the password was issued by the platform; none when its owner chose it.
    pub one_time_issued_at: Option<Timestamp>,
    /// Which terms were accepted.
    pub terms_version: String,
    /// The name to show.
    pub display_name: String,
    /// When it is made.
    pub at: Timestamp,
}

/// Inserts an account; its organisation comes next, in the same transaction. `false`, and nothing is written, when the
/// address has one; of two transactions that insert the same address the second waits for the first.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, new: &NewAccount) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "INSERT INTO accounts (id, personal_organization_id, email, role, password_hash, one_time_issued_at,
                terms_version, terms_accepted_at, display_name, bio, company, website, skills, interests,
                preferences, version, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', '', '', $10, $10, $11, 1, $8, $8)
             ON CONFLICT (email) DO NOTHING",
        )
        .bind(new.id)
        .bind(new.personal_organization_id)
        .bind(new.email.as_str())
        .bind(new.role)
        .bind(new.password_hash.as_str())
        .bind(new.one_time_issued_at)
        .bind(new.terms_version.as_str())
        .bind(new.at)
        .bind(new.display_name.as_str())
        .bind(Json(Vec::<String>::new()))
        .bind(Json(BTreeMap::<String, String>::new()))
        .execute()
        .await?;
    Ok(rows == 1)
}

/// What a sign-in is checked against.
#[derive(Clone, PartialEq, Eq, db::Row)]
pub struct Credentials {
    /// Whose they are.
    pub id: AccountId,
    /// The hash of the password, as a PHC string.
    pub password_hash: String,
    /// When the password was issued by the platform; none when its owner chose it.
    pub one_time_issued_at: Option<Timestamp>,
    /// When the issued password was used.
    pub one_time_used_at: Option<Timestamp>,
    /// Since when the account is kept out.
    pub suspended_at: Option<Timestamp>,
}

/// What a sign-in with this address is checked against.
///
/// # Errors
/// What the database refuses.
pub async fn credentials(conn: &mut impl Conn, email: &Email) -> Result<Option<Credentials>, db::Error> {
    conn.shared_sql(
        "SELECT id, password_hash, one_time_issued_at, one_time_used_at, suspended_at FROM accounts WHERE email = $1",
    )
    .bind(email.as_str())
    .optional()
    .await
}

/// Notes a sign-in. `false` when the password was changed, the one-time password used, or the account suspended since
/// `checked` was read: what was verified is then no longer what counts.
///
/// # Errors
/// What the database refuses.
pub async fn signed_in(tx: &mut Tx, checked: &Credentials, at: Timestamp) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "UPDATE accounts SET signed_in_at = $1,
                one_time_used_at = CASE WHEN one_time_issued_at IS NULL THEN one_time_used_at ELSE $1 END
             WHERE id = $2 AND password_hash = $3 AND one_time_used_at IS NULL AND suspended_at IS NULL",
        )
        .bind(at)
        .bind(checked.id)
        .bind(checked.password_hash.as_str())
        .execute()
        .await?;
    Ok(rows == 1)
}

/// Notes that the owner of an address is told of a second registration. `false` when that was done since `last`.
///
/// # Errors
/// What the database refuses.
pub async fn notice(tx: &mut Tx, email: &Email, at: Timestamp, last: Timestamp) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "UPDATE accounts SET noticed_at = $1
             WHERE email = $2 AND (noticed_at IS NULL OR noticed_at <= $3)",
        )
        .bind(at)
        .bind(email.as_str())
        .bind(last)
        .execute()
        .await?;
    Ok(rows == 1)
}

/// Replaces the hash of the same password by one with today's parameters.
///
/// # Errors
/// What the database refuses.
pub async fn rehash(tx: &mut Tx, checked: &Credentials, hash: String) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE accounts SET password_hash = $1 WHERE id = $2 AND password_hash = $3")
        .bind(hash)
        .bind(checked.id)
        .bind(checked.password_hash.as_str())
        .execute()
        .await?;
    Ok(())
}

/// An administrator and how their password came about.
#[derive(Clone, PartialEq, Eq, db::Row)]
pub struct Administrator {
    /// The account.
    pub id: AccountId,
    /// Its address.
    pub email: String,
    /// When the password was issued by the platform; none when its owner chose it.
    pub one_time_issued_at: Option<Timestamp>,
    /// When the issued password was used.
    pub one_time_used_at: Option<Timestamp>,
}

/// An administrator: one who chose a password if there is such a one, otherwise the oldest.
///
/// # Errors
/// What the database refuses.
pub async fn administrator(conn: &mut impl Conn) -> Result<Option<Administrator>, db::Error> {
    conn.shared_sql(
        "SELECT id, email, one_time_issued_at, one_time_used_at FROM accounts WHERE role = 'admin'
         ORDER BY CASE WHEN one_time_issued_at IS NULL THEN 0 ELSE 1 END, id LIMIT 1",
    )
    .optional()
    .await
}

/// An administrator, as a list shows them.
#[derive(Clone, PartialEq, Eq, db::Row)]
pub struct ListedAdministrator {
    /// The account.
    pub id: AccountId,
    /// Its address.
    pub email: String,
    /// When the password was issued by the platform; none when its owner chose it.
    pub one_time_issued_at: Option<Timestamp>,
    /// When the issued password was used.
    pub one_time_used_at: Option<Timestamp>,
    /// When they last signed in.
    pub signed_in_at: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// The administrators, the oldest first, at most `limit`.
///
/// # Errors
/// What the database refuses.
pub async fn administrators(conn: &mut impl Conn, limit: i64) -> Result<Vec<ListedAdministrator>, db::Error> {
    conn.shared_sql(
        "SELECT id, email, one_time_issued_at, one_time_used_at, signed_in_at, created_at FROM accounts
         WHERE role = 'admin' ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// The account that an address has, and its role.
///
/// # Errors
/// What the database refuses.
pub async fn by_email(conn: &mut impl Conn, email: &Email) -> Result<Option<(AccountId, Role)>, db::Error> {
    conn.shared_sql("SELECT id, role FROM accounts WHERE email = $1").bind(email.as_str()).optional().await
}

/// The account that has an address and has proved it.
///
/// # Errors
/// What the database refuses.
pub async fn id_of_verified(conn: &mut impl Conn, email: &Email) -> Result<Option<AccountId>, db::Error> {
    let row: Option<(AccountId,)> = conn
        .shared_sql("SELECT id FROM accounts WHERE email = $1 AND email_verified_at IS NOT NULL")
        .bind(email.as_str())
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// Gives an administrator another one-time password. `false` when somebody else did so since `seen` was read.
///
/// # Errors
/// What the database refuses.
pub async fn reissue(
    tx: &mut Tx,
    seen: &Administrator,
    hash: String,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "UPDATE accounts SET password_hash = $1, one_time_issued_at = $2, one_time_used_at = NULL
             WHERE id = $3 AND one_time_issued_at = $4",
        )
        .bind(hash)
        .bind(at)
        .bind(seen.id)
        .bind(seen.one_time_issued_at)
        .execute()
        .await?;
    Ok(rows == 1)
}

/// An account as it is stored, but for its password.
#[derive(db::Row)]
pub(super) struct AccountRow {
    id: AccountId,
    email: String,
    email_verified_at: Option<Timestamp>,
    role: Role,
    personal_organization_id: OrganizationId,
    display_name: String,
    bio: String,
    company: String,
    website: String,
    skills: Json<Vec<String>>,
    interests: Json<Vec<String>>,
    preferences: Json<BTreeMap<String, String>>,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    suspended_at: Option<Timestamp>,
    suspension_reason: Option<String>,
    signed_in_at: Option<Timestamp>,
}

impl From<AccountRow> for AdministeredAccount {
    fn from(mut row: AccountRow) -> Self {
        let reason = row.suspension_reason.take().unwrap_or_default();
        let suspension = row.suspended_at.map(|at| Suspension { at, reason });
        let signed_in_at = row.signed_in_at;
        Self { account: row.into(), suspension, signed_in_at }
    }
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id,
            email: Email::stored(row.email),
            email_verified: row.email_verified_at.is_some(),
            role: row.role,
            personal_organization: row.personal_organization_id,
            profile: Profile {
                display_name: row.display_name,
                bio: row.bio,
                company: row.company,
                website: row.website,
                skills: row.skills.0,
                interests: row.interests.0,
                preferences: row.preferences.0,
            },
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// What a person tells of themselves.
#[derive(Clone, PartialEq, Eq, db::Row)]
pub struct Introduction {
    /// A few words.
    pub bio: String,
    /// Where they work.
    pub company: String,
    /// Their address on the web.
    pub website: String,
}

/// What a person tells of themselves, in whatever scope it is asked.
///
/// # Errors
/// What the database refuses.
pub async fn introduction(conn: &mut impl Conn, id: AccountId) -> Result<Option<Introduction>, db::Error> {
    conn.shared_sql("SELECT bio, company, website FROM accounts WHERE id = $1").bind(id).optional().await
}

/// An account. It names its personal organisation, so it is read for a purpose of the platform: in the scope of another
/// organisation PostgreSQL would not find that.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: AccountId) -> Result<Option<Account>, db::Error> {
    Ok(row(conn, id).await?.map(Account::from))
}

/// An account as whoever runs the platform sees it.
///
/// # Errors
/// What the database refuses.
pub async fn administered(
    conn: &mut impl Conn,
    id: AccountId,
) -> Result<Option<AdministeredAccount>, db::Error> {
    Ok(row(conn, id).await?.map(AdministeredAccount::from))
}

/// Whether an account exists and is not suspended.
///
/// # Errors
/// What the database refuses.
pub async fn stands(conn: &mut impl Conn, id: AccountId) -> Result<bool, db::Error> {
    let found: Option<(AccountId,)> = conn
        .shared_sql("SELECT id FROM accounts WHERE id = $1 AND suspended_at IS NULL")
        .bind(id)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Whether an account exists, is not suspended and administers the platform.
///
/// # Errors
/// What the database refuses.
pub async fn administers(conn: &mut impl Conn, id: AccountId) -> Result<bool, db::Error> {
    let found: Option<(AccountId,)> = conn
        .shared_sql("SELECT id FROM accounts WHERE id = $1 AND suspended_at IS NULL AND role = $2")
        .bind(id)
        .bind(Role::Admin)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Those of the accounts that exist, are not suspended and administer the platform.
///
/// # Errors
/// What the database refuses.
pub async fn administrators_among(
    conn: &mut impl Conn,
    ids: &[AccountId],
) -> Result<Vec<AccountId>, db::Error> {
    let rows: Vec<(AccountId,)> = conn
        .shared_sql("SELECT id FROM accounts WHERE suspended_at IS NULL AND role = $1 AND id IN $list")
        .bind(Role::Admin)
        .list(ids.iter().copied())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

async fn row(conn: &mut impl Conn, id: AccountId) -> Result<Option<AccountRow>, db::Error> {
    conn.shared_sql(
        "SELECT id, email, email_verified_at, role, personal_organization_id, display_name, bio, company, website,
            skills, interests, preferences, version, created_at, updated_at, suspended_at, suspension_reason,
            signed_in_at
         FROM accounts WHERE id = $1",
    )
    .bind(id)
    .optional()
    .await
}

/// Writes a profile over the state that `version` counts. `false` when the account has another version by now.
///
/// # Errors
/// What the database refuses.
pub async fn update_profile(
    tx: &mut Tx,
    id: AccountId,
    version: i64,
    profile: &Profile,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "UPDATE accounts SET display_name = $1, bio = $2, company = $3, website = $4, skills = $5,
                interests = $6, preferences = $7, version = version + 1, updated_at = $8
             WHERE id = $9 AND version = $10",
        )
        .bind(profile.display_name.as_str())
        .bind(profile.bio.as_str())
        .bind(profile.company.as_str())
        .bind(profile.website.as_str())
        .bind(Json(&profile.skills))
        .bind(Json(&profile.interests))
        .bind(Json(&profile.preferences))
        .bind(at)
        .bind(id)
        .bind(version)
        .execute()
        .await?;
    Ok(rows == 1)
}
