//! ClamAV's daemon over TCP, in the words of clamd(8): `INSTREAM`, the bytes in pieces with their lengths, and a line
//! back. Its own bound of a stream (`StreamMaxLength`) must be at least as large as the largest file.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Error, Scanner, Verdict};

/// How long the daemon may take for a file.
const WITHIN: Duration = Duration::from_secs(120);
/// The bytes of one piece.
const PIECE_BYTES: usize = 64 << 10;
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1_024;

/// The daemon of ClamAV.
#[derive(Clone, Debug)]
pub struct Clamd {
    address: String,
}

impl Clamd {
    /// The daemon that listens on `host:port`.
    #[must_use]
    pub const fn new(address: String) -> Self {
        Self { address }
    }

    async fn ask(&self, bytes: &[u8]) -> Result<String, Error> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let (mut heard, mut said) = stream.split();
        let send = async {
            said.write_all(b"zINSTREAM\0").await?;
            for piece in bytes.chunks(PIECE_BYTES) {
                let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                said.write_all(&length.to_be_bytes()).await?;
                said.write_all(piece).await?;
            }
            said.write_all(&0_u32.to_be_bytes()).await
        };
        let mut answer = Vec::new();
        let receive = async { (&mut heard).take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await };
        // Both at once: a daemon that has enough says so before it has heard everything, and hangs up.
        let (sent, received) = tokio::join!(send, receive);
        if answer.is_empty() {
            sent?;
            received?;
        }
        Ok(String::from_utf8_lossy(&answer).trim_end_matches(['\0', '\n']).to_owned())
    }
}

#[async_trait]
impl Scanner for Clamd {
    async fn scan(&self, bytes: Bytes) -> Result<Verdict, Error> {
        let answer = tokio::time::timeout(WITHIN, self.ask(&bytes)).await.map_err(|_| Error::Slow)??;
        verdict(&answer).ok_or(Error::NoVerdict(answer))
    }
}

/// `stream: OK`, or `stream: <what was found> FOUND`; anything else, such as an error, is no verdict.
fn verdict(answer: &str) -> Option<Verdict> {
    match answer.strip_prefix("stream: ")? {
        "OK" => Some(Verdict::Clean),
        found if found.ends_with(" FOUND") => Some(Verdict::Harmful),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_answers_are_verdicts() {
        assert_eq!(verdict("stream: OK"), Some(Verdict::Clean));
        assert_eq!(verdict("stream: Win.Test.EICAR_HDB-1 FOUND"), Some(Verdict::Harmful));
        for answer in ["", "OK", "stream: ", "INSTREAM size limit exceeded. ERROR", "stream: x ERROR", "PONG"]
        {
            assert_eq!(verdict(answer), None, "{answer}");
        }
    }
}
