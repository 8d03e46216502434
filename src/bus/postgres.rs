//! Between nodes through the PostgreSQL server that holds their data: no further server is needed.
//!
//! The server takes one lock for every commit that notifies. So signals never ride on the transaction that they tell
//! of: one task of the node collects what was published meanwhile and sends it at most once in [`BETWEEN`], hints
//! without their events. It stays light as long as all nodes together notify a few hundred times a second.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::relay::{Events, Relay};
use super::{Bus, Listener, Signal, Tally};
use crate::base::World;
use crate::db::notify::TEXT_BYTES_MAX;
use crate::db::{self, Db};
use crate::keyring::RootKey;

/// The channel of the platform's nodes.
const CHANNEL: &str = "capecontrol_bus";

/// How long the last one may take: a drain does not wait for a server that says nothing.
const LAST_MAX: Duration = Duration::from_secs(1);

/// How long after one notification the next one goes out.
const BETWEEN: Duration = Duration::from_millis(10);

/// The largest packet: base64 makes four bytes of three.
const PACKET_BYTES_MAX: usize = TEXT_BYTES_MAX / 4 * 3;

/// Carries signals over NOTIFY and LISTEN.
pub struct Postgres {
    relay: Relay,
    db: Db,
}

impl Postgres {
    /// The bus of one node. The database must be PostgreSQL.
    #[must_use]
    pub fn new(db: Db, world: World, root: RootKey) -> Self {
        Self { relay: Relay::new(world, root), db }
    }

    /// Sends what waits, at most once in [`BETWEEN`], until `stop`; then what still waits.
    async fn send(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(BETWEEN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = 0_u32;
        let mut due = async || {
            self.relay.filled().await;
            ticks.tick().await
        };
        while stop.run_until_cancelled(due()).await.is_some() {
            let Some(sent) = stop.run_until_cancelled(self.notify()).await else { break };
            let Err(error) = sent else {
                failures = 0;
                continue;
            };
            if failures == 0 {
                tracing::warn!(error = %error.chain(), "other nodes cannot be notified; it is tried again");
            }
            failures = failures.saturating_add(1);
            let _stopped = stop.run_until_cancelled(tokio::time::sleep(self.relay.pause(failures))).await;
        }
        // Whoever listens elsewhere would hear of it two seconds later otherwise.
        let _last = tokio::time::timeout(LAST_MAX, self.notify()).await;
    }

    async fn notify(&self) -> Result<(), db::Error> {
        let packets = self.relay.take(PACKET_BYTES_MAX, Events::StayHome);
        let texts: Vec<String> = packets.iter().map(|packet| STANDARD_NO_PAD.encode(packet)).collect();
        if texts.is_empty() {
            return Ok(());
        }
        let sent = self.db.notify(CHANNEL, &texts).await;
        if sent.is_err() {
            self.relay.lost();
        }
        sent
    }

    /// Listens to the other nodes, and connects again for ever.
    async fn hear(&self) {
        let mut failures = 0_u32;
        loop {
            let error = self.follow(&mut failures).await;
            if failures == 0 {
                tracing::warn!(error = %error.chain(), "other nodes are not heard; it is tried again");
            }
            failures = failures.saturating_add(1);
            tokio::time::sleep(self.relay.pause(failures)).await;
        }
    }

    /// Listens to the other nodes, and tells what ended that.
    async fn follow(&self, failures: &mut u32) -> db::Error {
        let mut notifications = match self.db.listen(CHANNEL).await {
            Ok(notifications) => notifications,
            Err(error) => return error,
        };
        *failures = 0;
        self.relay.connected();
        loop {
            match notifications.next().await {
                Ok(text) => match STANDARD_NO_PAD.decode(text) {
                    Ok(packet) => self.relay.receive(&packet),
                    Err(_) => self.relay.refuse(),
                },
                Err(error) => return error,
            }
        }
    }
}

#[async_trait]
impl Bus for Postgres {
    fn publish(&self, signal: Signal) {
        self.relay.publish(signal);
    }

    fn listen(&self) -> Box<dyn Listener> {
        self.relay.listen()
    }

    async fn run(&self, stop: CancellationToken) {
        tokio::join!(self.send(&stop), stop.run_until_cancelled(self.hear()));
    }

    fn tally(&self) -> Tally {
        self.relay.tally()
    }
}
