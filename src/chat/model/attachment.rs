//! Files that go with messages: how they come in, in which states they stand, and who may have a link to them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MessageId, ThreadId};
use crate::base::{AccountId, Id, OrganizationId, Timestamp, Violations, text};
use crate::db;

/// The id of an attachment.
pub type AttachmentId = Id<Attachment>;

/// How many bytes a part has; the last one has what is left.
pub const PART_BYTES: i64 = 256 << 10;
/// The largest file, whatever was bought, in bytes: a node holds it in memory while it is completed.
pub const FILE_BYTES_MAX: i64 = 50 << 20;
/// The longest name of a file, in characters.
pub const FILE_NAME_CHARS_MAX: usize = 200;
/// How many attachments a message has at most.
pub const PER_MESSAGE_MAX: usize = 10;
/// How long a file may wait to be completed and sent.
pub const KEPT_UNSENT: Duration = Duration::from_hours(24);
/// How long a link works.
pub const LINK_TTL: Duration = Duration::from_mins(5);
/// How long after its bytes went an attachment is looked at once more: longer than any call that may still write some.
pub const REMOVED_FOR_GOOD_AFTER: Duration = Duration::from_hours(1);

db::words! {
    /// Where an attachment stands.
    pub enum AttachmentState {
        /// Its bytes are coming in.
        Uploading = "uploading",
        /// Complete; whether it does harm is not known yet.
        Scanning = "scanning",
        /// To be had.
        Available = "available",
        /// It does harm: nobody gets it.
        Refused = "refused",
        /// Gone; its bytes are being removed.
        Removed = "removed",
    }
}

/// A file that goes with a message, or is to.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Attachment {
    /// The id.
    pub id: AttachmentId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The thread that it may be sent in.
    pub thread_id: ThreadId,
    /// Who brought it.
    pub account_id: AccountId,
    /// The message that it went with.
    pub message_id: Option<MessageId>,
    /// What it is called.
    pub file_name: String,
    /// How many bytes come in.
    pub size_bytes: i64,
    /// Their SHA-256.
    pub sha256: Vec<u8>,
    /// How many bytes a part has.
    pub part_bytes: i64,
    /// Where it stands.
    pub state: AttachmentState,
    /// What its bytes are; none before it is complete.
    pub media_type: Option<String>,
    /// How many bytes are given out: an image is written anew.
    pub stored_bytes: Option<i64>,
    /// What the preview's bytes are, when there is one.
    pub preview_type: Option<String>,
    /// How many bytes the preview has.
    pub preview_bytes: Option<i64>,
    /// How many bytes it counts for in what its organisation stores.
    pub charged_bytes: i64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it is removed if it was not sent.
    pub expires_at: Timestamp,
}

/// What a message tells of an attachment. Whether it is to be had is asked with its link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The attachment.
    pub id: AttachmentId,
    /// What it is called.
    pub file_name: String,
    /// What its bytes are, by themselves.
    pub media_type: String,
    /// How many there are.
    pub size_bytes: i64,
    /// Whether there is a scaled picture of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preview: bool,
}

/// What is to be had of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Variant {
    /// The file.
    Original,
    /// A scaled picture of it.
    Preview,
}

impl Variant {
    /// The word for it in a key of the storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Preview => "preview",
        }
    }
}

/// Why there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLink {
    /// For whoever asks there is no such attachment.
    Unseen,
    /// Not all of it has come in.
    Incomplete,
    /// Whether it does harm is not known yet.
    BeingScanned,
    /// It does harm.
    Refused,
    /// There is no picture of it.
    NoPreview,
}

impl Attachment {
    /// How many parts there are.
    #[must_use]
    pub fn parts(&self) -> i64 {
        parts(self.size_bytes, self.part_bytes)
    }

    /// How many bytes a part has, counted from 1; none when there is no such part.
    #[must_use]
    pub fn part_len(&self, number: i64) -> Option<i64> {
        let before = number.checked_sub(1)?.checked_mul(self.part_bytes)?;
        let left = self.size_bytes.checked_sub(before).filter(|left| *left > 0)?;
        (number >= 1).then(|| left.min(self.part_bytes))
    }

