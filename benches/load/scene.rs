//! The people and threads that every row works with, made once for each engine and copied for the control.

use std::path::{Path, PathBuf};

use capecontrol::app::real;
use capecontrol::base::{AccountId, OrganizationId, Timestamp, World};
use capecontrol::chat::model::member::ThreadRole;
use capecontrol::chat::model::{Thread, ThreadId, ThreadKind};
use capecontrol::chat::store;
use capecontrol::db::{Conn as _, Db, Options, Scope, Tx};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::auth::v1::auth_service_client::AuthServiceClient;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::OnceCell;
use tonic::transport::Channel;

use crate::fill::Filling;
use crate::process::{Place, Program};
use crate::{Outcome, client, fill};

/// A password that everybody here has.
pub const PASSWORD: &str = "correct horse battery";
/// People, all members of one organisation. So many that none needs more than 64 streams for 10,000 in all.
pub const PEOPLE: usize = 160;
/// Threads, beside the hall.
pub const THREADS: usize = 1_000;
/// Members of each thread.
pub const MEMBERS: usize = 10;
/// The terms that are accepted.
const TERMS: &str = "2026-01";
const FILE: &str = "scene.json";

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Who and what there is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scene {
    /// Everybody.
    pub accounts: Vec<AccountId>,
    /// The organisation that all belong to.
    pub organization: OrganizationId,
    /// Threads with ten members each.
    pub threads: Vec<ThreadId>,
    /// A thread that everybody is a member of.
    pub hall: ThreadId,
}

/// The platform's place and the control's, with the same in both.
pub struct Places {
    pub engine: Engine,
    pub scene: Scene,
    pub platform: Place,
    pub control: Place,
    /// As it was before anything was measured. No program runs here; copies are made of it.
    untouched: Place,
    filled: OnceCell<Place>,
    folder: tempfile::TempDir,
}

impl Scene {
    /// Reads the scene of a data folder.
    pub async fn read(folder: &Path) -> Outcome<Self> {
        Ok(serde_json::from_slice(&tokio::fs::read(folder.join(FILE)).await?)?)
    }

    /// The thread that a sender writes to in a turn: over time all of them.
    pub const fn thread_of(sender: usize, turn: usize) -> usize {
        (sender * 16 + turn) % THREADS
    }

    /// The threads that get an event each in one wave: the hall so many times, or every other thread.
    pub fn wave(&self, whom: &str, events: usize) -> Vec<ThreadId> {
        let threads = if whom == "hall" { std::slice::from_ref(&self.hall) } else { &self.threads };
        threads.repeat(events)
    }

    /// A thread's id, and one of its members.
    pub fn thread_and_author(&self, thread: usize) -> (ThreadId, AccountId) {
        (self.threads[thread], self.accounts[member(thread, 0)])
    }
}

/// The person who is a thread's member of this number.
pub const fn member(thread: usize, number: usize) -> usize {
    (thread + 16 * number) % PEOPLE
}

/// The address of a person.
pub fn email(person: usize) -> String {
    format!("person{person}@bench.example")
}

impl Places {
    /// Sets the scene on an engine. The folder is gone when this is dropped; the server's databases go with the server.
    pub async fn set(engine: Engine) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let platform = place(folder.path(), engine, "platform").await?;
        let program = Program::platform(&platform).await?;
        let accounts = register(&program).await?;
        program.stop().await?;
        let db = Db::open(&Options::new(&platform.database_url)).await?;
        let scene = furnish(&db, accounts).await?;
        db.close().await;
        tokio::fs::write(platform.folder.join(FILE), serde_json::to_vec(&scene)?).await?;
        let control = copy(&platform, folder.path(), engine, "control").await?;
        let untouched = copy(&platform, folder.path(), engine, "untouched").await?;
        Ok(Self { engine, scene, platform, control, untouched, filled: OnceCell::new(), folder })
    }

    /// Another place with the scene as it was set, and little else in its tables.
    pub async fn small(&self, name: &str) -> Outcome<Place> {
        self.with_rows(name, fill::SMALL).await
    }

    /// The place whose tables are full. Filled once, by whoever asks first.
    pub async fn filled(&self) -> Outcome<&Place> {
        self.filled.get_or_try_init(async || self.with_rows("filled", fill::rows()?).await).await
    }

    /// Another place with the scene as it was set.
    pub async fn fresh(&self, name: &str) -> Outcome<Place> {
        copy(&self.untouched, self.folder.path(), self.engine, name).await
    }

    /// Another place, in which the first person's organisation has so much in its books.
    pub async fn with_books(&self, name: &str, rows: u64) -> Outcome<Place> {
        self.with(name, &Filling::books(&self.scene, rows)?).await
    }

    async fn with_rows(&self, name: &str, rows: u64) -> Outcome<Place> {
        self.with(name, &Filling::new(&self.scene, rows)?).await
    }

    async fn with(&self, name: &str, filling: &Filling) -> Outcome<Place> {
        let place = self.fresh(name).await?;
        filling.pour(self.engine, &place).await?;
        Ok(place)
    }
}

/// A place with an empty database.
pub async fn place(parent: &Path, engine: Engine, name: &str) -> Outcome<Place> {
    let folder = parent.join(name);
    tokio::fs::create_dir_all(&folder).await?;
    match engine {
        Engine::Sqlite => Ok(in_file(&folder)),
        Engine::Postgres => create_database(folder, name, None).await,
    }
}

