//! How the engines run the hot statements on tables that are full: `target/bench/plans.md`.
//!
//! The text of each statement is what the store's source says when this is compiled, so it cannot be another than the
//! one that runs.

use std::fmt::Write as _;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use crate::literals::{self, Text};
use crate::scene::{Engine, Places};
use crate::tidy::source::Source;
use crate::{Outcome, explain, fill, report};

/// How many rows or values are written for a list.
const LIST: usize = 3;

/// A statement: the first one of a function.
struct Hot {
    what: &'static str,
    path: &'static str,
    source: &'static str,
    function: &'static str,
}

macro_rules! hot {
    ($($path:literal { $($function:literal: $what:literal),+ $(,)? })+) => {
        &[$($(Hot {
            what: $what,
            path: concat!("src/", $path),
            source: include_str!(concat!("../../src/", $path)),
            function: $function,
        }),+),+]
    };
}

const HOT: &[Hot] = hot! {
    "auth/store/session.rs" {
        "standing": "the session behind a call",
        "standing_among": "the sessions behind streams",
        "refresh_token": "a refresh token",
    }
    "auth/store/account.rs" {
        "row": "GetAccount",
        "credentials": "signing in by address",
    }
    "auth/store.rs" {
        "membership": "whether an account is a member",
        "memberships_among": "the memberships behind streams",
    }
    "chat/store.rs" {
        "advance": "the next position of a thread",
        "lock_threads": "the threads that are sent to",
        "set_heads": "where threads stand after that",
        "heads": "how far threads have come",
        "members_among": "the members behind streams",
    }
    "chat/store/thread.rs" {
        "organization_of_thread": "whose a thread is",
        "threads": "a page of threads",
    }
    "chat/store/member.rs" {
        "senders": "how those who send stand",
        "seats": "whether streams may follow their threads",
    }
    "chat/store/message.rs" { "insert_messages": "writing messages" }
    "chat/store/word.rs" { "insert_words": "noting the words of messages" }
    "chat/store/event.rs" {
        "insert_events": "writing events",
        "events_after": "a page of events",
    }
    "payments/store/event.rs" {
        "insert": "storing a notification",
        "take_effect": "taking the right to an effect",
    }
    "payments/store/payment.rs" {
        "get": "a payment",
        "newest_of_invoice": "the newest payment of an invoice",
    }
    "payments/store/invoice.rs" { "lines": "the lines of invoices" }
    "payments/store/listing.rs" {
        "newest": "a page of invoices: their places",
        "invoices": "a page of invoices",
    }
    "payments/store/ledger.rs" {
        "insert_head": "posting: the head",
        "post": "posting: the entries",
    }
    "jobs/store.rs" {
        "claim": "claiming jobs",
        "earliest": "when the next job is due",
    }
    "idempotency/store.rs" { "insert": "taking a request id" }
};

/// The plans of one engine, in the order of [`HOT`].
pub struct Explained {
    engine: Engine,
    plans: Vec<Vec<String>>,
}

/// Asks an engine for the plans of all hot statements on full tables.
pub async fn explain(places: &Places) -> Outcome<Explained> {
    // Filling tables takes minutes: what is missing is told before.
    let texts = HOT.iter().map(Hot::text).collect::<Outcome<Vec<_>>>()?;
    let mut asked = Connection::open(places).await?;
    let mut plans = Vec::new();
    for (hot, text) in HOT.iter().zip(texts) {
        let plan = asked.plan(&text).await;
        plans.push(plan.map_err(|error| format!("{} in {}: {error}", hot.function, hot.path))?);
    }
    Ok(Explained { engine: places.engine, plans })
}

/// Writes what the engines said; nothing when none was asked.
pub fn write(machine: &str, explained: &[Explained]) -> Outcome<()> {
    if explained.is_empty() {
        return Ok(());
    }
    let mut text =
        format!("# Plans of the hot statements\n\n{machine}; {} rows in each table\n", fill::rows()?);
    for (number, hot) in HOT.iter().enumerate() {
        let _ = write!(text, "\n## {}\n\n`{}`, `{}`\n", hot.what, hot.path, hot.function);
        for Explained { engine, plans } in explained {
            let plan = plans.get(number).map(|lines| lines.join("\n")).unwrap_or_default();
            let plan = if plan.is_empty() { "(nothing is looked up)" } else { plan.as_str() };
            let _ = write!(text, "\n{}:\n\n```text\n{plan}\n```\n", engine.name());
        }
    }
    let file = report::folder()?.join("plans.md");
    std::fs::write(&file, text)?;
    println!("plans of {} statements written to {}", HOT.len(), file.display());
    Ok(())
}

impl Hot {
    /// The statement as it stands in the source.
    fn text(&self) -> Outcome<Text> {
        let missing = || format!("no statement in `{}` of {}", self.function, self.path);
        let heads = [format!("fn {}(", self.function), format!("fn {}<", self.function)];
        let mut lines = self.source.lines().enumerate();
        let begins = |line: &str| heads.iter().any(|head| line.contains(head));
        let (first, _) = lines.find(|(_, line)| begins(line)).ok_or_else(missing)?;
        let (last, _) = lines.find(|(_, line)| *line == "}").ok_or_else(missing)?;
        let within = |place: &str| {
            let line: Option<usize> = place.rsplit(':').next().and_then(|line| line.parse().ok());
            line.is_some_and(|line| (first + 1..=last).contains(&line))
        };
        let calls = literals::calls(&Source::new(self.path, self.source));
        let call = calls.into_iter().find(|call| within(&call.place));
        Ok(call.and_then(|call| call.text).ok_or_else(missing)?)
    }
}

/// A look at the full tables from outside the platform.
enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    async fn open(places: &Places) -> Outcome<Self> {
        let url = &places.filled().await?.database_url;
        Ok(match places.engine {
            Engine::Sqlite => Self::Sqlite(SqliteConnection::connect(url).await?),
            Engine::Postgres => Self::Postgres(PgConnection::connect(url).await?),
        })
    }

    async fn plan(&mut self, text: &Text) -> Outcome<Vec<String>> {
        Ok(match self {
            Self::Sqlite(conn) => explain::sqlite(conn, &literals::expanded(&text.sqlite, LIST)?).await?,
            Self::Postgres(conn) => {
                let text = literals::with_ids(&literals::expanded(&text.postgres, LIST)?);
                let values = literals::placeholders(&text).max().unwrap_or_default();
                explain::postgres(conn, &text, values).await?
            }
        })
    }
}
