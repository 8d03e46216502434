//! The wire of this domain: requests in, answers out, nothing decided.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::manifest::{Category, Manifest, Permissions, Price, SideEffect, Tool};
use super::model::{Installation, InstallationId, Listing};
use super::service::{InstallListing, ListInstallations, ListListings};
use super::{Error, Service};
use crate::base::{Currency, Money, OrganizationId, Violations};
use crate::proto::capecontrol::marketplace::v1 as wire;
use crate::rpc::{self, Pages, decode, encode};

rpc::status_from!(Error);

const LIST_LISTINGS: &str = "marketplace.ListListings";
const LIST_INSTALLATIONS: &str = "marketplace.ListInstallations";

/// The service `MarketplaceService`.
#[derive(Clone)]
pub struct Rpc {
    service: Arc<Service>,
    pages: Pages,
}

impl Rpc {
    /// Serves `service`.
    #[must_use]
    pub const fn new(service: Arc<Service>, pages: Pages) -> Self {
        Self { service, pages }
    }
}

#[tonic::async_trait]
impl wire::marketplace_service_server::MarketplaceService for Rpc {
    async fn list_listings(
        &self,
        request: Request<wire::ListListingsRequest>,
    ) -> Result<Response<wire::ListListingsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let category = category(request.category)?;
        let page =
            self.pages.open(&caller, LIST_LISTINGS, &category, request.page_size, &request.page_token)?;
        let query = ListListings { category, limit: page.probe(), after: page.after };
        let mut rows = self.service.list_listings(&caller, query).await?;
        let slug = |listing: &Listing| listing.manifest.slug.clone();
        let next_page_token = self.pages.cut(&caller, LIST_LISTINGS, &category, page.size, &mut rows, slug);
        let listings = rows.into_iter().map(listing).collect();
        Ok(Response::new(wire::ListListingsResponse { listings, next_page_token }))
    }

    async fn get_listing(
        &self,
        request: Request<wire::GetListingRequest>,
    ) -> Result<Response<wire::GetListingResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let id = decode::only_id("listing_id", &request.listing_id)?;
        let found = self.service.get_listing(&caller, id).await?;
        Ok(Response::new(wire::GetListingResponse { listing: Some(listing(found)) }))
    }

    async fn install_listing(
        &self,
        request: Request<wire::InstallListingRequest>,
    ) -> Result<Response<wire::InstallListingResponse>, Status> {
        let (caller, key, request) = rpc::open_mutation(request)?;
        let mut violations = Violations::new();
        let command = InstallListing {
            organization: decode::optional_id(&mut violations, "organization_id", &request.organization_id),
            listing: decode::id(&mut violations, "listing_id", &request.listing_id),
        };
        violations.finish()?;
        let made = self.service.install_listing(&caller, command, key.as_deref()).await?;
        Ok(Response::new(wire::InstallListingResponse { installation: Some(installation(made)) }))
    }

    async fn list_installations(
        &self,
        request: Request<wire::ListInstallationsRequest>,
    ) -> Result<Response<wire::ListInstallationsResponse>, Status> {
        let (caller, request) = rpc::open(request)?;
        let mut violations = Violations::new();
        let organization: Option<OrganizationId> =
            decode::optional_id(&mut violations, "organization_id", &request.organization_id);
        violations.finish()?;
        let page = self.pages.open::<InstallationId>(
            &caller,
            LIST_INSTALLATIONS,
            &organization,
            request.page_size,
            &request.page_token,
        )?;
        let query = ListInstallations { organization, limit: page.probe(), after: page.after };
        let mut rows = self.service.list_installations(&caller, query).await?;
        let id = |row: &Installation| row.id;
        let next_page_token =
            self.pages.cut(&caller, LIST_INSTALLATIONS, &organization, page.size, &mut rows, id);
        let installations = rows.into_iter().map(installation).collect();
        Ok(Response::new(wire::ListInstallationsResponse { installations, next_page_token }))
    }
}

