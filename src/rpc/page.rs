//! Pages of lists: opaque tokens that carry a place in the order, signed and bound to the caller and the question.
//!
//! A token grants nothing: what the caller may see is decided anew for each page. The binding only makes sure that a
//! token is used for the list that it came from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq as _;

use crate::auth::Caller;
use crate::base::Secret;
use crate::base::fault::{Code, Fault, Reason, Suspicion, Violation, Violations};
use crate::keyring::mac;

/// How many items a page has when the request does not say.
pub const SIZE_DEFAULT: i64 = 50;
/// How many items a page has at most; a larger wish gets this many.
pub const SIZE_MAX: i64 = 200;
/// How long a token may be, in characters.
const TOKEN_MAX: usize = 2_048;
/// How much of the signature a token carries, in bytes.
const TAG_BYTES: usize = 16;

/// Why a page is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The size makes no sense.
    #[error(transparent)]
    Size(#[from] Violations),
    /// The token is of another list or caller, or was changed.
    #[error("The page token does not belong to this list. Start again without a page token.")]
    Token,
}

/// A token was used for another list.
pub static PAGE_TOKEN_MISMATCH: Reason = Reason::new(
    Code::InvalidArgument,
    "PAGE_TOKEN_MISMATCH",
    "The page token was made for another caller, method, filter or order, or was changed; start from the first page.",
)
.suspected(Suspicion::Slight);

/// What this module answers.
pub static REASONS: &[&Reason] = &[&PAGE_TOKEN_MISMATCH];

