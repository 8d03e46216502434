//! Signals as bytes, as they travel between nodes: the same on every way.
//!
//! A packet is a version, the id of the node that sends it, and records one after another: a kind, and for a signal the
//! thread, a hint's position, and a body with its length before it. Numbers have the highest byte first. A node of
//! another version is told by its first byte, and what it says is not guessed at.

use std::sync::Arc;

use uuid::Uuid;

use super::{Heard, Hint, INLINE_BYTES_MAX, Passing, Signal};

/// The version that is spoken here.
const VERSION: u8 = 1;

/// The largest body that is carried, in bytes.
const BODY_BYTES_MAX: usize = INLINE_BYTES_MAX;

/// The largest packet that is read, in bytes.
pub const PACKET_BYTES_MAX: usize = 64 << 10;

const HINT: u8 = 1;
const PASSING: u8 = 2;
const MISSED: u8 = 3;

/// What one node says to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which node.
    pub node: Uuid,
    /// What is to be heard.
    pub heard: Vec<Heard>,
}

/// Bytes that are no packet of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another version of the program speaks.
    #[error("packets of version {0} are not understood")]
    Version(u8),
    /// It is no packet.
    #[error("this is no packet")]
    Malformed,
}

/// Whether a signal can be carried. A hint always can, for it makes do without its event.
#[must_use]
pub fn carries(signal: &Signal) -> bool {
    match signal {
        Signal::Hint(_) => true,
        Signal::Passing(passing) => passing.body.len() <= BODY_BYTES_MAX,
    }
}

/// Writes packets of at most `bytes_max`, which must have room for the largest record. What cannot be carried is left
/// out.
#[must_use]
pub fn encode(node: Uuid, heard: &[Heard], bytes_max: usize) -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for record in heard.iter().filter_map(record) {
        match packets.last_mut() {
            Some(packet) if packet.len() + record.len() <= bytes_max => packet.extend(record),
            _ => packets.push([&[VERSION], node.as_bytes().as_slice(), &record].concat()),
        }
    }
    packets
}

fn record(heard: &Heard) -> Option<Vec<u8>> {
    match heard {
        Heard::Signal(Signal::Hint(hint)) => {
            let body = hint.inline.as_deref().filter(|body| body.len() <= BODY_BYTES_MAX).unwrap_or_default();
            let head = [&[HINT], hint.thread.as_bytes().as_slice(), &hint.seq.to_be_bytes()].concat();
            with_body(head, body)
        }
        Heard::Signal(Signal::Passing(passing)) if passing.body.len() <= BODY_BYTES_MAX => {
            with_body([&[PASSING], passing.about.as_bytes().as_slice()].concat(), &passing.body)
        }
        Heard::Signal(Signal::Passing(_)) => None,
        Heard::Missed => Some(vec![MISSED]),
    }
}

fn with_body(mut record: Vec<u8>, body: &[u8]) -> Option<Vec<u8>> {
    record.extend(u16::try_from(body.len()).ok()?.to_be_bytes());
    record.extend(body);
    Some(record)
}

/// Reads a packet, which came from outside.
///
/// # Errors
/// When it is none, or of another version.
pub fn decode(bytes: &[u8]) -> Result<Packet, Error> {
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(Error::Malformed);
    }
    let mut rest = bytes;
    match take(&mut rest)? {
        [VERSION] => {}
        [version] => return Err(Error::Version(version)),
    }
    let node = Uuid::from_bytes(take(&mut rest)?);
    let mut heard = Vec::new();
    while !rest.is_empty() {
        heard.push(read(&mut rest)?);
    }
    Ok(Packet { node, heard })
}

fn read(rest: &mut &[u8]) -> Result<Heard, Error> {
    match take(rest)? {
        [HINT] => {
            let thread = Uuid::from_bytes(take(rest)?);
            let seq = i64::from_be_bytes(take(rest)?);
            let inline = Some(body(rest)?).filter(|body| !body.is_empty());
            Ok(Heard::Signal(Signal::Hint(Hint { thread, seq, inline })))
        }
        [PASSING] => {
            let thread = Uuid::from_bytes(take(rest)?);
            Ok(Heard::Signal(Signal::Passing(Passing { about: thread, body: body(rest)? })))
        }
        [MISSED] => Ok(Heard::Missed),
        _ => Err(Error::Malformed),
    }
}

