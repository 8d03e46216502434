//! The rows of nodes, of the streams that are open on them, and of what is to change about a stream. All of it is asked
//! and written in the platform's own scope: a stream belongs to an account and may follow threads of several tenants.

use uuid::Uuid;

use crate::base::{AccountId, Timestamp};
use crate::chat::model::presence::SubscriptionChange;
use crate::chat::model::{ConnectionId, NodeId};
use crate::db::{self, Conn, Json, Tx};

/// A stream that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The stream.
    pub id: ConnectionId,
    /// For whom.
    pub account_id: AccountId,
    /// The session whose token opened it, or the API key.
    pub credential: Uuid,
    /// Whether a person opened it, and no program in their name.
    pub by_person: bool,
    /// Until when that is good for it.
    pub token_expires_at: Option<Timestamp>,
}

/// Gives a node its lease, or renews it.
pub async fn lease_node(tx: &mut Tx, node: NodeId, until: Timestamp) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO nodes (id, expires_at) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at",
    )
    .bind(node)
    .bind(until)
    .execute()
    .await?;
    Ok(())
}

/// Removes nodes whose leases ended before, and what was on them.
pub async fn remove_nodes(tx: &mut Tx, before: Timestamp) -> Result<u64, db::Error> {
    tx.shared_sql("DELETE FROM nodes WHERE expires_at < $1").bind(before).execute().await
}

/// Notes streams that were opened on a node.
pub async fn insert_connections(
    tx: &mut Tx,
    node: NodeId,
    connections: &[Connection],
) -> Result<(), db::Error> {
    tx.shared_sql(
        "INSERT INTO connections (id, node_id, account_id, credential_id, by_person, token_expires_at, idle, changes)
         VALUES $rows ON CONFLICT (id) DO NOTHING",
    )
    .rows(connections, |statement, connection| {
        let statement = statement.bind(connection.id).bind(node).bind(connection.account_id);
        let statement = statement.bind(connection.credential).bind(connection.by_person);
        statement.bind(connection.token_expires_at).bind(false).bind(0_i64)
    })
    .execute()
    .await?;
    Ok(())
}

/// Forgets streams that were closed.
pub async fn remove_connections(tx: &mut Tx, connections: &[ConnectionId]) -> Result<(), db::Error> {
    tx.shared_sql("DELETE FROM connections WHERE id IN $list")
        .list(connections.iter().copied())
        .execute()
        .await?;
    Ok(())
}

/// The streams that are noted for a node, and for whom each is open.
pub async fn connections_of_node(
    conn: &mut impl Conn,
    node: NodeId,
) -> Result<Vec<(ConnectionId, AccountId)>, db::Error> {
    conn.shared_sql("SELECT id, account_id FROM connections WHERE node_id = $1").bind(node).all().await
}

/// Until when its credential is good for a stream that the account opened with it; none when there is no such stream.
/// Locks it.
pub async fn lock_connection(
    tx: &mut Tx,
    connection: ConnectionId,
    (account, credential): (AccountId, Uuid),
    now: Timestamp,
) -> Result<Option<Option<Timestamp>>, db::Error> {
    let row: Option<(Option<Timestamp>,)> = tx
        .shared_sql(
            "UPDATE connections SET idle = idle
         WHERE id = $1 AND account_id = $2 AND credential_id = $3 AND (expires_at IS NULL OR expires_at > $4)
            AND EXISTS (SELECT 1 FROM nodes WHERE nodes.id = node_id AND nodes.expires_at > $4)
         RETURNING token_expires_at",
        )
        .bind(connection)
        .bind(account)
        .bind(credential)
        .bind(now)
        .optional()
        .await?;
    Ok(row.map(|(until,)| until))
}

/// Renews a stream's lease, and notes until when a token is good for it.
pub async fn keep_connection(
    tx: &mut Tx,
    connection: ConnectionId,
    until: Timestamp,
    token_until: Option<Timestamp>,
) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE connections SET expires_at = $2, token_expires_at = $3 WHERE id = $1")
        .bind(connection)
        .bind(until)
        .bind(token_until)
        .execute()
        .await?;
    Ok(())
}

/// Notes whether anything is done on the device of a stream.
pub async fn set_idle(tx: &mut Tx, connection: ConnectionId, idle: bool) -> Result<(), db::Error> {
    tx.shared_sql("UPDATE connections SET idle = $2 WHERE id = $1")
        .bind(connection)
        .bind(idle)
        .execute()
        .await?;
    Ok(())
}

/// The streams on a node whose leases are over.
pub async fn lapsed_connections(
    conn: &mut impl Conn,
    node: NodeId,
    now: Timestamp,
) -> Result<Vec<ConnectionId>, db::Error> {
    let rows: Vec<(ConnectionId,)> = conn
        .shared_sql(
            "SELECT id FROM connections WHERE node_id = $1 AND expires_at IS NOT NULL AND expires_at <= $2",
        )
        .bind(node)
        .bind(now)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Until when tokens are good for the streams named.
pub async fn token_ends(
    conn: &mut impl Conn,
    connections: &[ConnectionId],
) -> Result<Vec<(ConnectionId, Timestamp)>, db::Error> {
    conn.shared_sql(
        "SELECT id, token_expires_at FROM connections WHERE token_expires_at IS NOT NULL AND id IN $list",
    )
    .list(connections.iter().copied())
    .all()
    .await
}

/// Leaves a change for the node that has the stream.
pub async fn insert_change(
    tx: &mut Tx,
    connection: ConnectionId,
    change: &SubscriptionChange,
) -> Result<(), db::Error> {
    let (seq,): (i64,) = tx
        .shared_sql("UPDATE connections SET changes = changes + 1 WHERE id = $1 RETURNING changes")
        .bind(connection)
        .one()
        .await?;
    tx.shared_sql("INSERT INTO connection_changes (connection_id, seq, change) VALUES ($1, $2, $3)")
        .bind(connection)
        .bind(seq)
        .bind(Json(change.clone()))
        .execute()
        .await?;
    Ok(())
}

/// How many changes wait for a stream's node.
pub async fn count_changes(conn: &mut impl Conn, connection: ConnectionId) -> Result<i64, db::Error> {
    let (count,) = conn
        .shared_sql("SELECT count(*) FROM connection_changes WHERE connection_id = $1")
        .bind(connection)
        .one()
        .await?;
    Ok(count)
}

/// Takes the changes that wait for a stream, in order.
pub async fn take_changes(
    tx: &mut Tx,
    connection: ConnectionId,
) -> Result<Vec<SubscriptionChange>, db::Error> {
    let mut rows: Vec<(i64, Json<SubscriptionChange>)> = tx
        .shared_sql("DELETE FROM connection_changes WHERE connection_id = $1 RETURNING seq, change")
        .bind(connection)
        .all()
        .await?;
    rows.sort_unstable_by_key(|(seq, _)| *seq);
    Ok(rows.into_iter().map(|(_, Json(change))| change).collect())
}

/// The streams on a node for which changes wait.
pub async fn changed_connections(conn: &mut impl Conn, node: NodeId) -> Result<Vec<ConnectionId>, db::Error> {
    let rows: Vec<(ConnectionId,)> = conn
        .shared_sql(
            "SELECT DISTINCT c.id FROM connection_changes AS w JOIN connections AS c ON c.id = w.connection_id
             WHERE c.node_id = $1",
        )
        .bind(node)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
