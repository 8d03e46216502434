//! Fills a database with as many rows as years of use would leave, through the platform's own database floor: one text
//! for both engines.
//!
//! Ids are the same in every run and grow with the rows, in the shape of the platform's own. Three things stand out of
//! the crowd, all of the scene's first person and their organisation: a long list of threads, one thread with a long
//! history, and a long list of invoices.

use std::ops::Range;

use capecontrol::app::real;
use capecontrol::audit;
use capecontrol::base::{AccountId, Id, OrganizationId, Timestamp};
use capecontrol::chat::model::{Actor, Change, Message, ThreadId};
use capecontrol::db::{Conn as _, Db, Json, Options, Scope, Statement, Tx};
use capecontrol::keyring::RootKey;
use capecontrol::payments::Ledger;
use capecontrol::payments::model::listing::customer_key;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::Outcome;
use crate::process::{BENCH_KEY, Place};
use crate::rows::MESSAGE;
use crate::scene::{Engine, Scene};

/// The setting that says how many rows a table gets.
const SETTING: &str = "BENCH_ROWS";
const ROWS: u64 = 200_000;
/// Rows of a table that counts as small: enough for a full page of everything that comes in pages.
pub const SMALL: u64 = 400;
/// Rows of one statement. SQLite looks each placeholder up by its name among all of them, so many more are slower.
const STATEMENT: usize = 100;
/// Rows of one transaction.
const TRANSACTION: usize = 10_000;
/// 2026-01-01T00:00:00Z, when the first row was made. Each of the next ones came a second later.
const FIRST: Timestamp = Timestamp::from_seconds(1_767_225_600);
/// 2100-01-01T00:00:00Z: nothing that was filled in runs out while it is measured.
const LATE: Timestamp = Timestamp::from_seconds(4_102_444_800);
/// The least that anything costs: 529.00.
const PRICE: i64 = 52_900;

/// How many rows a table gets.
pub fn rows() -> Outcome<u64> {
    match std::env::var(SETTING) {
        Err(_) => Ok(ROWS),
        Ok(text) => match text.replace([',', '_'], "").parse() {
            Ok(rows) if rows >= SMALL => Ok(rows),
            _ => Err(format!("{SETTING} is {text:?}, which is no number of at least {SMALL}").into()),
        },
    }
}

/// What a database is filled with.
#[derive(Clone, Copy)]
pub struct Filling {
    /// Rows of each table.
    pub rows: u64,
    /// How many of the threads, and of the invoices, are the first person's.
    long: u64,
    tables: &'static [Table],
    organization: OrganizationId,
    person: AccountId,
    /// When the threads were last used: after those of the scene, which therefore stand behind them in every list.
    now: Timestamp,
}

/// What is filled in at once, by the statements that must stand in one transaction.
type Insert = for<'c> fn(&Filling, &'c mut Tx, Range<u64>) -> Statement<'c>;

/// A part of the filling, and its name.
type Table = (&'static str, &'static [Insert]);

/// In an order in which whatever is referred to is there.
const TABLES: &[Table] = &[
    // Each knows the other.
    ("accounts", &[accounts, organizations]),
    ("memberships", &[memberships]),
    ("sessions", &[sessions]),
    ("refresh_tokens", &[refresh_tokens]),
    ("threads", &[threads, thread_members]),
    ("thread_events", &[thread_events]),
    ("messages", &[messages]),
    INVOICES,
    PAYMENTS,
    EVENTS,
    LEDGER,
    ("idempotency_keys", &[idempotency_keys]),
    ("jobs", &[jobs]),
];
/// What money leaves behind, and no more.
const BOOKS: &[Table] = &[INVOICES, PAYMENTS, EVENTS, LEDGER];
const INVOICES: Table = ("invoices", &[invoices, invoice_lines]);
const PAYMENTS: Table = ("payments", &[payments]);
const EVENTS: Table = ("provider_events", &[provider_events, provider_effects, receipts]);
const LEDGER: Table = ("the ledger", &[ledger_transactions, ledger_entries, ledger_postings]);

impl Filling {
    /// So many rows around a scene's first person.
    pub fn new(scene: &Scene, rows: u64) -> Outcome<Self> {
        let person = *scene.accounts.first().ok_or("nobody is there")?;
        let long = (rows / 2).min(10_000);
        Ok(Self {
            rows,
            long,
            tables: TABLES,
            organization: scene.organization,
            person,
            now: real::world().now(),
        })
    }

