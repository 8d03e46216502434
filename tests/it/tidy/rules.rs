//! The rules themselves. The floors and directions are tables, so that a change of the house is one line here.

use super::source::{Source, is_word, line_of};

/// A line that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub says: String,
}

impl Finding {
    fn new(source: &Source, line: usize, says: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, says: says.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.says)
    }
}

/// Words that may be written in some places only.
struct Floor {
    /// Words and paths; with a `*` at the end, whatever begins so.
    words: &'static [&'static str],
    /// Where the rule holds.
    within: &'static [&'static str],
    /// Where in there they may be written all the same.
    home: &'static [&'static str],
    why: &'static str,
}

const DOMAIN_WIRE: &[&str] = &["src/*/rpc.rs", "src/*/rpc/"];
const STORES: &[&str] = &["src/*/store.rs", "src/*/store/"];
const PURE: &[&str] = &[
    "src/base.rs",
    "src/base/",
    "src/*/model.rs",
    "src/*/model/",
    "src/payments/document.rs",
    "src/payments/document/",
];

const FLOORS: &[Floor] = &[
    Floor {
        words: &["tonic*", "prost*", "crate::proto"],
        within: &["src/"],
        home: &[
            "src/rpc.rs",
            "src/rpc/",
            "src/proto.rs",
            "src/*/rpc.rs",
            "src/*/rpc/",
            "src/app.rs",
            "src/app/",
            // Asks a running server for its health, as a client.
            "src/cli/health.rs",
        ],
        why: "only the wire (*/rpc.rs, rpc/, app) names tonic and generated types",
    },
    Floor {
        words: &["sqlx*", "AssertSqlSafe"],
        within: &["src/"],
        home: &["src/db.rs", "src/db/"],
        why: "only db/ names the driver",
    },
    Floor {
        words: &[".sql(", ".shared_sql("],
        within: &["src/"],
        home: &["src/*/store.rs", "src/*/store/", "src/db.rs", "src/db/"],
        why: "SQL is written in store files, beside the function that runs it",
    },
    Floor {
        words: &[
            "async",
            "await",
            "tokio*",
            "SystemTime",
            "Instant",
            "getrandom*",
            "OsRng",
            "std::fs",
            "std::env",
        ],
        within: PURE,
        home: &[],
        why: "models, documents and base are pure: no clock, no randomness, no I/O, nothing to wait for",
    },
    Floor {
        words: &[
            "async",
            "await",
            "SystemTime",
            "Instant",
            "std::fs",
            "std::env",
            "std::io",
            "std::net",
            "std::thread",
            "std::sync",
        ],
        within: &["clients/rust/src/chat.rs", "clients/rust/src/chat/"],
        home: &[],
        why: "a client's machine is pure: its driver has the clock, the randomness and the connection",
    },
    Floor {
        words: &["::store", "::service"],
        within: PURE,
        home: &[],
        why: "a model knows neither store nor service",
    },
    Floor {
        words: &["::service"],
        within: STORES,
        home: &[],
        why: "a store knows no service: the service decides, the store remembers",
    },
];

/// What a pure file may name of the database floor: derives and wrappers that say how a value is stored.
const PURE_DB: &[&str] = &["self", "Row", "Json", "words", "text_scalar"];

/// Every module below the top, each with the modules it may name. Each may name only what stands above it in the list,
/// so there are no cycles. A domain's rpc.rs belongs to the wire, which stands at the top.
pub const MODULES: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("db", &["base"]),
    ("keyring", &["base", "db"]),
    ("jobs", &["base", "db"]),
    ("scan", &["base"]),
    ("storage", &["base"]),
    ("bus", &["base", "db", "keyring"]),
    ("chain", &["base", "db"]),
    ("mail", &["base", "db", "keyring", "jobs"]),
    ("idempotency", &["base", "db"]),
    ("account_log", &["base", "db"]),
    ("audit", &["base", "db", "chain", "jobs", "idempotency", "keyring"]),
    ("auth", &["base", "db", "jobs", "mail", "audit", "idempotency", "account_log", "keyring"]),
    ("ai", &["base", "db", "jobs", "audit", "idempotency", "keyring", "auth"]),
    ("market", &["base", "db", "jobs", "mail", "audit", "idempotency", "keyring", "auth", "bus"]),
    (
        "chat",
        &[
            "base",
            "db",
            "jobs",
            "scan",
            "storage",
            "mail",
            "audit",
            "idempotency",
            "account_log",
            "keyring",
            "auth",
            "market",
            "ai",
            "bus",
        ],
    ),
    ("payments", &["base", "db", "chain", "jobs", "mail", "audit", "idempotency", "keyring", "auth", "bus"]),
    ("operations", &["base", "db", "jobs", "audit", "idempotency", "auth"]),
    ("backup", &["base", "db", "account_log", "keyring", "auth", "chat"]),
    // What agents may have done stands above the domains that it is done in; none of them knows it.
    ("tools", &["base", "db", "idempotency", "auth", "ai", "market", "chat", "payments"]),
];