impl Fault for Error {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::Size(violations) => violations.reason(),
            Self::Token => &PAGE_TOKEN_MISMATCH,
        }
    }
    fn violations(&self) -> &[Violation] {
        match self {
            Self::Size(violations) => violations.as_slice(),
            Self::Token => &[],
        }
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<C> {
    /// How many items at most, 1 to [`SIZE_MAX`].
    pub size: i64,
    /// Begin after this place; at the start when there is none.
    pub after: Option<C>,
}

impl<C> Page<C> {
    /// One more than [`Self::size`]: who reads so many rows knows whether another page follows.
    #[must_use]
    pub const fn probe(&self) -> i64 {
        self.size + 1
    }
}

/// Makes and reads page tokens.
#[derive(Clone)]
pub struct Pages {
    key: Secret<[u8; 32]>,
}

impl Pages {
    /// Tokens signed with this key, which all nodes share.
    #[must_use]
    pub const fn new(key: Secret<[u8; 32]>) -> Self {
        Self { key }
    }

    /// Reads the wish for a page. `question` is everything else that shapes the list: organisation, filter, order.
    ///
    /// # Errors
    /// When the size is negative, or the token does not belong here.
    pub fn open<C: DeserializeOwned>(
        &self,
        caller: &Caller,
        method: &str,
        question: &impl Serialize,
        page_size: i32,
        page_token: &str,
    ) -> Result<Page<C>, Error> {
        if page_size < 0 {
            return Err(Violations::one("page_size", "must not be negative").into());
        }
        let size = if page_size == 0 { SIZE_DEFAULT } else { i64::from(page_size).min(SIZE_MAX) };
        if page_token.is_empty() {
            return Ok(Page { size, after: None });
        }
        let cursor = self.read(caller, method, question, page_token).ok_or(Error::Token)?;
        Ok(Page { size, after: Some(cursor) })
    }

    /// The token for the page that begins after `cursor`.
    #[must_use]
    pub fn seal(
        &self,
        caller: &Caller,
        method: &str,
        question: &impl Serialize,
        cursor: &impl Serialize,
    ) -> String {
        // Cursors are small plain values; their JSON cannot fail.
        let cursor = serde_json::to_vec(cursor).unwrap_or_default();
        let tag = self.tag(caller, method, question, &cursor);
        let tag = tag.first_chunk::<TAG_BYTES>().map_or(&[][..], |tag| tag);
        URL_SAFE_NO_PAD.encode([tag, &cursor].concat())
    }

    /// Cuts rows that were read with [`Page::probe`] to the page's size, and makes the token of the next page, which is
    /// empty when this is the last.
    pub fn cut<R, C: Serialize>(
        &self,
        caller: &Caller,
        method: &str,
        question: &impl Serialize,
        size: i64,
        rows: &mut Vec<R>,
        cursor: impl Fn(&R) -> C,
    ) -> String {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if rows.len() <= size {
            return String::new();
        }
        rows.truncate(size);
        rows.last().map(|last| self.seal(caller, method, question, &cursor(last))).unwrap_or_default()
    }

    fn read<C: DeserializeOwned>(
        &self,
        caller: &Caller,
        method: &str,
        question: &impl Serialize,
        token: &str,
    ) -> Option<C> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (tag, cursor) = bytes.split_first_chunk::<TAG_BYTES>()?;
        let expected = self.tag(caller, method, question, cursor);
        let expected = expected.first_chunk::<TAG_BYTES>()?;
        bool::from(tag.ct_eq(expected)).then(|| serde_json::from_slice(cursor).ok()).flatten()
    }

    fn tag(&self, caller: &Caller, method: &str, question: &impl Serialize, cursor: &[u8]) -> [u8; 32] {
        let account = caller.account.map_or_else(|| "public".to_owned(), |account| account.to_string());
        let question = serde_json::to_vec(question).unwrap_or_default();
        let parts: [&[u8]; 4] = [account.as_bytes(), method.as_bytes(), &question, cursor];
        // Each part with its length, so that no two different lists of parts make the same bytes.
        let framed: Vec<u8> = parts
            .iter()
            .flat_map(|part| {
                let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes();
                length.into_iter().chain(part.iter().copied())
            })
            .collect();
        mac(self.key.expose(), &[&framed])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Origin;
    use crate::base::Id;
    use proptest::prelude::*;

    fn caller(account: u128) -> Caller {
        let mut caller = Caller::anonymous(Origin::default());
        caller.account = Some(Id::from_uuid(uuid::Uuid::from_u128(account)));
        caller
    }

    fn pages() -> Pages {
        Pages::new(Secret::new([3; 32]))
    }

    #[test]
    fn a_token_is_good_for_its_own_list_only() {
        let (pages, ada) = (pages(), caller(1));
        let token = pages.seal(&ada, "List", &"filter", &(7, "x"));
        let open = |caller: &Caller, method: &str, question: &str, token: &str| {
            pages.open::<(i64, String)>(caller, method, &question, 10, token)
        };
        assert_eq!(open(&ada, "List", "filter", &token).unwrap().after, Some((7, "x".to_owned())));
        assert!(open(&caller(2), "List", "filter", &token).is_err());
        assert!(open(&ada, "Other", "filter", &token).is_err());
        assert!(open(&ada, "List", "other", &token).is_err());
        assert!(
            Pages::new(Secret::new([4; 32]))
                .open::<(i64, String)>(&ada, "List", &"filter", 1, &token)
                .is_err()
        );
    }

    #[test]
    fn sizes_are_bounded_not_refused() {
        let size = |wish| pages().open::<i64>(&caller(1), "List", &(), wish, "").map(|page| page.size);
        assert_eq!(size(0).unwrap(), SIZE_DEFAULT);
        assert_eq!(size(7).unwrap(), 7);
        assert_eq!(size(i32::MAX).unwrap(), SIZE_MAX);
        assert_eq!(size(-1).unwrap_err().violations().len(), 1);
    }

    #[test]
    fn the_last_page_has_no_token() {
        let (pages, ada) = (pages(), caller(1));
        let mut rows = vec![1, 2];
        assert_eq!(pages.cut(&ada, "List", &(), 2, &mut rows, |row| *row), "");
        let mut rows = vec![1, 2, 3];
        let token = pages.cut(&ada, "List", &(), 2, &mut rows, |row| *row);
        assert_eq!(rows, [1, 2]);
        assert_eq!(pages.open::<i32>(&ada, "List", &(), 2, &token).unwrap().after, Some(2));
    }

    proptest! {
        #[test]
        fn any_other_text_is_refused(token in "[A-Za-z0-9_-]{1,80}") {
            prop_assert!(pages().open::<i64>(&caller(1), "List", &(), 1, &token).is_err());
        }
    }
}
