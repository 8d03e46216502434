//! How often something may happen: so many times at once, and so many more in each minute.
//!
//! The generic cell rate algorithm (ITU-T I.371): for each key one time is remembered, before which the next cell would
//! come too early. It is a token bucket without the tokens.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use super::Timestamp;

/// So many at once, and so many more in each minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    per_minute: u32,
}

impl Rate {
    /// `burst` at once, `per_minute` in each minute; neither is less than one.
    #[must_use]
    pub const fn new(burst: u32, per_minute: u32) -> Self {
        Self {
            burst: if burst == 0 { 1 } else { burst },
            per_minute: if per_minute == 0 { 1 } else { per_minute },
        }
    }

    /// Reads `<per minute>/min burst <burst>`, as [`fmt::Display`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (per_minute, burst) = text.split_once("/min burst ")?;
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number > 0);
        Some(Self { burst: number(burst)?, per_minute: number(per_minute)? })
    }

    /// Takes one. `due` is what the last taking returned, none before the first.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(self, due: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Duration> {
        let every = Duration::from_micros(60_000_000 / u64::from(self.per_minute));
        let ahead = every.saturating_mul(self.burst.saturating_sub(1));
        let due = due.unwrap_or(now).max(now);
        let early = due.since(now);
        if early > ahead {
            return Err(early.saturating_sub(ahead));
        }
        Ok(due.plus(every))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/min burst {}", self.per_minute, self.burst)
    }
}

/// One rate for each of many keys, in bounded memory.
#[derive(Debug)]
pub struct Rates<K> {
    rate: Rate,
    keys_max: usize,
    due: HashMap<K, Timestamp>,
}

impl<K: Hash + Eq> Rates<K> {
    /// Every key has this rate of its own; `keys_max` are remembered.
    #[must_use]
    pub fn new(rate: Rate, keys_max: usize) -> Self {
        Self { rate, keys_max, due: HashMap::new() }
    }

    /// Takes one for a key.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&mut self, key: K, now: Timestamp) -> Result<(), Duration> {
        if self.due.len() >= self.keys_max && !self.due.contains_key(&key) {
            self.make_room(now);
        }
        let due = self.rate.take(self.due.get(&key).copied(), now)?;
        self.due.insert(key, due);
        Ok(())
    }

    /// Whether a key could take one now.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self, key: &K, now: Timestamp) -> Result<(), Duration> {
        self.rate.take(self.due.get(key).copied(), now).map(drop)
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// A key that is not due any more says nothing. When all are, whoever has so many keys is not bounded by keys:
    /// memory is, and the rest is for a bound over all keys.
    fn make_room(&mut self, now: Timestamp) {
        self.due.retain(|_, due| *due > now);
        if self.due.len() >= self.keys_max {
            self.due.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000);

    fn at(millis: u64) -> Timestamp {
        START.plus(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_passes_and_then_one_in_each_interval() {
        let mut rates = Rates::new(Rate::new(3, 60), 8);
        let passed = (0..10).filter(|_| rates.take("a", START).is_ok()).count();
        assert_eq!(passed, 3);
        assert_eq!(rates.take("a", START), Err(Duration::from_secs(1)));
        assert_eq!(rates.take("a", at(999)), Err(Duration::from_millis(1)));
        assert_eq!(rates.take("a", at(1_000)), Ok(()));
        assert_eq!(rates.take("b", START), Ok(()));
    }

    #[test]
    fn a_clock_that_was_set_back_waits_no_longer_than_it_was_set_back_and_a_burst() {
        let rate = Rate::new(2, 60);
        let due = rate.take(None, at(10_000)).unwrap();
        assert_eq!(rate.take(Some(due), START), Err(Duration::from_secs(10)));
    }

    #[test]
    fn memory_is_bounded_also_against_keys_without_end() {
        let mut rates = Rates::new(Rate::new(1, 1), 100);
        for key in 0..10_000 {
            let _ = rates.take(key, START);
            assert!(rates.len() <= 100);
        }
    }

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        let rate = Rate::new(20, 300);
        assert_eq!(Rate::parse(&rate.to_string()), Some(rate));
        for wrong in ["", "300", "300/min", "0/min burst 1", "1/min burst 0", "-1/min burst 2", "1/s burst 2"]
        {
            assert_eq!(Rate::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn in_no_window_pass_more_than_the_burst_and_what_the_window_earns(
            burst in 1_u32..20,
            per_minute in 1_u32..6_000,
            steps in prop::collection::vec(0_u64..2_000, 1..200),
        ) {
            let (rate, mut due, mut now) = (Rate::new(burst, per_minute), None, START);
            let mut passed = Vec::new();
            for step in steps {
                now = now.plus(Duration::from_millis(step));
                match rate.take(due, now) {
                    Ok(next) => { due = Some(next); passed.push(now); }
                    // Whoever waits as told gets through.
                    Err(wait) => prop_assert!(rate.take(due, now.plus(wait)).is_ok()),
                }
            }
            for (index, first) in passed.iter().enumerate() {
                for (count, last) in (1_u32..).zip(&passed[index..]) {
                    let window = last.since(*first).as_secs_f64();
                    let earned = window * f64::from(per_minute) / 60.0;
                    let most = f64::from(burst) + earned + 1e-3 * f64::from(per_minute) + 1e-6;
                    prop_assert!(f64::from(count) <= most.max(f64::from(burst)), "{count} in {window} s");
                }
            }
        }
    }
}
