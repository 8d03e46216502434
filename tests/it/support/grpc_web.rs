//! A browser's view: gRPC-Web over HTTP/1.1, as `fetch` speaks it.

use bytes::Bytes;
use http::HeaderMap;
use prost::Message;

/// The answer to a gRPC-Web call, read frame by frame.
pub struct Answer {
    pub headers: HeaderMap,
    response: reqwest::Response,
    buffer: Vec<u8>,
    /// What the last frame told, once it has come.
    pub trailers: Option<HeaderMap>,
}

/// Makes a call with these headers.
pub async fn call(
    http: &reqwest::Client,
    url: &str,
    method: &str,
    headers: HeaderMap,
    message: &impl Message,
) -> Answer {
    try_call(http, url, method, headers, message).await.unwrap()
}

/// Makes a call with these headers, which may not come through.
pub async fn try_call(
    http: &reqwest::Client,
    url: &str,
    method: &str,
    headers: HeaderMap,
    message: &impl Message,
) -> Result<Answer, reqwest::Error> {
    let response = http
        .post(format!("{url}{method}"))
        .headers(headers)
        .header("content-type", "application/grpc-web+proto")
        .header("accept", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .body(frame(&message.encode_to_vec()))
        .send()
        .await?;
    let headers = response.headers().clone();
    Ok(Answer { headers, response, buffer: Vec::new(), trailers: None })
}

/// A message in its frame: not compressed, four bytes of length.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat()
}

impl Answer {
    /// The next message; none when the trailers came instead.
    pub async fn message<M: Message + Default>(&mut self) -> Option<M> {
        self.try_message().await.unwrap()
    }

    /// The next message, of an answer that may break off; none when the trailers came instead, or the end without them.
    pub async fn try_message<M: Message + Default>(&mut self) -> Result<Option<M>, reqwest::Error> {
        loop {
            if let Some((kind, body)) = self.take_frame() {
                if kind & 0x80 == 0 {
                    return Ok(Some(M::decode(body).unwrap()));
                }
                self.trailers = Some(parse(&body));
                return Ok(None);
            }
            let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// The status, from the trailers or (a refusal without a body) from the headers.
    pub fn grpc_status(&self) -> Option<i32> {
        let trailers = self.trailers.as_ref().unwrap_or(&self.headers);
        trailers.get("grpc-status")?.to_str().ok()?.parse().ok()
    }

    fn take_frame(&mut self) -> Option<(u8, Bytes)> {
        let head = self.buffer.first_chunk::<5>()?;
        let (kind, length) = (head[0], u32::from_be_bytes([head[1], head[2], head[3], head[4]]));
        let end = 5 + usize::try_from(length).unwrap();
        if self.buffer.len() < end {
            return None;
        }
        let body = Bytes::copy_from_slice(&self.buffer[5..end]);
        self.buffer.drain(..end);
        Some((kind, body))
    }
}

/// Trailers are lines as in a head of HTTP/1.
fn parse(body: &[u8]) -> HeaderMap {
    let text = std::str::from_utf8(body).unwrap();
    let pairs = text.split("\r\n").filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| {
            (
                name.trim().parse::<http::HeaderName>().unwrap(),
                value.trim().parse::<http::HeaderValue>().unwrap(),
            )
        })
        .collect()
}
