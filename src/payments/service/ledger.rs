//! The ledger as a whole: sealed in batches, its balances projected, both made anew or verified when somebody asks.
//!
//! What is posted commits without a place in the chain. A sealer on every node locks the end of the chain, gives what
//! waits its places, signs the end of the batch, and adds the batch to the projected balances, all in one transaction:
//! a batch has its effect once, whoever seals it, or none. Nothing here knows what an account or a kind of transaction
//! means.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::audit::{self, Risk};
use crate::auth::Caller;
use crate::base::{Timestamp, World};
use crate::chain::{self, Head, HeadKey, Seal};
use crate::db::{self, Conn, Db, Scope, Tx};
use crate::keyring::RootKey;
use crate::payments::Error;
use crate::payments::model::balance::{Balance, Drift, Sums};
use crate::payments::model::posted::{KIND, Posted};
use crate::payments::store::{balance, seal};

use super::reading::administrator;

/// How many transactions one batch has at most. On PostgreSQL each is four values of at most 65,535 in a statement.
const BATCH_MAX: i64 = 500;
/// Over how many positions one statement sums.
const SUMMED_AT_ONCE: i64 = 10_000;
/// How many faults the last verification found, when there was none yet.
const NEVER_VERIFIED: i64 = -1;

const SEAL: Scope = Scope::System("payments.seal_ledger");
const REBUILD: Scope = Scope::System("payments.rebuild_ledger");
const READ: Scope = Scope::System("payments.read_ledger");

/// When the ledger is sealed, and when it is verified without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// When it is sealed.
    pub seal: chain::Options,
    /// How long between two verifications; none for none.
    pub verify_every: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seal: chain::Options::default(), verify_every: Some(Duration::from_hours(24)) }
    }
}

/// How the ledger stands, for the node's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many transactions wait for a place in the chain.
    pub unsealed: i64,
    /// For how long the first of them has waited.
    pub unsealed_for: Duration,
    /// What the projected balances of each currency sum to: nothing, in books that are right.
    pub drift: Vec<(String, i64)>,
    /// How many faults the last verification by this node found; none when there was none yet.
    pub faults: Option<i64>,
}

/// What a rebuilding did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Up to which position of the chain.
    pub position: i64,
    /// How many balances there are.
    pub balances: usize,
    /// Which of them were wrong.
    pub drifts: Vec<Drift>,
}

/// The ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    pub(super) db: Db,
    world: World,
    audit: audit::Log,
    key: Arc<HeadKey>,
    faults: Arc<AtomicI64>,
}

impl Ledger {
    /// The ledger in this database, whose heads are signed with a key that grows from the root key.
    #[must_use]
    pub fn new(db: Db, world: World, audit: audit::Log, root: &RootKey) -> Self {
        let key = Arc::new(HeadKey::from_seed(KIND, &root.derive(KIND.key())));
        Self { db, world, audit, key, faults: Arc::new(AtomicI64::new(NEVER_VERIFIED)) }
    }

