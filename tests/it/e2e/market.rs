//! The marketplace over a real socket.

use capecontrol::proto::capecontrol::marketplace::v1::marketplace_service_client::MarketplaceServiceClient;
use capecontrol::proto::capecontrol::marketplace::v1::{
    Category, GetListingRequest, InstallListingRequest, ListInstallationsRequest, ListListingsRequest,
    Listing, PriceModel,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{App, on_both};

fn first_page() -> ListListingsRequest {
    ListListingsRequest { category: 0, page_size: 0, page_token: String::new() }
}

/// The listing with this slug, as anybody sees it.
async fn listing(t: &App, slug: &str) -> Listing {
    let mut market = MarketplaceServiceClient::new(t.channel());
    let listings = market.list_listings(first_page()).await.unwrap().into_inner().listings;
    listings.into_iter().find(|listing| listing.slug == slug).unwrap()
}

fn install(listing: &Listing, request_id: u128) -> InstallListingRequest {
    InstallListingRequest {
        organization_id: String::new(),
        request_id: uuid::Uuid::from_u128(request_id).to_string(),
        listing_id: listing.id.clone(),
    }
}

fn installations(organization_id: &str) -> ListInstallationsRequest {
    ListInstallationsRequest {
        organization_id: organization_id.to_owned(),
        page_size: 0,
        page_token: String::new(),
    }
}

#[track_caller]
fn assert_refused(status: &Status, code: Code, reason: &str) {
    let details = status.get_error_details();
    assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (code, reason), "{status:?}");
}

#[track_caller]
fn assert_wrong_fields(status: &Status, fields: &[&str]) {
    assert_refused(status, Code::InvalidArgument, "INVALID_ARGUMENT");
    let details = status.get_error_details();
    let told = &details.bad_request().unwrap().field_violations;
    assert_eq!(told.iter().map(|wrong| wrong.field.as_str()).collect::<Vec<_>>(), fields);
}

