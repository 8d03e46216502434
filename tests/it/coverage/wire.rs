//! Calls of any method by its path, with bytes as messages, and what every refusal must carry.

use bytes::{Buf as _, BufMut as _};
use capecontrol::base::fault::{ETAG_MISMATCH, Reason};
use capecontrol::rpc::status::DOMAIN;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::generated;
use crate::support::App;

/// Messages as they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

/// Says these messages and then no more, and reads what comes. A call without streams is one message each way.
pub async fn open(
    t: &App,
    path: &str,
    token: Option<&str>,
    messages: Vec<Vec<u8>>,
) -> Result<Streaming<Vec<u8>>, Status> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let metadata: Vec<_> = bearer.as_deref().map(|bearer| ("authorization", bearer)).into_iter().collect();
    open_with(t, path, &metadata, messages).await
}

/// The same, with any metadata.
async fn open_with(
    t: &App,
    path: &str,
    metadata: &[(&'static str, &str)],
    messages: Vec<Vec<u8>>,
) -> Result<Streaming<Vec<u8>>, Status> {
    let mut request = Request::new(tokio_stream::iter(messages));
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let mut client = Grpc::new(t.channel());
    client.ready().await.unwrap();
    Ok(client.streaming(request, path.parse().unwrap(), Raw).await?.into_inner())
}

/// Makes a call and reads its answer; of a stream, the first item.
pub async fn call(t: &App, path: &str, token: Option<&str>, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut answers = open(t, path, token, vec![message]).await?;
    Ok(answers.message().await?.unwrap_or_else(|| panic!("{path} ended without an answer")))
}

/// The same with any metadata, such as an API key.
pub async fn call_with(
    t: &App,
    path: &str,
    metadata: &[(&'static str, &str)],
    message: Vec<u8>,
) -> Result<Vec<u8>, Status> {
    let mut answers = open_with(t, path, metadata, vec![message]).await?;
    Ok(answers.message().await?.unwrap_or_else(|| panic!("{path} ended without an answer")))
}

/// The refusal of a call: one that a program can read, as all of them must be.
#[track_caller]
pub fn refusal(what: &str, outcome: Result<Vec<u8>, Status>) -> (Status, &'static Reason) {
    let Err(status) = outcome else { panic!("{what}: was not refused") };
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("{what}: no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, DOMAIN, "{what}");
    let reason = generated::reason(&info.reason)
        .unwrap_or_else(|| panic!("{what}: {} is in no registry of reasons", info.reason));
    assert_eq!(format!("{:?}", reason.code), format!("{:?}", status.code()), "{what}: {status:?}");
    assert!(!status.message().is_empty(), "{what}: the refusal has no words for people");
    let code = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Aborted);
    // What changed meanwhile must be read again: waiting does not help.
    let repeatable = code && reason.name != ETAG_MISMATCH.name;
    assert!(!repeatable || details.retry_info().is_some(), "{what}: {} does not say when", reason.name);
    (status, reason)
}

/// All that a refusal tells.
pub fn told(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}
