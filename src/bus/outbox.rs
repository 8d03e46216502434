//! What waits to be sent to other nodes: bounded, so that a way that is slow or gone costs nobody anything.
//!
//! It knows no way and no bytes. Hints of one thread merge, for the highest position says all that the lower ones say.
//! When there is no room the oldest passing signals go first, for nobody will miss them for long; when only hints are
//! left, all of them go, and one word that something was missed stands for them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{Heard, Hint, Passing, Signal};

/// What waits.
pub(super) struct Outbox {
    signals_max: usize,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    /// The place of what comes next, by which things leave in the order of coming.
    next: u64,
    hints: HashMap<Uuid, (u64, Hint)>,
    passings: VecDeque<(u64, Passing)>,
    missed: bool,
}

impl Outbox {
    /// An empty one, for at most so many signals.
    pub(super) fn new(signals_max: usize) -> Self {
        Self { signals_max, queue: Mutex::default(), filled: Notify::new() }
    }

    /// Leaves a signal, and tells how many had to go for it. Never waits.
    pub(super) fn push(&self, signal: Signal) -> usize {
        let dropped = self.queue().push(signal, self.signals_max);
        self.filled.notify_one();
        dropped
    }

    /// Leaves the word that signals were lost.
    pub(super) fn miss(&self) {
        self.queue().missed = true;
        self.filled.notify_one();
    }

    /// Waits until something may have been left.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes all that waits, in the order of coming.
    pub(super) fn take(&self) -> Vec<Heard> {
        let Queue { hints, passings, missed, .. } = std::mem::take(&mut *self.queue());
        let hints = hints.into_values().map(|(place, hint)| (place, Signal::Hint(hint)));
        let passings = passings.into_iter().map(|(place, passing)| (place, Signal::Passing(passing)));
        let mut signals: Vec<(u64, Signal)> = hints.chain(passings).collect();
        signals.sort_unstable_by_key(|(place, _)| *place);
        let missed = missed.then_some(Heard::Missed);
        missed.into_iter().chain(signals.into_iter().map(|(_, signal)| Heard::Signal(signal))).collect()
    }

    /// The data behind the lock are whole after every step, so a panic elsewhere does not spoil them.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, signal: Signal, signals_max: usize) -> usize {
        self.next = self.next.saturating_add(1);
        let full = self.hints.len().saturating_add(self.passings.len()) >= signals_max;
        match signal {
            Signal::Hint(hint) => match self.hints.get_mut(&hint.thread) {
                Some((_, waiting)) if waiting.seq >= hint.seq => 0,
                Some(waiting) => {
                    *waiting = (self.next, hint);
                    0
                }
                None if full && self.passings.pop_front().is_none() => self.give_up(),
                None => {
                    self.hints.insert(hint.thread, (self.next, hint));
                    usize::from(full)
                }
            },
            Signal::Passing(passing) => {
                if !full || self.passings.pop_front().is_some() {
                    self.passings.push_back((self.next, passing));
                }
                usize::from(full)
            }
        }
    }

    /// Lets all hints go, the one for which there was no room included.
    fn give_up(&mut self) -> usize {
        let dropped = self.hints.len().saturating_add(1);
        self.hints.clear();
        self.missed = true;
        dropped
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn hint(thread: u128, seq: i64) -> Signal {
        Signal::Hint(Hint { thread: Uuid::from_u128(thread), seq, inline: None })
    }

    fn passing(body: u8) -> Signal {
        Signal::Passing(Passing { about: Uuid::nil(), body: Arc::from([body].as_slice()) })
    }

    fn signals(signals: &[Signal]) -> Vec<Heard> {
        signals.iter().cloned().map(Heard::Signal).collect()
    }

    fn pushed(signals_max: usize, signals: &[Signal]) -> (Outbox, usize) {
        let outbox = Outbox::new(signals_max);
        let dropped = signals.iter().cloned().map(|signal| outbox.push(signal)).sum();
        (outbox, dropped)
    }

    #[test]
    fn hints_of_one_thread_merge_to_the_highest_and_the_order_stays() {
        let (outbox, dropped) =
            pushed(9, &[hint(1, 4), passing(1), hint(2, 1), hint(1, 6), hint(1, 5), passing(2)]);
        assert_eq!(outbox.take(), signals(&[passing(1), hint(2, 1), hint(1, 6), passing(2)]));
        assert_eq!((dropped, outbox.take()), (0, Vec::new()));
    }

    #[test]
    fn the_oldest_passing_signals_go_first() {
        let (outbox, dropped) =
            pushed(3, &[passing(1), hint(1, 1), passing(2), passing(3), hint(2, 1), hint(1, 2)]);
        assert_eq!(outbox.take(), signals(&[passing(3), hint(2, 1), hint(1, 2)]));
        assert_eq!(dropped, 2);
    }

    #[test]
    fn a_passing_signal_does_not_drive_out_a_hint() {
        let (outbox, dropped) = pushed(2, &[hint(1, 1), hint(2, 1), passing(1)]);
        assert_eq!(outbox.take(), signals(&[hint(1, 1), hint(2, 1)]));
        assert_eq!(dropped, 1);
    }

    #[test]
    fn when_hints_find_no_room_it_is_said_that_something_was_missed() {
        let (outbox, dropped) = pushed(2, &[hint(1, 1), hint(2, 1), hint(3, 1), hint(4, 1)]);
        let mut expected = signals(&[hint(4, 1)]);
        expected.insert(0, Heard::Missed);
        assert_eq!(outbox.take(), expected);
        assert_eq!(dropped, 3);
    }

    #[tokio::test]
    async fn whoever_sends_is_woken() {
        let outbox = Outbox::new(2);
        outbox.push(hint(1, 1));
        outbox.filled().await;
        assert_eq!(outbox.take().len(), 1);
        outbox.miss();
        outbox.filled().await;
        assert_eq!(outbox.take(), [Heard::Missed]);
    }
}
