//! The marketplace's tables. The catalogue belongs to no tenant; installations belong to an organisation.

use super::manifest::{Category, Manifest};
use super::model::{Digest, Installation, InstallationId, InstalledAgent, Listing, ListingId};
use crate::base::{AccountId, Id, OrganizationId, Timestamp};
use crate::db::{self, Conn, Json, Tx};

/// The order of installations begins after this: ids sort by the time they were made, and the list by them, downwards.
const AFTER_ALL: InstallationId = Id::from_uuid(uuid::Uuid::max());

#[derive(db::Row)]
struct ListingRow {
    id: ListingId,
    manifest: Json<Manifest>,
    digest: Vec<u8>,
    published_at: Timestamp,
    created_at: Timestamp,
}

#[derive(db::Row)]
struct InstallationRow {
    id: InstallationId,
    organization_id: OrganizationId,
    listing_id: ListingId,
    manifest: Json<Manifest>,
    digest: Vec<u8>,
    installed_by: Option<AccountId>,
    installed_at: Timestamp,
}

/// The listings after the slug `after` (empty: from the start), in the order of their slugs, at most `limit`.
pub async fn listings(conn: &mut impl Conn, after: &str, limit: i64) -> Result<Vec<Listing>, db::Error> {
    let rows = conn
        .shared_sql(
            "SELECT l.id, v.manifest, v.digest, v.published_at, l.created_at
             FROM listings l
             JOIN listing_versions v ON v.listing_id = l.id AND v.version = l.current_version
             WHERE l.slug > $1
             ORDER BY l.slug
             LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .all::<ListingRow>()
        .await?;
    Ok(rows.into_iter().map(Listing::from).collect())
}

/// As [`listings`], of one category.
pub async fn listings_of(
    conn: &mut impl Conn,
    category: Category,
    after: &str,
    limit: i64,
) -> Result<Vec<Listing>, db::Error> {
    let rows = conn
        .shared_sql(
            "SELECT l.id, v.manifest, v.digest, v.published_at, l.created_at
             FROM listing_categories c
             JOIN listings l ON l.id = c.listing_id
             JOIN listing_versions v ON v.listing_id = l.id AND v.version = l.current_version
             WHERE c.category = $1 AND l.slug > $2
             ORDER BY l.slug
             LIMIT $3",
        )
        .bind(category)
        .bind(after)
        .bind(limit)
        .all::<ListingRow>()
        .await?;
    Ok(rows.into_iter().map(Listing::from).collect())
}

/// One listing.
pub async fn listing(conn: &mut impl Conn, id: ListingId) -> Result<Option<Listing>, db::Error> {
    let row = conn
        .shared_sql(
            "SELECT l.id, v.manifest, v.digest, v.published_at, l.created_at
             FROM listings l
             JOIN listing_versions v ON v.listing_id = l.id AND v.version = l.current_version
             WHERE l.id = $1",
        )
        .bind(id)
        .optional::<ListingRow>()
        .await?;
    Ok(row.map(Listing::from))
}

/// Stores an installation; false when the organisation has the listing already.
pub async fn insert(tx: &mut Tx, installation: &Installation) -> Result<bool, db::Error> {
    let inserted = tx
        .sql(
            "INSERT INTO installations (id, organization_id, listing_id, version, installed_by, installed_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (organization_id, listing_id) DO NOTHING",
        )
        .bind(installation.id)
        .bind(installation.organization)
        .bind(installation.listing)
        .bind(installation.version.to_string())
        .bind(installation.installed_by)
        .bind(installation.installed_at)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// The id of the organisation's installation of a listing.
pub async fn installation_of(
    conn: &mut impl Conn,
    organization: OrganizationId,
    listing: ListingId,
) -> Result<Option<InstallationId>, db::Error> {
    let row: Option<(InstallationId,)> = conn
        .sql("SELECT id FROM installations WHERE organization_id = $1 AND listing_id = $2")
        .bind(organization)
        .bind(listing)
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// The organisation's installations made before `after` (none: from the newest), the newest first, at most `limit`.
pub async fn installations(
    conn: &mut impl Conn,
    organization: OrganizationId,
    after: Option<InstallationId>,
    limit: i64,
) -> Result<Vec<Installation>, db::Error> {
    let rows = conn
        .sql(
            "SELECT i.id, i.organization_id, i.listing_id, v.manifest, v.digest, i.installed_by, i.installed_at
             FROM installations i
             JOIN listing_versions v ON v.listing_id = i.listing_id AND v.version = i.version
             WHERE i.organization_id = $1 AND i.id < $2
             ORDER BY i.id DESC
             LIMIT $3",
        )
        .bind(organization)
        .bind(after.unwrap_or(AFTER_ALL))
        .bind(limit)
        .all::<InstallationRow>()
        .await?;
    Ok(rows.into_iter().map(Installation::from).collect())
}

/// The agent behind a listing, if the organisation has installed it: in the version that the installation pins.
pub async fn installed(
    conn: &mut impl Conn,
    organization: OrganizationId,
    listing: ListingId,
) -> Result<Option<InstalledAgent>, db::Error> {
    let row: Option<(Json<Manifest>,)> = conn
        .sql(
            "SELECT v.manifest
             FROM installations i
             JOIN listing_versions v ON v.listing_id = i.listing_id AND v.version = i.version
             WHERE i.organization_id = $1 AND i.listing_id = $2",
        )
        .bind(organization)
        .bind(listing)
        .optional()
        .await?;
    Ok(row.map(|(Json(manifest),)| InstalledAgent::new(listing, manifest)))
}

impl From<ListingRow> for Listing {
    fn from(row: ListingRow) -> Self {
        Self {
            id: row.id,
            manifest: row.manifest.0,
            digest: digest(row.digest),
            published_at: row.published_at,
            created_at: row.created_at,
        }
    }
}

impl From<InstallationRow> for Installation {
    fn from(row: InstallationRow) -> Self {
        let Json(manifest) = row.manifest;
        Self {
            id: row.id,
            organization: row.organization_id,
            listing: row.listing_id,
            slug: manifest.slug,
            name: manifest.name,
            version: manifest.version,
            digest: digest(row.digest),
            installed_by: row.installed_by,
            installed_at: row.installed_at,
        }
    }
}

/// The table's check holds the length at 32 bytes; what is not would match no manifest.
fn digest(bytes: Vec<u8>) -> Digest {
    Digest::new(bytes.try_into().unwrap_or_default())
}