    /// So many rows in the books, and all of them the first person's.
    pub fn books(scene: &Scene, rows: u64) -> Outcome<Self> {
        Ok(Self { long: rows, tables: BOOKS, ..Self::new(scene, rows)? })
    }

    /// How many of the threads, and of the invoices, are the first person's.
    pub const fn list(&self) -> u64 {
        self.long
    }

    /// How many of the events are the first thread's.
    pub fn history(&self) -> u64 {
        (self.rows / 4).min(50_000)
    }

    /// The thread with the long history.
    pub fn deep_thread() -> ThreadId {
        Id::from_uuid(id(Kind::Thread, 0))
    }

    /// Fills the database of a place. PostgreSQL gets the statistics that autovacuum would have made meanwhile; SQLite
    /// gets none, as the platform never asks for them.
    pub async fn pour(&self, engine: Engine, place: &Place) -> Outcome<()> {
        let db = Db::open(&Options::new(&place.database_url)).await?;
        for (name, inserts) in self.tables {
            self.table(&db, inserts).await?;
            if self.rows > SMALL {
                eprintln!("bench: {}: {} rows in {name}", engine.name(), self.rows);
            }
        }
        // A ledger of years is sealed, and no node should be busy with that while it is measured.
        let (world, root) = (real::world(), RootKey::parse(BENCH_KEY)?);
        let audit = audit::Log::new(world.clone(), root.clone());
        Ledger::new(db.clone(), world, audit, &root).seal().await?;
        db.close().await;
        if let Some(owner) = &place.owner_url {
            let mut conn = PgConnection::connect(owner).await?;
            sqlx::raw_sql("VACUUM ANALYZE").execute(&mut conn).await?;
            conn.close().await?;
        }
        Ok(())
    }

