//! How good the connection is, from what the stream shows by itself: nothing is sent to measure it.
//!
//! | grade | median round trip | 95th percentile | missed heartbeats | streams lost |
//! | --- | --- | --- | --- | --- |
//! | good | up to 300 ms | up to 1 s | none | at most 1 |
//! | fair | up to 1 s | up to 3 s | at most 2 | at most 3 |
//! | poor | more | more | more | more |
//!
//! All of the last five minutes, and of the last 32 round trips: from a message to its Ack, and what the server
//! measured of a pong. A silence of one and a half heartbeat intervals is a missed heartbeat. It gets worse at once,
//! and better only when it was better for 30 seconds without a break. It must not know states or streams.

use std::collections::VecDeque;

/// How long a figure counts, in milliseconds.
pub const WINDOW_MS: u64 = 300_000;
/// How many figures of a kind are kept.
pub const FIGURES_MAX: usize = 32;
/// How long it has to be better before it is called so, in milliseconds.
pub const STEADY_MS: u64 = 30_000;

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Good,
    /// It is felt.
    Fair,
    /// It disturbs.
    Poor,
}

/// The most that a grade may have.
struct Bounds {
    median_ms: u64,
    p95_ms: u64,
    missed: usize,
    lost: usize,
}

const GOOD: Bounds = Bounds { median_ms: 300, p95_ms: 1_000, missed: 0, lost: 1 };
const FAIR: Bounds = Bounds { median_ms: 1_000, p95_ms: 3_000, missed: 2, lost: 3 };

/// The figures and the grade. Its memory is bounded by [`FIGURES_MAX`].
#[derive(Clone, Debug)]
pub struct Quality {
    grade: Grade,
    better_since: Option<u64>,
    /// When, and how long it took.
    round_trips: VecDeque<(u64, u64)>,
    missed: VecDeque<(u64, u64)>,
    lost: VecDeque<(u64, u64)>,
}

impl Default for Quality {
    fn default() -> Self {
        let (round_trips, missed, lost) = Default::default();
        Self { grade: Grade::Good, better_since: None, round_trips, missed, lost }
    }
}

impl Quality {
    /// The grade as it was last told.
    #[must_use]
    pub fn grade(&self) -> Grade {
        self.grade
    }

    /// Something took so many milliseconds to the server and back.
    pub fn round_trip(&mut self, now: u64, took: u64) {
        note(&mut self.round_trips, now, took);
    }

    /// A heartbeat did not come in time.
    pub fn missed(&mut self, now: u64) {
        note(&mut self.missed, now, 0);
    }

    /// A stream was lost.
    pub fn lost(&mut self, now: u64) {
        note(&mut self.lost, now, 0);
    }

    /// Looks at the figures; the new grade when it is another.
    pub fn judge(&mut self, now: u64) -> Option<Grade> {
        for figures in [&mut self.round_trips, &mut self.missed, &mut self.lost] {
            while figures.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW_MS) {
                figures.pop_front();
            }
        }
        let measured = self.measure();
        if measured >= self.grade {
            self.better_since = None;
            if measured == self.grade {
                return None;
            }
        } else {
            let since = *self.better_since.get_or_insert(now);
            if now.saturating_sub(since) < STEADY_MS {
                return None;
            }
            self.better_since = None;
        }
        self.grade = measured;
        Some(measured)
    }

    fn measure(&self) -> Grade {
        if self.is_within(&GOOD) {
            Grade::Good
        } else if self.is_within(&FAIR) {
            Grade::Fair
        } else {
            Grade::Poor
        }
    }

    fn is_within(&self, bounds: &Bounds) -> bool {
        let mut took: Vec<u64> = self.round_trips.iter().map(|(_, took)| *took).collect();
        took.sort_unstable();
        percentile(&took, 50) <= bounds.median_ms
            && percentile(&took, 95) <= bounds.p95_ms
            && self.missed.len() <= bounds.missed
            && self.lost.len() <= bounds.lost
    }
}

fn note(figures: &mut VecDeque<(u64, u64)>, now: u64, figure: u64) {
    if figures.len() >= FIGURES_MAX {
        figures.pop_front();
    }
    figures.push_back((now, figure));
}

/// The smallest figure that `percent` of them do not exceed; 0 when there is none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let sorted: Vec<u64> = (1..=20).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 95), percentile(&[], 95)), (10, 19, 0));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 95)), (7, 7));
    }

    #[test]
    fn it_gets_worse_at_once_and_better_after_a_while() {
        let mut quality = Quality::default();
        quality.missed(0);
        assert_eq!(quality.judge(0), Some(Grade::Fair));
        assert_eq!(quality.judge(WINDOW_MS - 1), None);
        assert_eq!(quality.judge(WINDOW_MS), None);
        assert_eq!(quality.judge(WINDOW_MS + STEADY_MS - 1), None);
        assert_eq!(quality.judge(WINDOW_MS + STEADY_MS), Some(Grade::Good));
    }

    #[test]
    fn a_relapse_starts_the_wait_anew() {
        let mut quality = Quality::default();
        quality.missed(0);
        quality.judge(0);
        quality.judge(WINDOW_MS);
        quality.missed(WINDOW_MS + 1);
        assert_eq!(quality.judge(WINDOW_MS + 1), None);
        assert_eq!(quality.judge(2 * WINDOW_MS + 1), None);
        assert_eq!(quality.judge(2 * WINDOW_MS + STEADY_MS), None);
        assert_eq!(quality.judge(2 * WINDOW_MS + STEADY_MS + 1), Some(Grade::Good));
    }
}
