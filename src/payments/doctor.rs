//! The checklist before going live: what is looked at, what is found, and what to do about it. Pure: what was asked of
//! the outside is handed in. No secret is ever part of a finding.

use std::net::IpAddr;

use reqwest::Url;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::options::{Mode, Options};
use super::payfast::api::answer::{Outcome, RawAnswer, RefusalKind, Unanswered};
use super::payfast::api::subscription::pong;
use super::payfast::{
    SIMULATOR_MERCHANT_ID, SIMULATOR_MERCHANT_KEY, SIMULATOR_PASSPHRASE, passphrase_fits, source,
};
use crate::base::Timestamp;
use crate::db::words;

/// The ports that PayFast calls out to.
pub const PORTS: [u16; 4] = [80, 8080, 8081, 443];
/// How far our clock may be from PayFast's, in seconds, before it is worth a word.
const CLOCK_SECONDS_WARN: i64 = 30;
/// How far it may be before calls are likely to be refused.
const CLOCK_SECONDS_MAX: i64 = 300;

words! {
    /// What is looked at.
    pub enum Check {
        /// Which PayFast the platform talks to.
        Mode = "mode",
        /// Merchant id and key are our own.
        Credentials = "credentials",
        /// The passphrase is there and of PayFast's alphabet.
        Passphrase = "passphrase",
        /// What a tax invoice must say of the supplier is there.
        Business = "business",
        /// The public address is one that PayFast may call.
        PublicUrl = "public_url",
        /// Its port is one that PayFast calls.
        Port = "port",
        /// The public address answers.
        NotifyUrl = "notify_url",
        /// Our clock is right.
        Clock = "clock",
        /// PayFast's API takes our signature.
        Api = "api",
        /// The host that confirms notifications answers.
        Confirmation = "confirmation",
        /// The addresses that notifications come from.
        Sources = "sources",
        /// Whose forwarding headers count.
        Proxies = "proxies",
        /// The database is at the level of the program.
        Database = "database",
        /// The root key does not lie beside what it wraps.
        RootKey = "root_key",
    }
}

words! {
    /// What was found.
    pub enum Verdict {
        /// As it should be.
        Ok = "ok",
        /// It need not be wrong, but somebody should look.
        Warn = "warn",
        /// It keeps the platform from taking money.
        Fail = "fail",
        /// It does not matter here, or could not be looked at.
        Skipped = "skipped",
    }
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// What was found.
    pub verdict: Verdict,
    /// One sentence: what it is, or what to do.
    pub detail: String,
}

impl Finding {
    fn new(check: Check, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { check, verdict, detail: detail.into() }
    }
}

/// How the node is set up, beside what the domain is told.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How many networks are trusted as proxies.
    pub trusted_proxies: usize,
    /// Whether the node listens on loopback only, which means that something stands in front of it.
    pub listens_on_loopback: bool,
    /// What is wrong with the database; none when it can be served from.
    pub database: Option<String>,
    /// Whether the root key comes from the settings, and not from the data folder.
    pub root_key_given: bool,
}

/// What the outside answered.
#[derive(Clone, Debug)]
pub struct Probes {
    /// The status of our own public address, or why there was none.
    pub health: Result<u16, String>,
    /// The signed ping.
    pub ping: Result<RawAnswer, Unanswered>,
    /// The status of the confirmation host, or why there was none.
    pub confirmation: Result<u16, String>,
    /// When, by our clock.
    pub now: Timestamp,
}

/// Everything that is on the list, in its order.
#[must_use]
pub fn examine(options: &Options, setting: &Setting, probes: &Probes) -> Vec<Finding> {
    vec![
        mode(options.mode),
        credentials(options),
        passphrase(options),
        business(options),
        public_url(options),
        port(options),
        notify_url(options, probes),
        clock(options.mode, probes),
        api(options, probes),
        confirmation(probes),
        sources(options.mode),
        proxies(setting),
        database(setting),
        root_key(options.mode, setting),
    ]
}

/// What keeps PayFast from calling an address, each as the end of a sentence.
#[must_use]
pub fn reachable(public_url: &str) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let Ok(url) = Url::parse(public_url) else { return vec!["must be a URL"] };
    if url.scheme() != "https" {
        wrong.push("must be https in live mode: buyers and notifications come over it");
    }
    if inside(&url) {
        wrong.push("must not be loopback or private in live mode: PayFast posts its notifications there");
    }
    if !port_fits(&url) {
        wrong.push("must have port 443, 80, 8080 or 8081 in live mode: PayFast calls no other");
    }
    wrong
}

fn inside(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let private = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unspecified(),
    };
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(private)
}

