//! May this caller touch that organisation? Asked by every domain inside its own session or transaction.
//!
//! An organisation of others and one that does not exist get the same answer, byte for byte: whoever is not a member
//! learns nothing.

use crate::base::{AccountId, OrganizationId};
use crate::db::Conn;

use super::{Caller, Error, OrganizationRole, store};

/// The organisation that a request names, or the caller's own when it names none.
///
/// # Errors
/// [`Error::OrganizationNotFound`] unless the caller is a member of it, [`Error::Unauthenticated`] when nobody is
/// signed in.
pub async fn resolve(
    conn: &mut impl Conn,
    caller: &Caller,
    named: Option<OrganizationId>,
) -> Result<OrganizationId, Error> {
    let personal = caller.personal()?;
    match named {
        // Everybody owns the personal organisation for good: no question to the database.
        None => Ok(personal),
        Some(organization) if organization == personal => Ok(personal),
        Some(organization) => member(conn, caller, organization).await.map(|_| organization),
    }
}

/// The caller's role in the organisation.
///
/// # Errors
/// [`Error::OrganizationNotFound`] when the caller is not a member of it or it does not exist.
pub async fn member(
    conn: &mut impl Conn,
    caller: &Caller,
    organization: OrganizationId,
) -> Result<OrganizationRole, Error> {
    let account = caller.account()?;
    store::membership(conn, organization, account).await?.ok_or(Error::OrganizationNotFound)
}

/// Whether an account may be used at all: it exists and is not suspended. Whatever acts for an account without a
/// session of it, such as an agent, an API key or a service account, asks this when it begins to act.
///
/// # Errors
/// What the database refuses.
pub async fn account_stands(conn: &mut impl Conn, account: AccountId) -> Result<bool, Error> {
    Ok(store::account::stands(conn, account).await?)
}

/// Whether an account belongs to the organisation.
///
/// # Errors
/// What the database refuses.
pub async fn is_member(
    conn: &mut impl Conn,
    organization: OrganizationId,
    account: AccountId,
) -> Result<bool, Error> {
    Ok(store::membership(conn, organization, account).await?.is_some())
}

/// That the caller owns or administers the organisation.
///
/// # Errors
/// [`Error::OrganizationNotFound`] when the caller is not a member, [`Error::NotAnOwner`] when only that.
pub async fn owner(conn: &mut impl Conn, caller: &Caller, organization: OrganizationId) -> Result<(), Error> {
    match member(conn, caller, organization).await? {
        OrganizationRole::Owner | OrganizationRole::Admin => Ok(()),
        OrganizationRole::Billing | OrganizationRole::Member => Err(Error::NotAnOwner),
    }
}
