//! What an account's owner says of themselves, and how it is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{Violations, text};

/// Longest name to show, in characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 100;
const BIO_CHARS_MAX: usize = 2_000;
const COMPANY_CHARS_MAX: usize = 100;
const WEBSITE_CHARS_MAX: usize = 500;
const TAGS_MAX: usize = 30;
const TAG_CHARS_MAX: usize = 50;
const PREFERENCES_MAX: usize = 50;
const PREFERENCE_KEY_BYTES_MAX: usize = 64;
const PREFERENCE_VALUE_CHARS_MAX: usize = 500;

/// What an account's owner says of themselves.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name to show.
    pub display_name: String,
    /// A text about the person.
    pub bio: String,
    /// Where the person works.
    pub company: String,
    /// An `http` or `https` address.
    pub website: String,
    /// What the person can do.
    pub skills: Vec<String>,
    /// What the person cares for.
    pub interests: Vec<String>,
    /// Settings of clients, by key; the platform does not read them.
    pub preferences: BTreeMap<String, String>,
}

/// Nothing of a person reaches a log by being printed.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").finish_non_exhaustive()
    }
}

/// The fields of a profile, by their names in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    DisplayName,
    Bio,
    Company,
    Website,
    Skills,
    Interests,
    Preferences,
}

const FIELDS: [(&str, Field); 7] = [
    ("display_name", Field::DisplayName),
    ("bio", Field::Bio),
    ("company", Field::Company),
    ("website", Field::Website),
    ("skills", Field::Skills),
    ("interests", Field::Interests),
    ("preferences", Field::Preferences),
];

/// A change of some fields of a profile, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    fields: BTreeSet<Field>,
    profile: Profile,
}

impl Change {
    /// Reads a change: the fields that `mask` names (`*` for all; none named means those that are filled in) take what
    /// `profile` says.
    ///
    /// # Errors
    /// Everything that is wrong with the mask and with the fields it names.
    pub fn new(mask: &[String], profile: Profile) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        let fields = if mask.is_empty() { filled(&profile) } else { named(&mut violations, mask) };
        let profile = checked(&mut violations, &fields, profile);
        violations.finish()?;
        Ok(Self { fields, profile })
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// `profile` after the change.
    #[must_use]
    pub fn applied_to(&self, mut profile: Profile) -> Profile {
        let new = self.profile.clone();
        for field in &self.fields {
            match field {
                Field::DisplayName => profile.display_name.clone_from(&new.display_name),
                Field::Bio => profile.bio.clone_from(&new.bio),
                Field::Company => profile.company.clone_from(&new.company),
                Field::Website => profile.website.clone_from(&new.website),
                Field::Skills => profile.skills.clone_from(&new.skills),
                Field::Interests => profile.interests.clone_from(&new.interests),
                Field::Preferences => profile.preferences.clone_from(&new.preferences),
            }
        }
        profile
    }
}

/// Checks a name to show, wherever it is given.
pub fn display_name(violations: &mut Violations, field: &'static str, name: &str) -> String {
    text::line(violations, field, name, DISPLAY_NAME_CHARS_MAX)
}

fn filled(profile: &Profile) -> BTreeSet<Field> {
    let is_filled = |field: Field| match field {
        Field::DisplayName => !profile.display_name.is_empty(),
        Field::Bio => !profile.bio.is_empty(),
        Field::Company => !profile.company.is_empty(),
        Field::Website => !profile.website.is_empty(),
        Field::Skills => !profile.skills.is_empty(),
        Field::Interests => !profile.interests.is_empty(),
        Field::Preferences => !profile.preferences.is_empty(),
    };
    FIELDS.iter().map(|(_, field)| *field).filter(|field| is_filled(*field)).collect()
}

fn named(violations: &mut Violations, mask: &[String]) -> BTreeSet<Field> {
    let mut fields = BTreeSet::new();
    for path in mask {
        if path == "*" {
            fields.extend(FIELDS.iter().map(|(_, field)| *field));
        } else if let Some((_, field)) = FIELDS.iter().find(|(name, _)| name == path) {
            fields.insert(*field);
        } else {
            let path: String = path.chars().take(64).collect();
            let says = format!("names `{path}`, which is not a field that can be changed");
            violations.add_hostile("update_mask", says);
        }
    }
    fields
}

/// Checks what changes, and only that: a field outside the mask is not looked at.
fn checked(violations: &mut Violations, fields: &BTreeSet<Field>, given: Profile) -> Profile {
    let mut profile = Profile::default();
    for field in fields {
        match field {
            Field::DisplayName => {
                profile.display_name = display_name(violations, "account.display_name", &given.display_name);
            }
            Field::Bio => {
                let bio = text::paragraphs(violations, "account.bio", &given.bio, BIO_CHARS_MAX);
                profile.bio = bio;
            }
            Field::Company => {
                profile.company =
                    text::optional_line(violations, "account.company", &given.company, COMPANY_CHARS_MAX);
            }
            Field::Website => profile.website = website(violations, &given.website),
            Field::Skills => profile.skills = tags(violations, "account.skills", &given.skills),
            Field::Interests => profile.interests = tags(violations, "account.interests", &given.interests),
            Field::Preferences => profile.preferences = preferences(violations, &given.preferences),
        }
    }
    profile
}

