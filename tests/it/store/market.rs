//! The marketplace over real databases.

use std::time::Duration;

use capecontrol::auth::{self, Caller, Origin};
use capecontrol::base::Timestamp;
use capecontrol::base::fault::{Fault as _, NOT_FOUND};
use capecontrol::db::{self, Conn as _, Json, Scope};
use capecontrol::idempotency::{IDEMPOTENCY_KEY_REUSED, RequestKey};
use capecontrol::market::error::{ALREADY_INSTALLED, Error};
use capecontrol::market::manifest::Category;
use capecontrol::market::service::{InstallListing, ListInstallations, ListListings};
use capecontrol::market::{Installation, ListingId, Manifest, Service, store};

use crate::support::{Fixture, audit_log, on_both, somebody};

/// The catalogue in its order.
const SLUGS: [&str; 6] = ["content", "developer", "finance", "guide", "onboarding", "support"];

fn service(t: &Fixture) -> Service {
    Service::new(t.db.clone(), t.world.clone(), audit_log(&t.world))
}

async fn listing_id(t: &Fixture, slug: &str) -> ListingId {
    let query = ListListings { category: None, after: None, limit: 100 };
    let all = service(t).list_listings(&Caller::system("test"), query).await.unwrap();
    all.iter().find(|listing| listing.manifest.slug == slug).unwrap().id
}

fn install(listing: ListingId) -> InstallListing {
    InstallListing { organization: None, listing }
}

fn key(number: u128, body: u8) -> RequestKey {
    RequestKey { method: "install".into(), key: uuid::Uuid::from_u128(number), body_hash: [body; 32] }
}

