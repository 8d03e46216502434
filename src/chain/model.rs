//! How what is sealed hangs together, how heads are signed, and the walk that finds the first bad place.
//!
//! A link is made of the link before it, the position and the digest of what stands there. So whoever has the digests
//! can follow a chain without what they are made of, and whoever has one of those can see that it is the one with that
//! digest.

pub mod encoding;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::base::{Secret, Timestamp};
use crate::db::{self, words};

/// The hash that the first link hangs on.
pub const GENESIS: [u8; 32] = [0; 32];

/// What a chain is of: no link and no head of one kind passes as one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    link: &'static [u8],
    head: &'static [u8],
    key: &'static str,
}

impl Kind {
    /// A kind whose links and heads begin with these bytes, and whose heads are signed by the key that grows from the
    /// root key for this purpose. All of it is part of the promise to whoever verifies elsewhere.
    #[must_use]
    pub const fn new(link: &'static [u8], head: &'static [u8], key: &'static str) -> Self {
        Self { link, head, key }
    }

    /// For what purpose the key that signs heads grows from the root key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.key
    }

    /// The hash at a position.
    #[must_use]
    pub fn link(self, previous: &[u8; 32], position: i64, digest: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.link);
        hasher.update(previous);
        hasher.update(position.to_be_bytes());
        hasher.update(digest);
        hasher.finalize().into()
    }
}

/// A place in a chain.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Seal {
    /// The place, from 1, without a gap.
    pub position: i64,
    /// What stands there.
    pub id: Uuid,
    /// Its own digest.
    pub digest: Vec<u8>,
    /// The hash over the hash before, the position and the digest.
    pub hash: Vec<u8>,
}

/// Where the chain ends, as it is stored for whoever seals next.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct End {
    /// The last position; 0 before there is any.
    pub position: i64,
    /// The hash there.
    pub hash: Vec<u8>,
}

/// The signed end of a batch.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Head {
    /// The last position of the batch.
    pub position: i64,
    /// The last position of the batch before; 0 when this is the first.
    pub previous_position: i64,
    /// The hash at the position.
    pub hash: Vec<u8>,
    /// The key that signed.
    pub public_key: Vec<u8>,
    /// The signature over all of it.
    pub signature: Vec<u8>,
    /// When it was signed.
    pub signed_at: Timestamp,
}

impl Head {
    /// What is signed of a head of this kind.
    #[must_use]
    pub fn message(&self, kind: Kind) -> Vec<u8> {
        let (previous, position) = (self.previous_position.to_be_bytes(), self.position.to_be_bytes());
        [kind.head, &previous, &position, &self.hash, &self.signed_at.as_micros().to_be_bytes()].concat()
    }

    /// Whether the key that it names signed it as a head of this kind.
    #[must_use]
    pub fn is_signed(&self, kind: Kind) -> bool {
        let key = self.public_key.as_slice().try_into().ok();
        let key = key.and_then(|key| VerifyingKey::from_bytes(key).ok());
        let signature = Signature::from_slice(&self.signature).ok();
        let (Some(key), Some(signature)) = (key, signature) else { return false };
        key.verify_strict(&self.message(kind), &signature).is_ok()
    }
}

/// What signs the heads of a kind.
pub struct HeadKey {
    kind: Kind,
    key: SigningKey,
}

impl HeadKey {
    /// The key that grows from 32 secret bytes, which are those of the kind's purpose.
    #[must_use]
    pub fn from_seed(kind: Kind, seed: &Secret<[u8; 32]>) -> Self {
        Self { kind, key: SigningKey::from_bytes(seed.expose()) }
    }

    /// Its public half, which may be told to everybody.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs the end of a batch.
    #[must_use]
    pub fn sign(&self, previous_position: i64, position: i64, hash: [u8; 32], at: Timestamp) -> Head {
        let mut head = Head {
            position,
            previous_position,
            hash: hash.to_vec(),
            public_key: self.public().to_vec(),
            signature: Vec::new(),
            signed_at: at,
        };
        head.signature = self.key.sign(&head.message(self.kind)).to_bytes().to_vec();
        head
    }
}

