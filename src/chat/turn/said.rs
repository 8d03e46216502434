//! What a provider says, read to its end and passed on as it comes.

use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep_until};

use crate::ai::{self, Chunk, Finish, Prompt, ToolCall};
use crate::chat::model::frame::{Delta, Fleeting};
use crate::chat::service::Service;
use crate::chat::store::Turn;

/// Between what was said in one round and in the next.
const ROUNDS_APART: &str = "\n\n";

/// What an agent has said in a turn so far, in all its rounds, and how much of it was passed on.
pub(super) struct Said<'a> {
    service: &'a Service,
    turn: &'a Turn,
    attempt: u32,
    pub(super) text: String,
    passed: usize,
    /// Where the present round begins.
    round: usize,
}

/// How a round ended.
pub(super) struct Ended {
    /// What the provider counted; none when the answer was cut.
    pub(super) finish: Option<Finish>,
    /// What it wants called.
    pub(super) calls: Vec<ToolCall>,
    /// Whether the answer has as many bytes as it may, so that it ends here.
    pub(super) full: bool,
}

impl<'a> Said<'a> {
    pub(super) const fn new(service: &'a Service, turn: &'a Turn, attempt: u32) -> Self {
        Self { service, turn, attempt, text: String::new(), passed: 0, round: 0 }
    }

    /// What was said in a round that is journalled.
    pub(super) fn replay(&mut self, text: &str) {
        self.round = self.text.len();
        self.push(text);
    }

    /// What was said in the present round is what was journalled of it: of two attempts at once the first counts.
    /// Pieces that were passed on of the other are replaced by the answer's event, as those of any attempt are.
    pub(super) fn correct(&mut self, text: &str) {
        if self.in_round() != text {
            self.text.truncate(self.round);
            self.push(text);
            self.passed = self.text.len();
        }
    }

    /// What was said in the present round.
    pub(super) fn in_round(&self) -> &str {
        let said = self.text.get(self.round..).unwrap_or_default();
        if self.round == 0 { said } else { said.strip_prefix(ROUNDS_APART).unwrap_or(said) }
    }

    /// Asks the provider, and passes on what it says.
    pub(super) async fn ask(&mut self, prompt: Prompt) -> Result<Ended, ai::Error> {
        let options = &self.service.options().turn;
        self.round = self.text.len();
        let mut chunks = self.service.provider().generate(prompt).await?;
        let mut ended = Ended { finish: None, calls: Vec::new(), full: false };
        let mut pass_at = Instant::now();
        loop {
            // The first words go out at once; what follows within the interval is one piece.
            if self.has_news() && pass_at <= Instant::now() {
                self.pass();
                pass_at = Instant::now() + options.merge;
            }
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk,
                () = sleep_until(pass_at), if self.has_news() => continue,
            };
            match chunk {
                Some(Ok(Chunk::Text(piece))) => self.push(&piece),
                Some(Ok(Chunk::ToolCall(call))) => ended.calls.push(call),
                Some(Ok(Chunk::Done(finish))) => {
                    ended.finish = Some(finish);
                    break;
                }
                Some(Err(error)) => return Err(error),
                None => return Err(ai::Error::Interrupted { cause: None }),
            }
            if self.text.len() >= options.answer_bytes_max {
                self.text.truncate(self.text.floor_char_boundary(options.answer_bytes_max));
                ended.full = true;
                break;
            }
            // One more than may be run, so that the model is told of the bound; whoever calls without end is cut.
            if ended.calls.len() > options.tools.calls_max {
                break;
            }
        }
        self.pass();
        Ok(ended)
    }

    fn push(&mut self, piece: &str) {
        let first = self.text.len() == self.round && self.round > 0;
        if first && !piece.is_empty() {
            self.text.push_str(ROUNDS_APART);
        }
        self.text.extend(piece.chars().filter(|c| *c != '\0'));
    }

    const fn has_news(&self) -> bool {
        self.passed < self.text.len()
    }

    fn pass(&mut self) {
        let Some(piece) = self.text.get(self.passed..).filter(|piece| !piece.is_empty()) else { return };
        self.service.hub().pass(&Fleeting::Delta(Delta {
            thread_id: self.turn.thread_id,
            message_id: self.turn.answer_id,
            reply_to: self.turn.message_id,
            attempt: self.attempt,
            offset: self.passed,
            text: piece.to_owned(),
        }));
        self.passed = self.text.len();
    }
}
