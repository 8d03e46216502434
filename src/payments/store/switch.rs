//! The switch of checkouts: at most one row, which every checkout reads, so that all nodes obey at once.

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::db::{self, Conn, Tx};

/// How the switch stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, db::Row)]
pub struct Switch {
    /// Whether checkouts may be started.
    pub open: bool,
    /// Why it was set so.
    pub reason: String,
    /// When it was set.
    pub changed_at: Timestamp,
}

/// How the switch stands; none when nobody ever set it, which means open.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn) -> Result<Option<Switch>, db::Error> {
    conn.shared_sql("SELECT open, reason, changed_at FROM checkout_switch WHERE id = 1").optional().await
}

/// Sets the switch.
///
/// # Errors
/// What the database refuses.
pub async fn set(tx: &mut Tx, switch: &Switch) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO checkout_switch (id, open, reason, changed_at) VALUES (1, $1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET open = excluded.open, reason = excluded.reason,
                changed_at = excluded.changed_at",
    )
    .bind(switch.open)
    .bind(switch.reason.clone())
    .bind(switch.changed_at)
    .execute()
    .await?;
    Ok(())
}
