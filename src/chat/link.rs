//! Links to attachments: signed, short-lived, and good for one variant of one attachment.
//!
//! Whoever has a link may use it until it expires. What it leads to is looked at each time: a file that was taken away,
//! or found to do harm, is not given out by any link.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::model::attachment::{AttachmentId, Variant};
use crate::base::{Id, OrganizationId, Secret, Timestamp};
use crate::keyring::{RootKey, mac};

/// What the root key signs links with.
const PURPOSE: &str = "attachment-links";
/// How much of the signature a link carries, in bytes.
const TAG_BYTES: usize = 16;
/// The organisation, the attachment, the variant and the time.
const BODY_BYTES: usize = 16 + 16 + 1 + 8;

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The attachment.
    pub attachment_id: AttachmentId,
    /// What of it.
    pub variant: Variant,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Makes links, and reads them.
#[derive(Clone, Debug)]
pub struct Links {
    key: Secret<[u8; 32]>,
    /// What a link begins with.
    base: String,
}

impl Links {
    /// Links below `public_url`, signed with a key that all nodes share.
    #[must_use]
    pub fn new(root: &RootKey, public_url: &str) -> Self {
        Self { key: root.derive(PURPOSE), base: format!("{public_url}/attachments/") }
    }

    /// The link to a target.
    #[must_use]
    pub fn url(&self, target: Target) -> String {
        let body = body(target);
        let token = URL_SAFE_NO_PAD.encode([self.tag(&body).as_slice(), &body].concat());
        format!("{}{token}", self.base)
    }

    /// What a token leads to at `now`; none when it was not made here, was changed, or has expired.
    #[must_use]
    pub fn open(&self, token: &str, now: Timestamp) -> Option<Target> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (tag, body) = bytes.split_first_chunk::<TAG_BYTES>()?;
        let expected = self.tag(body);
        let target = bool::from(tag.ct_eq(&expected)).then(|| read(body))??;
        (now < target.expires_at).then_some(target)
    }

    fn tag(&self, body: &[u8]) -> [u8; TAG_BYTES] {
        let whole = mac(self.key.expose(), &[body]);
        whole.first_chunk::<TAG_BYTES>().copied().unwrap_or_default()
    }
}

fn body(target: Target) -> Vec<u8> {
    let variant = match target.variant {
        Variant::Original => 0,
        Variant::Preview => 1,
    };
    let mut body = Vec::with_capacity(BODY_BYTES);
    body.extend(target.organization_id.uuid().as_bytes());
    body.extend(target.attachment_id.uuid().as_bytes());
    body.push(variant);
    body.extend(target.expires_at.as_micros().to_be_bytes());
    body
}

fn read(body: &[u8]) -> Option<Target> {
    let (organization, rest) = body.split_first_chunk::<16>()?;
    let (attachment, rest) = rest.split_first_chunk::<16>()?;
    let (variant, at) = rest.split_first()?;
    Some(Target {
        organization_id: Id::from_uuid(Uuid::from_bytes(*organization)),
        attachment_id: Id::from_uuid(Uuid::from_bytes(*attachment)),
        variant: match variant {
            0 => Variant::Original,
            1 => Variant::Preview,
            _ => return None,
        },
        expires_at: Timestamp::from_micros(i64::from_be_bytes(at.try_into().ok()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn target(variant: Variant) -> Target {
        Target {
            organization_id: Id::from_uuid(Uuid::from_u128(1)),
            attachment_id: Id::from_uuid(Uuid::from_u128(2)),
            variant,
            expires_at: Timestamp::from_seconds(1_300),
        }
    }

    fn links(key: u8) -> Links {
        Links::new(&RootKey::new([key; 32]), "https://cape.example")
    }

    fn token(url: &str) -> &str {
        url.strip_prefix("https://cape.example/attachments/").unwrap()
    }

    #[test]
    fn a_link_leads_to_one_variant_until_it_expires() {
        let links = links(1);
        for variant in [Variant::Original, Variant::Preview] {
            let url = links.url(target(variant));
            assert_eq!(links.open(token(&url), NOW), Some(target(variant)));
            assert_eq!(links.open(token(&url), Timestamp::from_seconds(1_299)), Some(target(variant)));
            assert_eq!(links.open(token(&url), Timestamp::from_seconds(1_300)), None);
        }
        assert_ne!(links.url(target(Variant::Original)), links.url(target(Variant::Preview)));
    }

    #[test]
    fn a_link_that_was_changed_leads_nowhere() {
        let (links, others) = (links(1), links(2));
        let url = links.url(target(Variant::Original));
        assert_eq!(others.open(token(&url), NOW), None);
        let bytes = URL_SAFE_NO_PAD.decode(token(&url)).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(links.open(&URL_SAFE_NO_PAD.encode(&changed), NOW), None, "byte {at}");
            assert_eq!(links.open(&URL_SAFE_NO_PAD.encode(&bytes[..at]), NOW), None, "{at} bytes");
        }
        for wrong in ["", "x", "../../etc/passwd", &"A".repeat(10_000)] {
            assert_eq!(links.open(wrong, NOW), None);
        }
    }
}
