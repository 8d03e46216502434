//! The keys that access tokens are signed with.

use crate::auth::keys::KeyId;
use crate::base::Timestamp;
use crate::db::{self, Conn, Tx};

/// Keys that are read at once. Older ones signed tokens that have long expired.
const KEYS_MAX: i64 = 16;

/// A signing key as it is stored.
#[derive(Clone, db::Row)]
pub struct Row {
    /// Its id, which tokens name as `kid`.
    pub id: KeyId,
    /// Its place in the order of keys; the highest signs.
    pub generation: i64,
    /// The public half.
    pub public_key: Vec<u8>,
    /// The private half, wrapped by the root key.
    pub private_key: Vec<u8>,
}

/// The newest keys, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn newest(conn: &mut impl Conn) -> Result<Vec<Row>, db::Error> {
    conn.shared_sql(
        "SELECT id, generation, public_key, private_key FROM signing_keys ORDER BY generation DESC LIMIT $1",
    )
    .bind(KEYS_MAX)
    .all()
    .await
}

/// Inserts a key, unless another node has inserted one of the same generation: then that one counts.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, row: &Row, at: Timestamp) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO signing_keys (id, generation, public_key, private_key, created_at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (generation) DO NOTHING",
    )
    .bind(row.id)
    .bind(row.generation)
    .bind(row.public_key.as_slice())
    .bind(row.private_key.as_slice())
    .bind(at)
    .execute()
    .await?;
    Ok(())
}