on_both! {
    async fn the_catalogue_is_open_to_everybody(t: App) {
        let mut market = MarketplaceServiceClient::new(t.channel());
        let mut token = String::new();
        let mut slugs = Vec::new();
        loop {
            let request = ListListingsRequest { page_size: 4, page_token: token, ..first_page() };
            let page = market.list_listings(request).await.unwrap().into_inner();
            slugs.extend(page.listings.into_iter().map(|listing| listing.slug));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(slugs, ["content", "developer", "finance", "guide", "onboarding", "support"]);

        let guide = listing(&t, "guide").await;
        let request = GetListingRequest { listing_id: guide.id.clone() };
        let shown = market.get_listing(request).await.unwrap().into_inner().listing.unwrap();
        assert_eq!(shown, guide);
        assert_eq!(shown.name, "CapeControl guide");
        let version = shown.version.unwrap();
        assert_eq!((version.version.as_str(), version.digest.len()), ("1.0.0", 64));
        let price = shown.price.unwrap();
        assert_eq!(price.model(), PriceModel::Free);
        assert_eq!(price.amount.unwrap().currency_code, "ZAR");
    }

    async fn the_catalogue_is_filtered_by_category(t: App) {
        let mut market = MarketplaceServiceClient::new(t.channel());
        let request = ListListingsRequest { category: Category::Development.into(), ..first_page() };
        let page = market.list_listings(request).await.unwrap().into_inner();
        assert_eq!(page.listings.iter().map(|listing| listing.slug.as_str()).collect::<Vec<_>>(), ["developer"]);

        let request = ListListingsRequest { page_size: 1, category: Category::Productivity.into(), ..first_page() };
        let token = market.list_listings(request).await.unwrap().into_inner().next_page_token;
        let request = ListListingsRequest { page_size: 1, page_token: token, ..first_page() };
        let refused = market.list_listings(request).await.unwrap_err();
        assert_refused(&refused, Code::InvalidArgument, "PAGE_TOKEN_MISMATCH");
    }

    async fn what_cannot_be_read_in_the_catalogue_is_refused(t: App) {
        let mut market = MarketplaceServiceClient::new(t.channel());
        let refused = market.list_listings(ListListingsRequest { category: 99, ..first_page() }).await.unwrap_err();
        assert_wrong_fields(&refused, &["category"]);
        let refused = market.list_listings(ListListingsRequest { page_size: -1, ..first_page() }).await.unwrap_err();
        assert_wrong_fields(&refused, &["page_size"]);
        for wrong in ["", "guide", "0195b3a0000070008000000000000001"] {
            let request = GetListingRequest { listing_id: wrong.to_owned() };
            let refused = market.get_listing(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{wrong}");
        }
        let unknown = uuid::Uuid::from_u128(7).to_string();
        let refused = market.get_listing(GetListingRequest { listing_id: unknown.clone() }).await.unwrap_err();
        assert_refused(&refused, Code::NotFound, "NOT_FOUND");
        assert_eq!(refused.get_error_details().resource_info().unwrap().resource_name, unknown);
    }

    async fn an_agent_is_installed_once_and_listed(t: App) {
        let ada = t.register("ada@example.com").await;
        let guide = listing(&t, "guide").await;
        let mut market = ada.market();
        let made = market.install_listing(install(&guide, 1)).await.unwrap().into_inner().installation.unwrap();
        assert_eq!(made.organization_id, ada.organization_id.to_string());
        assert_eq!(made.installed_by_account_id, ada.account_id.to_string());
        assert_eq!((made.slug.as_str(), made.version.as_str()), ("guide", "1.0.0"));
        assert_eq!(made.digest, guide.version.as_ref().unwrap().digest);

        let again = market.install_listing(install(&guide, 1)).await.unwrap().into_inner().installation.unwrap();
        assert_eq!(again, made);
        let refused = market.install_listing(install(&guide, 2)).await.unwrap_err();
        assert_refused(&refused, Code::AlreadyExists, "ALREADY_INSTALLED");
        let resource = refused.get_error_details().resource_info().cloned().unwrap();
        assert_eq!((resource.resource_type.as_str(), &resource.resource_name), ("installation", &made.id));

        for organization_id in [String::new(), made.organization_id.clone()] {
            let list = market.list_installations(installations(&organization_id)).await.unwrap().into_inner();
            assert_eq!((list.installations.as_slice(), list.next_page_token.as_str()), ([made.clone()].as_slice(), ""));
        }
    }

    async fn installations_are_paged_newest_first(t: App) {
        let ada = t.register("ada@example.com").await;
        let mut market = ada.market();
        for (number, slug) in [(1, "guide"), (2, "support"), (3, "finance")] {
            t.clock.advance(std::time::Duration::from_secs(1));
            let listing = listing(&t, slug).await;
            market.install_listing(install(&listing, number)).await.unwrap();
        }
        let mut request = ListInstallationsRequest { page_size: 2, ..installations("") };
        let first = market.list_installations(request.clone()).await.unwrap().into_inner();
        request.page_token = first.next_page_token;
        let second = market.list_installations(request.clone()).await.unwrap().into_inner();
        assert_eq!(second.next_page_token, "");
        let slugs: Vec<_> = first.installations.into_iter().chain(second.installations).map(|row| row.slug).collect();
        assert_eq!(slugs, ["finance", "support", "guide"]);

        let eve = t.register("eve@example.com").await;
        let refused = eve.market().list_installations(request).await.unwrap_err();
        assert_refused(&refused, Code::InvalidArgument, "PAGE_TOKEN_MISMATCH");
    }

    async fn a_request_id_belongs_to_one_request(t: App) {
        let ada = t.register("ada@example.com").await;
        let (guide, support) = (listing(&t, "guide").await, listing(&t, "support").await);
        let mut market = ada.market();
        market.install_listing(install(&guide, 1)).await.unwrap();
        let refused = market.install_listing(install(&support, 1)).await.unwrap_err();
        assert_refused(&refused, Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
        let list = market.list_installations(installations("")).await.unwrap().into_inner();
        assert_eq!(list.installations.len(), 1);
    }

    async fn every_wrong_field_of_an_installation_is_named(t: App) {
        let ada = t.register("ada@example.com").await;
        let mut market = ada.market();
        let request = InstallListingRequest {
            organization_id: "mine".to_owned(),
            request_id: String::new(),
            listing_id: "guide".to_owned(),
        };
        let refused = market.install_listing(request).await.unwrap_err();
        assert_wrong_fields(&refused, &["organization_id", "listing_id"]);
        let refused = market.list_installations(installations("mine")).await.unwrap_err();
        assert_wrong_fields(&refused, &["organization_id"]);
        let mut request = install(&listing(&t, "guide").await, 1);
        request.listing_id = uuid::Uuid::from_u128(7).to_string();
        let refused = market.install_listing(request).await.unwrap_err();
        assert_refused(&refused, Code::NotFound, "NOT_FOUND");
    }

    async fn who_is_not_signed_in_has_no_installations(t: App) {
        let guide = listing(&t, "guide").await;
        let mut market = MarketplaceServiceClient::new(t.channel());
        let refused = market.install_listing(install(&guide, 1)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let refused = market.list_installations(installations("")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }

    async fn a_foreign_organisation_is_as_one_that_does_not_exist(t: App) {
        let (ada, eve) = (t.register("ada@example.com").await, t.register("eve@example.com").await);
        let guide = listing(&t, "guide").await;
        eve.market().install_listing(install(&guide, 1)).await.unwrap();
        let mut market = ada.market();
        let mut answers = std::collections::BTreeSet::new();
        for organization_id in [eve.organization_id.to_string(), uuid::Uuid::from_u128(7).to_string()] {
            let request = InstallListingRequest { organization_id: organization_id.clone(), ..install(&guide, 2) };
            let refused = market.install_listing(request).await.unwrap_err();
            assert_refused(&refused, Code::NotFound, "NOT_FOUND");
            let unseen = market.list_installations(installations(&organization_id)).await.unwrap_err();
            assert_refused(&unseen, Code::NotFound, "NOT_FOUND");
            for status in [refused, unseen] {
                answers.insert((status.message().to_owned(), status.details().to_vec()));
            }
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
}
