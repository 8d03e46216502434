//! What comes with a letter: a document, with its name and type.
//!
//! It waits with the letter, sealed in the same job; so it is small, and checked as it is made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most bytes of an attachment: documents have some fifty thousand, and many mail servers take ten million.
pub const ATTACHED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most attachments of a letter.
pub const ATTACHMENTS_MAX: usize = 4;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// A file that comes with a letter.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    name: String,
    media_type: String,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    bytes: Vec<u8>,
}

/// What it holds tells of people, so that it reaches no log.
impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Why something cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unattachable {
    /// More bytes than a letter may carry.
    #[error("the attachment has more than {ATTACHED_BYTES_MAX} bytes")]
    Bytes,
    /// A name that is none, or none that every machine can save: of letters, digits, `.`, `-` and `_`.
    #[error("the name of the attachment is not a plain name of a file")]
    Name,
}

impl Attachment {
    /// A file of this name and type, such as `invoice.pdf` and `application/pdf`.
    ///
    /// # Errors
    /// When it is too large, or its name is not that of a file everywhere.
    pub fn new(name: &str, media_type: &'static str, bytes: Vec<u8>) -> Result<Self, Unattachable> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bytes.len() > ATTACHED_BYTES_MAX {
            return Err(Unattachable::Bytes);
        }
        if name.is_empty() || name.starts_with('.') || name.len() > NAME_BYTES_MAX || !name.chars().all(plain)
        {
            return Err(Unattachable::Name);
        }
        Ok(Self { name: name.to_owned(), media_type: media_type.to_owned(), bytes })
    }

    /// Under which name it is saved.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// What it holds.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_attached_is_small_and_has_a_plain_name() {
        let attach = |name: &str, bytes: usize| Attachment::new(name, "application/pdf", vec![0; bytes]);
        assert_eq!(attach("tax-invoice-INV-000123.pdf", 9).unwrap().name(), "tax-invoice-INV-000123.pdf");
        assert!(attach("a.pdf", ATTACHED_BYTES_MAX).is_ok());
        assert_eq!(attach("a.pdf", ATTACHED_BYTES_MAX + 1), Err(Unattachable::Bytes));
        for name in
            ["", ".pdf", "../a.pdf", "a/b", "a b.pdf", "a\r\nb.pdf", "é.pdf", "a\"b", &"x".repeat(201)]
        {
            assert_eq!(attach(name, 1), Err(Unattachable::Name), "{name:?}");
        }
    }

    #[test]
    fn it_waits_as_it_is_and_is_not_printed() {
        let bytes: Vec<u8> = (0..=255).collect();
        let attachment = Attachment::new("a.pdf", "application/pdf", bytes).unwrap();
        let waiting = serde_json::to_string(&attachment).unwrap();
        assert!(waiting.len() < 500);
        assert_eq!(serde_json::from_str::<Attachment>(&waiting).unwrap(), attachment);
        assert_eq!(format!("{attachment:?}"), "Attachment { bytes: 256, .. }");
    }
}
