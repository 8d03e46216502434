//! The settings themselves: key, default, meaning, and what makes a value wrong.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderValue, Uri};

use super::source::Reader;
use super::{Auth, Bounds, Config, Database, Log, LogFormat, Mail, PayFast, Server};
use crate::auth::hashing;
use crate::auth::model::Registration;
use crate::base::net::Network;
use crate::base::{Rate, Secret};
use crate::bus::{Route, nats};
use crate::keyring::RootKey;
use crate::mail::{self, Sender};
use crate::payments::doctor::reachable;
use crate::payments::payfast::{SIMULATOR_MERCHANT_ID, SIMULATOR_MERCHANT_KEY, SIMULATOR_PASSPHRASE};
use crate::payments::{Mode, Supplier};
use crate::rpc::limits::Options as Limits;
use crate::{scan, storage};

pub(super) fn read(reader: &mut Reader) -> Option<Config> {
    let data_dir =
        reader.take("DATA_DIR", "./data", "folder for the node's files", |text| Ok(PathBuf::from(text)));
    let server = server(reader);
    let ops_listen =
        reader.take("OPS__LISTEN", "127.0.0.1:9090", "address for metrics and diagnostics", address);
    let data = data_dir.clone().unwrap_or_default();
    let database = database(reader, &data);
    let bus = bus(reader, database.as_ref());
    let root_key = root_key(reader, database.as_ref());
    let auth = auth(reader, server.as_ref());
    let supplier = supplier(reader);
    let payfast = payfast(reader, server.as_ref(), supplier.as_ref());
    let limits = limits(reader);
    let mail = mail(reader, &data);
    let storage = storage(reader, &data);
    let scan = scan(reader);
    let log = log(reader);
    Some(Config {
        data_dir: data_dir?,
        server: server?,
        ops_listen: ops_listen?,
        database: database?,
        bus: bus?,
        root_key: root_key?,
        auth: auth?,
        supplier: supplier?,
        payfast: payfast?,
        limits: limits?,
        mail: mail?,
        storage: storage?,
        scan: scan?,
        log: log?,
        bounds: Bounds::default(),
    })
}

fn server(reader: &mut Reader) -> Option<Server> {
    let by_port = reader.host_port.clone().map(|port| format!("0.0.0.0:{port}"));
    let default = by_port.as_deref().unwrap_or("127.0.0.1:8080");
    let listen = reader.take("SERVER__LISTEN", default, "address for clients", address);
    let default = listen.map(|listen| format!("http://{listen}")).unwrap_or_default();
    let public_url =
        reader.take("SERVER__PUBLIC_URL", &default, "how the outside reaches the node", origin_or_url);
    let trusted_proxies = reader.take(
        "SERVER__TRUSTED_PROXIES",
        "",
        "networks whose forwarding headers count, separated by commas",
        |text| list(text, |word| Network::parse(word).ok_or_else(|| format!("{word} is no network"))),
    );
    let allowed_origins = reader.take(
        "SERVER__ALLOWED_ORIGINS",
        "",
        "browser origins that may call, separated by commas",
        |text| list(text, browser_origin),
    );
    let drain_max = reader.take(
        "SERVER__DRAIN_SECONDS",
        "20",
        "how long calls may still take when the node stops",
        |text| whole(text, 1, 600).map(Duration::from_secs),
    );
    Some(Server {
        listen: listen?,
        public_url: public_url?,
        trusted_proxies: trusted_proxies?,
        allowed_origins: allowed_origins?,
        drain_max: drain_max?,
    })
}

fn database(reader: &mut Reader, data: &std::path::Path) -> Option<Database> {
    let default = format!("sqlite://{}", data.join("capecontrol.db").display());
    let url = reader.secret("DATABASE__URL", &default, "sqlite://<path> or postgres://…", |text| {
        let known =
            ["sqlite://", "postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        if known {
            Ok(Secret::new(text.to_owned()))
        } else {
            Err("must begin with sqlite:// or postgres://".to_owned())
        }
    });
    let on_sqlite = url.as_ref().is_some_and(|url| url.expose().starts_with("sqlite://"));
    let owner_url = owner_url(reader, on_sqlite);
    let default = if on_sqlite { "true" } else { "false" };
    let migrate = reader.take("DATABASE__MIGRATE", default, "migrate when the node starts", flag);
    let connections_max = reader.take(
        "DATABASE__CONNECTIONS_MAX",
        "16",
        "connections of this node at most (readers, on SQLite)",
        |text| whole(text, 1, 1_000),
    );
    Some(Database { url: url?, owner_url: owner_url?, migrate: migrate?, connections_max: connections_max? })
}

