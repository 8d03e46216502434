//! Who is in a thread: direct threads, roles, joining and leaving, titles, preferences, and deleting it all.

use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::{AccountId, Fault as _, Id, fault};
use capecontrol::chat::error::{
    LAST_THREAD_OWNER, NOT_THE_AUTHOR, THREAD_IS_DIRECT, THREAD_MANAGERS_ONLY, THREAD_READ_ONLY,
};
use capecontrol::chat::model::member::{PreferenceChange, SeenThread, ThreadRole};
use capecontrol::chat::model::{Actor, Change, Draft, Event, Thread, ThreadId, ThreadKind};
use capecontrol::chat::service::{CreateThread, UpdateThread};
use capecontrol::chat::{Error, store};
use capecontrol::db::{Conn as _, Engine, Scope, Tx};

use super::bench::{Node, draft, join, quick};
use crate::support::{Fixture, on_both};

/// Ada, and two others of her organisation.
struct Scene {
    node: Node,
    ada: Caller,
    ben: Caller,
    cid: Caller,
}

impl Scene {
    async fn start(t: &Fixture) -> Self {
        let node = Node::start(t, quick()).await;
        let ada = node.somebody("ada@example.com").await;
        let (ben, cid) = (node.somebody("ben@example.com").await, node.somebody("cid@example.com").await);
        for other in [&ben, &cid] {
            join(t, other, &ada).await;
        }
        Self { node, ada, ben, cid }
    }

    /// Ada's thread with these.
    async fn thread(&self, others: &[&Caller]) -> Thread {
        let members = others.iter().map(|other| account(other)).collect();
        let command = CreateThread { members, ..CreateThread::default() };
        self.node.chat.create_thread(&self.ada, command, None).await.unwrap().thread
    }

    async fn direct(&self, from: &Caller, to: &Caller) -> Result<SeenThread, Error> {
        let organization_id = self.ada.personal().ok();
        let (kind, members) = (Some(ThreadKind::Direct), vec![account(to)]);
        let command = CreateThread { organization_id, kind, members, ..CreateThread::default() };
        self.node.chat.create_thread(from, command, None).await
    }

    async fn admit(
        &self,
        by: &Caller,
        thread: ThreadId,
        who: &Caller,
        role: ThreadRole,
    ) -> Result<(), Error> {
        self.node.chat.add_thread_member(by, thread, account(who), role, None).await.map(drop)
    }

    async fn remove(&self, by: &Caller, thread: ThreadId, who: &Caller) -> Result<(), Error> {
        self.node.chat.remove_thread_member(by, thread, Some(account(who)), None).await
    }

    async fn roles(&self, thread: ThreadId) -> Vec<(AccountId, ThreadRole)> {
        let nobody = Id::from_uuid(uuid::Uuid::nil());
        let members = self.node.chat.thread_members(&self.ben, thread, nobody, 100).await.unwrap();
        members.into_iter().map(|member| (member.account_id, member.role)).collect()
    }

    async fn changes(&self, by: &Caller, thread: ThreadId) -> Vec<Change> {
        self.node.events(by, thread).await.into_iter().map(|event| event.change).collect()
    }
}

fn account(caller: &Caller) -> AccountId {
    caller.account().unwrap()
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.unwrap_err().reason().name
}

/// Waits until another transaction waits for a lock of this one.
async fn waits_for(tx: &mut Tx) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        let count = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))";
        while tx.shared_sql(count).one::<(i64,)>().await.unwrap() == (0,) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
}

/// How many events and messages are stored of a thread, and words of these.
async fn left_of(t: &Fixture, thread_id: ThreadId) -> (i64, i64, i64) {
    let mut conn = t.db.conn(Scope::System("test")).await.unwrap();
    let count = conn.sql(
        "SELECT (SELECT count(*) FROM thread_events WHERE thread_id = $1),
                (SELECT count(*) FROM messages WHERE thread_id = $1),
                (SELECT count(*) FROM message_words WHERE thread_id = $1)",
    );
    count.bind(thread_id).one().await.unwrap()
}

fn title(thread_id: ThreadId, title: &str) -> UpdateThread {
    let preferences = PreferenceChange::default();
    UpdateThread { thread_id, title: Some(title.to_owned()), preferences, etag: String::new() }
}

