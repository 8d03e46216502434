//! argon2id behind a bounded queue.
//!
//! Checking a password is made to be dear, so it is the first thing a flood would exhaust. A few checks run at once,
//! a bounded number wait, and the rest are told to come back: other calls keep their processor time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

use crate::base::{Secret, World};

use super::Error;

/// Bytes of salt, as the PHC specification recommends.
const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;
/// Most memory of one hash, in KiB. A stored hash that asks for more was not made here.
pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes of one hash.
pub const PASSES_MAX: u32 = 20;
/// Most lanes of one hash.
pub const LANES_MAX: u32 = 16;
/// What OWASP asks of argon2id at least: so much memory with so many passes, each pair as good as the others.
const STRONG: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

/// How dear a check is, and how many may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory of one check, in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Lanes. More than one helps an attacker with many cores as much as us.
    pub lanes: u32,
    /// Checks at once; 0 takes half of the processor's cores.
    pub concurrent_max: usize,
    /// Checks that wait for their turn. Whoever comes after them is refused with a delay.
    pub waiting_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1, concurrent_max: 0, waiting_max: 64 }
    }
}

impl Options {
    /// Whether the hashes are as dear to guess as they ought to be at least.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        STRONG.iter().any(|(memory_kib, passes)| self.memory_kib >= *memory_kib && self.passes >= *passes)
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is wrong, or there is no account.
    Wrong,
    /// The password is right.
    Right {
        /// Whether the stored hash was made with other parameters than today's.
        outdated: bool,
    },
}

/// Makes and checks hashes.
#[derive(Debug)]
pub struct Hashing {
    params: Params,
    /// A hash that no password has, checked when there is no account: an unknown address costs what a known one costs.
    decoy: String,
    running: Arc<Semaphore>,
    /// Those that run and those that wait.
    admitted: Arc<Semaphore>,
    rounds: Arc<AtomicU64>,
}

impl Hashing {
    /// Sets the queue up.
    ///
    /// # Errors
    /// [`Error::Setup`] when argon2 does not take the parameters.
    pub fn new(options: &Options, world: &World) -> Result<Self, Error> {
        let bounded = options.memory_kib <= MEMORY_KIB_MAX
            && options.passes <= PASSES_MAX
            && options.lanes <= LANES_MAX;
        let params = Params::new(options.memory_kib, options.passes, options.lanes, Some(OUTPUT_BYTES))
            .ok()
            .filter(|_| bounded)
            .ok_or_else(|| Error::Setup("The parameters of password hashing are out of range.".to_owned()))?;
        let concurrent = match options.concurrent_max {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
            set => set,
        };
        Ok(Self {
            decoy: decoy(&params, world).map_err(Error::internal)?,
            params,
            running: Arc::new(Semaphore::new(concurrent)),
            admitted: Arc::new(Semaphore::new(concurrent.saturating_add(options.waiting_max))),
            rounds: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Hashes a password into a PHC string.
    ///
    /// # Errors
    /// [`Error::HashingBusy`] when too many wait.
    pub async fn hash(&self, password: Secret<String>, world: &World) -> Result<String, Error> {
        let (argon2, salt) = (self.argon2(), world.bytes::<SALT_BYTES>());
        self.run(move || {
            let hash = argon2.hash_password_with_salt(password.expose().as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(Error::internal)
        })
        .await
    }

    /// A hash that no password has, for an account that nobody signs in to. Costs no work.
    ///
    /// # Errors
    /// [`Error::Internal`].
    pub fn nobodys(&self, world: &World) -> Result<String, Error> {
        decoy(&self.params, world).map_err(Error::internal)
    }

    /// Checks a password against a stored PHC string; against a decoy, with the same work, when there is none.
    ///
    /// # Errors
    /// [`Error::HashingBusy`] when too many wait, [`Error::Internal`] when the stored hash is not one of ours.
    pub async fn verify(&self, password: Secret<String>, stored: Option<&str>) -> Result<Verdict, Error> {
        let hash = PasswordHash::new(stored.unwrap_or(&self.decoy)).map_err(Error::internal)?;
        let params = Params::try_from(&hash).map_err(Error::internal)?;
        if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
            return Err(Error::internal("a stored password hash asks for more than the limits allow"));
        }
        let (outdated, known) = (self.is_outdated(&params), stored.is_some());
        let argon2 = self.argon2();
        let matches =
            self.run(move || Ok(argon2.verify_password(password.expose().as_bytes(), &hash).is_ok())).await?;
        Ok(if matches && known { Verdict::Right { outdated } } else { Verdict::Wrong })
    }

    /// Does other work that is dear, in the same queue.
    ///
    /// # Errors
    /// [`Error::HashingBusy`] when too many wait.
    pub async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.queue(move || Ok(work())).await
    }

    /// How many hashes were computed so far.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    fn is_outdated(&self, params: &Params) -> bool {
        (params.m_cost(), params.t_cost(), params.p_cost())
            != (self.params.m_cost(), self.params.t_cost(), self.params.p_cost())
    }

    /// Computes a hash when its turn comes.
    async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Error> + Send + 'static,
    {
        let rounds = Arc::clone(&self.rounds);
        self.queue(move || {
            rounds.fetch_add(1, Ordering::Relaxed);
            work()
        })
        .await
    }

    /// Runs `work` when its turn comes. The permits go with the work, for a dropped call does not stop it.
    async fn queue<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Error> + Send + 'static,
    {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| Error::HashingBusy)?;
        let running = self.running.clone().acquire_owned().await.map_err(Error::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop((running, admitted));
            outcome
        });
        done.await.map_err(Error::internal)?
    }
}

