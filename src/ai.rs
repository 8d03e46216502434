//! AI: one shape for every model provider.
//!
//! A domain that wants an answer hands a [`Prompt`] to a [`Provider`] and reads [`Chunk`]s until [`Chunk::Done`].
//! Which provider that is, is decided where the platform is put together; callers hold `Arc<dyn Provider>`.
//!
//! A model may want [`tool`]s called before it answers: then the answer ends with [`FinishReason::ToolUse`], and
//! whoever asked runs the calls and asks again with their results. Providers never run a tool.
//!
//! This module knows nothing of threads, listings or money: it is given text and answers with text and calls.

pub mod local;
pub mod model;
pub mod tool;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub use model::{Chunk, Finish, FinishReason, Prompt, ToolCall, ToolResult, ToolSpec, Turn, estimate_tokens};
pub use tool::{Tool, Toolbox};

use crate::base::fault::{Code, Fault, Reason};

/// How many bytes a prompt may have in all: its system text and its turns.
pub const PROMPT_BYTES_MAX: usize = 256 * 1024;

/// What a caller is told to wait before it asks an unavailable provider again.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// An answer as it arrives: any number of [`Chunk::Text`] and [`Chunk::ToolCall`], then one [`Chunk::Done`]. A stream
/// that ends without `Done`, or with an error, was cut: what came before it is incomplete.
pub type Answer = BoxStream<'static, Result<Chunk, Error>>;

/// Something that answers prompts. It lies outside the process (or, like [`local::Local`], stands in for what does).
#[async_trait]
pub trait Provider: Send + Sync {
    /// The provider's name, as configuration and records spell it.
    fn name(&self) -> &'static str;

    /// Starts an answer. The error here means that nothing was generated; one inside the stream means that it was
    /// cut. Dropping the stream abandons the answer.
    async fn generate(&self, prompt: Prompt) -> Result<Answer, Error>;
}

/// The prompt is longer than any provider takes.
pub static PROMPT_TOO_LONG: Reason = Reason::new(
    Code::InvalidArgument,
    "AI_PROMPT_TOO_LONG",
    "The conversation handed to the agent is too long. Start a new thread or send a shorter message.",
);

/// The provider did not take the prompt, for now.
pub static PROVIDER_UNAVAILABLE: Reason = Reason::new(
    Code::Unavailable,
    "AI_PROVIDER_UNAVAILABLE",
    "The model provider cannot answer at the moment. Try again after the time given.",
);

/// The provider stopped in the middle of its answer.
pub static ANSWER_INTERRUPTED: Reason = Reason::new(
    Code::Unavailable,
    "AI_ANSWER_INTERRUPTED",
    "The model provider broke off in the middle of its answer. Ask again.",
);

/// Every reason that this domain answers with.
pub static REASONS: &[&Reason] = &[&PROMPT_TOO_LONG, &PROVIDER_UNAVAILABLE, &ANSWER_INTERRUPTED];

/// What a provider reports beneath our error: anything, to be logged and never sent.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`PROMPT_TOO_LONG`].
    #[error("The conversation is too long: it has {bytes} bytes, and at most {PROMPT_BYTES_MAX} are taken.")]
    PromptTooLong {
        /// How many bytes the prompt has.
        bytes: usize,
    },
    /// See [`PROVIDER_UNAVAILABLE`].
    #[error("The model provider cannot answer at the moment.")]
    Unavailable {
        /// When to ask again, if the provider said so.
        retry_after: Option<Duration>,
        /// What the provider reported.
        #[source]
        cause: Option<Cause>,
    },
    /// See [`ANSWER_INTERRUPTED`].
    #[error("The model provider broke off in the middle of its answer.")]
    Interrupted {
        /// What the provider reported.
        #[source]
        cause: Option<Cause>,
    },
}

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::PromptTooLong { .. } => &PROMPT_TOO_LONG,
            Self::Unavailable { .. } => &PROVIDER_UNAVAILABLE,
            Self::Interrupted { .. } => &ANSWER_INTERRUPTED,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::PromptTooLong { .. } => None,
            Self::Unavailable { retry_after, .. } => Some(retry_after.unwrap_or(UNAVAILABLE_RETRY)),
            Self::Interrupted { .. } => Some(UNAVAILABLE_RETRY),
        }
    }
}