fn port_fits(url: &Url) -> bool {
    url.port_or_known_default().is_some_and(|port| PORTS.contains(&port))
}

fn mode(mode: Mode) -> Finding {
    match mode {
        Mode::Live => Finding::new(Check::Mode, Verdict::Ok, "live: real money moves"),
        other => {
            let detail = format!("{}: no money moves; set PAYFAST__MODE=live to go live", other.as_str());
            Finding::new(Check::Mode, Verdict::Warn, detail)
        }
    }
}

fn credentials(options: &Options) -> Finding {
    let public = options.merchant_id == SIMULATOR_MERCHANT_ID
        || options.merchant_key.expose() == SIMULATOR_MERCHANT_KEY;
    let (verdict, detail) = match (public, options.mode) {
        (true, Mode::Live) => (
            Verdict::Fail,
            "these are the sandbox's, which all know; set PAYFAST__MERCHANT_ID and PAYFAST__MERCHANT_KEY to yours",
        ),
        (true, Mode::Sandbox) => {
            (Verdict::Warn, "these are the shared sandbox's; tokens and the API want one of your own")
        }
        (true, Mode::Simulator) => (Verdict::Skipped, "the simulator has its own"),
        (false, _) => (Verdict::Ok, "merchant id and key are your own"),
    };
    Finding::new(Check::Credentials, verdict, detail)
}

fn passphrase(options: &Options) -> Finding {
    let public = options.passphrase.expose() == SIMULATOR_PASSPHRASE;
    let (verdict, detail) = match (options.passphrase(), options.mode) {
        (None, _) => {
            (Verdict::Fail, "without one anybody can sign; set one at PayFast and as PAYFAST__PASSPHRASE")
        }
        (Some(text), _) if !passphrase_fits(text) => (
            Verdict::Fail,
            "PayFast takes at most 32 letters, digits, '-', '_' and '/'; choose another there, and here",
        ),
        (Some(_), Mode::Live) if public => {
            (Verdict::Fail, "this is the sandbox's, which all know; choose your own")
        }
        (Some(_), _) => (Verdict::Ok, "it is there, and of PayFast's alphabet and length"),
    };
    Finding::new(Check::Passphrase, verdict, detail)
}

fn business(options: &Options) -> Finding {
    let supplier = &options.supplier;
    let missing: Vec<&str> = [
        ("BUSINESS__LEGAL_NAME", &supplier.legal_name),
        ("BUSINESS__VAT_NUMBER", &supplier.vat_number),
        ("BUSINESS__ADDRESS", &supplier.address),
    ]
    .into_iter()
    .filter_map(|(key, text)| text.trim().is_empty().then_some(key))
    .collect();
    if missing.is_empty() {
        return Finding::new(Check::Business, Verdict::Ok, "name, VAT number and address are there");
    }
    let verdict = if options.mode == Mode::Live { Verdict::Fail } else { Verdict::Warn };
    Finding::new(
        Check::Business,
        verdict,
        format!("a tax invoice must show them; set {}", missing.join(", ")),
    )
}

fn public_url(options: &Options) -> Finding {
    let wrong: Vec<&str> =
        reachable(&options.public_url).into_iter().filter(|wrong| !wrong.contains("port")).collect();
    match (wrong.as_slice(), options.mode) {
        ([], _) => Finding::new(Check::PublicUrl, Verdict::Ok, "https, and not of this machine"),
        (_, Mode::Simulator) => {
            Finding::new(Check::PublicUrl, Verdict::Skipped, "the simulator is on this machine")
        }
        (wrong, mode) => {
            let verdict = if mode == Mode::Live { Verdict::Fail } else { Verdict::Warn };
            Finding::new(Check::PublicUrl, verdict, format!("SERVER__PUBLIC_URL {}", wrong.join("; it ")))
        }
    }
}

fn port(options: &Options) -> Finding {
    let fits = Url::parse(&options.public_url).is_ok_and(|url| port_fits(&url));
    match (fits, options.mode) {
        (true, _) => Finding::new(Check::Port, Verdict::Ok, "it is one that PayFast calls"),
        (false, Mode::Simulator) => {
            Finding::new(Check::Port, Verdict::Skipped, "the simulator calls any port")
        }
        (false, _) => {
            let detail =
                "PayFast calls ports 80, 8080, 8081 and 443 only; change the port of SERVER__PUBLIC_URL";
            Finding::new(Check::Port, Verdict::Fail, detail)
        }
    }
}

