//! How files come in, and how they are given out.
//!
//! Bytes are never written or read while a transaction is open. What is to be written is noted first, then written, and
//! then noted as written: whoever repeats a call goes on where it stopped, on whichever node.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Service, admitted};
use crate::auth::Caller;
use crate::base::{AccountId, OrganizationId, Timestamp, Violations};
use crate::chat::error::Error;
use crate::chat::files::{ClearParts, ScanAttachment, digest, joined, part_key, variant_key};
use crate::chat::imaging;
use crate::chat::link::Target;
use crate::chat::model::attachment::{
    Announced, Attached, Attachment, AttachmentId, AttachmentState, KEPT_UNSENT, LINK_TTL, NoLink,
    PART_BYTES, Variant,
};
use crate::chat::model::member::ThreadRole;
use crate::chat::model::sniff::{self, Kind};
use crate::chat::model::{MessageId, Thread, ThreadId};
use crate::chat::store;
use crate::db::{Conn, Scope, Session, Tx};
use crate::idempotency::{self, Claim, RequestKey};
use crate::jobs;
use crate::storage::{self, Chunks};

/// How many parts are read at once.
const READ_AT_ONCE: usize = 8;

/// An attachment, and what is still to come of it.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The attachment.
    pub attachment: Attachment,
    /// The numbers of the parts that are missing; none once it is complete.
    pub missing: Vec<i64>,
}

/// A link to an attachment.
#[derive(Clone, Debug)]
pub struct Link {
    /// The address.
    pub url: String,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// What a link leads to.
pub struct Download {
    /// What it is called.
    pub file_name: String,
    /// What the bytes are.
    pub media_type: String,
    /// How many there are in all.
    pub size_bytes: u64,
    /// Whether a browser may show it in place: only what was written anew here.
    pub shown: bool,
    target: Target,
}

/// What a file turned out to be.
struct Made {
    media_type: &'static str,
    original: Bytes,
    preview: Option<(Bytes, &'static str)>,
}

impl Service {
    /// Begins an attachment. A repetition tells how far it has come.
    pub async fn create_attachment(
        &self,
        caller: &Caller,
        announced: Announced,
        key: Option<&RequestKey>,
    ) -> Result<Upload, Error> {
        let account = caller.account()?;
        let home = self.locate_thread(announced.thread_id).await?;
        let allowed = self.allowed(home).await?;
        let mut tx = self.begin_in(home).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(id) => {
                let home = home.ok_or(Error::AttachmentNotFound)?;
                return self.own(&mut tx, caller, home, id).await;
            }
            Claim::New(slot) => slot,
        };
        let place = home.map(|home| (home, announced.thread_id));
        let home = admitted(&mut tx, caller, place, Error::ThreadNotFound).await?;
        let member = store::member(&mut tx, home, announced.thread_id, account).await?;
        if member.ok_or(Error::ThreadNotFound)?.role == ThreadRole::Reader {
            return Err(Error::ReadOnly);
        }
        let limits = allowed.ok_or(Error::ThreadNotFound)?.files;
        if announced.size_bytes > limits.file_bytes_max {
            return Err(Error::AttachmentTooLarge(limits.file_bytes_max));
        }
        if store::add_usage(&mut tx, home, announced.size_bytes).await? > limits.stored_bytes_max {
            return Err(Error::StorageFull(limits.stored_bytes_max));
        }
        let attachment = self.begun(account, home, announced);
        store::insert_attachment(&mut tx, &attachment).await?;
        slot.store(&mut tx, &attachment.id).await?;
        tx.commit().await?;
        Ok(Upload { missing: (1..=attachment.parts()).collect(), attachment })
    }

    fn begun(&self, account: AccountId, home: OrganizationId, announced: Announced) -> Attachment {
        let now = self.world.now();
        Attachment {
            id: self.world.id(),
            organization_id: home,
            thread_id: announced.thread_id,
            account_id: account,
            message_id: None,
            file_name: announced.file_name,
            size_bytes: announced.size_bytes,
            sha256: announced.sha256.to_vec(),
            part_bytes: PART_BYTES,
            state: AttachmentState::Uploading,
            media_type: None,
            stored_bytes: None,
            preview_type: None,
            preview_bytes: None,
            charged_bytes: announced.size_bytes,
            created_at: now,
            expires_at: now.plus(KEPT_UNSENT),
        }
    }

