//! When signing keys are made, sign, and go: decided by what is stored of them, so that every node decides the same.
//!
//! There is always one key ahead: published, so that whoever checks tokens has it long before it signs, and ready when
//! the one that signs is lost. A key signs from its stored time until the next one's. After that it verifies until the
//! last token that it can have signed has expired, and is deleted. Nodes whose clocks differ by a second sign with
//! either key for that second, and both are known everywhere.

use std::time::Duration;

use crate::base::Timestamp;

/// How long a key is published before it signs, at the least: more than an access token lives and a verifier keeps the
/// published keys (Envoy keeps them for five minutes).
pub const PUBLISHED_AHEAD: Duration = Duration::from_hours(1);
/// How long a key verifies after it signed last: as long as the longest token that is issued, and a minute for clocks
/// that differ.
pub const KEPT: Duration = Duration::from_mins(24 * 60 + 1);
/// The longest life of a token that an operator may have issued.
pub const TOKEN_AGE_MAX: Duration = Duration::from_hours(24);

/// What is stored of a key and decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Its place in the order of keys.
    pub generation: i64,
    /// From when it signs.
    pub signs_from: Timestamp,
}

/// What a key does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It is published and signs later.
    Next,
    /// It signs.
    Signing,
    /// It verifies what it signed before.
    Retired,
}

/// The generation that signs: the newest one whose time has come. On a node whose clock is behind the first key's time
/// that is the first.
#[must_use]
pub fn signing(keys: &[Times], now: Timestamp) -> Option<Times> {
    let due = keys.iter().filter(|key| key.signs_from <= now).max_by_key(|key| key.generation);
    due.or_else(|| keys.iter().min_by_key(|key| key.generation)).copied()
}

/// What a key of this generation does.
#[must_use]
pub fn duty(keys: &[Times], generation: i64, now: Timestamp) -> Duty {
    match signing(keys, now) {
        Some(signing) if generation < signing.generation => Duty::Retired,
        Some(signing) if generation == signing.generation => Duty::Signing,
        _ => Duty::Next,
    }
}

/// The key that is to be made now, when there is none ahead. `period` is how long a key signs.
#[must_use]
pub fn next(keys: &[Times], now: Timestamp, period: Duration) -> Option<Times> {
    let newest = keys.iter().max_by_key(|key| key.generation)?;
    let ahead = signing(keys, now).is_none_or(|signing| signing.generation < newest.generation);
    (!ahead).then(|| Times {
        generation: newest.generation.saturating_add(1),
        // After a long standstill the next one is due already, and is published first all the same.
        signs_from: newest.signs_from.plus(period).max(now.plus(PUBLISHED_AHEAD)),
    })
}

/// When a key of this generation is deleted: when the last token that it can have signed has expired. None as long as
/// no key follows it.
#[must_use]
pub fn ends(keys: &[Times], generation: i64) -> Option<Timestamp> {
    let after = keys.iter().filter(|key| key.generation > generation).min_by_key(|key| key.generation);
    after.map(|after| after.signs_from.plus(KEPT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const PERIOD: Duration = Duration::from_hours(30 * 24);
    const START: Timestamp = Timestamp::from_seconds(1_000_000);

    fn first() -> Vec<Times> {
        vec![Times { generation: 1, signs_from: START }]
    }

    #[test]
    fn there_is_always_one_ahead() {
        let mut keys = first();
        let made = next(&keys, START, PERIOD).unwrap();
        assert_eq!(made, Times { generation: 2, signs_from: START.plus(PERIOD) });
        keys.push(made);
        assert_eq!(next(&keys, START, PERIOD), None);
        let later = START.plus(PERIOD);
        assert_eq!(signing(&keys, later.minus(Duration::from_micros(1))).unwrap().generation, 1);
        assert_eq!(signing(&keys, later).unwrap().generation, 2);
        assert_eq!(next(&keys, later, PERIOD).unwrap().generation, 3);
        assert_eq!((duty(&keys, 1, later), duty(&keys, 2, later)), (Duty::Retired, Duty::Signing));
        assert_eq!((ends(&keys, 1), ends(&keys, 2)), (Some(later.plus(KEPT)), None));
    }

    #[test]
    fn a_clock_that_is_behind_signs_with_what_there_is() {
        let before = START.minus(Duration::from_secs(1));
        assert_eq!(signing(&first(), before).unwrap().generation, 1);
        assert_eq!(next(&first(), before, PERIOD).unwrap().generation, 2);
        assert_eq!(signing(&[], before), None);
        assert_eq!(next(&[], before, PERIOD), None);
    }

    #[test]
    fn the_times_hold_together() {
        assert!(KEPT > TOKEN_AGE_MAX);
        assert!(PUBLISHED_AHEAD > Duration::from_mins(10) + Duration::from_mins(5));
    }

    proptest! {
        // Whenever nodes happen to look, and however long nobody does.
        #[test]
        fn every_key_is_published_long_before_it_signs_and_stays_while_its_tokens_live(
            gaps in proptest::collection::vec(1_u64..4_000_000, 1..60), period in 1_u32..90,
        ) {
            let (mut keys, mut made_at, mut now) = (first(), vec![(1, START)], START);
            for gap in gaps {
                now = now.plus(Duration::from_secs(gap));
                if let Some(made) = next(&keys, now, DAY * period) {
                    prop_assert!(made.signs_from >= now.plus(PUBLISHED_AHEAD));
                    made_at.push((made.generation, now));
                    keys.push(made);
                }
                let signs = signing(&keys, now).unwrap();
                // What signs now will verify for as long as a token made now can live.
                prop_assert!(ends(&keys, signs.generation).is_none_or(|at| at >= now.plus(TOKEN_AGE_MAX)));
                let all = keys.clone();
                keys.retain(|key| ends(&all, key.generation).is_none_or(|at| now < at));
                prop_assert!(keys.contains(&signs));
                prop_assert!(next(&keys, now, DAY * period).is_none());
                prop_assert!(keys.len() <= 4, "{keys:?}");
            }
        }
    }
}
