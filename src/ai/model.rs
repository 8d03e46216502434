//! What goes into a provider and what comes out. Pure values; no provider's own wire format shows here.

/// A request for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The instructions that the answer follows: an agent's system prompt.
    pub system: String,
    /// The conversation so far, oldest first; the last turn is the one to answer.
    pub turns: Vec<Turn>,
    /// The slug of the agent that speaks.
    pub agent: String,
    /// How many tokens the answer may have. The provider stops there with [`FinishReason::Length`].
    pub output_tokens_max: u32,
}

impl Prompt {
    /// How many bytes of text the prompt holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.turns.iter().fold(self.system.len(), |sum, turn| sum.saturating_add(turn.text.len()))
    }

    /// How many tokens the prompt holds, by [`estimate_tokens`].
    #[must_use]
    pub fn estimated_tokens(&self) -> u32 {
        let system = estimate_tokens(&self.system);
        self.turns.iter().fold(system, |sum, turn| sum.saturating_add(estimate_tokens(&turn.text)))
    }
}

/// One contribution to a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub text: String,
}

/// Who speaks in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A person.
    User,
    /// The agent.
    Assistant,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Text to append to what came before.
    Text(String),
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
    fn a_prompt_counts_its_system_text_and_its_turns() {
        let turn = |text: &str| Turn { role: Role::User, text: text.into() };
        let prompt = Prompt {
            system: "abcd".into(),
            turns: vec![turn("ab"), turn("abcdef")],
            agent: "guide".into(),
            output_tokens_max: 1,
        };
        assert_eq!(prompt.bytes(), 12);
        assert_eq!(prompt.estimated_tokens(), 1 + 1 + 2);
    }
}
