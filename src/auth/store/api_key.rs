//! API keys, by the hashes of their secrets.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::auth::model::key::{ApiKey, ApiKeyId, Grant, KeyScope, KeyStanding, KeyUse, secret_stands};
use crate::base::net::Network;
use crate::base::{AccountId, OrganizationId, Timestamp};
use crate::db::{self, Conn, Json, Tx};

/// Inserts a key.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, new: &ApiKey, secret_hash: [u8; 32]) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO api_keys (id, organization_id, account_id, name, scopes, networks, generation, secret_hash,
            expires_at, created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(new.id)
    .bind(new.organization)
    .bind(new.account)
    .bind(new.name.as_str())
    .bind(Json(&new.scopes))
    .bind(Json(&new.networks))
    .bind(new.generation)
    .bind(secret_hash.to_vec())
    .bind(new.expires_at)
    .bind(new.created_by)
    .bind(new.created_at)
    .execute()
    .await?;
    Ok(())
}

#[derive(db::Row)]
struct ApiKeyRow {
    id: ApiKeyId,
    organization_id: OrganizationId,
    account_id: AccountId,
    name: String,
    scopes: Json<BTreeSet<KeyScope>>,
    networks: Json<Vec<String>>,
    generation: i64,
    previous_until: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    used_at: Option<Timestamp>,
    created_by: AccountId,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: row.id,
            organization: row.organization_id,
            account: row.account_id,
            name: row.name,
            scopes: row.scopes.0,
            networks: row.networks.0,
            generation: row.generation,
            previous_until: row.previous_until,
            expires_at: row.expires_at,
            used_at: row.used_at,
            created_by: row.created_by,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// The organisation of a key, whoever asks. Asked in the platform's own scope.
///
/// # Errors
/// What the database refuses.
pub async fn organization_of(
    conn: &mut impl Conn,
    id: ApiKeyId,
) -> Result<Option<OrganizationId>, db::Error> {
    let row: Option<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM api_keys WHERE id = $1").bind(id).optional().await?;
    Ok(row.map(|(organization,)| organization))
}

/// Locks a key.
///
/// # Errors
/// What the database refuses.
pub async fn lock(
    tx: &mut Tx,
    organization: OrganizationId,
    id: ApiKeyId,
) -> Result<Option<ApiKey>, db::Error> {
    let row: Option<ApiKeyRow> = tx
        .sql(db::lock!(
            "SELECT id, organization_id, account_id, name, scopes, networks, generation, previous_until, expires_at,
                used_at, created_by, created_at, revoked_at
             FROM api_keys WHERE organization_id = $1 AND id = $2"
        ))
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(ApiKey::from))
}

/// The keys, the oldest first, from behind `after`.
///
/// # Errors
/// What the database refuses.
pub async fn list(
    conn: &mut impl Conn,
    organization: OrganizationId,
    after: ApiKeyId,
    limit: i64,
) -> Result<Vec<ApiKey>, db::Error> {
    let rows: Vec<ApiKeyRow> = conn
        .sql(
            "SELECT id, organization_id, account_id, name, scopes, networks, generation, previous_until, expires_at,
                used_at, created_by, created_at, revoked_at
             FROM api_keys WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(organization)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(ApiKey::from).collect())
}

/// How many keys were not revoked.
///
/// # Errors
/// What the database refuses.
pub async fn count(conn: &mut impl Conn, organization: OrganizationId) -> Result<i64, db::Error> {
    let (count,): (i64,) = conn
        .sql(
            "SELECT CAST(count(*) AS bigint) FROM api_keys WHERE organization_id = $1 AND revoked_at IS NULL",
        )
        .bind(organization)
        .one()
        .await?;
    Ok(count)
}

/// Gives a key that is locked another secret. The one before is good until `previous_until`.
///
/// # Errors
/// What the database refuses.
pub async fn rotate(
    tx: &mut Tx,
    organization: OrganizationId,
    id: ApiKeyId,
    secret_hash: [u8; 32],
    previous_until: Timestamp,
) -> Result<(), db::Error> {
    tx.sql(
        "UPDATE api_keys SET previous_hash = secret_hash, previous_until = $1, secret_hash = $2,
            generation = generation + 1
         WHERE organization_id = $3 AND id = $4",
    )
    .bind(previous_until)
    .bind(secret_hash.to_vec())
    .bind(organization)
    .bind(id)
    .execute()
    .await?;
    Ok(())
}

/// Revokes a key. One that was revoked before keeps its time.
///
/// # Errors
/// What the database refuses.
pub async fn revoke(
    tx: &mut Tx,
    organization: OrganizationId,
    id: ApiKeyId,
    at: Timestamp,
) -> Result<u64, db::Error> {
    tx.sql(
        "UPDATE api_keys SET revoked_at = $1 WHERE organization_id = $2 AND id = $3 AND revoked_at IS NULL",
    )
    .bind(at)
    .bind(organization)
    .bind(id)
    .execute()
    .await
}

