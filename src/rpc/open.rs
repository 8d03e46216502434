//! Opening a call in a domain's `rpc.rs`: who calls, with which request id, and what.

use std::sync::Arc;

use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

use super::in_flight::{InFlight, Keyed};
use super::limits::Limits;
use super::policy::Policy;
use super::refusals::{OfStream, Refusals};
use crate::auth::Caller;
use crate::base::Violations;
use crate::idempotency::RequestKey;

/// The metadata that may carry the request id instead of the request.
const METADATA: &str = "idempotency-key";

/// A request with a request id. The build implements it for every message that has the field `request_id` (or, for
/// messages of a chat, `client_message_id`).
pub trait Mutation: Message + Clone {
    /// The name of the field.
    const FIELD: &'static str;
    /// Takes the id out, so that the rest can be compared.
    fn take_request_id(&mut self) -> String;
}

/// Opens a call that changes nothing.
///
/// # Errors
/// Never behind the gate, which says who calls.
pub fn open<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let caller = caller(&request)?;
    Ok((caller, request.into_inner()))
}

/// Opens a call whose request is a stream. Each of its messages can be a call of its own, which draws on the budgets.
///
/// # Errors
/// Never behind the gate.
pub fn open_stream<T>(request: Request<Streaming<T>>) -> Result<(Caller, Limits, Streaming<T>), Status> {
    let limits = extension::<Limits>(&request)?;
    let (caller, messages) = open(request)?;
    Ok((caller, limits, messages))
}

/// Where the refusals of a call are told of that come after it has left the gate.
///
/// # Errors
/// Never behind the gate of a stream.
pub fn refusals<T>(request: &Request<T>) -> Result<OfStream, Status> {
    let policy = extension::<Arc<Policy>>(request)?;
    let (refusals, caller) = (extension::<Refusals>(request)?, extension::<Arc<Caller>>(request)?);
    Ok(OfStream::new(refusals, Arc::clone(&policy.path), caller))
}

/// Opens a call that changes something. The key says which call a repetition repeats; `None` when the caller gave none.
///
/// # Errors
/// When the request id is not a UUID, differs between request and metadata, or is under way.
pub fn open_mutation<T: Mutation>(request: Request<T>) -> Result<(Caller, Option<Keyed>, T), Status> {
    let caller = caller(&request)?;
    let policy = extension::<Arc<Policy>>(&request)?;
    let keys = extension::<InFlight>(&request)?;
    let in_metadata = from_metadata(request.metadata())?;
    let message = request.into_inner();
    let mut body = message.clone();
    let Some(key) = agree::<T>(&body.take_request_id(), in_metadata.as_deref())? else {
        return Ok((caller, None, message));
    };
    let body_hash = keys.hash(&body.encode_to_vec());
    let key = RequestKey { method: Arc::clone(&policy.path), key, body_hash };
    let keyed = keys.enter(caller.account, key)?;
    Ok((caller, Some(keyed), message))
}

fn caller(request: &Request<impl Sized>) -> Result<Caller, Status> {
    extension::<Arc<Caller>>(request).map(Arc::unwrap_or_clone)
}

fn extension<E: Clone + Send + Sync + 'static>(request: &Request<impl Sized>) -> Result<E, Status> {
    request.extensions().get::<E>().cloned().ok_or_else(|| Status::internal("the call did not pass the gate"))
}

fn from_metadata(metadata: &MetadataMap) -> Result<Option<String>, Violations> {
    let Some(value) = metadata.get(METADATA) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Violations::one(METADATA, "must be a UUID"))?;
    Ok(Some(text.to_owned()))
}

fn agree<T: Mutation>(in_request: &str, in_metadata: Option<&str>) -> Result<Option<Uuid>, Violations> {
    let mut violations = Violations::new();
    let in_metadata = in_metadata.unwrap_or_default();
    if !in_request.is_empty() && !in_metadata.is_empty() {
        violations.check(
            in_request.eq_ignore_ascii_case(in_metadata),
            T::FIELD,
            "must be the same as the metadata idempotency-key when both are given",
        );
    }
    let (field, text) = if in_request.is_empty() { (METADATA, in_metadata) } else { (T::FIELD, in_request) };
    let key = text.parse::<uuid::fmt::Hyphenated>().ok().map(uuid::fmt::Hyphenated::into_uuid);
    violations.check(text.is_empty() || key.is_some(), field, "must be a UUID");
    violations.finish().map(|()| key)
}
