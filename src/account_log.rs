//! What concerns a person alone, whichever threads they follow: that they were invited, that they are in a thread now,
//! how much they have not read. A log for each account, with contiguous positions, written in the transaction of the
//! change that it tells of.
//!
//! Only the newest [`KEPT`] entries of an account are kept: whoever comes back with an older position is told how
//! things stand instead. An entry says what to look at, and holds as little of it as possible: it outlives the change.
//!
//! This module does not know who listens, or what a thread is.

pub mod model;
mod store;

pub use model::{Change, Entry, Head, KEPT, ThreadUnread, Unread};
pub use store::{begin_epoch, entries_after, head, heads, unread};

use crate::base::{AccountId, Timestamp};
use crate::db::{self, Tx};

/// How many accounts one statement writes to.
const ACCOUNTS_AT_ONCE: usize = 500;

/// Writes one change for each of these accounts, and returns the positions that they got. Whoever is named twice gets
/// the last one only. The logs stay locked until the transaction ends, in the order of the accounts' ids.
///
/// # Errors
/// What the database refuses.
pub async fn record(
    tx: &mut Tx,
    changes: impl IntoIterator<Item = (AccountId, Change)>,
    at: Timestamp,
) -> Result<Vec<(AccountId, i64)>, db::Error> {
    let changes: std::collections::BTreeMap<AccountId, Change> = changes.into_iter().collect();
    let changes: Vec<(AccountId, Change)> = changes.into_iter().collect();
    let mut positions = Vec::with_capacity(changes.len());
    for part in changes.chunks(ACCOUNTS_AT_ONCE) {
        let accounts: Vec<AccountId> = part.iter().map(|(account, _)| *account).collect();
        let taken = store::advance(tx, &accounts, at).await?;
        store::insert(tx, part, &taken, at).await?;
        store::cut(tx, &taken).await?;
        positions.extend(taken);
    }
    Ok(positions)
}

/// Writes how much of these accounts is unread, for those of whom it is something else than what was told last.
/// Returns the positions.
///
/// # Errors
/// What the database refuses.
pub async fn record_unread(
    tx: &mut Tx,
    unread: &std::collections::BTreeMap<AccountId, Unread>,
    at: Timestamp,
) -> Result<Vec<(AccountId, i64)>, db::Error> {
    if unread.is_empty() {
        return Ok(Vec::new());
    }
    let taken = store::advance_unread(tx, unread, at).await?;
    let changes: Vec<(AccountId, Change)> = taken
        .iter()
        .filter_map(|(account, _)| Some((*account, Change::UnreadChanged(unread.get(account)?.clone()))))
        .collect();
    store::insert(tx, &changes, &taken, at).await?;
    store::cut(tx, &taken).await?;
    Ok(taken)
}
