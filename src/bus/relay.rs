//! A node's end of a bus between nodes, whatever the way: what is published here is heard here at once and waits for
//! the way; what comes from the way is opened and heard here.
//!
//! Packets are sealed with a key of the root key, which all nodes of a platform have: on the way nobody reads what is
//! said in a thread, and nobody else's word is taken. A packet that does not open is counted and otherwise as if it had
//! not come, for a stranger is not to keep the node busy with looking.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use super::local::Local;
use super::outbox::Outbox;
use super::{Bus as _, Heard, Listener, Signal, Tally, wire};
use crate::base::World;
use crate::keyring::RootKey;

/// What packets are sealed for.
const PURPOSE: &str = "bus";

/// How many bytes sealing adds: a version, the nonce and the tag.
pub(super) const SEAL_BYTES: usize = 1 + 24 + 16;

/// How many signals wait for the way at most; with the largest bodies they take 16 MiB.
const SIGNALS_MAX: usize = 4_096;

/// The first pause after a failure, and the longest.
const PAUSE_FIRST_MILLIS: u64 = 100;
const PAUSE_LAST_MILLIS: u64 = 5_000;

/// The node's end.
pub(super) struct Relay {
    node: Uuid,
    world: World,
    root: RootKey,
    local: Local,
    outbox: Outbox,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    published: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    missed: AtomicU64,
    connections: AtomicU64,
}

impl Relay {
    /// The end of a node that gives itself an id.
    pub(super) fn new(world: World, root: RootKey) -> Self {
        Self {
            node: Uuid::from_bytes(world.bytes()),
            world,
            root,
            local: Local::new(),
            outbox: Outbox::new(SIGNALS_MAX),
            counters: Counters::default(),
        }
    }

    /// Has a signal heard here, and leaves it for the way. Never waits.
    pub(super) fn publish(&self, signal: Signal) {
        self.local.publish(signal.clone());
        let dropped = if wire::carries(&signal) { self.outbox.push(signal) } else { 1 };
        count(&self.counters.dropped, dropped);
    }

    /// Listens from now on.
    pub(super) fn listen(&self) -> Box<dyn Listener> {
        self.local.listen()
    }

    /// Waits until something may have been left for the way.
    pub(super) async fn filled(&self) {
        self.outbox.filled().await;
    }

    /// Takes what waits for the way, as sealed packets of at most `bytes_max`.
    pub(super) fn take(&self, bytes_max: usize, events: Events) -> Vec<Vec<u8>> {
        let mut heard = self.outbox.take();
        if events == Events::StayHome {
            for one in &mut heard {
                if let Heard::Signal(Signal::Hint(hint)) = one {
                    hint.inline = None;
                }
            }
        }
        count(&self.counters.published, heard.len());
        let packets = wire::encode(self.node, &heard, bytes_max.saturating_sub(SEAL_BYTES));
        let sealed = packets.iter().map(|packet| self.root.seal(&self.world, PURPOSE, packet));
        sealed.filter_map(Result::ok).collect()
    }

    /// Notes that what was taken did not get onto the way: the other nodes are told when it is open again.
    pub(super) fn lost(&self) {
        self.outbox.miss();
    }

    /// Has a packet heard that came over the way, unless it is this node's own.
    pub(super) fn receive(&self, sealed: &[u8]) {
        let Ok(packet) = self.root.open(PURPOSE, sealed) else { return self.refuse() };
        match wire::decode(packet.expose()) {
            Ok(packet) if packet.node == self.node => {}
            Ok(packet) => {
                count(&self.counters.received, packet.heard.len());
                packet.heard.into_iter().for_each(|heard| self.hear(heard));
            }
            Err(error) => {
                // One of ours, of another version of the program: what it says is not known, but that it speaks is.
                tracing::debug!(%error, "another node says something that this one does not understand");
                self.refuse();
                self.hear(Heard::Missed);
            }
        }
    }

    /// Counts something that came over the way and is not ours.
    pub(super) fn refuse(&self) {
        count(&self.counters.refused, 1);
    }

    /// Notes that the way is open from now on. What was said before is missed.
    pub(super) fn connected(&self) {
        count(&self.counters.connections, 1);
        self.hear(Heard::Missed);
    }

    /// Has it heard here that signals were lost.
    pub(super) fn missed(&self) {
        self.hear(Heard::Missed);
    }

    fn hear(&self, heard: Heard) {
        count(&self.counters.missed, usize::from(heard == Heard::Missed));
        self.local.tell(heard);
    }

