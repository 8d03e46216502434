//! PayFast, byte for byte: what it signs, what it sends, where it sends from.
//!
//! Everything below this module is pure. It knows nothing of invoices, organisations or the database:
//! it turns fields into a signed form and received bytes into a verdict, and the rest of the domain decides what the
//! verdict means. No map type and no UTF-8 decoding ever stands between the bytes received and the signature, because
//! both lose what was signed (order, repetition, bytes that are not text).

pub mod api;
pub mod cli;
pub mod confirmation;
pub mod encode;
pub mod form;
pub mod itn;
pub mod source;
pub mod verdict;

/// The longest passphrase that PayFast stores, in characters.
pub const PASSPHRASE_CHARS_MAX: usize = 32;

/// The merchant, key and passphrase of the public sandbox, which the built-in simulator uses as its own.
pub const SIMULATOR_MERCHANT_ID: &str = "10000100";
/// The public sandbox's merchant key.
pub const SIMULATOR_MERCHANT_KEY: &str = "46f0cd694581a";
/// The public sandbox's passphrase.
pub const SIMULATOR_PASSPHRASE: &str = "jt7NOE43FZPn";

/// True when PayFast's dashboard would take the passphrase: letters, digits, `-`, `_` and `/`, at most 32 of them.
///
/// Anything else is refused at start-up, because clients disagree about how the rest is encoded.
#[must_use]
pub fn passphrase_fits(passphrase: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
    passphrase.len() <= PASSPHRASE_CHARS_MAX && passphrase.bytes().all(plain)
}
