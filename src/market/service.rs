//! What can be done in the marketplace.

use super::error::Error;
use super::manifest::Category;
use super::model::{Installation, InstallationId, Listing, ListingId};
use super::store;
use crate::audit;
use crate::auth::{self, Caller};
use crate::base::{OrganizationId, World};
use crate::db::{Db, Scope};
use crate::idempotency::{self, Claim, RequestKey};

/// For whom the catalogue is read: it belongs to no tenant.
const CATALOGUE: Scope = Scope::System("market catalogue");

/// Asks for a part of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListListings {
    /// Only agents of this category.
    pub category: Option<Category>,
    /// Only those after this slug.
    pub after: Option<String>,
    /// At most so many.
    pub limit: i64,
}

/// Asks for an agent to be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallListing {
    /// For whom; the caller's personal organisation when none is named.
    pub organization: Option<OrganizationId>,
    /// What.
    pub listing: ListingId,
}

/// Asks for a part of an organisation's installations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListInstallations {
    /// Whose; the caller's personal organisation's when none is named.
    pub organization: Option<OrganizationId>,
    /// Only those made before this one.
    pub after: Option<InstallationId>,
    /// At most so many.
    pub limit: i64,
}

/// The marketplace.
#[derive(Clone)]
pub struct Service {
    db: Db,
    world: World,
    audit: audit::Log,
}

impl Service {
    /// A marketplace over this database, which writes down what is done.
    pub fn new(db: Db, world: World, audit: audit::Log) -> Self {
        Self { db, world, audit }
    }

    /// A part of the catalogue, in the order of the slugs. Everybody may look.
    pub async fn list_listings(&self, _: &Caller, query: ListListings) -> Result<Vec<Listing>, Error> {
        let mut session = self.db.conn(CATALOGUE).await?;
        let after = query.after.unwrap_or_default();
        Ok(match query.category {
            None => store::listings(&mut session, &after, query.limit).await?,
            Some(category) => store::listings_of(&mut session, category, &after, query.limit).await?,
        })
    }

    /// One listing. Everybody may look.
    pub async fn get_listing(&self, _: &Caller, id: ListingId) -> Result<Listing, Error> {
        let mut session = self.db.conn(CATALOGUE).await?;
        store::listing(&mut session, id).await?.ok_or(Error::ListingNotFound(id))
    }

    /// Installs an agent in its current version. Any member of the organisation may.
    pub async fn install_listing(
        &self,
        caller: &Caller,
        command: InstallListing,
        key: Option<&RequestKey>,
    ) -> Result<Installation, Error> {
        let account = caller.account()?;
        let organization = named_or_personal(caller, command.organization)?;
        let mut tx = self.db.begin(Scope::Organization(organization)).await?;
        auth::access::resolve(&mut tx, caller, Some(organization)).await?;
        let slot = match idempotency::claim(&mut tx, &self.world, caller, key).await? {
            Claim::Replay(installation) => return Ok(installation),
            Claim::New(slot) => slot,
        };
        let listing = store::listing(&mut tx, command.listing).await?;
        let listing = listing.ok_or(Error::ListingNotFound(command.listing))?;
        let installation = Installation {
            id: self.world.id(),
            organization,
            listing: listing.id,
            slug: listing.manifest.slug,
            name: listing.manifest.name,
            version: listing.manifest.version,
            digest: listing.digest,
            installed_by: Some(account),
            installed_at: self.world.now(),
        };
        if !store::insert(&mut tx, &installation).await? {
            let there = store::installation_of(&mut tx, organization, listing.id).await?;
            return Err(Error::AlreadyInstalled(there.ok_or(crate::db::Error::NotFound)?));
        }
        let entry = caller.entry("marketplace.install_listing").of(organization);
        let entry = entry.on("installation", installation.id).changed(&(), &installation);
        self.audit.record(&mut tx, entry).await?;
        slot.store(&mut tx, &installation).await?;
        tx.commit().await?;
        Ok(installation)
    }

    /// A part of the organisation's installations, the newest first. Any member may look.
    pub async fn list_installations(
        &self,
        caller: &Caller,
        query: ListInstallations,
    ) -> Result<Vec<Installation>, Error> {
        let organization = named_or_personal(caller, query.organization)?;
        let mut session = self.db.conn(Scope::Organization(organization)).await?;
        auth::access::resolve(&mut session, caller, Some(organization)).await?;
        Ok(store::installations(&mut session, organization, query.after, query.limit).await?)
    }
}

/// The organisation that a request means, not yet checked: the scope in which the check is made needs it.
fn named_or_personal(caller: &Caller, named: Option<OrganizationId>) -> Result<OrganizationId, auth::Error> {
    named.map_or_else(|| caller.personal(), Ok)
}
