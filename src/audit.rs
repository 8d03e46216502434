//! The audit log: who did what, on whose behalf, to what, and from where.
//!
//! An entry is written in the transaction of the change that it tells of, so that there is never one without the other.
//! This module does not know what any action means, and decides nothing.

pub mod model;
mod store;

pub use model::{Actor, ActorKind, Entry, Risk, Subject};

use crate::base::World;
use crate::db::{self, Tx};
use crate::keyring::{self, RootKey};

/// Writes entries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    world: World,
    root: RootKey,
}

impl Log {
    /// A log whose secrets the root key wraps.
    #[must_use]
    pub const fn new(world: World, root: RootKey) -> Self {
        Self { world, root }
    }

    /// Writes an entry in the transaction of the change that it tells of.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn record(&self, tx: &mut Tx, entry: Entry) -> Result<(), db::Error> {
        // Keyed, for states are few enough to be guessed.
        let key = self.root.derive("audit-states");
        let digest = |state: Option<&str>| state.map(|state| keyring::mac(key.expose(), &[state.as_bytes()]));
        let (before, after) = (digest(entry.before.as_deref()), digest(entry.after.as_deref()));
        store::insert(tx, self.world.id(), &entry, before, after, self.world.now()).await
    }
}