    /// How much was carried so far.
    pub(super) fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { published, received, dropped, refused, missed, connections } = &self.counters;
        Tally {
            published: read(published),
            received: read(received),
            dropped: read(dropped),
            refused: read(refused),
            missed: read(missed),
            connections: read(connections),
        }
    }

    /// How long to pause after so many failures in a row: longer each time, and not all nodes equally long.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = PAUSE_FIRST_MILLIS.saturating_mul(2_u64.saturating_pow(failures.saturating_sub(1)));
        let most = doubled.min(PAUSE_LAST_MILLIS);
        Duration::from_millis(most / 2 + self.world.below(most / 2 + 1))
    }
}

/// Whether events come along with their hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Events {
    /// As long as they are small.
    ComeAlong,
    /// The way has too little room.
    StayHome,
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{ManualClock, SeededRng, Timestamp};
    use crate::bus::{Hint, INLINE_BYTES_MAX, Passing};

    const BYTES_MAX: usize = 5_000;

    fn relay(seed: u64, root: u8) -> Relay {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(0)));
        Relay::new(World::new(clock, Arc::new(SeededRng::new(seed))), RootKey::new([root; 32]))
    }

    fn hint(seq: i64) -> Signal {
        Signal::Hint(Hint { thread: Uuid::nil(), seq, inline: Some(Arc::from(b"{}".as_slice())) })
    }

    /// What one says, sealed.
    fn said(relay: &Relay, signal: Signal) -> Vec<u8> {
        relay.publish(signal);
        relay.take(BYTES_MAX, Events::ComeAlong).remove(0)
    }

    #[tokio::test]
    async fn what_another_node_says_is_heard_and_ones_own_only_once() {
        let (here, there) = (relay(1, 7), relay(2, 7));
        let mut listener = here.listen();
        here.receive(&said(&there, hint(3)));
        assert_eq!(listener.next().await, Some(Heard::Signal(hint(3))));
        here.receive(&said(&here, hint(4)));
        here.missed();
        assert_eq!(listener.next().await, Some(Heard::Signal(hint(4))));
        assert_eq!(listener.next().await, Some(Heard::Missed));
        let Tally { published, received, missed, .. } = here.tally();
        assert_eq!((published, received, missed), (1, 1, 1));
    }

    #[tokio::test]
    async fn a_strangers_word_is_not_taken() {
        let (here, stranger) = (relay(1, 7), relay(2, 8));
        let mut listener = here.listen();
        let packet = said(&stranger, hint(3));
        here.receive(&packet);
        here.receive(b"");
        here.receive(packet.split_last().unwrap().1);
        here.publish(hint(4));
        assert_eq!(listener.next().await, Some(Heard::Signal(hint(4))), "nothing before it");
        assert_eq!(here.tally().refused, 3);
    }

    #[tokio::test]
    async fn what_another_version_says_was_missed() {
        let here = relay(1, 7);
        let mut listener = here.listen();
        let newer = here.root.seal(&here.world, PURPOSE, &[u8::MAX, 1, 2, 3]).unwrap();
        here.receive(&newer);
        assert_eq!(listener.next().await, Some(Heard::Missed));
    }

    #[test]
    fn packets_have_room_for_the_seal_and_events_stay_home_where_they_must() {
        let relay = relay(1, 7);
        let body: Arc<[u8]> = vec![7; INLINE_BYTES_MAX].into();
        for number in 0..3 {
            let thread = Uuid::from_u128(number);
            relay.publish(Signal::Hint(Hint { thread, seq: 1, inline: Some(Arc::clone(&body)) }));
            relay.publish(Signal::Passing(Passing { about: thread, body: Arc::clone(&body) }));
        }
        let packets = relay.take(BYTES_MAX, Events::StayHome);
        assert_eq!(packets.len(), 3, "one for each body");
        assert!(packets.iter().all(|packet| packet.len() <= BYTES_MAX));
        let open = relay.root.open(PURPOSE, &packets[0]).unwrap();
        assert_eq!(packets[0].len(), open.expose().len() + SEAL_BYTES);
        let Heard::Signal(Signal::Hint(hint)) = &wire::decode(open.expose()).unwrap().heard[0] else {
            panic!()
        };
        assert_eq!(hint.inline, None);
    }

    #[test]
    fn what_is_too_large_is_dropped_and_counted() {
        let relay = relay(1, 7);
        let body = vec![7; INLINE_BYTES_MAX + 1].into();
        relay.publish(Signal::Passing(Passing { about: Uuid::nil(), body }));
        assert_eq!((relay.tally().dropped, relay.take(BYTES_MAX, Events::ComeAlong).len()), (1, 0));
    }

    #[test]
    fn pauses_grow_and_end() {
        let relay = relay(1, 7);
        for (failures, least, most) in
            [(1, 50, 100), (4, 400, 800), (30, 2_500, 5_000), (u32::MAX, 2_500, 5_000)]
        {
            let pause = u64::try_from(relay.pause(failures).as_millis()).unwrap();
            assert!((least..=most).contains(&pause), "{failures}: {pause}");
        }
    }
}
