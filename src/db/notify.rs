//! PostgreSQL's NOTIFY and LISTEN: short texts to whoever is connected and listens.
//!
//! Nothing is kept of them, and no transaction of the platform's waits for them: COMMIT takes a lock of the whole
//! server for one that notifies, so that whoever has much to say says it at once, and never in a transaction that
//! others wait for. Listening takes a connection of its own beside the pool, for one that waits for texts can do
//! nothing else.
//!
//! A channel is one of the schema: two platforms in one database do not hear each other. Neither rights nor row-level
//! security keep other roles of the database from reading along.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};

use super::open::Pools;
use super::pool::Pool;
use super::postgres::Postgres;
use super::{Db, Error};

/// The longest text, in bytes: PostgreSQL refuses 8,000.
pub const TEXT_BYTES_MAX: usize = 7_999;

/// How long a connection is quiet before it is asked whether it lives.
const QUIET_MAX: Duration = Duration::from_secs(20);

/// How long the server may take to connect, or for a sign of life.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The channel's name on the server, which takes 63 bytes: the digest stands for a schema's name of that length.
macro_rules! name {
    () => {
        "$1::text || '_' || left(encode(sha256(convert_to(coalesce(current_schema(), ''), 'UTF8')), 'hex'), 32)"
    };
}

/// The texts of one channel, as they come.
pub struct Notifications {
    listener: PgListener,
    listen: String,
}

impl Db {
    /// Sends texts of at most [`TEXT_BYTES_MAX`] to whoever listens to the channel. A channel is a word of small
    /// letters and `_`, up to 30 characters.
    ///
    /// # Errors
    /// When the server cannot be reached, or the engine is SQLite.
    pub async fn notify(&self, channel: &'static str, texts: &[String]) -> Result<(), Error> {
        let mut lent = self.postgres()?.lend().await?;
        let statement =
            sqlx::query(concat!("SELECT pg_notify(", name!(), ", text) FROM unnest($2::text[]) AS text"));
        let sent = statement.bind(channel).bind(texts).execute(&mut lent.link().conn).await;
        match sent {
            Ok(_) => lent.give_back(),
            Err(_) => lent.recover(false).await,
        }
        sent.map(drop).map_err(Error::from)
    }

    /// Listens to a channel from now on, over a connection of its own.
    ///
    /// # Errors
    /// When the server cannot be reached, or the engine is SQLite.
    pub async fn listen(&self, channel: &'static str) -> Result<Notifications, Error> {
        // The driver's listener wants a pool of the driver's, which has this one connection and makes no second.
        let alone = PgPoolOptions::new().max_connections(1).acquire_timeout(ANSWER_WITHIN);
        let pool =
            alone.idle_timeout(None).max_lifetime(None).connect_lazy_with(self.postgres()?.options().clone());
        Notifications::of(&pool, channel).await
    }

    fn postgres(&self) -> Result<&std::sync::Arc<Pool<Postgres>>, Error> {
        match &*self.pools {
            Pools::Postgres(pool) => Ok(pool),
            Pools::Sqlite { .. } => {
                Err(Error::Driver(sqlx::Error::Configuration("SQLite has neither NOTIFY nor LISTEN".into())))
            }
        }
    }
}

impl Notifications {
    async fn of(pool: &PgPool, channel: &str) -> Result<Self, Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        // Whoever listens is told of a lost connection, for texts were lost with it.
        listener.eager_reconnect(false);
        let named = sqlx::query_scalar(concat!("SELECT ", name!())).bind(channel);
        let name: String = named.fetch_one(&mut listener).await?;
        let mut notifications = Self { listener, listen: format!("LISTEN {name}") };
        notifications.listen().await?;
        Ok(notifications)
    }

    /// Waits for the next text.
    ///
    /// # Errors
    /// When the connection is lost; these notifications are then of no more use.
    pub async fn next(&mut self) -> Result<String, Error> {
        loop {
            match tokio::time::timeout(QUIET_MAX, self.listener.try_recv()).await {
                Ok(Ok(Some(notification))) => return Ok(notification.payload().to_owned()),
                Ok(Ok(None)) => return Err(lost()),
                Ok(Err(error)) => return Err(error.into()),
                // Listening twice is listening once, and a sign of life.
                Err(_) => self.listen().await?,
            }
        }
    }

    async fn listen(&mut self) -> Result<(), Error> {
        let listening = sqlx::raw_sql(AssertSqlSafe(self.listen.clone())).execute(&mut self.listener);
        match tokio::time::timeout(ANSWER_WITHIN, listening).await {
            Ok(listening) => listening.map(drop).map_err(Error::from),
            Err(_) => Err(lost()),
        }
    }
}

fn lost() -> Error {
    let why = "the connection that listens was lost";
    Error::Unavailable(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, why)))
}
