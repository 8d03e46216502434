//! The ledger's tables keep the books themselves: whatever the program does, nothing unbalanced is ever committed.

use capecontrol::base::Id;
use capecontrol::db::{Conn as _, Db, Engine, Error, Options, Scope, Tx};

use crate::support::{Fixture, START, on_both, postgres};

on_both! {
    async fn the_database_keeps_the_books_balanced(t: Fixture) {
        let refused = |result: Result<u64, Error>, name: &str| {
            let error = result.unwrap_err();
            assert!(error.violates(name), "{name}: {error:?}");
        };
        let begin = || t.db.begin(Scope::System("test"));
        // A head without its posting cannot be committed.
        let mut tx = begin().await.unwrap();
        head(&mut tx, 1).await.unwrap();
        assert!(matches!(tx.commit().await, Err(Error::Constraint(_))));
        // Entries that do not balance, in one currency or in each of two, cannot be posted.
        for entries in [vec![(1, "ZAR", 5)], vec![(1, "ZAR", 5), (2, "ZAR", -4)], vec![(1, "ZAR", 5), (2, "USD", -5)]] {
            let mut tx = begin().await.unwrap();
            head(&mut tx, 1).await.unwrap();
            for (position, currency, amount) in entries {
                entry(&mut tx, 1, position, currency, amount).await.unwrap();
            }
            refused(posting(&mut tx, 1).await, "ledger_unbalanced");
        }
        // What is posted takes nothing more and is never changed.
        let mut tx = begin().await.unwrap();
        head(&mut tx, 1).await.unwrap();
        entry(&mut tx, 1, 1, "ZAR", 5).await.unwrap();
        entry(&mut tx, 1, 2, "ZAR", -5).await.unwrap();
        posting(&mut tx, 1).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = begin().await.unwrap();
        refused(entry(&mut tx, 1, 3, "ZAR", 5).await, "ledger_posted");
        drop(tx);
        for text in CHANGES {
            // The role that serves has not even the right.
            let mut tx = begin().await.unwrap();
            let error = tx.sql(text).execute().await.unwrap_err();
            match t.db.engine() {
                Engine::Sqlite => assert!(error.violates("ledger_immutable"), "{text}: {error:?}"),
                Engine::Postgres => assert!(error.chain().contains("permission denied"), "{text}: {error:?}"),
            }
        }
        let owner = owner(&t).await;
        for text in CHANGES {
            let mut tx = owner.begin(Scope::System("test")).await.unwrap();
            refused(tx.sql(text).execute().await, "ledger_immutable");
        }
    }
}

const CHANGES: [&str; 6] = [
    "UPDATE ledger_entries SET amount_minor = 6 WHERE position = 1",
    "DELETE FROM ledger_entries WHERE position = 1",
    "UPDATE ledger_transactions SET memo = 'x'",
    "DELETE FROM ledger_transactions",
    "UPDATE ledger_postings SET posted_at = posted_at",
    "DELETE FROM ledger_postings",
];

/// The database as the role that owns its tables.
pub async fn owner(t: &Fixture) -> Db {
    let url = postgres::owner_url(&t.url).unwrap_or_else(|| t.url.clone());
    Db::open(&Options::new(url)).await.unwrap()
}

fn numbered(number: u128) -> Id<()> {
    Id::from_uuid(uuid::Uuid::from_u128(number))
}

async fn head(tx: &mut Tx, id: u128) -> Result<u64, Error> {
    tx.sql("INSERT INTO ledger_transactions (id, kind, memo, created_at) VALUES ($1, 'settlement', '', $2)")
        .bind(numbered(id))
        .bind(START)
        .execute()
        .await
}

async fn entry(tx: &mut Tx, id: u128, position: i64, currency: &str, amount: i64) -> Result<u64, Error> {
    tx.sql(
        "INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor)
         VALUES ($1, $2, 'revenue', $3, $4)",
    )
    .bind(numbered(id))
    .bind(position)
    .bind(currency.to_owned())
    .bind(amount)
    .execute()
    .await
}

async fn posting(tx: &mut Tx, id: u128) -> Result<u64, Error> {
    tx.sql("INSERT INTO ledger_postings (transaction_id, posted_at) VALUES ($1, $2)")
        .bind(numbered(id))
        .bind(START)
        .execute()
        .await
}