fn notify_url(options: &Options, probes: &Probes) -> Finding {
    let (verdict, detail) = match &probes.health {
        Ok(200) => (Verdict::Ok, format!("{}/healthz answers from here", options.public_url)),
        Ok(status) => (
            Verdict::Fail,
            format!(
                "{}/healthz answers {status} and not 200: what stands in front leads elsewhere",
                options.public_url
            ),
        ),
        Err(why) => (
            Verdict::Warn,
            format!(
                "{}/healthz was not reached from here ({why}): start the node, and ask for it from outside, for a way \
                 out and in again need not exist",
                options.public_url
            ),
        ),
    };
    Finding::new(Check::NotifyUrl, verdict, detail)
}

fn clock(mode: Mode, probes: &Probes) -> Finding {
    let theirs = probes.ping.as_ref().ok().and_then(date_of);
    let Some(theirs) = theirs else {
        return Finding::new(Check::Clock, Verdict::Skipped, "PayFast's clock was not told");
    };
    let apart = probes.now.as_seconds().saturating_sub(theirs.as_seconds()).saturating_abs();
    let far = if mode == Mode::Simulator { Verdict::Warn } else { Verdict::Fail };
    let (verdict, what) = if apart <= CLOCK_SECONDS_WARN {
        (Verdict::Ok, "")
    } else if apart <= CLOCK_SECONDS_MAX {
        (Verdict::Warn, ": have the machine keep time (NTP)")
    } else {
        (far, ", whose API may refuse our calls: set the clock")
    };
    let detail = format!("{apart} seconds from PayFast's{what}");
    Finding::new(Check::Clock, verdict, detail)
}

/// Reads the header `date`, such as `Thu, 26 Nov 2026 20:00:00 GMT`.
fn date_of(answer: &RawAnswer) -> Option<Timestamp> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let (_, text) = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("date"))?;
    PrimitiveDateTime::parse(text, format).ok().map(|at| Timestamp::from_utc(at.assume_utc()))
}

fn api(options: &Options, probes: &Probes) -> Finding {
    let outcome = match &probes.ping {
        Ok(answer) => pong(answer),
        Err(unanswered) => unanswered.clone().into(),
    };
    let (verdict, detail) = match outcome {
        Outcome::Done(_) => {
            (Verdict::Ok, "a signed call was taken: merchant id and passphrase fit".to_owned())
        }
        Outcome::Refused(refusal) => (Verdict::Fail, whose_fault(refusal.kind, &refusal.reason).to_owned()),
        Outcome::NotSent { why, .. } | Outcome::Unknown(why) if options.mode == Mode::Simulator => {
            (Verdict::Fail, format!("the simulator did not answer ({why}): start the node first"))
        }
        Outcome::NotSent { why, .. } | Outcome::Unknown(why) => {
            (Verdict::Fail, format!("PayFast's API did not answer ({why}): may this machine call out?"))
        }
    };
    Finding::new(Check::Api, verdict, detail)
}

/// What to do about a refused ping: PayFast's own words tell which of the two is wrong.
fn whose_fault(kind: RefusalKind, reason: &str) -> &'static str {
    let reason = reason.to_ascii_lowercase();
    if reason.contains("merchant") {
        "PayFast knows no such merchant: PAYFAST__MERCHANT_ID is wrong, or of the other of sandbox and live"
    } else if reason.contains("origin") || reason.contains("whitelist") {
        "PayFast takes no calls from this address: add it to the list in its dashboard"
    } else if kind == RefusalKind::RateLimited {
        "PayFast is tired of wrong signatures: correct PAYFAST__PASSPHRASE, wait, and try again"
    } else if kind == RefusalKind::Authorisation || reason.contains("signature") {
        "PayFast refuses the signature: PAYFAST__PASSPHRASE is not the one in its dashboard"
    } else {
        "PayFast refused the call and did not say why; try again, then ask its support"
    }
}

fn confirmation(probes: &Probes) -> Finding {
    let (verdict, detail) = match &probes.confirmation {
        Ok(status) if *status < 500 => {
            (Verdict::Ok, "the host that confirms notifications answers".to_owned())
        }
        Ok(status) => {
            (Verdict::Warn, format!("it answers {status}: notifications wait until it serves again"))
        }
        Err(why) => (
            Verdict::Fail,
            format!(
                "it was not reached ({why}): without it no notification is applied; may this machine call out?"
            ),
        ),
    };
    Finding::new(Check::Confirmation, verdict, detail)
}

fn sources(mode: Mode) -> Finding {
    if mode == Mode::Simulator {
        return Finding::new(Check::Sources, Verdict::Skipped, "the simulator posts from this machine");
    }
    let detail = format!(
        "{} ranges, as published until {}: compare them with PayFast's page; others are applied with an alarm",
        source::RANGES.len(),
        source::RANGES_OF
    );
    Finding::new(Check::Sources, Verdict::Warn, detail)
}

