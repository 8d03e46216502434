//! Letters through an SMTP server.
//!
//! A connection for each letter: there are few, and one that was left open is the one that fails. What goes wrong
//! before the letter is handed over is the server's matter ([`Error::Unreachable`]); what the server says to the
//! letter itself decides about that letter only. Of what it says only the codes are kept, for its words may hold an
//! address.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use super::{Error, Mail, Mailer, Sender, Stamp, compose};
use crate::base::Secret;

/// Answers that say that we are not let in, whatever the letter: no or wrong credentials.
const NOT_LET_IN: [u16; 4] = [530, 534, 535, 538];
/// The server closes the connection, whatever the letter.
const CLOSING: u16 = 421;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS begins by STARTTLS, before anything is said. A server that offers none is not used.
    StartTls,
    /// None: only for a server on this very machine.
    None,
}

/// Which server, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpOptions {
    /// The server's name, which its certificate must bear.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// User and password.
    pub credentials: Option<(String, Secret<String>)>,
    /// Certificates in PEM that may sign the server's, beside the public ones.
    pub authorities: Vec<u8>,
    /// How long it may take to be let in, and again how long to hand a letter over.
    pub step_max: Duration,
}

/// Sends letters through an SMTP server.
pub struct SmtpMailer {
    options: SmtpOptions,
    sender: Sender,
    hello: ClientId,
    tls: Option<TlsParameters>,
}

impl SmtpMailer {
    /// Letters from `sender`. Nothing is connected to yet.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn new(options: SmtpOptions, sender: Sender) -> Result<Self, Error> {
        let tls = match options.security {
            Security::None => None,
            Security::Tls | Security::StartTls => Some(tls(&options).map_err(|error| {
                Error::Setup(format!("the certificates (MAIL__CA_FILE): {}", told(&error)))
            })?),
        };
        let hello = ClientId::Domain(sender.domain().to_owned());
        Ok(Self { options, sender, hello, tls })
    }

    /// Connects, begins TLS, and is let in.
    async fn connect(&self) -> Result<AsyncSmtpConnection, smtp::Error> {
        let address = (self.options.host.as_str(), self.options.port);
        let (at_once, later) = match self.options.security {
            Security::Tls => (self.tls.clone(), None),
            Security::StartTls => (None, self.tls.clone()),
            Security::None => (None, None),
        };
        let limit = Some(self.options.step_max);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, limit, &self.hello, at_once, None).await?;
        if let Some(tls) = later {
            connection.starttls(tls, &self.hello).await?;
        }
        if let Some((user, password)) = &self.options.credentials {
            let credentials = Credentials::new(user.clone(), password.expose().clone());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
        }
        Ok(connection)
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, smtp::Error>>) -> Result<T, Broken> {
        let limit = self.options.step_max;
        match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome.map_err(Broken::Failed),
            Err(_) => Err(Broken::Late(limit)),
        }
    }
}

/// Why a step was not done.
enum Broken {
    Late(Duration),
    Failed(smtp::Error),
}

impl Broken {
    fn told(&self) -> String {
        match self {
            Self::Late(limit) => format!("no answer within {} s", limit.as_secs_f32()),
            Self::Failed(error) => told(error),
        }
    }

    /// What it means for a letter that was being handed over.
    fn of_a_letter(&self) -> Error {
        let told = self.told();
        let Self::Failed(error) = self else { return Error::Lost(told) };
        match error.status().map(u16::from) {
            Some(code) if code == CLOSING || NOT_LET_IN.contains(&code) => Error::Unreachable(told),
            Some(_) if error.is_permanent() => Error::Unsendable(told),
            Some(_) => Error::NotSent(told),
            None if error.is_client() => Error::Unsendable(told),
            None => Error::Lost(told),
        }
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, stamp: Stamp, mail: &Mail) -> Result<(), Error> {
        let message = compose::message(&self.sender, stamp, mail)?;
        let connected = self.bounded(self.connect()).await;
        let mut connection = connected.map_err(|broken| Error::Unreachable(broken.told()))?;
        let bytes = message.formatted();
        let sent = self.bounded(connection.send(message.envelope(), &bytes)).await;
        sent.map_err(|broken| broken.of_a_letter())?;
        // It is theirs now, whether they say goodbye or not.
        let _ = self.bounded(connection.quit()).await;
        Ok(())
    }
}

fn tls(options: &SmtpOptions) -> Result<TlsParameters, smtp::Error> {
    let mut builder = TlsParameters::builder(options.host.clone());
    if !options.authorities.is_empty() {
        builder = builder.add_root_certificate(Certificate::from_pem(&options.authorities)?);
    }
    builder.build_rustls()
}

/// An error in words that hold nothing of the letter.
fn told(error: &smtp::Error) -> String {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    match error.status() {
        Some(code) => {
            let enhanced = cause.split_whitespace().next().filter(|word| is_enhanced(word));
            format!(
                "the server answered {code}{}",
                enhanced.map(|word| format!(" {word}")).unwrap_or_default()
            )
        }
        None if error.is_response() => "the server's answer cannot be read, or there was none".to_owned(),
        None => error.to_string(),
    }
}

/// An enhanced status code, such as `5.1.1`.
fn is_enhanced(word: &str) -> bool {
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    word.split('.').count() == 3 && word.split('.').all(digits)
}
