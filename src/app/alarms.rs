//! The alarms that payments raise, as the status of the platform tells of them.

use async_trait::async_trait;

use crate::db::{self, Db, Scope};
use crate::operations::{Alarm, Alarms};
use crate::payments::store::alarm;

const SCOPE: Scope = Scope::System("operations");

/// The alarms of payments.
pub(super) struct OfPayments {
    db: Db,
}

impl OfPayments {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }
}

#[async_trait]
impl Alarms for OfPayments {
    async fn newest(&self, limit: i64) -> Result<Vec<Alarm>, db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        let newest = alarm::newest(&mut conn, limit).await?;
        let told = newest.into_iter().map(|(kind, subject, occurrences)| Alarm {
            kind: kind.as_str(),
            subject,
            occurrences,
        });
        Ok(told.collect())
    }
}
