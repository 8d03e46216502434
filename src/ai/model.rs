//! What goes into a provider and what comes out. Pure values; no provider's own wire format shows here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The instructions that the answer follows: an agent's system prompt.
    pub system: String,
    /// The conversation so far, oldest first; the last turn is the one to answer.
    pub turns: Vec<Turn>,
    /// What may be called on the way to the answer; empty when nothing may.
    pub tools: Vec<ToolSpec>,
    /// Whether anything may be called now. When not, the tools are named only because the conversation speaks of them,
    /// and the model must answer.
    pub may_call: bool,
    /// The slug of the agent that speaks.
    pub agent: String,
    /// How many tokens the answer may have. The provider stops there with [`FinishReason::Length`].
    pub output_tokens_max: u32,
}

impl Prompt {
    /// How many bytes of text the prompt holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.texts().fold(0, |sum, text| sum.saturating_add(text.len()))
    }

    /// How many tokens the prompt holds, by [`estimate_tokens`].
    #[must_use]
    pub fn estimated_tokens(&self) -> u32 {
        self.texts().fold(0, |sum, text| sum.saturating_add(estimate_tokens(text)))
    }

    /// Every text that the model reads. Schemas are not counted: they are few, and the platform's own.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let tools = self.tools.iter().flat_map(|tool| [tool.name.as_str(), tool.description.as_str()]);
        let turns = self.turns.iter().flat_map(Turn::texts);
        [self.system.as_str()].into_iter().chain(tools).chain(turns)
    }
}

/// One contribution to a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// A person speaks.
    User(String),
    /// The agent speaks, and perhaps calls tools.
    Assistant {
        /// What it says; may be empty when it calls.
        text: String,
        /// What it calls, in its order.
        calls: Vec<ToolCall>,
    },
    /// What came of the calls of the turn before: one result for each, in their order.
    Results(Vec<ToolResult>),
}

impl Turn {
    /// What the agent says without calling anything.
    #[must_use]
    pub const fn assistant(text: String) -> Self {
        Self::Assistant { text, calls: Vec::new() }
    }

    fn texts(&self) -> Vec<&str> {
        match self {
            Self::User(text) => vec![text],
            Self::Assistant { text, calls } => {
                let calls = calls.iter().flat_map(|call| [call.name.as_str(), call.arguments.as_str()]);
                [text.as_str()].into_iter().chain(calls).collect()
            }
            Self::Results(results) => results.iter().map(|result| result.content.as_str()).collect(),
        }
    }
}

/// A tool as a model is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSpec {
    /// Its name: lower-case words joined by dots. Where a model's API takes no dots, its provider spells it otherwise
    /// on the wire.
    pub name: String,
    /// When to use it and what it answers.
    pub description: String,
    /// The JSON Schema of its arguments, which are an object.
    pub input_schema: Value,
}

/// A model wants a tool called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The model's id of the call, to which the result refers. A provider whose model gives none makes one.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments, as JSON text: whole, but not checked.
    pub arguments: String,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The id of the call.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// The result, or what went wrong, as JSON text.
    pub content: String,
    /// Whether it went wrong.
    pub is_error: bool,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Text to append to what came before.
    Text(String),
    /// A call of a tool. Providers whose models stream the arguments put them together first.
    ToolCall(ToolCall),
    /// The answer is complete; nothing follows.
    Done(Finish),
}

/// How an answer ended and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish {
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// Why it ended.
    pub reason: FinishReason,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The answer was complete.
    Stop,
    /// The answer reached [`Prompt::output_tokens_max`] and was cut.
    Length,
    /// The model waits for the results of its calls.
    ToolUse,
}

/// Characters that make up one token, in the estimate.
pub const CHARACTERS_PER_TOKEN: usize = 4;

/// Estimates how many tokens a text has: one for every four characters begun.
///
/// Models count differently from each other, and the `local` provider has no tokenizer; this rule of thumb for
/// English is what is reported where no provider reports a count of its own.
#[must_use]
pub fn estimate_tokens(text: &str) -> u32 {
    u32::try_from(text.chars().count().div_ceil(CHARACTERS_PER_TOKEN)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_four_characters_begun_are_a_token() {
        for (text, tokens) in [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("éééé", 1)] {
            assert_eq!(estimate_tokens(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn a_prompt_counts_everything_that_a_model_reads() {
        let call = ToolCall { id: "1".into(), name: "a.b".into(), arguments: "{}".into() };
        let result = ToolResult {
            call_id: "1".into(),
            name: "a.b".into(),
            content: "\"done\"".into(),
            is_error: false,
        };
        let prompt = Prompt {
            system: "abcd".into(),
            turns: vec![
                Turn::User("ab".into()),
                Turn::Assistant { text: "abcdef".into(), calls: vec![call] },
                Turn::Results(vec![result]),
            ],
            tools: vec![ToolSpec { name: "a.b".into(), description: "x".into(), input_schema: Value::Null }],
            may_call: true,
            agent: "guide".into(),
            output_tokens_max: 1,
        };
        assert_eq!(prompt.bytes(), 4 + (3 + 1) + 2 + (6 + 3 + 2) + 6);
        assert_eq!(prompt.estimated_tokens(), 1 + (1 + 1) + 1 + (2 + 1 + 1) + 2);
    }
}
