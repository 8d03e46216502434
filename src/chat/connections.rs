//! Which streams are open, as every node can read it: so a call that names a stream reaches it wherever it is, and so
//! it is known who is there.
//!
//! Streams are noted and forgotten many at once: a thousand clients that come back are some few transactions. What is
//! noted holds as long as the node renews its lease; the streams of a node that died go with it. What a crash or a
//! failure left noted wrongly, each renewal sets right.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::hub::Inbox;
use super::model::frame::Fleeting;
use super::model::{ConnectionId, NodeId};
use super::service::Service;
use super::store::{self, Connection};
use crate::base::AccountId;
use crate::db::{self, Batcher, Scope, Tx};

/// How many streams are noted or forgotten in one transaction.
const BATCH_MAX: usize = 500;
/// How often a node renews its lease.
const RENEW: Duration = Duration::from_secs(10);
/// How long a node counts as there after it last said so.
const NODE_LEASE: Duration = Duration::from_secs(35);
/// How long after that what was on it is removed.
const NODE_GRACE: Duration = Duration::from_secs(60);
/// How many people's presence one hint concerns: a hint has to stay small.
const HINT_ACCOUNTS: usize = 50;

const SCOPE: Scope = Scope::System("chat.connections");

/// What is to be noted.
#[derive(Clone, Copy, Debug)]
enum Note {
    Opened(Connection),
    Closed(ConnectionId, AccountId),
}

/// What this node notes of its streams.
pub(super) struct Connections {
    node: NodeId,
    notes: Batcher<Note, ()>,
}

impl Connections {
    pub(super) fn of(node: NodeId) -> Self {
        Self { node, notes: Batcher::new(BATCH_MAX) }
    }

    /// The node.
    pub(super) const fn node(&self) -> NodeId {
        self.node
    }
}

impl Service {
    /// This node, as others know it.
    pub const fn node(&self) -> NodeId {
        self.connections().node()
    }

    /// Notes that a stream is open. Calls can name it from now on.
    pub(super) async fn arrive(&self, stream: &Inbox) -> Result<(), Error> {
        self.keep_note(Note::Opened(connection(stream))).await
    }

    /// Notes that a stream is closed.
    pub(super) async fn depart(&self, stream: &Inbox) {
        let note = Note::Closed(stream.id(), stream.holder().account);
        if let Err(error) = self.keep_note(note).await {
            // The next renewal finds it.
            tracing::debug!(%error, stream = %stream.id(), "it cannot be noted that a stream is closed");
        }
    }

    async fn keep_note(&self, note: Note) -> Result<(), Error> {
        self.connections().notes.run(note, |notes| self.write_notes(notes)).await
    }

    async fn write_notes(&self, notes: Vec<Note>) -> Result<Vec<()>, Error> {
        // A stream that opened and closed meanwhile was never there.
        let mut opened: HashMap<ConnectionId, Connection> = HashMap::new();
        let (mut closed, mut accounts) = (Vec::new(), BTreeSet::new());
        for note in &notes {
            match note {
                Note::Opened(connection) => {
                    opened.insert(connection.id, *connection);
                    accounts.insert(connection.account_id);
                }
                Note::Closed(id, account) => {
                    if opened.remove(id).is_none() {
                        closed.push(*id);
                    }
                    accounts.insert(*account);
                }
            }
        }
        let opened: Vec<Connection> = opened.into_values().collect();
        let mut tx = self.db().begin(SCOPE).await?;
        self.write_connections(&mut tx, &opened, &closed).await?;
        self.hint_presence(&mut tx, accounts);
        tx.commit().await?;
        Ok(vec![(); notes.len()])
    }

    async fn write_connections(
        &self,
        tx: &mut Tx,
        opened: &[Connection],
        closed: &[ConnectionId],
    ) -> Result<(), db::Error> {
        let node = self.node();
        if !opened.is_empty() {
            // Another node may have taken this one for dead, and what is on a node goes with it.
            store::lease_node(tx, node, self.world().now().plus(NODE_LEASE)).await?;
        }
        for part in opened.chunks(BATCH_MAX) {
            store::insert_connections(tx, node, part).await?;
        }
        for part in closed.chunks(BATCH_MAX) {
            store::remove_connections(tx, part).await?;
        }
        Ok(())
    }

    /// Says to all nodes, after the commit, that the presence of these people may have changed.
    pub(super) fn hint_presence(&self, tx: &mut Tx, accounts: BTreeSet<AccountId>) {
        let hub = std::sync::Arc::clone(self.hub());
        tx.after_commit(move || {
            let accounts: Vec<AccountId> = accounts.into_iter().collect();
            for part in accounts.chunks(HINT_ACCOUNTS) {
                hub.pass(&Fleeting::Presence { accounts: part.to_vec() });
            }
        });
    }

    /// Renews the lease of this node at fixed intervals, until `stop`.
    pub(super) async fn keep_node(&self, stop: &CancellationToken) {
        let _stopped = stop
            .run_until_cancelled(async {
                loop {
                    if let Err(error) = self.renew_node().await {
                        tracing::warn!(%error, "the lease of this node cannot be renewed");
                    }
                    tokio::time::sleep(RENEW).await;
                }
            })
            .await;
    }

    /// Renews the lease of this node, removes nodes that died, and has exactly those streams noted that are open.
    ///
    /// # Errors
    /// When the database fails. The next renewal makes up for it.
    pub async fn renew_node(&self) -> Result<(), Error> {
        let node = self.node();
        let streams = self.hub().streams();
        let mut tx = self.db().begin(SCOPE).await?;
        let now = self.world().now();
        store::lease_node(&mut tx, node, now.plus(NODE_LEASE)).await?;
        store::remove_nodes(&mut tx, now.minus(NODE_GRACE)).await?;
        let noted: HashMap<ConnectionId, AccountId> =
            store::connections_of_node(&mut tx, node).await?.into_iter().collect();
        let open: HashMap<ConnectionId, &Inbox> =
            streams.iter().map(|stream| (stream.id(), &**stream)).collect();
        let missing: Vec<Connection> = open
            .values()
            .filter(|stream| !noted.contains_key(&stream.id()))
            .map(|stream| connection(stream))
            .collect();
        let left: Vec<(ConnectionId, AccountId)> =
            noted.into_iter().filter(|(id, _)| !open.contains_key(id)).collect();
        let closed: Vec<ConnectionId> = left.iter().map(|(id, _)| *id).collect();
        self.write_connections(&mut tx, &missing, &closed).await?;
        let concerned = missing.iter().map(|connection| connection.account_id);
        self.hint_presence(&mut tx, concerned.chain(left.iter().map(|(_, account)| *account)).collect());
        Ok(tx.commit().await?)
    }
}

fn connection(stream: &Inbox) -> Connection {
    let holder = stream.holder();
    Connection {
        id: stream.id(),
        account_id: holder.account,
        credential: holder.credential,
        by_person: holder.by_person,
        token_expires_at: stream.expires_at(),
    }
}
