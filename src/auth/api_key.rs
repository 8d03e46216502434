//! How an API key is written: `cape_live_<id>_<secret><tag>`, in lower-case hexadecimal.
//!
//! The tag is a message authentication code over all that stands before it, with a key of the platform's. Whoever
//! invents a key cannot make one, so that guessing is refused without a question to the database, and a slip of the pen
//! is told from a key that was revoked. What the secret is worth is decided elsewhere, by its hash.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::base::{Id, Secret};
use crate::keyring::mac;

use super::Error;
use super::model::key::ApiKeyId;

const LIVE: &str = "cape_live_";
const TEST: &str = "cape_test_";
/// 128 bits of id in hexadecimal.
const ID_CHARS: usize = 32;
/// 256 bits of secret in hexadecimal.
const SECRET_CHARS: usize = 64;
/// Of the code, as much as keeps guessers out: one invented key in four thousand million would be looked up.
const TAG_CHARS: usize = 8;

/// How this platform writes its keys and knows them again.
pub struct Format {
    live: bool,
    tag_key: Secret<[u8; 32]>,
}

/// A key that came with a call and that this platform wrote, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The key's id.
    pub id: ApiKeyId,
    /// The hash of its secret.
    pub secret_hash: [u8; 32],
}

impl Format {
    /// Keys for live money, or for a platform that moves none.
    #[must_use]
    pub const fn new(live: bool, tag_key: Secret<[u8; 32]>) -> Self {
        Self { live, tag_key }
    }

    const fn prefix(&self) -> &'static str {
        if self.live { LIVE } else { TEST }
    }

    /// Writes a key, and the hash that is kept of its secret.
    #[must_use]
    pub fn write(&self, id: ApiKeyId, secret: &[u8; 32]) -> (Secret<String>, [u8; 32]) {
        let secret = hex(secret);
        let body = format!("{}{}_{secret}", self.prefix(), id.uuid().simple());
        let tag = self.tag(&body);
        (Secret::new(body + &tag), hash(&secret))
    }

    /// Reads a key that came with a call.
    ///
    /// # Errors
    /// [`Error::ApiKeyKind`] for one of the other kind, [`Error::ApiKeyInvalid`] unless this platform wrote it.
    pub fn read(&self, text: &str) -> Result<Presented, Error> {
        let other = if self.live { TEST } else { LIVE };
        if text.starts_with(other) {
            return Err(Error::ApiKeyKind { live: self.live });
        }
        self.parts(text).ok_or(Error::ApiKeyInvalid)
    }

    fn parts(&self, text: &str) -> Option<Presented> {
        let rest = text.strip_prefix(self.prefix())?;
        if rest.len() != ID_CHARS + 1 + SECRET_CHARS + TAG_CHARS || !text.is_ascii() {
            return None;
        }
        let (id, secret) = rest.split_once('_')?;
        let (secret, tag) = secret.split_at_checked(SECRET_CHARS)?;
        let plain = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if id.len() != ID_CHARS || !plain(id) || !plain(secret) {
            return None;
        }
        let body = text.get(..text.len().checked_sub(TAG_CHARS)?)?;
        if !bool::from(self.tag(body).as_bytes().ct_eq(tag.as_bytes())) {
            return None;
        }
        let id = Uuid::try_parse(id).ok()?;
        Some(Presented { id: Id::from_uuid(id), secret_hash: hash(secret) })
    }

    fn tag(&self, body: &str) -> String {
        let code = mac(self.tag_key.expose(), &[body.as_bytes()]);
        let mut tag = hex(&code);
        tag.truncate(TAG_CHARS);
        tag
    }
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Format").field("live", &self.live).finish_non_exhaustive()
    }
}

/// The secret has 256 bits of its own, so that a plain hash is enough.
fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn format(live: bool) -> Format {
        Format::new(live, Secret::new([7; 32]))
    }

    fn id() -> ApiKeyId {
        ApiKeyId::mint(1, &[1; 10])
    }

    fn key(live: bool) -> String {
        format(live).write(id(), &[0xa5; 32]).0.expose().clone()
    }

    #[test]
    fn a_key_is_read_back() {
        let (text, hash) = format(true).write(id(), &[0xa5; 32]);
        assert_eq!(format(true).read(text.expose()).unwrap(), Presented { id: id(), secret_hash: hash });
        assert!(text.expose().starts_with("cape_live_00000000"), "{}", text.expose());
        assert!(text.expose().contains(&"a5".repeat(32)));
    }

    #[test]
    fn the_other_kind_is_told_as_such() {
        assert!(matches!(format(true).read(&key(false)), Err(Error::ApiKeyKind { live: true })));
        assert!(matches!(format(false).read(&key(true)), Err(Error::ApiKeyKind { live: false })));
    }

    #[test]
    fn a_slip_of_the_pen_and_another_platforms_key_are_refused() {
        let text = key(false);
        for (at, letter) in text.char_indices() {
            let mut changed = text.clone();
            changed.replace_range(at..=at, if letter == '0' { "1" } else { "0" });
            assert!(format(false).read(&changed).is_err(), "changed at {at}");
            assert!(format(false).read(&text[..at]).is_err(), "cut at {at}");
        }
        assert!(format(false).read(&format!("{text}0")).is_err());
        assert!(format(false).read(&text.to_uppercase()).is_err());
        assert!(Format::new(false, Secret::new([8; 32])).read(&text).is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_is_no_key_is_taken_or_breaks_the_reader(text in "(cape_test_)?\\PC{0,120}") {
            prop_assert!(format(false).read(&text).is_err());
        }
    }
}
