//! An agent's manifest, schema 1: what it is made of, what makes one valid, and its digest.
//!
//! docs/marketplace.md describes the fields for people who write manifests.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::model::Digest;
use crate::base::Violations;
use crate::base::text;
use crate::db;

/// The schema that this module knows.
pub const SCHEMA: u32 = 1;

const SLUG_CHARS: std::ops::RangeInclusive<usize> = 3..=64;
const NAME_CHARS_MAX: usize = 80;
const DESCRIPTION_CHARS_MAX: usize = 2_000;
const INSTRUCTIONS_CHARS_MAX: usize = 16_000;
const GREETING_CHARS_MAX: usize = 1_000;
const CATEGORIES_MAX: usize = 3;
const PLACEMENTS_MAX: usize = 8;
const TOOLS_MAX: usize = 32;
const SCOPES_MAX: usize = 32;
const EGRESS_HOSTS_MAX: usize = 16;
const HOST_CHARS_MAX: usize = 253;
const VERSION_CHARS_MAX: usize = 20;

/// What an agent is, in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The manifest's own schema: [`SCHEMA`].
    pub schema: u32,
    /// The short name.
    pub slug: String,
    /// What the agent is called.
    pub name: String,
    /// The agent's version.
    pub version: Version,
    /// What the agent does.
    pub description: String,
    /// What it is for.
    pub categories: Vec<Category>,
    /// Where it is meant to appear.
    pub placements: Vec<String>,
    /// The instructions that a model is given: the system prompt. Not shown in the catalogue.
    pub instructions: String,
    /// What it says first.
    pub greeting: String,
    /// What it may use.
    pub tools: Vec<Tool>,
    /// What it is granted by being installed.
    pub permissions: Permissions,
    /// What it costs.
    pub price: Price,
}

/// A tool that an agent may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// The tool's name, unique in the manifest.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its input.
    pub input_schema: Value,
    /// What using it does to the world.
    pub side_effect: SideEffect,
    /// Whether a person approves each use.
    pub approval_required: bool,
    /// In which of the agent's placements it may be used; in all of them when none are said. A manifest that does not
    /// say it has the digest that it always had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placements: Option<Vec<String>>,
}

impl Tool {
    /// Whether it may be used where an agent is met in this placement.
    #[must_use]
    pub fn is_used_in(&self, placement: &str) -> bool {
        self.placements.as_ref().is_none_or(|named| named.iter().any(|named| named == placement))
    }
}

/// What an organisation grants an agent by installing it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// What it may read and write on the platform.
    pub scopes: Vec<String>,
    /// Hosts outside that its tools may reach.
    pub egress_hosts: Vec<String>,
}

/// What an agent costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum Price {
    /// Nothing.
    Free,
}

db::words! {
    /// What using a tool does to the world.
    pub enum SideEffect {
        /// Nothing.
        None = "none",
        /// It reads.
        Read = "read",
        /// It prepares something that has no effect before a person carries it out by themselves.
        Propose = "propose",
        /// It changes something.
        Write = "write",
    }
}

db::words! {
    /// What an agent is for.
    pub enum Category {
        /// Does recurring work by itself.
        Automation = "automation",
        /// Reads figures and explains them.
        Analytics = "analytics",
        /// Connects other systems.
        Integration = "integration",
        /// Protects accounts and data.
        Security = "security",
        /// Helps people get their work done.
        Productivity = "productivity",
        /// Answers questions in conversation.
        AiAssistant = "ai_assistant",
        /// Leads through a process.
        Workflow = "workflow",
        /// Watches systems.
        Monitoring = "monitoring",
        /// Writes to people, or helps to.
        Communication = "communication",
        /// Helps developers.
        Development = "development",
    }
}

