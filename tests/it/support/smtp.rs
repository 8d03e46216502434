//! A mail server on a port of its own, which does as it is told: takes letters, refuses them, hangs, or hangs up.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a server says when something comes to an end.
#[derive(Clone, Copy, Debug)]
pub enum Says {
    /// This.
    Line(&'static str),
    /// Nothing, ever.
    Nothing,
    /// Nothing, and it hangs up.
    HangsUp,
}

/// How a server behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    pub greeting: Says,
    /// TLS from the first byte.
    pub tls: bool,
    /// Offers STARTTLS.
    pub starttls: bool,
    pub auth: Says,
    pub recipient: Says,
    /// After the letter.
    pub letter: Says,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            greeting: Says::Line("220 mail.example ready"),
            tls: false,
            starttls: true,
            auth: Says::Line("235 welcome"),
            recipient: Says::Line("250 fine"),
            letter: Says::Line("250 taken"),
        }
    }
}

/// A letter that came to its end, and how it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub encrypted: bool,
    /// User and password.
    pub credentials: Option<String>,
    /// The commands before the letter.
    pub commands: Vec<String>,
    /// The letter.
    pub data: String,
}

impl Received {
    /// The lines of the head, each with those that it goes on in.
    pub fn headers(&self) -> Vec<String> {
        let (head, _) = self.data.split_once("\r\n\r\n").unwrap();
        head.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n").map(str::to_owned).collect()
    }

    pub fn header(&self, name: &str) -> String {
        let start = format!("{name}: ");
        let found = self.headers().into_iter().find(|line| line.starts_with(&start)).unwrap();
        found[start.len()..].to_owned()
    }
}

#[derive(Default)]
struct Book {
    manners: Manners,
    connections: usize,
    commands: Vec<String>,
    received: Vec<Received>,
}

/// A running server. It stops when it is dropped.
pub struct Server {
    pub port: u16,
    /// The certificate that it shows, in PEM.
    pub certificate: String,
    book: Arc<Mutex<Book>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    pub async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let book = Arc::new(Mutex::new(Book { manners, ..Book::default() }));
        #[expect(clippy::disallowed_methods, reason = "kept in the struct, and stopped with it")]
        let serving = tokio::spawn(serve(listener, acceptor, Arc::clone(&book)));
        Self { port, certificate: made.cert.pem(), book, serving }
    }

    /// Behaves so from the next connection on.
    pub fn behave(&self, manners: Manners) {
        self.book().manners = manners;
    }

    /// The letters that came to their end, whatever was said then.
    pub fn received(&self) -> Vec<Received> {
        self.book().received.clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.book().connections
    }

    /// All that was said to it outside of letters.
    pub fn commands(&self) -> Vec<String> {
        self.book().commands.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, book: Arc<Mutex<Book>>) {
    let mut sessions = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let manners = {
            let mut book = book.lock().unwrap();
            book.connections += 1;
            book.manners
        };
        let (acceptor, book) = (acceptor.clone(), Arc::clone(&book));
        // A client that hangs up in the middle is what some tests are about.
        sessions.spawn(async move {
            let _ = attend(socket, acceptor, manners, book).await;
        });
    }
}

async fn attend(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    manners: Manners,
    book: Arc<Mutex<Book>>,
) -> io::Result<()> {
    let stream: Box<dyn Stream> =
        if manners.tls { Box::new(acceptor.accept(socket).await?) } else { Box::new(socket) };
    let mut session = Session {
        stream: BufReader::new(stream),
        encrypted: manners.tls,
        credentials: None,
        commands: Vec::new(),
    };
    session.say(manners.greeting).await?;
    loop {
        let line = session.line().await?;
        book.lock().unwrap().commands.push(line.clone());
        session.commands.push(line.clone());
        let verb: String = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let offers = if manners.starttls && !session.encrypted { "250-STARTTLS\r\n" } else { "" };
                let all = format!("250-mail.example\r\n{offers}250-8BITMIME\r\n250 AUTH PLAIN\r\n");
                session.stream.write_all(all.as_bytes()).await?;
            }
            "STARTTLS" => {
                session.say(Says::Line("220 go on")).await?;
                let inner = session.stream.into_inner();
                session.stream = BufReader::new(Box::new(acceptor.accept(inner).await?));
                session.encrypted = true;
            }
            "AUTH" => {
                let encoded = line.rsplit(' ').next().unwrap_or_default();
                let decoded = STANDARD.decode(encoded).unwrap_or_default();
                session.credentials =
                    Some(String::from_utf8_lossy(&decoded).replace('\0', " ").trim().to_owned());
                session.say(manners.auth).await?;
            }
            "RCPT" => session.say(manners.recipient).await?,
            "DATA" => {
                session.say(Says::Line("354 go on")).await?;
                let received = session.letter().await?;
                book.lock().unwrap().received.push(received);
                session.say(manners.letter).await?;
            }
            "QUIT" => return session.say(Says::Line("221 goodbye")).await,
            _ => session.say(Says::Line("250 fine")).await?,
        }
    }
}

struct Session {
    stream: BufReader<Box<dyn Stream>>,
    encrypted: bool,
    credentials: Option<String>,
    commands: Vec<String>,
}

impl Session {
    async fn say(&mut self, says: Says) -> io::Result<()> {
        match says {
            Says::Line(line) => self.stream.write_all(format!("{line}\r\n").as_bytes()).await,
            Says::Nothing => std::future::pending().await,
            Says::HangsUp => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    async fn letter(&mut self) -> io::Result<Received> {
        let mut data = String::new();
        while !data.ends_with("\r\n.\r\n") {
            if self.stream.read_line(&mut data).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let data = data.trim_end_matches(".\r\n").to_owned();
        let (credentials, commands) = (self.credentials.clone(), std::mem::take(&mut self.commands));
        Ok(Received { encrypted: self.encrypted, credentials, commands, data })
    }
}
