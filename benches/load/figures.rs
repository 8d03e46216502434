//! What was measured: rounds of two programs, and what they come to.

use std::time::Duration;

use serde::Serialize;

/// How many times each program has its turn.
pub const ROUNDS: usize = 5;

/// What one program did in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// How much: calls, frames, bytes or seconds, as the row's unit says.
    pub value: f64,
    /// Processor seconds that the program used for one unit, where that says something.
    pub cpu: Option<f64>,
}

impl Round {
    /// So many things in such a time, for so much processor time.
    pub fn rate(count: u64, elapsed: Duration, cpu: Duration) -> Self {
        let count = count as f64;
        Self { value: count / elapsed.as_secs_f64(), cpu: Some(cpu.as_secs_f64() / count.max(1.0)) }
    }

    /// A quantity by itself.
    pub const fn plain(value: f64) -> Self {
        Self { value, cpu: None }
    }
}

/// What is wanted of a row.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The median of the ratios to the control, at least.
    RatioAtLeast(f64),
    /// The median of the ratios to the control, at most.
    RatioAtMost(f64),
    /// The median of our own values, at most.
    ValueAtMost(f64),
    /// How much more than the control's value ours may be.
    ExcessAtMost(f64),
    /// Nothing: the figure is for information.
    None,
}

/// A row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What is measured.
    pub name: String,
    /// `sqlite` or `postgres`.
    pub engine: &'static str,
    /// The unit of the values.
    pub unit: &'static str,
    /// The platform's rounds.
    pub ours: Vec<Round>,
    /// The control's rounds, each beside the platform's of the same place.
    pub control: Vec<Round>,
    /// What is wanted.
    pub target: Target,
}

impl Row {
    /// The median of our values.
    pub fn ours(&self) -> f64 {
        median(self.ours.iter().map(|round| round.value))
    }

    /// The median of the control's values.
    pub fn control(&self) -> f64 {
        median(self.control.iter().map(|round| round.value))
    }

    /// Ours over the control's, round by round: the least, the median and the greatest.
    pub fn ratio(&self) -> (f64, f64, f64) {
        let ratios: Vec<f64> =
            self.ours.iter().zip(&self.control).map(|(ours, control)| ours.value / control.value).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, median(ratios), greatest)
    }

    /// How many times the control's processor time ours used for the same.
    pub fn cpu_ratio(&self) -> Option<f64> {
        let of = |rounds: &[Round]| {
            let values: Vec<f64> = rounds.iter().filter_map(|round| round.cpu).collect();
            (!values.is_empty()).then(|| median(values))
        };
        Some(of(&self.ours)? / of(&self.control)?)
    }

    /// Whether the target is met; `None` when there is none.
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::RatioAtLeast(least) => Some(self.ratio().1 >= least),
            Target::RatioAtMost(most) => Some(self.ratio().1 <= most),
            Target::ValueAtMost(most) => Some(self.ours() <= most),
            Target::ExcessAtMost(most) => Some(self.ours() - self.control() <= most),
            Target::None => None,
        }
    }
}

/// The middle of the values; of two in the middle the upper one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