fn proxies(setting: &Setting) -> Finding {
    let (verdict, detail) = match (setting.trusted_proxies, setting.listens_on_loopback) {
        (0, true) => (
            Verdict::Warn,
            "the node listens on loopback, so that something is in front of it: name it in SERVER__TRUSTED_PROXIES, \
             or every notification comes from an unknown address",
        ),
        (0, false) => (Verdict::Ok, "none, and the node is reached directly; name any that stands in front"),
        (_, _) => (Verdict::Ok, "named; only their forwarding headers count"),
    };
    Finding::new(Check::Proxies, verdict, detail)
}

fn database(setting: &Setting) -> Finding {
    match &setting.database {
        None => Finding::new(Check::Database, Verdict::Ok, "at the level of this program"),
        Some(wrong) => Finding::new(Check::Database, Verdict::Fail, wrong.clone()),
    }
}

fn root_key(mode: Mode, setting: &Setting) -> Finding {
    let (verdict, detail) = match (setting.root_key_given, mode) {
        (true, _) => (Verdict::Ok, "it comes from the settings, not from the data folder"),
        (false, Mode::Live) => (
            Verdict::Warn,
            "it lies in the data folder, so that whoever copies that has all: give SECURITY__ROOT_KEY_FILE elsewhere",
        ),
        (false, _) => {
            (Verdict::Skipped, "it lies in the data folder, which is good enough for trying things out")
        }
    };
    Finding::new(Check::RootKey, verdict, detail)
}

