//! The database floor behaves the same on both engines.

use std::time::Duration;

use capecontrol::base::{Id, Timestamp};
use capecontrol::db::{self, Conn as _, Engine, Error, Scope};
use uuid::Uuid;

use crate::support::{Fixture, Start as _, migrate, on_both, postgres};

const SCOPE: Scope = Scope::System("test");

async fn scratch(t: &Fixture) {
    // The role that serves makes no tables.
    let owner = postgres::owner_url(&t.url).unwrap_or_else(|| t.url.clone());
    let owner = db::Db::open(&db::Options::new(owner)).await.unwrap();
    let mut tx = owner.begin(SCOPE).await.unwrap();
    tx.shared_sql(db::Sql {
        sqlite: "CREATE TABLE scratch (id BLOB NOT NULL PRIMARY KEY, word TEXT NOT NULL UNIQUE,
                   at INTEGER NOT NULL, number INTEGER, CONSTRAINT scratch_number_check CHECK (number >= 0)) STRICT",
        postgres: "CREATE TABLE scratch (id uuid NOT NULL PRIMARY KEY, word text NOT NULL UNIQUE,
                   at timestamptz NOT NULL, number bigint, CONSTRAINT scratch_number_check CHECK (number >= 0))",
    })
    .execute()
    .await
    .unwrap();
    tx.shared_sql(db::Sql {
        sqlite: "CREATE TABLE scribbles (word TEXT NOT NULL PRIMARY KEY REFERENCES scratch (word)) STRICT",
        postgres: "CREATE TABLE scribbles (word text NOT NULL PRIMARY KEY REFERENCES scratch (word))",
    })
    .execute()
    .await
    .unwrap();
    tx.commit().await.unwrap();
    t.db.admitted_by(&owner).await.unwrap();
    owner.close().await;
}

fn id(number: u128) -> Id<()> {
    Id::from_uuid(Uuid::from_u128(number))
}

async fn insert(tx: &mut db::Tx, number: u128, word: &str, value: Option<i64>) -> Result<u64, Error> {
    tx.shared_sql("INSERT INTO scratch (id, word, at, number) VALUES ($1, $2, $3, $4)")
        .bind(id(number))
        .bind(word)
        .bind(Timestamp::from_micros(1_234_567))
        .bind(value)
        .execute()
        .await
}

/// Queues rows of the first table, as many as there are words.
fn queue(tx: &mut db::Tx, rows: &[(u128, &str, Option<i64>)]) {
    tx.later()
        .sql("INSERT INTO scratch (id, word, at, number) VALUES $rows")
        .rows(rows, |statement, (number, word, value)| {
            let statement = statement.bind(id(*number)).bind((*word).to_owned());
            statement.bind(Timestamp::from_micros(0)).bind(*value)
        })
        .queue()
        .unwrap();
}

fn scribble(tx: &mut db::Tx, word: &str) {
    tx.later().sql("INSERT INTO scribbles (word) VALUES ($1)").bind(word.to_owned()).queue().unwrap();
}

async fn words(t: &Fixture) -> Vec<String> {
    let mut conn = t.db.conn(SCOPE).await.unwrap();
    let rows: Vec<(String,)> = conn.shared_sql("SELECT word FROM scratch ORDER BY word").all().await.unwrap();
    rows.into_iter().map(|(word,)| word).collect()
}

