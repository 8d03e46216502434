//! Who may read the audit log, and how much of it.
//!
//! Owners and administrators of an organisation read what concerns it; platform administrators, and the platform itself
//! at its command line, read all of it. An export is asked again for each part whether its reader may still go on.

use crate::audit::{self, EventId, Filter, Known, Reach, Report, Risk, Seen};
use crate::auth::{Caller, Error, access};
use crate::base::OrganizationId;
use crate::db::Scope;

use super::Service;

/// How much of the log a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditReach {
    /// What concerns the caller's own organisation.
    Own,
    /// What concerns an organisation.
    Organization(OrganizationId),
    /// All of it.
    Platform,
}

/// An export under way: who reads, how much, and how far it has come.
#[derive(Clone, Debug)]
pub struct Auditing {
    caller: Caller,
    reach: AuditReach,
    /// The last position that was told.
    pub position: i64,
    /// The hash there.
    pub hash: [u8; 32],
}

impl Service {
    /// Entries before `after`, the newest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::OrganizationNotFound`], [`Error::NotAnOwner`], [`Error::NotAnAdministrator`].
    pub async fn list_audit_events(
        &self,
        caller: &Caller,
        reach: AuditReach,
        filter: Filter,
        after: Option<EventId>,
        limit: i64,
    ) -> Result<Vec<Seen>, Error> {
        let reach = self.admit_auditor(caller, reach).await?;
        Ok(self.archive.list(reach, filter, after, limit).await?)
    }

    /// Verifies the log.
    ///
    /// # Errors
    /// As [`Self::list_audit_events`].
    pub async fn verify_audit_log(
        &self,
        caller: &Caller,
        reach: AuditReach,
        known: Option<Known>,
    ) -> Result<Report, Error> {
        let reach = self.admit_auditor(caller, reach).await?;
        Ok(self.archive.verify(reach, known).await?)
    }

    /// Begins an export with the batch that holds the position behind `after`. That somebody took the log away is
    /// itself an entry.
    ///
    /// # Errors
    /// As [`Self::list_audit_events`].
    pub async fn export_audit_events(
        &self,
        caller: Caller,
        reach: AuditReach,
        after: i64,
    ) -> Result<Auditing, Error> {
        let admitted = self.admit_auditor(&caller, reach).await?;
        let entry = caller.entry("audit.export_events").risk(Risk::Medium);
        let (scope, entry) = match admitted {
            Reach::Platform => (Scope::System("audit export"), entry),
            Reach::Organization(id) => (Scope::Organization(id), entry.of(id)),
        };
        let mut tx = self.db.begin(scope).await?;
        self.audit.record(&mut tx, entry).await?;
        tx.commit().await?;
        // Whole batches only: what is between two heads cannot be verified without its beginning.
        let first = self.archive.heads(after, 1).await?.into_iter().next();
        let position = first.map_or(after, |head| head.previous_position);
        let hash = self.archive.hash_at(position).await?.unwrap_or(audit::GENESIS);
        Ok(Auditing { caller, reach, position, hash })
    }

    /// The next batch of an export, if its reader may still have it; none at the end.
    ///
    /// # Errors
    /// As [`Self::list_audit_events`].
    pub async fn next_audit_batch(&self, auditing: &mut Auditing) -> Result<Option<audit::Batch>, Error> {
        let Auditing { caller, reach, position, hash } = auditing;
        let reach = self.admit_auditor(caller, *reach).await?;
        let batch = self.archive.batch(reach, *position).await?;
        if let Some(batch) = &batch {
            *position = batch.head.position;
            *hash = batch.head.hash.as_slice().try_into().unwrap_or(audit::GENESIS);
        }
        Ok(batch)
    }

    /// The signed heads after a position, for whoever may read the whole log.
    ///
    /// # Errors
    /// [`Error::NotAnAdministrator`].
    pub async fn audit_heads(
        &self,
        caller: &Caller,
        after: i64,
        limit: i64,
    ) -> Result<Vec<audit::Head>, Error> {
        self.admit_auditor(caller, AuditReach::Platform).await?;
        Ok(self.archive.heads(after, limit).await?)
    }

    async fn admit_auditor(&self, caller: &Caller, reach: AuditReach) -> Result<Reach, Error> {
        let organization = match reach {
            AuditReach::Platform => return super::operator::admit(caller).map(|()| Reach::Platform),
            AuditReach::Own => caller.personal()?,
            AuditReach::Organization(organization) => organization,
        };
        // The command line belongs to no organisation and reads every one.
        if caller.purpose().is_none() {
            let mut conn = self.db.conn(Scope::Organization(organization)).await?;
            access::owner(&mut conn, caller, organization).await?;
        }
        Ok(Reach::Organization(organization))
    }
}