    async fn table(&self, db: &Db, inserts: &[Insert]) -> Outcome<()> {
        for part in parts(0..self.rows, TRANSACTION) {
            let mut tx = db.begin(Scope::System("bench")).await?;
            for insert in inserts {
                for rows in parts(part.clone(), STATEMENT) {
                    insert(self, &mut tx, rows).execute().await?;
                }
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Whose a thread is.
    fn owner(&self, thread: u64) -> (OrganizationId, AccountId) {
        if thread < self.list() {
            (self.organization, self.person)
        } else {
            (organization(thread), account(thread))
        }
    }

    /// Whose an invoice is.
    fn customer(&self, invoice: u64) -> OrganizationId {
        if invoice < self.list() { self.organization } else { organization(invoice) }
    }

    /// Who started the payment of an invoice.
    fn buyer(&self, invoice: u64) -> AccountId {
        if invoice < self.list() { self.person } else { account(invoice) }
    }

    /// The thread that an event belongs to, and its position there.
    fn place(&self, event: u64) -> (u64, i64) {
        let history = self.history();
        if event < history { (0, event as i64 + 1) } else { (event - history + 1, 1) }
    }

    /// How many events a thread has.
    fn events(&self, thread: u64) -> i64 {
        match thread {
            0 => self.history() as i64,
            thread if thread <= self.rows - self.history() => 1,
            _ => 0,
        }
    }

    fn message(&self, number: u64) -> Message {
        let (thread, seq) = self.place(number);
        Message {
            id: Id::from_uuid(id(Kind::Message, number)),
            thread_id: Id::from_uuid(id(Kind::Thread, thread)),
            seq,
            author: Actor::Account(self.owner(thread).1),
            client_message_id: Some(id(Kind::Key, number)),
            reply_to: None,
            text: MESSAGE.to_owned(),
            attachments: Vec::new(),
            created_at: at(number),
            edited_at: None,
            deleted_at: None,
        }
    }
}

/// What an id is of.
#[derive(Clone, Copy)]
enum Kind {
    Account = 1,
    Organization,
    Session,
    Thread,
    Message,
    Key,
    Invoice,
    Payment,
    Event,
    Receipt,
    Ledger,
    Job,
}

/// The id of a row: version 7, growing with the rows.
fn id(kind: Kind, number: u64) -> Uuid {
    let mut random = [kind as u8; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Id::<Filling>::mint(at(number).as_micros() as u64 / 1_000, &random).uuid()
}

fn account(number: u64) -> AccountId {
    Id::from_uuid(id(Kind::Account, number))
}

fn organization(number: u64) -> OrganizationId {
    Id::from_uuid(id(Kind::Organization, number))
}

/// When a row was made.
fn at(number: u64) -> Timestamp {
    FIRST.plus(std::time::Duration::from_secs(number))
}

/// What a row's invoice comes to: not in the order of the rows.
fn price(number: u64) -> i64 {
    PRICE + (scattered(number) % 1_000_000) as i64
}

/// Numbers all over, in no order, the same in every run (a mixer of 64 bits without collisions).
fn scattered(number: u64) -> u64 {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// As long as a hash, as scattered as one, and no other row's of the kind.
fn digest(kind: Kind, number: u64) -> Vec<u8> {
    let part = |salt: u64| scattered(number.wrapping_add((salt * 16 + kind as u64) << 56)).to_be_bytes();
    (0..4).flat_map(part).collect()
}

/// A range in parts of at most so many.
fn parts(whole: Range<u64>, most: usize) -> impl Iterator<Item = Range<u64>> {
    whole.clone().step_by(most).map(move |first| first..whole.end.min(first + most as u64))
}

fn accounts<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.shared_sql(
        "INSERT INTO accounts (id, personal_organization_id, email, role, password_hash, terms_version,
            terms_accepted_at, display_name, bio, company, website, skills, interests, preferences, version,
            created_at, updated_at) VALUES $rows",
    )
    .rows(rows, |statement, row| {
        let statement = statement.bind(account(row)).bind(organization(row));
        let statement = statement.bind(format!("filled{row}@bench.example")).bind("customer");
        let statement = statement.bind("none").bind("2026-01").bind(at(row)).bind(format!("Filled {row}"));
        let statement = statement.bind("").bind("").bind("");
        let statement = statement.bind(list()).bind(list()).bind(Json(serde_json::json!({})));
        statement.bind(1_i64).bind(at(row)).bind(at(row))
    })
}

fn list() -> Json<Vec<String>> {
    Json(Vec::new())
}

fn organizations<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.sql("INSERT INTO organizations (id, name, personal_account_id, version, created_at, updated_at) VALUES $rows")
        .rows(rows, |statement, row| {
            let statement =
                statement.bind(organization(row)).bind(format!("Filled {row}")).bind(account(row));
            statement.bind(1_i64).bind(at(row)).bind(at(row))
        })
}

fn memberships<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.sql("INSERT INTO memberships (organization_id, account_id, role, created_at) VALUES $rows")
        .rows(rows, |statement, row| {
            statement.bind(organization(row)).bind(account(row)).bind("owner").bind(at(row))
        })
}

fn sessions<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.shared_sql(
        "INSERT INTO sessions (id, account_id, agent, created_at, used_at, expires_at) VALUES $rows",
    )
    .rows(rows, |statement, row| {
        let statement = statement.bind(id(Kind::Session, row)).bind(account(row)).bind("bench");
        statement.bind(at(row)).bind(at(row)).bind(LATE)
    })
}

fn refresh_tokens<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.shared_sql("INSERT INTO refresh_tokens (token_hash, session_id, generation, created_at) VALUES $rows")
        .rows(rows, |statement, row| {
            let statement = statement.bind(digest(Kind::Session, row)).bind(id(Kind::Session, row));
            statement.bind(1_i64).bind(at(row))
        })
}

fn threads<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql(
        "INSERT INTO threads (id, organization_id, created_by, title, last_seq, epoch, created_at, updated_at)
         VALUES $rows",
    )
    .rows(rows, move |statement, row| {
        let (organization, account) = filling.owner(row);
        let statement = statement.bind(id(Kind::Thread, row)).bind(organization).bind(account);
        let statement = statement.bind(format!("Thread {row}")).bind(filling.events(row)).bind(1_i64);
        statement.bind(at(row)).bind(filling.now.plus(std::time::Duration::from_micros(row)))
    })
}