    /// The public half of the key that signs heads.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.public()
    }

    /// Seals until `stop`.
    pub async fn run(&self, options: chain::Options, stop: CancellationToken) {
        chain::run(options, stop, "the ledger", || self.seal()).await;
    }

    /// Verifies now and then until `stop`: what is wrong is logged and counted.
    pub async fn watch(&self, every: Option<Duration>, stop: CancellationToken) {
        let Some(every) = every else { return };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let caller = Caller::system("ledger watch");
            tokio::select! {
                () = stop.cancelled() => return,
                verified = self.verify(&caller, None) => if let Err(error) = verified {
                    tracing::warn!(%error, "the ledger could not be verified");
                },
            }
        }
    }

    /// Seals all that waits; tells how many transactions that was.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn seal(&self) -> Result<usize, db::Error> {
        chain::seal_all(|| self.seal_batch()).await
    }

    /// Seals one batch; tells how many transactions it has.
    async fn seal_batch(&self) -> Result<usize, db::Error> {
        {
            // Most of the time nothing waits, and nobody is to wait for the writer then.
            let mut conn = self.db.conn(SEAL).await?;
            if seal::waiting_after(&mut conn, seal::BEFORE_ALL, 1).await?.is_empty() {
                return Ok(0);
            }
        }
        let mut tx = self.db.begin(SEAL).await?;
        let sealed = self.seal_in(&mut tx).await?;
        tx.commit().await?;
        Ok(sealed)
    }

    /// Seals one batch in a transaction that is still to be committed.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn seal_in(&self, tx: &mut Tx) -> Result<usize, db::Error> {
        let end = seal::lock(tx).await?;
        let ids = seal::waiting_after(tx, seal::BEFORE_ALL, BATCH_MAX).await?;
        let posted = seal::posted(tx, &ids).await?;
        let hash: [u8; 32] = end.hash.try_into().map_err(|_| db::Error::Failed)?;
        let Batch { seals, hash, sums } = Batch::of(&posted, end.position, hash);
        let Some(last) = seals.last() else { return Ok(0) };
        let head = self.key.sign(end.position, last.position, hash, self.world.now());
        seal::append(tx, &seals, &head).await?;
        balance::add(tx, &stored(&sums)?).await?;
        Ok(seals.len())
    }

    /// The signed heads after a position, for platform administrators; at most `limit`.
    ///
    /// # Errors
    /// When the caller is none.
    pub async fn heads(&self, caller: &Caller, after: i64, limit: i64) -> Result<Vec<Head>, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(READ).await?;
        Ok(seal::heads(&mut conn, after, i64::MAX, limit).await?)
    }

    /// The last signed head, for platform administrators; none before there is any.
    ///
    /// # Errors
    /// When the caller is none.
    pub async fn last_head(&self, caller: &Caller) -> Result<Option<Head>, Error> {
        administrator(caller)?;
        let mut conn = self.db.conn(READ).await?;
        Ok(seal::last_head(&mut conn).await?)
    }

    /// Writes the projected balances anew from the entries, for platform administrators.
    ///
    /// What is sealed does not change, so most of it is summed before anybody has to wait: only for what is sealed
    /// meanwhile, and for writing, the end of the chain is held.
    ///
    /// # Errors
    /// When the caller is none.
    pub async fn rebuild(&self, caller: &Caller) -> Result<Rebuilt, Error> {
        administrator(caller)?;
        let mut sums = Sums::default();
        let until = {
            let mut conn = self.db.conn(REBUILD).await?;
            let until = seal::ends(&mut conn).await?.position;
            sum(&mut conn, &mut sums, 0, until).await?;
            until
        };
        let mut tx = self.db.begin(REBUILD).await?;
        let position = seal::lock(&mut tx).await?.position;
        sum(&mut tx, &mut sums, until, position).await?;
        let (_, before) = balance::projected(&mut tx).await?;
        let (after, drifts) = (stored(&sums)?, sums.drifts(&before));
        balance::clear(&mut tx).await?;
        balance::add(&mut tx, &after).await?;
        let told: Vec<String> = drifts.iter().map(ToString::to_string).collect();
        let entry = caller.entry("payments.rebuild_ledger_balances").risk(Risk::Medium);
        self.audit.record(&mut tx, entry.changed(&told, &())).await?;
        tx.commit().await?;
        Ok(Rebuilt { position, balances: after.len(), drifts })
    }

    /// How the ledger stands, for the node's counters.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn standing(&self) -> Result<Standing, db::Error> {
        let mut conn = self.db.conn(READ).await?;
        let (unsealed, since) = balance::waiting(&mut conn).await?;
        let drift = balance::totals(&mut conn).await?;
        let faults = Some(self.faults.load(Ordering::Relaxed)).filter(|faults| *faults != NEVER_VERIFIED);
        Ok(Standing { unsealed, unsealed_for: self.since(since), drift, faults })
    }

    /// Remembers how many faults a verification found.
    pub(super) fn found(&self, faults: usize) {
        self.faults.store(i64::try_from(faults).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// How long ago it was; nothing for what never was.
    pub(super) fn since(&self, at: Option<Timestamp>) -> Duration {
        at.map(|at| self.world.now().since(at)).unwrap_or_default()
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// What a batch adds to the chain, where that ends then, and what it adds to the balances.
struct Batch {
    seals: Vec<Seal>,
    hash: [u8; 32],
    sums: Sums,
}

impl Batch {
    /// The batch of these transactions behind the place where the chain ends.
    fn of(posted: &[Posted], end: i64, mut hash: [u8; 32]) -> Self {
        let (mut seals, mut sums, mut buffer) = (Vec::new(), Sums::default(), Vec::new());
        for (posted, position) in posted.iter().zip(end.saturating_add(1)..) {
            let digest = posted.digest(&mut buffer);
            hash = KIND.link(&hash, position, &digest);
            let (id, digest) = (posted.head.id.uuid(), digest.to_vec());
            seals.push(Seal { position, id, digest, hash: hash.to_vec() });
            sums.add(position, posted);
        }
        Self { seals, hash, sums }
    }
}

fn stored(sums: &Sums) -> Result<Vec<Balance>, db::Error> {
    sums.balances().map_err(|_| db::Error::Failed)
}

/// Adds what is sealed after one position and up to another, a part at a time.
async fn sum(conn: &mut impl Conn, sums: &mut Sums, mut after: i64, until: i64) -> Result<(), db::Error> {
    while after < until {
        let next = after.saturating_add(SUMMED_AT_ONCE).min(until);
        for (account, currency, minor, position) in balance::sums(conn, after, next).await? {
            sums.add_sum(&account, &currency, minor.into(), position);
        }
        after = next;
    }
    Ok(())
}
