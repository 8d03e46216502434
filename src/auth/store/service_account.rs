//! Service accounts, and which of their assertions were used.

use std::collections::BTreeSet;

use crate::auth::OrganizationRole;
use crate::auth::model::key::{KeyScope, ServiceAccount};
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::db::{self, Conn, Json, Tx};

/// Inserts what makes an account a service account. It is a member already.
///
/// # Errors
/// What the database refuses.
pub async fn insert(
    tx: &mut Tx,
    new: &ServiceAccount,
    public_key: Option<[u8; 32]>,
) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO service_accounts (account_id, organization_id, name, scopes, public_key, created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new.id)
    .bind(new.organization)
    .bind(new.name.as_str())
    .bind(Json(&new.scopes))
    .bind(public_key.map(|key| key.to_vec()))
    .bind(new.created_by)
    .bind(new.created_at)
    .execute()
    .await?;
    Ok(())
}

#[derive(db::Row)]
struct ServiceAccountRow {
    account_id: AccountId,
    organization_id: OrganizationId,
    name: String,
    scopes: Json<BTreeSet<KeyScope>>,
    role: OrganizationRole,
    created_by: AccountId,
    created_at: Timestamp,
}

impl From<ServiceAccountRow> for ServiceAccount {
    fn from(row: ServiceAccountRow) -> Self {
        Self {
            id: row.account_id,
            organization: row.organization_id,
            name: row.name,
            scopes: row.scopes.0,
            role: row.role,
            created_by: row.created_by,
            created_at: row.created_at,
        }
    }
}

/// The organisation of a service account, whoever asks. Asked in the platform's own scope.
///
/// # Errors
/// What the database refuses.
pub async fn organization_of(
    conn: &mut impl Conn,
    id: AccountId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> = conn
        .sql("SELECT organization_id FROM service_accounts WHERE account_id = $1")
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(|(organization,)| organization))
}

/// A service account that is a member.
///
/// # Errors
/// What the database refuses.
pub async fn get(
    conn: &mut impl Conn,
    organization: OrganizationId,
    id: AccountId,
) -> Result<Option<ServiceAccount>, db::Error> {
    let row: Option<ServiceAccountRow> = conn
        .sql(
            "SELECT s.account_id, s.organization_id, s.name, s.scopes, m.role, s.created_by, s.created_at
             FROM service_accounts s
             JOIN memberships m ON m.organization_id = s.organization_id AND m.account_id = s.account_id
             WHERE s.organization_id = $1 AND s.account_id = $2 AND s.deleted_at IS NULL",
        )
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(ServiceAccount::from))
}

/// The service accounts, the oldest first, from behind `after`.
///
/// # Errors
/// What the database refuses.
pub async fn list(
    conn: &mut impl Conn,
    organization: OrganizationId,
    after: AccountId,
    limit: i64,
) -> Result<Vec<ServiceAccount>, db::Error> {
    let rows: Vec<ServiceAccountRow> = conn
        .sql(
            "SELECT s.account_id, s.organization_id, s.name, s.scopes, m.role, s.created_by, s.created_at
             FROM service_accounts s
             JOIN memberships m ON m.organization_id = s.organization_id AND m.account_id = s.account_id
             WHERE s.organization_id = $1 AND s.account_id > $2 AND s.deleted_at IS NULL
             ORDER BY s.account_id LIMIT $3",
        )
        .bind(organization)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(ServiceAccount::from).collect())
}

/// How many there are.
///
/// # Errors
/// What the database refuses.
pub async fn count(conn: &mut impl Conn, organization: OrganizationId) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn
        .sql(
            "SELECT CAST(count(*) AS bigint) FROM service_accounts
             WHERE organization_id = $1 AND deleted_at IS NULL",
        )
        .bind(organization)
        .one()
        .await?;
    Ok(count)
}

/// What an assertion is checked against.
#[derive(Clone, db::Row)]
pub struct Signer {
    /// The organisation.
    pub organization_id: OrganizationId,
    /// What its tokens may do.
    pub scopes: Json<BTreeSet<KeyScope>>,
    /// The public key; none when it works with API keys only.
    pub public_key: Option<Vec<u8>>,
}

