//! The calls of an agent's turn: what is journalled of them, how many there may be, and what came of each.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::MessageId;
use crate::ai::{ToolCall, tool};
use crate::base::Violation;

/// Bounds on the calls of one turn.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How often the model may be given results and asked again.
    pub rounds_max: usize,
    /// How many calls are run in all; the model is told of those beyond.
    pub calls_max: usize,
    /// How many bytes the arguments of a call may have.
    pub arguments_bytes_max: usize,
    /// How many bytes the result of a call may have.
    pub result_bytes_max: usize,
    /// How long a call may take.
    pub call_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rounds_max: 8,
            calls_max: 16,
            arguments_bytes_max: 2 << 10,
            result_bytes_max: 8 << 10,
            call_timeout: Duration::from_secs(15),
        }
    }
}

/// How many characters of a call's id and of its tool's name are kept.
const NAME_CHARS_MAX: usize = 128;
/// How many characters of a problem's message are kept.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// What came of a call. The names are stored: they never change their meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The tool's result, as JSON text.
    Result(String),
    /// It was not done.
    Refused(Problem),
    /// It could not be done, or its result could not be used. Whether it had its effect is not known.
    Failed(Problem),
}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable name, in upper snake case.
    pub reason: String,
    /// What was wrong and what to do, in one sentence.
    pub message: String,
    /// The same as the model is told it, as JSON text.
    pub content: String,
}

impl Problem {
    /// A problem, without what cannot be stored.
    #[must_use]
    pub fn new(reason: &str, message: &str, violations: &[Violation]) -> Self {
        let message = storable(message, MESSAGE_CHARS_MAX);
        let violations: Vec<Violation> = violations
            .iter()
            .map(|wrong| {
                let description = storable(&wrong.description, MESSAGE_CHARS_MAX);
                Violation::new(storable(&wrong.field, NAME_CHARS_MAX), description)
            })
            .collect();
        let content = tool::error_content(reason, &message, &violations);
        Self { reason: reason.to_owned(), message, content }
    }
}

impl Outcome {
    /// A call that was not run because of the model's doing, or of the agent's manifest.
    #[must_use]
    pub fn refused(reason: &str, message: impl AsRef<str>) -> Self {
        Self::Refused(Problem::new(reason, message.as_ref(), &[]))
    }

    /// What the model is told, and whether it is an error.
    #[must_use]
    pub fn content(&self) -> (&str, bool) {
        match self {
            Self::Result(content) => (content, false),
            Self::Refused(problem) | Self::Failed(problem) => (&problem.content, true),
        }
    }
}

/// One call of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which of the round's calls it is, from 1.
    pub position: i64,
    /// What the model wants. The arguments are a JSON object within the bounds.
    pub wanted: ToolCall,
    /// What came of it; none as long as it is to be run.
    pub outcome: Option<Outcome>,
}

/// What a model said and called in one go, before it was given results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Which of the turn's rounds it is, from 1.
    pub number: i64,
    /// What it said.
    pub text: String,
    /// The tokens of the prompt and of the answer, if they were reported.
    pub tokens: Option<(u32, u32)>,
    /// What it called.
    pub calls: Vec<Call>,
}

/// A call that an agent made, as the thread tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The message that the agent answers.
    pub message_id: MessageId,
    /// The round, from 1.
    pub round: i64,
    /// Which of the round's calls it is, from 1.
    pub position: i64,
    /// The tool that the model named.
    pub tool: String,
    /// The arguments: a JSON object, as text.
    pub arguments: String,
    /// What came of it.
    pub outcome: Outcome,
}

impl ToolUse {
    /// About how much memory its texts take, in bytes.
    #[must_use]
    pub const fn weight(&self) -> usize {
        let outcome = match &self.outcome {
            Outcome::Result(content) => content.len(),
            Outcome::Refused(problem) | Outcome::Failed(problem) => {
                problem.message.len().saturating_add(problem.content.len())
            }
        };
        outcome.saturating_add(self.arguments.len()).saturating_add(self.tool.len())
    }
}

/// Prepares what a model called for the journal, after `used` calls of the turn: what cannot be run has its refusal.
#[must_use]
pub fn plan(wanted: Vec<ToolCall>, used: usize, limits: &Limits) -> Vec<Call> {
    let left = limits.calls_max.saturating_sub(used);
    wanted
        .into_iter()
        .zip(1_i64..)
        .map(|(wanted, position)| {
            let number = usize::try_from(position).unwrap_or(usize::MAX);
            let refusal = if number > left { Some(exhausted(limits)) } else { unreadable(&wanted, limits) };
            let (id, name) = (storable(&wanted.id, NAME_CHARS_MAX), storable(&wanted.name, NAME_CHARS_MAX));
            // What is no object would be refused by the model's own API when it is shown again.
            let whole = as_object(&wanted.arguments).filter(|text| text.len() <= limits.arguments_bytes_max);
            let arguments = whole.unwrap_or_else(|| "{}".to_owned());
            Call { position, wanted: ToolCall { id, name, arguments }, outcome: refusal }
        })
        .collect()
}

fn exhausted(limits: &Limits) -> Outcome {
    let message = format!("An answer may use {} calls, and they are used up. Answer now.", limits.calls_max);
    Outcome::refused("TOOL_CALLS_EXHAUSTED", message)
}

