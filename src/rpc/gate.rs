//! The gate before every service: deadline, bounds, credential and policy, in that order, so that what is cheap to
//! refuse is refused first.
//!
//! It stands inside the gRPC-Web translation, so that its refusals reach browsers in their own framing.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Extensions, HeaderMap, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Layer, Service};

use super::body::Bounded;
use super::in_flight::InFlight;
use super::limits::Limits;
use super::metrics::{Metrics, Observation};
use super::places::{Place, Places};
use super::policy::{Access, Policies, Policy};
use super::refusal::Refusal;
use super::refusals::Refusals;
use super::status;
use crate::auth::{self, Caller, Origin};
use crate::db;

/// Bounds on calls.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a call without a stream may take, also when its caller would wait longer.
    pub unary_max: Duration,
    /// How many calls without a stream may be under way on this node.
    pub calls_max: usize,
    /// How many streams may be open on this node.
    pub streams_max: usize,
    /// How many of them may be one account's, those included that it was sent away from and does not leave.
    pub streams_per_account_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            unary_max: Duration::from_secs(60),
            calls_max: 512,
            streams_max: 20_000,
            streams_per_account_max: 128,
        }
    }
}

/// What all gates of a server share.
pub struct Shared {
    policies: Policies,
    auth: Arc<auth::Service>,
    options: Options,
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    places: Places,
    in_flight: InFlight,
    limits: Limits,
    metrics: Metrics,
    refusals: Refusals,
    closing: CancellationToken,
}

/// Puts a gate before each service.
#[derive(Clone)]
pub struct GateLayer(Arc<Shared>);

impl GateLayer {
    /// A gate for these policies. When `closing` is cancelled, calls that are still under way are told to come again,
    /// while there is still a connection to tell it on.
    #[must_use]
    pub fn new(
        policies: Policies,
        auth: Arc<auth::Service>,
        options: Options,
        in_flight: InFlight,
        limits: Limits,
        metrics: Metrics,
        closing: CancellationToken,
    ) -> Self {
        let calls = Arc::new(Semaphore::new(options.calls_max));
        let streams = Arc::new(Semaphore::new(options.streams_max));
        let places = Places::new(options.streams_per_account_max);
        let refusals = Refusals::new(metrics.clone(), auth.audit().clone());
        Self(Arc::new(Shared {
            policies,
            auth,
            options,
            calls,
            streams,
            places,
            in_flight,
            limits,
            metrics,
            refusals,
            closing,
        }))
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;
    fn layer(&self, inner: S) -> Gate<S> {
        Gate { shared: Arc::clone(&self.0), inner }
    }
}

/// The gate before one service.
#[derive(Clone)]
pub struct Gate<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The ready service is used, and its clone waits for the next call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(shared.pass(request, inner).await) })
    }
}

impl Shared {
    async fn pass<S>(&self, request: Request<Body>, inner: S) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
        S::Future: Send,
    {
        let Some(policy) = self.policies.get(request.uri().path()) else {
            // A method that does not exist, which the service says itself.
            return run(inner, request).await.unwrap_or_else(|refusal| status::status(&refusal).into_http());
        };
        if !is_grpc(request.headers()) {
            return unsupported();
        }
        let origin = request.extensions().get::<Origin>().cloned().unwrap_or_default();
        let observation = self.metrics.begin(Arc::clone(&policy.path));
        let request_id = origin.request_id.clone();
        let work = self.admit(policy, origin, request, inner);
        match status::for_request(request_id, work).await {
            Ok(Admitted { response, deadline, held }) => {
                // A refusal without a message has its status in the head.
                let early = Status::from_header_map(response.headers());
                let early = early.map(|status| self.metrics.count_refusal(&policy.path, &status));
                response.map(|body| Body::new(Bounded::new(body, deadline, early, observation, held)))
            }
            Err(status) => {
                self.metrics.count_refusal(&policy.path, &status);
                refuse(&status, observation)
            }
        }
    }