    /// Whether it waits to be sent for too long.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.message_id.is_none() && self.expires_at <= now
    }

    /// Whether a member of its thread may have a link to it at `now`. Until it is known that it does no harm nobody may
    /// but whoever brought it, and what was not sent is nobody else's business.
    ///
    /// # Errors
    /// Why not.
    pub fn link(&self, account: AccountId, variant: Variant, now: Timestamp) -> Result<(), NoLink> {
        let (own, sent) = (self.account_id == account, self.message_id.is_some());
        if self.state == AttachmentState::Removed || self.is_overdue(now) || !(own || sent) {
            return Err(NoLink::Unseen);
        }
        match self.state {
            AttachmentState::Uploading => return Err(NoLink::Incomplete),
            AttachmentState::Refused => return Err(NoLink::Refused),
            AttachmentState::Scanning if !own => return Err(NoLink::BeingScanned),
            AttachmentState::Scanning | AttachmentState::Available | AttachmentState::Removed => {}
        }
        if variant == Variant::Preview && self.preview_type.is_none() {
            return Err(NoLink::NoPreview);
        }
        Ok(())
    }

    /// What is given out of it: what the bytes are and how many; none when it is not to be had.
    #[must_use]
    pub fn served(&self, variant: Variant) -> Option<(&str, i64)> {
        if !matches!(self.state, AttachmentState::Scanning | AttachmentState::Available) {
            return None;
        }
        let (kind, bytes) = match variant {
            Variant::Original => (&self.media_type, self.stored_bytes),
            Variant::Preview => (&self.preview_type, self.preview_bytes),
        };
        kind.as_deref().zip(bytes)
    }

    /// What a message tells of it; nothing before it is complete.
    #[must_use]
    pub fn attached(&self) -> Option<Attached> {
        Some(Attached {
            id: self.id,
            file_name: self.file_name.clone(),
            media_type: self.media_type.clone()?,
            size_bytes: self.stored_bytes?,
            preview: self.preview_type.is_some(),
        })
    }
}

fn parts(size_bytes: i64, part_bytes: i64) -> i64 {
    let whole = size_bytes.checked_div(part_bytes).unwrap_or(0);
    whole.saturating_add(i64::from(whole.saturating_mul(part_bytes) < size_bytes))
}

/// A file that is to come in, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The thread that it is to be sent in.
    pub thread_id: ThreadId,
    /// What it is called.
    pub file_name: String,
    /// How many bytes it has.
    pub size_bytes: i64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

impl Announced {
    /// Checks what came in, and notes everything that is wrong with it.
    pub fn parse(
        violations: &mut Violations,
        thread_id: &str,
        file_name: &str,
        size_bytes: i64,
        sha256: &[u8],
    ) -> Option<Self> {
        let before = violations.len();
        let thread_id = text::id(violations, "thread_id", thread_id);
        let file_name = self::file_name(violations, file_name);
        violations.check(size_bytes >= 1, "size_bytes", "must be at least 1");
        let sha256 = sha256.try_into().ok();
        violations.check(sha256.is_some(), "sha256", "must be the 32 bytes of the file's SHA-256");
        (violations.len() == before)
            .then_some(())
            .and_then(|()| Some(Self { thread_id: thread_id?, file_name, size_bytes, sha256: sha256? }))
    }
}

/// A name is shown to people and given to their systems: it is no path, and nothing in it hides or turns letters.
fn file_name(violations: &mut Violations, name: &str) -> String {
    let name = text::line(violations, "file_name", name, FILE_NAME_CHARS_MAX);
    let is_path = name.contains(['/', '\\']) || matches!(name.as_str(), "." | "..");
    if is_path || name.chars().any(|letter| !letter.is_control() && text::is_hidden(letter)) {
        violations.add_hostile("file_name", "must be the bare name of a file, without hidden characters");
    }
    name
}

/// Reads the attachments that a message is to have, and notes everything that is wrong with them.
pub fn ids(violations: &mut Violations, named: &[String]) -> Vec<AttachmentId> {
    if named.len() > PER_MESSAGE_MAX {
        violations.add_hostile("attachment_ids", format!("must be at most {PER_MESSAGE_MAX}"));
        return Vec::new();
    }
    let mut read = Vec::new();
    for (index, id) in named.iter().enumerate() {
        let field = format!("attachment_ids[{index}]");
        let Some(id) = text::id(violations, &field, id) else { continue };
        violations.check(!read.contains(&id), field, "must not be named twice");
        read.push(id);
    }
    read
}

