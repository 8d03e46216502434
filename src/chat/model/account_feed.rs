//! What one stream still has to tell of its caller's own log.
//!
//! The same rule as for threads ([`super::feed`]), and simpler, because entries are few: all that is told is read from
//! the store, and what is heard only moves the position that is known. A position that is of no use (of another epoch,
//! beyond the end, or before what is kept) is answered with how things stand, and the stream goes on from there.

use std::collections::VecDeque;

use crate::account_log::{Entry, Head, Unread};
use crate::base::Violations;

/// How many entries a page has at most.
pub const PAGE_ENTRIES: usize = 100;

/// The last entry that a client has; the start of everything for one that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCursor {
    /// Its position.
    pub after_seq: i64,
    /// The epoch that came with it; 0 when the client has none.
    pub epoch: i64,
}

impl AccountCursor {
    /// Checks a position that came in.
    pub fn parse(violations: &mut Violations, after_seq: i64, epoch: i64) -> Self {
        violations.check(after_seq >= 0, "account.after_seq", "must not be negative");
        violations.check(epoch >= 0, "account.epoch", "must not be negative");
        let dated = after_seq <= 0 || epoch != 0;
        violations.check(dated, "account.epoch", "must come together with after_seq");
        Self { after_seq, epoch }
    }
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountNotice {
    /// How things stand, for a client whose position is of no use.
    Snapshot {
        /// The newest entry.
        seq: i64,
        /// The epoch to keep with it.
        epoch: i64,
        /// What is unread, as it was told last.
        unread: Unread,
    },
    /// The next entry.
    Entry(Entry),
    /// The past is told.
    Live {
        /// The last entry told.
        seq: i64,
        /// The epoch to keep with it.
        epoch: i64,
    },
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountStep {
    /// Tell the client.
    Tell(AccountNotice),
    /// Read how the log stands and give it to [`AccountFeed::stands`].
    Look,
    /// Read the entries after this one and give them to [`AccountFeed::page`].
    Read(i64),
    /// Nothing until something is heard.
    Idle,
}

/// What one stream still has to tell.
#[derive(Debug)]
pub struct AccountFeed {
    /// The last entry told, or what the client came with.
    cursor: AccountCursor,
    /// The newest entry known to exist.
    known: i64,
    /// Whether it is known how the log stands.
    placed: bool,
    /// Whether the client waits for [`AccountNotice::Live`].
    announced: bool,
    notices: VecDeque<AccountNotice>,
}

impl AccountFeed {
    /// Goes on from where the client is.
    #[must_use]
    pub const fn new(cursor: AccountCursor) -> Self {
        Self { cursor, known: 0, placed: false, announced: true, notices: VecDeque::new() }
    }

    /// The last entry told.
    #[must_use]
    pub const fn sent(&self) -> i64 {
        self.cursor.after_seq
    }

    /// Whether everything known has been told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.placed && !self.announced && self.notices.is_empty() && self.known <= self.cursor.after_seq
    }

    /// Hears that the log has reached `seq`.
    pub fn hear(&mut self, seq: i64) {
        self.known = self.known.max(seq);
    }

    /// What to do next.
    pub fn step(&mut self) -> AccountStep {
        if let Some(notice) = self.notices.pop_front() {
            return AccountStep::Tell(notice);
        }
        if !self.placed {
            return AccountStep::Look;
        }
        let AccountCursor { after_seq: seq, epoch } = self.cursor;
        if self.known > seq {
            return AccountStep::Read(seq);
        }
        if std::mem::take(&mut self.announced) {
            return AccountStep::Tell(AccountNotice::Live { seq, epoch });
        }
        AccountStep::Idle
    }

    /// Takes how the log stands, which [`AccountStep::Look`] asked for.
    pub fn stands(&mut self, head: Head) {
        let AccountCursor { after_seq, epoch } = self.cursor;
        let useful =
            epoch != 0 && epoch == head.epoch && (head.cut_at()..=head.last_seq).contains(&after_seq);
        self.placed = true;
        self.known = self.known.max(head.last_seq);
        if !useful {
            self.cursor = AccountCursor { after_seq: head.last_seq, epoch: head.epoch };
            let (seq, epoch, unread) = (head.last_seq, head.epoch, head.unread);
            self.notices.push_back(AccountNotice::Snapshot { seq, epoch, unread });
        }
    }

    /// Takes the entries after `after`, which [`AccountStep::Read`] asked for.
    pub fn page(&mut self, after: i64, entries: Vec<Entry>) {
        if self.cursor.after_seq != after {
            return;
        }
        let Some(first) = entries.first() else {
            // Something was heard of that is not stored (here, yet): the backstop will say it again.
            self.known = after;
            return;
        };
        let another_life = self.cursor.epoch != 0 && self.cursor.epoch != first.epoch;
        if another_life || first.seq != after.saturating_add(1) {
            // What would come next is no longer kept.
            self.cursor = AccountCursor::default();
            (self.placed, self.announced) = (false, true);
            return;
        }
        for entry in entries {
            self.cursor = AccountCursor { after_seq: entry.seq, epoch: entry.epoch };
            self.notices.push_back(AccountNotice::Entry(entry));
        }
        self.known = self.known.max(self.cursor.after_seq);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account_log::KEPT;
    use crate::base::Timestamp;

    fn entry(seq: i64, epoch: i64) -> Entry {
        Entry { seq, epoch, at: Timestamp::from_seconds(0), change: None }
    }

    fn head(last_seq: i64, epoch: i64) -> Head {
        Head { last_seq, epoch, unread: Unread::default() }
    }

    fn at(after_seq: i64, epoch: i64) -> AccountFeed {
        AccountFeed::new(AccountCursor { after_seq, epoch })
    }

    #[test]
    fn a_position_of_no_use_is_answered_with_how_things_stand() {
        let last = KEPT + 10;
        // None, of another epoch, beyond the end, and before what is kept.
        for mut feed in [at(0, 0), at(5, 6), at(last + 1, 7), at(9, 7)] {
            assert_eq!(feed.step(), AccountStep::Look);
            feed.stands(head(last, 7));
            let snapshot = AccountNotice::Snapshot { seq: last, epoch: 7, unread: Unread::default() };
            assert_eq!(feed.step(), AccountStep::Tell(snapshot));
            assert_eq!(feed.step(), AccountStep::Tell(AccountNotice::Live { seq: last, epoch: 7 }));
            assert_eq!(feed.step(), AccountStep::Idle);
            assert!(feed.is_settled());
        }
    }

    #[test]
    fn the_oldest_position_of_use_is_the_one_before_what_is_kept() {
        let mut feed = at(10, 7);
        feed.stands(head(KEPT + 10, 7));
        assert_eq!(feed.step(), AccountStep::Read(10));
    }

    #[test]
    fn a_log_that_was_empty_tells_its_epoch_with_the_first_entry() {
        let mut feed = at(0, 0);
        feed.stands(Head::default());
        assert!(matches!(feed.step(), AccountStep::Tell(AccountNotice::Snapshot { seq: 0, epoch: 0, .. })));
        assert_eq!(feed.step(), AccountStep::Tell(AccountNotice::Live { seq: 0, epoch: 0 }));
        feed.hear(1);
        assert_eq!(feed.step(), AccountStep::Read(0));
        feed.page(0, vec![entry(1, 9)]);
        assert_eq!(feed.step(), AccountStep::Tell(AccountNotice::Entry(entry(1, 9))));
        assert_eq!(feed.step(), AccountStep::Idle);
    }

    #[test]
    fn what_was_cut_while_a_client_slept_is_replaced_by_how_things_stand() {
        let mut feed = at(3, 7);
        feed.stands(head(20, 7));
        assert_eq!(feed.step(), AccountStep::Read(3));
        feed.page(3, vec![entry(600, 7)]);
        assert_eq!(feed.step(), AccountStep::Look);
        feed.stands(head(1_099, 7));
        assert!(matches!(feed.step(), AccountStep::Tell(AccountNotice::Snapshot { seq: 1_099, .. })));
        assert!(matches!(feed.step(), AccountStep::Tell(AccountNotice::Live { seq: 1_099, .. })));
    }

    /// What happens to a log and to a stream of it.
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Written,
        Heard,
        HeardEarly,
        Told,
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            4 => Just(Happens::Written),
            2 => Just(Happens::Heard),
            1 => Just(Happens::HeardEarly),
            6 => Just(Happens::Told),
        ]
    }