fn unreadable(wanted: &ToolCall, limits: &Limits) -> Option<Outcome> {
    let (bytes, most) = (wanted.arguments.len(), limits.arguments_bytes_max);
    if bytes > most {
        let message =
            format!("The arguments have {bytes} bytes, and at most {most} are taken. Shorten them.");
        return Some(Outcome::refused("TOOL_ARGUMENTS_TOO_LONG", message));
    }
    match as_object(&wanted.arguments) {
        Some(text) if text.len() <= most => None,
        Some(_) => {
            Some(Outcome::refused("TOOL_ARGUMENTS_TOO_LONG", "The arguments are too long. Shorten them."))
        }
        None => Some(Outcome::refused("INVALID_ARGUMENTS", "The arguments are no whole JSON object.")),
    }
}

/// The text in one spelling, if it is a JSON object. A model that has nothing to say may say nothing at all.
fn as_object(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some("{}".to_owned());
    }
    let value: Value = serde_json::from_str(text).ok()?;
    value.is_object().then(|| value.to_string())
}

/// A model's text cut to a length, without the character that PostgreSQL cannot store.
fn storable(text: &str, chars_max: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(chars_max).collect()
}

/// The idempotency key of a call: the same for every attempt of the turn, and no other call's.
#[must_use]
pub fn key(message_id: MessageId, round: i64, position: i64) -> Uuid {
    let mut hash = Sha256::new_with_prefix(b"chat.tool_call\0");
    hash.update(message_id.uuid().as_bytes());
    hash.update(round.to_be_bytes());
    hash.update(position.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let half = digest.first_chunk::<16>().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(half).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::base::Id;

    fn wanted(arguments: &str) -> ToolCall {
        ToolCall { id: "1".to_owned(), name: "a.b".to_owned(), arguments: arguments.to_owned() }
    }

    fn reason(arguments: &str) -> Option<String> {
        let limits = Limits { arguments_bytes_max: 40, ..Limits::default() };
        match plan(vec![wanted(arguments)], 0, &limits).remove(0).outcome {
            Some(Outcome::Refused(problem)) => Some(problem.reason),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_whole_objects_of_a_bounded_length_are_run() {
        assert_eq!(reason(r#"{"a": 1}"#), None);
        assert_eq!(reason(""), None);
        for wrong in [r#"{"a": "#, "[]", "null", "1", "{} {}", "\0"] {
            assert_eq!(reason(wrong).as_deref(), Some("INVALID_ARGUMENTS"), "{wrong:?}");
        }
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(40));
        assert_eq!(reason(&long).as_deref(), Some("TOOL_ARGUMENTS_TOO_LONG"));
    }

    #[test]
    fn calls_beyond_the_bound_are_refused() {
        let limits = Limits { calls_max: 3, ..Limits::default() };
        let planned = plan(vec![wanted("{}"); 3], 2, &limits);
        let run: Vec<bool> = planned.iter().map(|call| call.outcome.is_none()).collect();
        assert_eq!(run, [true, false, false]);
        assert!(plan(vec![wanted("{}")], 3, &limits)[0].outcome.is_some());
    }

    #[test]
    fn every_call_has_a_key_of_its_own() {
        let message = |n: u128| Id::from_uuid(Uuid::from_u128(n));
        let keys: BTreeSet<Uuid> = (0..4)
            .flat_map(|m| (1..5).flat_map(move |r| (1..5).map(move |p| key(message(m), r, p))))
            .collect();
        assert_eq!(keys.len(), 64);
        assert_eq!(key(message(1), 2, 3), key(message(1), 2, 3));
        assert_eq!(key(message(1), 2, 3).get_version_num(), 8);
    }

    proptest! {
        #[test]
        fn whatever_a_model_calls_is_bounded_and_can_be_shown_again(
            calls in prop::collection::vec(
                ("\\PC{0,200}|.{0,9}", ".{0,200}", "\\PC{0,80}|\\{\"a\": [0-9]{1,60}\\}|.{0,9}"),
                0..12,
            ),
            used in 0_usize..20,
            calls_max in 0_usize..20,
            arguments_bytes_max in 2_usize..64,
        ) {
            let limits = Limits { calls_max, arguments_bytes_max, ..Limits::default() };
            let wanted: Vec<ToolCall> =
                calls.into_iter().map(|(id, name, arguments)| ToolCall { id, name, arguments }).collect();
            let planned = plan(wanted.clone(), used, &limits);
            prop_assert_eq!(planned.len(), wanted.len());
            let run = planned.iter().filter(|call| call.outcome.is_none()).count();
            prop_assert!(run + used <= calls_max.max(used));
            for (call, position) in planned.iter().zip(1..) {
                prop_assert_eq!(call.position, position);
                prop_assert!(call.wanted.arguments.len() <= arguments_bytes_max);
                let value: Value = serde_json::from_str(&call.wanted.arguments).unwrap();
                prop_assert!(value.is_object());
                let texts = [&call.wanted.id, &call.wanted.name, &call.wanted.arguments];
                prop_assert!(texts.iter().all(|text| !text.contains('\0')));
                prop_assert!(call.wanted.name.chars().count() <= NAME_CHARS_MAX);
            }
        }
    }
}