#[expect(clippy::option_option, reason = "the outer one is 'wrong', the inner 'not given'")]
fn owner_url(reader: &mut Reader, on_sqlite: bool) -> Option<Option<Secret<String>>> {
    let key = "DATABASE__OWNER_URL";
    let help = "the same database as the role that owns its tables, for migrate, backup and restore; PostgreSQL only";
    reader.secret(key, "", help, |text| {
        let postgres = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        match text {
            "" => Ok(None),
            _ if on_sqlite => Err("is for PostgreSQL, and DATABASE__URL names SQLite".to_owned()),
            _ if postgres => Ok(Some(Secret::new(text.to_owned()))),
            _ => Err("must begin with postgres://".to_owned()),
        }
    })
}

fn bus(reader: &mut Reader, database: Option<&Database>) -> Option<Route> {
    let key = "BUS__URL";
    let help =
        "how nodes hear of each other: nats://…, or empty for PostgreSQL's NOTIFY, on SQLite for one process";
    let nats = reader.secret(key, "", help, |text| match text {
        "" => Ok(None),
        text => nats::Options::parse(text).map(Some),
    });
    let help = "what the subject on NATS begins with; every platform has its own";
    let prefix = reader.take("BUS__PREFIX", "capecontrol", help, nats::Options::parse_prefix);
    let help = "certificates (PEM) that may sign the NATS server's, instead of the system's";
    let authorities = reader.take("BUS__CA_FILE", "", help, |file| match file {
        "" => Ok(None),
        file => match std::fs::read(file) {
            Ok(_) => Ok(Some(PathBuf::from(file))),
            Err(error) => Err(format!("{file} cannot be read: {error}")),
        },
    });
    let on_sqlite = database?.url.expose().starts_with("sqlite://");
    let (nats, prefix, authorities) = (nats?, prefix?, authorities?);
    match nats {
        Some(_) if on_sqlite => {
            reader.problem(
                key,
                "is for several nodes, and DATABASE__URL names SQLite, from which one node serves: leave it empty",
            );
            None
        }
        Some(mut options) => {
            options.prefix = prefix;
            options.authorities = authorities;
            Some(Route::Nats(options))
        }
        None if on_sqlite => Some(Route::Local),
        None => Some(Route::Postgres),
    }
}

#[expect(clippy::option_option, reason = "the outer one is 'wrong', the inner 'not given'")]
fn root_key(reader: &mut Reader, database: Option<&Database>) -> Option<Option<RootKey>> {
    let key = "SECURITY__ROOT_KEY";
    let help = "32 bytes in base64 that wrap all other keys, the same on all nodes; made in the data folder on SQLite";
    let root = reader.secret(key, "", help, |text| {
        if text.is_empty() {
            Ok(None)
        } else {
            RootKey::parse(text).map(Some).map_err(|error| error.to_string())
        }
    })?;
    let shared = database.is_some_and(|database| !database.url.expose().starts_with("sqlite://"));
    if shared && root.is_none() {
        reader.problem(
            key,
            "is required with PostgreSQL, for all nodes must share it: `openssl rand -base64 32` makes one",
        );
    }
    Some(root)
}

fn auth(reader: &mut Reader, server: Option<&Server>) -> Option<Auth> {
    let administrator_email = reader.take(
        "AUTH__ADMINISTRATOR_EMAIL",
        "admin@capecontrol.localhost",
        "address of the first administrator",
        non_empty,
    );
    let hashing = hashing_options(reader, server);
    let link_ttl = reader.take(
        "AUTH__LINK_MINUTES",
        "30",
        "how long a link that was sent by mail works, in minutes",
        |text| whole(text, 15, 60).map(|minutes: u64| Duration::from_secs(minutes * 60)),
    );
    let terms_version = reader.take(
        "AUTH__TERMS_VERSION",
        "2026-01",
        "version of the terms that must be accepted",
        non_empty,
    );
    let registration =
        reader.take("AUTH__REGISTRATION", "open", "who may register: open or invited", |text| {
            Registration::parse(text).ok_or_else(|| "must be open or invited".to_owned())
        });
    let signing_key_period =
        reader.take("AUTH__SIGNING_KEY_DAYS", "30", "how long a key signs access tokens", |text| {
            whole(text, 1, 365).map(|days: u64| Duration::from_hours(24 * days))
        });
    let invitation_ttl = reader.take(
        "AUTH__INVITATION_DAYS",
        "7",
        "how long an invitation to an organisation can be accepted",
        |text| whole(text, 1, 30).map(|days: u64| Duration::from_hours(days * 24)),
    );
    Some(Auth {
        registration: registration?,
        signing_key_period: signing_key_period?,
        administrator_email: administrator_email?,
        hashing: hashing?,
        link_ttl: link_ttl?,
        terms_version: terms_version?,
        invitation_ttl: invitation_ttl?,
    })
}