    proptest! {
        /// Whatever is heard, and when: the client gets each entry once and in order, and after the backstop all.
        #[test]
        fn every_entry_is_told_once_and_in_order(
            (start, first) in (0_i64..30).prop_flat_map(|first| (0..=first, Just(first))),
            story in prop::collection::vec(happens(), 0..80),
            page in 1_usize..5,
        ) {
            let (mut feed, mut last, mut told) = (at(start, 7), first, start);
            let mut live = false;
            let mut work = |feed: &mut AccountFeed, last: i64| -> bool {
                match feed.step() {
                    AccountStep::Look => feed.stands(head(last, 7)),
                    AccountStep::Read(after) => {
                        let until = last.min(after.saturating_add(i64::try_from(page).unwrap_or(1)));
                        feed.page(after, (after + 1..=until).map(|seq| entry(seq, 7)).collect());
                    }
                    AccountStep::Tell(AccountNotice::Entry(entry)) => {
                        assert_eq!(entry.seq, told + 1);
                        told = entry.seq;
                    }
                    AccountStep::Tell(AccountNotice::Live { seq, .. }) => {
                        assert!(!live && seq == told);
                        live = true;
                    }
                    AccountStep::Tell(notice) => panic!("{notice:?}"),
                    AccountStep::Idle => return false,
                }
                true
            };
            for step in story {
                match step {
                    Happens::Written => last += 1,
                    Happens::Heard => feed.hear(last),
                    // Of a transaction that is not visible to this reader yet.
                    Happens::HeardEarly => feed.hear(last + 1),
                    Happens::Told => { work(&mut feed, last); }
                }
            }
            while work(&mut feed, last) {}
            feed.hear(last);
            while work(&mut feed, last) {}
            prop_assert_eq!(told, last);
            prop_assert!(feed.is_settled());
        }
    }
}
