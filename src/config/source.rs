//! Where settings come from, and the reader that collects everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::base::Secret;

/// What variables of the environment begin with.
const PREFIX: &str = "CAPECONTROL_";

/// The raw sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// The TOML file's name and text, when there is one.
    pub file: Option<(PathBuf, String)>,
    /// Flags of the command line, as keys and values.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// The environment of the process, and `capecontrol.toml` in the working folder (or the file given).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Result<Self, Problems> {
        #[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named = file.is_some();
        let path = file.unwrap_or_else(|| PathBuf::from("capecontrol.toml"));
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => Some((path, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => None,
            Err(error) => {
                return Err(Problems::one(path.display().to_string(), format!("cannot be read: {error}")));
            }
        };
        Ok(Self { environment, file, flags })
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The key, or the file.
    pub key: String,
    /// What is wrong and what to do.
    pub text: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    fn one(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self(vec![Problem { key: key.into(), text: text.into() }])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        for Problem { key, text } in &self.0 {
            write!(f, "\n  {key}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What a setting came out as.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// The key.
    pub key: &'static str,
    /// Its value; a mark when it is a secret.
    pub value: String,
    /// Where the value came from.
    pub origin: String,
    /// What the setting means.
    pub help: &'static str,
}

struct Setting {
    value: String,
    origin: String,
}

/// Reads settings one by one and remembers what was wrong.
pub(super) struct Reader {
    settings: BTreeMap<String, Setting>,
    known: BTreeSet<String>,
    problems: Vec<Problem>,
    effective: Vec<Effective>,
    /// The port that a host gives a program that it runs; only it, without the prefix.
    pub(super) host_port: Option<String>,
}

impl Reader {
    pub(super) fn new(sources: Sources) -> Result<Self, Problems> {
        let mut settings = BTreeMap::new();
        if let Some((path, text)) = &sources.file {
            let table: toml::Table = text.parse().map_err(|error| {
                Problems::one(path.display().to_string(), format!("is not TOML: {error}"))
            })?;
            flatten("", &toml::Value::Table(table), &path.display().to_string(), &mut settings)?;
        }
        let mut host_port = None;
        for (name, value) in sources.environment {
            if name == "PORT" {
                host_port = Some(value);
            } else if let Some(key) = name.strip_prefix(PREFIX)
                // The tests' own variables are not settings of a node.
                && !key.starts_with("TEST_")
            {
                settings.insert(key.to_owned(), Setting { value, origin: name.clone() });
            }
        }
        for (key, value) in sources.flags {
            settings.insert(key.to_owned(), Setting { value, origin: "flag".to_owned() });
        }
        Ok(Self { settings, known: BTreeSet::new(), problems: Vec::new(), effective: Vec::new(), host_port })
    }

    /// Reads one setting. `None` when it is wrong, which is then noted.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        default: &str,
        help: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.known.insert(key.to_owned());
        let (value, origin) = match self.settings.get(key) {
            Some(setting) => (setting.value.clone(), setting.origin.clone()),
            None => (default.to_owned(), "default".to_owned()),
        };
        let read = self.note(key, parse(&value));
        self.effective.push(Effective { key, value, origin, help });
        read
    }

    /// Reads a secret, from the setting itself or from the file that `…_FILE` names.
    pub(super) fn secret<T>(
        &mut self,
        key: &'static str,
        default: &str,
        help: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let file_key = format!("{key}_FILE");
        self.known.extend([key.to_owned(), file_key.clone()]);
        let (value, origin) = match (self.settings.get(key), self.settings.get(&file_key)) {
            (Some(_), Some(_)) => {
                self.problem(key, format!("is given both itself and as {file_key}; give one of them"));
                return None;
            }
            (Some(setting), None) => (Secret::new(setting.value.clone()), setting.origin.clone()),
            (None, Some(file)) => match std::fs::read_to_string(&file.value) {
                Ok(text) => (Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()), file.value.clone()),
                Err(error) => {
                    let text = format!("{} cannot be read: {error}", file.value);
                    self.problem(&file_key, text);
                    return None;
                }
            },
            (None, None) => (Secret::new(default.to_owned()), "default".to_owned()),
        };
        let shown = if value.expose().is_empty() { "" } else { "[secret]" };
        self.effective.push(Effective { key, value: shown.to_owned(), origin, help });
        self.note(key, parse(value.expose()))
    }

    /// Notes something that is wrong.
    pub(super) fn problem(&mut self, key: &str, text: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), text: text.into() });
    }

    fn note<T>(&mut self, key: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|text| self.problem(key, text)).ok()
    }

    /// Ends the reading: everything that is wrong, keys that nobody knows included.
    pub(super) fn finish(mut self) -> Result<Vec<Effective>, Problems> {
        let unknown: Vec<_> = self
            .settings
            .iter()
            .filter(|(key, _)| !self.known.contains(*key))
            .map(|(key, setting)| (key.clone(), setting.origin.clone()))
            .collect();
        for (key, origin) in unknown {
            self.problem(
                &key,
                format!("is no setting (from {origin}); `capecontrol config print` lists them"),
            );
        }
        if self.problems.is_empty() { Ok(self.effective) } else { Err(Problems(self.problems)) }
    }
}

/// Turns nested tables into keys: `[server] listen = …` is `SERVER__LISTEN`.
fn flatten(
    prefix: &str,
    value: &toml::Value,
    origin: &str,
    settings: &mut BTreeMap<String, Setting>,
) -> Result<(), Problems> {
    let text = match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let separator = if prefix.is_empty() { "" } else { "__" };
                flatten(&format!("{prefix}{separator}{}", name.to_uppercase()), value, origin, settings)?;
            }
            return Ok(());
        }
        toml::Value::Array(items) => {
            let words: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            words.ok_or_else(|| Problems::one(prefix, "must be a list of texts"))?.join(",")
        }
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    settings.insert(prefix.to_owned(), Setting { value: text, origin: origin.to_owned() });
    Ok(())
}
