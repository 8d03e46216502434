//! The wall between tenants on PostgreSQL: what a scope lets be read and written when the statement forgets to ask, and
//! that a connection keeps nothing of it. And who may serve behind it.

use std::time::Duration;

use capecontrol::app;
use capecontrol::base::{Id, OrganizationId};
use capecontrol::db::{self, Conn as _, Db, Engine, Error, Options, Scope, Session};
use capecontrol::jobs::{self, Failure, Job, Registry};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::app::config;
use crate::support::{Fixture, Start as _, postgres, somebody, world};

const SYSTEM: Scope = Scope::System("test");

/// Two organisations, each with one owner.
async fn two(t: &Fixture) -> [OrganizationId; 2] {
    let (ada, eve) = (somebody(t, "ada@example.com").await, somebody(t, "eve@example.com").await);
    let mut two = [ada.personal().unwrap(), eve.personal().unwrap()];
    two.sort_by_key(|id| id.uuid());
    two
}

async fn behind_the_wall() -> (Fixture, [OrganizationId; 2]) {
    let t = Fixture::start(Engine::Postgres).await;
    let organizations = two(&t).await;
    (t, organizations)
}

/// Whose memberships a statement without any WHERE reads.
async fn all_memberships(conn: &mut Session) -> Vec<OrganizationId> {
    let rows: Vec<(OrganizationId,)> =
        conn.sql("SELECT organization_id FROM memberships ORDER BY organization_id").all().await.unwrap();
    rows.into_iter().map(|(id,)| id).collect()
}

#[tokio::test]
async fn a_statement_without_a_where_reads_its_own_organisation_only() {
    let (t, [ada, eve]) = behind_the_wall().await;
    for organization in [ada, eve] {
        let mut conn = t.db.conn(Scope::Organization(organization)).await.unwrap();
        assert_eq!(all_memberships(&mut conn).await, [organization]);
        // The tenants' own table, too.
        let tenants: Vec<(OrganizationId,)> = conn.sql("SELECT id FROM organizations").all().await.unwrap();
        assert_eq!(tenants, [(organization,)]);
    }
    let nobodys = Scope::Organization(t.world.id());
    assert!(all_memberships(&mut t.db.conn(nobodys).await.unwrap()).await.is_empty());
    assert_eq!(all_memberships(&mut t.db.conn(SYSTEM).await.unwrap()).await, [ada, eve]);
}

