//! Letters: pushed in the transaction that makes them due, sent by a job.
//!
//! A domain writes the words; this module knows no occasion for a letter, only how one leaves: as a file, or through an
//! SMTP server behind a [`Breaker`]. A letter waits sealed with the root key, for its links may be credentials.

mod compose;
mod file;
mod route;
mod smtp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub use compose::Sender;
pub use file::FileMailer;
pub use route::Route;
pub use smtp::{Security, SmtpMailer, SmtpOptions};

pub use crate::base::breaker::Circuit;
use crate::base::breaker::{Breaker, Limits};
use crate::base::{Timestamp, World};
use crate::db::{self, Conn as _, Tx};
use crate::jobs::{self, Failure, Job, Registry};
use crate::keyring::RootKey;

/// What letters are sealed for while they wait.
const PURPOSE: &str = "letters";
/// How long a letter is tried while the server cannot be reached: as long as mail servers among themselves do. A letter
/// that says itself how long it is of use is not tried for longer than that.
const TRIED_FOR: Duration = Duration::from_hours(72);

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
    /// Until when it is of use; none when it always is.
    pub good_until: Option<Timestamp>,
}

/// Addresses and words tell of people, so that neither reaches a log.
impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").finish_non_exhaustive()
    }
}

/// What a letter is known by, the same at each attempt to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its id: a server or a person that gets it twice sees that it is one.
    pub id: uuid::Uuid,
    /// When it was written.
    pub at: Timestamp,
}

/// A letter did not leave. The words are for operators, and tell of no person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can never leave: an address or a header is wrong, or the server refuses it for good.
    #[error("the letter is not one: {0}")]
    Unsendable(String),
    /// It did not leave this time.
    #[error("the letter was not sent: {0}")]
    NotSent(String),
    /// The connection broke while the letter was handed over: it may have left or not.
    #[error("the letter was handed over to nobody for certain: {0}")]
    Lost(String),
    /// Nothing leaves: the server cannot be reached, or does not let us in.
    #[error("the mail server does not serve: {0}")]
    Unreachable(String),
    /// The settings cannot be worked with.
    #[error("letters cannot be sent with these settings: {0}")]
    Setup(String),
}

/// What sends letters on this route.
///
/// # Errors
/// When the folder cannot be made, or the certificates cannot be read.
pub fn mailer(route: &Route, sender: &Sender) -> Result<Arc<dyn Mailer>, Error> {
    let sender = sender.clone();
    Ok(match route {
        Route::Folder(folder) => Arc::new(FileMailer::new(folder.clone(), sender)?),
        Route::Smtp(options) => Arc::new(SmtpMailer::new(options.clone(), sender)?),
    })
}

/// What brings letters to people.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one letter. It may be asked again for the same letter, with the same stamp.
    async fn send(&self, stamp: Stamp, mail: &Mail) -> Result<(), Error>;
}

/// The job that sends a letter.
#[derive(Clone, Serialize, Deserialize)]
pub struct Letter {
    id: uuid::Uuid,
    written_at: Timestamp,
    /// The letter, sealed.
    sealed: String,
}

impl Job for Letter {
    const KIND: &'static str = "mail.send";
    /// About nine hours: a server that knows no sender at first wants to be asked again later.
    const ATTEMPTS_MAX: u32 = 20;
}

/// A letter that waits does not open.
#[derive(Debug, thiserror::Error)]
#[error("the letter was sealed with another root key, or changed")]
pub struct Unreadable;

/// Where letters are put. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    world: World,
    root: RootKey,
}

impl Outbox {
    /// An outbox whose letters the root key seals.
    #[must_use]
    pub const fn new(world: World, root: RootKey) -> Self {
        Self { world, root }
    }

    /// Has a letter sent once the transaction commits. The job is the organisation's in whose scope that is.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn push(&self, tx: &mut Tx, mail: &Mail) -> Result<(), db::Error> {
        let plain = serde_json::to_vec(mail).unwrap_or_default();
        let sealed = self.root.seal(&self.world, PURPOSE, &plain).map_err(|_| db::Error::Failed)?;
        let letter = Letter {
            id: self.world.id::<Mail>().uuid(),
            written_at: self.world.now(),
            sealed: STANDARD.encode(sealed),
        };
        let organization = tx.scope().organization();
        jobs::push(tx, &self.world, organization, &letter).await
    }

    /// Opens a letter that waits.
    ///
    /// # Errors
    /// When it was sealed with another key, or changed.
    pub fn open(&self, letter: &Letter) -> Result<Mail, Unreadable> {
        let sealed = STANDARD.decode(&letter.sealed).map_err(|_| Unreadable)?;
        let plain = self.root.open(PURPOSE, &sealed).map_err(|_| Unreadable)?;
        serde_json::from_slice(plain.expose()).map_err(|_| Unreadable)
    }
}

