//! `token …`: access tokens and the sessions behind them, for whoever runs the platform.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, Output, input, log, note, operator, say};
use crate::app::{Console, real};
use crate::auth::keys::{KeyId, Rotate, SeenKey};
use crate::auth::model::rotation::Duty;
use crate::auth::service::{Inspection, Revoke};
use crate::base::{SessionId, Timestamp};
use crate::config::Config;
use crate::db::Access;

/// What the list of sessions shows for a token that was issued here.
const AGENT: &str = "command line";

const ISSUE: &str = "\
Example:
  TOKEN=$(capecontrol token issue --email ada@example.com --minutes 30)
  grpcurl -plaintext -H \"authorization: Bearer $TOKEN\" 127.0.0.1:8080 capecontrol.auth.v1.AccountService/GetAccount

Exit codes: 0 issued; 1 not done; 2 wrong arguments.
Secrets: the token is printed, for that is what it is for: whoever has it is that account until it ends. The root key
is read from where the node has it.";

const INSPECT: &str = "\
Example:
  echo \"$TOKEN\" | capecontrol token inspect

Exit codes: 0 a call with this token would be let in; 1 it would not, or it is no token; 2 wrong arguments.
Secrets: the token comes by standard input only, and is not printed.";

const REVOKE: &str = "\
Examples:
  capecontrol token revoke --session 0199…        one session, as `token inspect` tells it
  capecontrol token revoke --account ada@example.com
  capecontrol token revoke --everyone

Exit codes: 0 done, also when no session stood; 1 not done, or there is no such session that stands; 2 wrong
arguments.";

const KEYS: &str = "\
Example:
  capecontrol token keys --json | jq -r '.[] | select(.duty == \"signing\") | .id'

Exit codes: 0 listed; 1 not done; 2 wrong arguments.";

const ROTATE: &str = "\
Examples:
  capecontrol token rotate-keys                     the next key takes over early; nobody notices
  capecontrol token rotate-keys --retire 0199…      this key leaked: what it signed is refused from now on
  capecontrol token rotate-keys --retire-all        nobody knows which leaked

Exit codes: 0 done; 1 not done, or there is no such key; 2 wrong arguments.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Issue an access token for an account, to call the API with.
    ///
    /// The token has a session of its own, named "command line", which ends with it and has no refresh token. Only the
    /// token goes to standard output; what belongs to it is told on standard error. Use the settings of the node, for
    /// SERVER__PUBLIC_URL is the issuer; it may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = ISSUE)]
    Issue {
        /// The address of the account.
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        /// How long the token is good, at most a day.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_440))]
        minutes: u64,
        #[command(flatten)]
        output: Output,
    },
    /// Look into an access token from standard input: what it states, and whether each part of it holds.
    ///
    /// Told one by one: the signature, the issuer, the audience, the expiry, and whether its session stands. Reads
    /// only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = INSPECT)]
    Inspect {
        #[command(flatten)]
        output: Output,
    },
    /// End sessions, with all their tokens. A node that serves refuses them within five seconds.
    #[command(verbatim_doc_comment, after_long_help = REVOKE)]
    Revoke {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        output: Output,
    },
    /// List the keys that access tokens are signed with, and what each does.
    ///
    /// Reads only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = KEYS)]
    Keys {
        #[command(flatten)]
        output: Output,
    },
    /// Have the next signing key take over early, or retire keys that leaked.
    ///
    /// Keys rotate by themselves (AUTH__SIGNING_KEY_DAYS); this is for a bad day. Without an option the next key signs
    /// as soon as it has been published for an hour, so that whoever checks tokens knows it, and the one before
    /// verifies until its last token has expired. With --retire a key is deleted at once: nodes refuse what it signed
    /// within five seconds, and clients get new tokens with their refresh tokens, which stay good. The key that was
    /// published ahead signs from then on. With --retire-all a new key signs at once, which verifiers that keep the
    /// published keys, such as Envoy, learn within five minutes; until then they refuse its tokens. Whoever stole keys
    /// may also hold tokens of sessions: `token revoke --everyone` ends those.
    #[command(verbatim_doc_comment, after_long_help = ROTATE)]
    RotateKeys {
        #[command(flatten)]
        leaked: Leaked,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct Leaked {
    /// Retire this key at once.
    #[arg(long, value_name = "ID", value_parser = key)]
    retire: Option<KeyId>,
    /// Retire all keys at once.
    #[arg(long)]
    retire_all: bool,
}

fn key(text: &str) -> Result<KeyId, String> {
    text.parse().map_err(|_| "must be the id of a signing key, such as `token keys` lists".to_owned())
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Whose {
    /// One session.
    #[arg(long, value_name = "ID", value_parser = session)]
    session: Option<SessionId>,
    /// All sessions of the account with this address.
    #[arg(long, value_name = "ADDRESS")]
    account: Option<String>,
    /// All sessions of everybody.
    #[arg(long)]
    everyone: bool,
}

fn session(text: &str) -> Result<SessionId, String> {
    text.parse().map_err(|_| "must be the id of a session, such as `token inspect` tells".to_owned())
}

pub(super) async fn run(config: Config, command: Command) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    match command {
        Command::Issue { email, minutes, output } => issue(&config, &email, minutes, output).await,
        Command::Inspect { output } => inspect(&config, output).await,
        Command::Revoke { whose, output } => revoke(&config, whose, output).await,
        Command::Keys { output } => keys(&config, output).await,
        Command::RotateKeys { leaked, output } => rotate(&config, &leaked, output).await,
    }
}

async fn issue(config: &Config, email: &str, minutes: u64, output: Output) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Write).await?;
    if !console.has_keys {
        return Err("there is no key to sign with: serve the platform once, which makes it".into());
    }
    let ttl = Duration::from_secs(minutes.saturating_mul(60));
    let issued = console.auth.issue_token(&operator(), email, AGENT, ttl).await;
    console.db.close().await;
    let issued = issued?;
    let (session, ends) = (issued.session.to_string(), issued.expires_at.to_rfc3339());
    if output.json {
        let token = issued.access_token.expose();
        say(json!({ "access_token": token, "session": session, "expires_at": ends }));
    } else {
        note(format_args!("The session {session} ends with its token at {ends}."));
        say(issued.access_token.expose());
    }
    Ok(ExitCode::SUCCESS)
}

