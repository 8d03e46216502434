//! The settings of a node: defaults, under a TOML file, under the environment, under flags.
//!
//! Everything wrong is told at once, an unknown key is an error, and a secret can come from a file (`…_FILE`). Reading
//! has no effect: folders and keys are made by whoever starts the node.

mod section;
mod source;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

pub use source::{Effective, Problem, Problems, Sources};

use crate::auth::hashing;
use crate::auth::model::Registration;
use crate::base::Secret;
use crate::base::net::Network;
use crate::keyring::RootKey;
use crate::{audit, bus, chat, jobs, mail, payments, rpc, scan, storage};
use source::Reader;

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the node keeps its files.
    pub data_dir: PathBuf,
    /// The listener for clients.
    pub server: Server,
    /// The listener for operators.
    pub ops_listen: SocketAddr,
    /// The database.
    pub database: Database,
    /// Over what nodes hear of each other.
    pub bus: bus::Route,
    /// The root key; `None` has one made in the data folder.
    pub root_key: Option<RootKey>,
    /// Accounts and passwords.
    pub auth: Auth,
    /// The supplier on invoices.
    pub supplier: payments::Supplier,
    /// The payment provider.
    pub payfast: PayFast,
    /// How often callers may call.
    pub limits: rpc::limits::Options,
    /// Letters.
    pub mail: Mail,
    /// Where files are kept.
    pub storage: storage::Route,
    /// Who looks into them.
    pub scan: scan::Route,
    /// Logs.
    pub log: Log,
    /// Bounds that have no setting of their own.
    pub bounds: Bounds,
}

/// Bounds that have no setting of their own: good for every node, changed by tests.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Calls.
    pub calls: rpc::gate::Options,
    /// Connections.
    pub connections: rpc::server::Options,
    /// Streams and agents' turns.
    pub chat: chat::Options,
    /// Jobs.
    pub jobs: jobs::Options,
    /// The audit log.
    pub audit: audit::Options,
    /// The ledger.
    pub ledger: payments::LedgerOptions,
    /// How long the payment provider may take to confirm a notification.
    pub confirmation_max: Duration,
    /// How long the payment provider's API may take to answer.
    pub api_max: Duration,
    /// How many rows of the payment provider's history are asked for at once.
    pub history_rows: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            calls: rpc::gate::Options::default(),
            connections: rpc::server::Options::default(),
            chat: chat::Options::default(),
            jobs: jobs::Options::default(),
            audit: audit::Options::default(),
            ledger: payments::LedgerOptions::default(),
            confirmation_max: payments::Options::default().confirmation_max,
            api_max: payments::Options::default().api_max,
            history_rows: payments::Options::default().history_rows,
        }
    }
}

/// The listener for clients.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// How the outside reaches the node: links, notify addresses, the issuer of tokens. Without a slash at its end.
    pub public_url: String,
    /// Whose forwarding headers count.
    pub trusted_proxies: Vec<Network>,
    /// Which browser origins may call.
    pub allowed_origins: Vec<HeaderValue>,
    /// How long calls may still take when the node stops.
    pub drain_max: Duration,
}

/// The database.
#[derive(Clone, Debug)]
pub struct Database {
    /// `sqlite://…` or `postgres://…`; may hold a password.
    pub url: Secret<String>,
    /// The same database as the role that owns its tables; PostgreSQL only.
    pub owner_url: Option<Secret<String>>,
    /// Whether to migrate when the node starts.
    pub migrate: bool,
    /// Connections at most.
    pub connections_max: u32,
}

/// Accounts and passwords.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The first administrator's address.
    pub administrator_email: String,
    /// The cost of hashing passwords, and how many may wait.
    pub hashing: hashing::Options,
    /// How long a link in a letter works.
    pub link_ttl: Duration,
    /// The version of the terms that a registration must accept.
    pub terms_version: String,
    /// Who may register.
    pub registration: Registration,
    /// How long a signing key signs.
    pub signing_key_period: Duration,
    /// How long an invitation to an organisation can be accepted.
    pub invitation_ttl: Duration,
}

/// The payment provider.
#[derive(Clone, Debug)]
pub struct PayFast {
    /// Which one.
    pub mode: payments::Mode,
    /// Our number there.
    pub merchant_id: String,
    /// Our key there.
    pub merchant_key: Secret<String>,
    /// The passphrase that signs.
    pub passphrase: Secret<String>,
    /// Whether checkouts may be started.
    pub checkouts_open: bool,
}

/// Letters.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Where they go.
    pub route: mail::Route,
    /// The sender.
    pub from: mail::Sender,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one JSON object in a line.
    Json,
}

/// Logs.
#[derive(Clone, Debug)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// What is logged, as `tracing` filters.
    pub filter: String,
}

impl Config {
    /// Reads the settings, and tells what each came out as.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(sources: Sources) -> Result<(Self, Vec<Effective>), Problems> {
        let mut reader = Reader::new(sources)?;
        let config = section::read(&mut reader);
        let effective = reader.finish()?;
        // A section is missing only when something was wrong with it, which the line above has told.
        config.map(|config| (config, effective)).ok_or_else(Problems::default)
    }
}