fn thread_members<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql("INSERT INTO thread_members (thread_id, account_id, organization_id, created_at) VALUES $rows")
        .rows(rows, move |statement, row| {
            let (organization, account) = filling.owner(row);
            statement.bind(id(Kind::Thread, row)).bind(account).bind(organization).bind(at(row))
        })
}

fn thread_events<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql(
        "INSERT INTO thread_events (thread_id, seq, organization_id, actor_kind, actor_id, payload, created_at)
         VALUES $rows",
    )
    .rows(rows, move |statement, row| {
        let (organization, account) = filling.owner(filling.place(row).0);
        let message = filling.message(row);
        let statement = statement.bind(message.thread_id).bind(message.seq).bind(organization);
        let statement = statement.bind("account").bind(account);
        statement.bind(Json(Change::MessageCreated(message))).bind(at(row))
    })
}

fn messages<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql(
        "INSERT INTO messages (id, thread_id, organization_id, seq, author_kind, author_id, client_message_id,
            body_hash, text, created_at) VALUES $rows",
    )
    .rows(rows, move |statement, row| {
        let (organization, account) = filling.owner(filling.place(row).0);
        let message = filling.message(row);
        let statement = statement.bind(message.id).bind(message.thread_id).bind(organization).bind(message.seq);
        let statement = statement.bind("account").bind(account).bind(message.client_message_id);
        statement.bind(digest(Kind::Message, row)).bind(message.text).bind(at(row))
    })
}

fn invoices<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql(
        "INSERT INTO invoices (id, organization_id, origin, number, status, currency, total_minor, tax_minor,
            tax_rate_bp, prices_include_tax, credited_minor, supplier_legal_name, supplier_trading_name,
            supplier_vat_number, supplier_address, customer_name, customer_key, customer_vat_number,
            customer_address, test, created_at, issued_at, paid_at, due_at) VALUES $rows",
    )
    .rows(rows, move |statement, row| {
        let statement = statement.bind(id(Kind::Invoice, row)).bind(filling.customer(row)).bind("checkout");
        let statement = statement.bind(format!("BENCH-{row:08}")).bind("paid").bind("ZAR").bind(price(row));
        let statement = statement
            .bind(0_i64)
            .bind(0_i64)
            .bind(true)
            .bind(0_i64)
            .bind("Bench CC")
            .bind("Bench")
            .bind("")
            .bind("1 Long Street");
        let customer = format!("Customer {:06}", scattered(row) % 1_000_000);
        let statement = statement.bind(customer.clone()).bind(customer_key(&customer));
        let statement = statement.bind("").bind("2 Long Street").bind(true);
        statement.bind(at(row)).bind(at(row)).bind(at(row)).bind(at(row + scattered(row) % 7_000_000))
    })
}

fn invoice_lines<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql(
        "INSERT INTO invoice_lines (invoice_id, organization_id, position, description, quantity, unit_minor,
            total_minor, plan_id, billing_cycle) VALUES $rows",
    )
    .rows(rows, move |statement, row| {
        let statement = statement.bind(id(Kind::Invoice, row)).bind(filling.customer(row)).bind(1_i64);
        let statement = statement.bind("Pro, monthly").bind(1_i64).bind(price(row)).bind(price(row));
        statement.bind("pro").bind("monthly")
    })
}

fn payments<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql(
        "INSERT INTO payments (id, organization_id, account_id, invoice_id, provider, status, plan_id, billing_cycle,
            currency, amount_minor, fee_minor, provider_payment_id, test, created_at, updated_at, settled_at)
         VALUES $rows",
    )
    .rows(rows, move |statement, row| {
        let statement = statement.bind(id(Kind::Payment, row)).bind(filling.customer(row)).bind(filling.buyer(row));
        let statement = statement.bind(id(Kind::Invoice, row)).bind("payfast").bind("succeeded").bind("pro");
        let statement = statement.bind("monthly").bind("ZAR").bind(price(row)).bind(0_i64).bind(row.to_string());
        statement.bind(true).bind(at(row)).bind(at(row)).bind(at(row))
    })
}