/// A well-formed hash with a random output, which is the hash of nothing that anybody knows.
fn decoy(params: &Params, world: &World) -> Result<String, argon2::password_hash::Error> {
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params)?,
        salt: Some(Salt::new(&world.bytes::<SALT_BYTES>())?),
        hash: Some(Output::new(&world.bytes::<OUTPUT_BYTES>())?),
    };
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::base::{ManualClock, SeededRng, Timestamp};

    use super::*;

    const SMALL: Options = Options { memory_kib: 64, passes: 1, lanes: 1, concurrent_max: 1, waiting_max: 2 };

    fn world() -> World {
        World::new(Arc::new(ManualClock::new(Timestamp::from_seconds(0))), Arc::new(SeededRng::new(1)))
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn the_right_password_is_told_from_wrong_ones() {
        let hashing = Hashing::new(&SMALL, &world()).unwrap();
        let stored = hashing.hash(secret("correct horse"), &world()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
        let right = hashing.verify(secret("correct horse"), Some(&stored)).await.unwrap();
        assert_eq!(right, Verdict::Right { outdated: false });
        assert_eq!(hashing.verify(secret("Correct horse"), Some(&stored)).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn no_account_costs_the_same_work_and_never_matches() {
        let hashing = Hashing::new(&SMALL, &world()).unwrap();
        assert_eq!(hashing.verify(secret("anything"), None).await.unwrap(), Verdict::Wrong);
        assert_eq!(hashing.rounds(), 1);
        let decoy = PasswordHash::new(&hashing.decoy).unwrap();
        assert!(!hashing.is_outdated(&Params::try_from(&decoy).unwrap()));
    }

    #[tokio::test]
    async fn other_parameters_are_outdated_and_greedy_ones_are_refused() {
        let hashing = Hashing::new(&SMALL, &world()).unwrap();
        let older = Hashing::new(&Options { passes: 2, ..SMALL }, &world()).unwrap();
        let stored = older.hash(secret("correct horse"), &world()).await.unwrap();
        let verdict = hashing.verify(secret("correct horse"), Some(&stored)).await.unwrap();
        assert_eq!(verdict, Verdict::Right { outdated: true });
        let greedy = stored.replace("m=64", "m=4194304");
        assert!(matches!(hashing.verify(secret("x"), Some(&greedy)).await, Err(Error::Internal(_))));
        assert!(matches!(Hashing::new(&Options { passes: 0, ..SMALL }, &world()), Err(Error::Setup(_))));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let hashing = Arc::new(Hashing::new(&SMALL, &world()).unwrap());
        // The one that runs is held here, so that the two that wait cannot begin.
        let running = hashing.running.clone().acquire_owned().await.unwrap();
        let admitted = hashing.admitted.clone().acquire_owned().await.unwrap();
        let waits = |name: &'static str| {
            let hashing = hashing.clone();
            async move { hashing.verify(secret(name), None).await }
        };
        let mut waiting = futures_util::future::join(Box::pin(waits("a")), Box::pin(waits("b")));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let refused = waits("c").await.unwrap_err();
        assert!(matches!(refused, Error::HashingBusy));
        assert_eq!(crate::base::Fault::retry_after(&refused), Some(Duration::from_secs(2)));
        drop((running, admitted));
        let (a, b) = waiting.await;
        assert_eq!((a.unwrap(), b.unwrap()), (Verdict::Wrong, Verdict::Wrong));
    }
}