fn hashing_options(reader: &mut Reader, server: Option<&Server>) -> Option<hashing::Options> {
    let key = "AUTH__ARGON2_MEMORY_KIB";
    let memory_kib = reader.take(key, "65536", "memory of one password hash (argon2id)", |text| {
        whole(text, 8, hashing::MEMORY_KIB_MAX)
    });
    let passes = reader.take("AUTH__ARGON2_PASSES", "3", "passes of one password hash", |text| {
        whole(text, 1, hashing::PASSES_MAX)
    });
    let lanes = reader.take("AUTH__ARGON2_LANES", "1", "lanes of one password hash", |text| {
        whole(text, 1, hashing::LANES_MAX)
    });
    let concurrent_max = reader.take(
        "AUTH__HASHES_AT_ONCE",
        "0",
        "password hashes at once; 0 takes half of the cores",
        |text| whole(text, 0, 64),
    );
    let waiting_max = reader.take(
        "AUTH__HASHES_WAITING",
        "64",
        "password hashes that wait; whoever comes after them is told to come back",
        |text| whole(text, 0, 10_000),
    );
    let options = hashing::Options {
        memory_kib: memory_kib?,
        passes: passes?,
        lanes: lanes?,
        concurrent_max: concurrent_max?,
        waiting_max: waiting_max?,
    };
    if !options.is_strong() && server.is_some_and(is_public) {
        reader.problem(
            key,
            "makes hashes that are guessed too fast, together with AUTH__ARGON2_PASSES: take at least 19456 KiB with 2 \
             passes, or 47104 KiB with one. Less is taken only while SERVER__LISTEN and SERVER__PUBLIC_URL are \
             loopback",
        );
    }
    Some(options)
}

const DEFAULT_SENDER: &str = "Cape Control <no-reply@capecontrol.localhost>";

fn supplier(reader: &mut Reader) -> Option<Supplier> {
    let text = |text: &str| Ok(text.trim().to_owned());
    let legal_name =
        reader.take("BUSINESS__LEGAL_NAME", "Cape Craft Projects CC", "supplier on invoices", text);
    let trading_name =
        reader.take("BUSINESS__TRADING_NAME", "Cape Control", "name that customers know", text);
    let vat_number = reader.take("BUSINESS__VAT_NUMBER", "4270105119", "the supplier's VAT number", text);
    let address = reader.take("BUSINESS__ADDRESS", "", "the supplier's address; required in live mode", text);
    Some(Supplier {
        legal_name: legal_name?,
        trading_name: trading_name?,
        vat_number: vat_number?,
        address: address?,
    })
}

fn payfast(reader: &mut Reader, server: Option<&Server>, supplier: Option<&Supplier>) -> Option<PayFast> {
    let mode = reader.take("PAYFAST__MODE", "simulator", "simulator, sandbox or live", |text| match text {
        "simulator" => Ok(Mode::Simulator),
        "sandbox" => Ok(Mode::Sandbox),
        "live" => Ok(Mode::Live),
        _ => Err("must be simulator, sandbox or live".to_owned()),
    });
    let merchant_id =
        reader.take("PAYFAST__MERCHANT_ID", SIMULATOR_MERCHANT_ID, "our merchant number", |text| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { Ok(text.to_owned()) } else { Err("must be digits".to_owned()) }
        });
    let merchant_key =
        reader.secret("PAYFAST__MERCHANT_KEY", SIMULATOR_MERCHANT_KEY, "our merchant key", secret_text);
    let passphrase =
        reader.secret("PAYFAST__PASSPHRASE", SIMULATOR_PASSPHRASE, "the passphrase that signs", passphrase);
    let allow_public =
        reader.take("PAYFAST__ALLOW_PUBLIC_SIMULATOR", "false", "let strangers reach the simulator", flag);
    let help = "open or closed: whether checkouts may be started; what was paid is booked either way";
    let checkouts_open = reader.take("PAYFAST__CHECKOUTS", "open", help, |text| match text {
        "open" => Ok(true),
        "closed" => Ok(false),
        _ => Err("must be open or closed".to_owned()),
    });
    check_mode(reader, mode?, allow_public?, server, supplier);
    let payfast = PayFast {
        checkouts_open: checkouts_open?,
        mode: mode?,
        merchant_id: merchant_id?,
        merchant_key: merchant_key?,
        passphrase: passphrase?,
    };
    check_credentials(reader, &payfast);
    Some(payfast)
}

