//! The rows of the table, and the order in which they are measured.

mod audit;
mod books;
mod calls;
mod crowd;
mod effects;
mod fan_out;
mod growth;
mod latency;
mod reconnects;
mod sign_ins;
mod start;
mod streams;
mod tokens;
mod wall;

use std::time::Duration;

use capecontrol::payments::Options;
use capecontrol::payments::payfast::itn::signed_body;

use crate::client::unique;
use crate::figures::{ROUNDS, Round, Row, Target};
use crate::scene::{Engine, Places};
use crate::{Outcome, machine, plans, report};

/// How long a program is loaded in one round.
const TURN: Duration = Duration::from_millis(2_000);
/// What people write.
pub const MESSAGE: &str = "The quarterly figures are in; could somebody check the VAT of the March invoices before \
                           they go out on Friday? I have put the open questions below the table.";

/// Measures the rows that the words ask for, and writes the report.
pub async fn run(words: &[String]) -> Outcome<()> {
    let known = |word: &String| {
        [Engine::Sqlite, Engine::Postgres].iter().any(|engine| engine.name() == word)
            || NAMES.iter().any(|name| name.contains(word.as_str()))
    };
    if let Some(word) = words.iter().find(|word| !known(word)) {
        return Err(
            format!("no row is named {word}; there are sqlite, postgres, {}", NAMES.join(", ")).into()
        );
    }
    let machine = machine::describe();
    println!("{machine}");
    println!("{ROUNDS} rounds a row, the platform and its control in turn; the middle of {ROUNDS} is shown");
    println!();
    report::heading();
    let (mut rows, mut explained) = (Vec::new(), Vec::new());
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let names: Vec<&str> = NAMES.into_iter().filter(|name| wanted(words, engine, name)).collect();
        if names.is_empty() {
            continue;
        }
        let places = Places::set(engine).await?;
        for name in names {
            if name == PLANS {
                explained.push(plans::explain(&places).await?);
            } else {
                for row in measure(name, &places).await? {
                    report::line(&row);
                    rows.push(row);
                }
            }
        }
    }
    plans::write(&machine, &explained)?;
    // Asked for the plans alone, the table of the run before stays.
    if rows.is_empty() { Ok(()) } else { report::write(&machine, &rows) }
}

const GET_ACCOUNT: &str = "GetAccount";
const SEND_MESSAGE: &str = "SendMessage";
const HOT_THREAD: &str = "hot thread";
const LATENCY: &str = "latency";
const RECONNECTS: &str = "reconnects";
const CROWD: &str = "crowd";
const NOTIFICATION: &str = "ITN";
const FAN_OUT: &str = "fan-out";
const STREAMS: &str = "streams";
const START: &str = "start";
const SIGN_INS: &str = "sign-ins";
const GROWTH: &str = "growth";
const AUDIT: &str = "audit";
const EFFECTS: &str = "effects";
const BOOKS: &str = "books";
const TOKENS: &str = "tokens";
const PLANS: &str = "plans";
const WALL: &str = "wall";
const NAMES: [&str; 18] = [
    GET_ACCOUNT,
    SEND_MESSAGE,
    HOT_THREAD,
    LATENCY,
    RECONNECTS,
    CROWD,
    NOTIFICATION,
    EFFECTS,
    FAN_OUT,
    STREAMS,
    START,
    TOKENS,
    SIGN_INS,
    AUDIT,
    WALL,
    BOOKS,
    GROWTH,
    PLANS,
];

/// Whether a row is asked for: of the engines those that are named, of the rows those whose name holds a word; all of
/// either when none is named.
fn wanted(words: &[String], engine: Engine, name: &str) -> bool {
    let is_engine = |word: &&String| [Engine::Sqlite, Engine::Postgres].iter().any(|one| one.name() == *word);
    let (engines, names): (Vec<_>, Vec<_>) = words.iter().partition(is_engine);
    // SQLite has no second wall.
    !(name == WALL && engine == Engine::Sqlite)
        && (engines.is_empty() || engines.iter().any(|word| *word == engine.name()))
        && (names.is_empty() || names.iter().any(|word| name.contains(word.as_str())))
}

async fn measure(name: &str, places: &Places) -> Outcome<Vec<Row>> {
    match name {
        GET_ACCOUNT => calls::get_account(places).await,
        SEND_MESSAGE => calls::send_message(places).await,
        HOT_THREAD => calls::hot_thread(places).await,
        LATENCY => latency::measure(places).await,
        RECONNECTS => reconnects::measure(places).await,
        CROWD => crowd::measure(places).await,
        NOTIFICATION => calls::notification_received(places).await,
        FAN_OUT => fan_out::measure(places).await,
        STREAMS => streams::measure(places).await,
        START => start::measure(places).await,
        AUDIT => audit::measure(places).await,
        EFFECTS => effects::measure(places).await,
        BOOKS => books::measure(places).await,
        TOKENS => tokens::measure(places).await,
        SIGN_INS => sign_ins::measure(places).await,
        WALL => wall::measure(places).await,
        _ => growth::measure(places).await,
    }
}

/// A row whose rounds were measured.
fn row(
    places: &Places,
    name: impl Into<String>,
    unit: &'static str,
    target: Target,
    rounds: Vec<(Round, Round)>,
) -> Row {
    let (ours, control) = rounds.into_iter().unzip();
    Row { name: name.into(), engine: places.engine.name(), unit, ours, control, target }
}

/// A signed notification of a payment that nobody asked for, unlike every other.
pub fn notification() -> Vec<u8> {
    let [first, second] = [unique(), unique()].map(|id| id.to_string());
    let fields = [
        ("m_payment_id", first.as_str()),
        ("pf_payment_id", second.as_str()),
        ("payment_status", "PENDING"),
        ("item_name", "Cape Control Pro, monthly"),
        ("item_description", ""),
        ("amount_gross", "529.00"),
        ("amount_fee", "-12.17"),
        ("amount_net", "516.83"),
        ("custom_str1", ""),
        ("name_first", "Ada"),
        ("name_last", "Lovelace"),
        ("email_address", "ada@example.com"),
        ("merchant_id", "10000100"),
    ];
    signed_body(&fields, Options::default().passphrase())
}
