//! What whoever runs the platform does about conversations, beside a node that may be serving: looks at what was
//! reported, and has a person's messages taken back.

use super::EraseMessages;
use super::error::Error;
use super::model::conduct::{RESOLUTION_CHARS_MAX, Report, ReportId};
use super::store;
use crate::audit::{self, Risk};
use crate::auth::{self, Caller};
use crate::base::{AccountId, Violations, World, text};
use crate::db::{Db, Scope};
use crate::jobs;

const SCOPE: Scope = Scope::System("chat.operator");

/// Conversations, for operators.
#[derive(Clone)]
pub struct Operator {
    db: Db,
    world: World,
    audit: audit::Log,
}

impl Operator {
    /// Over these.
    #[must_use]
    pub const fn new(db: Db, world: World, audit: audit::Log) -> Self {
        Self { db, world, audit }
    }

    /// What people reported, the oldest first: what is open, or all of it.
    ///
    /// # Errors
    /// [`auth::Error::NotAnAdministrator`].
    pub async fn reports(&self, caller: &Caller, all: bool, limit: i64) -> Result<Vec<Report>, Error> {
        admit(caller)?;
        let mut conn = self.db.conn(SCOPE).await?;
        let reports = if all {
            store::reports(&mut conn, limit).await?
        } else {
            store::open_reports(&mut conn, limit).await?
        };
        Ok(reports)
    }

    /// Has everything that an account wrote taken back, in every organisation: a job does it, message by message. What
    /// others reported of it stays with the reports.
    ///
    /// # Errors
    /// [`auth::Error::NotAnAdministrator`].
    pub async fn erase_messages(&self, caller: &Caller, account_id: AccountId) -> Result<(), Error> {
        admit(caller)?;
        let mut tx = self.db.begin(SCOPE).await?;
        jobs::push(&mut tx, &self.world, None, &EraseMessages { account_id }).await?;
        let entry = caller.entry("chat.erase_messages").on("account", account_id).risk(Risk::High);
        self.audit.record(&mut tx, entry).await?;
        Ok(tx.commit().await?)
    }

    /// Notes what came of a report.
    ///
    /// # Errors
    /// [`auth::Error::NotAnAdministrator`]; [`Error::ReportNotFound`] when it is not open.
    pub async fn resolve(&self, caller: &Caller, id: ReportId, resolution: &str) -> Result<(), Error> {
        admit(caller)?;
        let mut violations = Violations::new();
        let resolution = text::line(&mut violations, "resolution", resolution, RESOLUTION_CHARS_MAX);
        violations.finish()?;
        let mut tx = self.db.begin(SCOPE).await?;
        let home = store::resolve_report(&mut tx, id, &resolution, self.world.now()).await?;
        let home = home.ok_or(Error::ReportNotFound)?;
        self.audit.record(&mut tx, caller.entry("chat.resolve_report").of(home).on("report", id)).await?;
        Ok(tx.commit().await?)
    }
}

fn admit(caller: &Caller) -> Result<(), Error> {
    let runs = caller.is_admin() || caller.purpose().is_some();
    if runs { Ok(()) } else { Err(auth::Error::NotAnAdministrator.into()) }
}
