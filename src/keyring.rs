//! The root key, and how secrets are wrapped with it before they are stored.
//!
//! All nodes share one root key of 256 bits. Each purpose has a key of its own, derived with HMAC-SHA-256 as a PRF, so
//! that what was sealed for one purpose does not open for another. Sealed bytes are a version, a random nonce of
//! XChaCha20-Poly1305 and the ciphertext.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::base::{Secret, World};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Something sealed does not open: it was changed, or sealed with another key or for another purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret does not open with this root key (SECURITY__ROOT_KEY); was the key changed?")]
pub struct Error;

/// The text is not a root key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a root key is 32 random bytes in base64, for instance from `openssl rand -base64 32`")]
pub struct NotAKey;

/// The key that wraps all other keys.
#[derive(Clone, Debug)]
pub struct RootKey(Secret<[u8; 32]>);

impl RootKey {
    /// A root key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Reads a key from base64.
    ///
    /// # Errors
    /// When it is not 32 bytes.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| NotAKey)?;
        bytes.try_into().map(Self::new).map_err(|_| NotAKey)
    }

    /// A new key as base64, to be kept in a file.
    #[must_use]
    pub fn generate(world: &World) -> Secret<String> {
        Secret::new(STANDARD.encode(world.bytes::<32>()))
    }

    /// The key as base64, as [`Self::parse`] reads it: for a file that only its owner can read.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(STANDARD.encode(self.0.expose()))
    }

    /// The key for one purpose.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Secret<[u8; 32]> {
        Secret::new(mac(self.0.expose(), &[b"capecontrol:", purpose.as_bytes()]))
    }

    /// Wraps a secret for a purpose.
    ///
    /// # Errors
    /// Never for what fits in memory.
    pub fn seal(&self, world: &World, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = world.bytes::<NONCE_BYTES>();
        let cipher = XChaCha20Poly1305::new(self.derive(purpose).expose().into());
        let sealed = cipher.encrypt(&XNonce::from(nonce), plain).map_err(|_| Error)?;
        Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
    }

    /// Unwraps what [`Self::seal`] made for the same purpose.
    ///
    /// # Errors
    /// When it does not open.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let (version, rest) = sealed.split_first().ok_or(Error)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Error)?;
        if *version != VERSION {
            return Err(Error);
        }
        let cipher = XChaCha20Poly1305::new(self.derive(purpose).expose().into());
        cipher.decrypt(&XNonce::from(*nonce), ciphertext).map(Secret::new).map_err(|_| Error)
    }
}

/// HMAC-SHA-256 of the parts, one after another.
#[must_use]
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{ManualClock, SeededRng, Timestamp};

    fn world() -> World {
        World::new(Arc::new(ManualClock::new(Timestamp::from_seconds(0))), Arc::new(SeededRng::new(1)))
    }

    #[test]
    fn what_is_sealed_opens_for_the_same_purpose_only() {
        let (world, root) = (world(), RootKey::new([7; 32]));
        let sealed = root.seal(&world, "signing-key", b"seed").unwrap();
        assert_eq!(root.open("signing-key", &sealed).unwrap().expose(), b"seed");
        assert!(root.open("totp", &sealed).is_err());
        assert!(RootKey::new([8; 32]).open("signing-key", &sealed).is_err());
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let (world, root) = (world(), RootKey::new([7; 32]));
        let sealed = root.seal(&world, "p", b"plain").unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(root.open("p", &changed).is_err(), "byte {index}");
        }
        assert!(root.open("p", &[]).is_err());
    }

    #[test]
    fn keys_are_read_from_base64() {
        let text = RootKey::generate(&world());
        assert_eq!(RootKey::parse(text.expose()).unwrap().to_text(), text);
        assert_eq!(RootKey::parse("c2hvcnQ=").unwrap_err(), NotAKey);
    }
}
