//! The chain over the ledger on both engines: what is sealed and projected, and what tampering looks like.

use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::base::{Currency, Money};
use capecontrol::chain::{GENESIS, Known};
use capecontrol::db::{Conn as _, Db, Engine, Options, Scope, Tx};
use capecontrol::keyring::RootKey;
use capecontrol::payments::Ledger;
use capecontrol::payments::model::ledger::{Kind, unapplied_receipt};
use capecontrol::payments::model::posted::{KIND, TransactionId};
use capecontrol::payments::service::{FaultKind, Report};
use capecontrol::payments::store::{balance, ledger as posting, seal};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;

use super::ledger::owner;
use crate::support::intruder::{Intruder, hex};
use crate::support::{Fixture, START, audit_log, ledger, on_both, postgres};

const SCOPE: Scope = Scope::System("test");
const NOBODY: &str = "#00000000-0000-4000-8000-000000000001#";

fn operator() -> Caller {
    Caller::system("test")
}

/// Posts money for no open order: three entries.
async fn post(t: &Fixture, tx: &mut Tx, id: TransactionId, minor: i64) {
    let rand = |minor| Money::new(minor, Currency::Zar);
    let head = posting::Head {
        id,
        organization_id: None,
        kind: Kind::UnappliedReceipt,
        payment_id: None,
        invoice_id: None,
        event_id: None,
        memo: "for nobody's order".to_owned(),
        at: t.world.now(),
    };
    posting::post(tx, &head, &unapplied_receipt(rand(minor), rand(1)).unwrap()).await.unwrap();
}

async fn book_in(t: &Fixture, db: &Db, count: i64) -> Vec<TransactionId> {
    let mut tx = db.begin(SCOPE).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..count {
        // Ids sort by their time: so they stand in the chain in the order in which they were booked.
        t.clock.advance(Duration::from_millis(1));
        ids.push(t.world.id());
        post(t, &mut tx, *ids.last().unwrap(), 100 + number).await;
    }
    tx.commit().await.unwrap();
    ids
}

async fn book(t: &Fixture, count: i64) -> Vec<TransactionId> {
    book_in(t, &t.db, count).await
}

/// A chain of two batches.
async fn two_batches(t: &Fixture, first: i64, second: i64) -> (Ledger, Vec<TransactionId>) {
    let ledger = ledger(t);
    let mut ids = book(t, first).await;
    assert_eq!(ledger.seal().await.unwrap(), usize::try_from(first).unwrap());
    ids.extend(book(t, second).await);
    assert_eq!(ledger.seal().await.unwrap(), usize::try_from(second).unwrap());
    whole(&ledger).await;
    (ledger, ids)
}

async fn verify(ledger: &Ledger) -> Report {
    ledger.verify(&operator(), None).await.unwrap()
}

async fn whole(ledger: &Ledger) -> Report {
    let report = verify(ledger).await;
    assert!(report.balanced(), "{report:?}");
    assert_eq!(report.chain.broken, None);
    report
}

/// What is wrong with the chain, where, and with which transaction. It is among the faults too.
async fn broken(ledger: &Ledger) -> (FaultKind, Option<i64>, Option<TransactionId>) {
    let report = verify(ledger).await;
    let broken = report.chain.broken.unwrap();
    assert!(!report.balanced() && report.faults.iter().any(|fault| fault.kind == broken.kind), "{report:?}");
    (broken.kind, broken.position, broken.transaction)
}

/// The projected balances, by account.
async fn projected(t: &Fixture) -> Vec<(String, i64, i64)> {
    let mut conn = t.db.conn(SCOPE).await.unwrap();
    let (_, rows) = balance::projected(&mut conn).await.unwrap();
    rows.into_iter().map(|row| (row.account_id, row.balance_minor, row.position)).collect()
}

fn other_node(t: &Fixture, db: Db, key: [u8; 32]) -> Ledger {
    Ledger::new(db, t.world.clone(), audit_log(&t.world), &RootKey::new(key))
}