fn body(rest: &mut &[u8]) -> Result<Arc<[u8]>, Error> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (body, after) = rest.split_at_checked(length).ok_or(Error::Malformed)?;
    *rest = after;
    if length <= BODY_BYTES_MAX { Ok(Arc::from(body)) } else { Err(Error::Malformed) }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(Error::Malformed)?;
    *rest = after;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NODE: Uuid = Uuid::from_u128(7);

    fn heard() -> impl Strategy<Value = Heard> {
        let thread = || any::<u128>().prop_map(Uuid::from_u128);
        let body = || vec(any::<u8>(), 0..300).prop_map(Arc::<[u8]>::from);
        let hint = (thread(), any::<i64>(), body()).prop_map(|(thread, seq, body)| {
            Signal::Hint(Hint { thread, seq, inline: Some(body).filter(|body| !body.is_empty()) })
        });
        let passing =
            (thread(), body()).prop_map(|(thread, body)| Signal::Passing(Passing { about: thread, body }));
        prop_oneof![hint.prop_map(Heard::Signal), passing.prop_map(Heard::Signal), Just(Heard::Missed)]
    }

    proptest! {
        #[test]
        fn packets_come_back_as_they_went_in(said in vec(heard(), 0..40), bytes_max in 400..2_000_usize) {
            let packets = encode(NODE, &said, bytes_max);
            let mut heard = Vec::new();
            for packet in &packets {
                prop_assert!(packet.len() <= bytes_max);
                let Packet { node, heard: some } = decode(packet).unwrap();
                prop_assert_eq!(node, NODE);
                prop_assert!(!some.is_empty());
                heard.extend(some);
            }
            prop_assert_eq!(heard, said);
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes in vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_spoilt_packet_is_read_or_refused(
            said in vec(heard(), 1..5),
            at in any::<prop::sample::Index>(),
            flip in 1..=u8::MAX,
            cut in any::<prop::sample::Index>(),
        ) {
            for packet in encode(NODE, &said, 2_000) {
                let mut spoilt = packet.clone();
                spoilt[at.index(packet.len())] ^= flip;
                let _ = decode(&spoilt);
                let _ = decode(&packet[..cut.index(packet.len())]);
            }
        }
    }

    #[test]
    fn other_versions_and_what_is_too_large_are_refused() {
        let packet = encode(NODE, &[Heard::Missed], 100).remove(0);
        let newer = [&[VERSION + 1], &packet[1..]].concat();
        assert_eq!(decode(&newer), Err(Error::Version(VERSION + 1)));
        let large = [packet.clone(), vec![MISSED; PACKET_BYTES_MAX]].concat();
        assert_eq!(decode(&large), Err(Error::Malformed));
        let whole = [packet.clone(), vec![MISSED; PACKET_BYTES_MAX - packet.len()]].concat();
        assert!(decode(&whole).is_ok());
        let body = vec![0; BODY_BYTES_MAX + 1];
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let long = [packet.as_slice(), &[PASSING], NODE.as_bytes(), &length, &body].concat();
        assert_eq!(decode(&long), Err(Error::Malformed));
    }

    #[test]
    fn what_is_too_large_for_a_packet_stays_behind() {
        let body: Arc<[u8]> = vec![0; BODY_BYTES_MAX + 1].into();
        let hint = Hint { thread: NODE, seq: 3, inline: Some(Arc::clone(&body)) };
        let passing = Signal::Passing(Passing { about: NODE, body });
        assert!(!carries(&passing));
        let said = [Heard::Signal(passing), Heard::Signal(Signal::Hint(hint.clone()))];
        let packets = encode(NODE, &said, 5_000);
        let bare = Signal::Hint(Hint { inline: None, ..hint });
        assert_eq!(decode(&packets[0]).unwrap().heard, [Heard::Signal(bare)]);
    }
}
