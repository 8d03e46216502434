//! How good a connection is, as the server sees it: from the answers to its heartbeats, and from nothing else.
//!
//! | grade | median round trip | 95th percentile | unanswered |
//! | --- | --- | --- | --- |
//! | good | up to 300 ms | up to 1 s | none |
//! | fair | up to 1 s | up to 3 s | at most 2 |
//! | poor | more | more | more |
//!
//! All of the last fifteen heartbeats, which with the usual interval is five minutes: the bounds of clients, which see
//! more than the server does.

use std::collections::VecDeque;
use std::time::Duration;

/// How many heartbeats count.
const HEARTBEATS: usize = 15;

/// How good a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    median: Duration,
    p95: Duration,
    unanswered: usize,
}

const GOOD: Bounds =
    Bounds { median: Duration::from_millis(300), p95: Duration::from_secs(1), unanswered: 0 };
const FAIR: Bounds = Bounds { median: Duration::from_secs(1), p95: Duration::from_secs(3), unanswered: 2 };

/// What became of the last heartbeats. Takes no memory before the first.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    /// How long the answer took; none when it did not come before the next heartbeat.
    answers: VecDeque<Option<Duration>>,
}

impl Quality {
    /// Notes what became of a heartbeat.
    pub fn note(&mut self, answer: Option<Duration>) {
        if self.answers.len() >= HEARTBEATS {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    /// The grade; none when nothing is known.
    #[must_use]
    pub fn grade(&self) -> Option<Grade> {
        if self.answers.is_empty() {
            return None;
        }
        let mut took: Vec<Duration> = self.answers.iter().copied().flatten().collect();
        took.sort_unstable();
        let (median, p95) = (percentile(&took, 50), percentile(&took, 95));
        let unanswered = self.answers.len().saturating_sub(took.len());
        let within =
            |bounds: &Bounds| median <= bounds.median && p95 <= bounds.p95 && unanswered <= bounds.unanswered;
        Some(match () {
            () if within(&GOOD) => Grade::Good,
            () if within(&FAIR) => Grade::Fair,
            () => Grade::Poor,
        })
    }
}

/// The smallest figure that `percent` of them do not exceed; zero when there is none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(answers: &[Option<u64>]) -> Option<Grade> {
        let mut quality = Quality::default();
        for answer in answers {
            quality.note(answer.map(Duration::from_millis));
        }
        quality.grade()
    }

    #[test]
    fn the_grade_is_that_of_the_worst_figure() {
        assert_eq!(grade(&[]), None);
        assert_eq!(grade(&[Some(300), Some(20), Some(1_000)]), Some(Grade::Good));
        assert_eq!(grade(&[Some(301), Some(301), Some(20)]), Some(Grade::Fair), "the median");
        assert_eq!(grade(&[Some(20), Some(20), Some(1_001)]), Some(Grade::Fair), "the 95th percentile");
        assert_eq!(grade(&[Some(20), None, None]), Some(Grade::Fair), "two unanswered");
        assert_eq!(grade(&[Some(1_001), Some(1_001), Some(20)]), Some(Grade::Poor));
        assert_eq!(grade(&[Some(20), Some(20), Some(3_001)]), Some(Grade::Poor));
        assert_eq!(grade(&[None, None, None]), Some(Grade::Poor));
    }

    #[test]
    fn what_is_long_ago_counts_no_more() {
        let mut answers = vec![None; 5];
        answers.extend([Some(20); HEARTBEATS]);
        assert_eq!(grade(&answers), Some(Grade::Good));
    }
}