/// A copy of a place in which nothing runs.
async fn copy(from: &Place, parent: &Path, engine: Engine, name: &str) -> Outcome<Place> {
    let folder = parent.join(name);
    tokio::fs::create_dir_all(&folder).await?;
    tokio::fs::copy(from.folder.join(FILE), folder.join(FILE)).await?;
    match engine {
        Engine::Sqlite => {
            // The platform was stopped in good order: everything is in the one file.
            tokio::fs::copy(from.folder.join("bench.sqlite"), folder.join("bench.sqlite")).await?;
            Ok(in_file(&folder))
        }
        Engine::Postgres => {
            let (_, template) = from.database_url.rsplit_once('/').ok_or("the place names no database")?;
            create_database(folder, name, Some(template)).await
        }
    }
}

fn in_file(folder: &Path) -> Place {
    let database_url = format!("sqlite://{}", folder.join("bench.sqlite").display());
    Place { folder: folder.to_owned(), database_url, owner_url: None }
}

/// Makes a database on the server that the environment names, empty or as a copy.
async fn create_database(folder: PathBuf, name: &str, template: Option<&str>) -> Outcome<Place> {
    let address = |variable: &str| {
        let missing = |_| format!("{variable} is not set: run `make bench`, which starts a server");
        std::env::var(variable).map_err(missing)
    };
    let server = address("CAPECONTROL_TEST_POSTGRES_URL")?;
    let owner = address("CAPECONTROL_TEST_POSTGRES_OWNER_URL")?;
    let mut conn = PgConnection::connect(&owner).await?;
    let statement = match template {
        Some(template) => format!("CREATE DATABASE bench_{name} TEMPLATE {template}"),
        None => format!("CREATE DATABASE bench_{name}"),
    };
    for text in [format!("DROP DATABASE IF EXISTS bench_{name} WITH (FORCE)"), statement] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut conn).await?;
    }
    conn.close().await?;
    let database = |address: &str| {
        let (server, _) = address.rsplit_once('/').ok_or("the server's address names no database")?;
        Outcome::Ok(format!("{server}/bench_{name}"))
    };
    Ok(Place { folder, database_url: database(&server)?, owner_url: Some(database(&owner)?) })
}

async fn register(program: &Program) -> Outcome<Vec<AccountId>> {
    let channels = client::connect(&program.url, 1).await?;
    let channel = channels.into_iter().next().ok_or("no connection")?;
    let mut client = AuthServiceClient::new(channel.clone());
    let mut accounts = Vec::with_capacity(PEOPLE);
    for person in 0..PEOPLE {
        accounts.push(enrol(&mut client, channel.clone(), person).await?.0);
    }
    Ok(accounts)
}

/// Registers a person, and signs them in.
pub async fn enrol(
    client: &mut AuthServiceClient<Channel>,
    channel: Channel,
    person: usize,
) -> Outcome<(AccountId, String)> {
    let request = auth::RegisterRequest {
        email: email(person),
        password: PASSWORD.to_owned(),
        display_name: format!("Person {person}"),
        accepted_terms_version: TERMS.to_owned(),
        ..auth::RegisterRequest::default()
    };
    client.register(request).await?;
    let session = client::patiently(channel, person).await?;
    Ok((session.account.ok_or("no account in the answer")?.id.parse()?, session.access_token))
}

/// An organisation of everybody, its threads, and the hall.
async fn furnish(db: &Db, accounts: Vec<AccountId>) -> Outcome<Scene> {
    let world = real::world();
    let now = world.now();
    let mut tx = db.begin(Scope::System("bench")).await?;
    let owner = *accounts.first().ok_or("nobody is there")?;
    let (organization,): (OrganizationId,) =
        tx.sql("SELECT id FROM organizations WHERE personal_account_id = $1").bind(owner).one().await?;
    tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES $rows")
        .rows(accounts.iter().skip(1), |statement, account| {
            statement.bind(organization).bind(*account).bind("member").bind(now)
        })
        .execute()
        .await?;
    let mut threads = Vec::with_capacity(THREADS);
    for thread in 0..THREADS {
        let members: Vec<AccountId> = (0..MEMBERS).map(|number| accounts[member(thread, number)]).collect();
        threads.push(open_thread(&mut tx, &world, organization, &members, now).await?);
    }
    let hall = open_thread(&mut tx, &world, organization, &accounts, now).await?;
    tx.commit().await?;
    Ok(Scene { accounts, organization, threads, hall })
}

async fn open_thread(
    tx: &mut Tx,
    world: &World,
    organization_id: OrganizationId,
    members: &[AccountId],
    now: Timestamp,
) -> Outcome<ThreadId> {
    let thread = Thread {
        id: world.id(),
        organization_id,
        created_by: *members.first().ok_or("a thread without members")?,
        kind: ThreadKind::Group,
        title: String::new(),
        listing_id: None,
        last_seq: 0,
        epoch: 1,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    store::insert_thread(tx, &thread, None).await?;
    let members: Vec<_> = members.iter().map(|account| (*account, ThreadRole::Member)).collect();
    store::insert_members(tx, organization_id, thread.id, &members, now).await?;
    Ok(thread.id)
}