    async fn admit<S>(
        &self,
        policy: &Arc<Policy>,
        origin: Origin,
        mut request: Request<Body>,
        inner: S,
    ) -> Result<Admitted, Status>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
        S::Future: Send,
    {
        let deadline = self.deadline(policy, request.headers())?;
        // Timers tick in milliseconds: a quick call would be done before one sees that its deadline passed.
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Err(Refusal::Deadline.into());
        }
        let permit = self.permit(policy)?;
        let work = self.until_closing(async {
            let credential = match credential(policy, request.headers()) {
                Ok(credential) => credential,
                Err(refusal) => {
                    let refused = Err(Status::from(refusal));
                    self.note(policy, &Caller::anonymous(origin), &refused);
                    return refused;
                }
            };
            let caller = Arc::new(self.identify(credential, origin).await?);
            let admitted = async {
                self.limits.take(policy.rate_class, &caller)?;
                require_scope(policy, &caller)?;
                require_role(policy.access, &caller)?;
                let place = self.place(policy, &caller)?;
                self.equip(policy, &caller, request.extensions_mut());
                let response = run(inner, request).await?;
                match response.extensions().get::<Status>().and_then(translate) {
                    Some(refusal) => Err(Status::from(refusal)),
                    None => Ok((response, place)),
                }
            };
            let outcome = admitted.await;
            self.note(policy, &caller, &outcome);
            outcome
        });
        let (response, place) = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, db::deadline::within(deadline, work))
                .await
                .map_err(|_| Refusal::Deadline)??,
            None => work.await?,
        };
        // An answer that is made costs the node nothing but its bytes. A client that does not take them must not keep
        // others from being served, and HTTP/2 does not even look at the answer's deadline while there is no window.
        let held = policy.server_streaming.then_some(Held { _permit: permit, _place: place });
        Ok(Admitted { response, deadline, held })
    }

    /// Gives the call what its handler opens it with.
    fn equip(&self, policy: &Arc<Policy>, caller: &Arc<Caller>, extensions: &mut Extensions) {
        extensions.insert(Arc::clone(caller));
        extensions.insert(Arc::clone(policy));
        extensions.insert(self.in_flight.clone());
        if policy.client_streaming {
            // Each of its messages is a call too.
            extensions.insert(self.limits.clone());
        }
        if policy.server_streaming {
            extensions.insert(self.refusals.clone());
        }
    }

    /// Has the audit log tell of a refusal that looks like an attack.
    fn note(
        &self,
        policy: &Policy,
        caller: &Caller,
        outcome: &Result<(Response<Body>, Option<Place>), Status>,
    ) {
        let refused = match outcome {
            // A refusal without a message has its status in the head.
            Ok((response, _)) => response.headers().contains_key(Status::GRPC_STATUS),
            Err(_) => true,
        };
        if let Some(told) = status::told().filter(|_| refused) {
            self.refusals.note(&policy.path, caller, told);
        }
    }

    /// Does the work, unless the node is about to cut its connections: a call that is told to come again is better than
    /// one that hears nothing. What it was doing is stopped like that of a caller who went away.
    async fn until_closing<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.closing.cancelled() => Err(Refusal::Closing.into()),
        }
    }

    /// The caller's deadline, and ours for calls without a stream.
    fn deadline(&self, policy: &Policy, headers: &HeaderMap) -> Result<Option<Instant>, Refusal> {
        let wanted = match headers.get("grpc-timeout") {
            Some(value) => Some(value.to_str().ok().and_then(parse_timeout).ok_or(Refusal::Timeout)?),
            None => None,
        };
        let streaming = policy.server_streaming || policy.client_streaming;
        let bound = if streaming {
            wanted
        } else {
            Some(wanted.unwrap_or(Duration::MAX).min(self.options.unary_max))
        };
        Ok(bound.and_then(|bound| Instant::now().checked_add(bound)))
    }

    fn permit(&self, policy: &Policy) -> Result<OwnedSemaphorePermit, Refusal> {
        let kind = if policy.server_streaming { &self.streams } else { &self.calls };
        Arc::clone(kind).try_acquire_owned().map_err(|_| Refusal::Busy)
    }

    fn place(&self, policy: &Policy, caller: &Caller) -> Result<Option<Place>, Refusal> {
        match caller.account {
            Some(account) if policy.server_streaming => {
                self.places.take(account).map(Some).ok_or(Refusal::Busy)
            }
            _ => Ok(None),
        }
    }

    /// Who calls.
    async fn identify(&self, credential: Credential<'_>, origin: Origin) -> Result<Caller, Status> {
        match credential {
            Credential::None => Ok(Caller::anonymous(origin)),
            // In a box: few calls come with one, and all would carry room for it.
            Credential::ApiKey(key) => Ok(Box::pin(self.auth.authenticate_key(key, origin)).await?),
            Credential::Token(token) => Ok(self.auth.authenticate(token, origin).await?),
        }
    }
}