/// The category that a filter names; none for all.
fn category(number: i32) -> Result<Option<Category>, Violations> {
    let Ok(named) = wire::Category::try_from(number) else {
        return Err(Violations::one("category", "must be one of the categories, or unspecified for all"));
    };
    Ok(CATEGORIES.iter().find(|(_, on_wire)| *on_wire == named).map(|(category, _)| *category))
}

const CATEGORIES: [(Category, wire::Category); 10] = [
    (Category::Automation, wire::Category::Automation),
    (Category::Analytics, wire::Category::Analytics),
    (Category::Integration, wire::Category::Integration),
    (Category::Security, wire::Category::Security),
    (Category::Productivity, wire::Category::Productivity),
    (Category::AiAssistant, wire::Category::AiAssistant),
    (Category::Workflow, wire::Category::Workflow),
    (Category::Monitoring, wire::Category::Monitoring),
    (Category::Communication, wire::Category::Communication),
    (Category::Development, wire::Category::Development),
];

fn listing(listing: Listing) -> wire::Listing {
    let Manifest { slug, name, version, description, categories, placements, greeting, .. } =
        listing.manifest;
    let named =
        categories.into_iter().filter_map(|category| CATEGORIES.iter().find(|pair| pair.0 == category));
    wire::Listing {
        id: listing.id.to_string(),
        slug,
        name,
        description,
        categories: named.map(|(_, on_wire)| i32::from(*on_wire)).collect(),
        placements,
        greeting,
        tools: listing.manifest.tools.into_iter().map(tool).collect(),
        permissions: Some(permissions(listing.manifest.permissions)),
        price: Some(price(listing.manifest.price)),
        version: Some(wire::ListingVersion {
            version: version.to_string(),
            digest: listing.digest.to_string(),
            publish_time: Some(encode::timestamp(listing.published_at)),
        }),
        create_time: Some(encode::timestamp(listing.created_at)),
    }
}

fn tool(tool: Tool) -> wire::Tool {
    let side_effect = match tool.side_effect {
        SideEffect::None => wire::SideEffect::None,
        SideEffect::Read => wire::SideEffect::Read,
        SideEffect::Propose => wire::SideEffect::Propose,
        SideEffect::Write => wire::SideEffect::Write,
    };
    wire::Tool {
        name: tool.name,
        description: tool.description,
        side_effect: side_effect.into(),
        approval_required: tool.approval_required,
        placements: tool.placements.unwrap_or_default(),
    }
}

fn permissions(permissions: Permissions) -> wire::Permissions {
    wire::Permissions { scopes: permissions.scopes, egress_hosts: permissions.egress_hosts }
}

fn price(price: Price) -> wire::Price {
    let (model, amount) = match price {
        Price::Free => (wire::PriceModel::Free, Money::new(0, Currency::Zar)),
    };
    wire::Price { model: model.into(), amount: Some(encode::money(amount)) }
}

fn installation(installation: Installation) -> wire::Installation {
    wire::Installation {
        id: installation.id.to_string(),
        organization_id: installation.organization.to_string(),
        listing_id: installation.listing.to_string(),
        slug: installation.slug,
        name: installation.name,
        version: installation.version.to_string(),
        digest: installation.digest.to_string(),
        installed_by_account_id: installation
            .installed_by
            .map(|account| account.to_string())
            .unwrap_or_default(),
        install_time: Some(encode::timestamp(installation.installed_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_has_its_place_on_the_wire() {
        for number in 1..=10 {
            let found = category(number).unwrap().unwrap();
            let on_wire = wire::Category::try_from(number).unwrap().as_str_name();
            assert_eq!(on_wire, format!("CATEGORY_{}", found.as_str().to_uppercase()));
        }
        assert_eq!(category(0).unwrap(), None);
        for unknown in [-1, 11] {
            assert_eq!(category(unknown).unwrap_err().as_slice()[0].field, "category");
        }
    }
}