/// In live mode nothing may be what is printed in every manual: with the public passphrase anybody could sign.
fn check_credentials(reader: &mut Reader, payfast: &PayFast) {
    for (key, public) in [
        ("PAYFAST__MERCHANT_ID", payfast.merchant_id == SIMULATOR_MERCHANT_ID),
        ("PAYFAST__MERCHANT_KEY", payfast.merchant_key.expose() == SIMULATOR_MERCHANT_KEY),
        ("PAYFAST__PASSPHRASE", payfast.passphrase.expose() == SIMULATOR_PASSPHRASE),
    ] {
        if payfast.mode == Mode::Live && public {
            reader.problem(key, "must be your own in live mode: this one is the sandbox's, which all know");
        }
    }
}

fn check_mode(
    reader: &mut Reader,
    mode: Mode,
    allow_public: bool,
    server: Option<&Server>,
    supplier: Option<&Supplier>,
) {
    match mode {
        Mode::Simulator if !allow_public && server.is_some_and(is_public) => reader.problem(
            "PAYFAST__MODE",
            "is simulator, with which anybody pays without money, but SERVER__LISTEN or SERVER__PUBLIC_URL is not \
             loopback; choose sandbox or live, or set PAYFAST__ALLOW_PUBLIC_SIMULATOR=true for a demonstration",
        ),
        Mode::Live => {
            let identity = supplier.into_iter().flat_map(|supplier| {
                [
                    ("BUSINESS__LEGAL_NAME", &supplier.legal_name),
                    ("BUSINESS__VAT_NUMBER", &supplier.vat_number),
                    ("BUSINESS__ADDRESS", &supplier.address),
                ]
            });
            for (key, _) in identity.filter(|(_, text)| text.is_empty()) {
                reader.problem(key, "is required in live mode: a tax invoice must show it");
            }
            for wrong in server.map(|server| reachable(&server.public_url)).unwrap_or_default() {
                reader.problem("SERVER__PUBLIC_URL", wrong);
            }
        }
        Mode::Simulator | Mode::Sandbox => {}
    }
}

/// Whether strangers can reach the node, by its listener or by its public address.
fn is_public(server: &Server) -> bool {
    !server.listen.ip().is_loopback() || !is_loopback_url(&server.public_url)
}

fn limits(reader: &mut Reader) -> Option<Limits> {
    let mut rate = |key, default: Rate, help| {
        reader.take(key, &default.to_string(), help, |text| {
            Rate::parse(text).ok_or_else(|| "must be such as `60/min burst 20`".to_owned())
        })
    };
    let defaults = Limits::default();
    let ordinary = rate("LIMITS__ORDINARY", defaults.ordinary, "reads and small writes of one account");
    let credential = rate(
        "LIMITS__CREDENTIAL",
        defaults.credential,
        "sign-ins, registrations and the like from one address",
    );
    let message = rate("LIMITS__MESSAGE", defaults.message, "messages of one account");
    let payment = rate("LIMITS__PAYMENT", defaults.payment, "calls of one account that start money moving");
    let heavy = rate("LIMITS__HEAVY", defaults.heavy, "exports and verifications of one account");
    Some(Limits {
        ordinary: ordinary?,
        credential: credential?,
        message: message?,
        payment: payment?,
        heavy: heavy?,
    })
}