    /// Takes a part. The same part again changes nothing; what was said to be in it stands.
    pub async fn upload_part(
        &self,
        caller: &Caller,
        id: AttachmentId,
        number: i64,
        bytes: Bytes,
    ) -> Result<Upload, Error> {
        let home = self.locate_attachment(id).await?.ok_or(Error::AttachmentNotFound)?.0;
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        let upload = self.own(&mut tx, caller, home, id).await?;
        check_part(&upload.attachment, number, &bytes)?;
        if upload.attachment.state != AttachmentState::Uploading {
            return Ok(upload);
        }
        store::announce_part(&mut tx, home, id, number, digest(&bytes)).await?;
        let (said, stored) =
            store::part(&mut tx, home, id, number).await?.ok_or(Error::AttachmentNotFound)?;
        if said != digest(&bytes) {
            return Err(Error::PartDiffers);
        }
        if stored {
            return Ok(upload);
        }
        tx.commit().await?;
        self.files().storage.put(&part_key(home, id, number), bytes).await?;
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        store::keep_part(&mut tx, home, id, number).await?;
        let upload = self.own(&mut tx, caller, home, id).await?;
        tx.commit().await?;
        Ok(upload)
    }

    /// Puts the parts together, looks what they are, and has them looked into. Completing twice changes nothing.
    pub async fn complete_attachment(&self, caller: &Caller, id: AttachmentId) -> Result<Upload, Error> {
        let home = self.locate_attachment(id).await?.ok_or(Error::AttachmentNotFound)?.0;
        // One place for each that is under way: what follows is held in memory.
        let _place = self.files().completing.acquire().await.map_err(|_| Error::Broken(None))?;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        let upload = self.own(&mut conn, caller, home, id).await?;
        drop(conn);
        if upload.attachment.state != AttachmentState::Uploading {
            return Ok(upload);
        }
        if !upload.missing.is_empty() {
            return Err(Error::AttachmentIncomplete);
        }
        let bytes = match self.put_together(&upload.attachment).await {
            // Somebody else has completed it meanwhile, and its parts are gone.
            Err(storage::Error::NotFound) => return self.completed_before(caller, home, id).await,
            bytes => bytes?,
        };
        if digest(&bytes).as_slice() != upload.attachment.sha256 {
            return self.spoilt(&upload.attachment, Error::ContentDiffers).await;
        }
        let made = tokio::task::spawn_blocking(move || make(bytes)).await.map_err(|_| Error::Broken(None))?;
        match made {
            Ok(made) => self.keep(upload.attachment, made, caller).await,
            Err(error) => self.spoilt(&upload.attachment, error).await,
        }
    }

    /// Has what can never be completed go: no other bytes come for it. It counts for nothing from now on.
    async fn spoilt(&self, file: &Attachment, why: Error) -> Result<Upload, Error> {
        let (home, id) = (file.organization_id, file.id);
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        if store::take_spoilt(&mut tx, home, id).await? {
            let charged = store::discharge(&mut tx, home, id).await?;
            store::take_usage(&mut tx, home, charged).await?;
            self.remove_after(&mut tx, home, vec![id]).await?;
            tx.commit().await?;
            self.files().counts.spoilt.fetch_add(1, Ordering::Relaxed);
        }
        Err(why)
    }

    async fn put_together(&self, file: &Attachment) -> Result<Bytes, storage::Error> {
        let (home, id) = (file.organization_id, file.id);
        let keys = (1..=file.parts()).map(|number| part_key(home, id, number));
        let read = |key: String| async move { self.files().storage.get(&key).await };
        let parts: Vec<Bytes> = stream::iter(keys.map(read)).buffered(READ_AT_ONCE).try_collect().await?;
        Ok(joined(&parts))
    }

    async fn completed_before(
        &self,
        caller: &Caller,
        home: OrganizationId,
        id: AttachmentId,
    ) -> Result<Upload, Error> {
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        let upload = self.own(&mut conn, caller, home, id).await?;
        if upload.attachment.state == AttachmentState::Uploading {
            return Err(storage::Error::NotFound.into());
        }
        Ok(upload)
    }

