//! The bare statements, on the platform's own database floor: what is measured is everything above it.

use std::collections::HashMap;

use capecontrol::app::real;
use capecontrol::auth::model::Account;
use capecontrol::auth::store::account;
use capecontrol::base::{AccountId, OrganizationId, World};
use capecontrol::chat::model::{Actor, Change, Message, ThreadId};
use capecontrol::chat::store::{events_after, heads};
use capecontrol::db::{Conn as _, Db, Json, Options, Scope};

use crate::Outcome;
use crate::rows::MESSAGE;
use crate::scene::Scene;

/// As many as the platform takes by default.
const CONNECTIONS: u32 = 16;
const SCOPE: Scope = Scope::System("bench");

/// A database.
pub struct Store {
    db: Db,
    world: World,
}

impl Store {
    /// Opens the database.
    pub async fn open(url: &str) -> Outcome<Self> {
        let options = Options { connections_max: CONNECTIONS, ..Options::new(url) };
        Ok(Self { db: Db::open(&options).await?, world: real::world() })
    }

    /// Reads an account, with the platform's own statement.
    pub async fn account(&self, id: AccountId) -> Outcome<Account> {
        let mut conn = self.db.conn(SCOPE).await?;
        Ok(account::get(&mut conn, id).await?.ok_or("there is no such account")?)
    }

    /// Reads the head of a thread, told by its id alone: in its organisation's scope, or without any scope where
    /// nothing asks for one.
    pub async fn thread(&self, scene: &Scene, thread: usize, scope: bool) -> Outcome<()> {
        let mut conn = self.db.conn(Scope::Organization(scene.organization)).await?;
        let statement = if scope {
            conn.sql("SELECT organization_id, last_seq FROM threads WHERE id = $1")
        } else {
            conn.shared_sql("SELECT organization_id, last_seq FROM threads WHERE id = $1")
        };
        let _: (OrganizationId, i64) = statement.bind(scene.threads[thread]).one().await?;
        Ok(())
    }

    /// Reads what somebody missed of a thread, with the platform's own statement; how many events it was.
    pub async fn missed(&self, scene: &Scene, thread_id: ThreadId, after: i64) -> Outcome<usize> {
        let mut conn = self.db.conn(Scope::Organization(scene.organization)).await?;
        let bounds = (after, i64::MAX);
        Ok(events_after(&mut conn, scene.organization, thread_id, bounds, 1_000).await?.len())
    }

    /// How far the scene's threads have come, in their order.
    pub async fn heads(&self, scene: &Scene) -> Outcome<Vec<(ThreadId, i64)>> {
        let mut conn = self.db.conn(SCOPE).await?;
        let heads: HashMap<ThreadId, i64> = heads(&mut conn, &scene.threads).await?.into_iter().collect();
        Ok(scene.threads.iter().map(|thread| (*thread, heads.get(thread).copied().unwrap_or(0))).collect())
    }

    /// Writes a message and its event at the next position of a thread.
    pub async fn send(&self, (thread_id, author): (ThreadId, AccountId)) -> Outcome<()> {
        let now = self.world.now();
        let mut tx = self.db.begin(SCOPE).await?;
        let (organization, seq): (OrganizationId, i64) = tx
            .sql(
                "UPDATE threads SET last_seq = last_seq + 1, updated_at = $2 WHERE id = $1
                 RETURNING organization_id, last_seq",
            )
            .bind(thread_id)
            .bind(now)
            .one()
            .await?;
        let message = Message {
            id: self.world.id(),
            thread_id,
            seq,
            author: Actor::Account(author),
            client_message_id: Some(self.world.id::<Message>().uuid()),
            reply_to: None,
            text: MESSAGE.to_owned(),
            attachments: Vec::new(),
            created_at: now,
            edited_at: None,
            deleted_at: None,
        };
        tx.sql(
            "INSERT INTO messages (id, thread_id, organization_id, seq, author_kind, author_id, client_message_id,
                body_hash, text, created_at)
             VALUES ($1, $2, $3, $4, 'account', $5, $6, $7, $8, $9)",
        )
        .bind(message.id)
        .bind(thread_id)
        .bind(organization)
        .bind(seq)
        .bind(author)
        .bind(message.client_message_id)
        .bind(vec![0_u8; 32])
        .bind(MESSAGE)
        .bind(now)
        .execute()
        .await?;
        tx.sql(
            "INSERT INTO thread_events (thread_id, seq, organization_id, actor_kind, actor_id, payload, created_at)
             VALUES ($1, $2, $3, 'account', $4, $5, $6)",
        )
        .bind(thread_id)
        .bind(seq)
        .bind(organization)
        .bind(author)
        .bind(Json(Change::MessageCreated(message)))
        .bind(now)
        .execute()
        .await?;
        Ok(tx.commit().await?)
    }

    /// Stores a notification.
    pub async fn insert(&self, body: Vec<u8>) -> Outcome<()> {
        let (id, now) = (self.world.id::<Self>(), self.world.now());
        // Unique like a hash, without the cost of one.
        let hash = [id.uuid().as_bytes().as_slice(), id.uuid().as_bytes()].concat();
        let mut tx = self.db.begin(SCOPE).await?;
        tx.sql(
            "INSERT INTO provider_events (id, provider, body, body_hash, peer, headers, status, detail, payment_status,
                provider_payment_id, payment_reference, deliveries, received_at, last_received_at)
             VALUES ($1, 'payfast', $2, $3, '127.0.0.1', '[]', 'received', '', 'PENDING', '1', '1', 1, $4, $4)",
        )
        .bind(id)
        .bind(body)
        .bind(hash)
        .bind(now)
        .execute()
        .await?;
        Ok(tx.commit().await?)
    }
}
