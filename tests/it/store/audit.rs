//! The audit log on both engines: the chain, its heads, what can be erased, and what tampering looks like.

use std::net::IpAddr;
use std::time::Duration;

use capecontrol::audit::{
    Archive, Entry, EventId, Fault, Filter, KIND, Known, Log, Options, Reach, Remembered, Report, Risk,
    Sealer,
};
use capecontrol::auth::{Caller, Origin};
use capecontrol::base::{AccountId, OrganizationId};
use capecontrol::db::{Conn as _, Db, Engine, Error, Scope};
use capecontrol::keyring::RootKey;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::support::intruder::{Intruder, hex};
use crate::support::{Fixture, Start as _, on_both, postgres};

const SCOPE: Scope = Scope::System("test");
const KEY: [u8; 32] = [7; 32];

/// What a node has of the log.
struct Node {
    db: Db,
    log: Log,
    sealer: Sealer,
    archive: Archive,
}

impl Node {
    fn of(t: &Fixture) -> Self {
        Self::with(t, t.db.clone(), KEY)
    }

    fn with(t: &Fixture, db: Db, key: [u8; 32]) -> Self {
        let log = Log::new(t.world.clone(), RootKey::new(key));
        let (sealer, archive) = (Sealer::new(db.clone(), log.clone()), Archive::new(db.clone(), log.clone()));
        Self { db, log, sealer, archive }
    }

    async fn record(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut tx = self.db.begin(SCOPE).await.unwrap();
        for entry in entries {
            self.log.record(&mut tx, entry).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn seal(&self) -> usize {
        self.sealer.run_due().await.unwrap()
    }

    async fn verify(&self) -> Report {
        self.archive.verify(Reach::Platform, None).await.unwrap()
    }

    async fn whole(&self) -> Report {
        let report = self.verify().await;
        assert_eq!(report.bad, None);
        report
    }

    /// What is wrong with the log, where, and with which entry.
    async fn fault(&self) -> (Fault, Option<i64>, Option<EventId>) {
        let bad = self.verify().await.bad.unwrap();
        (bad.fault, bad.position, bad.id)
    }

    /// The ids of all entries in the order of the chain, and behind them those that wait.
    async fn ids(&self) -> Vec<EventId> {
        let mut seen = self.archive.list(Reach::Platform, Filter::default(), None, 10_000).await.unwrap();
        seen.sort_by_key(|seen| (seen.place.map_or(i64::MAX, |place| place.position), seen.event.id));
        seen.into_iter().map(|seen| seen.event.id).collect()
    }
}

fn origin(number: u8) -> Origin {
    Origin {
        request_id: format!("r-{number}"),
        peer: Some(IpAddr::from([203, 0, 113, number])),
        agent: "Ada's browser".to_owned(),
    }
}

/// An entry that fills every field.
fn entry(t: &Fixture, who: AccountId, organization: OrganizationId) -> Entry {
    let entry = Caller::anonymous(origin(9)).entry("tests.change_thing").by(who, Some(t.world.id()));
    let entry = entry.of(organization).on::<()>("thing", t.world.id()).risk(Risk::High);
    entry.changed(&"before", &"after")
}

fn entries(t: &Fixture, count: usize) -> Vec<Entry> {
    let (who, organization) = (t.world.id(), t.world.id());
    std::iter::repeat_with(|| entry(t, who, organization)).take(count).collect()
}

/// Why the database refuses a statement: on PostgreSQL to whoever owns the tables, for who serves may not even try.
async fn refused_by(t: &Fixture, text: &'static str) -> String {
    if t.db.engine() == Engine::Sqlite {
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        return format!("{:?}", tx.sql(text).execute().await.unwrap_err());
    }
    let mut owner = PgConnection::connect(&postgres::owner_url(&t.url).unwrap()).await.unwrap();
    owner.execute("SET capecontrol.purpose = 'test'").await.unwrap();
    let refused = owner.execute(text).await.unwrap_err();
    refused.as_database_error().unwrap().constraint().unwrap_or_default().to_owned()
}

/// The role that serves can add to the log, and take off the queue what has its place; no trigger has to stop it from
/// anything else. So it stays when the rights are given once more.
#[tokio::test]
async fn the_role_that_serves_may_not_even_try_to_change_the_log() {
    let t = Fixture::start(Engine::Postgres).await;
    let node = Node::of(&t);
    node.record(entries(&t, 2)).await;
    crate::support::migrate(&t.db, &t.url).await.unwrap();
    node.seal().await;
    assert_eq!(node.whole().await.links, 2);
    let mut conn = PgConnection::connect(&t.url).await.unwrap();
    for (table, withheld) in [
        ("audit_events", ["UPDATE", "DELETE"].as_slice()),
        ("audit_seals", &["UPDATE", "DELETE"]),
        ("audit_heads", &["UPDATE", "DELETE"]),
        ("audit_unsealed", &["UPDATE"]),
        ("audit_chain", &["INSERT", "DELETE"]),
        ("audit_people", &["UPDATE"]),
        ("_sqlx_migrations", &["INSERT", "UPDATE", "DELETE"]),
        ("threads", &[]),
    ] {
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let ask = "SELECT has_table_privilege($1, $2)";
            let (has,): (bool,) =
                sqlx::query_as(ask).bind(table).bind(right).fetch_one(&mut conn).await.unwrap();
            assert_eq!(has, !withheld.contains(&right), "{right} on {table}");
        }
    }
    for text in [
        "UPDATE audit_events SET action = ''",
        "DELETE FROM audit_heads",
        "UPDATE audit_unsealed SET digest = ''",
    ] {
        let refused = conn.execute(text).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("42501"), "{text}");
    }
}