fn provider_events<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.shared_sql(
        "INSERT INTO provider_events (id, provider, body, body_hash, peer, headers, status, detail, payment_status,
            provider_payment_id, payment_reference, deliveries, received_at, last_received_at, applied_at)
         VALUES $rows",
    )
    .rows(rows, |statement, row| {
        let payment = id(Kind::Payment, row).to_string();
        let body = format!("m_payment_id={payment}&pf_payment_id={row}&payment_status=COMPLETE&{MESSAGE}");
        let statement = statement.bind(id(Kind::Event, row)).bind("payfast").bind(body.into_bytes());
        let statement = statement.bind(digest(Kind::Event, row)).bind("127.0.0.1").bind("[]").bind("applied").bind("");
        let statement = statement.bind("COMPLETE").bind(row.to_string()).bind(payment).bind(1_i64);
        statement.bind(at(row)).bind(at(row)).bind(at(row))
    })
}

fn provider_effects<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.shared_sql(
        "INSERT INTO provider_effects (provider, provider_payment_id, payment_status, event_id, created_at)
         VALUES $rows",
    )
    .rows(rows, |statement, row| {
        let statement = statement.bind("payfast").bind(row.to_string()).bind("COMPLETE");
        statement.bind(id(Kind::Event, row)).bind(at(row))
    })
}

fn receipts<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql(
        "INSERT INTO receipts (id, organization_id, payment_id, invoice_id, event_id, provider, provider_payment_id,
            status, currency, gross_minor, fee_minor, returned_minor, test, created_at) VALUES $rows",
    )
    .rows(rows, move |statement, row| {
        let statement = statement.bind(id(Kind::Receipt, row)).bind(filling.customer(row));
        let statement = statement.bind(id(Kind::Payment, row)).bind(id(Kind::Invoice, row));
        let statement = statement.bind(id(Kind::Event, row)).bind("payfast").bind(row.to_string());
        let statement = statement.bind("applied").bind("ZAR").bind(price(row)).bind(0_i64).bind(0_i64);
        statement.bind(true).bind(at(row))
    })
}

fn ledger_transactions<'c>(filling: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let filling = *filling;
    tx.sql(
        "INSERT INTO ledger_transactions (id, organization_id, kind, payment_id, invoice_id, event_id, memo, created_at)
         VALUES $rows",
    )
    .rows(rows, move |statement, row| {
        let statement = statement.bind(id(Kind::Ledger, row)).bind(filling.customer(row)).bind("settlement");
        let statement = statement.bind(id(Kind::Payment, row)).bind(id(Kind::Invoice, row));
        statement.bind(id(Kind::Event, row)).bind("Filled").bind(at(row))
    })
}

fn ledger_entries<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    let sides = [(1_i64, "payfast_clearing", 1), (2, "revenue", -1)];
    tx.shared_sql(
        "INSERT INTO ledger_entries (transaction_id, position, account_id, currency, amount_minor) VALUES $rows",
    )
    .rows(rows.flat_map(|row| sides.map(|side| (row, side))), |statement, (row, (position, account, sign))| {
        statement.bind(id(Kind::Ledger, row)).bind(position).bind(account).bind("ZAR").bind(sign * price(row))
    })
}

fn ledger_postings<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.shared_sql("INSERT INTO ledger_postings (transaction_id, posted_at) VALUES $rows")
        .rows(rows, |statement, row| statement.bind(id(Kind::Ledger, row)).bind(at(row)))
}

fn idempotency_keys<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.shared_sql(
        "INSERT INTO idempotency_keys (principal, method, key, body_hash, answer, expires_at) VALUES $rows",
    )
    .rows(rows, |statement, row| {
        let statement =
            statement.bind(account(row).to_string()).bind("capecontrol.auth.v1.AuthService/Login");
        statement.bind(id(Kind::Key, row)).bind(digest(Kind::Key, row)).bind("{}").bind(LATE)
    })
}

/// A job that is done leaves nothing behind; only one that failed for good stays.
fn jobs<'c>(_: &Filling, tx: &'c mut Tx, rows: Range<u64>) -> Statement<'c> {
    tx.sql(
        "INSERT INTO jobs (id, kind, payload, state, run_at, attempts, fence, last_error, created_at) VALUES $rows",
    )
    .rows(rows, |statement, row| {
        let statement = statement.bind(id(Kind::Job, row)).bind("bench").bind("{}").bind("dead").bind(at(row));
        statement.bind(1_i64).bind(1_i64).bind("It failed.").bind(at(row))
    })
}
