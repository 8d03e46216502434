//! A line to a NATS server on which signals are lost, repeated and put out of order, by a seed.
//!
//! Nodes connect to it as to the server. It knows as much of the protocol as it takes to see where one message ends and
//! the next begins; every byte of a message is what the server sent, and what is no signal passes untouched.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use capecontrol::base::{ManualClock, SeededRng, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{NatsServer, START};

/// After so long a silence whatever was held back comes: nothing is held for ever.
const SILENCE: Duration = Duration::from_millis(30);
/// Behind how many others a signal may come at most.
const HELD_MAX: u64 = 8;

/// How much goes wrong, in percent of the signals.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub lost: u64,
    pub repeated: u64,
    /// Held back until others have passed.
    pub held: u64,
}

/// What became of the signals, on all lines.
#[derive(Debug, Default)]
pub struct Tally {
    pub came: AtomicU64,
    pub lost: AtomicU64,
    pub repeated: AtomicU64,
    /// Those that came behind one that the server had sent later.
    pub late: AtomicU64,
}

/// A NATS server behind such lines, one for each connection.
pub struct LossyNats {
    pub tally: Arc<Tally>,
    address: SocketAddr,
    _server: NatsServer,
    /// Ends with it.
    _lines: JoinSet<()>,
}

impl LossyNats {
    /// Starts a server, and puts the lines before it.
    pub async fn start(seed: u64, faults: Faults) -> Self {
        let server = NatsServer::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, tally) = (listener.local_addr().unwrap(), Arc::new(Tally::default()));
        let mut lines = JoinSet::new();
        lines.spawn(accept(listener, server.address(), seed, faults, Arc::clone(&tally)));
        Self { tally, address, _server: server, _lines: lines }
    }

    /// Where nodes find it.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

async fn accept(listener: TcpListener, server: String, seed: u64, faults: Faults, tally: Arc<Tally>) {
    let mut lines = JoinSet::new();
    for number in 0.. {
        let (node, _) = listener.accept().await.unwrap();
        let Ok(server) = TcpStream::connect(&server).await else { continue };
        let ((from_node, to_node), (from_server, to_server)) = (node.into_split(), server.into_split());
        let line = Line::new(seed.wrapping_mul(1_000).wrapping_add(number), faults, Arc::clone(&tally));
        lines.spawn(async move {
            // Whichever side ends, so does the other.
            tokio::select! {
                () = upwards(from_node, to_server) => {}
                () = downwards(from_server, to_node, line) => {}
            }
        });
    }
}

async fn upwards(mut node: OwnedReadHalf, mut server: OwnedWriteHalf) {
    let _ended = tokio::io::copy(&mut node, &mut server).await;
}

async fn downwards(mut server: OwnedReadHalf, mut node: OwnedWriteHalf, mut line: Line) {
    let mut buffer = BytesMut::new();
    loop {
        let pieces = match tokio::time::timeout(SILENCE, server.read_buf(&mut buffer)).await {
            Ok(Ok(1..)) => {
                std::iter::from_fn(|| take(&mut buffer)).flat_map(|piece| line.pass(piece)).collect()
            }
            Ok(Ok(0) | Err(_)) => return,
            Err(_silence) => line.let_go(),
        };
        for piece in pieces {
            if node.write_all(&piece).await.is_err() {
                return;
            }
        }
    }
}

/// The next whole piece of what the server says: a line, with its payload when it has one.
fn take(buffer: &mut BytesMut) -> Option<Bytes> {
    let head = buffer.windows(2).position(|end| end == b"\r\n")? + 2;
    let line = std::str::from_utf8(&buffer[..head]).unwrap();
    let has_payload = line.starts_with("MSG ") || line.starts_with("HMSG ");
    let payload =
        has_payload.then(|| line.split_whitespace().next_back().unwrap().parse::<usize>().unwrap() + 2);
    let whole = head + payload.unwrap_or(0);
    (buffer.len() >= whole).then(|| buffer.split_to(whole).freeze())
}

/// Whether it is a signal of the platform, which alone may be lost. Answers to requests are none.
fn is_signal(piece: &[u8]) -> bool {
    let mut words = piece.split(|byte| *byte == b' ');
    words.next() == Some(b"MSG") && words.next().is_some_and(|subject| subject.ends_with(b".bus"))
}

/// What happens to the signals on one line.
struct Line {
    dice: World,
    faults: Faults,
    tally: Arc<Tally>,
    /// Those that are held back, with how many others pass before them.
    held: VecDeque<(u64, Bytes)>,
}