on_both! {
    async fn two_people_have_one_direct_thread_whoever_opens_it(t: Fixture) {
        let s = Scene::start(&t).await;
        let first = s.direct(&s.ada, &s.ben).await.unwrap();
        let again = s.direct(&s.ben, &s.ada).await.unwrap();
        assert_eq!((again.thread.id, again.seat.role), (first.thread.id, ThreadRole::Owner));
        assert_ne!(s.direct(&s.ada, &s.cid).await.unwrap().thread.id, first.thread.id);
        let id = first.thread.id;
        assert_eq!(reason(s.admit(&s.ada, id, &s.cid, ThreadRole::Member).await), THREAD_IS_DIRECT.name);
        assert_eq!(reason(s.remove(&s.ben, id, &s.ben).await), THREAD_IS_DIRECT.name);
        assert_eq!(reason(s.node.chat.update_thread(&s.ada, title(id, "Us"), None).await), THREAD_IS_DIRECT.name);
        assert_eq!(reason(s.node.chat.delete_thread(&s.ada, id, "", None).await), THREAD_IS_DIRECT.name);
        assert_eq!(reason(s.direct(&s.ada, &s.ada).await), fault::INVALID_ARGUMENT.name);
        let zoe = s.node.somebody("zoe@example.com").await;
        assert_eq!(reason(s.direct(&s.ada, &zoe).await), fault::NOT_FOUND.name);
        assert!(s.node.events(&s.ada, id).await.is_empty(), "nothing of all that left an event");
    }

    async fn members_of_the_organisation_join_and_see_the_past(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[]).await;
        s.node.send(&s.ada, thread.id, "before").await;
        assert!(s.node.chat.send(&s.ben, draft(thread.id, "me too")).await.is_err());
        s.admit(&s.ada, thread.id, &s.ben, ThreadRole::Member).await.unwrap();
        s.node.send(&s.ben, thread.id, "after").await;
        let added = Change::MemberAdded { account_id: account(&s.ben), role: ThreadRole::Member };
        assert_eq!(s.changes(&s.ben, thread.id).await[1], added);
        assert_eq!(reason(s.admit(&s.ben, thread.id, &s.cid, ThreadRole::Member).await), THREAD_MANAGERS_ONLY.name);
        let zoe = s.node.somebody("zoe@example.com").await;
        assert_eq!(reason(s.admit(&s.ada, thread.id, &zoe, ThreadRole::Member).await), fault::NOT_FOUND.name);
        // The same once more is no change, and leaves no event.
        s.admit(&s.ada, thread.id, &s.ben, ThreadRole::Member).await.unwrap();
        assert_eq!(s.changes(&s.ben, thread.id).await.len(), 3);
    }

    async fn readers_read(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[&s.ben]).await;
        s.admit(&s.ada, thread.id, &s.ben, ThreadRole::Reader).await.unwrap();
        let changed = Change::MemberRoleChanged { account_id: account(&s.ben), role: ThreadRole::Reader };
        assert_eq!(s.changes(&s.ben, thread.id).await, [changed]);
        assert_eq!(reason(s.node.chat.send(&s.ben, draft(thread.id, "x")).await), THREAD_READ_ONLY.name);
        assert_eq!(s.node.chat.mark_read(&s.ben, thread.id, 1).await.unwrap(), 1);
        assert_eq!(reason(s.node.chat.mark_read(&s.ben, thread.id, 2).await), fault::INVALID_ARGUMENT.name);
        s.remove(&s.ben, thread.id, &s.ben).await.unwrap();
        assert_eq!(reason(s.node.chat.thread(&s.ben, thread.id).await), fault::NOT_FOUND.name);
    }

    async fn a_thread_that_has_members_has_an_owner(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[&s.cid]).await;
        t.clock.advance(Duration::from_secs(1));
        s.admit(&s.ada, thread.id, &s.ben, ThreadRole::Member).await.unwrap();
        assert_eq!(
            reason(s.admit(&s.ada, thread.id, &s.ada, ThreadRole::Member).await),
            LAST_THREAD_OWNER.name
        );
        assert_eq!(reason(s.remove(&s.ben, thread.id, &s.cid).await), THREAD_MANAGERS_ONLY.name);
        s.remove(&s.ada, thread.id, &s.ada).await.unwrap();
        let (ben, cid) = (account(&s.ben), account(&s.cid));
        let mut expected = vec![(ben, ThreadRole::Member), (cid, ThreadRole::Owner)];
        expected.sort_by_key(|(account, _)| *account);
        assert_eq!(s.roles(thread.id).await, expected);
        let changes = s.changes(&s.ben, thread.id).await;
        assert_eq!(
            changes[1..],
            [
                Change::MemberRemoved { account_id: account(&s.ada) },
                Change::MemberRoleChanged { account_id: cid, role: ThreadRole::Owner },
            ]
        );
    }

    async fn who_runs_the_organisation_manages_a_thread_that_they_are_in(t: Fixture) {
        let s = Scene::start(&t).await;
        let home = s.ada.personal().ok();
        let command = CreateThread { organization_id: home, ..CreateThread::default() };
        let thread = s.node.chat.create_thread(&s.ben, command, None).await.unwrap().thread;
        assert_eq!(
            reason(s.node.chat.update_thread(&s.ada, title(thread.id, "Mine"), None).await),
            fault::NOT_FOUND.name,
            "whoever is not in it does not see it, whatever they run"
        );
        s.admit(&s.ben, thread.id, &s.ada, ThreadRole::Reader).await.unwrap();
        s.node.chat.update_thread(&s.ada, title(thread.id, "Mine"), None).await.unwrap();
    }

    async fn a_title_is_an_event_and_a_preference_is_none(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[&s.ben]).await;
        let stale = capecontrol::auth::model::etag(thread.version);
        let named = s.node.chat.update_thread(&s.ada, title(thread.id, "Budget"), None).await.unwrap();
        assert_eq!((named.thread.title.as_str(), named.thread.version), ("Budget", 2));
        let late = UpdateThread { etag: stale.clone(), ..title(thread.id, "Other") };
        assert_eq!(reason(s.node.chat.update_thread(&s.ada, late, None).await), fault::ETAG_MISMATCH.name);
        assert_eq!(reason(s.node.chat.delete_thread(&s.ada, thread.id, &stale, None).await), "ETAG_MISMATCH");
        let preferences = PreferenceChange { archived: Some(true), ..PreferenceChange::default() };
        let away = UpdateThread { title: None, preferences, ..title(thread.id, "") };
        let seen = s.node.chat.update_thread(&s.ben, away, None).await.unwrap();
        assert!(seen.seat.preferences.archived && !seen.seat.preferences.muted);
        assert_eq!(s.changes(&s.ben, thread.id).await, [Change::ThreadUpdated { title: "Budget".to_owned() }]);
        let home = s.ada.personal().ok();
        for (caller, archived, count) in [(&s.ben, true, 1), (&s.ben, false, 0), (&s.ada, false, 1)] {
            assert_eq!(s.node.chat.threads(caller, home, archived, None, 10).await.unwrap().len(), count);
        }
    }

    async fn a_thread_that_everybody_left_is_removed(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[]).await;
        let mut reply_to = None;
        // Each answers the one before: removing the first must not pull a chain of any length behind it.
        for number in 0..1_100 {
            let answer = Draft { reply_to, ..draft(thread.id, &format!("{number}")) };
            reply_to = Some(s.node.chat.send(&s.ada, answer).await.unwrap().message.id);
        }
        s.remove(&s.ada, thread.id, &s.ada).await.unwrap();
        s.node.worker(&t).run_due().await.unwrap();
        assert_eq!(left_of(&t, thread.id).await, (0, 0, 0));
    }

    async fn nobody_writes_behind_the_end_of_their_membership(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[&s.ben]).await;
        let home = thread.organization_id;
        // Somebody ends Ben's membership, and has not committed yet; Ben, who is still a member, waits for the lock.
        let mut tx = t.db.begin(Scope::Organization(home)).await.unwrap();
        store::advance(&mut tx, home, thread.id, t.world.now()).await.unwrap().unwrap();
        let message = draft(thread.id, "late");
        let mut sending = Box::pin(s.node.chat.send(&s.ben, message));
        let waiting = async {
            if t.db.engine() == Engine::Postgres {
                waits_for(&mut tx).await;
            }
        };
        tokio::select! {
            sent = &mut sending => panic!("{sent:?} while the thread is locked"),
            () = waiting => {}
        }
        store::delete_member(&mut tx, home, thread.id, account(&s.ben)).await.unwrap();
        let event = Event {
            thread_id: thread.id,
            seq: 1,
            actor: Actor::Account(account(&s.ada)),
            at: t.world.now(),
            change: Change::MemberRemoved { account_id: account(&s.ben) },
        };
        store::insert_events(&mut tx, home, &[event]).unwrap();
        tx.commit().await.unwrap();
        assert_eq!(reason(sending.await), fault::NOT_FOUND.name);
        assert_eq!(s.changes(&s.ada, thread.id).await.len(), 1);
    }

    async fn between_two_people_nobody_deletes_the_others_words(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.direct(&s.ada, &s.ben).await.unwrap().thread.id;
        let message = s.node.send(&s.ben, thread, "mine").await.message.id;
        assert_eq!(reason(s.node.chat.delete(&s.ada, message, None).await), NOT_THE_AUTHOR.name);
        s.node.chat.delete(&s.ben, message, None).await.unwrap();
    }

    async fn who_left_the_organisation_owns_no_thread_of_it(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[&s.ben, &s.cid]).await;
        s.admit(&s.ada, thread.id, &s.ben, ThreadRole::Owner).await.unwrap();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.sql("DELETE FROM memberships WHERE organization_id = $1 AND account_id = $2")
            .bind(thread.organization_id)
            .bind(account(&s.ben))
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        s.remove(&s.ada, thread.id, &s.ada).await.unwrap();
        let nobody = Id::from_uuid(uuid::Uuid::nil());
        let members = s.node.chat.thread_members(&s.cid, thread.id, nobody, 100).await.unwrap();
        let cids = members.iter().find(|member| member.account_id == account(&s.cid)).unwrap();
        assert_eq!(cids.role, ThreadRole::Owner, "Ben is one too, and cannot see it");
    }

    async fn two_people_change_what_they_make_of_a_thread_at_once(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[]).await;
        let change = |preferences| UpdateThread { title: None, preferences, ..title(thread.id, "") };
        let muted = change(PreferenceChange { muted: Some(true), ..PreferenceChange::default() });
        let pinned = change(PreferenceChange { pinned: Some(true), ..PreferenceChange::default() });
        let (one, two) = tokio::join!(
            s.node.chat.update_thread(&s.ada, muted, None),
            s.node.chat.update_thread(&s.ada, pinned, None)
        );
        one.unwrap();
        two.unwrap();
        let seen = s.node.chat.thread(&s.ada, thread.id).await.unwrap().seat.preferences;
        assert!(seen.muted && seen.pinned);
    }

    async fn a_deleted_thread_is_gone_for_everybody_and_then_from_the_tables(t: Fixture) {
        let s = Scene::start(&t).await;
        let thread = s.thread(&[&s.ben]).await;
        for number in 0..3 {
            s.node.send(&s.ben, thread.id, &format!("{number}")).await;
        }
        assert_eq!(reason(s.node.chat.delete_thread(&s.ben, thread.id, "", None).await), THREAD_MANAGERS_ONLY.name);
        s.node.chat.delete_thread(&s.ada, thread.id, "", None).await.unwrap();
        for caller in [&s.ada, &s.ben] {
            assert_eq!(reason(s.node.chat.thread(caller, thread.id).await), fault::NOT_FOUND.name);
            assert_eq!(reason(s.node.chat.send(caller, draft(thread.id, "x")).await), fault::NOT_FOUND.name);
        }
        let mut tx = t.db.begin(Scope::Organization(thread.organization_id)).await.unwrap();
        let now = t.world.now();
        let next = store::advance(&mut tx, thread.organization_id, thread.id, now).await.unwrap();
        assert_eq!(next, None, "not even the platform writes in it");
        drop(tx);
        s.node.worker(&t).run_due().await.unwrap();
        assert_eq!(left_of(&t, thread.id).await, (0, 0, 0));
    }
}
