//! What the simulator can be told to do wrong, and which payment meets which fault. Pure: a plan and a number in, a
//! fate out.
//!
//! A payment is known by its place in the order in which buyers paid since the plan was set, from 1. Charges, renewals
//! and refunds stand in the same order, and what is said of payments here holds for them. A payment's fate follows
//! from the plan's seed and that number alone, and each fault is drawn on its own: the same plan and the same order of
//! payments meet the same faults, whatever their ids are, and changing how often one fault comes moves no other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::base::Violations;
use crate::db::words;

/// How many payments can have their faults named one by one.
const FIRST_MAX: usize = 1_000;
/// How late a notification can be, in seconds.
const LATE_SECONDS_MAX: u64 = 86_400;
/// How often a confirmation can fail before it is answered. The platform asks 60 times.
const CONFIRMATION_FAILURES_MAX: u64 = 100;
/// How long a confirmation can take, in seconds. The platform waits for fifteen.
const SLOW_SECONDS_MAX: u64 = 60;

words! {
    /// One thing that goes wrong with a payment.
    pub enum Fault {
        /// The notification comes later.
        Late = "late",
        /// The notification comes twice.
        Twice = "twice",
        /// The notification does not come.
        Never = "never",
        /// A second notification, PENDING, comes after the one that it should have preceded.
        Reordered = "reordered",
        /// Asked to confirm, PayFast says that it did not send the notification.
        Invalid = "invalid",
        /// Asked to confirm, PayFast answers 503 a few times.
        ConfirmationDown = "confirmation_down",
        /// Asked to confirm, PayFast takes longer than anybody waits, a few times.
        ConfirmationSlow = "confirmation_slow",
        /// The notification tells of one cent less than was to be paid.
        Short = "short",
        /// The notification is for another merchant.
        OtherMerchant = "other_merchant",
        /// The API does what it was asked and answers later than anybody waits.
        ApiSlow = "api_slow",
        /// The API does nothing and answers later than anybody waits, with 500.
        ApiLost = "api_lost",
        /// The API does what it was asked and answers 500.
        ApiError = "api_error",
        /// The API does what it was asked and answers with a page.
        ApiGarbled = "api_garbled",
        /// The API says yes as a text, and breaks its message in two, as the live one does.
        AsText = "as_text",
        /// The bank refuses the charge.
        Declined = "declined",
        /// The subscription is found to be locked.
        Locked = "locked",
        /// The account has not the money for the refund.
        Unfunded = "unfunded",
        /// The refund is done later.
        RefundPending = "refund_pending",
        /// Asked about the payment, the API answers 500 a few times.
        QueryDown = "query_down",
        /// The payment is missing in the history.
        Unlisted = "unlisted",
    }
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Late,
        Self::Twice,
        Self::Never,
        Self::Reordered,
        Self::Invalid,
        Self::ConfirmationDown,
        Self::ConfirmationSlow,
        Self::Short,
        Self::OtherMerchant,
        Self::ApiSlow,
        Self::ApiLost,
        Self::ApiError,
        Self::ApiGarbled,
        Self::AsText,
        Self::Declined,
        Self::Locked,
        Self::Unfunded,
        Self::RefundPending,
        Self::QueryDown,
        Self::Unlisted,
    ];

    fn all_words() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

/// Which faults come, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What the draws begin with.
    pub seed: u64,
    /// The faults of the first payments, one by one. Nothing is drawn for these.
    pub first: Vec<BTreeSet<Fault>>,
    /// How many of a hundred later payments meet each fault.
    pub percent: BTreeMap<Fault, u64>,
    /// How late a late notification is, and a refund that is pending.
    pub late_seconds: u64,
    /// How often a confirmation is down or slow, and a query down, before it is answered.
    pub confirmation_failures: u64,
    /// How long a slow confirmation takes, and a slow answer of the API.
    pub slow_seconds: u64,
}