on_both! {
    async fn the_seeded_manifests_are_valid_and_their_digests_right(t: Fixture) {
        let mut session = t.db.conn(Scope::System("test")).await.unwrap();
        let listings = store::listings(&mut session, "", 100).await.unwrap();
        assert_eq!(listings.iter().map(|listing| listing.manifest.slug.as_str()).collect::<Vec<_>>(), SLUGS);
        for listing in listings {
            let slug = &listing.manifest.slug;
            assert_eq!(listing.manifest.validate(), Ok(()), "{slug}");
            assert_eq!(listing.manifest.digest(), listing.digest, "{slug}");
            assert!(listing.manifest.instructions.len() > 400, "{slug} has real instructions");
            let categories: Vec<(Category,)> = session
                .shared_sql("SELECT category FROM listing_categories WHERE listing_id = $1 ORDER BY category")
                .bind(listing.id)
                .all()
                .await
                .unwrap();
            let mut named = listing.manifest.categories.clone();
            named.sort_by_key(|category| category.as_str());
            assert_eq!(categories.into_iter().map(|(category,)| category).collect::<Vec<_>>(), named, "{slug}");
        }
    }

    async fn a_published_version_cannot_be_changed_or_deleted(t: Fixture) {
        for text in ["UPDATE listing_versions SET version = '9.9.9'", "DELETE FROM listing_versions"] {
            let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
            let refused = tx.shared_sql(text).execute().await.unwrap_err();
            assert!(refused.violates("listing_versions_immutable"), "{text}: {refused:?}");
        }
    }

    async fn the_catalogue_is_read_page_by_page(t: Fixture) {
        let (service, nobody) = (service(&t), Caller::system("test"));
        let mut after = None;
        let mut slugs = Vec::new();
        loop {
            let query = ListListings { category: None, after: after.take(), limit: 4 };
            let page = service.list_listings(&nobody, query).await.unwrap();
            if page.is_empty() {
                break;
            }
            slugs.extend(page.into_iter().map(|listing| listing.manifest.slug));
            after = slugs.last().cloned();
        }
        assert_eq!(slugs, SLUGS);
    }

    async fn the_catalogue_is_filtered_by_category(t: Fixture) {
        let service = service(&t);
        let mut found = Vec::new();
        for category in [Category::AiAssistant, Category::Development, Category::Security] {
            let query = ListListings { category: Some(category), after: None, limit: 10 };
            let page = service.list_listings(&Caller::system("test"), query).await.unwrap();
            found.push(page.into_iter().map(|listing| listing.manifest.slug).collect::<Vec<_>>());
        }
        assert_eq!(found, [vec!["guide", "onboarding", "support"], vec!["developer"], vec![]]);
        let query = ListListings { category: Some(Category::AiAssistant), after: Some("guide".into()), limit: 1 };
        let page = service.list_listings(&Caller::system("test"), query).await.unwrap();
        assert_eq!(page.iter().map(|listing| listing.manifest.slug.as_str()).collect::<Vec<_>>(), ["onboarding"]);
    }

    async fn an_installed_agent_can_be_addressed_by_its_organisation_only(t: Fixture) {
        let (ada, eve) = (somebody(&t, "ada@example.com").await, somebody(&t, "eve@example.com").await);
        let guide = listing_id(&t, "guide").await;
        let installation = service(&t).install_listing(&ada, install(guide), None).await.unwrap();
        assert_eq!((installation.slug.as_str(), installation.installed_by), ("guide", ada.account));
        assert_eq!(installation.version.to_string(), "1.0.0");

        let organization = ada.personal.unwrap();
        let mut session = t.db.conn(Scope::Organization(organization)).await.unwrap();
        let agent = store::installed(&mut session, organization, guide).await.unwrap().unwrap();
        assert_eq!((agent.listing_id, agent.slug.as_str()), (guide, "guide"));
        assert!(agent.instructions.starts_with("You are the CapeControl guide."));
        let support = listing_id(&t, "support").await;
        assert_eq!(store::installed(&mut session, organization, support).await.unwrap(), None);
        drop(session);

        let other = eve.personal.unwrap();
        let mut session = t.db.conn(Scope::Organization(other)).await.unwrap();
        assert_eq!(store::installed(&mut session, other, guide).await.unwrap(), None);
    }

    async fn an_installation_keeps_its_version_when_a_newer_one_is_published(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let organization = ada.personal.unwrap();
        let guide = listing_id(&t, "guide").await;
        let before = service(&t).install_listing(&ada, install(guide), None).await.unwrap();
        let newer = publish(&t, guide, "1.1.0", "Hello again.").await;

        let shown = service(&t).get_listing(&ada, guide).await.unwrap();
        assert_eq!((shown.manifest.version, shown.digest), (newer.version, newer.digest()));
        let query = ListInstallations { organization: None, after: None, limit: 10 };
        assert_eq!(service(&t).list_installations(&ada, query).await.unwrap(), std::slice::from_ref(&before));
        let mut session = t.db.conn(Scope::Organization(organization)).await.unwrap();
        let agent = store::installed(&mut session, organization, guide).await.unwrap().unwrap();
        assert_eq!(agent.version, before.version);
        assert_ne!(agent.greeting, "Hello again.");
    }

    async fn installing_twice_names_the_installation_that_is_there(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let guide = listing_id(&t, "guide").await;
        let first = service(&t).install_listing(&ada, install(guide), None).await.unwrap();
        let refused = service(&t).install_listing(&ada, install(guide), None).await.unwrap_err();
        assert_eq!(refused.reason(), &ALREADY_INSTALLED);
        assert_eq!(refused.resource(), Some(("installation", first.id.to_string())));
    }

    async fn a_repetition_gets_the_first_answer(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let guide = listing_id(&t, "guide").await;
        let first = service(&t).install_listing(&ada, install(guide), Some(&key(1, 1))).await.unwrap();
        t.clock.advance(Duration::from_mins(1));
        let again = service(&t).install_listing(&ada, install(guide), Some(&key(1, 1))).await.unwrap();
        assert_eq!(again, first);
        let other = service(&t).install_listing(&ada, install(guide), Some(&key(1, 2))).await.unwrap_err();
        assert_eq!(other.reason(), &IDEMPOTENCY_KEY_REUSED);
        let new = service(&t).install_listing(&ada, install(guide), Some(&key(2, 1))).await.unwrap_err();
        assert_eq!(new.reason(), &ALREADY_INSTALLED);
    }

    async fn many_at_once_install_once(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let guide = listing_id(&t, "guide").await;
        let service = service(&t);
        let calls = (0..8).map(|_| service.install_listing(&ada, install(guide), None));
        let outcomes = futures_util::future::join_all(calls).await;
        let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), refused.len()), (1, 7));
        let id = done.into_iter().next().unwrap().unwrap().id;
        for error in refused {
            assert!(matches!(error.unwrap_err(), Error::AlreadyInstalled(there) if there == id));
        }
    }

    async fn an_unknown_listing_is_not_found_and_nothing_is_kept(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let unknown: ListingId = t.world.id();
        for key in [None, Some(&key(1, 1))] {
            let refused = service(&t).install_listing(&ada, install(unknown), key).await.unwrap_err();
            assert_eq!((refused.reason(), refused.resource()), (&NOT_FOUND, Some(("listing", unknown.to_string()))));
        }
        let refused = service(&t).get_listing(&ada, unknown).await.unwrap_err();
        assert_eq!(refused.reason(), &NOT_FOUND);
        let mut session = t.db.conn(Scope::System("test")).await.unwrap();
        let rows: (i64,) = session.shared_sql("SELECT count(*) FROM idempotency_keys").one().await.unwrap();
        assert_eq!(rows, (0,));
    }

    async fn a_foreign_organisation_is_as_one_that_does_not_exist(t: Fixture) {
        let (ada, eve) = (somebody(&t, "ada@example.com").await, somebody(&t, "eve@example.com").await);
        let guide = listing_id(&t, "guide").await;
        let mut answers = std::collections::BTreeSet::new();
        for organization in [eve.personal, Some(t.world.id())] {
            let command = InstallListing { organization, listing: guide };
            let refused = service(&t).install_listing(&ada, command, None).await.unwrap_err();
            let query = ListInstallations { organization, after: None, limit: 10 };
            let unseen = service(&t).list_installations(&ada, query).await.unwrap_err();
            for error in [refused, unseen] {
                assert_eq!(error.reason(), &NOT_FOUND);
                assert_eq!(error.resource(), None);
                answers.insert(error.to_string());
            }
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
    }

    async fn nobody_cannot_install(t: Fixture) {
        let guide = listing_id(&t, "guide").await;
        let nobody = Caller::anonymous(Origin::default());
        let refused = service(&t).install_listing(&nobody, install(guide), None).await.unwrap_err();
        assert!(matches!(refused, Error::Auth(auth::Error::Unauthenticated)));
    }

    async fn installations_are_listed_newest_first_page_by_page(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let mut made = Vec::new();
        for slug in ["support", "guide", "finance"] {
            t.clock.advance(Duration::from_secs(1));
            let listing = listing_id(&t, slug).await;
            made.push(service(&t).install_listing(&ada, install(listing), None).await.unwrap());
        }
        made.reverse();
        let page = |after: Option<&Installation>| {
            let query = ListInstallations { organization: None, after: after.map(|last| last.id), limit: 2 };
            let (service, ada) = (service(&t), ada.clone());
            async move { service.list_installations(&ada, query).await.unwrap() }
        };
        let first = page(None).await;
        let (newest, oldest) = made.split_at(2);
        assert_eq!(first, newest);
        assert_eq!(page(first.last()).await, oldest);
    }

    async fn installations_go_with_their_organisation_and_outlive_their_installer(t: Fixture) {
        let ada = somebody(&t, "ada@example.com").await;
        let guide = listing_id(&t, "guide").await;
        service(&t).install_listing(&ada, install(guide), None).await.unwrap();
        let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
        tx.sql("UPDATE organizations SET personal_account_id = NULL").execute().await.unwrap();
        tx.shared_sql("DELETE FROM accounts").execute().await.unwrap();
        let kept: (Option<capecontrol::base::AccountId>,) =
            tx.sql("SELECT installed_by FROM installations").one().await.unwrap();
        assert_eq!(kept, (None,));
        tx.sql("DELETE FROM organizations").execute().await.unwrap();
        let left: (i64,) = tx.sql("SELECT count(*) FROM installations").one().await.unwrap();
        assert_eq!(left, (0,));
    }
}

/// Publishes a further version of a listing.
async fn publish(t: &Fixture, listing: ListingId, version: &str, greeting: &str) -> Manifest {
    let mut tx = t.db.begin(Scope::System("test")).await.unwrap();
    let mut manifest = store::listing(&mut tx, listing).await.unwrap().unwrap().manifest;
    version.parse().map(|version| manifest.version = version).unwrap();
    greeting.clone_into(&mut manifest.greeting);
    insert_version(&mut tx, listing, &manifest, t.world.now()).await.unwrap();
    tx.shared_sql("UPDATE listings SET current_version = $2 WHERE id = $1")
        .bind(listing)
        .bind(version.to_owned())
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    manifest
}

async fn insert_version(
    tx: &mut db::Tx,
    listing: ListingId,
    manifest: &Manifest,
    at: Timestamp,
) -> Result<u64, db::Error> {
    tx.shared_sql(
        "INSERT INTO listing_versions (listing_id, version, manifest, digest, published_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(listing)
    .bind(manifest.version.to_string())
    .bind(Json(manifest.clone()))
    .bind(manifest.digest().as_bytes().to_vec())
    .bind(at)
    .execute()
    .await
}
