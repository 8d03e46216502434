//! Links that are sent to the owner of an address: good once, for a while, and kept as hashes.

use crate::auth::Email;
use crate::auth::model::LinkPurpose;
use crate::base::{AccountId, Timestamp};
use crate::db::{self, Conn, Tx};

/// The account behind an address, as far as a link concerns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, db::Row)]
pub struct Addressee {
    /// The account.
    pub id: AccountId,
    /// When its address was verified.
    pub email_verified_at: Option<Timestamp>,
}

/// The account that an address has. A service account's leads nowhere and counts as none. Asked in the platform's own
/// scope.
///
/// # Errors
/// What the database refuses.
pub async fn addressee(conn: &mut impl Conn, email: &Email) -> Result<Option<Addressee>, db::Error> {
    conn.sql(
        "SELECT a.id, a.email_verified_at FROM accounts a
         LEFT JOIN service_accounts s ON s.account_id = a.id
         WHERE a.email = $1 AND s.account_id IS NULL",
    )
    .bind(email.as_str())
    .optional()
    .await
}

/// A link that is to be sent.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// The hash of its token.
    pub token_hash: [u8; 32],
    /// Whose it is.
    pub account: AccountId,
    /// What it is for.
    pub purpose: LinkPurpose,
    /// The address that it goes to.
    pub email: Email,
    /// When it is made.
    pub at: Timestamp,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// Keeps a link in place of the one before of the same kind. `false`, and the one before stays, when that was made
/// after `last`: then it is too soon for another letter.
///
/// # Errors
/// What the database refuses.
pub async fn replace(tx: &mut Tx, new: &NewLink, last: Timestamp) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "INSERT INTO account_links (token_hash, account_id, purpose, email, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (account_id, purpose) DO UPDATE SET token_hash = excluded.token_hash,
                email = excluded.email, created_at = excluded.created_at, expires_at = excluded.expires_at
             WHERE account_links.created_at <= $7",
        )
        .bind(new.token_hash.to_vec())
        .bind(new.account)
        .bind(new.purpose)
        .bind(new.email.as_str())
        .bind(new.at)
        .bind(new.expires_at)
        .bind(last)
        .execute()
        .await?;
    Ok(rows == 1)
}

/// Whose a link is.
#[derive(Clone, PartialEq, Eq, db::Row)]
pub struct Holder {
    /// The account.
    pub account_id: AccountId,
    /// The address that the link went to.
    pub email: String,
    /// The name of the account.
    pub display_name: String,
}

/// Whose a link is that works still.
///
/// # Errors
/// What the database refuses.
pub async fn holder(
    conn: &mut impl Conn,
    token_hash: &[u8; 32],
    purpose: LinkPurpose,
    now: Timestamp,
) -> Result<Option<Holder>, db::Error> {
    conn.shared_sql(
        "SELECT l.account_id, l.email, a.display_name
         FROM account_links l JOIN accounts a ON a.id = l.account_id
         WHERE l.token_hash = $1 AND l.purpose = $2 AND l.expires_at > $3",
    )
    .bind(token_hash.to_vec())
    .bind(purpose)
    .bind(now)
    .optional()
    .await
}

/// Uses a link, which is gone then: of two that try, one gets the account and the address that it went to.
///
/// # Errors
/// What the database refuses.
pub async fn take(
    tx: &mut Tx,
    token_hash: &[u8; 32],
    purpose: LinkPurpose,
    now: Timestamp,
) -> Result<Option<(AccountId, Email)>, db::Error> {
    let row: Option<(AccountId, String)> = tx
        .shared_sql(
            "DELETE FROM account_links WHERE token_hash = $1 AND purpose = $2 AND expires_at > $3
             RETURNING account_id, email",
        )
        .bind(token_hash.to_vec())
        .bind(purpose)
        .bind(now)
        .optional()
        .await?;
    Ok(row.map(|(account, email)| (account, Email::stored(email))))
}

/// Makes the links of one kind of an account void.
///
/// # Errors
/// What the database refuses.
pub async fn void(tx: &mut Tx, account: AccountId, purpose: LinkPurpose) -> Result<(), db::Error> {
    tx.shared_sql("DELETE FROM account_links WHERE account_id = $1 AND purpose = $2")
        .bind(account)
        .bind(purpose)
        .execute()
        .await?;
    Ok(())
}

/// Notes that an address was proved to be its account's. `false` when the account has another address by now.
///
/// # Errors
/// What the database refuses.
pub async fn verify_email(
    tx: &mut Tx,
    account: AccountId,
    email: &Email,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let rows = tx
        .shared_sql(
            "UPDATE accounts SET email_verified_at = COALESCE(email_verified_at, $1), version = version + 1,
                updated_at = $1
             WHERE id = $2 AND email = $3",
        )
        .bind(at)
        .bind(account)
        .bind(email.as_str())
        .execute()
        .await?;
    Ok(rows == 1)
}