/// A semantic version without pre-release or build parts: `major.minor.patch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// A text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version of the form major.minor.patch")]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let number = |part: Option<&str>| {
            let part = part?;
            // One version has one spelling: no sign, no leading zero.
            let plain =
                part == "0" || (!part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()));
            part.parse().ok().filter(|_| plain)
        };
        let mut parts = text.split('.');
        let version = (number(parts.next()), number(parts.next()), number(parts.next()), parts.next());
        match version {
            (Some(major), Some(minor), Some(patch), None) if text.len() <= VERSION_CHARS_MAX => {
                Ok(Self { major, minor, patch })
            }
            _ => Err(NotAVersion),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl Manifest {
    /// Checks everything that the types leave open.
    ///
    /// # Errors
    /// All that is wrong, by field.
    pub fn validate(&self) -> Result<(), Violations> {
        let mut v = Violations::new();
        v.check(self.schema == SCHEMA, "schema", format!("must be {SCHEMA}"));
        let slug = SLUG_CHARS.contains(&self.slug.len()) && is_slug(&self.slug);
        v.check(slug, "slug", "must have 3 to 64 lower-case letters, digits and inner hyphens");
        text::line(&mut v, "name", &self.name, NAME_CHARS_MAX);
        prose(&mut v, "description", &self.description, DESCRIPTION_CHARS_MAX);
        prose(&mut v, "instructions", &self.instructions, INSTRUCTIONS_CHARS_MAX);
        prose(&mut v, "greeting", &self.greeting, GREETING_CHARS_MAX);
        let categories = 1..=CATEGORIES_MAX;
        v.check(
            categories.contains(&self.categories.len()),
            "categories",
            "must name one to three categories",
        );
        distinct(&mut v, "categories", &self.categories);
        let placements =
            self.placements.len() <= PLACEMENTS_MAX && self.placements.iter().all(|name| is_slug(name));
        v.check(placements && !self.placements.is_empty(), "placements", "must be 1 to 8 lower-case names");
        distinct(&mut v, "placements", &self.placements);
        self.validate_tools(&mut v);
        self.permissions.validate(&mut v);
        v.finish()
    }

    fn validate_tools(&self, v: &mut Violations) {
        v.check(self.tools.len() <= TOOLS_MAX, "tools", format!("must be at most {TOOLS_MAX}"));
        distinct(v, "tools", &self.tools.iter().map(|tool| &tool.name).collect::<Vec<_>>());
        for (index, tool) in self.tools.iter().enumerate() {
            let field = |name: &str| format!("tools[{index}].{name}");
            v.check(is_dotted(&tool.name), field("name"), "must be lower-case words joined by dots");
            v.check(!tool.description.trim().is_empty(), field("description"), "must not be empty");
            v.check(tool.input_schema.is_object(), field("input_schema"), "must be a JSON Schema object");
            v.check(is_exact(&tool.input_schema), field("input_schema"), "must not hold fractional numbers");
            let guarded = tool.approval_required || tool.side_effect != SideEffect::Write;
            v.check(guarded, field("approval_required"), "must be true for a tool that changes something");
            let placements = tool.placements.as_deref();
            let known = placements.is_none_or(|named| {
                !named.is_empty() && named.iter().all(|named| self.placements.contains(named))
            });
            v.check(
                known,
                field("placements"),
                "must be left out, or name some of the manifest's placements",
            );
            let unique =
                placements.is_none_or(|named| named.iter().collect::<BTreeSet<_>>().len() == named.len());
            v.check(unique, field("placements"), "must not repeat itself");
        }
    }

    /// The one spelling of this manifest: JSON with sorted keys, no white space and whole numbers (RFC 8785 for what a
    /// valid manifest can hold).
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        // A manifest is made of strings, numbers and lists, which always serialise.
        write_canonical(&serde_json::to_value(self).unwrap_or_default(), &mut text);
        text
    }

    /// SHA-256 of [`Self::canonical`].
    pub fn digest(&self) -> Digest {
        Digest::new(Sha256::digest(self.canonical()).into())
    }
}

impl Permissions {
    fn validate(&self, v: &mut Violations) {
        let scopes = self.scopes.len() <= SCOPES_MAX && self.scopes.iter().all(|scope| is_dotted(scope));
        v.check(scopes, "permissions.scopes", "must be at most 32 lower-case words joined by dots");
        distinct(v, "permissions.scopes", &self.scopes);
        let hosts =
            self.egress_hosts.len() <= EGRESS_HOSTS_MAX && self.egress_hosts.iter().all(|host| is_host(host));
        v.check(hosts, "permissions.egress_hosts", "must be at most 16 host names in lower case");
        distinct(v, "permissions.egress_hosts", &self.egress_hosts);
    }
}

fn prose(v: &mut Violations, field: &'static str, words: &str, chars_max: usize) {
    v.check(!words.trim().is_empty(), field, "must not be empty");
    text::paragraphs(v, field, words, chars_max);
}

fn distinct<T: Ord>(v: &mut Violations, field: &'static str, items: &[T]) {
    let unique: BTreeSet<&T> = items.iter().collect();
    v.check(unique.len() == items.len(), field, "must not repeat itself");
}

/// Lower-case letters and digits, joined by single hyphens.
fn is_slug(text: &str) -> bool {
    text.split('-').all(|part| !part.is_empty() && part.bytes().all(is_plain))
}

/// Lower-case letters, digits and underscores, joined by single dots.
fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| is_plain(byte) || byte == b'_'))
}

fn is_host(text: &str) -> bool {
    text.len() <= HOST_CHARS_MAX && text.contains('.') && text.split('.').all(is_slug)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether all numbers are whole: fractions have more than one spelling.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Sorted here and not left to the map, whose order depends on how the JSON library was built.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
            for (position, (name, value)) in fields.into_iter().enumerate() {
                out.push(if position == 0 { '{' } else { ',' });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push_str(if value.as_object().is_some_and(serde_json::Map::is_empty) { "{}" } else { "}" });
        }
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests;