/// What a call says of who makes it.
#[derive(Clone, Copy)]
enum Credential<'a> {
    /// Nothing, or nothing that anybody looks at.
    None,
    /// An access token.
    Token(&'a str),
    /// An API key.
    ApiKey(&'a str),
}

/// The credential of a call. Public methods take no notice of one, so that a stale one does not keep anybody from
/// signing in again.
fn credential<'a>(policy: &Policy, headers: &'a HeaderMap) -> Result<Credential<'a>, Refusal> {
    let bearer = headers.get(http::header::AUTHORIZATION);
    let api_key = headers.get("x-api-key");
    match (bearer, api_key) {
        (Some(_), Some(_)) => Err(Refusal::TwoCredentials),
        _ if policy.access == Access::Public => Ok(Credential::None),
        (None, None) => Err(Refusal::NoCredential),
        // What is not text is no key of ours, like any other text.
        (None, Some(value)) => Ok(Credential::ApiKey(value.to_str().unwrap_or_default())),
        (Some(value), None) => {
            value.to_str().ok().and_then(bearer_token).map(Credential::Token).ok_or(Refusal::Malformed)
        }
    }
}

struct Admitted {
    response: Response<Body>,
    deadline: Option<Instant>,
    held: Option<Held>,
}

/// What a stream holds of the node's bounds until the wire is done with it.
pub(super) struct Held {
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

/// Runs the service; a panic in it is a refusal like any other.
async fn run<S>(mut inner: S, request: Request<Body>) -> Result<Response<Body>, Refusal>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send,
    S::Future: Send,
{
    match AssertUnwindSafe(inner.call(request)).catch_unwind().await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(never)) => match never {},
        Err(_) => Err(Refusal::Panicked),
    }
}

/// What tonic itself refuses about a message it tells without details and under other codes; callers get it in our
/// form. Its own words are the only mark that it leaves.
fn translate(status: &Status) -> Option<Refusal> {
    const UNREADABLE: [&str; 5] =
        ["decode", "Missing request message", "Unexpected EOF", "protocol error", "tonic-web:"];
    let bare = status.details().is_empty();
    let unreadable = || UNREADABLE.iter().any(|words| status.message().contains(words));
    match status.code() {
        tonic::Code::Internal if bare && unreadable() => Some(Refusal::Unreadable),
        tonic::Code::OutOfRange if bare => Some(Refusal::TooLarge),
        _ => None,
    }
}

fn refuse(status: &Status, observation: Observation) -> Response<Body> {
    observation.end(status.code());
    status.clone().into_http()
}

/// gRPC over HTTP/2: a server answers what is not `application/grpc` with 415.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn unsupported() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// A program is held to the scopes that it was given; a person has no such bounds.
fn require_scope(policy: &Policy, caller: &Caller) -> Result<(), Refusal> {
    let Some(grant) = &caller.grant else { return Ok(()) };
    match policy.api_key_scope {
        None => Err(Refusal::NoPrograms),
        Some(wanted) if !grant.allows(wanted) => Err(Refusal::Scope(wanted.as_str())),
        Some(_) => Ok(()),
    }
}

fn require_role(access: Access, caller: &Caller) -> Result<(), Refusal> {
    match access {
        Access::Developer if !caller.is_developer() => Err(Refusal::Role("developers")),
        Access::Admin if !caller.is_admin() => Err(Refusal::Role("platform administrators")),
        _ => Ok(()),
    }
}

/// The scheme's name is case-blind (RFC 9110, section 11.1).
fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Reads `grpc-timeout` as gRPC over HTTP/2 defines it: at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (at, unit) = text.char_indices().next_back()?;
    let digits = text.get(..at)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3_600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        assert_eq!(parse_timeout("200m"), Some(Duration::from_millis(200)));
        assert_eq!(parse_timeout("1H"), Some(Duration::from_secs(3_600)));
        for wrong in ["", "m", "1", "-1S", "123456789S", "1s", "1é", "+1S"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_scheme_is_case_blind_and_the_token_is_not_empty() {
        assert_eq!(bearer_token("bearer abc"), Some("abc"));
        assert_eq!(bearer_token("Bearer "), None);
        assert_eq!(bearer_token("Basic abc"), None);
    }
}
