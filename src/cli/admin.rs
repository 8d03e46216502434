//! `admin …`: who runs the platform.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, Output, input, log, note, operator, say};
use crate::app::{Console, real};
use crate::auth::model::AdministeredAccount;
use crate::auth::service::{CreateAdministrator, Created, Filter, Invite, OneTime};
use crate::auth::{Email, Role};
use crate::base::{Secret, Timestamp};
use crate::config::Config;
use crate::db::Access;

const CREATE: &str = "\
Examples:
  capecontrol admin create --email ada@example.com
      prints a one-time password
  capecontrol admin create --email ada@example.com --password-stdin < password.txt
      takes a password of 12 to 128 characters, which lasts

Exit codes: 0 the administrator is there, new or from before; 1 not done; 2 wrong arguments.
Secrets: a chosen password comes by standard input only. A one-time password is printed once, and kept nowhere.";

const LIST: &str = "\
Example:
  capecontrol admin list --json | jq -r '.[].email'

Exit codes: 0 listed; 1 not done; 2 wrong arguments.";

const ACCOUNTS: &str = "\
Examples:
  capecontrol admin accounts --email-prefix ada
  capecontrol admin accounts --suspended --json | jq -r '.[].email'

Exit codes: 0 listed; 1 not done; 2 wrong arguments.";

const SUSPEND: &str = "\
Example:
  capecontrol admin suspend --email ada@example.com --reason \"the card was stolen, ticket 4711\"

Exit codes: 0 the account is suspended, now or before; 1 not done; 2 wrong arguments.";

const REINSTATE: &str = "\
Example:
  capecontrol admin reinstate --email ada@example.com

Exit codes: 0 the account may be used; 1 not done; 2 wrong arguments.";

const SET_ROLE: &str = "\
Examples:
  capecontrol admin set-role --email ada@example.com --role developer
  capecontrol admin set-role --email mallory@example.com --role customer      takes the platform away from her

Exit codes: 0 the account has the role, now or before; 1 not done; 2 wrong arguments.";

const INVITE: &str = "\
Examples:
  capecontrol admin invite --email ada@example.com       only this address can use it, and it is written to
  capecontrol admin invite --hours 24                    for whoever holds the token

