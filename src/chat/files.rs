//! The bytes of attachments: where they are kept, who looks into them, and the jobs that see to both.
//!
//! A row is written before the first byte, and every key follows from it, so that no bytes are there that nobody knows.
//! They are removed by a job, and an hour later it is looked once more: a call that was under way may have written
//! some.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::error::Error;
use super::link::Links;
use super::model::attachment::{Attachment, AttachmentId, AttachmentState, REMOVED_FOR_GOOD_AFTER, Variant};
use super::model::plan::Allowed;
use super::model::{Actor, Change, Event, ThreadId};
use super::removal::HELD_PAUSE;
use super::service::{Service, not_held};
use super::store;
use crate::audit::Risk;
use crate::auth::Caller;
use crate::base::OrganizationId;
use crate::db::{self, Scope, Tx};
use crate::jobs::{self, Failure, Job, Lease, Registry};
use crate::scan::{Scanner, Verdict};
use crate::storage::{self, Storage};

/// How many files a node completes at once: each is held in memory, and a picture is unpacked there.
const COMPLETED_AT_ONCE: usize = 2;
/// How many attachments of a thread one transaction takes away.
const TAKEN_AT_ONCE: i64 = 100;

/// What an organisation may have. What follows from what it bought is not this domain's to know. It is asked before a
/// transaction begins: nobody waits for the answer with a lock.
#[async_trait]
pub trait Allowance: Send + Sync {
    /// What an organisation may have.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn allowed(&self, organization_id: OrganizationId) -> Result<Allowed, Error>;
}

/// What attachments need from outside.
pub struct Files {
    pub(super) storage: Storage,
    pub(super) scanner: Option<Arc<dyn Scanner>>,
    pub(super) allowance: Arc<dyn Allowance>,
    pub(super) links: Links,
    pub(super) completing: Semaphore,
    pub(super) counts: Counts,
}

/// What became of files since the node started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) completed: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) spoilt: AtomicU64,
    clean: AtomicU64,
    harmful: AtomicU64,
    unscanned: AtomicU64,
}

/// What became of files since the node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Files that were completed.
    pub completed: u64,
    /// How many bytes these are, with their previews.
    pub bytes: u64,
    /// Files that could not be completed, being other bytes than were announced or a picture that cannot be read.
    pub spoilt: u64,
    /// Files that do no harm.
    pub clean: u64,
    /// Files that do harm.
    pub harmful: u64,
    /// Times that the scanner came to no verdict.
    pub unscanned: u64,
}

impl Files {
    /// Files kept in `storage`. Without a scanner what is complete may be had at once.
    #[must_use]
    pub fn new(
        storage: Storage,
        scanner: Option<Arc<dyn Scanner>>,
        allowance: Arc<dyn Allowance>,
        links: Links,
    ) -> Self {
        let (completing, counts) = (Semaphore::new(COMPLETED_AT_ONCE), Counts::default());
        Self { storage, scanner, allowance, links, completing, counts }
    }

    fn tally(&self) -> Tally {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let Counts { completed, bytes, spoilt, clean, harmful, unscanned } = &self.counts;
        Tally {
            completed: count(completed),
            bytes: count(bytes),
            spoilt: count(spoilt),
            clean: count(clean),
            harmful: count(harmful),
            unscanned: count(unscanned),
        }
    }
}

/// Below which key everything of an attachment is kept.
fn folder(organization_id: OrganizationId, id: AttachmentId) -> String {
    format!("attachments/{organization_id}/{id}")
}

/// Below which key the parts of an attachment are kept.
pub(super) fn parts_key(organization_id: OrganizationId, id: AttachmentId) -> String {
    format!("{}/parts", folder(organization_id, id))
}

/// Under which key a part is kept.
pub(super) fn part_key(organization_id: OrganizationId, id: AttachmentId, number: i64) -> String {
    format!("{}/{number}", parts_key(organization_id, id))
}

/// Under which key a variant is kept.
pub(super) fn variant_key(organization_id: OrganizationId, id: AttachmentId, variant: Variant) -> String {
    format!("{}/{}", folder(organization_id, id), variant.as_str())
}

/// The parts of an attachment that was completed are no longer needed.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClearParts {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The attachment.
    pub attachment_id: AttachmentId,
}

impl Job for ClearParts {
    const KIND: &'static str = "chat.clear_parts";
    const ATTEMPTS_MAX: u32 = 20;
}