/// What a payment meets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// The payment's place since the plan was set, from 1; 0 when there was no plan.
    pub payment: u64,
    /// Its faults.
    pub faults: BTreeSet<Fault>,
    /// How late its notification is, if it is, or its refund.
    pub late_seconds: u64,
    /// How often its confirmation is down or slow, if it is, or a query of it.
    pub confirmation_failures: u64,
    /// How long its confirmation takes, if it is slow, or the API's answer.
    pub slow_seconds: u64,
}

impl Fate {
    /// Whether this fault is among them.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

impl Plan {
    /// Reads a plan from JSON.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(json: &[u8]) -> Result<Self, Violations> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(json) else {
            return Err(Violations::one(
                "body",
                "must be a JSON object such as {\"seed\": 1, \"percent\": {\"late\": 20}}",
            ));
        };
        let mut reader = Reader { fields, violations: Violations::new() };
        let plan = Self {
            seed: reader.seed(),
            first: reader.first(),
            percent: reader.percent(),
            late_seconds: reader.whole("late_seconds", 300, 1, LATE_SECONDS_MAX),
            confirmation_failures: reader.whole("confirmation_failures", 3, 1, CONFIRMATION_FAILURES_MAX),
            slow_seconds: reader.whole("slow_seconds", 20, 1, SLOW_SECONDS_MAX),
        };
        reader.finish().map(|()| plan)
    }

    /// What the payment of this number meets, from 1.
    #[must_use]
    pub fn fate(&self, payment: u64) -> Fate {
        let named = payment.checked_sub(1).and_then(|at| self.first.get(usize::try_from(at).ok()?));
        let faults = match named {
            Some(faults) => faults.clone(),
            None => Fault::ALL.into_iter().filter(|fault| self.draws(payment, *fault)).collect(),
        };
        Fate {
            payment,
            faults,
            late_seconds: self.late_seconds,
            confirmation_failures: self.confirmation_failures,
            slow_seconds: self.slow_seconds,
        }
    }

    fn draws(&self, payment: u64, fault: Fault) -> bool {
        let percent = self.percent.get(&fault).copied().unwrap_or(0);
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(payment.to_le_bytes());
        hash.update(fault.as_str());
        let drawn = hash.finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        drawn % 100 < percent
    }
}

/// Takes the fields out one by one and remembers what was wrong.
struct Reader {
    fields: Map<String, Value>,
    violations: Violations,
}

impl Reader {
    fn seed(&mut self) -> u64 {
        let seed = self.fields.remove("seed").and_then(|seed| seed.as_u64());
        seed.unwrap_or_else(|| {
            self.violations.add("seed", "must be a whole number, 0 or more");
            0
        })
    }

    fn whole(&mut self, name: &str, default: u64, least: u64, most: u64) -> u64 {
        let Some(given) = self.fields.remove(name) else { return default };
        given.as_u64().filter(|number| (least..=most).contains(number)).unwrap_or_else(|| {
            self.violations.add(name, format!("must be a whole number from {least} to {most}"));
            default
        })
    }

    fn first(&mut self) -> Vec<BTreeSet<Fault>> {
        let Some(given) = self.fields.remove("first") else { return Vec::new() };
        let Value::Array(payments) = given else {
            self.violations.add("first", "must be a list with a list of faults for each payment");
            return Vec::new();
        };
        if payments.len() > FIRST_MAX {
            self.violations.add("first", format!("must name at most {FIRST_MAX} payments"));
            return Vec::new();
        }
        payments.into_iter().enumerate().map(|(at, faults)| self.faults(at, faults)).collect()
    }

    fn faults(&mut self, at: usize, given: Value) -> BTreeSet<Fault> {
        let Value::Array(words) = given else {
            self.violations
                .add(format!("first[{at}]"), "must be a list of faults; an empty one is a good payment");
            return BTreeSet::new();
        };
        let mut faults = BTreeSet::new();
        for word in words {
            match word.as_str().and_then(Fault::parse) {
                Some(fault) => drop(faults.insert(fault)),
                None => self.unknown(format!("first[{at}]")),
            }
        }
        faults
    }

