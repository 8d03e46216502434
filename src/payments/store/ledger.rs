//! Posting to the ledger. What is posted is never changed; the database refuses it.

use crate::base::{OrganizationId, Timestamp};
use crate::db::{self, Conn, Tx};
use crate::payments::model::ledger::{Balanced, Kind};
use crate::payments::model::posted::TransactionId;
use crate::payments::model::{EventId, InvoiceId, PaymentId};

/// What a transaction is about.
#[derive(Debug)]
pub struct Head {
    /// Its id.
    pub id: TransactionId,
    /// Whom it concerns, when known.
    pub organization_id: Option<OrganizationId>,
    /// What it records.
    pub kind: Kind,
    /// The payment, when known.
    pub payment_id: Option<PaymentId>,
    /// The invoice that is paid by it.
    pub invoice_id: Option<InvoiceId>,
    /// The notification that it comes from.
    pub event_id: Option<EventId>,
    /// One line for people.
    pub memo: String,
    /// When.
    pub at: Timestamp,
}

/// Posts a transaction: head, entries, posting. All of it or nothing is committed. It has no place in the chain yet:
/// with its posting the database has it wait for one.
///
/// # Errors
/// What the database refuses, such as `ledger_unbalanced`.
pub async fn post(tx: &mut Tx, head: &Head, balanced: &Balanced) -> Result<(), db::Error> {
    insert_head(tx, head).await?;
    // Entries and postings are the platform's books; the head names the organisation.
    tx.shared_sql(
        "INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor) VALUES $rows",
    )
    .rows((1_i64..).zip(balanced.entries()), |statement, (position, entry)| {
        statement
            .bind(head.id)
            .bind(position)
            .bind(entry.account)
            .bind(entry.amount.currency)
            .bind(entry.amount.minor)
    })
    .execute()
    .await?;
    tx.shared_sql("INSERT INTO ledger_postings (transaction_id, posted_at) VALUES ($1, $2)")
        .bind(head.id)
        .bind(head.at)
        .execute()
        .await?;
    Ok(())
}

async fn insert_head(tx: &mut Tx, head: &Head) -> Result<(), db::Error> {
    tx.sql(
        "INSERT INTO ledger_transactions (id, organization_id, kind, payment_id, invoice_id, event_id, memo, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(head.id)
    .bind(head.organization_id)
    .bind(head.kind)
    .bind(head.payment_id)
    .bind(head.invoice_id)
    .bind(head.event_id)
    .bind(head.memo.clone())
    .bind(head.at)
    .execute()
    .await?;
    Ok(())
}