Exit codes: 0 made; 1 not done; 2 wrong arguments.
Secrets: the token is printed, once, for that is what it is for; only its hash is kept.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make somebody an administrator, or say that they are one.
    ///
    /// The account is made with a one-time password that is printed: good for one sign-in within a day. With
    /// --password-stdin it is made with the password that comes by standard input. Who is an administrator already is
    /// told so, and nothing is changed, not even the password. An address that has an ordinary account is refused. Use
    /// the settings of the node; it may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = CREATE)]
    Create {
        /// The address to sign in with.
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        /// Take the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        output: Output,
    },
    /// List the administrators and how they can sign in.
    ///
    /// Reads only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = LIST)]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// List accounts by their addresses.
    ///
    /// Reads only; the node may be serving meanwhile.
    #[command(verbatim_doc_comment, after_long_help = ACCOUNTS)]
    Accounts {
        /// Only those whose address begins so.
        #[arg(long, value_name = "TEXT", default_value = "")]
        email_prefix: String,
        /// Only those with this role.
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Option<Role>,
        /// Only those that are suspended.
        #[arg(long)]
        suspended: bool,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Keep an account out: end its sessions, refuse its sign-ins, let nothing act for it.
    ///
    /// Nodes that serve follow within five seconds. The last administrator cannot be suspended.
    #[command(verbatim_doc_comment, after_long_help = SUSPEND)]
    Suspend {
        #[command(flatten)]
        whom: Whom,
        /// Why, for other administrators: one line.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        output: Output,
    },
    /// Let a suspended account in again. Its owner signs in anew.
    #[command(verbatim_doc_comment, after_long_help = REINSTATE)]
    Reinstate {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        output: Output,
    },
    /// Give an account a role: customer, developer or admin.
    ///
    /// It counts on nodes that serve within five seconds. The last administrator keeps the role. Here an account can
    /// become an administrator whose address was not verified: be sure whose it is.
    #[command(verbatim_doc_comment, after_long_help = SET_ROLE)]
    SetRole {
        #[command(flatten)]
        whom: Whom,
        /// The role.
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Role,
        #[command(flatten)]
        output: Output,
    },
    /// Make an invitation to register, for while AUTH__REGISTRATION is `invited`.
    ///
    /// It is good once, and for a week unless --hours says otherwise.
    #[command(verbatim_doc_comment, after_long_help = INVITE)]
    Invite {
        /// The address that may register with it, and that is written to.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// For how many hours it is good.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=720))]
        hours: Option<u32>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Whom {
    /// The address of the account.
    #[arg(long, value_name = "ADDRESS")]
    email: String,
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "must be customer, developer or admin".to_owned())
}

pub(super) async fn run(config: Config, command: Command) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    match command {
        Command::Create { email, password_stdin, output } => {
            create(&config, email, password_stdin, output).await?;
        }
        Command::List { output } => list(&config, output).await?,
        Command::Accounts { email_prefix, role, suspended, limit, output } => {
            let suspended = suspended.then_some(true);
            let filter = Filter { role, suspended, prefix: email_prefix, ..Filter::default() };
            accounts(&config, &filter, limit, output).await?;
        }
        Command::Suspend { whom, reason, output } => {
            change(&config, whom, Change::Suspend(reason), output).await?;
        }
        Command::Reinstate { whom, output } => change(&config, whom, Change::Reinstate, output).await?,
        Command::SetRole { whom, role, output } => change(&config, whom, Change::Role(role), output).await?,
        Command::Invite { email, hours, output } => invite(&config, Invite { email, hours }, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(config: &Config, email: String, password_stdin: bool, output: Output) -> Result<(), Failure> {
    let password = if password_stdin { Some(input::secret("The password")?) } else { None };
    let chosen = password.is_some();
    let console = Console::open(config, real::world(), Access::Write).await?;
    let shown = Email::parse(&email).map_or_else(|_| email.clone(), |email| email.as_str().to_owned());
    // Written before it counts: a password that nobody could read would leave its account without a way in.
    let publish = |password: &Secret<String>| {
        let mut out = std::io::stdout();
        if output.json {
            let told = json!({ "email": shown, "created": true, "one_time_password": password.expose() });
            writeln!(out, "{told}")?;
        } else {
            writeln!(out, "One-time password of {shown}: {}", password.expose())?;
        }
        out.flush()
    };
    let command = CreateAdministrator { email, password };
    let created = console.auth.create_administrator(&operator(), command, publish).await;
    console.db.close().await;
    match created? {
        Created::Now(_) if output.json && chosen => say(json!({ "email": shown, "created": true })),
        Created::Now(_) if output.json => {}
        Created::Now(_) if chosen => say(format_args!("{shown} is an administrator now.")),
        Created::Now(_) => {
            say(format_args!(
                "{shown} is an administrator now. The password is good for one sign-in within a day."
            ));
        }
        Created::Before(_) if output.json => say(json!({ "email": shown, "created": false })),
        Created::Before(_) => say(format_args!("{shown} is an administrator already; nothing was changed.")),
    }
    Ok(())
}

async fn list(config: &Config, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let listed = console.auth.list_administrators(&operator()).await;
    console.db.close().await;
    let listed = listed?;
    if output.json {
        let told: Vec<_> = listed
            .iter()
            .map(|seen| {
                json!({
                    "id": seen.account.id.to_string(),
                    "email": seen.account.email,
                    "password": word(seen.one_time),
                    "created_at": seen.account.created_at.to_rfc3339(),
                    "signed_in_at": seen.account.signed_in_at.map(Timestamp::to_rfc3339),
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    for seen in &listed {
        let last = seen.account.signed_in_at.map_or_else(|| "never".to_owned(), Timestamp::to_rfc3339);
        say(format_args!("{}  password: {}, last sign-in: {last}", seen.account.email, word(seen.one_time)));
    }
    if listed.is_empty() {
        say("There is no administrator yet: the first start of the platform makes one.");
    }
    Ok(())
}

async fn accounts(config: &Config, filter: &Filter, limit: i64, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Read).await?;
    let listed = console.auth.list_accounts(&operator(), filter, None, limit).await;
    console.db.close().await;
    let listed = listed?;
    if output.json {
        say(serde_json::to_string_pretty(&listed.iter().map(told).collect::<Vec<_>>())?);
        return Ok(());
    }
    listed.iter().for_each(show);
    if listed.is_empty() {
        say("There is no such account.");
    }
    Ok(())
}

/// What is done to an account.
enum Change {
    Suspend(String),
    Reinstate,
    Role(Role),
}

async fn change(config: &Config, whom: Whom, change: Change, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Write).await?;
    let (auth, operator) = (&console.auth, operator());
    let changed = async {
        let id = auth.account_by_email(&operator, &whom.email).await?;
        match change {
            Change::Suspend(reason) => auth.suspend_account(&operator, id, &reason, None).await,
            Change::Reinstate => auth.reinstate_account(&operator, id, None).await,
            Change::Role(role) => auth.set_account_role(&operator, id, role, None).await,
        }
    };
    let changed = changed.await;
    console.db.close().await;
    let changed = changed?;
    if output.json {
        say(told(&changed));
    } else {
        show(&changed);
    }
    Ok(())
}

async fn invite(config: &Config, invite: Invite, output: Output) -> Result<(), Failure> {
    let console = Console::open(config, real::world(), Access::Write).await?;
    let invited = console.auth.create_invitation(&operator(), invite, None).await;
    console.db.close().await;
    let invited = invited?;
    let (token, ends) = (invited.token.expose(), invited.expires_at.to_rfc3339());
    if output.json {
        say(json!({ "id": invited.id.to_string(), "token": token, "expires_at": ends }));
    } else {
        note(format_args!("The invitation is good once, until {ends}."));
        say(token);
    }
    Ok(())
}

fn told(seen: &AdministeredAccount) -> Value {
    json!({
        "id": seen.account.id.to_string(),
        "email": seen.account.email.as_str(),
        "email_verified": seen.account.email_verified,
        "role": seen.account.role.as_str(),
        "suspended_at": seen.suspension.as_ref().map(|suspension| suspension.at.to_rfc3339()),
        "suspension_reason": seen.suspension.as_ref().map(|suspension| &suspension.reason),
        "created_at": seen.account.created_at.to_rfc3339(),
        "signed_in_at": seen.signed_in_at.map(Timestamp::to_rfc3339),
    })
}

fn show(seen: &AdministeredAccount) {
    let state = match &seen.suspension {
        None => "active".to_owned(),
        Some(suspension) => format!("suspended since {}: {}", suspension.at.to_rfc3339(), suspension.reason),
    };
    say(format_args!("{}  {}, {state}", seen.account.email.as_str(), seen.account.role.as_str()));
}

const fn word(one_time: OneTime) -> &'static str {
    match one_time {
        OneTime::None => "chosen",
        OneTime::Unused => "one-time, unused",
        OneTime::Used => "one-time, used",
        OneTime::Expired => "one-time, expired",
    }
}
