//! Plans. They belong to no tenant and change only by migration.

use crate::db::{self, Conn};
use crate::payments::model::Plan;

/// The plans on sale after the place `after`, the cheapest first, each with its place.
///
/// # Errors
/// What the database refuses.
pub async fn listed(conn: &mut impl Conn, after: i64, limit: i64) -> Result<Vec<Plan>, db::Error> {
    conn.shared_sql(
        "SELECT id, position, name, description, kind, currency, monthly_minor, yearly_minor, agents_max,
                executions_max, listed
         FROM plans WHERE listed AND position > $1 ORDER BY position LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// The plan with this id, on sale or not.
///
/// # Errors
/// What the database refuses.
pub async fn get(conn: &mut impl Conn, id: &str) -> Result<Option<Plan>, db::Error> {
    conn.shared_sql(
        "SELECT id, position, name, description, kind, currency, monthly_minor, yearly_minor, agents_max,
                executions_max, listed
         FROM plans WHERE id = $1",
    )
    .bind(id.to_owned())
    .optional()
    .await
}
