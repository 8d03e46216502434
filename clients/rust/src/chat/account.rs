//! Where the client stands in the log of its account: the same rule as for threads ([`super::cursors`]). An entry that
//! is exactly the next is applied, one that is there is skipped, and anything else means that something was lost. It
//! must not know what an entry says, time or streams.

use super::cursors::Heard;
use super::words::AccountCursor;

/// The position in the log of an account.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    cursor: AccountCursor,
    /// Whether the past is told on this stream.
    live: bool,
}

impl Account {
    /// From this position.
    #[must_use]
    pub fn new(cursor: AccountCursor) -> Self {
        Self { cursor, live: false }
    }

    /// Where a stream begins.
    #[must_use]
    pub fn cursor(&self) -> AccountCursor {
        self.cursor
    }

    /// Whether the past is told.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Where a new stream begins, on which nothing is live yet.
    pub fn open(&mut self) -> AccountCursor {
        self.live = false;
        self.cursor
    }

    /// How things stand: what there is of the log is to be forgotten.
    pub fn snapshot(&mut self, seq: i64, epoch: i64) {
        (self.cursor, self.live) = (AccountCursor { seq, epoch }, false);
    }

    /// An entry. [`Heard::Apply`] means that it is exactly the next.
    pub fn event(&mut self, seq: i64, epoch: i64) -> Heard {
        let AccountCursor { seq: have, epoch: known } = self.cursor;
        if known != 0 && known != epoch {
            return Heard::Lost;
        }
        if seq <= have {
            return Heard::Noted;
        }
        if seq != have.saturating_add(1) {
            return Heard::Lost;
        }
        self.cursor = AccountCursor { seq, epoch };
        Heard::Apply
    }

    /// The past is told, up to `seq` of this epoch.
    pub fn live(&mut self, seq: i64, epoch: i64) -> Heard {
        if self.cursor != (AccountCursor { seq, epoch }) {
            return Heard::Lost;
        }
        self.live = true;
        Heard::Noted
    }

    /// Whether the stream was sent more of the log than came.
    #[must_use]
    pub fn lacks(&self, sent: i64) -> bool {
        sent > self.cursor.seq
    }
}