on_both! {
    async fn values_come_back_as_they_went_in(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        insert(&mut tx, 1, "é€😀", None).await.unwrap();
        tx.commit().await.unwrap();
        let mut conn = t.db.conn(SCOPE).await.unwrap();
        let row: (Id<()>, String, Timestamp, Option<i64>) =
            conn.shared_sql("SELECT id, word, at, number FROM scratch WHERE id = $1").bind(id(1)).one().await.unwrap();
        assert_eq!(row, (id(1), "é€😀".to_owned(), Timestamp::from_micros(1_234_567), None));
        let none: Option<(String,)> =
            conn.shared_sql("SELECT word FROM scratch WHERE id = $1").bind(id(2)).optional().await.unwrap();
        assert!(none.is_none());
    }

    async fn constraints_have_the_same_names(t: Fixture) {
        scratch(&t).await;
        let refused = async |number, word, value| {
            let mut tx = t.db.begin(SCOPE).await.unwrap();
            insert(&mut tx, 1, "one", None).await.unwrap();
            insert(&mut tx, number, word, value).await.unwrap_err()
        };
        assert!(refused(2, "one", None).await.violates("scratch_word_key"));
        assert!(refused(1, "two", None).await.violates("scratch_pkey"));
        assert!(refused(2, "two", Some(-1)).await.violates("scratch_number_check"));
    }

    async fn a_transaction_that_is_dropped_leaves_nothing(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        insert(&mut tx, 1, "dropped", None).await.unwrap();
        drop(tx);
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        insert(&mut tx, 2, "kept", None).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(words(&t).await, ["kept"]);
    }

    async fn a_transaction_in_which_a_statement_failed_does_not_commit(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        insert(&mut tx, 1, "one", None).await.unwrap();
        insert(&mut tx, 1, "again", None).await.unwrap_err();
        assert!(matches!(tx.commit().await, Err(Error::Failed)));
        assert!(words(&t).await.is_empty());
    }

    async fn batches_and_lists_are_one_statement(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let rows = tx.shared_sql("INSERT INTO scratch (id, word, at) VALUES $rows")
            .rows([(1, "a"), (2, "b"), (3, "c")], |statement, (number, word)| {
                statement.bind(id(number)).bind(word).bind(Timestamp::from_micros(0))
            })
            .execute().await.unwrap();
        assert_eq!(rows, 3);
        let found: Vec<(String,)> = tx
            .shared_sql("SELECT word FROM scratch WHERE word > $1 AND id IN $list ORDER BY word")
            .bind("a").list([id(1), id(3)]).all().await.unwrap();
        assert_eq!(found, [("c".to_owned(),)]);
        let none: Vec<(String,)> = tx
            .shared_sql("SELECT word FROM scratch WHERE id IN $list").list(Vec::<Id<()>>::new()).all().await.unwrap();
        assert!(none.is_empty());
    }

    async fn rows_of_different_lengths_are_not_filled_up(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let rows = [(1, Some(7)), (2, None)];
        let statement = tx.shared_sql("INSERT INTO scratch (id, word, at, number) VALUES $rows");
        let statement = statement.rows(rows, |statement, (number, value)| {
            let statement = statement.bind(id(number)).bind("word").bind(Timestamp::from_micros(0));
            if value.is_some() { statement.bind(value) } else { statement }
        });
        statement.execute().await.unwrap_err();
    }

    async fn missing_values_of_a_batch_stay_missing(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let rows = [(1, "", None), (2, "é€😀", Some(7_i64)), (3, "NULL", None)];
        tx.shared_sql("INSERT INTO scratch (id, word, at, number) VALUES $rows")
            .rows(rows, |statement, (number, word, value)| {
                statement.bind(id(number)).bind(word).bind(Timestamp::from_micros(5)).bind(value)
            })
            .execute().await.unwrap();
        let stored: Vec<(Id<()>, String, Timestamp, Option<i64>)> =
            tx.shared_sql("SELECT id, word, at, number FROM scratch ORDER BY id").all().await.unwrap();
        let expected = rows.map(|(number, word, value)| {
            (id(number), word.to_owned(), Timestamp::from_micros(5), value)
        });
        assert_eq!(stored, expected);
    }

    async fn what_is_queued_is_written_before_the_end(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        queue(&mut tx, &[(1, "a", None), (2, "b", Some(2))]);
        // One table hangs on the other, and both are in one message.
        scribble(&mut tx, "b");
        // The same tables again.
        queue(&mut tx, &[(3, "c", Some(3))]);
        scribble(&mut tx, "c");
        tx.later()
            .sql("UPDATE scratch SET number = $2, at = $3 WHERE word = $1")
            .bind("a").bind(7_i64).bind(Timestamp::from_micros(9))
            .queue().unwrap();
        tx.commit().await.unwrap();
        let mut conn = t.db.conn(SCOPE).await.unwrap();
        let stored: Vec<(String, Option<i64>, Timestamp)> =
            conn.shared_sql("SELECT word, number, at FROM scratch ORDER BY word").all().await.unwrap();
        let at = Timestamp::from_micros;
        let expected = [("a", Some(7), at(9)), ("b", Some(2), at(0)), ("c", Some(3), at(0))];
        assert_eq!(stored, expected.map(|(word, number, at)| (word.to_owned(), number, at)));
        let scribbles: Vec<(String,)> =
            conn.shared_sql("SELECT word FROM scribbles ORDER BY word").all().await.unwrap();
        assert_eq!(scribbles, ["b", "c"].map(|word| (word.to_owned(),)));
    }

    async fn what_is_queued_is_seen_by_the_next_statement(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        queue(&mut tx, &[(1, "a", None)]);
        scribble(&mut tx, "a");
        let (seen,): (String,) = tx.shared_sql("SELECT word FROM scribbles").one().await.unwrap();
        assert_eq!(seen, "a");
        drop(tx);
        assert!(words(&t).await.is_empty(), "it goes with its transaction");
    }

    async fn what_is_refused_of_a_queue_fails_the_transaction(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        queue(&mut tx, &[(1, "a", None), (2, "b", Some(-1))]);
        let refused = tx.commit().await.unwrap_err();
        assert!(refused.violates("scratch_number_check"), "{refused}");
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        scribble(&mut tx, "nowhere");
        queue(&mut tx, &[(1, "a", None)]);
        let found = tx.shared_sql("SELECT word FROM scratch").optional::<(String,)>().await;
        found.unwrap_err();
        assert!(matches!(tx.commit().await, Err(Error::Failed)));
        assert!(words(&t).await.is_empty());
    }

    async fn a_statement_that_was_begun_for_the_queue_and_left_fails_the_transaction(t: Fixture) {
        scratch(&t).await;
        let insert = "INSERT INTO scribbles (word) VALUES ($1)";
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        queue(&mut tx, &[(1, "a", None)]);
        drop(tx.later().sql(insert).bind("a"));
        assert!(matches!(tx.commit().await, Err(Error::Failed)));
        // Nor can it be run at once.
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        queue(&mut tx, &[(1, "a", None)]);
        let run = tx.later().sql(insert).bind("a").execute().await;
        assert!(matches!(run, Err(Error::Failed)), "{run:?}");
        assert!(matches!(tx.commit().await, Err(Error::Failed)));
        // And what was begun to be run cannot be queued.
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        assert!(matches!(tx.sql(insert).bind("a").queue(), Err(Error::Failed)));
        assert!(words(&t).await.is_empty());
    }

    async fn actions_after_the_commit_do_not_run_without_one(t: Fixture) {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let dropped = sender.clone();
        tx.after_commit(move || dropped.send("dropped").unwrap());
        drop(tx);
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        tx.after_commit(move || sender.send("committed").unwrap());
        tx.commit().await.unwrap();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["committed"]);
    }

    async fn a_statement_ends_by_the_deadline_and_the_database_goes_on(t: Fixture) {
        let slow = db::Sql {
            sqlite: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
            postgres: "SELECT CAST(count(pg_sleep(60)) AS bigint)",
        };
        for writes in [false, true] {
            let deadline = tokio::time::Instant::now() + Duration::from_millis(50);
            let ended = db::deadline::within(deadline, async {
                if writes {
                    t.db.begin(SCOPE).await?.shared_sql(slow).one::<(i64,)>().await
                } else {
                    t.db.conn(SCOPE).await?.shared_sql(slow).one::<(i64,)>().await
                }
            })
            .await;
            assert!(matches!(ended, Err(Error::Timeout)), "{ended:?}");
        }
        // Both kinds of connection are free again.
        t.db.begin(SCOPE).await.unwrap().commit().await.unwrap();
        t.db.ping().await.unwrap();
    }

    async fn calls_that_go_away_leave_connections_that_work(t: Fixture) {
        scratch(&t).await;
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        insert(&mut tx, 1, "total", Some(0)).await.unwrap();
        tx.commit().await.unwrap();
        for round in 0..40_u64 {
            let work = async {
                let mut tx = t.db.begin(SCOPE).await?;
                for change in [1_i64, -1] {
                    let add = "UPDATE scratch SET number = number + $1 WHERE word = 'total'";
                    tx.shared_sql(add).bind(change).execute().await?;
                }
                tx.commit().await
            };
            // Cut at another point each time.
            let _ = tokio::time::timeout(Duration::from_micros(round * 37), work).await;
        }
        let mut tx = t.db.begin(SCOPE).await.unwrap();
        let (total,): (i64,) =
            tx.shared_sql(db::Sql::from("SELECT number FROM scratch WHERE word = 'total'")).one().await.unwrap();
        assert_eq!(total, 0);
    }

    async fn migrating_twice_changes_nothing(t: Fixture) {
        let before = t.db.level().await.unwrap();
        assert!(before.is_current() && before.applied > 0);
        migrate(&t.db, &t.url).await.unwrap();
        assert_eq!(t.db.level().await.unwrap(), before);
    }

    async fn nodes_that_migrate_at_once_do_not_disturb_each_other(t: Fixture) {
        let other = db::Db::open(&db::Options::new(&t.url)).await.unwrap();
        let (one, two) = tokio::join!(migrate(&t.db, &t.url), migrate(&other, &t.url));
        one.unwrap();
        two.unwrap();
    }
}