/// What only a sandbox, or the first real payment, can tell. Each is a question with what to look at.
pub const QUESTIONS: [&str; 12] = [
    "Is a schedule without an end signed with its 0 cycles? Make one: PayFast's page must open and not say that the \
     signature is wrong.",
    "Is a payment of R0.00, which only makes a token, notified at once? Make one, and look for its event.",
    "Which reference do the notifications of renewals carry? Whatever it is, a renewal is known by its token.",
    "Are line breaks rewritten before PayFast signs? Buy with a name that has one, and see that the signature holds.",
    "What becomes of values that are only blanks? Send one, and see that the signature holds.",
    "Does the page that opens in a frame work in the sandbox?",
    "When does PayFast stop to repeat a notification? Answer 503 for a while, and note the last time.",
    "Does a refund cause a notification? Make one, and look at the events and the history.",
    "Does the live API still say \"true\" as a text for a charge? Make one, and look at its stored answer.",
    "From which addresses do notifications come? Look at the peers of the first ones, and compare the ranges.",
    "Are the shop's own whole numbers told as blanks or as 0 when there are none?",
    "By which words does the history call payouts, charges, refunds and chargebacks? Run a reconciliation: a word that \
     is not known is reported as an unknown row.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;
    use crate::payments::options::Supplier;

    fn live() -> Options {
        Options {
            mode: Mode::Live,
            merchant_id: "10012345".to_owned(),
            merchant_key: Secret::new("abcdefghijklm".to_owned()),
            passphrase: Secret::new("of-our-own".to_owned()),
            public_url: "https://pay.example.com".to_owned(),
            supplier: Supplier { address: "1 Long Street".to_owned(), ..Supplier::default() },
            ..Options::default()
        }
    }

    fn setting() -> Setting {
        Setting { trusted_proxies: 1, listens_on_loopback: true, database: None, root_key_given: true }
    }

    fn answer(status: u16, body: &str) -> RawAnswer {
        let headers = vec![("date".to_owned(), "Fri, 20 Nov 2026 10:00:05 GMT".to_owned())];
        RawAnswer { status, headers, body: body.as_bytes().to_vec() }
    }

    fn probes() -> Probes {
        Probes {
            health: Ok(200),
            ping: Ok(answer(200, "\"Payfast API\"")),
            confirmation: Ok(200),
            now: Timestamp::from_seconds(1_795_168_800),
        }
    }

    fn of(findings: &[Finding], check: Check) -> (Verdict, String) {
        let finding = findings.iter().find(|finding| finding.check == check).unwrap();
        (finding.verdict, finding.detail.clone())
    }

    #[test]
    fn a_platform_that_may_go_live() {
        let findings = examine(&live(), &setting(), &probes());
        for finding in &findings {
            let expected = if finding.check == Check::Sources { Verdict::Warn } else { Verdict::Ok };
            assert_eq!(finding.verdict, expected, "{finding:?}");
        }
        assert_eq!(findings.len(), 14);
    }

    #[test]
    fn each_thing_that_is_wrong_is_found_where_it_is() {
        let wrong =
            |change: &dyn Fn(&mut Options, &mut Setting, &mut Probes), check, verdict, words: &str| {
                let (mut options, mut setting, mut probes) = (live(), setting(), probes());
                change(&mut options, &mut setting, &mut probes);
                let findings = examine(&options, &setting, &probes);
                let (found, detail) = of(&findings, check);
                assert!(found == verdict && detail.contains(words), "{check:?}: {found:?} {detail}");
                let others =
                    findings.iter().filter(|finding| finding.check != check && finding.check != Check::Clock);
                assert!(others.into_iter().all(|finding| finding.verdict != Verdict::Fail), "{findings:?}");
            };
        let (fail, warn) = (Verdict::Fail, Verdict::Warn);
        let url = |url: &'static str| {
            move |o: &mut Options, _: &mut Setting, _: &mut Probes| o.public_url = url.to_owned()
        };
        let secret = |text: &str| Secret::new(text.to_owned());
        wrong(&|o, _, _| o.mode = Mode::Sandbox, Check::Mode, warn, "no money");
        wrong(
            &|o, _, _| o.merchant_id = SIMULATOR_MERCHANT_ID.to_owned(),
            Check::Credentials,
            fail,
            "sandbox",
        );
        wrong(&|o, _, _| o.passphrase = secret(SIMULATOR_PASSPHRASE), Check::Passphrase, fail, "sandbox");
        wrong(&|o, _, _| o.passphrase = secret("a b"), Check::Passphrase, fail, "32 letters");
        wrong(&|o, _, _| o.passphrase = secret(""), Check::Passphrase, fail, "anybody");
        wrong(&|o, _, _| o.supplier.address.clear(), Check::Business, fail, "BUSINESS__ADDRESS");
        wrong(&url("http://pay.example.com"), Check::PublicUrl, fail, "https");
        for inside in [
            "https://127.0.0.1",
            "https://localhost",
            "https://[::1]",
            "https://192.168.1.9",
            "https://10.1.2.3",
        ] {
            wrong(&url(inside), Check::PublicUrl, fail, "loopback or private");
        }
        wrong(&url("https://pay.example.com:8443"), Check::Port, fail, "8081");
        wrong(&|_, _, p| p.health = Ok(404), Check::NotifyUrl, fail, "404");
        wrong(&|_, _, p| p.health = Err("no route".to_owned()), Check::NotifyUrl, warn, "no route");
        wrong(&|_, _, p| p.confirmation = Err("no route".to_owned()), Check::Confirmation, fail, "no route");
        wrong(&|_, _, p| p.confirmation = Ok(503), Check::Confirmation, warn, "503");
        wrong(&|_, s, _| s.trusted_proxies = 0, Check::Proxies, warn, "TRUSTED_PROXIES");
        wrong(&|_, s, _| s.database = Some("at another level".to_owned()), Check::Database, fail, "level");
        wrong(&|_, s, _| s.root_key_given = false, Check::RootKey, warn, "ROOT_KEY");
        for (seconds, verdict) in [(31, warn), (301, fail)] {
            let late = Timestamp::from_seconds(1_795_168_805 + seconds);
            wrong(&|_, _, p| p.now = late, Check::Clock, verdict, "seconds");
        }
    }

    #[test]
    fn a_refused_ping_tells_which_setting_is_wrong() {
        for (status, body, words) in [
            (
                401,
                r#"{"code":401,"status":"failed","data":{"response":false,"message":"Merchant not found"}}"#,
                "MERCHANT_ID",
            ),
            (
                401,
                r#"{"code":401,"status":"failed","data":{"response":false,"message":"Merchant authorization failed"}}"#,
                "MERCHANT",
            ),
            (
                401,
                r#"{"code":401,"status":"failed","data":{"response":false,"message":"Authorisation failed"}}"#,
                "PASSPHRASE",
            ),
            (
                401,
                r#"{"code":401,"status":"failed","data":{"response":false,"message":"Origin not whitelisted"}}"#,
                "dashboard",
            ),
            (
                429,
                r#"{"code":429,"status":"failed","data":{"response":false,"message":"Signature rate limit"}}"#,
                "PASSPHRASE",
            ),
        ] {
            let found = api(&live(), &Probes { ping: Ok(answer(status, body)), ..probes() });
            assert!(found.verdict == Verdict::Fail && found.detail.contains(words), "{body}: {found:?}");
        }
        let lost = Err(Unanswered::Lost("timed out".to_owned()));
        let found = api(&live(), &Probes { ping: lost, ..probes() });
        assert!(found.verdict == Verdict::Fail && found.detail.contains("timed out"));
    }
}