impl Line {
    fn new(seed: u64, faults: Faults, tally: Arc<Tally>) -> Self {
        let dice = World::new(Arc::new(ManualClock::new(START)), Arc::new(SeededRng::new(seed)));
        Self { dice, faults, tally, held: VecDeque::new() }
    }

    /// What the node is sent when the server sent this.
    fn pass(&mut self, piece: Bytes) -> Vec<Bytes> {
        if !is_signal(&piece) {
            return vec![piece];
        }
        let roll = self.dice.below(100);
        let (lost, repeated) = (self.faults.lost, self.faults.repeated);
        let copies = match roll {
            _ if roll < lost => 0,
            _ if roll < lost + repeated => 2,
            _ => 1,
        };
        self.tally.came.fetch_add(1, Ordering::Relaxed);
        self.tally.lost.fetch_add(u64::from(copies == 0), Ordering::Relaxed);
        self.tally.repeated.fetch_add(u64::from(copies == 2), Ordering::Relaxed);
        let mut passing = Vec::new();
        for _ in 0..copies {
            if self.dice.below(100) < self.faults.held {
                let others = 1 + self.dice.below(HELD_MAX);
                self.held.push_back((others, piece.clone()));
            } else {
                passing.push(piece.clone());
            }
        }
        if !passing.is_empty() {
            self.overtake(&mut passing);
        }
        passing
    }

    /// Something passes those that are held back; whose time has come follows it.
    fn overtake(&mut self, passing: &mut Vec<Bytes>) {
        for (others, _) in &mut self.held {
            *others -= 1;
        }
        let held = std::mem::take(&mut self.held);
        let (due, held): (VecDeque<_>, VecDeque<_>) = held.into_iter().partition(|(others, _)| *others == 0);
        self.held = held;
        self.tally.late.fetch_add(u64::try_from(due.len()).unwrap(), Ordering::Relaxed);
        passing.extend(due.into_iter().map(|(_, piece)| piece));
    }

    /// Nothing more comes for now: the last that was held back comes first.
    fn let_go(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.held).into_iter().rev().map(|(_, piece)| piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: Faults = Faults { lost: 30, repeated: 10, held: 25 };

    fn signal(number: u64) -> Bytes {
        let payload = format!("\r\nsignal\0{number}\r\n");
        Bytes::from(format!("MSG capecontrol.bus 1 {}\r\n{payload}\r\n", payload.len()))
    }

    fn play(seed: u64) -> (Vec<Bytes>, Arc<Tally>) {
        let tally = Arc::new(Tally::default());
        let mut line = Line::new(seed, FAULTS, Arc::clone(&tally));
        let mut heard: Vec<Bytes> = (0..10_000).flat_map(|number| line.pass(signal(number))).collect();
        heard.extend(line.let_go());
        (heard, tally)
    }

    #[test]
    fn signals_are_lost_repeated_and_late_as_the_seed_says() {
        let (heard, tally) = play(1);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        assert_eq!(count(&tally.came), 10_000);
        assert!((2_800..3_200).contains(&count(&tally.lost)), "{tally:?}");
        assert!((900..1_100).contains(&count(&tally.repeated)), "{tally:?}");
        assert!((1_500..2_500).contains(&count(&tally.late)), "{tally:?}");
        let (lost, repeated) = (count(&tally.lost), count(&tally.repeated));
        assert_eq!(u64::try_from(heard.len()).unwrap(), 10_000 - lost + repeated);
        let sent: std::collections::BTreeSet<Bytes> = (0..10_000).map(signal).collect();
        assert!(heard.iter().all(|piece| sent.contains(piece)), "a byte is another");
        assert!(heard != play(2).0 && heard == play(1).0, "it is not the seed that decides");
    }

    #[test]
    fn pieces_are_found_however_they_come() {
        let said = [
            "INFO {\"port\":4222}\r\n",
            "MSG capecontrol.bus 1 5\r\na\r\nbc\r\n",
            "PING\r\n",
            "HMSG capecontrol.inbox.x 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
            "MSG capecontrol.bus 1 reply 0\r\n\r\n",
        ];
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for byte in said.concat().bytes() {
            buffer.extend_from_slice(&[byte]);
            found.extend(take(&mut buffer));
        }
        assert_eq!(found, said);
        assert_eq!(
            found.iter().map(|piece| is_signal(piece)).collect::<Vec<_>>(),
            [false, true, false, false, true]
        );
    }
}