/// What stands above all of them and may name each.
const TOP: &[&str] = &["app", "cli", "config", "http", "lib", "main", "proto", "rpc"];

/// `Caller` says on whose behalf something is done. Everything takes one, also what stands below auth.
const EVERYWHERE: &[&str] = &["crate::auth::Caller", "crate::auth::caller"];

const COLUMNS_MAX: usize = 120;

/// SQL that asks the engine for what must be handed in, or for columns that it does not name.
const AMBIENT_SQL: &[&str] = &[
    "now()",
    "random()",
    "gen_random_uuid()",
    "randomblob(",
    "current_timestamp",
    "select *",
    "returning *",
];

/// Applies every rule that looks at one file.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(unfinished(source));
    found.extend(columns(source));
    if source.is_in(STORES) || source.path.starts_with("migrations/") {
        found.extend(ambient_sql(source));
    }
    if source.is_rust() {
        found.extend(module_files(source));
        found.extend(FLOORS.iter().flat_map(|floor| crossed(source, floor)));
        found.extend(pure_db(source));
        found.extend(directions(source));
    }
    found.sort_by_key(|finding| finding.line);
    found
}

fn crossed(source: &Source, floor: &Floor) -> Vec<Finding> {
    if !source.is_in(floor.within) || source.is_in(floor.home) {
        return Vec::new();
    }
    let words = floor.words.iter();
    words
        .flat_map(|word| lines_with(source, word))
        .map(|line| Finding::new(source, line, floor.why))
        .collect()
}

fn pure_db(source: &Source) -> Vec<Finding> {
    if !source.is_in(PURE) {
        return Vec::new();
    }
    let allowed =
        |path: &str| path.split("db::").nth(1).is_none_or(|rest| PURE_DB.contains(&first_word(rest)));
    let imported = imports(&source.code).into_iter().filter(|(_, path)| path.starts_with("crate::db::"));
    let mut lines: Vec<usize> = imported.filter(|(_, path)| !allowed(path)).map(|(line, _)| line).collect();
    for at in positions(&source.code, "db::") {
        let rest = &source.code[at..];
        if !rest.starts_with("db::{") && !allowed(rest) {
            lines.push(line_of(&source.code, at));
        }
    }
    let says = "a pure file names nothing of the database floor but how a value is stored";
    unique(lines).into_iter().map(|line| Finding::new(source, line, says)).collect()
}

fn directions(source: &Source) -> Vec<Finding> {
    let Some(module) = module_of(source) else { return Vec::new() };
    if TOP.contains(&module) {
        return Vec::new();
    }
    let Some((_, below)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return vec![Finding::new(
            source,
            1,
            format!("module {module} has no place in the list of directions"),
        )];
    };
    let names = MODULES.iter().map(|(name, _)| *name).chain(TOP.iter().copied());
    let mut found = Vec::new();
    for other in names.filter(|name| *name != module && !below.contains(name)) {
        let excused: Vec<usize> = EVERYWHERE.iter().flat_map(|path| lines_with(source, path)).collect();
        let lines = lines_with(source, &format!("crate::{other}")).into_iter();
        let says = format!("{module} must not know {other}");
        found.extend(
            lines.filter(|line| !excused.contains(line)).map(|line| Finding::new(source, line, says.clone())),
        );
    }
    found
}

/// The module of `src/` that a file belongs to.
fn module_of(source: &Source) -> Option<&str> {
    if source.is_in(DOMAIN_WIRE) {
        return Some("rpc");
    }
    let below = source.path.strip_prefix("src/")?;
    below.split('/').next().map(|first| first.trim_end_matches(".rs"))
}

