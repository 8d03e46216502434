//! What becomes of a refresh token that is brought: the rule of a session's family of tokens.
//!
//! A token is exchanged once. For some seconds afterwards it may come again, from a second tab that woke at the same
//! moment or from a client that did not hear the answer, and then gets the very same successor, as long as nobody has
//! gone on from that one. Anything else that is old is a copy in somebody's hands.

use std::time::Duration;

use crate::base::Timestamp;

/// How long an exchanged token still leads to its successor.
pub const GRACE: Duration = Duration::from_secs(10);

/// A refresh token as it stands when it is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Its place among the session's tokens.
    pub generation: i64,
    /// The place of the session's newest token.
    pub newest: i64,
    /// When it was exchanged.
    pub used_at: Option<Timestamp>,
    /// When the session ends unless it is used.
    pub expires_at: Timestamp,
    /// Whether the session was ended.
    pub ended: bool,
}

/// What becomes of a refresh token that is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is exchanged.
    Exchange,
    /// It gets the successor that it was exchanged for.
    SameSuccessor,
    /// Somebody holds a copy: the session is to be ended.
    Reused,
    /// The session was ended before.
    Ended,
    /// The session's time is over.
    Expired,
}

impl Brought {
    /// Judges it.
    #[must_use]
    pub fn judge(&self, now: Timestamp) -> Verdict {
        let in_grace = |used_at: Timestamp| {
            now < used_at.plus(GRACE) && self.newest == self.generation.saturating_add(1)
        };
        match self.used_at {
            _ if self.ended => Verdict::Ended,
            _ if now >= self.expires_at => Verdict::Expired,
            None => Verdict::Exchange,
            Some(used_at) if in_grace(used_at) => Verdict::SameSuccessor,
            Some(_) => Verdict::Reused,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USED: Timestamp = Timestamp::from_seconds(1_000);

    fn brought(generation: i64, newest: i64, used: bool) -> Brought {
        Brought {
            generation,
            newest,
            used_at: used.then_some(USED),
            expires_at: Timestamp::from_seconds(9_999),
            ended: false,
        }
    }

    #[test]
    fn the_grace_is_ten_seconds_and_one_step() {
        let at = |millis| USED.plus(Duration::from_millis(millis));
        assert_eq!(brought(1, 1, false).judge(USED), Verdict::Exchange);
        assert_eq!(brought(1, 2, true).judge(at(9_999)), Verdict::SameSuccessor);
        assert_eq!(brought(1, 2, true).judge(at(10_000)), Verdict::Reused);
        assert_eq!(brought(1, 3, true).judge(at(0)), Verdict::Reused);
        // Another node's clock may be behind this one's by a little.
        assert_eq!(brought(1, 2, true).judge(USED.minus(Duration::from_secs(1))), Verdict::SameSuccessor);
    }

    #[test]
    fn a_session_that_is_over_answers_for_all_its_tokens() {
        let ended = Brought { ended: true, ..brought(1, 2, true) };
        assert_eq!(ended.judge(USED), Verdict::Ended);
        assert_eq!(brought(1, 1, false).judge(Timestamp::from_seconds(9_999)), Verdict::Expired);
    }

    proptest! {
        #[test]
        fn only_a_token_that_was_never_exchanged_is_exchanged(
            generation in 1_i64..9, ahead in 0_i64..4, used: bool, ended: bool, late in 0_i64..20_000,
        ) {
            let token = Brought { ended, ..brought(generation, generation + ahead, used) };
            let verdict = token.judge(USED.plus(Duration::from_millis(late.unsigned_abs())));
            if verdict == Verdict::Exchange {
                prop_assert!(!used && !ended);
            }
            if verdict == Verdict::SameSuccessor {
                prop_assert!(used && ahead == 1 && late < 10_000);
            }
            prop_assert_eq!(verdict == Verdict::Ended, ended);
        }
    }
}