#[tokio::test]
async fn without_a_scope_nothing_is_read_or_written() {
    let (t, [ada, _]) = behind_the_wall().await;
    let mut conn = PgConnection::connect(&t.url).await.unwrap();
    let (seen,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM memberships").fetch_one(&mut conn).await.unwrap();
    assert_eq!(seen, 0);
    for text in
        ["UPDATE memberships SET role = 'member'", "DELETE FROM memberships", "DELETE FROM organizations"]
    {
        assert_eq!(sqlx::query(text).execute(&mut conn).await.unwrap().rows_affected(), 0, "{text}");
    }
    let insert =
        "INSERT INTO jobs (id, kind, organization_id, payload, state, run_at, attempts, fence, created_at)
                  VALUES (gen_random_uuid(), 'x', $1, '', 'ready', now(), 0, 0, now())";
    for organization in [Some(ada.uuid()), None] {
        let refused = sqlx::query(insert).bind(organization).execute(&mut conn).await.unwrap_err();
        assert!(refused.to_string().contains("row-level security"), "{refused}");
    }
    // Through the floor, a statement that wrongly says that it is shared.
    let (seen,): (i64,) =
        t.db.conn(SYSTEM).await.unwrap().shared_sql("SELECT count(*) FROM memberships").one().await.unwrap();
    assert_eq!(seen, 0);
    // And an empty setting is none.
    for text in ["SET capecontrol.organization = ''", "SET capecontrol.purpose = ''"] {
        sqlx::raw_sql(text).execute(&mut conn).await.unwrap();
    }
    let (seen,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM memberships").fetch_one(&mut conn).await.unwrap();
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn nothing_is_written_for_another_organisation() {
    let (t, [ada, eve]) = behind_the_wall().await;
    let member = somebody(&t, "bob@example.com").await.account().unwrap();
    let insert = "INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, 'owner', $3)";
    let mut tx = t.db.begin(Scope::Organization(ada)).await.unwrap();
    let refused = tx.sql(insert).bind(eve).bind(member).bind(t.world.now()).execute().await.unwrap_err();
    assert!(refused.chain().contains("row-level security"), "{}", refused.chain());
    drop(tx);
    // Nor is a row given away, or what is another's touched.
    let mut tx = t.db.begin(Scope::Organization(ada)).await.unwrap();
    let moved = tx.sql("UPDATE memberships SET organization_id = $1").bind(eve).execute().await.unwrap_err();
    assert!(moved.chain().contains("row-level security"), "{}", moved.chain());
    drop(tx);
    let mut tx = t.db.begin(Scope::Organization(ada)).await.unwrap();
    assert_eq!(
        tx.sql("DELETE FROM memberships WHERE organization_id IS NOT NULL").execute().await.unwrap(),
        1
    );
    assert_eq!(tx.sql("UPDATE organizations SET name = 'hers'").execute().await.unwrap(), 1);
    tx.commit().await.unwrap();
    let mut conn = t.db.conn(SYSTEM).await.unwrap();
    let names: Vec<(OrganizationId,)> =
        conn.sql("SELECT id FROM organizations WHERE name = 'hers'").all().await.unwrap();
    assert_eq!(names, [(ada,)]);
    assert!(!all_memberships(&mut conn).await.contains(&ada));
}

/// Whoever names an organisation has no purpose beside it, also where somebody set one for the whole connection.
#[tokio::test]
async fn an_organisation_and_a_purpose_do_not_go_together() {
    let (t, [ada, _]) = behind_the_wall().await;
    let url = format!("{}&options[capecontrol.purpose]=forgotten", t.url);
    let db = Db::open(&Options::new(&url)).await.unwrap();
    let mut conn = db.conn(Scope::Organization(ada)).await.unwrap();
    assert_eq!(all_memberships(&mut conn).await, [ada]);
    drop(conn);
    let breaches = db.breaches().await.unwrap();
    assert!(
        matches!(breaches.as_slice(), [preset] if preset.to_string().contains("outside of any")),
        "{breaches:?}"
    );
    db.close().await;
}

/// One connection, so that each lease gets the one that the lease before gave back.
async fn lonely(t: &Fixture) -> Db {
    Db::open(&Options { connections_max: 1, ..Options::new(&t.url) }).await.unwrap()
}

async fn carried(db: &Db) -> String {
    let mut conn = db.conn(SYSTEM).await.unwrap();
    let (carried, members): (String, i64) = conn
        .shared_sql(
            "SELECT coalesce(current_setting('capecontrol.organization', true), '')
                    || coalesce(current_setting('capecontrol.purpose', true), ''),
                    (SELECT count(*) FROM memberships)",
        )
        .one()
        .await
        .unwrap();
    assert_eq!(members, 0);
    carried
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_given_back_carries_no_tenant() {
    let (t, [ada, _]) = behind_the_wall().await;
    let (db, scope) = (lonely(&t).await, Scope::Organization(ada));
    let mut conn = db.conn(scope).await.unwrap();
    assert_eq!(all_memberships(&mut conn).await, [ada]);
    drop(conn);
    assert_eq!(carried(&db).await, "", "after a session");
    let mut conn = db.conn(scope).await.unwrap();
    conn.sql("SELECT organization_id / 0 FROM memberships").optional::<(i64,)>().await.unwrap_err();
    drop(conn);
    assert_eq!(carried(&db).await, "", "after a session with a statement that failed");
    db.begin(scope).await.unwrap().commit().await.unwrap();
    assert_eq!(carried(&db).await, "", "after a commit");
    drop(db.begin(scope).await.unwrap());
    assert_eq!(carried(&db).await, "", "after a rollback");
    let mut tx = db.begin(SYSTEM).await.unwrap();
    tx.sql("SELECT 1 / 0").execute().await.unwrap_err();
    assert!(matches!(tx.commit().await, Err(Error::Failed)));
    assert_eq!(carried(&db).await, "", "after a transaction that failed");
    for round in 0..60_u64 {
        // Cut at another point each time.
        let cut = Duration::from_micros(round * 29);
        let _ = tokio::time::timeout(cut, async {
            let mut conn = db.conn(scope).await.unwrap();
            all_memberships(&mut conn).await;
            drop(conn);
            let mut tx = db.begin(scope).await.unwrap();
            tx.sql("UPDATE memberships SET organization_id = organization_id").execute().await.unwrap();
            tx.commit().await.unwrap();
        })
        .await;
        assert_eq!(carried(&db).await, "", "cut after {cut:?}");
    }
    db.close().await;
}

/// When the transaction began that a statement runs in.
async fn began(conn: &mut Session, shared: bool) -> String {
    let text = "SELECT CAST(transaction_timestamp() AS text) || CAST(pg_backend_pid() AS text)
                || current_setting('transaction_read_only') AS organization_id";
    let statement = if shared { conn.shared_sql(text) } else { conn.sql(text) };
    statement.one::<(String,)>().await.unwrap().0
}

#[tokio::test]
async fn a_session_is_in_a_transaction_only_once_it_needs_one() {
    let (t, [ada, eve]) = behind_the_wall().await;
    let mut conn = t.db.conn(Scope::Organization(ada)).await.unwrap();
    let (one, two) = (began(&mut conn, true).await, began(&mut conn, true).await);
    assert!(one != two && one.ends_with("off"), "{one} {two}");
    let (one, two) = (began(&mut conn, false).await, began(&mut conn, false).await);
    assert!(one == two && one.ends_with("on"), "{one} {two}");
    assert_eq!(began(&mut conn, true).await, one);
    // It reads, and no more.
    let refused =
        conn.sql("DELETE FROM memberships WHERE organization_id IS NULL").execute().await.unwrap_err();
    assert!(refused.chain().contains("read-only"), "{}", refused.chain());
    // A statement that fails does not end it, and its scope still holds.
    assert_eq!(all_memberships(&mut conn).await, [ada]);
    conn.sql("SELECT organization_id FROM nowhere").execute().await.unwrap_err();
    assert!(began(&mut conn, true).await.ends_with("off"));
    assert_eq!(all_memberships(&mut conn).await, [ada]);
    // What others commit meanwhile is seen.
    let bob = somebody(&t, "bob@example.com").await.account().unwrap();
    let mut tx = t.db.begin(Scope::Organization(ada)).await.unwrap();
    let joins = "INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES ($1, $2, 'member', $3)";
    tx.sql(joins).bind(ada).bind(bob).bind(t.world.now()).execute().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(all_memberships(&mut conn).await, [ada, ada]);
    drop(conn);
    assert_eq!(all_memberships(&mut t.db.conn(Scope::Organization(eve)).await.unwrap()).await, [eve]);
}

#[tokio::test]
async fn a_purpose_of_other_characters_is_refused() {
    let t = Fixture::start(Engine::Postgres).await;
    let spoilt = Scope::System("x'; SET capecontrol.organization = '");
    assert!(t.db.begin(spoilt).await.is_err_and(|error| error.chain().contains("no purpose")));
    let mut conn = t.db.conn(spoilt).await.unwrap();
    assert!(conn.sql("SELECT id FROM jobs").execute().await.is_err());
    drop(conn);
    t.db.ping().await.unwrap();
}

#[derive(Serialize, Deserialize)]
struct Count(OrganizationId);

impl Job for Count {
    const KIND: &'static str = "test.count";
    const ATTEMPTS_MAX: u32 = 1;
}

#[tokio::test]
async fn jobs_of_all_organisations_run_for_their_purpose() {
    let (t, organizations) = behind_the_wall().await;
    for organization in organizations {
        let mut tx = t.db.begin(Scope::Organization(organization)).await.unwrap();
        jobs::push(&mut tx, &t.world, Some(organization), &Count(organization)).await.unwrap();
        // Nobody's job, and another's, are not pushed from here.
        tx.commit().await.unwrap();
        let mut tx = t.db.begin(Scope::Organization(organization)).await.unwrap();
        let refused = jobs::push(&mut tx, &t.world, None, &Count(organization)).await.unwrap_err();
        assert!(refused.chain().contains("row-level security"), "{}", refused.chain());
        let mut conn = t.db.conn(Scope::Organization(organization)).await.unwrap();
        let jobs: Vec<(OrganizationId,)> = conn.sql("SELECT organization_id FROM jobs").all().await.unwrap();
        assert_eq!(jobs, [(organization,)]);
    }
    // Each ends in its organisation's scope, with its effect; in another's it is not there.
    let (db, others) = (t.db.clone(), organizations);
    let worker = t.worker(move |registry: &mut Registry| {
        registry.on::<Count, _>(move |job, lease| {
            let db = db.clone();
            async move {
                let other = others.into_iter().find(|other| *other != job.0).unwrap();
                let mut tx = db.begin(Scope::Organization(other)).await?;
                assert!(matches!(lease.complete(&mut tx).await, Err(db::Error::NotFound)));
                drop(tx);
                let mut tx = db.begin(Scope::Organization(job.0)).await?;
                let ended = lease.complete(&mut tx).await;
                ended.map_err(|error| Failure::dead(error.chain()))?;
                Ok(tx.commit().await?)
            }
        });
    });
    assert_eq!(worker.run_due().await.unwrap(), 2);
    assert!(jobs::store::count(&mut t.db.conn(SYSTEM).await.unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_role_that_serves_owns_nothing_and_is_past_no_policy() {
    let t = Fixture::start(Engine::Postgres).await;
    assert_eq!(t.db.breaches().await.unwrap(), []);
    let mut conn = PgConnection::connect(&t.url).await.unwrap();
    let attributes: (bool, bool, bool, bool, bool) = sqlx::query_as(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles
         WHERE rolname = current_user",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(attributes, (false, false, false, false, false));
    let (owned,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM pg_class WHERE pg_has_role(relowner, 'MEMBER')")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!(owned, 0);
    for text in [
        "CREATE TABLE mine (id bigint)",
        "ALTER TABLE threads DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE threads NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON threads",
        "CREATE POLICY all_of_it ON threads USING (true)",
        "TRUNCATE threads CASCADE",
        "DELETE FROM _sqlx_migrations",
        "SET SESSION AUTHORIZATION capecontrol_owner",
        "SET ROLE capecontrol_owner",
    ] {
        assert!(sqlx::raw_sql(text).execute(&mut conn).await.is_err(), "{text}");
    }
    // The owner cannot read past the policies either, only take them down.
    two(&t).await;
    let mut owner = PgConnection::connect(&postgres::owner_url(&t.url).unwrap()).await.unwrap();
    let (seen,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM memberships").fetch_one(&mut owner).await.unwrap();
    assert_eq!(seen, 0);
}

/// The refusal of a node that is started on this database.
async fn refusal(url: &str) -> String {
    // The first test to come installs it for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder, "sqlite://unused");
    config.database.url = capecontrol::base::Secret::new(url.to_owned());
    config.database.migrate = false;
    let built = app::App::build(config, world(5).0).await;
    built.err().map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_start_as_a_role_that_could_reach_past_the_wall() {
    let t = Fixture::start(Engine::Postgres).await;
    assert_eq!(refusal(&t.url).await, "");
    let (owner, superuser) = (postgres::owner_url(&t.url).unwrap(), postgres::superuser_url(&t.url));
    let told = refusal(&owner).await;
    assert!(told.contains("capecontrol_owner owns tables") && told.contains("DATABASE__OWNER_URL"), "{told}");
    let told = refusal(&superuser).await;
    assert!(
        told.contains("is a superuser") && !told.contains(owner.split(['@', ':']).nth(2).unwrap()),
        "{told}"
    );

    // Roles of the whole cluster: of this test's own names.
    let mut conn = PgConnection::connect(&superuser).await.unwrap();
    let name = |kind: &str| format!("{kind}_{}_{}", std::process::id(), t.world.id::<()>().uuid().simple());
    let (walker, heir) = (name("walker"), name("heir"));
    let made = format!(
        "CREATE ROLE {walker} LOGIN BYPASSRLS PASSWORD 'x'; CREATE ROLE {heir} LOGIN PASSWORD 'x';
         GRANT capecontrol TO {walker}, {heir}; GRANT capecontrol_owner TO {heir}"
    );
    sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut conn).await.unwrap();
    let (_, rest) = t.url.split_once('@').unwrap();
    let told = refusal(&format!("postgres://{walker}:x@{rest}")).await;
    assert!(told.contains("is one with BYPASSRLS"), "{told}");
    let told = refusal(&format!("postgres://{heir}:x@{rest}")).await;
    assert!(told.contains("owns tables"), "{told}");
    let gone = format!("DROP ROLE {walker}; DROP ROLE {heir}");
    sqlx::raw_sql(AssertSqlSafe(gone)).execute(&mut conn).await.unwrap();

    // And not behind a wall with a gap.
    for (breach, mend) in [("DISABLE", "ENABLE"), ("NO FORCE", "FORCE")] {
        let alter = |how: &str| AssertSqlSafe(format!("ALTER TABLE threads {how} ROW LEVEL SECURITY"));
        sqlx::raw_sql(alter(breach)).execute(&mut conn).await.unwrap();
        assert!(refusal(&t.url).await.contains("the table threads is not enabled and forced"), "{breach}");
        sqlx::raw_sql(alter(mend)).execute(&mut conn).await.unwrap();
    }
    assert_eq!(refusal(&t.url).await, "");
}

#[tokio::test]
async fn the_role_that_serves_cannot_migrate_and_is_told_who_can() {
    let t = Fixture::start(Engine::Postgres).await;
    let told = t.db.migrate().await.unwrap_err().chain();
    assert!(
        told.contains("capecontrol may not make tables") && told.contains("DATABASE__OWNER_URL"),
        "{told}"
    );
}

/// Foreign keys and the ledger's triggers look past the policies where they must, and fail closed where they do not.
#[tokio::test]
async fn constraints_hold_across_the_wall() {
    let (t, [ada, eve]) = behind_the_wall().await;
    let now = t.world.now();
    // The organisation exists, in another's scope as in its own: what is refused is the row, not the reference.
    let mut tx = t.db.begin(SYSTEM).await.unwrap();
    let insert = "INSERT INTO billing_profiles
                    (organization_id, name, email, vat_number, address, country, version, updated_at)
                  VALUES ($1, '', '', '', '', '', 0, $2)";
    tx.sql(insert).bind(eve).bind(now).execute().await.unwrap();
    let nobodys: OrganizationId = t.world.id();
    let refused = tx.sql(insert).bind(nobodys).bind(now).execute().await.unwrap_err();
    assert!(matches!(refused, Error::Constraint(_)), "{refused:?}");
    drop(tx);
    // A head of another organisation cannot be seen, so that nothing is added to it.
    let head: Id<()> = t.world.id();
    let mut tx = t.db.begin(SYSTEM).await.unwrap();
    tx.sql(
        "INSERT INTO ledger_transactions (id, organization_id, kind, memo, created_at)
            VALUES ($1, $2, 'settlement', '', $3)",
    )
    .bind(head)
    .bind(eve)
    .bind(now)
    .execute()
    .await
    .unwrap();
    let entries = "INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor)
                   VALUES ($1, 1, 'revenue', 'ZAR', 5), ($1, 2, 'payfast_clearing', 'ZAR', -5)";
    tx.shared_sql(entries).bind(head).execute().await.unwrap();
    let post = "INSERT INTO ledger_postings (transaction_id, posted_at) VALUES ($1, $2)";
    tx.shared_sql(post).bind(head).bind(now).execute().await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = t.db.begin(Scope::Organization(ada)).await.unwrap();
    let refused = tx
        .shared_sql(
            "INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor)
                     VALUES ($1, 3, 'revenue', 'ZAR', 5)",
        )
        .bind(head)
        .execute()
        .await
        .unwrap_err();
    assert!(refused.violates("ledger_posted"), "{refused:?}");
}
