//! The `local` provider: answers from the platform's own help articles, offline and without a model.
//!
//! The same prompt always gives the same answer. It says of itself that no external model is configured, names the
//! article it quotes, and says so when nothing fits. It does not read [`Prompt::system`]: instructions are for models;
//! what it knows of the agent is the slug, from which it takes its opening words and the topics that it prefers.
//!
//! It calls the tools that it is offered, as a model would, when fixed rules recognise a wish for one.
//!
//! How it works: [`rules`] look for a wish; else [`library`] holds the articles, [`words`] reduces text to terms,
//! [`search`] ranks, [`answer`] phrases.

mod answer;
mod library;
mod rules;
mod search;
mod words;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::model::{CHARACTERS_PER_TOKEN, Chunk, Finish, FinishReason, Prompt, estimate_tokens};
use super::{Answer, Error, PROMPT_BYTES_MAX, Provider};
use rules::Move;
use search::Index;

/// How many characters a streamed piece has at least, its last word included: some three words.
const PIECE_CHARACTERS_MIN: usize = 16;

/// The built-in provider.
#[derive(Debug, Clone)]
pub struct Local {
    index: Arc<Index>,
}

impl Local {
    /// Reads the built-in articles and prepares the search over them.
    #[must_use]
    pub fn new() -> Self {
        Self { index: Arc::new(Index::new(library::articles())) }
    }

    /// The whole answer to a prompt.
    fn answer(&self, prompt: &Prompt) -> Vec<Chunk> {
        match rules::apply(prompt) {
            Some(Move::Call(call)) => {
                let output_tokens = estimate_tokens(&call.arguments);
                let finish = finish(prompt, output_tokens, FinishReason::ToolUse);
                vec![Chunk::ToolCall(call), Chunk::Done(finish)]
            }
            Some(Move::Say(text)) => say(prompt, text),
            None => say(prompt, answer::compose(&self.index, prompt)),
        }
    }
}

/// A text in pieces, as far as the prompt lets it go.
fn say(prompt: &Prompt, mut text: String) -> Vec<Chunk> {
    let whole = text.len();
    let characters_max =
        usize::try_from(prompt.output_tokens_max).unwrap_or(usize::MAX).saturating_mul(CHARACTERS_PER_TOKEN);
    truncate(&mut text, characters_max);
    let reason = if text.len() == whole { FinishReason::Stop } else { FinishReason::Length };
    let finish = finish(prompt, estimate_tokens(&text), reason);
    pieces(&text).into_iter().map(Chunk::Text).chain([Chunk::Done(finish)]).collect()
}

fn finish(prompt: &Prompt, output_tokens: u32, reason: FinishReason) -> Finish {
    Finish { input_tokens: prompt.estimated_tokens(), output_tokens, reason }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn generate(&self, prompt: Prompt) -> Result<Answer, Error> {
        let bytes = prompt.bytes();
        if bytes > PROMPT_BYTES_MAX {
            return Err(Error::PromptTooLong { bytes });
        }
        Ok(stream::iter(self.answer(&prompt).into_iter().map(Ok)).boxed())
    }
}

/// Cuts `text` to at most `characters_max` characters.
fn truncate(text: &mut String, characters_max: usize) {
    if let Some((end, _)) = text.char_indices().nth(characters_max) {
        text.truncate(end);
    }
}

/// Splits a text into groups of words that, put together again, are the text.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for word in text.split_inclusive(' ') {
        piece.push_str(word);
        if piece.chars().count() >= PIECE_CHARACTERS_MIN {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests;
