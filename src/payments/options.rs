//! What the payments domain is told at start: whose account at the provider, where things are, who the supplier is.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::Secret;
use crate::db::words;

use super::payfast::api::call::HISTORY_ROWS_MAX;
use super::payfast::{self, source};

words! {
    /// Which PayFast the platform talks to.
    pub enum Mode {
        /// The one that is built in. No money moves.
        Simulator = "simulator",
        /// PayFast's sandbox. No money moves.
        Sandbox = "sandbox",
        /// The real one.
        Live = "live",
    }
}

/// Who charges, as it stands on invoices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supplier {
    /// The legal name; each has its own series of invoice numbers.
    pub legal_name: String,
    /// The trading name.
    pub trading_name: String,
    /// The value-added tax number.
    pub vat_number: String,
    /// The postal address; required in live mode.
    pub address: String,
}

impl Default for Supplier {
    fn default() -> Self {
        Self {
            legal_name: "Cape Craft Projects CC".to_owned(),
            trading_name: "Cape Control".to_owned(),
            vat_number: "4270105119".to_owned(),
            address: String::new(),
        }
    }
}

/// What the payments domain is told at start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which PayFast.
    pub mode: Mode,
    /// Our merchant id there.
    pub merchant_id: String,
    /// Our merchant key there.
    pub merchant_key: Secret<String>,
    /// What signatures are made with; empty for none, which live mode refuses.
    pub passphrase: Secret<String>,
    /// Where the platform is reached from outside, without a slash at the end.
    pub public_url: String,
    /// Origins that return and cancel addresses may have, beside the public one, such as `https://app.example.com`.
    pub return_origins: Vec<String>,
    /// Who charges.
    pub supplier: Supplier,
    /// How long the provider may take to confirm a notification.
    pub confirmation_max: Duration,
    /// How long the provider's API may take to answer. A bank is asked meanwhile.
    pub api_max: Duration,
    /// How many rows of history are asked for at once.
    pub history_rows: u32,
    /// Whether checkouts may be started. When not, everything else goes on.
    pub checkouts_open: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Simulator,
            merchant_id: payfast::SIMULATOR_MERCHANT_ID.to_owned(),
            merchant_key: Secret::new(payfast::SIMULATOR_MERCHANT_KEY.to_owned()),
            passphrase: Secret::new(payfast::SIMULATOR_PASSPHRASE.to_owned()),
            public_url: "http://127.0.0.1:8080".to_owned(),
            return_origins: Vec::new(),
            supplier: Supplier::default(),
            confirmation_max: Duration::from_secs(15),
            api_max: Duration::from_secs(60),
            history_rows: HISTORY_ROWS_MAX,
            checkouts_open: true,
        }
    }
}

impl Options {
    /// The passphrase, when there is one.
    #[must_use]
    pub fn passphrase(&self) -> Option<&str> {
        Some(self.passphrase.expose().as_str()).filter(|passphrase| !passphrase.is_empty())
    }

    /// True when no money moves.
    #[must_use]
    pub fn test(&self) -> bool {
        self.mode != Mode::Live
    }

    /// Where the buyer's browser posts the form.
    #[must_use]
    pub fn process_url(&self) -> String {
        self.provider_url("process")
    }

    /// Where PayFast is asked whether it sent a notification.
    #[must_use]
    pub fn validate_url(&self) -> String {
        self.provider_url("query/validate")
    }

    /// Where PayFast's API is, without a slash at the end. The sandbox's is told by a parameter.
    #[must_use]
    pub fn api_url(&self) -> String {
        match self.mode {
            Mode::Simulator => format!("{}/simulator/payfast/api", self.public_url.trim_end_matches('/')),
            Mode::Sandbox | Mode::Live => "https://api.payfast.co.za".to_owned(),
        }
    }

    /// Where PayFast sends its notifications. It is ours, never a caller's.
    #[must_use]
    pub fn notify_url(&self) -> String {
        format!("{}/payfast/itn", self.public_url.trim_end_matches('/'))
    }

    /// Where the buyer goes when a caller names no address.
    #[must_use]
    pub fn home_url(&self) -> String {
        format!("{}/", self.public_url.trim_end_matches('/'))
    }

    /// True when notifications are expected from `peer`. The simulator sends from this machine.
    #[must_use]
    pub fn lists(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| match self.mode {
            Mode::Simulator => peer.to_canonical().is_loopback(),
            Mode::Sandbox | Mode::Live => source::is_payfast(peer),
        })
    }

    fn provider_url(&self, path: &str) -> String {
        let base = match self.mode {
            Mode::Simulator => format!("{}/simulator/payfast", self.public_url.trim_end_matches('/')),
            Mode::Sandbox => "https://sandbox.payfast.co.za".to_owned(),
            Mode::Live => "https://www.payfast.co.za".to_owned(),
        };
        format!("{base}/eng/{path}")
    }
}