    /// Writes what a file turned out to be, and then notes it.
    async fn keep(&self, file: Attachment, made: Made, caller: &Caller) -> Result<Upload, Error> {
        let (home, id, storage) = (file.organization_id, file.id, &self.files().storage);
        let stored = len(&made.original);
        let preview = made.preview.as_ref().map(|(bytes, kind)| (len(bytes), *kind));
        storage.put(&variant_key(home, id, Variant::Original), made.original).await?;
        if let Some((bytes, _)) = made.preview {
            storage.put(&variant_key(home, id, Variant::Preview), bytes).await?;
        }
        let scanned = self.files().scanner.is_some();
        let attachment = Attachment {
            state: if scanned { AttachmentState::Scanning } else { AttachmentState::Available },
            media_type: Some(made.media_type.to_owned()),
            stored_bytes: Some(stored),
            preview_type: preview.map(|(_, kind)| kind.to_owned()),
            preview_bytes: preview.map(|(bytes, _)| bytes),
            charged_bytes: stored.saturating_add(preview.map_or(0, |(bytes, _)| bytes)),
            ..file
        };
        let mut tx = self.db.begin(Scope::Organization(home)).await?;
        if !store::complete(&mut tx, &attachment).await? {
            // Dropped before another is begun: on SQLite there is one writer.
            drop(tx);
            return self.completed_before(caller, home, id).await;
        }
        store::take_usage(&mut tx, home, file.charged_bytes).await?;
        store::add_usage(&mut tx, home, attachment.charged_bytes).await?;
        store::forget_parts(&mut tx, home, id).await?;
        let clear = ClearParts { organization_id: home, attachment_id: id };
        jobs::push(&mut tx, &self.world, Some(home), &clear).await?;
        if scanned {
            let scan = ScanAttachment { organization_id: home, attachment_id: id };
            jobs::push(&mut tx, &self.world, Some(home), &scan).await?;
        }
        tx.commit().await?;
        let counts = &self.files().counts;
        counts.completed.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(u64::try_from(attachment.charged_bytes).unwrap_or(0), Ordering::Relaxed);
        Ok(Upload { attachment, missing: Vec::new() })
    }

    /// A link to an attachment of a message that the caller sees, or of their own.
    pub async fn attachment_link(
        &self,
        caller: &Caller,
        id: AttachmentId,
        variant: Variant,
    ) -> Result<Link, Error> {
        let account = caller.account()?;
        let place = self.locate_attachment(id).await?;
        let home = place.ok_or(Error::AttachmentNotFound)?.0;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        let file = self.seen_attachment(&mut conn, caller, home, id).await?;
        let now = self.world.now();
        file.link(account, variant, now).map_err(|why| match why {
            NoLink::Unseen => Error::AttachmentNotFound,
            NoLink::Incomplete => Error::AttachmentIncomplete,
            NoLink::BeingScanned => Error::AttachmentBeingScanned,
            NoLink::Refused => Error::AttachmentRefused,
            NoLink::NoPreview => Error::NoPreview,
        })?;
        let expires_at = now.plus(LINK_TTL);
        let target = Target { organization_id: home, attachment_id: id, variant, expires_at };
        Ok(Link { url: self.files().links.url(target), expires_at })
    }

    /// What a link leads to; nothing when it is none of ours, has expired, or leads to what is not given out any more.
    pub async fn open_link(&self, token: &str) -> Result<Option<Download>, Error> {
        let Some(target) = self.files().links.open(token, self.world.now()) else { return Ok(None) };
        let home = target.organization_id;
        let mut conn = self.db.conn(Scope::Organization(home)).await?;
        let Some(file) = store::attachment(&mut conn, home, target.attachment_id).await? else {
            return Ok(None);
        };
        let Some((media_type, size_bytes)) = file.served(target.variant) else { return Ok(None) };
        Ok(Some(Download {
            shown: sniff::Picture::of(media_type).is_some(),
            media_type: media_type.to_owned(),
            size_bytes: u64::try_from(size_bytes).unwrap_or(0),
            file_name: file.file_name,
            target,
        }))
    }

    /// The bytes of what a link leads to, or a part of them.
    pub async fn download(&self, what: &Download, part: Option<Range<u64>>) -> Result<Chunks, Error> {
        let Target { organization_id, attachment_id, variant, .. } = what.target;
        Ok(self.files().storage.read(&variant_key(organization_id, attachment_id, variant), part).await?)
    }