fn mail(reader: &mut Reader, data: &std::path::Path) -> Option<Mail> {
    let default = format!("file://{}", data.join("mail").display());
    let help =
        "file://<folder> for .eml files, smtps://user:password@host:465 or smtp://user:password@host:587";
    let route = reader.secret("MAIL__URL", &default, help, mail::Route::parse);
    let from = reader.take("MAIL__FROM", DEFAULT_SENDER, "sender of letters", |text| {
        Sender::parse(text).map_err(|error| error.to_string())
    });
    let authorities = reader.take(
        "MAIL__CA_FILE",
        "",
        "certificates (PEM) that may sign the mail server's, beside the public ones",
        |file| match file {
            "" => Ok(Vec::new()),
            file => std::fs::read(file).map_err(|error| format!("{file} cannot be read: {error}")),
        },
    );
    let (mut route, from) = (route?, from?);
    if let mail::Route::Smtp(options) = &mut route {
        options.authorities = authorities?;
        if from.is_local() {
            reader.problem("MAIL__FROM", "must be an address of yours when letters are sent");
        }
    }
    Some(Mail { route, from })
}

fn storage(reader: &mut Reader, data: &std::path::Path) -> Option<storage::Route> {
    let default = format!("file://{}", data.join("files").display());
    let help = "where files of conversations are kept: file://<folder> or s3://<bucket>/<prefix>";
    let route = reader.take("STORAGE__URL", &default, help, storage::Route::parse);
    let help = "address of the S3 service, https://…; empty for Amazon's";
    let endpoint = reader.take("STORAGE__ENDPOINT", "", help, |text| match text {
        "" => Ok(None),
        text => origin_or_url(text).map(Some),
    });
    let region = reader.take(
        "STORAGE__REGION",
        storage::REGION,
        "region that requests to S3 are signed for",
        non_empty,
    );
    let text = |text: &str| Ok(text.trim().to_owned());
    let access_key = reader.take("STORAGE__ACCESS_KEY", "", "id of the key that signs requests to S3", text);
    let secret_key = reader.secret("STORAGE__SECRET_KEY", "", "the key that signs requests to S3", |text| {
        Ok(Secret::new(text.to_owned()))
    });
    let mut route = route?;
    if let storage::Route::S3(s3) = &mut route {
        s3.endpoint = endpoint?;
        s3.region = region?;
        s3.access_key = access_key?;
        s3.secret_key = secret_key?;
        let says = "is required with s3://: requests are signed with the settings' credentials only";
        if s3.access_key.is_empty() {
            reader.problem("STORAGE__ACCESS_KEY", says);
        }
        if s3.secret_key.expose().is_empty() {
            reader.problem("STORAGE__SECRET_KEY", says);
        }
        if s3.endpoint.as_deref().is_some_and(is_open) {
            reader.problem(
                "STORAGE__ENDPOINT",
                "must be https://: everybody on the way could read the files. Plain http:// is taken only for a \
                 service on this very machine",
            );
        }
    }
    Some(route)
}

fn scan(reader: &mut Reader) -> Option<scan::Route> {
    let help = "who looks into files before others get them: clamd://<host>:<port>, or empty for nobody";
    reader.take("SCAN__URL", "", help, scan::Route::parse)
}

/// Whether a service is reached over a network without TLS.
fn is_open(url: &str) -> bool {
    url.starts_with("http://") && !is_loopback_url(url)
}

fn is_loopback_url(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let host = host.unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn log(reader: &mut Reader) -> Option<Log> {
    let format = reader.take("LOG__FORMAT", "text", "text or json", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    });
    let filter = reader.take("LOG__FILTER", "info", "what is logged, as tracing filters", non_empty);
    Some(Log { format: format?, filter: filter? })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text} is no address with a port, such as 127.0.0.1:8080"))
}

fn non_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.trim().to_owned()) }
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".to_owned())
}

fn whole<T: FromStr + PartialOrd + std::fmt::Display>(text: &str, least: T, most: T) -> Result<T, String> {
    let number = text.parse::<T>().ok().filter(|number| *number >= least && *number <= most);
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(parse).collect()
}

fn origin_or_url(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|_| format!("{text} is no URL"))?;
    let whole = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    if whole && uri.query().is_none() {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("must be http(s)://host[:port][/path]".to_owned())
    }
}

fn browser_origin(text: &str) -> Result<HeaderValue, String> {
    let url = origin_or_url(text)?;
    let bare = url.parse::<Uri>().is_ok_and(|uri| uri.path() == "/");
    let value = HeaderValue::from_str(&url).ok().filter(|_| bare && !text.ends_with('/'));
    value.ok_or_else(|| format!("{text} is no origin such as https://app.example.com, without a path"))
}