on_both! {
    async fn transactions_are_sealed_in_batches_and_balances_follow(t: Fixture) {
        let ledger = ledger(&t);
        assert_eq!(ledger.seal().await.unwrap(), 0);
        let empty = whole(&ledger).await;
        assert_eq!((empty.transactions, empty.chain.sealed, empty.chain.head, empty.balances.len()), (0, 0, None, 0));
        book(&t, 3).await;
        t.clock.advance(Duration::from_secs(5));
        let before = whole(&ledger).await;
        assert_eq!((before.transactions, before.entries), (3, 9));
        assert_eq!((before.chain.sealed, before.chain.unsealed), (0, 3));
        assert_eq!(before.chain.unsealed_for, Duration::from_millis(5_002));
        assert_eq!(projected(&t).await, []);
        assert_eq!(ledger.seal().await.unwrap(), 3);
        book(&t, 2).await;
        assert_eq!(ledger.seal().await.unwrap(), 2);
        book(&t, 1).await;
        let after = whole(&ledger).await;
        assert_eq!((after.transactions, after.entries), (6, 18));
        assert_eq!((after.chain.sealed, after.chain.unsealed), (5, 1));
        // What is told is what is projected and what waits.
        let gross = 100 + 101 + 102 + 100 + 101;
        let sums = [
            ("payfast_clearing".to_owned(), gross - 5, 5),
            ("provider_fees".to_owned(), 5, 5),
            ("unapplied_receipts".to_owned(), -gross, 5),
        ];
        assert_eq!(projected(&t).await, sums);
        let told: Vec<i64> = after.balances.iter().map(|(_, balance)| balance.minor).collect();
        assert_eq!(told, [gross - 5 + 99, 6, -gross - 100]);
        let head = after.chain.head.unwrap();
        assert_eq!((head.previous_position, head.position), (3, 5));
        let heads = ledger.heads(&operator(), 0, 10).await.unwrap();
        assert_eq!(heads.iter().map(|head| head.position).collect::<Vec<_>>(), [3, 5]);
        assert!(heads.iter().all(|head| head.is_signed(KIND) && head.public_key == ledger.public_key()));
        assert_eq!(ledger.last_head(&operator()).await.unwrap(), Some(head));
        let standing = ledger.standing().await.unwrap();
        assert_eq!((standing.unsealed, standing.drift), (1, vec![("ZAR".to_owned(), 0)]));
        assert_eq!(standing.faults, Some(0));
    }

    async fn only_administrators_look_at_the_books(t: Fixture) {
        let ledger = ledger(&t);
        let ada = crate::support::somebody(&t, "ada@example.com").await;
        assert!(ledger.verify(&ada, None).await.is_err());
        assert!(ledger.heads(&ada, 0, 1).await.is_err() && ledger.last_head(&ada).await.is_err());
        assert!(ledger.rebuild(&ada).await.is_err());
    }

    async fn somebody_else_can_follow_the_chain_from_the_rows_alone(t: Fixture) {
        let (ledger, ids) = two_batches(&t, 3, 2).await;
        let mut conn = t.db.conn(SCOPE).await.unwrap();
        let seals = seal::links(&mut conn, 0, 100, 100).await.unwrap();
        let posted = seal::posted(&mut conn, &ids).await.unwrap();
        let (mut hash, mut hashes) = (GENESIS, Vec::new());
        for (seal, position) in seals.iter().zip(1..) {
            assert_eq!((seal.position, seal.id), (position, ids[hashes.len()].uuid()));
            let posted = posted.iter().find(|posted| posted.head.id.uuid() == seal.id).unwrap();
            assert_eq!(posted.entries.len(), 3);
            hash = KIND.link(&hash, position, &posted.digest(&mut Vec::new()));
            assert_eq!(seal.hash, hash);
            hashes.push(hash);
        }
        assert_eq!(hashes.len(), 5);
        for head in ledger.heads(&operator(), 0, 10).await.unwrap() {
            assert_eq!(head.hash, hashes[usize::try_from(head.position).unwrap() - 1]);
        }
    }

    async fn more_than_a_batch_is_sealed_at_once(t: Fixture) {
        let ledger = ledger(&t);
        book(&t, 501).await;
        assert_eq!(ledger.seal().await.unwrap(), 501);
        let report = whole(&ledger).await;
        assert_eq!((report.chain.sealed, report.chain.head.unwrap().previous_position), (501, 500));
    }

    async fn what_commits_late_is_sealed_later_and_never_left_out(t: Fixture) {
        let ledger = ledger(&t);
        // Made before the other, with an id that sorts before it, and committed after it was sealed.
        let late: TransactionId = t.world.id();
        let under_way = match t.db.engine() {
            Engine::Postgres => {
                let mut tx = t.db.begin(SCOPE).await.unwrap();
                post(&t, &mut tx, late, 7).await;
                Some(tx)
            }
            // Has one writer: nothing else is written while a transaction is open.
            Engine::Sqlite => None,
        };
        let early = book(&t, 1).await[0];
        assert!(late < early);
        assert_eq!(ledger.seal().await.unwrap(), 1);
        assert_eq!(whole(&ledger).await.chain.sealed, 1);
        if let Some(tx) = under_way {
            tx.commit().await.unwrap();
        } else {
            let mut tx = t.db.begin(SCOPE).await.unwrap();
            post(&t, &mut tx, late, 7).await;
            tx.commit().await.unwrap();
        }
        assert_eq!(whole(&ledger).await.chain.unsealed, 1);
        assert_eq!(ledger.seal().await.unwrap(), 1);
        let report = whole(&ledger).await;
        assert_eq!((report.chain.sealed, report.chain.unsealed), (2, 0));
        let mut conn = t.db.conn(SCOPE).await.unwrap();
        let seals = seal::links(&mut conn, 0, 2, 2).await.unwrap();
        assert_eq!(seals.iter().map(|seal| seal.id).collect::<Vec<_>>(), [early.uuid(), late.uuid()]);
    }

    async fn nodes_that_seal_at_once_project_every_transaction_once(t: Fixture) {
        let one = ledger(&t);
        let second = Db::open(&Options::new(&t.url)).await.unwrap();
        let two = other_node(&t, second.clone(), [7; 32]);
        let mut sealed = 0;
        for _ in 0..12 {
            let (_, _) = tokio::join!(book(&t, 7), book_in(&t, &second, 5));
            let (first, second, third) = tokio::join!(one.seal(), two.seal(), two.seal());
            sealed += first.unwrap() + second.unwrap() + third.unwrap();
        }
        assert_eq!(sealed, 12 * 12);
        assert_eq!(whole(&two).await.chain.sealed, 12 * 12);
    }

    async fn a_batch_and_its_balances_are_one(t: Fixture) {
        let (ledger, _) = two_batches(&t, 2, 1).await;
        let before = (whole(&ledger).await.chain.head, projected(&t).await);
        book(&t, 40).await;
        // All of it was written, and nothing was committed.
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        assert_eq!(ledger.seal_in(&mut tx).await.unwrap(), 40);
        drop(tx);
        let report = whole(&ledger).await;
        assert_eq!((report.chain.unsealed, (report.chain.head, projected(&t).await)), (40, before));
        // Given up at each of its steps, one after another.
        for steps in 0..60 {
            let mut work = Box::pin(ledger.seal());
            for _ in 0..steps {
                if futures_util::poll!(&mut work).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(work);
            let report = whole(&ledger).await;
            assert_eq!(report.transactions, 43, "{report:?}");
        }
        ledger.seal().await.unwrap();
        assert_eq!(whole(&ledger).await.chain.sealed, 43);
    }

    async fn a_background_task_seals_and_verifies_until_it_is_stopped(t: Fixture) {
        let ledger = ledger(&t);
        let stop = CancellationToken::new();
        let often = Duration::from_millis(5);
        let work = async {
            book(&t, 3).await;
            loop {
                let standing = ledger.standing().await.unwrap();
                if standing.unsealed == 0 && standing.faults == Some(0) {
                    break;
                }
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        let options = capecontrol::chain::Options { every: Some(often) };
        tokio::join!(ledger.run(options, stop.clone()), ledger.watch(Some(often), stop.clone()), work);
        assert_eq!(whole(&ledger).await.chain.sealed, 3);
    }

    async fn the_database_refuses_every_change(t: Fixture) {
        let (ledger, _) = two_batches(&t, 2, 1).await;
        book(&t, 1).await;
        let owner = owner(&t).await;
        for (text, name) in [
            ("UPDATE ledger_seals SET position = position + 10", "ledger_immutable"),
            ("DELETE FROM ledger_seals", "ledger_immutable"),
            ("UPDATE ledger_heads SET signed_at = signed_at", "ledger_immutable"),
            ("DELETE FROM ledger_heads", "ledger_immutable"),
            ("UPDATE ledger_chain SET position = 0", "ledger_immutable"),
            ("DELETE FROM ledger_chain", "ledger_immutable"),
            ("UPDATE ledger_unsealed SET posted_at = posted_at", "ledger_immutable"),
            ("DELETE FROM ledger_unsealed", "ledger_not_sealed"),
        ] {
            let mut tx = owner.begin(SCOPE).await.unwrap();
            let error = tx.sql(text).execute().await.unwrap_err();
            assert!(error.violates(name), "{text}: {error:?}");
        }
        if t.db.engine() == Engine::Postgres {
            // The role that serves has no right to change what is only added to.
            for table in ["transactions", "entries", "postings", "seals", "heads"] {
                for text in [format!("DELETE FROM ledger_{table}"), format!("TRUNCATE ledger_{table}")] {
                    let mut conn = PgConnection::connect(&t.url).await.unwrap();
                    let refused = conn.execute(AssertSqlSafe(text.clone())).await.unwrap_err();
                    assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("42501"), "{text}");
                }
            }
            for table in ["seals", "heads", "chain", "unsealed"] {
                let mut conn = PgConnection::connect(&postgres::superuser_url(&t.url)).await.unwrap();
                let refused = conn.execute(AssertSqlSafe(format!("TRUNCATE ledger_{table}"))).await.unwrap_err();
                assert_eq!(refused.as_database_error().unwrap().constraint(), Some("ledger_immutable"), "{table}");
            }
        }
        assert_eq!(whole(&ledger).await.chain.sealed, 3);
    }

    async fn a_change_of_any_column_names_its_transaction(t: Fixture) {
        let (ledger, ids) = two_batches(&t, 3, 2).await;
        let mut intruder = Intruder::into(&t).await;
        let mut changed = 0;
        for (table, key) in
            [("ledger_transactions", "id"), ("ledger_entries", "transaction_id"), ("ledger_postings", "transaction_id")]
        {
            // As the catalogue has them: a column that is added and not sealed is found here.
            for (at, (column, kind)) in intruder.columns(table).await.iter().enumerate() {
                let which = at % ids.len();
                let value = match kind.as_str() {
                    "uuid" | "BLOB" => NOBODY.to_owned(),
                    "text" | "TEXT" => format!("{column} || 'x'"),
                    "bigint" | "INTEGER" => format!("{column} + 7"),
                    "timestamp with time zone" => format!("{column} + interval '1 us'"),
                    other => panic!("{table}.{column} is {other}: how is it sealed?"),
                };
                intruder.run(&format!("CREATE TABLE kept AS SELECT * FROM {table}")).await;
                let only = if table == "ledger_entries" { "AND position = 2" } else { "" };
                let text = format!("UPDATE {table} SET {column} = {value} WHERE {key} = #{}# {only}", ids[which]);
                assert_eq!(intruder.run(&text).await, 1, "{text}");
                let kind =
                    if column == "id" { FaultKind::TransactionMissing } else { FaultKind::TransactionChanged };
                let position = i64::try_from(which + 1).unwrap();
                assert_eq!(broken(&ledger).await, (kind, Some(position), Some(ids[which])), "{text}");
                intruder.run(&format!("DELETE FROM {table}")).await;
                intruder.run(&format!("INSERT INTO {table} SELECT * FROM kept")).await;
                intruder.run("DROP TABLE kept").await;
                // On SQLite what was put back was a posting like any other.
                intruder.run("DELETE FROM ledger_unsealed").await;
                whole(&ledger).await;
                changed += 1;
            }
        }
        assert!(changed >= 15, "only {changed} columns were changed");
    }

    async fn entries_that_are_added_removed_or_moved_name_their_transaction(t: Fixture) {
        for text in [
            "UPDATE ledger_entries SET position = 6 - position WHERE transaction_id = #ID#",
            "DELETE FROM ledger_entries WHERE transaction_id = #ID# AND position = 3",
            "DELETE FROM ledger_entries WHERE transaction_id = #ID#",
            "DELETE FROM ledger_postings WHERE transaction_id = #ID#",
            "INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor)
             VALUES (#ID#, 4, 'revenue', 'ZAR', 5), (#ID#, 5, 'revenue', 'ZAR', -5)",
        ] {
            let t = Fixture::start_like(&t).await;
            let (ledger, ids) = two_batches(&t, 3, 2).await;
            let mut intruder = Intruder::into(&t).await;
            assert!(intruder.run(&text.replace("ID", &ids[3].to_string())).await > 0);
            let found = broken(&ledger).await;
            assert_eq!(found, (FaultKind::TransactionChanged, Some(4), Some(ids[3])), "{text}");
            // What comes later is sealed behind it, and the first bad transaction stays the first.
            book(&t, 1).await;
            assert_eq!(ledger.seal().await.unwrap(), 1);
            assert_eq!(broken(&ledger).await, found);
        }
    }

    async fn the_kinds_of_what_is_lacking_are_told_of_every_transaction(t: Fixture) {
        let (ledger, ids) = two_batches(&t, 2, 1).await;
        let waits = book(&t, 1).await[0];
        let mut intruder = Intruder::into(&t).await;
        for (text, id) in [
            ("UPDATE ledger_entries SET amount_minor = 1 WHERE position = 1 AND transaction_id = #ID#", ids[0]),
            ("DELETE FROM ledger_postings WHERE transaction_id = #ID#", ids[1]),
            ("DELETE FROM ledger_entries WHERE position > 1 AND transaction_id = #ID#", ids[2]),
            ("UPDATE ledger_entries SET amount_minor = 1 WHERE position = 1 AND transaction_id = #ID#", waits),
        ] {
            intruder.run(&text.replace("ID", &id.to_string())).await;
        }
        let report = verify(&ledger).await;
        let found = |kind: FaultKind, id: TransactionId| {
            report.faults.iter().any(|fault| fault.kind == kind && fault.subject == id.to_string())
        };
        assert!(found(FaultKind::Unbalanced, ids[0]) && found(FaultKind::Unposted, ids[1]), "{report:?}");
        assert!(found(FaultKind::Unbalanced, ids[2]) && found(FaultKind::Unbalanced, waits), "{report:?}");
        assert_eq!(report.chain.broken.unwrap().transaction, Some(ids[0]));
        assert!(ledger.standing().await.unwrap().faults > Some(4));
    }

    async fn a_removed_transaction_is_named_wherever_it_stood(t: Fixture) {
        for (which, with_its_link) in [(0, false), (2, false), (4, false), (0, true), (2, true), (4, true)] {
            let t = Fixture::start_like(&t).await;
            let (ledger, ids) = two_batches(&t, 3, 2).await;
            let mut intruder = Intruder::into(&t).await;
            for rows in ["entries WHERE transaction_id", "postings WHERE transaction_id", "transactions WHERE id"] {
                intruder.run(&format!("DELETE FROM ledger_{rows} = #{}#", ids[which])).await;
            }
            let position = Some(i64::try_from(which + 1).unwrap());
            if with_its_link {
                intruder.run(&format!("DELETE FROM ledger_seals WHERE transaction_id = #{}#", ids[which])).await;
                assert_eq!(broken(&ledger).await, (FaultKind::SealMissing, position, None));
            } else {
                let id = Some(ids[which]);
                assert_eq!(broken(&ledger).await, (FaultKind::TransactionMissing, position, id));
            }
        }
    }

    async fn swapped_hashes_and_places_are_named(t: Fixture) {
        let (ledger, ids) = two_batches(&t, 4, 1).await;
        let (two, three) = (ids[1], ids[2]);
        let mut intruder = Intruder::into(&t).await;
        let kept = "CREATE TABLE kept AS SELECT * FROM ledger_seals";
        let back = ["DELETE FROM ledger_seals", "INSERT INTO ledger_seals SELECT * FROM kept", "DROP TABLE kept"];
        for (texts, kind) in [
            // The hashes of two links.
            (vec![
                "UPDATE ledger_seals SET hash = (SELECT hash FROM kept WHERE position = 5 - ledger_seals.position)
                 WHERE position IN (2, 3)".to_owned(),
            ], FaultKind::SealChanged),
            // The transactions of two links, with and without their digests.
            (vec![
                format!("UPDATE ledger_seals SET transaction_id = {NOBODY} WHERE position = 2"),
                format!("UPDATE ledger_seals SET transaction_id = #{two}# WHERE position = 3"),
                format!("UPDATE ledger_seals SET transaction_id = #{three}# WHERE position = 2"),
            ], FaultKind::TransactionChanged),
            (vec![
                format!("UPDATE ledger_seals SET transaction_id = {NOBODY} WHERE position = 2"),
                format!("UPDATE ledger_seals SET transaction_id = #{two}# WHERE position = 3"),
                format!("UPDATE ledger_seals SET transaction_id = #{three}# WHERE position = 2"),
                "UPDATE ledger_seals SET digest = (SELECT digest FROM kept WHERE position = 5 - ledger_seals.position)
                 WHERE position IN (2, 3)".to_owned(),
            ], FaultKind::SealChanged),
        ] {
            intruder.run(kept).await;
            for text in &texts {
                assert!(intruder.run(text).await > 0, "{text}");
            }
            let (found, position, _) = broken(&ledger).await;
            assert_eq!((found, position), (kind, Some(2)), "{texts:?}");
            for text in back {
                intruder.run(text).await;
            }
            whole(&ledger).await;
        }
    }

    async fn heads_that_are_forged_or_missing_are_named(t: Fixture) {
        let (ledger, ids) = two_batches(&t, 3, 2).await;
        let heads = ledger.heads(&operator(), 0, 10).await.unwrap();
        let forger = other_node(&t, t.db.clone(), [8; 32]);
        assert_eq!(broken(&forger).await, (FaultKind::HeadOfOtherKey, Some(3), Some(ids[2])));
        let mut intruder = Intruder::into(&t).await;
        let (mine, next) = (hex(&heads[0].signature), hex(&heads[1].signature));
        intruder.run(&format!("UPDATE ledger_heads SET signature = ~{next}~ WHERE position = 3")).await;
        assert_eq!(broken(&ledger).await, (FaultKind::HeadForged, Some(3), Some(ids[2])));
        intruder.run(&format!("UPDATE ledger_heads SET signature = ~{mine}~ WHERE position = 3")).await;
        whole(&ledger).await;
        intruder.run("DELETE FROM ledger_heads WHERE position = 3").await;
        assert_eq!(broken(&ledger).await, (FaultKind::HeadMissing, Some(1), None));
    }

    async fn a_ledger_that_was_cut_off_does_not_hold_the_known_head(t: Fixture) {
        let (ledger, _) = two_batches(&t, 2, 2).await;
        let head = whole(&ledger).await.chain.head.unwrap();
        let known = Known { position: head.position, hash: head.hash.clone().try_into().unwrap() };
        assert!(ledger.verify(&operator(), Some(known)).await.unwrap().balanced());
        let first = ledger.heads(&operator(), 0, 1).await.unwrap().remove(0);
        let mut intruder = Intruder::into(&t).await;
        let cut = "(SELECT transaction_id FROM ledger_seals WHERE position > 2)";
        for text in [
            format!("DELETE FROM ledger_entries WHERE transaction_id IN {cut}"),
            format!("DELETE FROM ledger_postings WHERE transaction_id IN {cut}"),
            format!("DELETE FROM ledger_transactions WHERE id IN {cut}"),
            "DELETE FROM ledger_seals WHERE position > 2".to_owned(),
            "DELETE FROM ledger_heads WHERE position > 2".to_owned(),
            format!("UPDATE ledger_chain SET position = 2, hash = ~{}~", hex(&first.hash)),
        ] {
            assert!(intruder.run(&text).await > 0, "{text}");
        }
        ledger.rebuild(&operator()).await.unwrap();
        // By itself it is a whole ledger.
        whole(&ledger).await;
        let cut_off = ledger.verify(&operator(), Some(known)).await.unwrap().chain.broken.unwrap();
        assert_eq!((cut_off.kind, cut_off.position), (FaultKind::HeadUnknown, Some(3)));
        // Others in their place do not hold it either.
        book(&t, 2).await;
        ledger.seal().await.unwrap();
        let anew = ledger.verify(&operator(), Some(known)).await.unwrap().chain.broken.unwrap();
        assert_eq!((anew.kind, anew.position), (FaultKind::HeadUnknown, Some(4)));
        // An end that was put back alone is told too.
        intruder.run(&format!("UPDATE ledger_chain SET position = 2, hash = ~{}~", hex(&first.hash))).await;
        assert_eq!(broken(&ledger).await.0, FaultKind::EndChanged);
    }

    async fn what_is_outside_of_the_chain_is_named(t: Fixture) {
        let (ledger, _) = two_batches(&t, 1, 1).await;
        let ids = book(&t, 3).await;
        let mut intruder = Intruder::into(&t).await;
        intruder.run(&format!("DELETE FROM ledger_unsealed WHERE transaction_id = #{}#", ids[1])).await;
        assert_eq!(broken(&ledger).await, (FaultKind::TransactionUnchained, None, Some(ids[1])));
        // It is not sealed by chance: whoever took it out of the queue is found.
        ledger.seal().await.unwrap();
        assert_eq!(broken(&ledger).await, (FaultKind::TransactionUnchained, None, Some(ids[1])));
        let missing = book(&t, 1).await[0];
        intruder.run(&format!("DELETE FROM ledger_transactions WHERE id = #{missing}#")).await;
        assert_eq!(broken(&ledger).await, (FaultKind::TransactionMissing, None, Some(missing)));
        // A transaction that is gone does not keep the others from their places.
        book(&t, 2).await;
        assert_eq!(ledger.seal().await.unwrap(), 2);
    }

    async fn entries_without_a_transaction_are_named(t: Fixture) {
        let (ledger, _) = two_batches(&t, 1, 1).await;
        let mut intruder = Intruder::into(&t).await;
        let text = format!(
            "INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor)
             VALUES ({NOBODY}, 1, 'revenue', 'ZAR', 5), ({NOBODY}, 2, 'provider_fees', 'ZAR', -5)"
        );
        intruder.run(&text).await;
        let (kind, position, id) = broken(&ledger).await;
        assert_eq!((kind, position), (FaultKind::TransactionUnchained, None));
        assert_eq!(format!("#{}#", id.unwrap()), NOBODY);
    }

    async fn a_balance_that_was_changed_by_hand_is_named_and_made_anew(t: Fixture) {
        for (text, named) in [
            ("UPDATE ledger_balances SET balance_minor = balance_minor + 1 WHERE account_id = 'provider_fees'",
             "provider_fees ZAR"),
            ("UPDATE ledger_balances SET position = 1 WHERE account_id = 'provider_fees'", "provider_fees ZAR"),
            ("DELETE FROM ledger_balances WHERE account_id = 'payfast_clearing'", "payfast_clearing ZAR"),
            ("INSERT INTO ledger_balances (account_id, currency, balance_minor, position)
              VALUES ('revenue', 'ZAR', 0, 1)",
             "revenue ZAR"),
            ("UPDATE ledger_balances SET currency = 'USD' WHERE account_id = 'provider_fees'", "provider_fees USD"),
        ] {
            let t = Fixture::start_like(&t).await;
            let (ledger, _) = two_batches(&t, 3, 2).await;
            let right = projected(&t).await;
            let mut tx = t.db.begin(SCOPE).await.unwrap();
            assert_eq!(tx.shared_sql(text).execute().await.unwrap(), 1, "{text}");
            tx.commit().await.unwrap();
            // What is sealed on top of it does not hide it.
            book(&t, 1).await;
            ledger.seal().await.unwrap();
            let report = verify(&ledger).await;
            assert_eq!(report.chain.broken, None);
            if text.contains("SET position") {
                // The next batch wrote over the position alone.
                assert!(report.balanced());
                continue;
            }
            assert!(report.faults.iter().all(|fault| fault.kind == FaultKind::Projection), "{report:?}");
            assert!(report.faults.iter().any(|fault| fault.subject == named), "{text}: {report:?}");
            let rebuilt = ledger.rebuild(&operator()).await.unwrap();
            assert_eq!((rebuilt.position, rebuilt.balances), (6, 3));
            assert_eq!(rebuilt.drifts.len(), report.faults.len());
            whole(&ledger).await;
            assert_eq!(ledger.rebuild(&operator()).await.unwrap().drifts, []);
            let now: Vec<i64> = projected(&t).await.into_iter().map(|(_, minor, _)| minor).collect();
            let right: Vec<i64> = right.into_iter().map(|(_, minor, _)| minor).collect();
            assert_eq!(now, [right[0] + 99, right[1] + 1, right[2] - 100]);
        }
    }

    async fn a_drift_is_counted(t: Fixture) {
        let (ledger, _) = two_batches(&t, 3, 2).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let text = "UPDATE ledger_balances SET balance_minor = balance_minor + 4 WHERE account_id = 'provider_fees'";
        tx.shared_sql(text).execute().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ledger.standing().await.unwrap().drift, [("ZAR".to_owned(), 4)]);
    }

    async fn nodes_that_rebuild_and_seal_at_once_come_to_the_same(t: Fixture) {
        let one = ledger(&t);
        let two = other_node(&t, Db::open(&Options::new(&t.url)).await.unwrap(), [7; 32]);
        for _ in 0..6 {
            book(&t, 9).await;
            let caller = operator();
            let (sealed, rebuilt) = tokio::join!(one.seal(), two.rebuild(&caller));
            assert_eq!((sealed.unwrap(), rebuilt.unwrap().drifts), (9, vec![]));
        }
        assert_eq!(whole(&one).await.chain.sealed, 54);
    }

    async fn ten_thousand_transactions_are_verified_page_by_page(t: Fixture) {
        let ledger = ledger(&t);
        fill(&t.db, 10_000, "").await;
        assert_eq!(ledger.seal().await.unwrap(), 10_000);
        let report = whole(&ledger).await;
        assert_eq!((report.transactions, report.entries, report.chain.sealed), (10_000, 20_000, 10_000));
        assert_eq!(ledger.rebuild(&operator()).await.unwrap().drifts, []);
        let mut intruder = Intruder::into(&t).await;
        let text = "UPDATE ledger_entries SET amount_minor = amount_minor * 2 WHERE transaction_id =
                    (SELECT transaction_id FROM ledger_seals WHERE position = 7001)";
        intruder.run(text).await;
        // Balanced as before: only the chain tells which.
        let report = verify(&ledger).await;
        assert_eq!(report.chain.broken.unwrap().position, Some(7_001));
        assert_eq!(report.faults.iter().filter(|fault| fault.kind == FaultKind::Projection).count(), 2);
        assert_eq!(report.faults.len(), 3);
    }
}

/// Posts many transactions of two entries each, fast.
pub async fn fill(db: &Db, count: u128, memo: &str) {
    let id = |number: u128| TransactionId::from_uuid(uuid::Uuid::from_u128(number));
    let mut tx = db.begin(SCOPE).await.unwrap();
    for first in (1..=count).step_by(500) {
        let numbers = first..=(first + 499).min(count);
        tx.sql("INSERT INTO ledger_transactions (id, kind, memo, created_at) VALUES $rows")
            .rows(numbers.clone(), |statement, number| {
                statement.bind(id(number)).bind("unapplied_receipt").bind(memo.to_owned()).bind(START)
            })
            .execute()
            .await
            .unwrap();
        let entries = numbers.clone().flat_map(|number| [(number, 1, 5_i64), (number, 2, -5)]);
        tx.shared_sql(
            "INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor) VALUES $rows",
        )
        .rows(entries, |statement, (number, position, amount)| {
            let account = if amount > 0 { "payfast_clearing" } else { "unapplied_receipts" };
            statement.bind(id(number)).bind(i64::from(position)).bind(account).bind("ZAR").bind(amount)
        })
        .execute()
        .await
        .unwrap();
        tx.shared_sql("INSERT INTO ledger_postings (transaction_id, posted_at) VALUES $rows")
            .rows(numbers, |statement, number| statement.bind(id(number)).bind(START))
            .execute()
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}
