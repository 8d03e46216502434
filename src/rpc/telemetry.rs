//! What every request on the port gets before anything else: an id, the address that it really came from, and a span
//! under which all its log lines stand. Logs carry neither addresses nor bodies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tracing::Instrument as _;

use super::refusals::Refusals;
use super::server::Peer;
use crate::auth::Origin;
use crate::base::World;
use crate::base::net::Network;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// A longer or stranger id from outside is replaced by ours.
const REQUEST_ID_MAX: usize = 64;
const AGENT_MAX: usize = 200;
/// Below which path links to files stand, each of which is its own credential.
const FILES: &str = "/attachments/";

/// What the layer needs to know.
#[derive(Clone)]
pub struct Telemetry {
    /// Mints request ids.
    world: World,
    /// Whose forwarding headers count.
    trusted_proxies: Arc<[Network]>,
    untrusted_noted: Arc<AtomicBool>,
    refusals: Refusals,
}

/// The layer, for `axum::middleware::from_fn_with_state`.
pub async fn observe(State(telemetry): State<Telemetry>, mut request: Request, next: Next) -> Response {
    let origin = telemetry.origin(&request);
    let span = tracing::info_span!("request", id = origin.request_id, path = shown(request.uri().path()));
    let id = HeaderValue::from_str(&origin.request_id);
    request.extensions_mut().insert(origin);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A path as it may be written into a log: whoever has a link to a file may read it.
fn shown(path: &str) -> &str {
    let is_link = path.starts_with(FILES);
    if is_link { FILES } else { path }
}

impl Telemetry {
    /// A layer that believes these proxies.
    #[must_use]
    pub fn new(world: World, trusted_proxies: Arc<[Network]>, refusals: Refusals) -> Self {
        Self { world, trusted_proxies, untrusted_noted: Arc::default(), refusals }
    }

    fn origin(&self, request: &Request) -> Origin {
        let headers = request.headers();
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        let trusted = peer.is_some_and(|peer| self.trusts(peer));
        let origin = Origin {
            request_id: trusted
                .then(|| forwarded_id(headers))
                .flatten()
                .unwrap_or_else(|| self.world.id::<Request>().to_string()),
            peer: if trusted { self.client(headers).or(peer) } else { peer },
            agent: agent(headers),
        };
        if !trusted && headers.contains_key(FORWARDED_FOR) {
            self.note_untrusted(&origin);
        }
        origin
    }

    /// The last address that a trusted proxy did not add itself. Read from the end, for what stands before it anybody
    /// can have written, also something that is no address.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let hops = lines.into_iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut farthest = None;
        for hop in hops {
            let Some(hop) = address(hop) else { break };
            farthest = Some(hop);
            if !self.trusts(hop) {
                break;
            }
        }
        farthest
    }

    /// Somebody forges the header. Or, behind a proxy that is not named, all callers have one address, and so one
    /// budget: whoever runs the node should hear of that, once.
    fn note_untrusted(&self, origin: &Origin) {
        self.refusals.forged_forwarding(origin);
        if !self.untrusted_noted.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a forwarding header of an address that is no trusted proxy: if it is the proxy in front, name it in \
                 SERVER__TRUSTED_PROXIES"
            );
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}

/// An address as proxies write it, with or without a port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

fn forwarded_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!id.is_empty() && id.len() <= REQUEST_ID_MAX && id.bytes().all(plain)).then(|| id.to_owned())
}

fn agent(headers: &HeaderMap) -> String {
    let named = headers.get("x-user-agent").or_else(|| headers.get(header::USER_AGENT));
    let name = named.and_then(|value| value.to_str().ok()).unwrap_or_default();
    name.chars().take(AGENT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, SeededRng, Timestamp};

    fn telemetry() -> Telemetry {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(0)));
        let world = World::new(clock, Arc::new(SeededRng::new(1)));
        let audit = crate::audit::Log::new(world.clone(), crate::keyring::RootKey::new([1; 32]));
        let refusals = Refusals::new(crate::rpc::metrics::Metrics::default(), audit);
        Telemetry::new(world, vec![Network::parse("10.0.0.0/8").unwrap()].into(), refusals)
    }

    fn request(peer: &str, forwarded: &str) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        request.headers_mut().insert(FORWARDED_FOR, HeaderValue::from_str(forwarded).unwrap());
        request.headers_mut().insert(REQUEST_ID, HeaderValue::from_static("from-outside"));
        request.extensions_mut().insert(Peer(std::net::SocketAddr::new(peer.parse().unwrap(), 1)));
        request
    }

    #[test]
    fn only_a_trusted_proxy_says_for_whom_it_calls() {
        let origin = telemetry().origin(&request("203.0.113.9", "198.51.100.1"));
        assert_eq!(origin.peer, Some("203.0.113.9".parse().unwrap()));
        assert_ne!(origin.request_id, "from-outside");
        let origin = telemetry().origin(&request("10.0.0.1", "198.51.100.1, 10.0.0.2"));
        assert_eq!(origin.peer, Some("198.51.100.1".parse().unwrap()));
        assert_eq!(origin.request_id, "from-outside");
    }

    #[test]
    fn what_a_client_puts_before_the_proxys_word_is_not_believed() {
        for forged in ["192.0.2.66", "192.0.2.66, no address", "no address", "192.0.2.66, ", "\u{e9}"] {
            for hop in ["198.51.100.1", "198.51.100.1:4711", "198.51.100.1, 10.0.0.2"] {
                let origin = telemetry().origin(&request("10.0.0.1", &format!("{forged}, {hop}")));
                assert_eq!(origin.peer, Some("198.51.100.1".parse().unwrap()), "{forged:?}, {hop}");
            }
        }
        let origin = telemetry().origin(&request("10.0.0.1", "192.0.2.66, no address"));
        assert_eq!(origin.peer, Some("10.0.0.1".parse().unwrap()));
    }
}
