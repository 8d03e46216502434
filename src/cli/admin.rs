//! `admin …`: who runs the platform.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Output, input, log, operator, say};
use crate::app::{Console, real};
use crate::auth::Email;
use crate::auth::service::{CreateAdministrator, Created, OneTime};
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
}

pub(super) async fn run(config: Config, command: Command) -> Result<ExitCode, Failure> {
    log::init(&config.log);
    match command {
        Command::Create { email, password_stdin, output } => {
            create(&config, email, password_stdin, output).await?;
        }
        Command::List { output } => list(&config, output).await?,
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

const fn word(one_time: OneTime) -> &'static str {
    match one_time {
        OneTime::None => "chosen",
        OneTime::Unused => "one-time, unused",
        OneTime::Used => "one-time, used",
        OneTime::Expired => "one-time, expired",
    }
}