words! {
    /// What is wrong with a chain, or with an entry: what stands at one of its positions.
    pub enum Fault {
        /// An entry has a place in the chain and is not there.
        EntryMissing = "entry_missing",
        /// An entry is not what was sealed.
        EntryChanged = "entry_changed",
        /// An entry holds what no entry can hold.
        EntryUnreadable = "entry_unreadable",
        /// An entry has no place in the chain and does not wait for one.
        EntryUnchained = "entry_unchained",
        /// A position is not there.
        SealMissing = "seal_missing",
        /// A link does not hang on the one before.
        SealChanged = "seal_changed",
        /// A batch has no signed head.
        HeadMissing = "head_missing",
        /// A head is not of this chain, or its signature is wrong.
        HeadForged = "head_forged",
        /// A head was signed with another key than the one of this root key.
        HeadOfOtherKey = "head_of_other_key",
        /// The chain does not hold the head that the auditor knows.
        HeadUnknown = "head_unknown",
        /// The stored end of the chain is another than its last link.
        EndChanged = "end_changed",
    }
}

/// The first bad entry, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Its position; none for an entry without one.
    pub position: Option<i64>,
    /// Its id, as far as it can be told.
    pub id: Option<Uuid>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is known of the entry behind a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// It is there: its id, and the digest of it as it stands there.
    Entry(Uuid, [u8; 32]),
    /// It is there, and was not read: it is somebody else's.
    Others,
    /// It is not there.
    Nothing,
    /// It is there and cannot be read.
    Unreadable,
}

/// A position and the hash there, which an auditor wrote down at some other time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The position.
    pub position: i64,
    /// The hash.
    pub hash: [u8; 32],
}

/// A walk along the chain from its beginning, link by link and head by head, in the order of their positions.
pub struct Walk {
    kind: Kind,
    public_key: [u8; 32],
    known: Option<Known>,
    position: i64,
    hash: [u8; 32],
    last: Option<Uuid>,
    signed: Option<Head>,
    entries: i64,
}

impl Walk {
    /// Begins a walk along a chain whose heads this key should have signed.
    #[must_use]
    pub const fn new(kind: Kind, public_key: [u8; 32], known: Option<Known>) -> Self {
        Self { kind, public_key, known, position: 0, hash: GENESIS, last: None, signed: None, entries: 0 }
    }

    /// Where the walk is.
    #[must_use]
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// How many entries were compared with their digests.
    #[must_use]
    pub const fn entries(&self) -> i64 {
        self.entries
    }

    /// The last head that holds.
    #[must_use]
    pub const fn head(&self) -> Option<&Head> {
        self.signed.as_ref()
    }

    /// Takes the next link.
    ///
    /// # Errors
    /// What is wrong with it or with its entry.
    pub fn step(&mut self, seal: &Seal, behind: Behind) -> Result<(), Bad> {
        let position = self.position.saturating_add(1);
        if seal.position != position {
            return Err(Bad { position: Some(position), id: None, fault: Fault::SealMissing });
        }
        let bad = |fault| Bad { position: Some(position), id: Some(seal.id), fault };
        match behind {
            Behind::Entry(id, digest) => {
                // The link names its entry: another one there is another entry, whatever its digest.
                if id != seal.id || digest != seal.digest.as_slice() {
                    return Err(bad(Fault::EntryChanged));
                }
                self.entries = self.entries.saturating_add(1);
            }
            Behind::Others => {}
            Behind::Nothing => return Err(bad(Fault::EntryMissing)),
            Behind::Unreadable => return Err(bad(Fault::EntryUnreadable)),
        }
        let hash = self.kind.link(&self.hash, position, &seal.digest);
        if hash != seal.hash.as_slice() {
            return Err(bad(Fault::SealChanged));
        }
        if self.known.is_some_and(|known| known.position == position && known.hash != hash) {
            return Err(bad(Fault::HeadUnknown));
        }
        (self.position, self.hash, self.last) = (position, hash, Some(seal.id));
        Ok(())
    }