fn secret_text(text: &str) -> Result<Secret<String>, String> {
    non_empty(text).map(Secret::new)
}

/// PayFast takes at most 32 letters, digits, `-`, `_` and `/`.
fn passphrase(text: &str) -> Result<Secret<String>, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
    if text.is_empty() || text.len() > 32 || !text.bytes().all(plain) {
        return Err(
            "must be 1 to 32 letters, digits, '-', '_' or '/'; without one, anybody could sign".to_owned()
        );
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::bus::Route;
    use crate::config::{Config, Sources};
    use crate::payments::Mode;
    use crate::{scan, storage};

    fn read(environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment =
            environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { environment, ..Sources::default() };
        Config::read(sources).map(|(config, _)| config).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_defaults_serve_the_embedded_platform() {
        let config = read(&[]).unwrap();
        assert_eq!(config.server.public_url, "http://127.0.0.1:8080");
        assert_eq!(config.database.url.expose(), "sqlite://./data/capecontrol.db");
        assert!(config.database.migrate);
        assert_eq!(config.payfast.mode, Mode::Simulator);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let problems = read(&[
            ("CAPECONTROL_SERVER__LISTEN", "nowhere"),
            ("CAPECONTROL_OPS__LISTEN", "x"),
            ("CAPECONTROL_SERVER__LISTN", "127.0.0.1:1"),
            ("CAPECONTROL_DATABASE__URL", "mysql://"),
        ])
        .unwrap_err();
        for key in ["SERVER__LISTEN", "OPS__LISTEN", "SERVER__LISTN", "DATABASE__URL"] {
            assert!(problems.contains(key), "{key} in {problems}");
        }
    }

    #[test]
    fn a_simulator_that_strangers_can_reach_is_refused() {
        let listen = ("CAPECONTROL_SERVER__LISTEN", "0.0.0.0:8080");
        assert!(read(&[listen]).unwrap_err().contains("ALLOW_PUBLIC_SIMULATOR"));
        assert!(read(&[("PORT", "5000")]).is_err());
        assert!(read(&[("CAPECONTROL_SERVER__PUBLIC_URL", "https://pay.example.com")]).is_err());
        assert!(read(&[listen, ("CAPECONTROL_PAYFAST__ALLOW_PUBLIC_SIMULATOR", "true")]).is_ok());
        assert!(read(&[listen, ("CAPECONTROL_PAYFAST__MODE", "sandbox")]).is_ok());
    }

    #[test]
    fn live_mode_wants_credentials_of_our_own_and_an_address() {
        let live = ("CAPECONTROL_PAYFAST__MODE", "live");
        let public = [
            live,
            ("CAPECONTROL_PAYFAST__MERCHANT_ID", super::SIMULATOR_MERCHANT_ID),
            ("CAPECONTROL_PAYFAST__MERCHANT_KEY", super::SIMULATOR_MERCHANT_KEY),
            ("CAPECONTROL_PAYFAST__PASSPHRASE", super::SIMULATOR_PASSPHRASE),
        ];
        for problems in [read(&[live]).unwrap_err(), read(&public).unwrap_err()] {
            for key in ["MERCHANT_ID", "MERCHANT_KEY", "PASSPHRASE", "BUSINESS__ADDRESS"] {
                assert!(problems.contains(key), "{key} in {problems}");
            }
        }
    }

    #[test]
    fn live_mode_wants_a_business_and_an_address_that_payfast_reaches() {
        let own = [
            ("CAPECONTROL_PAYFAST__MODE", "live"),
            ("CAPECONTROL_PAYFAST__MERCHANT_ID", "10012345"),
            ("CAPECONTROL_PAYFAST__MERCHANT_KEY", "abcdefghijklm"),
            ("CAPECONTROL_PAYFAST__PASSPHRASE", "of-our-own"),
            ("CAPECONTROL_BUSINESS__ADDRESS", "1 Long Street, Cape Town"),
            ("CAPECONTROL_SERVER__PUBLIC_URL", "https://pay.example.com"),
        ];
        read(&own).unwrap();
        for (key, value) in [
            ("SERVER__PUBLIC_URL", "http://pay.example.com"),
            ("SERVER__PUBLIC_URL", "https://pay.example.com:8443"),
            ("SERVER__PUBLIC_URL", "https://127.0.0.1"),
            ("SERVER__PUBLIC_URL", "https://localhost:8080"),
            ("BUSINESS__LEGAL_NAME", " "),
            ("BUSINESS__VAT_NUMBER", ""),
            ("BUSINESS__ADDRESS", ""),
            ("PAYFAST__PASSPHRASE", "not allowed: blanks"),
            ("PAYFAST__PASSPHRASE", "a-passphrase-that-is-longer-than-32"),
            ("PAYFAST__CHECKOUTS", "ajar"),
        ] {
            let name = format!("CAPECONTROL_{key}");
            let mut wrong: Vec<(&str, &str)> = own.into_iter().filter(|(key, _)| *key != name).collect();
            wrong.push((name.as_str(), value));
            assert!(read(&wrong).unwrap_err().contains(key), "{key}={value}");
        }
        assert!(!read(&[("CAPECONTROL_PAYFAST__CHECKOUTS", "closed")]).unwrap().payfast.checkouts_open);
    }

    #[test]
    fn hashes_that_are_guessed_too_fast_are_made_on_loopback_only() {
        let public =
            [("CAPECONTROL_SERVER__LISTEN", "0.0.0.0:8080"), ("CAPECONTROL_PAYFAST__MODE", "sandbox")];
        let with = |memory: &'static str, passes: &'static str| {
            [("CAPECONTROL_AUTH__ARGON2_MEMORY_KIB", memory), ("CAPECONTROL_AUTH__ARGON2_PASSES", passes)]
        };
        for (memory, passes, strong) in [
            ("65536", "3", true),
            ("19456", "2", true),
            ("47104", "1", true),
            ("19455", "2", false),
            ("19456", "1", false),
            ("64", "20", false),
        ] {
            assert_eq!(read(&[public, with(memory, passes)].concat()).is_ok(), strong, "{memory} {passes}");
            assert!(read(&with(memory, passes)).is_ok());
        }
        for (key, value) in [
            ("CAPECONTROL_AUTH__ARGON2_MEMORY_KIB", "1048577"),
            ("CAPECONTROL_AUTH__ARGON2_LANES", "17"),
            ("CAPECONTROL_AUTH__HASHES_WAITING", "10001"),
            ("CAPECONTROL_AUTH__LINK_MINUTES", "14"),
            ("CAPECONTROL_AUTH__LINK_MINUTES", "61"),
        ] {
            assert!(read(&[(key, value)]).unwrap_err().contains(key.trim_start_matches("CAPECONTROL_")));
        }
    }

    #[test]
    fn letters_are_sent_from_an_address_of_ones_own() {
        let url = ("CAPECONTROL_MAIL__URL", "smtps://robot:hunter2@mail.example");
        assert!(read(&[url]).unwrap_err().contains("MAIL__FROM"));
        let from = ("CAPECONTROL_MAIL__FROM", "Cape <no-reply@cape.example>");
        let config = read(&[url, from]).unwrap();
        assert_eq!(config.mail.route.to_string(), "SMTP through mail.example:465");
        assert!(read(&[("CAPECONTROL_MAIL__FROM", "nobody")]).is_err());
        assert!(
            read(&[url, from, ("CAPECONTROL_MAIL__CA_FILE", "/nowhere/ca.pem")])
                .unwrap_err()
                .contains("/nowhere")
        );
        let plain = ("CAPECONTROL_MAIL__URL", "smtp://robot:hunter2@mail.example?tls=none");
        let problems = read(&[plain, from]).unwrap_err();
        assert!(problems.contains("MAIL__URL") && !problems.contains("hunter2"), "{problems}");
    }

    #[test]
    fn postgres_wants_a_shared_root_key_and_does_not_migrate_by_itself() {
        let url = ("CAPECONTROL_DATABASE__URL", "postgres://localhost/x");
        assert!(read(&[url]).unwrap_err().contains("SECURITY__ROOT_KEY"));
        let key = ("CAPECONTROL_SECURITY__ROOT_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert!(!read(&[url, key]).unwrap().database.migrate);
    }

    #[test]
    fn nodes_hear_of_each_other_over_their_database_unless_nats_is_named() {
        assert!(matches!(read(&[]).unwrap().bus, Route::Local));
        let postgres = [
            ("CAPECONTROL_DATABASE__URL", "postgres://localhost/x"),
            ("CAPECONTROL_SECURITY__ROOT_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ];
        assert!(matches!(read(&postgres).unwrap().bus, Route::Postgres));
        let url = ("CAPECONTROL_BUS__URL", "nats://hunter2@nats.example");
        let prefix = ("CAPECONTROL_BUS__PREFIX", "cape.test");
        let config = read(&[postgres.as_slice(), &[url, prefix]].concat()).unwrap();
        assert!(matches!(&config.bus, Route::Nats(options) if options.prefix == "cape.test"));
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(read(&[url]).unwrap_err().contains("leave it empty"));
        for (key, value) in
            [("BUS__URL", "amqp://x"), ("BUS__PREFIX", "a.*"), ("BUS__CA_FILE", "/nowhere/ca.pem")]
        {
            assert!(read(&[(&format!("CAPECONTROL_{key}"), value)]).unwrap_err().contains(key));
        }
    }

    #[test]
    fn files_are_kept_in_a_folder_or_in_a_bucket_with_credentials_of_its_own() {
        let config = read(&[]).unwrap();
        assert_eq!(config.storage, storage::Route::Folder("./data/files".into()));
        assert_eq!(config.scan, scan::Route::None);
        let whole = [
            ("CAPECONTROL_STORAGE__URL", "s3://cape-files/chat"),
            ("CAPECONTROL_STORAGE__ENDPOINT", "https://s3.example"),
            ("CAPECONTROL_STORAGE__ACCESS_KEY", "AKIA"),
            ("CAPECONTROL_STORAGE__SECRET_KEY", "hunter2"),
        ];
        let config = read(&whole).unwrap();
        let storage::Route::S3(s3) = &config.storage else { panic!("{:?}", config.storage) };
        assert_eq!((s3.bucket.as_str(), s3.region.as_str()), ("cape-files", storage::REGION));
        assert!(!format!("{config:?}").contains("hunter2"));
        for missing in ["STORAGE__ACCESS_KEY", "STORAGE__SECRET_KEY"] {
            let rest: Vec<_> = whole.into_iter().filter(|(key, _)| !key.ends_with(missing)).collect();
            assert!(read(&rest).unwrap_err().contains(missing));
        }
        let open = |endpoint| {
            let rest = whole.into_iter().filter(|(key, _)| !key.ends_with("ENDPOINT"));
            let settings: Vec<_> = rest.chain([("CAPECONTROL_STORAGE__ENDPOINT", endpoint)]).collect();
            read(&settings)
        };
        assert!(open("http://s3.example").unwrap_err().contains("STORAGE__ENDPOINT"));
        assert!(open("http://127.0.0.1:9000").is_ok());
        for (key, value) in
            [("STORAGE__URL", "gs://x"), ("SCAN__URL", "icap://x"), ("STORAGE__ENDPOINT", "x")]
        {
            assert!(read(&[(&format!("CAPECONTROL_{key}"), value)]).unwrap_err().contains(key));
        }
        let scanned = read(&[("CAPECONTROL_SCAN__URL", "clamd://127.0.0.1:3310")]).unwrap();
        assert_eq!(scanned.scan, scan::Route::Clamd("127.0.0.1:3310".to_owned()));
    }

    #[test]
    fn a_file_is_read_under_the_environment_and_a_secret_from_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("passphrase");
        std::fs::write(&secret, "from-a-file\n").unwrap();
        let text = "[server]\nlisten = \"127.0.0.1:1\"\nallowed_origins = [\"http://a\", \"http://b\"]\n";
        let sources = Sources {
            environment: vec![
                ("CAPECONTROL_SERVER__LISTEN".to_owned(), "127.0.0.1:2".to_owned()),
                ("CAPECONTROL_PAYFAST__PASSPHRASE_FILE".to_owned(), secret.display().to_string()),
            ],
            file: Some(("capecontrol.toml".into(), text.to_owned())),
            flags: Vec::new(),
        };
        let (config, effective) = Config::read(sources).unwrap();
        assert_eq!(config.server.listen.port(), 2);
        assert_eq!(config.server.allowed_origins.len(), 2);
        assert_eq!(config.payfast.passphrase.expose(), "from-a-file");
        assert!(effective.iter().all(|setting| setting.value != "from-a-file"));
    }
}