/// An attachment was completed and is to be looked into.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScanAttachment {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The attachment.
    pub attachment_id: AttachmentId,
}

impl Job for ScanAttachment {
    const KIND: &'static str = "chat.scan_attachment";
    const ATTEMPTS_MAX: u32 = 20;
}

/// An attachment was taken away.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveAttachment {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The attachment.
    pub attachment_id: AttachmentId,
    /// Whether its bytes were removed before, and only what came late is left.
    pub again: bool,
}

impl Job for RemoveAttachment {
    const KIND: &'static str = "chat.remove_attachment";
    const ATTEMPTS_MAX: u32 = 20;
}

/// Has the quick jobs of attachments run.
pub(super) fn register_quick(registry: &mut Registry, service: &Arc<Service>) {
    let chat = Arc::clone(service);
    registry.on::<ClearParts, _>(move |job, _lease| {
        let chat = Arc::clone(&chat);
        async move { chat.clear_parts(job).await }
    });
    let chat = Arc::clone(service);
    registry.on::<RemoveAttachment, _>(move |job, lease| {
        let chat = Arc::clone(&chat);
        async move { chat.remove_attachment(job, lease).await }
    });
}

/// Has files looked into, by jobs that are as slow as the scanner.
pub fn register(registry: &mut Registry, service: Arc<Service>) {
    registry.on::<ScanAttachment, _>(move |job, lease| {
        let chat = Arc::clone(&service);
        async move { chat.scan_attachment(job, lease).await }
    });
}

impl Service {
    /// What became of files since the node started.
    #[must_use]
    pub fn tally_files(&self) -> Tally {
        self.files().tally()
    }

