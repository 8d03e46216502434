//! Heads of a chain, as commands read and print them.

use serde_json::{Value, json};

use super::{Output, say};
use crate::chain::{Head, Known};

/// A head as `audit heads` and `ledger heads` print it.
pub(super) fn known(text: &str) -> Result<Known, String> {
    let fault =
        || "must be a position, a colon, and 64 hexadecimal digits, as `heads` prints them".to_owned();
    let (position, hash) = text.split_once(':').ok_or_else(fault)?;
    let position = position.parse().ok().filter(|position| *position > 0).ok_or_else(fault)?;
    let hash = unhex(hash).and_then(|bytes| bytes.try_into().ok()).ok_or_else(fault)?;
    Ok(Known { position, hash })
}

/// Prints a head.
pub(super) fn print(head: &Head, output: Output) {
    if output.json {
        say(head_json(head));
    } else {
        say(format_args!("{}:{} signed at {}", head.position, hex(&head.hash), head.signed_at.to_rfc3339()));
    }
}

/// A head as programs read it, with everything that its signature is made of.
pub(super) fn head_json(head: &Head) -> Value {
    json!({
        "position": head.position,
        "previous_position": head.previous_position,
        "hash": hex(&head.hash),
        "public_key": hex(&head.public_key),
        "signature": hex(&head.signature),
        "signed_at_micros": head.signed_at.as_micros(),
        "signed_at": head.signed_at.to_rfc3339(),
    })
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_printed() {
        let hash = [0xab; 32];
        assert_eq!(known(&format!("17:{}", hex(&hash))), Ok(Known { position: 17, hash }));
        for wrong in [
            "17",
            "0:ab",
            "x:ab",
            "17:ab",
            &format!("17:{}0", hex(&hash)),
            &format!("17:{}", "zz".repeat(32)),
        ] {
            assert!(known(wrong).is_err(), "{wrong}");
        }
    }
}
