//! Refusals on the wire: one mapper from [`Fault`] to `google.rpc.Status` with its details.

use std::cell::Cell;
use std::time::Duration;

use tonic::{Code as Wire, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation, StatusExt as _};

use crate::base::fault::{Code, Fault, INTERNAL, Reason, Suspicion, Violations};

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "capecontrol";

const RETRY_DEFAULT: Duration = Duration::from_millis(500);

tokio::task_local! {
    static CALL: Call;
}

/// The call that is being worked on.
struct Call {
    request_id: String,
    /// The last refusal that was told of it.
    told: Cell<Option<Told>>,
}

/// A refusal as it was told, beyond what the wire says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Why.
    pub(super) reason: &'static Reason,
    /// How much it looks like an attack.
    pub(super) suspicion: Option<Suspicion>,
}

/// Runs `work` for a call with this id, so that its refusals and logs name it. Not an `async fn`, which would keep room
/// for `work` twice.
pub(super) fn for_request<F: Future>(request_id: String, work: F) -> impl Future<Output = F::Output> {
    CALL.scope(Call { request_id, told: Cell::new(None) }, work)
}

/// The refusal of the present call, once one was told.
pub(super) fn told() -> Option<Told> {
    CALL.try_with(|call| call.told.get()).ok().flatten()
}

/// Tells a refusal of a call that has left the gate, such as one that ends its stream.
pub(crate) fn status_of_request(request_id: &str, fault: &dyn Fault) -> Status {
    let call = Call { request_id: request_id.to_owned(), told: Cell::new(None) };
    CALL.sync_scope(call, || status(fault))
}

/// Tells a refusal. The cause of an internal one is logged here, once, and never sent.
pub fn status(fault: &dyn Fault) -> Status {
    let reason = fault.reason();
    let told = Told { reason, suspicion: fault.suspicion() };
    // Outside of any call nobody asks for it.
    let _ = CALL.try_with(|call| call.told.set(Some(told)));
    if reason.code == Code::Internal {
        return internal(fault);
    }
    let message = fault.to_string();
    let mut details = ErrorDetails::with_error_info(reason.name, DOMAIN, metadata(fault));
    if let Some(delay) = retry_delay(reason, fault) {
        details.set_retry_info(Some(delay));
    }
    if let Some((kind, id)) = fault.resource() {
        details.set_resource_info(kind, id, "", message.clone());
    }
    describe(&mut details, fault, &message);
    Status::with_error_details(wire(reason.code), message, details)
}

/// The answer to a call of a service that the platform does not have.
pub fn no_such_service<B: Default>() -> http::Response<B> {
    Status::unimplemented("There is no such service.").into_http()
}

fn describe(details: &mut ErrorDetails, fault: &dyn Fault, message: &str) {
    let reason = fault.reason();
    match reason.code {
        Code::InvalidArgument if !fault.violations().is_empty() => {
            let violations = fault.violations().iter();
            let told: Vec<_> =
                violations.map(|wrong| FieldViolation::new(&wrong.field, &wrong.description)).collect();
            details.set_bad_request(told);
        }
        Code::FailedPrecondition => {
            let subject = fault.resource().map(|(_, id)| id).unwrap_or_default();
            details.set_precondition_failure(vec![PreconditionViolation::new(reason.name, subject, message)]);
        }
        Code::ResourceExhausted => {
            details.set_quota_failure(vec![QuotaViolation::new(reason.name, message)]);
        }
        _ => {}
    }
}

fn internal(fault: &dyn Fault) -> Status {
    let request_id = CALL.try_with(|call| call.request_id.clone()).unwrap_or_default();
    tracing::error!(request_id, cause = causes(fault), "a call failed");
    let mut details = ErrorDetails::with_error_info(INTERNAL.name, DOMAIN, metadata(fault));
    details.set_request_info(request_id.clone(), "");
    let message =
        format!("Something went wrong on our side. Please report it with the request id {request_id}.");
    Status::with_error_details(Wire::Internal, message, details)
}

