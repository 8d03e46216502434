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
    let organization = named.map_or_else(|| caller.personal(), Ok)?;
    if !owns(caller, organization) {
        member(conn, caller, organization).await?;
    }
    Ok(organization)
}

/// Everybody owns the personal organisation for good: no question to the database. A program owns none.
fn owns(caller: &Caller, organization: OrganizationId) -> bool {
    caller.grant.is_none() && caller.personal == Some(organization)
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
    let account = reaching(caller, organization)?;
    store::membership(conn, organization, account).await?.ok_or(Error::OrganizationNotFound)
}

/// The caller's account, unless its credential leads nowhere near the organisation. Whether the account is a member of
/// it is still to be asked.
///
/// # Errors
/// [`Error::OrganizationNotFound`] when the caller's credential is for another organisation.
pub fn reaching(caller: &Caller, organization: OrganizationId) -> Result<AccountId, Error> {
    let account = caller.account()?;
    // For a program there is one organisation, whatever else the person behind it belongs to.
    if caller.grant.as_ref().is_some_and(|grant| grant.organization != organization) {
        return Err(Error::OrganizationNotFound);
    }
    Ok(account)
}

/// Whether an account may be used at all: it exists and is not suspended. Whatever acts for an account without a
/// session of it, such as an agent, an API key or a service account, asks this when it begins to act.
///
/// # Errors
/// What the database refuses.
pub async fn account_stands(conn: &mut impl Conn, account: AccountId) -> Result<bool, Error> {
    Ok(store::account::stands(conn, account).await?)
}

/// Whether an account administers the platform at this moment, whatever its token says: a token is believed for some
/// seconds after its account lost the role.
///
/// # Errors
/// What the database refuses.
pub async fn administers(conn: &mut impl Conn, account: AccountId) -> Result<bool, Error> {
    Ok(store::account::administers(conn, account).await?)
}

/// Those of the accounts that administer the platform at this moment.
///
/// # Errors
/// What the database refuses.
pub async fn administrators_among(
    conn: &mut impl Conn,
    accounts: &[AccountId],
) -> Result<Vec<AccountId>, Error> {
    Ok(store::account::administrators_among(conn, accounts).await?)
}

/// That there is such an organisation and it is not closed, for staff of the platform, who belong to none.
///
/// # Errors
/// [`Error::OrganizationNotFound`] when there is not.
pub async fn organization_stands(conn: &mut impl Conn, organization: OrganizationId) -> Result<(), Error> {
    let stands = store::organization::stands(conn, organization).await?;
    stands.then_some(()).ok_or(Error::OrganizationNotFound)
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

/// Whether an account belongs to an organisation that the caller belongs to. Asked in the platform's own scope.
///
/// # Errors
/// [`Error::Unauthenticated`] when nobody is signed in.
pub async fn is_colleague(conn: &mut impl Conn, caller: &Caller, account: AccountId) -> Result<bool, Error> {
    Ok(store::member::have_one_in_common(conn, caller.account()?, account).await?)
}

/// Whether a person has a hand in the organisation: as a member, or as the maker of a program in it that still stands.
/// Whoever decides about others' money must not.
///
/// # Errors
/// What the database refuses.
pub async fn has_hand_in(
    conn: &mut impl Conn,
    organization: OrganizationId,
    person: AccountId,
) -> Result<bool, Error> {
    Ok(is_member(conn, organization, person).await?
        || store::service_account::has_program_of(conn, organization, person).await?)
}

/// The person behind an account: whoever made it when it is a program's, else its own.
///
/// # Errors
/// What the database refuses.
pub async fn person_behind(conn: &mut impl Conn, account: AccountId) -> Result<AccountId, Error> {
    Ok(store::service_account::maker_of(conn, account).await?.unwrap_or(account))
}

/// That there is such an organisation, for those who run the platform and belong to none of them.
///
/// # Errors
/// [`Error::OrganizationNotFound`] when there is not.
pub async fn known(conn: &mut impl Conn, organization: OrganizationId) -> Result<(), Error> {
    if store::organization::exists(conn, organization).await? {
        Ok(())
    } else {
        Err(Error::OrganizationNotFound)
    }
}

/// That the caller owns or administers the organisation, and which of the two.
///
/// # Errors
/// [`Error::OrganizationNotFound`] when the caller is not a member, [`Error::NotAnOwner`] when only that.
pub async fn owner(
    conn: &mut impl Conn,
    caller: &Caller,
    organization: OrganizationId,
) -> Result<OrganizationRole, Error> {
    let role = member(conn, caller, organization).await?;
    if role.manages() { Ok(role) } else { Err(Error::NotAnOwner) }
}

/// That the caller has to do with the organisation's money.
///
/// # Errors
/// [`Error::OrganizationNotFound`] when the caller is not a member, [`Error::NotBilling`] when only that.
pub async fn billing(
    conn: &mut impl Conn,
    caller: &Caller,
    organization: OrganizationId,
) -> Result<(), Error> {
    if owns(caller, organization) || member(conn, caller, organization).await?.bills() {
        Ok(())
    } else {
        Err(Error::NotBilling)
    }
}

/// The organisation that a request names, or the caller's own when it names none, if the caller has to do with its
/// money.
///
/// # Errors
/// As [`billing`].
pub async fn resolve_billing(
    conn: &mut impl Conn,
    caller: &Caller,
    named: Option<OrganizationId>,
) -> Result<OrganizationId, Error> {
    let organization = named.map_or_else(|| caller.personal(), Ok)?;
    billing(conn, caller, organization).await?;
    Ok(organization)
}
