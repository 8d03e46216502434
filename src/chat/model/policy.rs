//! How long an organisation keeps what is said in its threads, and whether for now it may lose nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Timestamp, Violations, text};

/// The longest that texts are kept when a limit is set, in days: ten years.
pub const RETENTION_DAYS_MAX: i64 = 3_650;
/// The longest reason of a hold, in characters.
pub const HOLD_REASON_CHARS_MAX: usize = 500;
const DAY: Duration = Duration::from_hours(24);

/// What an organisation has decided. An organisation that has decided nothing keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// After how many days texts go; never when none.
    pub retention_days: Option<i64>,
    /// Why nothing may be lost for now; none when it may.
    pub hold_reason: Option<String>,
    /// Counts the changes.
    pub version: i64,
}

impl Policy {
    /// Whether for now nothing may be lost.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.hold_reason.is_some()
    }

    /// Before when texts go, if any do.
    #[must_use]
    pub fn kept_since(&self, now: Timestamp) -> Option<Timestamp> {
        let days = self.retention_days.filter(|_| !self.is_held())?;
        Some(now.minus(DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX))))
    }

    /// As it is told to those who do not run the organisation: that it is held, and not why.
    #[must_use]
    pub fn discreet(self) -> Self {
        Self { hold_reason: self.hold_reason.map(|_| String::new()), ..self }
    }

    /// The policy after a change.
    #[must_use]
    pub fn changed(&self, change: PolicyChange) -> Self {
        Self {
            retention_days: change.retention_days.unwrap_or(self.retention_days),
            hold_reason: change.hold_reason.unwrap_or_else(|| self.hold_reason.clone()),
            version: self.version.saturating_add(1),
        }
    }
}

/// What is to change; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// After how many days texts go.
    pub retention_days: Option<Option<i64>>,
    /// Why nothing may be lost.
    pub hold_reason: Option<Option<String>>,
}

impl PolicyChange {
    /// Checks a number of days that came in, where 0 stands for ever.
    pub fn keep(&mut self, violations: &mut Violations, field: &str, days: i32) {
        let days = i64::from(days);
        let says = format!("must be between 1 and {RETENTION_DAYS_MAX}, or 0 to keep texts for ever");
        violations.check((0..=RETENTION_DAYS_MAX).contains(&days), field, says);
        self.retention_days = Some((days > 0).then_some(days));
    }

    /// Checks a reason that came in, where an empty one ends the hold.
    pub fn hold(&mut self, violations: &mut Violations, field: &str, reason: &str) {
        let reason = text::optional_line(violations, field, reason, HOLD_REASON_CHARS_MAX);
        self.hold_reason = Some((!reason.is_empty()).then_some(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_while_it_is_held() {
        let now = Timestamp::from_seconds(1_795_168_800);
        let policy = Policy { retention_days: Some(30), ..Policy::default() };
        assert_eq!(policy.kept_since(now), Some(Timestamp::from_seconds(1_795_168_800 - 30 * 86_400)));
        let held = Policy { hold_reason: Some("case 7".to_owned()), ..policy };
        assert_eq!(held.kept_since(now), None);
        let discreet = held.discreet();
        assert!(discreet.is_held() && discreet.hold_reason == Some(String::new()));
        assert_eq!(Policy::default().kept_since(now), None);
        assert_eq!(Policy::default().discreet(), Policy::default());
    }

    #[test]
    fn what_is_not_named_stays() {
        let before = Policy { retention_days: Some(30), hold_reason: Some("case 7".to_owned()), version: 4 };
        let mut violations = Violations::new();
        let mut change = PolicyChange::default();
        change.hold(&mut violations, "reason", " ");
        let after = before.changed(change);
        assert_eq!((after.retention_days, after.hold_reason, after.version), (Some(30), None, 5));
        let mut change = PolicyChange::default();
        change.keep(&mut violations, "days", 0);
        assert_eq!(before.changed(change).retention_days, None);
        assert!(violations.is_empty());
        PolicyChange::default().keep(&mut violations, "days", -1);
        PolicyChange::default().keep(&mut violations, "days", 3_651);
        PolicyChange::default().hold(&mut violations, "reason", "two\nlines");
        assert_eq!(violations.len(), 3);
    }
}
