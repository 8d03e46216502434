//! The log of an account: what is written to it here, and what a stream tells of it.

use std::sync::Arc;

use super::Service;
use crate::account_log::{self, Change, Entry, Head};
use crate::auth::Caller;
use crate::base::AccountId;
use crate::bus::{Hint, Signal};
use crate::chat::error::Error;
use crate::chat::model::Thread;
use crate::chat::model::account_feed::PAGE_ENTRIES;
use crate::db::{Scope, Tx};

const SCOPE: Scope = Scope::System("chat.account_log");

impl Service {
    /// How the log of the caller's account stands. A program is told what concerns its organisation.
    pub(in crate::chat) async fn account_head(&self, caller: &Caller) -> Result<Head, Error> {
        let _place = self.reading.place().await?;
        let mut conn = self.db.conn(SCOPE).await?;
        let mut head = account_log::head(&mut conn, caller.account()?).await?;
        if let Some(grant) = &caller.grant {
            head.unread = head.unread.within(grant.organization);
        }
        Ok(head)
    }

    /// The entries after a position. What a program may not know of is a position to it, and no more.
    pub(in crate::chat) async fn account_entries(
        &self,
        caller: &Caller,
        after: i64,
    ) -> Result<Vec<Entry>, Error> {
        let limit = i64::try_from(PAGE_ENTRIES).unwrap_or(i64::MAX);
        let _place = self.reading.place().await?;
        let mut conn = self.db.conn(SCOPE).await?;
        let mut entries = account_log::entries_after(&mut conn, caller.account()?, after, limit).await?;
        if let Some(grant) = &caller.grant {
            for entry in &mut entries {
                entry.change = entry.change.take().and_then(|change| change.within(grant.organization));
            }
        }
        Ok(entries)
    }

    /// Writes to the logs of these accounts, each of which is named once, what has become of their place in a thread.
    /// All that a transaction writes to logs it writes at once: two that locked them one by one could wait for each
    /// other.
    pub(super) async fn log_seats(
        &self,
        tx: &mut Tx,
        thread: &Thread,
        seats: Vec<(AccountId, SeatChange)>,
    ) -> Result<(), Error> {
        let changes = seats.into_iter().map(|(account, change)| (account, change.of(thread)));
        let positions = account_log::record(tx, changes, self.world.now()).await?;
        self.hint_logs_after(tx, positions);
        Ok(())
    }

    /// Hints at entries after the commit.
    pub(in crate::chat) fn hint_logs_after(&self, tx: &mut Tx, positions: Vec<(AccountId, i64)>) {
        let bus = Arc::clone(&self.outside.bus);
        tx.after_commit(move || {
            for (account, seq) in positions {
                bus.publish(Signal::Hint(Hint { thread: account.uuid(), seq, inline: None }));
            }
        });
    }
}

/// What has become of somebody's place in a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeatChange {
    /// They are in it now.
    Joined,
    /// Their role is another, or what they make of it.
    Changed,
    /// They are in it no longer.
    Left,
}

impl SeatChange {
    const fn of(self, thread: &Thread) -> Change {
        let (organization_id, thread_id) = (thread.organization_id, thread.id.uuid());
        match self {
            Self::Joined => Change::ThreadJoined { organization_id, thread_id },
            Self::Changed => Change::ThreadChanged { organization_id, thread_id },
            Self::Left => Change::ThreadLeft { organization_id, thread_id },
        }
    }
}
