//! Listings and installations, as values.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, Permissions, Tool, Version};
use crate::base::{AccountId, Id, OrganizationId, Timestamp};

/// The id of a listing.
pub type ListingId = Id<Listing>;
/// The id of an installation.
pub type InstallationId = Id<Installation>;

/// An agent on offer, in its current version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The listing's id.
    pub id: ListingId,
    /// What the agent is.
    pub manifest: Manifest,
    /// The manifest's digest, as it was stored when the version was published.
    pub digest: Digest,
    /// When the current version was published.
    pub published_at: Timestamp,
    /// When the listing was first published.
    pub created_at: Timestamp,
}

/// An agent that an organisation has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The installation's id.
    pub id: InstallationId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// Which listing was installed.
    pub listing: ListingId,
    /// The listing's slug.
    pub slug: String,
    /// What the agent is called.
    pub name: String,
    /// The pinned version.
    pub version: Version,
    /// The digest of the pinned version's manifest.
    pub digest: Digest,
    /// Who installed it; none when that account is gone.
    pub installed_by: Option<AccountId>,
    /// When it was installed.
    pub installed_at: Timestamp,
}

/// What others need in order to let an installed agent speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledAgent {
    /// The listing by which threads name the agent.
    pub listing_id: ListingId,
    /// The agent's slug.
    pub slug: String,
    /// What it is called.
    pub name: String,
    /// The pinned version.
    pub version: Version,
    /// Its system prompt.
    pub instructions: String,
    /// What it says first.
    pub greeting: String,
    /// Where it is meant to appear.
    pub placements: Vec<String>,
    /// What it may use.
    pub tools: Vec<Tool>,
    /// What the organisation granted it.
    pub permissions: Permissions,
}

impl InstalledAgent {
    /// The agent that a listing's pinned manifest describes.
    pub fn new(listing_id: ListingId, manifest: Manifest) -> Self {
        let Manifest { slug, name, version, instructions, greeting, placements, tools, permissions, .. } =
            manifest;
        Self { listing_id, slug, name, version, instructions, greeting, placements, tools, permissions }
    }
}

/// SHA-256 of a manifest in canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A digest from its bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_shown_in_hexadecimal() {
        let mut bytes = [0; 32];
        bytes[1] = 0xab;
        assert_eq!(Digest::new(bytes).to_string(), format!("00ab{}", "00".repeat(30)));
    }
}
