//! A circuit breaker before the mail server.
//!
//! After some failures in a row nobody asks the server for a while; then one letter tries whether it serves again.
//! While it does not, the waits grow. It knows no server and no letter, only successes and failures.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::Timestamp;

/// Failures in a row after which nobody asks any more.
const FAILURES_MAX: u32 = 3;
/// The first wait.
const PAUSE_FIRST: Duration = Duration::from_secs(30);
/// The longest.
const PAUSE_LAST: Duration = Duration::from_mins(10);
/// How long one that tries may take before another is let try: it went away without a word.
const TRIAL_MAX: Duration = Duration::from_mins(5);

/// Whether letters leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// They do.
    Closed,
    /// The next one tries whether they do.
    HalfOpen,
    /// They wait.
    Open,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Serving { failures: u32 },
    Waiting { until: Timestamp, pause: Duration },
    Trying { until: Timestamp, pause: Duration },
}

/// The breaker of one node.
#[derive(Debug)]
pub struct Breaker(Mutex<State>);

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(State::Serving { failures: 0 }))
    }
}

impl Breaker {
    /// Lets one attempt through, or says how long to wait.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&self, now: Timestamp) -> Result<Permit<'_>, Duration> {
        let mut state = self.state();
        match *state {
            State::Serving { .. } => Ok(Permit(self)),
            State::Waiting { until, pause } | State::Trying { until, pause } => {
                if now < until {
                    return Err(until.since(now));
                }
                *state = State::Trying { until: now.plus(TRIAL_MAX), pause };
                Ok(Permit(self))
            }
        }
    }

    /// How it stands.
    #[must_use]
    pub fn circuit(&self, now: Timestamp) -> Circuit {
        match *self.state() {
            State::Serving { .. } => Circuit::Closed,
            State::Trying { .. } => Circuit::HalfOpen,
            State::Waiting { until, .. } if now >= until => Circuit::HalfOpen,
            State::Waiting { .. } => Circuit::Open,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that was let through.
#[must_use = "say how it went"]
#[derive(Debug)]
pub struct Permit<'b>(&'b Breaker);

impl Permit<'_> {
    /// The server served.
    pub fn served(self) {
        *self.0.state() = State::Serving { failures: 0 };
    }

    /// It did not. Tells how long to wait before it is asked again.
    pub fn failed(self, now: Timestamp) -> Duration {
        let mut state = self.0.state();
        let pause = match *state {
            State::Serving { failures } if failures + 1 < FAILURES_MAX => {
                *state = State::Serving { failures: failures + 1 };
                return PAUSE_FIRST;
            }
            State::Serving { .. } => PAUSE_FIRST,
            State::Trying { pause, .. } => (pause * 2).min(PAUSE_LAST),
            // Another that was let through at the same time said so before.
            State::Waiting { until, .. } => return until.since(now),
        };
        tracing::warn!(wait = ?pause, "the mail server does not serve; letters wait");
        *state = State::Waiting { until: now.plus(pause), pause };
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000);

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.admit(START).unwrap().failed(START);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let breaker = Breaker::default();
        for _ in 0..5 {
            for _ in 1..FAILURES_MAX {
                assert_eq!(breaker.admit(START).unwrap().failed(START), PAUSE_FIRST);
            }
            breaker.admit(START).unwrap().served();
        }
        assert_eq!(breaker.circuit(START), Circuit::Closed);
        assert_eq!(opened().circuit(START), Circuit::Open);
        assert_eq!(opened().admit(START).unwrap_err(), PAUSE_FIRST);
    }

    #[test]
    fn one_tries_while_the_others_wait_and_its_success_lets_all_pass() {
        let breaker = opened();
        let later = START.plus(PAUSE_FIRST);
        assert_eq!(breaker.circuit(later), Circuit::HalfOpen);
        let trial = breaker.admit(later).unwrap();
        assert_eq!(breaker.admit(later).unwrap_err(), TRIAL_MAX);
        trial.served();
        assert_eq!(breaker.circuit(later), Circuit::Closed);
        breaker.admit(later).unwrap().served();
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let breaker = opened();
        let (mut now, mut pause) = (START, PAUSE_FIRST);
        for _ in 0..8 {
            now = now.plus(pause);
            let next = breaker.admit(now).unwrap().failed(now);
            assert_eq!(next, (pause * 2).min(PAUSE_LAST));
            pause = next;
        }
        assert_eq!(pause, PAUSE_LAST);
    }

    #[test]
    fn one_that_tried_and_went_away_does_not_keep_it_shut() {
        let breaker = opened();
        let later = START.plus(PAUSE_FIRST);
        let _ = breaker.admit(later).unwrap();
        assert!(breaker.admit(later.plus(TRIAL_MAX)).is_ok());
    }

    #[test]
    fn two_failures_at_once_wait_once() {
        let breaker = Breaker::default();
        let permits: Vec<_> = (0..=FAILURES_MAX).map(|_| breaker.admit(START).unwrap()).collect();
        let waits: Vec<_> = permits.into_iter().map(|permit| permit.failed(START)).collect();
        assert!(waits.iter().all(|wait| *wait == PAUSE_FIRST), "{waits:?}");
        assert_eq!(breaker.circuit(START), Circuit::Open);
    }
}