on_both! {
    async fn entries_are_chained_in_batches_without_a_gap(t: Fixture) {
        let node = Node::of(&t);
        assert_eq!(node.seal().await, 0);
        assert_eq!(node.whole().await.head, None);
        node.record(entries(&t, 3)).await;
        let before = node.whole().await;
        assert_eq!((before.entries, before.unsealed), (0, 3));
        assert_eq!(node.seal().await, 3);
        node.record(entries(&t, 2)).await;
        assert_eq!(node.seal().await, 2);
        let after = node.whole().await;
        assert_eq!((after.entries, after.links, after.unsealed), (5, 5, 0));
        let head = after.head.unwrap();
        assert_eq!((head.previous_position, head.position), (3, 5));
        let heads = node.archive.heads(0, 10).await.unwrap();
        assert_eq!(heads.iter().map(|head| head.position).collect::<Vec<_>>(), [3, 5]);
        assert!(heads.iter().all(|head| head.is_signed(KIND) && head.public_key == node.log.public_key()));
    }

    async fn what_is_rolled_back_leaves_nothing(t: Fixture) {
        let node = Node::of(&t);
        let who = t.world.id();
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        node.log.record(&mut tx, entry(&t, who, t.world.id())).await.unwrap();
        drop(tx);
        assert_eq!(node.seal().await, 0);
        // The key that was made then is gone too, and another one seals what comes later.
        node.record([entry(&t, who, t.world.id())]).await;
        let seen = node.archive.list(Reach::Platform, Filter::default(), None, 10).await.unwrap();
        assert_eq!(seen.len(), 1);
        assert!(matches!(&seen[0].personal, Remembered::Known(known) if known.agent == "Ada's browser"));
    }

    async fn more_than_a_batch_is_sealed_at_once(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 1_001)).await;
        assert_eq!(node.seal().await, 1_001);
        let report = node.whole().await;
        assert_eq!((report.entries, report.head.unwrap().previous_position), (1_001, 1_000));
    }

    async fn nodes_that_seal_at_once_never_fork_the_chain(t: Fixture) {
        let node = Node::of(&t);
        let second = Db::open(&capecontrol::db::Options::new(&t.url)).await.unwrap();
        let other = Node::with(&t, second, KEY);
        let mut sealed = 0;
        for _ in 0..12 {
            let (fresh, more) = (entries(&t, 7), entries(&t, 5));
            tokio::join!(node.record(fresh), other.record(more));
            let [one, two, three] = [&node, &other, &other].map(|node| node.sealer.run_due());
            let (one, two, three) = tokio::join!(one, two, three);
            sealed += one.unwrap() + two.unwrap() + three.unwrap();
        }
        assert_eq!(sealed, 12 * 12);
        assert_eq!(other.whole().await.entries, 12 * 12);
    }

    async fn a_sealer_that_dies_in_between_leaves_nothing_half_done(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 40)).await;
        // Given up at each of its steps, one after another.
        for steps in 0..60 {
            let mut work = Box::pin(node.sealer.run_due());
            for _ in 0..steps {
                if futures_util::poll!(&mut work).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(work);
            // What was given up may still be committed, between two looks of the verification.
            let report = node.whole().await;
            assert!(report.links + report.unsealed >= 40, "{report:?}");
        }
        node.seal().await;
        assert_eq!(node.whole().await.entries, 40);
    }

    async fn a_background_task_seals_until_it_is_stopped(t: Fixture) {
        let node = Node::of(&t);
        let stop = CancellationToken::new();
        let options = Options { every: Some(Duration::from_millis(5)) };
        let work = async {
            node.record(entries(&t, 3)).await;
            while node.verify().await.unsealed > 0 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        tokio::join!(node.sealer.run(options, stop.clone()), work);
        assert_eq!(node.whole().await.entries, 3);
    }

    async fn the_database_refuses_every_change(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 2)).await;
        node.seal().await;
        node.record(entries(&t, 1)).await;
        for (text, name) in [
            ("UPDATE audit_events SET action = action", "audit_immutable"),
            ("DELETE FROM audit_events", "audit_immutable"),
            ("UPDATE audit_seals SET position = position + 10", "audit_immutable"),
            ("DELETE FROM audit_seals", "audit_immutable"),
            ("UPDATE audit_heads SET signed_at = signed_at", "audit_immutable"),
            ("DELETE FROM audit_heads", "audit_immutable"),
            ("UPDATE audit_chain SET position = 0", "audit_immutable"),
            ("DELETE FROM audit_chain", "audit_immutable"),
            ("UPDATE audit_unsealed SET digest = digest", "audit_immutable"),
            ("DELETE FROM audit_unsealed", "audit_not_sealed"),
        ] {
            assert!(refused_by(&t, text).await.contains(name), "{text}");
        }
        if t.db.engine() == Engine::Postgres {
            for table in ["audit_events", "audit_seals", "audit_heads", "audit_chain", "audit_unsealed"] {
                let mut conn = PgConnection::connect(&postgres::superuser_url(&t.url)).await.unwrap();
                let refused = conn.execute(AssertSqlSafe(format!("TRUNCATE {table}"))).await.unwrap_err();
                assert_eq!(refused.as_database_error().unwrap().constraint(), Some("audit_immutable"), "{table}");
            }
        }
        assert_eq!(node.whole().await.links, 2);
    }

    async fn the_tail_tells_how_many_wait_and_since_when(t: Fixture) {
        let node = Node::of(&t);
        let empty = node.archive.tail().await.unwrap();
        assert_eq!((empty.unsealed, empty.oldest, empty.head), (0, None, None));
        node.record(entries(&t, 2)).await;
        let began = t.world.now();
        t.clock.advance(Duration::from_secs(5));
        node.record(entries(&t, 1)).await;
        // A refusal waits from when it is written, not from when it came.
        node.log.refused(entries(&t, 1).remove(0), "NO");
        t.clock.advance(Duration::from_secs(60));
        let tail = node.archive.tail().await.unwrap();
        assert_eq!((tail.unsealed, tail.oldest, tail.head), (3, Some(began), None));
        node.seal().await;
        let tail = node.archive.tail().await.unwrap();
        assert_eq!((tail.unsealed, tail.oldest), (0, None));
        assert_eq!(tail.head.map(|head| (head.position, head.signed_at)), Some((4, t.world.now())));
    }

    async fn a_changed_field_names_its_entry(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 5)).await;
        node.seal().await;
        node.whole().await;
        let ids = node.ids().await;
        let mut intruder = Intruder::into(&t).await;
        let other = "#00000000-0000-4000-8000-000000000001#";
        let changes = [
            ("organization_id", other), ("action", "'tests.other'"), ("occurrences", "7"), ("risk", "'low'"),
            ("actor_kind", "'agent'"), ("actor_id", other), ("on_behalf_of", other), ("session_id", other),
            ("session_id", "NULL"), ("purpose", "''"), ("subject_kind", "'other'"), ("subject_id", other),
            ("before_digest", "NULL"), ("after_digest", "~00~"), ("request_id", "''"), ("person_id", other),
            ("personal", "~00~"), ("created_at", "LATER"), ("outcome", "'refused', reason = ''"), ("id", other),
        ];
        for (at, (field, value)) in changes.iter().enumerate() {
            let which = at % ids.len();
            let later = if t.db.engine() == Engine::Sqlite { "created_at + 1" } else { "created_at + interval '1 us'" };
            let value = value.replace("LATER", later);
            let kept = format!("CREATE TABLE kept AS SELECT * FROM audit_events WHERE id = #{}#", ids[which]);
            intruder.run(&kept).await;
            let changed = format!("UPDATE audit_events SET {field} = {value} WHERE id = #{}#", ids[which]);
            assert_eq!(intruder.run(&changed).await, 1, "{field}");
            let fault = if *field == "id" { Fault::EntryMissing } else { Fault::EntryChanged };
            let position = i64::try_from(which + 1).unwrap();
            assert_eq!(node.fault().await, (fault, Some(position), Some(ids[which])), "{field}");
            intruder.run(&format!("DELETE FROM audit_events WHERE id = #{}#", ids[which])).await;
            intruder.run(&format!("DELETE FROM audit_events WHERE id = {other}")).await;
            intruder.run("INSERT INTO audit_events SELECT * FROM kept").await;
            intruder.run("DROP TABLE kept").await;
            node.whole().await;
        }
    }

    async fn a_removed_entry_is_named_wherever_it_stood(t: Fixture) {
        for (which, with_its_link) in [(0, false), (2, false), (4, false), (0, true), (2, true), (4, true)] {
            let t = Fixture::start_like(&t).await;
            let node = Node::of(&t);
            node.record(entries(&t, 3)).await;
            node.seal().await;
            node.record(entries(&t, 2)).await;
            node.seal().await;
            let ids = node.ids().await;
            let mut intruder = Intruder::into(&t).await;
            intruder.run(&format!("DELETE FROM audit_events WHERE id = #{}#", ids[which])).await;
            let position = Some(i64::try_from(which + 1).unwrap());
            if with_its_link {
                intruder.run(&format!("DELETE FROM audit_seals WHERE event_id = #{}#", ids[which])).await;
                assert_eq!(node.fault().await, (Fault::SealMissing, position, None));
            } else {
                assert_eq!(node.fault().await, (Fault::EntryMissing, position, Some(ids[which])));
            }
        }
    }

    async fn two_entries_that_changed_places_are_named(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 4)).await;
        node.seal().await;
        let ids = node.ids().await;
        let mut intruder = Intruder::into(&t).await;
        let nobody = "#00000000-0000-4000-8000-000000000001#";
        let (two, three) = (format!("#{}#", ids[1]), format!("#{}#", ids[2]));
        for (from, to) in [(two.as_str(), nobody), (three.as_str(), two.as_str()), (nobody, three.as_str())] {
            intruder.run(&format!("UPDATE audit_seals SET event_id = {to} WHERE event_id = {from}")).await;
        }
        // The link at the second place now names the third entry, whose digest is another.
        assert_eq!(node.fault().await, (Fault::EntryChanged, Some(2), Some(ids[2])));
        for (from, to) in [("2", "-1"), ("3", "2"), ("-1", "3")] {
            if t.db.engine() == Engine::Sqlite {
                intruder.run("PRAGMA ignore_check_constraints = on").await;
            } else {
                intruder.run("ALTER TABLE audit_seals DROP CONSTRAINT IF EXISTS audit_seals_position_check").await;
            }
            intruder.run(&format!("UPDATE audit_seals SET position = {to} WHERE position = {from}")).await;
        }
        assert_eq!(node.fault().await.1, Some(2));
    }

    async fn a_forged_head_is_named(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 3)).await;
        node.seal().await;
        node.record(entries(&t, 2)).await;
        node.seal().await;
        let ids = node.ids().await;
        // Somebody who writes the first batch anew and signs it with a key of their own.
        let heads = node.archive.heads(0, 10).await.unwrap();
        let forger = Node::with(&t, t.db.clone(), [8; 32]);
        let mut intruder = Intruder::into(&t).await;
        let key = hex(&forger.log.public_key());
        intruder.run(&format!("UPDATE audit_heads SET public_key = ~{key}~ WHERE position = 3")).await;
        assert_eq!(node.fault().await, (Fault::HeadOfOtherKey, Some(3), Some(ids[2])));
        let key = hex(&node.log.public_key());
        intruder.run(&format!("UPDATE audit_heads SET public_key = ~{key}~ WHERE position = 3")).await;
        node.whole().await;
        let (mine, next) = (hex(&heads[0].signature), hex(&heads[1].signature));
        intruder.run(&format!("UPDATE audit_heads SET signature = ~{next}~ WHERE position = 3")).await;
        assert_eq!(node.fault().await, (Fault::HeadForged, Some(3), Some(ids[2])));
        intruder.run(&format!("UPDATE audit_heads SET signature = ~{mine}~ WHERE position = 3")).await;
        node.whole().await;
        intruder.run("DELETE FROM audit_heads WHERE position = 3").await;
        assert_eq!(node.fault().await, (Fault::HeadMissing, Some(1), None));
    }

    async fn another_root_key_is_told(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 2)).await;
        node.seal().await;
        let ids = node.ids().await;
        let stranger = Node::with(&t, t.db.clone(), [8; 32]);
        assert_eq!(stranger.fault().await, (Fault::HeadOfOtherKey, Some(2), Some(ids[1])));
        let seen = stranger.archive.list(Reach::Platform, Filter::default(), None, 10).await.unwrap();
        assert!(seen.iter().all(|seen| seen.personal == Remembered::Erased));
    }

    async fn an_entry_that_nobody_sealed_is_named(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 2)).await;
        let ids = node.ids().await;
        let mut intruder = Intruder::into(&t).await;
        intruder.run(&format!("UPDATE audit_events SET risk = 'low' WHERE id = #{}#", ids[1])).await;
        assert_eq!(node.fault().await, (Fault::EntryChanged, None, Some(ids[1])));
        intruder.run(&format!("DELETE FROM audit_unsealed WHERE event_id = #{}#", ids[1])).await;
        assert_eq!(node.fault().await, (Fault::EntryUnchained, None, Some(ids[1])));
        intruder.run(&format!("DELETE FROM audit_events WHERE id = #{}#", ids[0])).await;
        assert_eq!(node.fault().await, (Fault::EntryMissing, None, Some(ids[0])));
    }

    async fn a_log_that_was_cut_off_does_not_hold_the_known_head(t: Fixture) {
        let node = Node::of(&t);
        node.record(entries(&t, 2)).await;
        node.seal().await;
        node.record(entries(&t, 2)).await;
        node.seal().await;
        let head = node.whole().await.head.unwrap();
        let known = Known { position: head.position, hash: head.hash.clone().try_into().unwrap() };
        let first = node.archive.heads(0, 1).await.unwrap().remove(0);
        let mut intruder = Intruder::into(&t).await;
        for text in [
            "DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_seals WHERE position > 2)",
            "DELETE FROM audit_seals WHERE position > 2",
            "DELETE FROM audit_heads WHERE position > 2",
        ] {
            intruder.run(text).await;
        }
        let hash = hex(&first.hash);
        intruder.run(&format!("UPDATE audit_chain SET position = 2, hash = ~{hash}~")).await;
        // By itself it is a whole log.
        node.whole().await;
        let bad = node.archive.verify(Reach::Platform, Some(known)).await.unwrap().bad.unwrap();
        assert_eq!((bad.fault, bad.position), (Fault::HeadUnknown, Some(3)));
    }

    async fn an_erased_person_leaves_the_chain_whole(t: Fixture) {
        let node = Node::of(&t);
        let (ada, eve, organization) = (t.world.id(), t.world.id(), t.world.id());
        node.record([entry(&t, ada, organization), entry(&t, eve, organization)]).await;
        node.seal().await;
        let read = async |node: &Node| {
            let seen = node.archive.list(Reach::Platform, Filter::default(), None, 10).await.unwrap();
            let known = |who: AccountId| {
                let of = seen.iter().filter(|seen| seen.event.actor_id == Some(who.uuid()));
                of.map(|seen| matches!(&seen.personal, Remembered::Known(known)
                    if known.address == Some(IpAddr::from([203, 0, 113, 9])))).collect::<Vec<_>>()
            };
            (known(ada), known(eve))
        };
        assert_eq!(read(&node).await, (vec![true], vec![true]));
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        node.log.erase(&mut tx, ada).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(read(&node).await, (vec![false], vec![true]));
        assert_eq!(node.whole().await.entries, 2);
        // A node that still remembers the key reads nothing with it either.
        assert_eq!(read(&Node::of(&t)).await.0, [false]);
        // Whatever is written later has a key of its own, and does not bring back what was.
        node.record([entry(&t, ada, organization)]).await;
        assert_eq!(read(&node).await, (vec![true, false], vec![true]));
    }

    async fn strangers_are_forgotten_after_ninety_days(t: Fixture) {
        let node = Node::of(&t);
        let stranger = || Caller::anonymous(origin(4)).entry("tests.knock");
        node.record([stranger()]).await;
        t.clock.advance(Duration::from_secs(24 * 3_600));
        node.record([stranger(), stranger()]).await;
        node.seal().await;
        let known = async || {
            let seen = node.archive.list(Reach::Platform, Filter::default(), None, 10).await.unwrap();
            seen.iter().filter(|seen| seen.personal != Remembered::Erased).count()
        };
        let forget = async || {
            let mut tx = t.db.begin(SCOPE).await.unwrap();
            let forgotten = node.log.forget_strangers(&mut tx, 10).await.unwrap();
            tx.commit().await.unwrap();
            forgotten
        };
        assert_eq!((forget().await, known().await), (0, 3));
        t.clock.advance(Duration::from_secs(89 * 24 * 3_600));
        assert_eq!((forget().await, known().await), (1, 2));
        t.clock.advance(Duration::from_secs(24 * 3_600));
        assert_eq!((forget().await, known().await), (1, 0));
        node.whole().await;
    }

    async fn refusals_are_counted_and_written_when_their_window_is_over(t: Fixture) {
        let node = Node::of(&t);
        for number in 0..2_000_u32 {
            let [.., a, b] = number.to_be_bytes();
            let origin = Origin { peer: Some(IpAddr::from([10, 0, a, b])), ..origin(1) };
            node.log.refused(Caller::anonymous(origin).entry("tests.knock"), "WRONG");
            node.log.refused(Caller::anonymous(self::origin(2)).entry("tests.knock"), "LATE");
        }
        assert_eq!(node.seal().await, 0);
        t.clock.advance(Duration::from_secs(60));
        let written = node.seal().await;
        assert!((2..=400).contains(&written), "{written} entries");
        let seen = node.archive.list(Reach::Platform, Filter::default(), None, 1_000).await.unwrap();
        assert_eq!(seen.iter().map(|seen| seen.event.occurrences).sum::<i64>(), 4_000);
        let late: Vec<_> = seen.iter().filter(|seen| seen.event.reason.as_deref() == Some("LATE")).collect();
        assert_eq!((late.len(), late[0].event.occurrences), (1, 2_000));
        assert!(seen.iter().all(|seen| seen.event.outcome == "refused"));
        node.whole().await;
        // At the end of a process nothing waits for its window.
        node.log.refused(Caller::anonymous(origin(3)).entry("tests.knock"), "WRONG");
        assert_eq!(node.sealer.finish().await.unwrap(), 1);
    }

    async fn refusals_wait_for_a_database_that_is_gone(t: Fixture) {
        let node = Node::of(&t);
        let gone = Db::open(&capecontrol::db::Options::new(&t.url)).await.unwrap();
        gone.close().await;
        let cut_off = Sealer::new(gone, node.log.clone());
        for number in 0..100 {
            node.log.refused(Caller::anonymous(origin(number)).entry("tests.knock"), "WRONG");
        }
        assert!(matches!(cut_off.finish().await, Err(Error::Unavailable(_))));
        assert_eq!(node.sealer.finish().await.unwrap(), 100);
    }

    async fn an_organisation_verifies_and_exports_without_others_entries(t: Fixture) {
        let node = Node::of(&t);
        let (ada, [hers, others]): (AccountId, [OrganizationId; 2]) = (t.world.id(), [t.world.id(), t.world.id()]);
        let batches = [vec![others, hers, others], vec![others], vec![hers, hers]];
        for batch in &batches {
            for organization in batch {
                // Later entries sort behind earlier ones only when time goes by.
                t.clock.advance(Duration::from_millis(1));
                node.record([entry(&t, ada, *organization)]).await;
            }
            node.seal().await;
        }
        node.record([entry(&t, ada, others), entry(&t, ada, hers)]).await;
        let reach = Reach::Organization(hers);
        let report = node.archive.verify(reach, None).await.unwrap();
        assert_eq!((report.entries, report.links, report.unsealed, report.bad), (3, 6, 1, None));
        verify_elsewhere(&node, reach, 3).await;
        verify_elsewhere(&node, Reach::Platform, 6).await;
        // Somebody else's entry that is gone is seen, and so is one of hers that was changed.
        let ids = node.ids().await;
        let mut intruder = Intruder::into(&t).await;
        intruder.run(&format!("UPDATE audit_events SET risk = 'low' WHERE id = #{}#", ids[4])).await;
        let bad = node.archive.verify(reach, None).await.unwrap().bad.unwrap();
        assert_eq!((bad.fault, bad.position, bad.id), (Fault::EntryChanged, Some(5), Some(ids[4])));
        intruder.run(&format!("DELETE FROM audit_events WHERE id = #{}#", ids[2])).await;
        let bad = node.archive.verify(reach, None).await.unwrap().bad.unwrap();
        assert_eq!((bad.fault, bad.position), (Fault::EntryMissing, Some(3)));
    }
}

/// What an auditor does who has nothing but an export and the public key.
async fn verify_elsewhere(node: &Node, reach: Reach, expected: usize) {
    use capecontrol::audit::GENESIS;
    use capecontrol::audit::Link;
    let (mut position, mut hash, mut own) = (0, GENESIS, 0);
    while let Some(batch) = node.archive.batch(reach, position).await.unwrap() {
        assert!(batch.head.is_signed(KIND) && batch.head.public_key == node.log.public_key());
        assert_eq!(batch.head.previous_position, position);
        for (step, item) in batch.links.iter().zip(position + 1..) {
            let digest = match step {
                Link::Entry(seen) => {
                    own += 1;
                    assert_eq!(seen.place.unwrap().position, item);
                    seen.event.digest(&mut Vec::new()).to_vec()
                }
                Link::Others { position, digest } => {
                    assert_eq!(*position, item);
                    digest.clone()
                }
            };
            hash = KIND.link(&hash, item, &digest);
        }
        if !batch.links.is_empty() {
            assert_eq!(batch.head.hash, hash);
        }
        position = batch.head.position;
        hash = batch.head.hash.try_into().unwrap();
    }
    assert_eq!((own, position), (expected, 6));
}