fn module_files(source: &Source) -> Option<Finding> {
    let wrong = source.path.ends_with("/mod.rs");
    wrong.then(|| Finding::new(source, 1, "a module's file is named after it and stands beside its folder"))
}

fn unfinished(source: &Source) -> Vec<Finding> {
    // Put together here so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let says = "unfinished work is not left in the tree";
    let lines = marks.iter().flat_map(|mark| positions(&source.text, mark));
    lines.map(|at| Finding::new(source, line_of(&source.text, at), says)).collect()
}

fn columns(source: &Source) -> Vec<Finding> {
    let long = source.text.lines().enumerate().filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    long.map(|(at, _)| Finding::new(source, at + 1, format!("more than {COLUMNS_MAX} columns"))).collect()
}

fn ambient_sql(source: &Source) -> Vec<Finding> {
    let text = source.text.to_lowercase();
    let says = "SQL is handed its times and ids, and names its columns";
    let found = AMBIENT_SQL.iter().flat_map(|word| standing(&text, word, false));
    // `world.now()` is Rust, and the very thing to ask.
    let found = found.filter(|at| !text[..*at].ends_with('.'));
    found.map(|at| Finding::new(source, line_of(&text, at), says)).collect()
}

/// Twin migrations: the same file names for both engines, numbered from 1 without a gap.
pub fn twins(sqlite: &[String], postgres: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for name in sqlite.iter().filter(|name| !postgres.contains(name)) {
        found.push(format!("migrations/postgres/{name} is missing"));
    }
    for name in postgres.iter().filter(|name| !sqlite.contains(name)) {
        found.push(format!("migrations/sqlite/{name} is missing"));
    }
    for (at, name) in sqlite.iter().enumerate() {
        let wanted = format!("{:04}_", at + 1);
        if !name.starts_with(&wanted) {
            found.push(format!("migrations/sqlite/{name} stands where {wanted}… is due"));
        }
    }
    found
}

/// The lines of code that name a word or path, written out or imported in a group.
fn lines_with(source: &Source, word: &str) -> Vec<usize> {
    let written = positions(&source.code, word).into_iter().map(|at| line_of(&source.code, at));
    let imported = imports(&source.code).into_iter().filter(|(_, path)| !positions(path, word).is_empty());
    unique(written.chain(imported.map(|(line, _)| line)).collect())
}

/// Where a word or path of a rule stands in `text`; a `*` at its end stands for the rest of a word.
fn positions(text: &str, word: &str) -> Vec<usize> {
    word.strip_suffix('*').map_or_else(|| standing(text, word, false), |stem| standing(text, stem, true))
}

/// Where `word` stands in `text` on its own, not as a part of a longer word (or, when `open`, as the start of one).
fn standing(text: &str, word: &str, open: bool) -> Vec<usize> {
    let alone = |at: usize| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let starts = !word.starts_with(is_word) || !before.is_some_and(is_word);
        let ends = open || !word.ends_with(is_word) || !after.is_some_and(is_word);
        starts && ends
    };
    text.match_indices(word).map(|(at, _)| at).filter(|at| alone(*at)).collect()
}

/// Every path that `use` brings in, groups taken apart, with the line on which its statement begins.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in positions(code, "use") {
        let statement = &code[at + "use".len()..];
        let statement: String = statement.split(';').next().unwrap_or_default().split_whitespace().collect();
        let mut paths = Vec::new();
        expand(String::new(), &statement, &mut paths);
        found.extend(paths.into_iter().map(|path| (line_of(code, at), path)));
    }
    found
}

fn expand(prefix: String, rest: &str, paths: &mut Vec<String>) {
    let Some((head, group)) = rest.split_once('{') else {
        paths.push(prefix + rest);
        return;
    };
    let prefix = prefix + head;
    let mut depth = 0_usize;
    let mut item = String::new();
    for c in group.chars() {
        match c {
            ',' | '}' if depth == 0 => expand(prefix.clone(), &std::mem::take(&mut item), paths),
            _ => {
                depth = if c == '{' { depth + 1 } else { depth - usize::from(c == '}') };
                item.push(c);
            }
        }
    }
}

fn first_word(text: &str) -> &str {
    text.split(|c| !is_word(c)).next().unwrap_or_default()
}

fn unique(mut lines: Vec<usize>) -> Vec<usize> {
    lines.sort_unstable();
    lines.dedup();
    lines
}