    /// Takes the head at the position that was just reached.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn pass(&mut self, head: &Head) -> Result<(), Bad> {
        let bad = |fault| Bad { position: Some(head.position), id: self.last, fault };
        let before = self.signed.as_ref().map_or(0, |head| head.position);
        if head.position != self.position {
            return Err(bad(Fault::HeadForged));
        }
        if head.public_key != self.public_key {
            return Err(bad(Fault::HeadOfOtherKey));
        }
        if !head.is_signed(self.kind) || head.hash != self.hash {
            return Err(bad(Fault::HeadForged));
        }
        // Signed by us and of this chain, so that what is missing is the head before it.
        if head.previous_position != before {
            let position = Some(before.saturating_add(1));
            return Err(Bad { position, id: None, fault: Fault::HeadMissing });
        }
        self.signed = Some(head.clone());
        Ok(())
    }

    /// Compares where the walk ended with the stored end and the position of the last stored head.
    ///
    /// # Errors
    /// What is wrong with the end of the chain.
    pub fn finish(&self, end: &End, last_head: i64) -> Result<(), Bad> {
        let next = self.position.saturating_add(1);
        let missing = |position, fault| Err(Bad { position: Some(position), id: None, fault });
        if end.position > self.position || last_head > self.position {
            return missing(next, Fault::SealMissing);
        }
        let signed = self.signed.as_ref().map_or(0, |head| head.position);
        if signed < self.position {
            return missing(signed.saturating_add(1), Fault::HeadMissing);
        }
        if end.position != self.position || end.hash != self.hash {
            return Err(Bad { position: Some(self.position), id: self.last, fault: Fault::EndChanged });
        }
        match self.known {
            Some(known) if known.position > self.position => missing(next, Fault::HeadUnknown),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: Secret<[u8; 32]> = Secret::new([5; 32]);
    const KIND: Kind = Kind::new(b"a link\n", b"a head\n", "heads");

    /// What stands at a position, with its digest.
    type Thing = (Uuid, [u8; 32]);

    /// A chain of these things, with a head after every `batch` of them and at the end.
    fn chain(things: &[Thing], batch: usize) -> (Vec<Seal>, Vec<Head>, End) {
        let (key, mut hash, mut seals, mut heads) =
            (HeadKey::from_seed(KIND, &SEED), GENESIS, vec![], vec![]);
        let mut before = 0;
        for ((id, digest), position) in things.iter().zip(1_i64..) {
            hash = KIND.link(&hash, position, digest);
            seals.push(Seal { position, id: *id, digest: digest.to_vec(), hash: hash.to_vec() });
            if seals.len() % batch == 0 || seals.len() == things.len() {
                heads.push(key.sign(before, position, hash, Timestamp::from_seconds(position)));
                before = position;
            }
        }
        (seals, heads, End { position: before, hash: hash.to_vec() })
    }

    fn walk(
        things: &[Thing],
        seals: &[Seal],
        heads: &[Head],
        end: &End,
        known: Option<Known>,
    ) -> Result<(), Bad> {
        let mut walk = Walk::new(KIND, HeadKey::from_seed(KIND, &SEED).public(), known);
        for seal in seals {
            let thing = things.iter().find(|(id, _)| *id == seal.id);
            walk.step(seal, thing.map_or(Behind::Nothing, |(id, digest)| Behind::Entry(*id, *digest)))?;
            for head in heads.iter().filter(|head| head.position == seal.position) {
                walk.pass(head)?;
            }
        }
        walk.finish(end, heads.last().map_or(0, |head| head.position))
    }

    proptest! {
        #[test]
        fn a_whole_chain_holds_and_any_changed_entry_is_named(
            list in proptest::collection::vec(things(), 2..12),
            batch in 1_usize..5,
            which in any::<proptest::sample::Index>(),
        ) {
            let ids: std::collections::HashSet<_> = list.iter().map(|(id, _)| *id).collect();
            prop_assume!(ids.len() == list.len());
            let (seals, heads, end) = chain(&list, batch);
            prop_assert_eq!(walk(&list, &seals, &heads, &end, None), Ok(()));
            let which = which.index(list.len());
            let mut changed = list.clone();
            changed[which].1[0] ^= 1;
            let bad = walk(&changed, &seals, &heads, &end, None).unwrap_err();
            prop_assert_eq!((bad.position, bad.fault), (Some(seals[which].position), Fault::EntryChanged));
            // With its own digest and every link behind it made anew, the signature of its batch still tells.
            let (seals, _, end) = chain(&changed, batch);
            let bad = walk(&changed, &seals, &heads, &end, None).unwrap_err();
            prop_assert_eq!(bad.fault, Fault::HeadForged);
            prop_assert!(bad.position.unwrap() > i64::try_from(which).unwrap());
        }
    }

    fn things() -> impl Strategy<Value = Thing> {
        any::<(u128, [u8; 32])>().prop_map(|(id, digest)| (Uuid::from_u128(id), digest))
    }

    fn plain(number: u8) -> Thing {
        (Uuid::from_u128(number.into()), [number; 32])
    }

    #[test]
    fn what_is_wrong_with_links_and_heads_is_named() {
        let list: Vec<Thing> = (1..=6).map(plain).collect();
        let (seals, heads, end) = chain(&list, 2);
        let bad = |seals: &[Seal], heads: &[Head], end: &End| {
            let bad = walk(&list, seals, heads, end, None).unwrap_err();
            (bad.fault, bad.position)
        };
        let without = |index: usize| [&seals[..index], &seals[index + 1..]].concat();
        assert_eq!(bad(&without(0), &heads, &end), (Fault::SealMissing, Some(1)));
        assert_eq!(bad(&without(2), &heads, &end), (Fault::SealMissing, Some(3)));
        assert_eq!(bad(&without(5), &heads, &end), (Fault::SealMissing, Some(6)));
        let mut changed = seals.clone();
        changed[3].hash[0] ^= 1;
        assert_eq!(bad(&changed, &heads, &end), (Fault::SealChanged, Some(4)));
        for part in 0..4 {
            let mut forged = heads.clone();
            match part {
                0 => forged[1].signature[0] ^= 1,
                1 => forged[1].hash[0] ^= 1,
                2 => forged[1].signed_at = Timestamp::from_seconds(99),
                _ => forged[1].previous_position = 3,
            }
            assert_eq!(bad(&seals, &forged, &end), (Fault::HeadForged, Some(4)), "part {part}");
        }
        let mut other = heads.clone();
        other[0] = HeadKey::from_seed(KIND, &Secret::new([6; 32])).sign(
            0,
            2,
            heads[0].hash.clone().try_into().unwrap(),
            heads[0].signed_at,
        );
        assert_eq!(bad(&seals, &other, &end), (Fault::HeadOfOtherKey, Some(2)));
        assert_eq!(bad(&seals, &[&heads[..1], &heads[2..]].concat(), &end), (Fault::HeadMissing, Some(3)));
        assert_eq!(bad(&seals, &heads[..2], &end), (Fault::HeadMissing, Some(5)));
        assert_eq!(bad(&seals[..4], &heads[..2], &end), (Fault::SealMissing, Some(5)));
        let early = End { position: 4, hash: seals[3].hash.clone() };
        assert_eq!(bad(&seals, &heads, &early), (Fault::EndChanged, Some(6)));
    }

    #[test]
    fn a_chain_that_was_cut_off_or_written_anew_does_not_hold_the_known_head() {
        let list: Vec<Thing> = (1..=4).map(plain).collect();
        let (seals, heads, end) = chain(&list, 2);
        let known = Known { position: 4, hash: seals[3].hash.clone().try_into().unwrap() };
        assert_eq!(walk(&list, &seals, &heads, &end, Some(known)), Ok(()));
        let (seals, heads, end) = chain(&list[..2], 2);
        let cut = walk(&list, &seals, &heads, &end, Some(known)).unwrap_err();
        assert_eq!((cut.fault, cut.position), (Fault::HeadUnknown, Some(3)));
        let anew: Vec<Thing> = (5..=8).map(plain).collect();
        let (seals, heads, end) = chain(&anew, 2);
        let bad = walk(&anew, &seals, &heads, &end, Some(known)).unwrap_err();
        assert_eq!((bad.fault, bad.position), (Fault::HeadUnknown, Some(4)));
    }

    #[test]
    fn a_chain_of_another_kind_does_not_hold() {
        let list: Vec<Thing> = (1..=2).map(plain).collect();
        let (seals, heads, _) = chain(&list, 2);
        assert!(heads[0].is_signed(KIND));
        let other_head = Kind::new(b"a link\n", b"another head\n", "heads");
        assert!(!heads[0].is_signed(other_head));
        let other_link = Kind::new(b"another link\n", b"a head\n", "heads");
        let mut walk = Walk::new(other_link, HeadKey::from_seed(KIND, &SEED).public(), None);
        let bad = walk.step(&seals[0], Behind::Others).unwrap_err();
        assert_eq!((bad.fault, bad.position), (Fault::SealChanged, Some(1)));
    }
}
