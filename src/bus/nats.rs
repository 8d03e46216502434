//! Between nodes through NATS: plain subjects, at most once, nothing kept.
//!
//! One subject for all signals of a platform. A node serves whether or not NATS can be reached; it says why not, and
//! goes on trying. Whatever the client drops (a subscription that is read too slowly, a connection that is lost) is
//! heard as missed.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use percent_encoding::percent_decode_str;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::relay::{Events, Relay};
use super::{Bus, Listener, Signal, Tally, wire};
use crate::base::{Secret, World};
use crate::keyring::RootKey;

/// The largest packet; servers take a megabyte unless they are told otherwise.
const PACKET_BYTES_MAX: usize = wire::PACKET_BYTES_MAX / 2;

/// How many packets the client takes before whoever sends them waits.
const SENDING_MAX: usize = 64;

/// How many packets the client keeps for whoever reads them, before it drops some and says so.
const UNREAD_MAX: usize = 4_096;

/// How long a server may be silent: two pings without an answer are the end of a connection.
const PING_EVERY: Duration = Duration::from_secs(10);

/// How long the server may take to say that nobody answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long the last packets may take to leave.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Where NATS is, and as whom to come.
#[derive(Clone)]
pub struct Options {
    servers: Vec<ServerAddr>,
    login: Login,
    /// What the subject begins with; other platforms on the same NATS have another.
    pub prefix: String,
    /// Certificates (PEM) that may sign the servers', instead of the system's.
    pub authorities: Option<PathBuf>,
}

#[derive(Clone)]
enum Login {
    Nobody,
    Token(Secret<String>),
    User(String, Secret<String>),
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|server| (server.host(), server.port())).collect();
        f.debug_struct("Options")
            .field("servers", &servers)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Reads the servers of one cluster, separated by commas: `nats://[user:password@|token@]host[:port]`, or `tls://…`
    /// where TLS is required. All of them take the first one's user or token.
    ///
    /// # Errors
    /// What is wrong with the text, without repeating it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut servers = Vec::new();
        let mut login = Login::Nobody;
        for (index, word) in text.split(',').map(str::trim).enumerate() {
            let server = server(word)?;
            if index == 0 {
                login = Login::of(&server)?;
            }
            // The client writes addresses into its logs.
            let mut bare = server.into_inner();
            let _ = bare.set_username("").and_then(|()| bare.set_password(None));
            servers.push(ServerAddr::from_url(bare).map_err(|_| WANTED.to_owned())?);
        }
        Ok(Self { servers, login, prefix: "capecontrol".to_owned(), authorities: None })
    }

    /// Reads what the subject begins with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_prefix(text: &str) -> Result<String, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let token = |token: &str| !token.is_empty() && token.bytes().all(plain);
        if text.len() <= 200 && text.split('.').all(token) {
            Ok(text.to_owned())
        } else {
            Err("must be words of letters, digits, '-' and '_', with dots between them".to_owned())
        }
    }

    fn subject(&self) -> String {
        format!("{}.bus", self.prefix)
    }
}

const WANTED: &str =
    "must be such as nats://user:password@host:4222, or tls://…; several with commas between them";

fn server(word: &str) -> Result<ServerAddr, String> {
    let known = ["nats://", "tls://"].iter().any(|scheme| word.starts_with(scheme));
    let server = word.parse::<ServerAddr>().ok().filter(|server| known && !server.host().is_empty());
    server.ok_or_else(|| WANTED.to_owned())
}

impl Login {
    fn of(server: &ServerAddr) -> Result<Self, String> {
        let plain = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(Cow::into_owned).map_err(|_| "user and password must be UTF-8".to_owned())
        };
        Ok(match (server.username(), server.password()) {
            (Some(user), Some(password)) => Self::User(plain(user)?, Secret::new(plain(password)?)),
            (Some(token), None) => Self::Token(Secret::new(plain(token)?)),
            (None, _) => Self::Nobody,
        })
    }
}

/// Carries signals over NATS.
pub struct Nats {
    relay: Arc<Relay>,
    options: Options,
    /// A connection was made. What comes over it is to be asked for first.
    connected: Arc<Notify>,
}

impl Nats {
    /// The bus of one node.
    #[must_use]
    pub fn new(options: Options, world: World, root: RootKey) -> Self {
        Self { relay: Arc::new(Relay::new(world, root)), options, connected: Arc::default() }
    }

    /// Connects, and tries until it succeeds. From then on the client connects again by itself.
    async fn connect(&self) -> Client {
        let mut failures = 0_u32;
        loop {
            match self.client().connect(self.options.servers.as_slice()).await {
                Ok(client) => return client,
                Err(error) if failures == 0 => {
                    tracing::warn!(%error, "NATS cannot be reached; it is tried again");
                }
                Err(error) => tracing::debug!(%error, failures, "NATS cannot be reached"),
            }
            failures = failures.saturating_add(1);
            tokio::time::sleep(self.relay.pause(failures)).await;
        }
    }

    fn client(&self) -> ConnectOptions {
        let (relay, connected) = (Arc::clone(&self.relay), Arc::clone(&self.connected));
        let pauses = Arc::clone(&self.relay);
        let client = ConnectOptions::new()
            .name("capecontrol")
            .no_echo()
            .custom_inbox_prefix(format!("{}.inbox", self.options.prefix))
            .request_timeout(Some(ANSWER_WITHIN))
            .client_capacity(SENDING_MAX)
            .subscription_capacity(UNREAD_MAX)
            .ping_interval(PING_EVERY)
            .reconnect_delay_callback(move |attempts| match u32::try_from(attempts).unwrap_or(u32::MAX) {
                0 | 1 => Duration::ZERO,
                failures => pauses.pause(failures),
            })
            .event_callback(move |event| {
                told(&relay, &connected, &event);
                std::future::ready(())
            });
        let client = match self.options.authorities.clone() {
            Some(file) => client.add_root_certificates(file),
            None => client,
        };
        match self.options.login.clone() {
            Login::Nobody => client,
            Login::Token(token) => client.token(token.expose().clone()),
            Login::User(user, password) => client.user_and_password(user, password.expose().clone()),
        }
    }