/// Sends what is in the outbox, and counts it.
pub struct Postman {
    outbox: Outbox,
    world: World,
    mailer: Arc<dyn Mailer>,
    breaker: Breaker,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    held: AtomicU64,
    expired: AtomicU64,
}

/// What became of letters since the node started, and how the way out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Letters that left.
    pub sent: u64,
    /// Letters that will never leave.
    pub refused: u64,
    /// Attempts that failed and are made again.
    pub failed: u64,
    /// Attempts that were put off while the server did not serve.
    pub held: u64,
    /// Letters that were of no use any more when they could leave.
    pub expired: u64,
    /// Whether the way out is open.
    pub circuit: Circuit,
}

impl Postman {
    /// Sends with this mailer.
    #[must_use]
    pub fn new(outbox: Outbox, world: World, mailer: Arc<dyn Mailer>) -> Self {
        Self {
            outbox,
            world,
            mailer,
            breaker: Breaker::new("the mail server", Limits::ORDINARY),
            counts: Counts::default(),
        }
    }

    /// What became of letters.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            sent: read(&self.counts.sent),
            refused: read(&self.counts.refused),
            failed: read(&self.counts.failed),
            held: read(&self.counts.held),
            expired: read(&self.counts.expired),
            circuit: self.breaker.circuit(self.world.now()),
        }
    }

    async fn deliver(&self, letter: &Letter) -> Result<(), Failure> {
        let mail = self.outbox.open(letter).map_err(Failure::dead)?;
        let now = self.world.now();
        if mail.good_until.is_some_and(|until| now >= until) {
            count(&self.counts.expired);
            tracing::warn!(letter = %letter.id, "a letter was of no use any more and was not sent");
            return Ok(());
        }
        let permit = match self.breaker.admit(now) {
            Ok(permit) => permit,
            Err(wait) => return self.hold(letter, wait, "the mail server did not serve lately"),
        };
        let outcome = self.mailer.send(Stamp { id: letter.id, at: letter.written_at }, &mail).await;
        match outcome {
            Ok(()) => {
                permit.served();
                count(&self.counts.sent);
                Ok(())
            }
            // Whoever refuses one letter serves: the next may be taken.
            Err(error @ (Error::Unsendable(_) | Error::Setup(_))) => {
                permit.served();
                count(&self.counts.refused);
                Err(Failure::dead(error))
            }
            Err(error @ Error::NotSent(_)) => {
                permit.served();
                count(&self.counts.failed);
                Err(Failure::retry(error))
            }
            // The attempt counts: the server may have taken the letter, which is not to come again and again.
            Err(error @ Error::Lost(_)) => {
                permit.failed(self.world.now());
                count(&self.counts.failed);
                Err(Failure::retry(error))
            }
            Err(error @ Error::Unreachable(_)) => {
                let wait = permit.failed(self.world.now());
                self.hold(letter, wait, &error.to_string())
            }
        }
    }

    /// Puts a letter off without counting the attempt: the server's absence is not the letter's fault.
    fn hold(&self, letter: &Letter, wait: Duration, cause: &str) -> Result<(), Failure> {
        if self.world.now() >= letter.written_at.plus(TRIED_FOR) {
            count(&self.counts.refused);
            return Err(Failure::dead(cause));
        }
        count(&self.counts.held);
        // Not all at once when it is over.
        let spread = self.world.below(u64::try_from(wait.as_millis()).unwrap_or(0) / 2);
        Err(Failure::postpone(wait + Duration::from_millis(spread), cause))
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Lets the worker send letters.
pub fn register(registry: &mut Registry, postman: &Arc<Postman>) {
    let postman = Arc::clone(postman);
    registry.on::<Letter, _>(move |letter, _lease| {
        let postman = Arc::clone(&postman);
        async move { postman.deliver(&letter).await }
    });
}
