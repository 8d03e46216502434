//! How the platform stands, and what becomes of dead jobs.

use std::sync::Arc;

use async_trait::async_trait;

use crate::audit::{self, Risk};
use crate::auth::keys::SeenKey;
use crate::auth::{self, Caller};
use crate::base::{Timestamp, Violations, World, text};
use crate::db::{self, Db, Engine, Level, Scope, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::jobs::store::dead::{self, Dead};
use crate::jobs::{self, JobId, State};

use super::Error;

const REASON_CHARS_MAX: usize = 500;
const KIND_CHARS_MAX: usize = 100;
const SCOPE: Scope = Scope::System("operations");
/// Where the list of dead jobs begins: behind whatever failed.
const END_OF_TIME: Timestamp = Timestamp::from_seconds(253_402_300_800);

/// How many alarms the status tells of.
pub const ALARMS_MAX: i64 = 20;

/// Something that an operator must look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What kind of thing.
    pub kind: &'static str,
    /// What it is about, such as a payment's id.
    pub subject: String,
    /// How often it was raised.
    pub occurrences: i64,
}

/// Whoever raises alarms. This module knows nothing of what they are about.
#[async_trait]
pub trait Alarms: Send + Sync + 'static {
    /// The newest alarms, at most `limit`.
    ///
    /// # Errors
    /// What the database refuses.
    async fn newest(&self, limit: i64) -> Result<Vec<Alarm>, db::Error>;
}

/// What the node says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Its version.
    pub version: &'static str,
    /// With whom payments are made.
    pub payment_mode: &'static str,
    /// Who may register.
    pub registration: &'static str,
}

/// How the platform stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// What the node says of itself.
    pub node: Options,
    /// Its time.
    pub at: Timestamp,
    /// The engine of the database.
    pub engine: Engine,
    /// How far its migrations are.
    pub level: Level,
    /// How many jobs are in each state.
    pub jobs: [(State, i64); 3],
    /// Since when the job that is due longest waits.
    pub oldest_due: Option<Timestamp>,
    /// The signing keys, the newest first.
    pub keys: Vec<SeenKey>,
    /// The end of the audit log.
    pub audit: audit::Tail,
    /// The newest alarms.
    pub alarms: Vec<Alarm>,
    /// Since when the node runs.
    pub started_at: Timestamp,
}

/// What operators see and decide.
pub struct Service {
    db: Db,
    world: World,
    auth: Arc<auth::Service>,
    audit: audit::Log,
    archive: audit::Archive,
    alarms: Box<dyn Alarms>,
    options: Options,
    started_at: Timestamp,
}

impl Service {
    /// Puts the service together.
    #[must_use]
    pub fn new(
        db: Db,
        world: World,
        auth: Arc<auth::Service>,
        alarms: Box<dyn Alarms>,
        options: Options,
    ) -> Self {
        let audit = auth.audit().clone();
        let archive = audit::Archive::new(db.clone(), audit.clone());
        let started_at = world.now();
        Self { db, world, auth, audit, archive, alarms, options, started_at }
    }

    /// How the platform stands.
    ///
    /// # Errors
    /// When the caller is no administrator.
    pub async fn status(&self, caller: &Caller) -> Result<Status, Error> {
        let keys = self.auth.signing_keys(caller)?;
        let at = self.world.now();
        let level = self.db.level().await?;
        let (jobs, oldest_due) = self.queue(at).await?;
        Ok(Status {
            node: self.options,
            at,
            engine: self.db.engine(),
            level,
            jobs,
            oldest_due,
            keys,
            audit: self.archive.tail().await?,
            alarms: self.alarms.newest(ALARMS_MAX).await?,
            started_at: self.started_at,
        })
    }

    async fn queue(&self, now: Timestamp) -> Result<([(State, i64); 3], Option<Timestamp>), db::Error> {
        let mut conn = self.db.conn(SCOPE).await?;
        let counted = jobs::store::count(&mut conn).await?;
        let of = |wanted| counted.iter().find(|(state, _)| *state == wanted).map_or(0, |(_, count)| *count);
        let jobs = [State::Ready, State::Running, State::Dead].map(|state| (state, of(state)));
        Ok((jobs, jobs::store::oldest_due(&mut conn, now).await?))
    }

    /// Dead jobs of a kind (of all kinds when it is empty), the latest to fail first, from behind `after`; at most
    /// `limit`.
    ///
    /// # Errors
    /// When the caller is no administrator; [`Error::Invalid`].
    pub async fn dead_jobs(
        &self,
        caller: &Caller,
        kind: &str,
        after: Option<(Timestamp, JobId)>,
        limit: i64,
    ) -> Result<Vec<Dead>, Error> {
        auth::service::admit(caller)?;
        let mut violations = Violations::new();
        let kind = text::optional_line(&mut violations, "kind", kind, KIND_CHARS_MAX);
        violations.finish()?;
        let after = after.unwrap_or((END_OF_TIME, JobId::from_uuid(uuid::Uuid::max())));
        let mut conn = self.db.conn(SCOPE).await?;
        Ok(dead::list(&mut conn, &kind, after, limit).await?)
    }

    /// Has a dead job tried again, with all its attempts before it.
    ///
    /// # Errors
    /// When the caller is no administrator; [`Error::JobNotFound`].
    pub async fn retry(&self, caller: &Caller, id: JobId, key: Option<&RequestKey>) -> Result<(), Error> {
        auth::service::admit(caller)?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        if !dead::retry(&mut tx, id, self.world.now()).await? {
            return Err(Error::JobNotFound);
        }
        self.record(&mut tx, caller.entry("operations.retry_dead_job").on("job", id)).await?;
        slot.store(&mut tx, &()).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a dead job up for good.
    ///
    /// # Errors
    /// When the caller is no administrator; [`Error::JobNotFound`]; [`Error::Invalid`].
    pub async fn discard(
        &self,
        caller: &Caller,
        id: JobId,
        reason: &str,
        key: Option<&RequestKey>,
    ) -> Result<(), Error> {
        auth::service::admit(caller)?;
        let mut violations = Violations::new();
        let reason = text::line(&mut violations, "reason", reason, REASON_CHARS_MAX);
        violations.finish()?;
        let mut tx = self.db.begin(SCOPE).await?;
        let slot = match idempotency::claim::<()>(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(()) => return Ok(()),
            Claim::New(slot) => slot,
        };
        let job = dead::get(&mut tx, id).await?.ok_or(Error::JobNotFound)?;
        if !dead::discard(&mut tx, id).await? {
            return Err(Error::JobNotFound);
        }
        let entry = caller.entry("operations.discard_dead_job").on("job", id).risk(Risk::Medium);
        let entry = entry.changed(&(&job.kind, &job.last_error), &reason);
        self.record(&mut tx, entry).await?;
        slot.store(&mut tx, &()).await?;
        tx.commit().await?;
        tracing::warn!(job = %id, kind = job.kind, reason, "a dead job was given up");
        Ok(())
    }

    async fn record(&self, tx: &mut Tx, entry: audit::Entry) -> Result<(), Error> {
        Ok(self.audit.record(tx, entry).await?)
    }
}