/// What the assertions of a service account that stands are checked against. Asked in the platform's own scope.
///
/// # Errors
/// What the database refuses.
pub async fn signer(conn: &mut impl Conn, id: AccountId) -> Result<Option<Signer>, db::Error> {
    conn.sql(
        "SELECT s.organization_id, s.scopes, s.public_key
         FROM service_accounts s
         JOIN memberships m ON m.organization_id = s.organization_id AND m.account_id = s.account_id
         JOIN accounts a ON a.id = s.account_id
         WHERE s.account_id = $1 AND s.deleted_at IS NULL AND a.suspended_at IS NULL",
    )
    .bind(id)
    .optional()
    .await
}

/// Marks a service account as gone.
///
/// # Errors
/// What the database refuses.
pub async fn delete(
    tx: &mut Tx,
    organization: OrganizationId,
    id: AccountId,
    at: Timestamp,
) -> Result<u64, db::Error> {
    tx.sql(
        "UPDATE service_accounts SET deleted_at = $1
         WHERE organization_id = $2 AND account_id = $3 AND deleted_at IS NULL",
    )
    .bind(at)
    .bind(organization)
    .bind(id)
    .execute()
    .await
}

/// The service accounts that are not gone, at most `limit`.
///
/// # Errors
/// What the database refuses.
pub async fn ids(
    conn: &mut impl Conn,
    organization: OrganizationId,
    limit: i64,
) -> Result<Vec<AccountId>, db::Error> {
    let rows: Vec<(AccountId,)> = conn
        .sql(
            "SELECT account_id FROM service_accounts
             WHERE organization_id = $1 AND deleted_at IS NULL ORDER BY account_id LIMIT $2",
        )
        .bind(organization)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Notes that an assertion was used. `false` when it was before: of two that try, one succeeds.
///
/// # Errors
/// What the database refuses.
pub async fn use_assertion(
    tx: &mut Tx,
    organization: OrganizationId,
    account: AccountId,
    jti_hash: [u8; 32],
    expires_at: Timestamp,
) -> Result<bool, db::Error> {
    let rows = tx
        .sql(
            "INSERT INTO service_account_assertions (account_id, jti_hash, organization_id, expires_at)
             VALUES ($1, $2, $3, $4) ON CONFLICT (account_id, jti_hash) DO NOTHING",
        )
        .bind(account)
        .bind(jti_hash.to_vec())
        .bind(organization)
        .bind(expires_at)
        .execute()
        .await?;
    Ok(rows == 1)
}

/// Forgets assertions that have expired and so are worth nothing, at most `limit`; tells how many.
///
/// # Errors
/// What the database refuses.
pub async fn prune_assertions(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, db::Error> {
    tx.sql(
        "DELETE FROM service_account_assertions WHERE (account_id, jti_hash) IN
            (SELECT account_id, jti_hash FROM service_account_assertions WHERE expires_at <= $1
             ORDER BY expires_at LIMIT $2)",
    )
    .bind(now)
    .bind(limit)
    .execute()
    .await
}

/// Who made the account, when it is a program's: a program's account acts for that person. Asked in the platform's own
/// scope.
///
/// # Errors
/// What the database refuses.
pub async fn maker_of(conn: &mut impl Conn, id: AccountId) -> Result<Option<AccountId>, db::Error> {
    let row: Option<(AccountId,)> =
        conn.sql("SELECT created_by FROM service_accounts WHERE account_id = $1").bind(id).optional().await?;
    Ok(row.map(|(created_by,)| created_by))
}

/// Whether a person made a program of the organisation that still stands: a service account or an API key.
///
/// # Errors
/// What the database refuses.
pub async fn has_program_of(
    conn: &mut impl Conn,
    organization: OrganizationId,
    person: AccountId,
) -> Result<bool, db::Error> {
    let found: Vec<(uuid::Uuid,)> = conn
        .sql(
            "SELECT account_id AS id FROM service_accounts
             WHERE organization_id = $1 AND created_by = $2 AND deleted_at IS NULL
             UNION ALL
             SELECT id FROM api_keys
             WHERE organization_id = $1 AND (created_by = $2 OR account_id = $2) AND revoked_at IS NULL",
        )
        .bind(organization)
        .bind(person)
        .all()
        .await?;
    Ok(!found.is_empty())
}
