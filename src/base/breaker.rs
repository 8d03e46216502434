//! A circuit breaker before somebody else's server.
//!
//! After some failures in a row nobody asks the server for a while; then one attempt tries whether it serves again.
//! While it does not, the waits grow. It knows no server, only successes and failures.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Timestamp;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Failures in a row after which nobody asks any more.
    pub failures_max: u32,
    /// The first wait.
    pub pause_first: Duration,
    /// The longest.
    pub pause_last: Duration,
    /// How long one that tries may take before another is let try: it went away without a word.
    pub trial_max: Duration,
}

impl Limits {
    /// What serves for a server that is down now and then.
    pub const ORDINARY: Self = Self {
        failures_max: 3,
        pause_first: Duration::from_secs(30),
        pause_last: Duration::from_mins(10),
        trial_max: Duration::from_mins(5),
    };
}

/// Whether attempts are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// They are.
    Closed,
    /// The next one tries whether the server serves.
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

/// The breaker of one node before one server.
#[derive(Debug)]
pub struct Breaker {
    server: &'static str,
    limits: Limits,
    state: Mutex<State>,
}

impl Breaker {
    /// A closed one. The log calls the server by this name.
    #[must_use]
    pub const fn new(server: &'static str, limits: Limits) -> Self {
        Self { server, limits, state: Mutex::new(State::Serving { failures: 0 }) }
    }

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
                *state = State::Trying { until: now.plus(self.limits.trial_max), pause };
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// It was not asked after all: the next one may.
    pub fn unused(self, now: Timestamp) {
        let mut state = self.0.state();
        if let State::Trying { pause, .. } = *state {
            *state = State::Waiting { until: now, pause };
        }
    }

    /// It did not. Tells how long to wait before it is asked again.
    pub fn failed(self, now: Timestamp) -> Duration {
        let Limits { failures_max, pause_first, pause_last, .. } = self.0.limits;
        let mut state = self.0.state();
        let pause = match *state {
            State::Serving { failures } if failures + 1 < failures_max => {
                *state = State::Serving { failures: failures + 1 };
                return pause_first;
            }
            State::Serving { .. } => pause_first,
            State::Trying { pause, .. } => (pause * 2).min(pause_last),
            // Another that was let through at the same time said so before.
            State::Waiting { until, .. } => return until.since(now),
        };
        tracing::warn!(server = self.0.server, wait = ?pause, "a server does not serve; it is not asked for a while");
        *state = State::Waiting { until: now.plus(pause), pause };
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000);
    const ORDINARY: Limits = Limits::ORDINARY;

    fn closed() -> Breaker {
        Breaker::new("a server", ORDINARY)
    }

    fn opened() -> Breaker {
        let breaker = closed();
        for _ in 0..ORDINARY.failures_max {
            breaker.admit(START).unwrap().failed(START);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let breaker = closed();
        for _ in 0..5 {
            for _ in 1..ORDINARY.failures_max {
                assert_eq!(breaker.admit(START).unwrap().failed(START), ORDINARY.pause_first);
            }
            breaker.admit(START).unwrap().served();
        }
        assert_eq!(breaker.circuit(START), Circuit::Closed);
        assert_eq!(opened().circuit(START), Circuit::Open);
        assert_eq!(opened().admit(START).unwrap_err(), ORDINARY.pause_first);
    }

    #[test]
    fn one_tries_while_the_others_wait_and_its_success_lets_all_pass() {
        let breaker = opened();
        let later = START.plus(ORDINARY.pause_first);
        assert_eq!(breaker.circuit(later), Circuit::HalfOpen);
        let trial = breaker.admit(later).unwrap();
        assert_eq!(breaker.admit(later).unwrap_err(), ORDINARY.trial_max);
        trial.served();
        assert_eq!(breaker.circuit(later), Circuit::Closed);
        breaker.admit(later).unwrap().served();
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let breaker = opened();
        let (mut now, mut pause) = (START, ORDINARY.pause_first);
        for _ in 0..8 {
            now = now.plus(pause);
            let next = breaker.admit(now).unwrap().failed(now);
            assert_eq!(next, (pause * 2).min(ORDINARY.pause_last));
            pause = next;
        }
        assert_eq!(pause, ORDINARY.pause_last);
    }

    #[test]
    fn one_that_tried_and_went_away_does_not_keep_it_shut() {
        let breaker = opened();
        let later = START.plus(ORDINARY.pause_first);
        let _ = breaker.admit(later).unwrap();
        assert!(breaker.admit(later.plus(ORDINARY.trial_max)).is_ok());
    }

    #[test]
    fn two_failures_at_once_wait_once() {
        let breaker = closed();
        let permits: Vec<_> = (0..=ORDINARY.failures_max).map(|_| breaker.admit(START).unwrap()).collect();
        let waits: Vec<_> = permits.into_iter().map(|permit| permit.failed(START)).collect();
        assert!(waits.iter().all(|wait| *wait == ORDINARY.pause_first), "{waits:?}");
        assert_eq!(breaker.circuit(START), Circuit::Open);
    }

    #[test]
    fn a_trial_that_was_not_made_is_the_next_ones() {
        let breaker = opened();
        let later = START.plus(ORDINARY.pause_first);
        breaker.admit(later).unwrap().unused(later);
        assert_eq!(breaker.circuit(later), Circuit::HalfOpen);
        assert_eq!(breaker.admit(later).unwrap().failed(later), ORDINARY.pause_first * 2);
        let closed = closed();
        closed.admit(START).unwrap().unused(START);
        assert_eq!(closed.circuit(START), Circuit::Closed);
    }

    #[test]
    fn the_limits_are_its_own() {
        let limits = Limits { failures_max: 1, pause_first: Duration::from_hours(1), ..ORDINARY };
        let breaker = Breaker::new("a server", limits);
        assert_eq!(breaker.admit(START).unwrap().failed(START), Duration::from_hours(1));
        assert_eq!(breaker.circuit(START), Circuit::Open);
    }
}
