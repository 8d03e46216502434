//! What the ledger's accounts stand at. Up to the end of the chain it is projected; what waits behind that is summed.

use crate::base::Timestamp;
use crate::db::{self, Conn, Tx};
use crate::payments::model::balance::Balance;

/// The balance of each account in each currency at this moment: what is projected, and what waits for a place in the
/// chain.
///
/// # Errors
/// What the database refuses.
pub async fn current(conn: &mut impl Conn) -> Result<Vec<(String, String, i64)>, db::Error> {
    conn.shared_sql(
        "SELECT account_id, currency, CAST(sum(minor) AS bigint) FROM (
             SELECT account_id, currency, balance_minor AS minor FROM ledger_balances
             UNION ALL
             SELECT account_id, currency, amount_minor FROM ledger_entries
             WHERE transaction_id IN (SELECT transaction_id FROM ledger_unsealed)
         ) AS parts GROUP BY account_id, currency ORDER BY account_id, currency",
    )
    .all()
    .await
}

/// What is projected, beside the end of the chain at the same moment.
#[derive(Clone, Debug, PartialEq, Eq, db::Row)]
pub struct Projected {
    /// The end of the chain.
    pub chain_position: i64,
    /// The account; none when nothing is projected.
    pub account_id: Option<String>,
    /// The currency.
    pub currency: Option<String>,
    /// What is projected.
    pub balance_minor: Option<i64>,
    /// Where in the chain it changed last.
    pub position: Option<i64>,
}

impl Projected {
    fn balance(self) -> Option<Balance> {
        let Self { account_id, currency, balance_minor, position, .. } = self;
        Some(Balance {
            account_id: account_id?,
            currency: currency?,
            balance_minor: balance_minor?,
            position: position?,
        })
    }
}

/// What is projected, and up to which position of the chain.
///
/// # Errors
/// What the database refuses.
pub async fn projected(conn: &mut impl Conn) -> Result<(i64, Vec<Balance>), db::Error> {
    let rows: Vec<Projected> = conn
        .shared_sql(
            "SELECT chain.position AS chain_position, balance.account_id, balance.currency, balance.balance_minor,
                balance.position
             FROM ledger_chain AS chain LEFT JOIN ledger_balances AS balance ON 1 = 1
             WHERE chain.id = 1 ORDER BY balance.account_id, balance.currency",
        )
        .all()
        .await?;
    let position = rows.first().map_or(0, |row| row.chain_position);
    Ok((position, rows.into_iter().filter_map(Projected::balance).collect()))
}

/// What the entries at the positions after one and up to another sum to: account, currency, sum, and the last position.
///
/// # Errors
/// What the database refuses.
pub async fn sums(
    conn: &mut impl Conn,
    after: i64,
    until: i64,
) -> Result<Vec<(String, String, i64, i64)>, db::Error> {
    conn.shared_sql(
        "SELECT entry.account_id, entry.currency, CAST(sum(entry.amount_minor) AS bigint), max(seal.position)
         FROM ledger_seals AS seal JOIN ledger_entries AS entry ON entry.transaction_id = seal.transaction_id
         WHERE seal.position > $1 AND seal.position <= $2
         GROUP BY entry.account_id, entry.currency ORDER BY entry.account_id, entry.currency",
    )
    .bind(after)
    .bind(until)
    .all()
    .await
}

/// Adds a batch to what is projected. Whoever calls holds the end of the chain.
///
/// # Errors
/// What the database refuses.
pub async fn add(tx: &mut Tx, changes: &[Balance]) -> Result<(), db::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    tx.shared_sql(
        "INSERT INTO ledger_balances (account_id, currency, balance_minor, position) VALUES $rows
         ON CONFLICT (account_id, currency) DO UPDATE SET
            balance_minor = ledger_balances.balance_minor + excluded.balance_minor, position = excluded.position",
    )
    .rows(changes, |statement, change| {
        let statement = statement.bind(change.account_id.clone()).bind(change.currency.clone());
        statement.bind(change.balance_minor).bind(change.position)
    })
    .execute()
    .await?;
    Ok(())
}

/// Takes all away that is projected. Whoever calls holds the end of the chain.
///
/// # Errors
/// What the database refuses.
pub async fn clear(tx: &mut Tx) -> Result<(), db::Error> {
    tx.shared_sql("DELETE FROM ledger_balances").execute().await?;
    Ok(())
}

/// What all projected balances of each currency sum to: nothing, in books that are right.
///
/// # Errors
/// What the database refuses.
pub async fn totals(conn: &mut impl Conn) -> Result<Vec<(String, i64)>, db::Error> {
    conn.shared_sql(
        "SELECT currency, CAST(sum(balance_minor) AS bigint) FROM ledger_balances
         GROUP BY currency ORDER BY currency",
    )
    .all()
    .await
}

/// How many transactions wait for a place in the chain, and since when the first of them.
///
/// # Errors
/// What the database refuses.
pub async fn waiting(conn: &mut impl Conn) -> Result<(i64, Option<Timestamp>), db::Error> {
    conn.shared_sql("SELECT count(*), min(posted_at) FROM ledger_unsealed").one().await
}