fn website(violations: &mut Violations, given: &str) -> String {
    const FIELD: &str = "account.website";
    let address = text::optional_line(violations, FIELD, given, WEBSITE_CHARS_MAX);
    let is_web = |uri: &http::Uri| {
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        matches!(scheme, Some("http" | "https"))
            && authority.is_some_and(|it| !it.host().is_empty() && !it.as_str().contains('@'))
    };
    let sound = address.is_empty() || address.parse().is_ok_and(|uri| is_web(&uri));
    violations.check(sound, FIELD, "must be an address such as https://example.com");
    address
}

fn tags(violations: &mut Violations, field: &'static str, given: &[String]) -> Vec<String> {
    if given.len() > TAGS_MAX {
        violations.add_hostile(field, format!("must have at most {TAGS_MAX} entries"));
        return Vec::new();
    }
    let mut tags: Vec<String> = Vec::with_capacity(given.len());
    for (index, tag) in given.iter().enumerate() {
        let mut own = Violations::new();
        let tag = text::line(&mut own, field, tag, TAG_CHARS_MAX);
        violations.take_over(&format!("{field}[{index}]"), own);
        // Saying a thing twice is no mistake worth an error.
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn preferences(violations: &mut Violations, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    const FIELD: &str = "account.preferences";
    if given.len() > PREFERENCES_MAX {
        violations.add_hostile(FIELD, format!("must have at most {PREFERENCES_MAX} entries"));
    }
    let key_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    for (key, value) in given.iter().take(PREFERENCES_MAX) {
        if !(1..=PREFERENCE_KEY_BYTES_MAX).contains(&key.len()) || !key.chars().all(key_char) {
            let shown: String = key.chars().take(PREFERENCE_KEY_BYTES_MAX).collect();
            violations.add(
                FIELD,
                format!("has the key `{shown}`: keys are 1 to 64 letters, digits, `.`, `_` or `-`"),
            );
        } else if value.chars().nth(PREFERENCE_VALUE_CHARS_MAX).is_some() || value.contains('\0') {
            violations.add_hostile(
                format!("{FIELD}[\"{key}\"]"),
                format!("must have at most {PREFERENCE_VALUE_CHARS_MAX} characters, none of them NUL"),
            );
        }
    }
    given.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Profile {
        Profile { display_name: "Ada".to_owned(), bio: "Counts.".to_owned(), ..Profile::default() }
    }

    fn mask(fields: &[&str]) -> Vec<String> {
        fields.iter().map(|&field| field.to_owned()).collect()
    }

    #[test]
    fn only_the_fields_of_the_mask_change() {
        let given = Profile { company: "Engines".to_owned(), bio: "Other".to_owned(), ..Profile::default() };
        let change = Change::new(&mask(&["company"]), given).unwrap();
        let changed = change.applied_to(ada());
        assert_eq!((changed.company.as_str(), changed.bio.as_str()), ("Engines", "Counts."));
    }

    #[test]
    fn a_field_of_the_mask_that_is_empty_is_cleared() {
        let change = Change::new(&mask(&["bio"]), Profile::default()).unwrap();
        assert_eq!(change.applied_to(ada()).bio, "");
    }

    #[test]
    fn without_a_mask_the_filled_fields_change() {
        let given = Profile { bio: "New".to_owned(), ..Profile::default() };
        let changed = Change::new(&[], given).unwrap().applied_to(ada());
        assert_eq!((changed.display_name.as_str(), changed.bio.as_str()), ("Ada", "New"));
        assert!(Change::new(&[], Profile::default()).unwrap().is_empty());
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let given = Profile {
            display_name: " ".to_owned(),
            bio: "b".repeat(BIO_CHARS_MAX + 1),
            company: "two\nlines".to_owned(),
            website: "javascript:alert(1)".to_owned(),
            skills: vec!["fine".to_owned(), String::new()],
            interests: vec!["x".to_owned(); TAGS_MAX + 1],
            preferences: BTreeMap::from([("a key".to_owned(), "v".to_owned())]),
        };
        let violations = Change::new(&mask(&["*", "role", "email"]), given).unwrap_err();
        let fields: Vec<_> = violations.as_slice().iter().map(|v| v.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "update_mask",
                "update_mask",
                "account.display_name",
                "account.bio",
                "account.company",
                "account.website",
                "account.skills[1]",
                "account.interests",
                "account.preferences",
            ]
        );
    }

    #[test]
    fn websites_are_web_addresses() {
        let website =
            |text: &str| Change::new(&mask(&["website"]), Profile { website: text.to_owned(), ..ada() });
        for good in ["", "https://example.com", "http://example.com:8080/a?b=c"] {
            assert!(website(good).is_ok(), "{good}");
        }
        for bad in
            ["example.com", "ftp://example.com", "https://", "https://ada:pw@example.com", "data:text/html,x"]
        {
            assert!(website(bad).is_err(), "{bad}");
        }
    }
}