/// Revokes the keys in an account's name.
///
/// # Errors
/// What the database refuses.
pub async fn revoke_of(
    tx: &mut Tx,
    organization: OrganizationId,
    account: AccountId,
    at: Timestamp,
) -> Result<u64, db::Error> {
    tx.sql(
        "UPDATE api_keys SET revoked_at = $1
         WHERE organization_id = $2 AND account_id = $3 AND revoked_at IS NULL",
    )
    .bind(at)
    .bind(organization)
    .bind(account)
    .execute()
    .await
}

/// Revokes all keys of an organisation.
///
/// # Errors
/// What the database refuses.
pub async fn revoke_all(tx: &mut Tx, organization: OrganizationId, at: Timestamp) -> Result<u64, db::Error> {
    tx.sql("UPDATE api_keys SET revoked_at = $1 WHERE organization_id = $2 AND revoked_at IS NULL")
        .bind(at)
        .bind(organization)
        .execute()
        .await
}

/// Notes that a key was used, unless that was noted since `last`.
///
/// # Errors
/// What the database refuses.
pub async fn note_use(tx: &mut Tx, id: ApiKeyId, at: Timestamp, last: Timestamp) -> Result<(), db::Error> {
    tx.sql("UPDATE api_keys SET used_at = $1 WHERE id = $2 AND (used_at IS NULL OR used_at <= $3)")
        .bind(at)
        .bind(id)
        .bind(last)
        .execute()
        .await?;
    Ok(())
}

#[derive(db::Row)]
struct StandingRow {
    member: Option<AccountId>,
    suspended_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    organization_id: OrganizationId,
    account_id: AccountId,
    scopes: Json<BTreeSet<KeyScope>>,
    networks: Json<Vec<String>>,
    generation: i64,
    secret_hash: Vec<u8>,
    previous_hash: Option<Vec<u8>>,
    previous_until: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    used_at: Option<Timestamp>,
}

/// A key, and whether it stands. Asked in the platform's own scope.
///
/// # Errors
/// What the database refuses.
pub async fn standing(conn: &mut impl Conn, id: ApiKeyId) -> Result<Option<KeyStanding>, db::Error> {
    let row: Option<StandingRow> = conn
        .sql(
            "SELECT k.organization_id, k.account_id, k.scopes, k.networks, k.generation, k.secret_hash,
                k.previous_hash, k.previous_until, k.expires_at, k.used_at, k.revoked_at, a.suspended_at,
                m.account_id AS member
             FROM api_keys k
             JOIN accounts a ON a.id = k.account_id
             LEFT JOIN memberships m ON m.organization_id = k.organization_id AND m.account_id = k.account_id
             WHERE k.id = $1",
        )
        .bind(id)
        .optional()
        .await?;
    row.map(|row| standing_of(id, row)).transpose()
}

fn standing_of(id: ApiKeyId, row: StandingRow) -> Result<KeyStanding, db::Error> {
    let hash = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| db::Error::Failed);
    let previous = match (row.previous_hash, row.previous_until) {
        (Some(previous), Some(until)) => Some((hash(previous)?, until)),
        _ => None,
    };
    // A network that cannot be read must not become "anywhere".
    let networks: Option<Vec<Network>> = row.networks.0.iter().map(|text| Network::parse(text)).collect();
    let grant = Grant {
        organization: row.organization_id,
        scopes: row.scopes.0,
        key: Some(KeyUse { id, generation: row.generation }),
    };
    Ok(KeyStanding {
        stands: row.member.is_some() && row.suspended_at.is_none() && row.revoked_at.is_none(),
        account: row.account_id,
        grant: Arc::new(grant),
        networks: networks.ok_or(db::Error::Failed)?,
        generation: row.generation,
        secret_hash: hash(row.secret_hash)?,
        previous,
        expires_at: row.expires_at,
        used_at: row.used_at,
    })
}

/// Those of the secrets whose keys stand and that are good themselves. Asked in the platform's own scope; at most some
/// thousands.
///
/// # Errors
/// What the database refuses.
pub async fn standing_among(
    conn: &mut impl Conn,
    secrets: &[KeyUse],
    now: Timestamp,
) -> Result<Vec<KeyUse>, db::Error> {
    let rows: Vec<(ApiKeyId, i64, Option<Timestamp>)> = conn
        .sql(
            "SELECT k.id, k.generation, k.previous_until
             FROM api_keys k
             JOIN memberships m ON m.organization_id = k.organization_id AND m.account_id = k.account_id
             JOIN accounts a ON a.id = k.account_id
             WHERE k.revoked_at IS NULL AND a.suspended_at IS NULL
                AND (k.expires_at IS NULL OR k.expires_at > $1) AND k.id IN $list",
        )
        .bind(now)
        .list(secrets.iter().map(|secret| secret.id))
        .all()
        .await?;
    let stands = |secret: &&KeyUse| {
        rows.iter().any(|(id, newest, until)| {
            *id == secret.id && secret_stands(secret.generation, *newest, *until, now)
        })
    };
    Ok(secrets.iter().filter(stands).copied().collect())
}
