//! The bare statements, on the driver's own pools with the platform's settings for durability.

use std::str::FromStr as _;
use std::time::Duration;

use capecontrol::base::{Timestamp, World};
use capecontrol::chat::model::{Actor, Change, Message};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::types::Json;
use uuid::Uuid;

use crate::Outcome;
use crate::rows::MESSAGE;
use crate::scene::Scene;

/// As many as the platform takes by default.
const CONNECTIONS: u32 = 16;
/// With 64 senders on one writer some wait long.
const WAIT: Duration = Duration::from_secs(60);

/// A database.
pub struct Store {
    pools: Pools,
    world: World,
}

enum Pools {
    Sqlite { readers: SqlitePool, writer: SqlitePool },
    Postgres(PgPool),
}

/// What an account's owner is shown.
#[derive(sqlx::FromRow)]
pub struct AccountRow {
    pub id: Uuid,
    pub email: String,
    pub email_verified_at: Option<Timestamp>,
    pub personal_organization_id: Uuid,
    pub display_name: String,
    pub bio: String,
    pub company: String,
    pub website: String,
    pub skills: Json<Vec<String>>,
    pub interests: Json<Vec<String>>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const ACCOUNT: &str = "SELECT a.id, a.email, a.email_verified_at, a.role, o.id AS personal_organization_id,
                       a.display_name, a.bio, a.company, a.website, a.skills, a.interests, a.preferences, a.version,
                       a.created_at, a.updated_at
                       FROM accounts a JOIN organizations o ON o.personal_account_id = a.id WHERE a.id = $1";
const ADVANCE: &str = "UPDATE threads SET last_seq = last_seq + 1, updated_at = $2 WHERE id = $1
                       RETURNING organization_id, last_seq";
const INSERT_MESSAGE: &str = "INSERT INTO messages (id, thread_id, organization_id, seq, author_kind, author_id,
                              client_message_id, body_hash, text, created_at)
                              VALUES ($1, $2, $3, $4, 'account', $5, $6, $7, $8, $9)";
const INSERT_EVENT: &str = "INSERT INTO thread_events (thread_id, seq, organization_id, actor_kind, actor_id, payload,
                            created_at) VALUES ($1, $2, $3, 'account', $4, $5, $6)";
const INSERT_NOTIFICATION: &str = "INSERT INTO provider_events (id, provider, body, body_hash, peer, headers, status,
                                   detail, payment_status, provider_payment_id, payment_reference, deliveries,
                                   received_at, last_received_at)
                                   VALUES ($1, 'payfast', $2, $3, '127.0.0.1', '[]', 'received', '', 'COMPLETE', '1',
                                   '1', 1, $4, $4)";

/// Runs the same on whichever engine there is. The two arms have different types.
macro_rules! on {
    ($pools:expr, $kind:ident, |$pool:ident| $work:expr) => {
        match $pools {
            Pools::Sqlite { $kind: $pool, .. } => $work,
            Pools::Postgres($pool) => $work,
        }
    };
}

impl Store {
    /// Opens the database.
    pub async fn open(url: &str) -> Outcome<Self> {
        let pools = match url.strip_prefix("sqlite://") {
            Some(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true);
                let pool = |size| {
                    SqlitePoolOptions::new()
                        .max_connections(size)
                        .test_before_acquire(false)
                        .acquire_timeout(WAIT)
                };
                let writer = pool(1).connect_with(options.clone()).await?;
                Pools::Sqlite { readers: pool(CONNECTIONS).connect_lazy_with(options.read_only(true)), writer }
            }
            None => {
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .test_before_acquire(false)
                    .acquire_timeout(WAIT);
                Pools::Postgres(pool.connect_with(PgConnectOptions::from_str(url)?).await?)
            }
        };
        Ok(Self { pools, world: capecontrol::app::real::world() })
    }

    /// Reads an account.
    pub async fn account(&self, id: Uuid) -> Outcome<AccountRow> {
        Ok(on!(&self.pools, readers, |pool| sqlx::query_as(ACCOUNT).bind(id).fetch_one(pool).await?))
    }

    /// Writes a message and its event at the next position of a thread.
    pub async fn send(&self, scene: &Scene, thread: usize) -> Outcome<()> {
        let (thread_id, author) = scene.thread_and_author(thread);
        let now = self.world.now();
        on!(&self.pools, writer, |pool| {
            let begin = if matches!(self.pools, Pools::Sqlite { .. }) { "BEGIN IMMEDIATE" } else { "BEGIN" };
            let mut tx = pool.begin_with(begin).await?;
            let (organization, seq): (Uuid, i64) =
                sqlx::query_as(ADVANCE).bind(thread_id.uuid()).bind(now).fetch_one(&mut *tx).await?;
            let message = Message {
                id: self.world.id(),
                thread_id,
                seq,
                author: Actor::Account(author),
                client_message_id: Some(self.world.id::<Message>().uuid()),
                reply_to: None,
                text: MESSAGE.to_owned(),
                created_at: now,
            };
            sqlx::query(INSERT_MESSAGE)
                .bind(message.id.uuid())
                .bind(thread_id.uuid())
                .bind(organization)
                .bind(seq)
                .bind(author.uuid())
                .bind(message.client_message_id)
                .bind(vec![0_u8; 32])
                .bind(MESSAGE)
                .bind(now)
                .execute(&mut *tx)
                .await?;
            sqlx::query(INSERT_EVENT)
                .bind(thread_id.uuid())
                .bind(seq)
                .bind(organization)
                .bind(author.uuid())
                .bind(Json(Change::MessageCreated(message)))
                .bind(now)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        });
        Ok(())
    }

    /// Stores a notification.
    pub async fn insert(&self, body: &[u8]) -> Outcome<()> {
        let (id, now) = (self.world.id::<Self>().uuid(), self.world.now());
        // Unique like a hash, without the cost of one.
        let hash = [id.as_bytes().as_slice(), id.as_bytes()].concat();
        on!(&self.pools, writer, |pool| {
            sqlx::query(INSERT_NOTIFICATION).bind(id).bind(body).bind(hash).bind(now).execute(pool).await?;
        });
        Ok(())
    }
}