#[tokio::test]
#[should_panic(expected = "organization_id")]
async fn a_tenants_statement_must_name_the_tenant() {
    let t = Fixture::start(Engine::Sqlite).await;
    let mut conn = t.db.conn(Scope::Organization(id_of_organization())).await.unwrap();
    let _ = conn.sql("SELECT 1 FROM memberships").optional::<(i64,)>().await;
}

#[tokio::test]
async fn a_server_that_closed_its_connections_is_called_again() {
    let t = Fixture::start(Engine::Postgres).await;
    let mut sessions = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..3 {
        let mut session = t.db.conn(SCOPE).await.unwrap();
        servers.push(session.shared_sql("SELECT pg_backend_pid()").one::<(i32,)>().await.unwrap().0);
        sessions.push(session);
    }
    drop(sessions);
    let other = db::Db::open(&db::Options::new(&t.url)).await.unwrap();
    let mut conn = other.conn(SCOPE).await.unwrap();
    // One by one: in a query over all of them the server may choose to end every one that it looks at.
    for server in servers {
        let ended = conn.shared_sql("SELECT pg_terminate_backend($1, 5000)").bind(server);
        assert_eq!(ended.one::<(bool,)>().await.unwrap(), (true,));
    }
    let mut failures = 0;
    while let Err(error) = t.db.ping().await {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        failures += 1;
        assert!(failures <= 3, "a connection is lent again although it failed");
    }
    assert!(failures > 0, "the connections were still there");
    for _ in 0..8 {
        t.db.ping().await.unwrap();
    }
}

fn id_of_organization() -> capecontrol::base::OrganizationId {
    Id::from_uuid(Uuid::from_u128(1))
}

#[tokio::test]
async fn readers_of_sqlite_cannot_write() {
    let t = Fixture::start(Engine::Sqlite).await;
    let mut conn = t.db.conn(SCOPE).await.unwrap();
    assert!(conn.shared_sql("DELETE FROM jobs").execute().await.is_err());
}

#[tokio::test]
async fn a_new_sqlite_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let t = Fixture::start(Engine::Sqlite).await;
    let path = t.url.trim_start_matches("sqlite://");
    for suffix in ["", "-wal", "-shm"] {
        let mode = std::fs::metadata(format!("{path}{suffix}")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
}
