//! Access tokens whose signature was checked, remembered until they expire.
//!
//! Checking a signature costs more than all the rest of a small call, and a client sends the same token with every
//! call for minutes. What is remembered is that a token is ours and what it states, under its SHA-256, so that no
//! token can be read out of the memory. Whether its session stands is another question, asked each time: see
//! [`super::standing`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::base::{AccountId, SessionId, Timestamp};

use super::keys::KeyId;
use super::model::key::Grant;

/// Tokens that are remembered, at some hundred bytes each. Beyond this the memory begins anew.
const TOKENS_MAX: usize = 50_000;

/// What a token states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The key that signed it.
    pub key: KeyId,
    /// The account.
    pub account: AccountId,
    /// The session.
    pub session: SessionId,
    /// What it is limited to; none for a person's.
    pub grant: Option<Arc<Grant>>,
    /// When it stops being valid.
    pub expires_at: Timestamp,
}

/// The name that a token has in the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark([u8; 32]);

impl Mark {
    /// The mark of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// The memory.
#[derive(Debug, Default)]
pub struct Verified {
    tokens: Mutex<HashMap<Mark, Statement>>,
}

impl Verified {
    /// What a token states, if it was verified before. Whether it has expired meanwhile, the caller compares.
    pub fn recall(&self, mark: &Mark) -> Option<Statement> {
        self.tokens().get(mark).cloned()
    }

    /// Remembers a token that was just verified.
    pub fn remember(&self, mark: Mark, statement: Statement, now: Timestamp) {
        let mut tokens = self.tokens();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, statement| now < statement.expires_at);
            if tokens.len() >= TOKENS_MAX {
                tokens.clear();
            }
        }
        tokens.insert(mark, statement);
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Mark, Statement>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(expires_at: i64) -> Statement {
        Statement {
            key: KeyId::mint(1, &[1; 10]),
            account: AccountId::mint(1, &[2; 10]),
            session: SessionId::mint(1, &[3; 10]),
            grant: None,
            expires_at: Timestamp::from_seconds(expires_at),
        }
    }

    #[test]
    fn a_token_is_remembered_by_every_character() {
        let verified = Verified::default();
        verified.remember(Mark::of("a.b.c"), statement(9), Timestamp::from_seconds(0));
        assert_eq!(verified.recall(&Mark::of("a.b.c")), Some(statement(9)));
        assert_eq!(verified.recall(&Mark::of("a.b.d")), None);
    }

    #[test]
    fn the_memory_has_a_bound_and_forgets_what_expired_first() {
        let (verified, now) = (Verified::default(), Timestamp::from_seconds(5));
        verified.remember(Mark::of("lasting"), statement(9), now);
        for number in 1..TOKENS_MAX {
            verified.remember(Mark::of(&number.to_string()), statement(5), now);
        }
        verified.remember(Mark::of("one more"), statement(9), now);
        assert_eq!(verified.tokens().len(), 2);
        assert!(verified.recall(&Mark::of("lasting")).is_some());
    }
}