async fn inspect(config: &Config, output: Output) -> Result<ExitCode, Failure> {
    let token = input::secret("The token")?;
    let console = Console::open(config, real::world(), Access::Read).await?;
    let inspected = console.auth.inspect_token(&operator(), &token).await;
    console.db.close().await;
    let inspected =
        inspected.map_err(|error| format!("{error} What came by standard input is no token of ours."))?;
    let holds = inspected.holds();
    if output.json {
        say(told(&inspected));
    } else {
        show(&inspected);
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(inspected: &Inspection) -> Value {
    let checks: serde_json::Map<String, Value> = inspected
        .checks
        .iter()
        .map(|(name, check)| ((*name).to_owned(), json!({ "holds": check.holds, "found": check.found })))
        .collect();
    json!({ "holds": inspected.holds(), "key": inspected.key, "claims": inspected.claims, "checks": checks })
}

fn show(inspected: &Inspection) {
    let claims = &inspected.claims;
    let time = |seconds| Timestamp::from_seconds(seconds).to_rfc3339();
    for (name, value) in [
        ("account", claims.sub.to_string()),
        ("session", claims.sid.to_string()),
        ("issued", time(claims.iat)),
        ("expires", time(claims.exp)),
        ("id", claims.jti.to_string()),
    ] {
        say(format_args!("{name:<10} {value}"));
    }
    for (name, check) in &inspected.checks {
        let holds = if check.holds { "holds" } else { "FAILS" };
        say(format_args!("{name:<10} {holds}: {}", check.found));
    }
    say(if inspected.holds() {
        "A call with it would be let in."
    } else {
        "A call with it would be refused."
    });
}

async fn revoke(config: &Config, whose: Whose, output: Output) -> Result<ExitCode, Failure> {
    let one = whose.session.is_some();
    let whose = match whose {
        Whose { session: Some(session), .. } => Revoke::Session(session),
        Whose { account: Some(address), .. } => Revoke::Account(address),
        Whose { .. } => Revoke::Everyone,
    };
    let console = Console::open(config, real::world(), Access::Write).await?;
    let ended = console.auth.revoke_sessions(&operator(), whose).await;
    console.db.close().await;
    let ended = ended?;
    if output.json {
        say(json!({ "ended": ended }));
    } else {
        match ended {
            0 if one => note("There is no such session that stands."),
            0 => say("No session stood."),
            1 => say("Ended one session. Nodes refuse it within five seconds."),
            _ => say(format_args!("Ended {ended} sessions. Nodes refuse them within five seconds.")),
        }
    }
    Ok(if one && ended == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn keys(config: &Config, output: Output) -> Result<ExitCode, Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let keys = console.auth.signing_keys(&operator());
    console.db.close().await;
    show_keys(&keys?, output)?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(config: &Config, leaked: &Leaked, output: Output) -> Result<ExitCode, Failure> {
    let what = match leaked.retire {
        Some(id) => Rotate::Retire(id),
        None if leaked.retire_all => Rotate::RetireAll,
        None => Rotate::Next,
    };
    let console = Console::open(config, real::world(), Access::Write).await?;
    if !console.has_keys {
        return Err("there is no key to rotate: serve the platform once, which makes it".into());
    }
    let keys = console.auth.rotate_keys(&operator(), what).await;
    console.db.close().await;
    show_keys(&keys?, output)?;
    Ok(ExitCode::SUCCESS)
}

fn show_keys(keys: &[SeenKey], output: Output) -> Result<(), Failure> {
    if output.json {
        let told: Vec<Value> = keys
            .iter()
            .map(|key| {
                json!({
                    "id": key.id.to_string(),
                    "duty": duty(key.duty),
                    "created_at": key.created_at.to_rfc3339(),
                    "signs_from": key.signs_from.to_rfc3339(),
                    "deleted_at": key.ends_at.map(Timestamp::to_rfc3339),
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    for key in keys {
        let end = key.ends_at.map(|at| format!(", deleted at {}", at.to_rfc3339())).unwrap_or_default();
        say(format_args!("{}  {}, signs from {}{end}", key.id, duty(key.duty), key.signs_from.to_rfc3339()));
    }
    Ok(())
}

const fn duty(duty: Duty) -> &'static str {
    match duty {
        Duty::Next => "next",
        Duty::Signing => "signing",
        Duty::Retired => "retired",
    }
}