/// The error and all its causes in one line, for the log.
fn causes(fault: &dyn Fault) -> String {
    let mut line = fault.to_string();
    let mut next = fault.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        next = cause.source();
    }
    line
}

fn metadata(fault: &dyn Fault) -> std::collections::HashMap<String, String> {
    fault.metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Everything that may be repeated says when.
fn retry_delay(reason: &Reason, fault: &dyn Fault) -> Option<Duration> {
    let repeatable = matches!(reason.code, Code::Unavailable | Code::ResourceExhausted | Code::Aborted);
    // A changed thing must be read again first: waiting does not help.
    let conflict = reason.name != crate::base::fault::ETAG_MISMATCH.name;
    fault.retry_after().or((repeatable && conflict).then_some(RETRY_DEFAULT))
}

pub(crate) const fn wire(code: Code) -> Wire {
    match code {
        Code::InvalidArgument => Wire::InvalidArgument,
        Code::DeadlineExceeded => Wire::DeadlineExceeded,
        Code::NotFound => Wire::NotFound,
        Code::AlreadyExists => Wire::AlreadyExists,
        Code::PermissionDenied => Wire::PermissionDenied,
        Code::ResourceExhausted => Wire::ResourceExhausted,
        Code::FailedPrecondition => Wire::FailedPrecondition,
        Code::Aborted => Wire::Aborted,
        Code::Internal => Wire::Internal,
        Code::Unavailable => Wire::Unavailable,
        Code::Unauthenticated => Wire::Unauthenticated,
    }
}

/// Lets `?` turn a domain's error into a status. A macro, for the orphan rule forbids one blanket implementation.
macro_rules! status_from {
    ($error:ty) => {
        impl From<$error> for ::tonic::Status {
            fn from(error: $error) -> Self {
                $crate::rpc::status::status(&error)
            }
        }
    };
}
pub(crate) use status_from;

status_from!(Violations);
status_from!(crate::idempotency::Error);
status_from!(super::page::Error);
status_from!(super::refusal::Refusal);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::{CONFLICT, ETAG_MISMATCH};

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Refused(&'static Reason, #[source] Option<std::io::Error>);
    impl Fault for Refused {
        fn reason(&self) -> &'static Reason {
            self.0
        }
    }

    #[test]
    fn every_refusal_names_its_reason_and_all_wrong_fields() {
        let mut violations = Violations::one("a", "is wrong");
        violations.add("b", "too");
        let details = Status::from(violations).get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "INVALID_ARGUMENT");
        assert_eq!(details.error_info().unwrap().domain, "capecontrol");
        assert_eq!(details.bad_request().unwrap().field_violations.len(), 2);
    }

    #[test]
    fn what_may_be_repeated_says_when() {
        let retry = |reason| status(&Refused(reason, None)).get_error_details().retry_info().is_some();
        assert!(retry(&CONFLICT));
        assert!(!retry(&ETAG_MISMATCH));
    }

    #[tokio::test]
    async fn the_call_remembers_what_was_told_of_it() {
        assert_eq!(told(), None);
        let calls = |number: u8| {
            for_request(format!("r-{number}"), async { (told(), status(&Refused(&CONFLICT, None)), told()) })
        };
        for number in 0..2 {
            let (before, _, after) = calls(number).await;
            assert_eq!((before, after), (None, Some(Told { reason: &CONFLICT, suspicion: None })));
        }
        let wrong = Violations::one_hostile("a", "is too long");
        let after = for_request(String::new(), async move { (status(&wrong), told()).1 }).await;
        assert_eq!(after.unwrap().suspicion, Some(Suspicion::Slight));
    }

    #[test]
    fn an_inner_cause_is_not_sent() {
        let status = status(&Refused(&INTERNAL, Some(std::io::Error::other("secret path"))));
        assert_eq!(status.code(), Wire::Internal);
        assert!(!status.message().contains("secret") && !status.message().contains("refused"));
    }
}