    /// Carries signals until the client ends, which it does not by itself.
    async fn carry(&self, client: &Client) {
        match client.subscribe(self.options.subject()).await {
            Ok(subscriber) => tokio::select! {
                () = self.send(client) => {}
                () = self.hear(subscriber) => {}
                () = self.follow(client) => {}
            },
            Err(error) => tracing::warn!(%error, "NATS takes no subscription"),
        }
    }

    async fn send(&self, client: &Client) {
        loop {
            self.relay.filled().await;
            self.send_waiting(client).await;
        }
    }

    async fn send_waiting(&self, client: &Client) {
        for packet in self.relay.take(PACKET_BYTES_MAX, Events::ComeAlong) {
            if let Err(error) = client.publish(self.options.subject(), packet.into()).await {
                tracing::warn!(%error, "NATS takes no signals");
                self.relay.lost();
                tokio::time::sleep(self.relay.pause(1)).await;
            }
        }
    }

    async fn hear(&self, mut subscriber: Subscriber) {
        while let Some(message) = subscriber.next().await {
            self.relay.receive(&message.payload);
        }
    }

    /// Says for every connection that was made what was missed before it.
    async fn follow(&self, client: &Client) {
        let mut first = true;
        loop {
            self.connected.notified().await;
            // The server says at once that nobody answers there, and has read the subscription by then: what is said
            // from now on is heard.
            let _nobody = client.request(format!("{}.nobody", self.options.prefix), Bytes::new()).await;
            // What the client still had to send when a connection was lost, the others have not heard.
            if !std::mem::replace(&mut first, false) {
                self.relay.lost();
            }
            self.relay.connected();
        }
    }
}

/// What the client tells of itself.
fn told(relay: &Relay, connected: &Notify, event: &Event) {
    match event {
        Event::Connected => connected.notify_one(),
        Event::SlowConsumer(_) => relay.missed(),
        Event::Disconnected => tracing::warn!("the connection to NATS was lost; it is tried again"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS refuses something"),
        // Every attempt that fails says so; that the connection was lost has been told.
        event => tracing::debug!(%event, "NATS"),
    }
}

#[async_trait]
impl Bus for Nats {
    fn publish(&self, signal: Signal) {
        self.relay.publish(signal);
    }

    fn listen(&self) -> Box<dyn Listener> {
        self.relay.listen()
    }

    async fn run(&self, stop: CancellationToken) {
        while let Some(client) = stop.run_until_cancelled(self.connect()).await {
            if stop.run_until_cancelled(self.carry(&client)).await.is_some() {
                let _stopped = stop.run_until_cancelled(tokio::time::sleep(self.relay.pause(1))).await;
                continue;
            }
            // Whoever listens elsewhere would hear of it two seconds later otherwise.
            let last = async {
                self.send_waiting(&client).await;
                client.flush().await
            };
            let _last = tokio::time::timeout(FLUSH_MAX, last).await;
            return;
        }
    }

    fn tally(&self) -> Tally {
        self.relay.tally()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, SeededRng, Timestamp};
    use crate::bus::Heard;

    #[tokio::test]
    async fn what_the_client_dropped_was_missed_and_a_connection_is_noted() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(0)));
        let relay = Relay::new(World::new(clock, Arc::new(SeededRng::new(1))), RootKey::new([7; 32]));
        let (mut listener, connected) = (relay.listen(), Notify::new());
        told(&relay, &connected, &Event::SlowConsumer(1));
        assert_eq!(listener.next().await, Some(Heard::Missed));
        told(&relay, &connected, &Event::Connected);
        connected.notified().await;
    }

    #[test]
    fn servers_and_logins_are_read_from_the_url() {
        let options = Options::parse("tls://ada:p%40ss@one.example, nats://two.example:5222").unwrap();
        let servers: Vec<_> = options.servers.iter().map(|server| (server.host(), server.port())).collect();
        assert_eq!(servers, [("one.example", 4222), ("two.example", 5222)]);
        assert!(options.servers[0].tls_required());
        assert!(
            matches!(&options.login, Login::User(user, password) if user == "ada" && password.expose() == "p@ss")
        );
        let token = Options::parse("nats://s3cr3t@one.example").unwrap();
        assert!(matches!(&token.login, Login::Token(token) if token.expose() == "s3cr3t"));
        assert!(matches!(Options::parse("nats://one.example").unwrap().login, Login::Nobody));
        for options in [options, token] {
            let said = format!("{options:?} {:?}", options.servers);
            assert!(!said.contains("p%40ss") && !said.contains("p@ss") && !said.contains("s3cr3t"), "{said}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_without_being_repeated() {
        for text in [
            "",
            "one.example:4222",
            "redis://hunter2@one",
            "nats://",
            "nats://a,",
            "ws://one",
            "nats://:hunter2@",
        ] {
            let says = Options::parse(text).unwrap_err();
            assert!(says.contains("nats://") && !says.contains("hunter2"), "{text}: {says}");
        }
    }

    #[test]
    fn a_prefix_is_words_with_dots_between_them() {
        assert_eq!(Options::parse_prefix("cape.test-2").unwrap(), "cape.test-2");
        for text in ["", ".", "a.", "a..b", "a b", "a.*", ">", "a\n"] {
            assert!(Options::parse_prefix(text).is_err(), "{text:?}");
        }
    }
}
