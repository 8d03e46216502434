//! How fields become bytes of which a digest is made: each says whether it is there and how long it is, so that no two
//! different lists of as many fields have the same bytes.

use uuid::Uuid;

/// Before a field that is not there.
pub const ABSENT: u8 = 0;
/// Before a field that is there; its length and its bytes follow.
pub const PRESENT: u8 = 1;

/// Writes a field.
pub fn put(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(bytes) = field else {
        out.push(ABSENT);
        return;
    };
    // No field has four gigabytes: the largest are bounded to some hundred characters before they come here.
    let [first, second, third, fourth] = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    // One piece, for every entry that is verified has twenty fields.
    out.extend_from_slice(&[PRESENT, first, second, third, fourth]);
    out.extend_from_slice(bytes);
}

/// Writes a text.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, Some(text.as_bytes()));
}

/// Writes a number.
pub fn put_number(out: &mut Vec<u8>, number: i64) {
    put(out, Some(&number.to_be_bytes()));
}

/// Writes an id.
pub fn put_uuid(out: &mut Vec<u8>, field: Option<Uuid>) {
    put(out, field.as_ref().map(|id| id.as_bytes().as_slice()));
}
