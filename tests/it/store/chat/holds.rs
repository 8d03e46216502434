//! A legal hold that begins while something is on its way out: what goes still goes before the hold has begun, and once
//! it has, nothing goes any more. On PostgreSQL: on SQLite nothing happens at the same time.

use std::cell::Cell;
use std::time::Duration;

use capecontrol::auth::Caller;
use capecontrol::chat::Operator;
use capecontrol::chat::model::policy::PolicyChange;
use capecontrol::chat::service::UpdateChatPolicy;
use capecontrol::db::{Conn as _, Db, Engine, Options, Scope};

use super::bench::Pair;
use crate::support::{Fixture, Start as _, audit_log};

/// Where a message is emptied: its event is rewritten.
const IN_THE_EVENTS: &str = "SELECT seq FROM thread_events FOR UPDATE";
/// Where the rest of a thread is removed.
const IN_THE_MESSAGES: &str = "SELECT id FROM messages FOR UPDATE";
/// Where a thread has been closed and its removal is queued.
const IN_THE_QUEUE: &str = "LOCK TABLE jobs IN SHARE MODE";

const SCOPE: Scope = Scope::System("test");

/// Whether anybody waits for a session of the database.
async fn is_waited_for(db: &Db, session: i32) -> bool {
    let mut conn = db.conn(SCOPE).await.unwrap();
    let waiting = conn.sql("SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))");
    waiting.bind(session).one::<(i64,)>().await.unwrap().0 > 0
}

/// Who waits for a session.
async fn waiting_for(db: &Db, session: i32) -> i32 {
    loop {
        let mut conn = db.conn(SCOPE).await.unwrap();
        let waiting = conn.sql("SELECT pid FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))");
        if let Some((waiting,)) = waiting.bind(session).optional::<(i32,)>().await.unwrap() {
            return waiting;
        }
        tokio::task::yield_now().await;
    }
}

async fn hold(s: &Pair) {
    let organization_id = Some(s.ada.personal().unwrap());
    let change = PolicyChange { retention_days: None, hold_reason: Some(Some("case 7".to_owned())) };
    let command = UpdateChatPolicy { organization_id, change, etag: String::new() };
    s.node.chat.update_chat_policy(&s.ada, command, None).await.unwrap();
}

/// How much is there that may go.
async fn left(db: &Db) -> (i64, i64) {
    let mut conn = db.conn(SCOPE).await.unwrap();
    let count = "SELECT (SELECT count(*) FROM messages WHERE text <> ''),
                        (SELECT count(*) FROM threads WHERE deleted_at IS NULL)";
    conn.sql(count).one().await.unwrap()
}

/// Stops `destroy` in its midst, has a hold begin meanwhile, and looks whether anything goes after the hold.
async fn a_hold_in_the_midst(
    before: impl AsyncFnOnce(&Fixture, &Pair),
    midst: &'static str,
    destroy: impl AsyncFnOnce(&Fixture, &Pair),
) {
    let t = Fixture::start(Engine::Postgres).await;
    let s = Pair::start(&t).await;
    s.say(&s.ada, "evidence").await;
    before(&t, &s).await;
    let outside = Db::open(&Options { connections_max: 2, ..Options::new(&t.url) }).await.unwrap();
    let mut stop = outside.begin(SCOPE).await.unwrap();
    let (session,): (i32,) = stop.sql("SELECT pg_backend_pid()").one().await.unwrap();
    stop.sql(midst).execute().await.unwrap();
    let holds = Cell::new(false);
    let holding = async {
        waiting_for(&outside, session).await;
        hold(&s).await;
        holds.set(true);
        left(&t.db).await
    };
    let releasing = async {
        let destroyer = waiting_for(&outside, session).await;
        while !holds.get() && !is_waited_for(&outside, destroyer).await {
            tokio::task::yield_now().await;
        }
        drop(stop);
    };
    let before = left(&t.db).await;
    let ((), left_at_hold, ()) = tokio::join!(destroy(&t, &s), holding, releasing);
    let left = left(&t.db).await;
    assert_eq!(left, left_at_hold, "something went after the hold had begun");
    assert_ne!(left, before, "nothing went: this is no test");
}

async fn nothing(_: &Fixture, _: &Pair) {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_being_deleted() {
    a_hold_in_the_midst(nothing, IN_THE_EVENTS, async |_, s| {
        let message = s.node.events(&s.ada, s.thread).await[0].clone();
        let capecontrol::chat::model::Change::MessageCreated(message) = message.change else {
            panic!("{message:?}")
        };
        s.node.chat.delete(&s.ada, message.id, None).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_is_being_deleted() {
    a_hold_in_the_midst(nothing, IN_THE_QUEUE, async |_, s| {
        s.node.chat.delete_thread(&s.ada, s.thread, "", None).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_whose_last_member_leaves() {
    let ben_leaves = async |_: &Fixture, s: &Pair| {
        s.node.chat.remove_thread_member(&s.ben, s.thread, None, None).await.unwrap();
    };
    a_hold_in_the_midst(ben_leaves, IN_THE_QUEUE, async |_, s| {
        s.node.chat.remove_thread_member(&s.ada, s.thread, None, None).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_is_being_removed() {
    let delete = async |_: &Fixture, s: &Pair| {
        s.node.chat.delete_thread(&s.ada, s.thread, "", None).await.unwrap();
    };
    a_hold_in_the_midst(delete, IN_THE_MESSAGES, async |t, s| {
        s.node.worker(t).run_due().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_is_being_erased() {
    let erase = async |t: &Fixture, s: &Pair| {
        let operator = Operator::new(t.db.clone(), t.world.clone(), audit_log(&t.world));
        operator.erase_messages(&Caller::system("test"), s.ada.account().unwrap()).await.unwrap();
    };
    a_hold_in_the_midst(erase, IN_THE_EVENTS, async |t, s| {
        s.node.worker(t).run_due().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_time_is_over() {
    let keep_a_day = async |t: &Fixture, s: &Pair| {
        let organization_id = Some(s.ada.personal().unwrap());
        let change = PolicyChange { retention_days: Some(Some(1)), hold_reason: None };
        let command = UpdateChatPolicy { organization_id, change, etag: String::new() };
        s.node.chat.update_chat_policy(&s.ada, command, None).await.unwrap();
        t.clock.advance(Duration::from_hours(25));
    };
    a_hold_in_the_midst(keep_a_day, IN_THE_EVENTS, async |_, s| {
        assert_eq!(s.node.chat.forget_outdated().await.unwrap(), 1);
    })
    .await;
}
