//! Letters: pushed in the transaction that makes them due, sent by a job.
//!
//! A domain writes the words; this module knows no occasion for a letter, only how one leaves.

mod file;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use file::FileMailer;

use crate::base::World;
use crate::db::{self, Conn as _, Tx};
use crate::jobs::{self, Failure, Job, Registry};

/// A letter to one person, in plain text and HTML.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The address.
    pub to: String,
    /// The subject, one line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML. Whatever came from people must be escaped in it.
    pub html: String,
}

/// Addresses and words tell of people, so that neither reaches a log.
impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").finish_non_exhaustive()
    }
}

/// A letter did not leave.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can never leave: an address or a header is wrong.
    #[error("the letter is not one: {0}")]
    Unsendable(String),
    /// It did not leave this time.
    #[error("the letter was not sent: {0}")]
    NotSent(String),
}

/// What brings letters to people.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one letter. It may be asked again for the same letter, with the same id.
    async fn send(&self, id: uuid::Uuid, mail: &Mail) -> Result<(), Error>;
}

/// The job that sends a letter.
#[derive(Serialize, Deserialize)]
struct Letter {
    id: uuid::Uuid,
    mail: Mail,
}

impl Job for Letter {
    const KIND: &'static str = "mail.send";
    const ATTEMPTS_MAX: u32 = 12;
}

/// Has a letter sent once the transaction commits. The job is the organisation's in whose scope that is.
///
/// # Errors
/// What the database refuses.
pub async fn push(tx: &mut Tx, world: &World, mail: &Mail) -> Result<(), db::Error> {
    let id = world.id::<Mail>().uuid();
    let organization = tx.scope().organization();
    jobs::push(tx, world, organization, &Letter { id, mail: mail.clone() }).await
}

/// Lets the worker send letters with this mailer.
pub fn register(registry: &mut Registry, mailer: Arc<dyn Mailer>) {
    registry.on::<Letter, _>(move |job, _lease| {
        let mailer = Arc::clone(&mailer);
        async move {
            mailer.send(job.id, &job.mail).await.map_err(|error| match error {
                Error::Unsendable(_) => Failure::dead(error),
                Error::NotSent(_) => Failure::retry(error),
            })
        }
    });
}