    /// Takes away attachments of any organisation that waited to be sent for too long, at most `limit`; tells how many.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn expire_attachments(&self, limit: i64) -> Result<u64, db::Error> {
        let mut tx = self.db().begin(Scope::System("chat.expire_attachments")).await?;
        let taken = store::take_unsent(&mut tx, self.world().now(), limit).await?;
        for (organization_id, attachment_id) in &taken {
            let (organization_id, attachment_id) = (*organization_id, *attachment_id);
            let job = RemoveAttachment { organization_id, attachment_id, again: false };
            jobs::push(&mut tx, self.world(), Some(organization_id), &job).await?;
        }
        tx.commit().await?;
        Ok(u64::try_from(taken.len()).unwrap_or(u64::MAX))
    }

    /// Has the bytes of attachments removed that were just taken away.
    pub(super) async fn remove_after(
        &self,
        tx: &mut Tx,
        organization_id: OrganizationId,
        taken: Vec<AttachmentId>,
    ) -> Result<(), db::Error> {
        let job = |attachment_id| RemoveAttachment { organization_id, attachment_id, again: false };
        let jobs: Vec<_> = taken.into_iter().map(job).collect();
        jobs::push_all(tx, self.world(), Some(organization_id), &jobs).await
    }

    /// Takes some of the attachments of a deleted thread away; whether there were any.
    pub(super) async fn take_attachments(
        &self,
        organization_id: OrganizationId,
        thread_id: ThreadId,
    ) -> Result<bool, Error> {
        let mut tx = self.db().begin(Scope::Organization(organization_id)).await?;
        not_held(&mut tx, organization_id, self.world().now()).await?;
        let taken = store::take_from_thread(&mut tx, organization_id, thread_id, TAKEN_AT_ONCE).await?;
        let more = !taken.is_empty();
        self.remove_after(&mut tx, organization_id, taken).await?;
        tx.commit().await?;
        Ok(more)
    }

    async fn clear_parts(&self, job: ClearParts) -> Result<(), Failure> {
        let key = parts_key(job.organization_id, job.attachment_id);
        self.files().storage.clear(&key).await.map_err(retry)
    }

    async fn remove_attachment(&self, job: RemoveAttachment, lease: Lease) -> Result<(), Failure> {
        if self.keeps_bytes(&job).await.map_err(Failure::retry)? {
            return Err(Failure::postpone(HELD_PAUSE, Error::LegalHold));
        }
        let key = folder(job.organization_id, job.attachment_id);
        self.files().storage.clear(&key).await.map_err(retry)?;
        self.remove_bytes(job, &lease).await.map_err(|error| Failure::retry(error.chain()))
    }

    /// Whether the bytes of a file that went with a message are held. What nobody sent is no part of what was said.
    async fn keeps_bytes(&self, job: &RemoveAttachment) -> Result<bool, db::Error> {
        let mut conn = self.db().conn(Scope::Organization(job.organization_id)).await?;
        let file = store::attachment(&mut conn, job.organization_id, job.attachment_id).await?;
        let was_sent = file.is_some_and(|file| file.message_id.is_some());
        Ok(was_sent && store::policy(&mut conn, job.organization_id).await?.is_held())
    }

    /// Notes that the bytes are gone. The row stays until nobody can be writing any more.
    async fn remove_bytes(&self, job: RemoveAttachment, lease: &Lease) -> Result<(), db::Error> {
        let (home, id) = (job.organization_id, job.attachment_id);
        let mut tx = self.db().begin(Scope::Organization(home)).await?;
        if job.again {
            store::delete_attachment(&mut tx, home, id).await?;
        } else {
            let charged = store::discharge(&mut tx, home, id).await?;
            store::take_usage(&mut tx, home, charged).await?;
            let again = RemoveAttachment { again: true, ..job };
            let at = self.world().now().plus(REMOVED_FOR_GOOD_AFTER);
            jobs::push_at(&mut tx, self.world(), Some(home), &again, at).await?;
        }
        lease.complete(&mut tx).await?;
        tx.commit().await
    }

    async fn scan_attachment(&self, job: ScanAttachment, lease: Lease) -> Result<(), Failure> {
        let (home, id) = (job.organization_id, job.attachment_id);
        let mut conn = self.db().conn(Scope::Organization(home)).await.map_err(Failure::retry)?;
        let found = store::attachment(&mut conn, home, id).await.map_err(Failure::retry)?;
        drop(conn);
        let Some(file) = found.filter(|file| file.state == AttachmentState::Scanning) else { return Ok(()) };
        let verdict = match &self.files().scanner {
            // There was a scanner when it was completed, and there is none any more.
            None => Verdict::Clean,
            Some(scanner) => {
                let key = variant_key(home, id, Variant::Original);
                let bytes = self.files().storage.get(&key).await.map_err(retry)?;
                scanner.scan(bytes).await.map_err(|error| {
                    self.files().counts.unscanned.fetch_add(1, Ordering::Relaxed);
                    Failure::retry(error)
                })?
            }
        };
        self.settle(&file, verdict, &lease).await.map_err(Failure::retry)?;
        let counts = &self.files().counts;
        match verdict {
            Verdict::Clean => counts.clean.fetch_add(1, Ordering::Relaxed),
            Verdict::Harmful => {
                tracing::warn!(attachment = %id, organization = %home, "a file does harm and is given to nobody");
                counts.harmful.fetch_add(1, Ordering::Relaxed)
            }
        };
        Ok(())
    }

    /// Notes what a scan came to, and tells the thread when the file has gone with a message already. A sending locks
    /// the thread too: it sees the file either before or after.
    async fn settle(&self, file: &Attachment, verdict: Verdict, lease: &Lease) -> Result<(), Error> {
        let (home, thread_id) = (file.organization_id, file.thread_id);
        let refused = verdict == Verdict::Harmful;
        let state = if refused { AttachmentState::Refused } else { AttachmentState::Available };
        let mut tx = self.db().begin(Scope::Organization(home)).await?;
        let stands = store::lock_thread(&mut tx, home, thread_id).await?;
        let settled = store::settle(&mut tx, home, file.id, state).await?;
        if let Some(message_id) = settled.flatten().filter(|_| stands)
            && let Some(seq) = store::advance_quietly(&mut tx, home, thread_id).await?
        {
            let change = Change::AttachmentSettled { message_id, attachment_id: file.id, refused };
            let (actor, at) = (Actor::Account(file.account_id), self.world().now());
            self.record(&mut tx, home, Event { thread_id, seq, actor, at, change })?;
        }
        if refused && settled.is_some() {
            let entry = Caller::system("chat.scan").entry("chat.refuse_attachment").of(home);
            let entry = entry.on("attachment", file.id).risk(Risk::High);
            self.auth().audit().record(&mut tx, entry).await?;
        }
        lease.complete(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

/// The SHA-256 of bytes.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// All bytes in one piece.
pub(super) fn joined(parts: &[Bytes]) -> Bytes {
    parts.concat().into()
}

fn retry(error: storage::Error) -> Failure {
    match std::error::Error::source(&error) {
        Some(cause) => Failure::retry(format!("{error} ({cause})")),
        None => Failure::retry(error),
    }
}