/// How much an organisation may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest file, in bytes.
    pub file_bytes_max: i64,
    /// All its files together, in bytes.
    pub stored_bytes_max: i64,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn attachment(state: AttachmentState) -> Attachment {
        Attachment {
            id: Id::from_uuid(Uuid::from_u128(1)),
            organization_id: Id::from_uuid(Uuid::from_u128(2)),
            thread_id: Id::from_uuid(Uuid::from_u128(3)),
            account_id: Id::from_uuid(Uuid::from_u128(4)),
            message_id: None,
            file_name: "a.png".to_owned(),
            size_bytes: 10,
            sha256: vec![0; 32],
            part_bytes: 4,
            state,
            media_type: Some("image/png".to_owned()),
            stored_bytes: Some(9),
            preview_type: None,
            preview_bytes: None,
            charged_bytes: 9,
            created_at: NOW,
            expires_at: NOW.plus(KEPT_UNSENT),
        }
    }

    #[test]
    fn a_file_is_cut_into_parts_of_which_the_last_is_short() {
        let lengths = |size_bytes| {
            let file = Attachment { size_bytes, ..attachment(AttachmentState::Uploading) };
            let lengths: Vec<_> = (1..=file.parts()).map(|number| file.part_len(number).unwrap()).collect();
            assert_eq!(file.part_len(0).or(file.part_len(-1)).or(file.part_len(file.parts() + 1)), None);
            assert_eq!(file.part_len(i64::MAX).or(file.part_len(i64::MIN)), None);
            lengths
        };
        assert_eq!(lengths(10), [4, 4, 2]);
        assert_eq!(lengths(8), [4, 4]);
        assert_eq!(lengths(1), [1]);
    }

    proptest::proptest! {
        #[test]
        fn the_parts_make_the_file(size_bytes in 1..FILE_BYTES_MAX, part_bytes in 1_000..PART_BYTES) {
            let file = Attachment { size_bytes, part_bytes, ..attachment(AttachmentState::Uploading) };
            let sum: i64 = (1..=file.parts()).map(|number| file.part_len(number).unwrap()).sum();
            proptest::prop_assert_eq!(sum, size_bytes);
        }
    }

    #[test]
    fn who_may_have_a_link() {
        use AttachmentState::{Available, Refused, Removed, Scanning, Uploading};
        let (own, other) = (attachment(Available).account_id, Id::from_uuid(Uuid::from_u128(9)));
        let sent = Some(Id::from_uuid(Uuid::from_u128(5)));
        for (state, message_id, by_owner, by_other) in [
            (Uploading, None, Err(NoLink::Incomplete), Err(NoLink::Unseen)),
            (Scanning, None, Ok(()), Err(NoLink::Unseen)),
            (Available, None, Ok(()), Err(NoLink::Unseen)),
            (Refused, None, Err(NoLink::Refused), Err(NoLink::Unseen)),
            (Removed, None, Err(NoLink::Unseen), Err(NoLink::Unseen)),
            (Scanning, sent, Ok(()), Err(NoLink::BeingScanned)),
            (Available, sent, Ok(()), Ok(())),
            (Refused, sent, Err(NoLink::Refused), Err(NoLink::Refused)),
            (Removed, sent, Err(NoLink::Unseen), Err(NoLink::Unseen)),
        ] {
            let file = Attachment { message_id, ..attachment(state) };
            assert_eq!(file.link(own, Variant::Original, NOW), by_owner, "{state:?} {message_id:?}");
            assert_eq!(file.link(other, Variant::Original, NOW), by_other, "{state:?} {message_id:?}");
        }
        assert_eq!(attachment(Available).link(own, Variant::Preview, NOW), Err(NoLink::NoPreview));
        let late = NOW.plus(KEPT_UNSENT);
        assert_eq!(attachment(Available).link(own, Variant::Original, late), Err(NoLink::Unseen));
        assert_eq!(
            Attachment { message_id: sent, ..attachment(Available) }.link(other, Variant::Original, late),
            Ok(())
        );
    }

    fn problems(name: &str, size_bytes: i64, sha256: &[u8]) -> Vec<String> {
        let mut violations = Violations::new();
        let read = Announced::parse(
            &mut violations,
            "0198c0de-0000-7000-8000-00000000000a",
            name,
            size_bytes,
            sha256,
        );
        assert_eq!(read.is_some(), violations.is_empty());
        violations.as_slice().iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn a_name_is_no_path_and_hides_nothing() {
        for name in ["a.png", "Über uns (2).pdf", "報告書.docx", ".profile", "a..b"] {
            assert!(problems(name, 1, &[0; 32]).is_empty(), "{name}");
        }
        for name in [
            "",
            " ",
            "../etc/passwd",
            "C:\\x",
            ".",
            "..",
            "a\nb",
            "invoice\u{202e}fdp.exe",
            "a\u{200b}",
            "a\0",
        ] {
            let found = problems(name, 1, &[0; 32]);
            assert!(
                !found.is_empty() && found.iter().all(|field| field == "file_name"),
                "{name:?}: {found:?}"
            );
        }
        assert_eq!(problems(&"é".repeat(FILE_NAME_CHARS_MAX + 1), 1, &[0; 32]), ["file_name"]);
        assert_eq!(problems("a", 0, &[0; 31]), ["size_bytes", "sha256"]);
    }

    #[test]
    fn attachments_of_a_message_are_few_and_named_once() {
        let id = |number: u128| Uuid::from_u128(number).to_string();
        let mut violations = Violations::new();
        assert_eq!(ids(&mut violations, &[id(1), id(2)]).len(), 2);
        assert!(violations.is_empty());
        ids(&mut violations, &[id(1), id(1), String::new(), "x".to_owned()]);
        let fields: Vec<_> = violations.as_slice().iter().map(|violation| &*violation.field).collect();
        assert_eq!(fields, ["attachment_ids[1]", "attachment_ids[2]", "attachment_ids[3]"]);
        let mut violations = Violations::new();
        let many: Vec<String> = (0..11).map(id).collect();
        assert!(ids(&mut violations, &many).is_empty() && violations.len() == 1);
    }
}
