//! The keys that access tokens are signed with.

use crate::auth::keys::KeyId;
use crate::auth::model::rotation::Times;
use crate::base::Timestamp;
use crate::db::{self, Conn, Tx};

/// Keys that are read at once: far more than there can be, for each stays for a day after it signed.
const KEYS_MAX: i64 = 64;

/// A signing key as it is stored.
#[derive(Clone, db::Row)]
pub struct Row {
    /// Its id, which tokens name as `kid`.
    pub id: KeyId,
    /// Its place in the order of keys.
    pub generation: i64,
    /// The public half.
    pub public_key: Vec<u8>,
    /// The private half, wrapped by the root key.
    pub private_key: Vec<u8>,
    /// When it was made, and with that published.
    pub created_at: Timestamp,
    /// From when it signs.
    pub signs_from: Timestamp,
}

impl Row {
    /// What decides about it.
    #[must_use]
    pub const fn times(&self) -> Times {
        Times { generation: self.generation, signs_from: self.signs_from }
    }
}

/// The newest keys, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn newest(conn: &mut impl Conn) -> Result<Vec<Row>, db::Error> {
    conn.shared_sql(
        "SELECT id, generation, public_key, private_key, created_at, signs_from FROM signing_keys
         ORDER BY generation DESC LIMIT $1",
    )
    .bind(KEYS_MAX)
    .all()
    .await
}

/// The newest keys, the newest first, each with the time from which it signs: enough to see whether they changed.
///
/// # Errors
/// What the database refuses.
pub async fn marks(conn: &mut impl Conn) -> Result<Vec<(KeyId, Timestamp)>, db::Error> {
    conn.shared_sql("SELECT id, signs_from FROM signing_keys ORDER BY generation DESC LIMIT $1")
        .bind(KEYS_MAX)
        .all()
        .await
}

/// The newest keys, the newest first, for whoever changes them: a second one waits here.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx) -> Result<Vec<Row>, db::Error> {
    tx.shared_sql(db::lock!(
        "SELECT id, generation, public_key, private_key, created_at, signs_from FROM signing_keys
         ORDER BY generation DESC LIMIT $1"
    ))
    .bind(KEYS_MAX)
    .all()
    .await
}

/// Inserts a key, unless another node has inserted one of the same generation: then that one counts.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, row: &Row) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO signing_keys (id, generation, public_key, private_key, created_at, signs_from)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (generation) DO NOTHING",
    )
    .bind(row.id)
    .bind(row.generation)
    .bind(row.public_key.as_slice())
    .bind(row.private_key.as_slice())
    .bind(row.created_at)
    .bind(row.signs_from)
    .execute()
    .await?;
    Ok(())
}

/// Sets the time from which a key signs.
///
/// # Errors
/// What the database refuses.
pub async fn sign_from(tx: &mut Tx, id: KeyId, at: Timestamp) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE signing_keys SET signs_from = $1 WHERE id = $2")
        .bind(at)
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

/// Deletes a key: what it signed is refused from then on.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: KeyId) -> Result<(), db::Error> {
    tx.shared_sql("DELETE FROM signing_keys WHERE id = $1").bind(id).execute().await?;
    Ok(())
}