    /// What a message that is being written tells of its attachments: the sender's own, complete, and for this thread.
    /// Whether another message has them, [`Self::attach`] finds out.
    pub(super) async fn to_attach(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        thread: &Thread,
        ids: &[AttachmentId],
    ) -> Result<Vec<Attached>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let account = caller.account()?;
        let found = store::attachments(tx, thread.organization_id, ids).await?;
        let mut attached = Vec::new();
        for id in ids {
            let file = found.iter().find(|file| file.id == *id).filter(|file| {
                file.thread_id == thread.id
                    && file.account_id == account
                    && file.state != AttachmentState::Removed
                    && !file.is_overdue(self.world.now())
            });
            let file = file.ok_or(Error::AttachmentNotFound)?;
            if file.state == AttachmentState::Refused {
                return Err(Error::AttachmentRefused);
            }
            attached.push(file.attached().ok_or(Error::AttachmentIncomplete)?);
        }
        Ok(attached)
    }

    /// Gives a message its attachments, once.
    pub(super) async fn attach(
        &self,
        tx: &mut Tx,
        home: OrganizationId,
        message_id: MessageId,
        ids: &[AttachmentId],
    ) -> Result<(), Error> {
        if ids.is_empty() || store::attach(tx, home, message_id, ids).await? == ids.len() {
            return Ok(());
        }
        Err(Error::AttachmentUsed)
    }

    async fn locate_attachment(&self, id: AttachmentId) -> Result<Option<(OrganizationId, ThreadId)>, Error> {
        let mut conn: Session = self.db.conn(super::LOCATE).await?;
        Ok(store::home_of_attachment(&mut conn, id).await?)
    }

    /// An attachment of a thread that the caller is a member of.
    async fn seen_attachment(
        &self,
        conn: &mut impl Conn,
        caller: &Caller,
        home: OrganizationId,
        id: AttachmentId,
    ) -> Result<Attachment, Error> {
        let file = store::attachment(conn, home, id).await?.ok_or(Error::AttachmentNotFound)?;
        let place = Some((home, file.thread_id));
        let home = admitted(conn, caller, place, Error::AttachmentNotFound).await?;
        let member = store::member(conn, home, file.thread_id, caller.account()?).await?;
        member.map(|_| file).ok_or(Error::AttachmentNotFound)
    }

    /// An attachment that the caller brought, and what is still to come of it.
    async fn own(
        &self,
        conn: &mut impl Conn,
        caller: &Caller,
        home: OrganizationId,
        id: AttachmentId,
    ) -> Result<Upload, Error> {
        let file = self.seen_attachment(conn, caller, home, id).await?;
        let gone = file.state == AttachmentState::Removed || file.is_overdue(self.world.now());
        if file.account_id != caller.account()? || gone {
            return Err(Error::AttachmentNotFound);
        }
        if file.state != AttachmentState::Uploading {
            return Ok(Upload { attachment: file, missing: Vec::new() });
        }
        let stored = store::stored_parts(conn, home, id).await?;
        let missing = (1..=file.parts()).filter(|number| stored.binary_search(number).is_err()).collect();
        Ok(Upload { attachment: file, missing })
    }
}

fn check_part(file: &Attachment, number: i64, bytes: &Bytes) -> Result<(), Violations> {
    let mut violations = Violations::new();
    match file.part_len(number) {
        None => violations.add("part_number", format!("must be from 1 to {}", file.parts())),
        Some(length) => {
            violations.check(
                len(bytes) == length,
                "data",
                format!("must be the {length} bytes of this part"),
            );
        }
    }
    violations.finish()
}

/// Looks what bytes are, and writes a picture anew.
fn make(bytes: Bytes) -> Result<Made, Error> {
    match sniff::sniff(&bytes) {
        Kind::Other(media_type) => Ok(Made { media_type, original: bytes, preview: None }),
        Kind::Picture(picture) => {
            let remade = imaging::remake(&bytes, picture).map_err(|error| {
                tracing::debug!(%error, "a picture was refused");
                Error::PictureUnreadable
            })?;
            Ok(Made {
                media_type: picture.media_type(),
                original: remade.bytes.into(),
                preview: Some((remade.preview.into(), remade.preview_type)),
            })
        }
    }
}

fn len(bytes: &Bytes) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