    fn percent(&mut self) -> BTreeMap<Fault, u64> {
        let fields = match self.fields.remove("percent") {
            None => return BTreeMap::new(),
            Some(Value::Object(fields)) => fields,
            Some(_) => {
                self.violations.add("percent", "must be an object with a whole number for each fault");
                return BTreeMap::new();
            }
        };
        let mut percent = BTreeMap::new();
        for (word, value) in fields {
            let field = format!("percent.{word}");
            match (Fault::parse(&word), value.as_u64().filter(|number| *number <= 100)) {
                (Some(fault), Some(number)) => drop(percent.insert(fault, number)),
                (Some(_), None) => self.violations.add(field, "must be a whole number from 0 to 100"),
                (None, _) => self.unknown(field),
            }
        }
        percent
    }

    fn unknown(&mut self, field: String) {
        self.violations.add(field, format!("must be one of {}", Fault::all_words()));
    }

    fn finish(mut self) -> Result<(), Violations> {
        for name in self.fields.keys() {
            self.violations.add(name, "is not known");
        }
        self.violations.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(json: &str) -> Plan {
        Plan::read(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_plan_is_read_with_its_defaults_and_told_as_it_is() {
        let read = plan(r#"{"seed": 7, "percent": {"late": 20}, "first": [[], ["twice", "late"]]}"#);
        assert_eq!(
            (read.seed, read.late_seconds, read.confirmation_failures, read.slow_seconds),
            (7, 300, 3, 20)
        );
        assert_eq!(read.fate(1).faults, BTreeSet::new());
        assert_eq!(read.fate(2).faults, BTreeSet::from([Fault::Late, Fault::Twice]));
        let told = serde_json::to_vec(&read).unwrap();
        assert_eq!(Plan::read(&told).unwrap(), read);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let json = r#"{"percent": {"late": 101, "lost": 1}, "first": [["twice", "thrice"], 3], "late_seconds": 0,
            "confirmation_failures": -1, "slow_seconds": "20", "sead": 1}"#;
        let violations = Plan::read(json.as_bytes()).unwrap_err();
        let fields: Vec<&str> = violations.as_slice().iter().map(|wrong| wrong.field.as_str()).collect();
        let expected = [
            "seed",
            "first[0]",
            "first[1]",
            "percent.late",
            "percent.lost",
            "late_seconds",
            "confirmation_failures",
            "slow_seconds",
            "sead",
        ];
        assert_eq!(fields, expected);
        assert_eq!(Plan::read(b"[]").unwrap_err().as_slice()[0].field, "body");
    }

    #[test]
    fn a_seed_foretells_every_fate() {
        let of = |seed: u64| -> Vec<BTreeSet<Fault>> {
            let plan = plan(&format!(r#"{{"seed": {seed}, "percent": {{"late": 30, "never": 10}}}}"#));
            (1..=200).map(|payment| plan.fate(payment).faults).collect()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        // What a seed foretells stays so in later versions, for people write numbers down.
        let late: Vec<usize> = of(1)
            .iter()
            .enumerate()
            .filter(|(_, faults)| faults.contains(&Fault::Late))
            .map(|(at, _)| at + 1)
            .collect();
        assert_eq!(late[..5], [1, 6, 9, 14, 15]);
    }

    #[test]
    fn faults_come_as_often_as_they_should_and_each_by_itself() {
        let both = plan(r#"{"seed": 3, "percent": {"late": 25, "short": 50}}"#);
        let one = plan(r#"{"seed": 3, "percent": {"late": 25}}"#);
        let late = |plan: &Plan| -> Vec<u64> {
            (1..=2_000).filter(|payment| plan.fate(*payment).has(Fault::Late)).collect()
        };
        assert_eq!(late(&both), late(&one));
        assert!((400..600).contains(&late(&one).len()), "{}", late(&one).len());
        assert!((1..=100).all(|payment| !one.fate(payment).has(Fault::Short)));
        let always = plan(r#"{"seed": 3, "percent": {"never": 100}}"#);
        assert!((1..=100).all(|payment| always.fate(payment).has(Fault::Never)));
    }

    proptest! {
        #[test]
        fn whatever_is_put_is_answered(json in "\\PC{0,60}") {
            let _ = Plan::read(json.as_bytes());
        }
    }
}
