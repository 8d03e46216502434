//! What the chain of this log is made of: see [`crate::chain`].

use super::event::EventId;
use crate::chain::{self, Fault, Kind};

/// What the links and heads of this log begin with, and the purpose of the key that signs.
pub const KIND: Kind = Kind::new(b"capecontrol audit link 1\n", b"capecontrol audit head 1\n", "audit-heads");

/// The first bad entry, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Its position; none for an entry without one.
    pub position: Option<i64>,
    /// Its id, as far as it can be told.
    pub id: Option<EventId>,
    /// What is wrong.
    pub fault: Fault,
}

impl From<chain::Bad> for Bad {
    fn from(bad: chain::Bad) -> Self {
        Self { position: bad.position, id: bad.id.map(EventId::from_uuid), fault: bad.fault }
    }
}

impl Bad {
    /// What it means, for people.
    #[must_use]
    pub const fn sentence(&self) -> &'static str {
        match self.fault {
            Fault::EntryMissing => "The entry was sealed and is not there any more.",
            Fault::EntryChanged => {
                "The entry is not the one that was sealed: at least one of its fields was changed."
            }
            Fault::EntryUnreadable => "The entry cannot be read: a field holds what no entry can hold.",
            Fault::EntryUnchained => "The entry has no place in the chain and does not wait for one.",
            Fault::SealMissing => {
                "There is no link at this position: it was removed, with or without its entry."
            }
            Fault::SealChanged => "The link at this position does not follow from the one before it.",
            Fault::HeadMissing => "The batch that holds this position has no signed head.",
            Fault::HeadForged => {
                "The signed head at this position is not of this chain: the head was changed, or one of the entries of \
                 its batch together with its link."
            }
            Fault::HeadOfOtherKey => {
                "The head at this position was signed with another key: is this the root key that the log was written \
                 with? If it is, the head is forged."
            }
            Fault::HeadUnknown => {
                "The chain does not hold the head that is known at this position: it was cut off or written anew."
            }
            Fault::EndChanged => "The stored end of the chain is not where its links end.",
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::base::{Secret, Timestamp};
    use crate::chain::HeadKey;

    /// As `docs/audit.md` describes them. Whatever changes them breaks every log that was sealed before.
    #[test]
    fn links_and_heads_are_what_the_page_says() {
        let (before, digest) = ([3; 32], [4; 32]);
        let position = 7_i64.to_be_bytes();
        let bytes = [b"capecontrol audit link 1\n".as_slice(), &before, &position, &digest].concat();
        assert_eq!(KIND.link(&before, 7, &digest), <[u8; 32]>::from(Sha256::digest(bytes)));
        let head =
            HeadKey::from_seed(KIND, &Secret::new([5; 32])).sign(2, 7, [6; 32], Timestamp::from_micros(9));
        let message = [
            b"capecontrol audit head 1\n".as_slice(),
            &2_i64.to_be_bytes(),
            &position,
            &[6; 32],
            &9_i64.to_be_bytes(),
        ];
        assert_eq!(head.message(KIND), message.concat());
        assert!(head.is_signed(KIND));
    }
}
