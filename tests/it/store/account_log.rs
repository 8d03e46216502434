//! The logs of accounts: positions without a hole whoever writes at once, what is cut, and what is told of once.

use std::collections::BTreeMap;
use std::time::Duration;

use capecontrol::account_log::{self, Change, Head, KEPT, ThreadUnread, Unread};
use capecontrol::base::{AccountId, OrganizationId};
use capecontrol::db::Scope;

use crate::support::{Fixture, on_both, somebody};

const SCOPE: Scope = Scope::System("test");

fn joined(t: &Fixture) -> Change {
    Change::OrganizationJoined { organization_id: t.world.id() }
}

async fn account(t: &Fixture, email: &str) -> AccountId {
    somebody(t, email).await.account().unwrap()
}

async fn record(t: &Fixture, changes: Vec<(AccountId, Change)>) -> Vec<(AccountId, i64)> {
    let mut tx = t.db.begin(SCOPE).await.unwrap();
    let positions = account_log::record(&mut tx, changes, t.world.now()).await.unwrap();
    tx.commit().await.unwrap();
    positions
}

async fn record_unread(t: &Fixture, account: AccountId, unread: &Unread) -> Vec<(AccountId, i64)> {
    let mut tx = t.db.begin(SCOPE).await.unwrap();
    let counted = BTreeMap::from([(account, unread.clone())]);
    let positions = account_log::record_unread(&mut tx, &counted, t.world.now()).await.unwrap();
    tx.commit().await.unwrap();
    positions
}

async fn positions(t: &Fixture, account: AccountId, after: i64) -> Vec<i64> {
    let mut conn = t.db.conn(SCOPE).await.unwrap();
    let entries = account_log::entries_after(&mut conn, account, after, 1_000).await.unwrap();
    entries.into_iter().map(|entry| entry.seq).collect()
}

async fn head(t: &Fixture, account: AccountId) -> Head {
    let mut conn = t.db.conn(SCOPE).await.unwrap();
    account_log::head(&mut conn, account).await.unwrap()
}

fn unread(organization_id: OrganizationId, messages: i64) -> Unread {
    Unread::sum(vec![ThreadUnread { organization_id, thread_id: uuid::Uuid::nil(), messages }])
}

on_both! {
    async fn whoever_writes_at_once_the_positions_have_no_hole(t: Fixture) {
        let accounts = [account(&t, "ada@example.com").await, account(&t, "bob@example.com").await];
        let (t, mut writers) = (std::sync::Arc::new(t), tokio::task::JoinSet::new());
        for number in 0..40 {
            let t = std::sync::Arc::clone(&t);
            writers.spawn(async move {
                // Named in either order: nobody waits for somebody who waits for them.
                let order = if number % 2 == 0 { accounts } else { [accounts[1], accounts[0]] };
                record(&t, order.into_iter().map(|account| (account, joined(&t))).collect()).await
            });
        }
        while let Some(written) = writers.join_next().await {
            assert_eq!(written.unwrap().len(), 2);
        }
        for account in accounts {
            assert_eq!(positions(&t, account, 0).await, (1..=40).collect::<Vec<_>>());
            assert_eq!(head(&t, account).await.last_seq, 40);
        }
    }

    async fn what_is_not_committed_takes_no_position(t: Fixture) {
        let ada = account(&t, "ada@example.com").await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        account_log::record(&mut tx, [(ada, joined(&t))], t.world.now()).await.unwrap();
        drop(tx);
        assert_eq!(head(&t, ada).await, Head::default());
        assert_eq!(record(&t, vec![(ada, joined(&t))]).await, [(ada, 1)]);
    }

    async fn the_newest_are_kept(t: Fixture) {
        let ada = account(&t, "ada@example.com").await;
        for _ in 0..KEPT + 3 {
            record(&t, vec![(ada, joined(&t))]).await;
        }
        let kept = positions(&t, ada, 0).await;
        assert_eq!((kept[0], kept.len()), (4, usize::try_from(KEPT).unwrap()));
        assert_eq!(head(&t, ada).await.cut_at(), 3);
    }

    async fn what_is_unread_is_written_when_it_is_something_else(t: Fixture) {
        let ada = account(&t, "ada@example.com").await;
        let home = t.world.id();
        assert_eq!(record_unread(&t, ada, &unread(home, 1)).await, [(ada, 1)]);
        assert_eq!(record_unread(&t, ada, &unread(home, 1)).await, [], "told before");
        assert_eq!(record_unread(&t, ada, &unread(home, 2)).await, [(ada, 2)]);
        assert_eq!(head(&t, ada).await.unread, unread(home, 2));
        record(&t, vec![(ada, joined(&t))]).await;
        assert_eq!(record_unread(&t, ada, &unread(home, 2)).await, [], "what came between is another matter");
        assert_eq!(record_unread(&t, ada, &Unread::default()).await, [(ada, 4)]);
    }

    async fn a_restored_log_is_another_life_of_it(t: Fixture) {
        let (ada, bob) = (account(&t, "ada@example.com").await, account(&t, "bob@example.com").await);
        record(&t, vec![(ada, joined(&t))]).await;
        let before = head(&t, ada).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        account_log::begin_epoch(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_ne!(head(&t, ada).await.epoch, before.epoch);
        // Nor does a log that begins after the restore have the epoch of one that was lost by it.
        record(&t, vec![(bob, joined(&t))]).await;
        let lost = head(&t, bob).await.epoch;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        capecontrol::db::Conn::shared_sql(&mut tx, "DELETE FROM account_logs").execute().await.unwrap();
        capecontrol::db::Conn::shared_sql(&mut tx, "DELETE FROM account_events").execute().await.unwrap();
        tx.commit().await.unwrap();
        t.clock.advance(Duration::from_millis(1));
        record(&t, vec![(bob, joined(&t))]).await;
        assert_ne!(head(&t, bob).await.epoch, lost);
    }
}
