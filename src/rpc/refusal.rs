//! Why a call is refused before it reaches a domain, and the reasons that are told.

use std::time::Duration;

use crate::base::fault::{self, Code, Fault, Reason, Suspicion};

/// Why the gate refuses a call.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A bearer token and an API key came together.
    #[error("Send either a bearer token or an API key, not both.")]
    TwoCredentials,
    /// A credential cannot be read.
    #[error("The authorization metadata must be `Bearer <access token>`.")]
    Malformed,
    /// A program's credential is not enough here.
    #[error("This call needs the scope {0}, which the credential does not have.")]
    Scope(&'static str),
    /// Programs may not call this.
    #[error("No API key or service account may call this; sign in as a person.")]
    NoPrograms,
    /// No credential came.
    #[error("Sign in first, and send the access token as `authorization: Bearer <token>`.")]
    NoCredential,
    /// The role does not suffice.
    #[error("This call is for {0}.")]
    Role(&'static str),
    /// The caller has used up a budget of calls.
    #[error("Too many calls like this one; the next may come in {} s.", .0.as_secs_f64().ceil())]
    RateLimited(Duration),
    /// The node has as many calls as it takes.
    #[error("The platform is busy; please repeat the call in a moment.")]
    Busy,
    /// The node stops, and the call was not done in the time that it had left.
    #[error(
        "The server is shutting down and did not finish the call; please repeat it with the same request id."
    )]
    Closing,
    /// The `grpc-timeout` metadata cannot be read.
    #[error("The grpc-timeout metadata must be at most eight digits and one of the units H, M, S, m, u, n.")]
    Timeout,
    /// The deadline passed.
    #[error("The call's deadline passed before it was done.")]
    Deadline,
    /// The body is not the message that the method takes.
    #[error("The request cannot be read as the message that this method takes.")]
    Unreadable,
    /// The message is larger than the platform takes.
    #[error("The request is larger than the platform takes.")]
    TooLarge,
    /// The handler panicked.
    #[error("the handler panicked")]
    Panicked,
}

/// Two kinds of credential came with one call.
pub static TWO_CREDENTIALS: Reason = Reason::new(
    Code::Unauthenticated,
    "TWO_CREDENTIALS",
    "A bearer token and an API key came with the same call; send one of them.",
)
.suspected(Suspicion::Slight);
/// A credential that cannot be read.
pub static CREDENTIAL_MALFORMED: Reason = Reason::new(
    Code::Unauthenticated,
    "CREDENTIAL_MALFORMED",
    "The authorization metadata is not `Bearer <access token>`.",
)
.suspected(Suspicion::Slight);
/// A credential without the scope.
pub static API_KEY_SCOPE: Reason = Reason::new(
    Code::PermissionDenied,
    "API_KEY_SCOPE",
    "The API key or service account's token lacks the scope that the call needs, which the metadata `scope` names.",
)
.suspected(Suspicion::Strong);
/// A method that programs may not call.
pub static API_KEY_NOT_ACCEPTED: Reason = Reason::new(
    Code::PermissionDenied,
    "API_KEY_NOT_ACCEPTED",
    "The method declares no api_key_scope, so that no API key and no service account may call it; sign in as a person.",
)
.suspected(Suspicion::Strong);
/// The node is full.
pub static OVERLOADED: Reason = Reason::new(
    Code::ResourceExhausted,
    "OVERLOADED",
    "The node has as many calls or streams as it takes; repeat the call after the delay in RetryInfo.",
);
/// The node stops.
pub static SERVER_CLOSING: Reason = Reason::new(
    Code::Unavailable,
    "SERVER_CLOSING",
    "The server shut down before the call was done; whether it had its effect is not known, so repeat it with the same \
     request id after the delay in RetryInfo.",
);
/// A deadline that cannot be read.
pub static TIMEOUT_MALFORMED: Reason = Reason::new(
    Code::InvalidArgument,
    "TIMEOUT_MALFORMED",
    "The grpc-timeout metadata is not at most eight digits and a unit.",
);

/// A body that cannot be read.
pub static REQUEST_UNREADABLE: Reason = Reason::new(
    Code::InvalidArgument,
    "REQUEST_UNREADABLE",
    "The body is not an encoding of the message that the method takes; is the client's proto another version's?",
)
.suspected(Suspicion::Slight);
/// A body that is too large.
pub static REQUEST_TOO_LARGE: Reason =
    Reason::new(Code::InvalidArgument, "REQUEST_TOO_LARGE", "The request message is larger than 1 MiB.")
        .suspected(Suspicion::Slight);
/// No node that the proxy could ask. Envoy answers it (envoy/envoy.yaml).
pub static PLATFORM_UNAVAILABLE: Reason = Reason::new(
    Code::Unavailable,
    "PLATFORM_UNAVAILABLE",
    "The proxy in front of the platform reaches no node that can serve; repeat the call after the delay in RetryInfo.",
);

/// What the gate answers, and the proxy in front of it.
pub static REASONS: &[&Reason] = &[
    &TWO_CREDENTIALS,
    &CREDENTIAL_MALFORMED,
    &API_KEY_SCOPE,
    &API_KEY_NOT_ACCEPTED,
    &OVERLOADED,
    &SERVER_CLOSING,
    &TIMEOUT_MALFORMED,
    &REQUEST_UNREADABLE,
    &REQUEST_TOO_LARGE,
    &PLATFORM_UNAVAILABLE,
];

impl Fault for Refusal {
    fn reason(&self) -> &'static Reason {
        match self {
            Self::TwoCredentials => &TWO_CREDENTIALS,
            Self::Malformed => &CREDENTIAL_MALFORMED,
            Self::Scope(_) => &API_KEY_SCOPE,
            Self::NoPrograms => &API_KEY_NOT_ACCEPTED,
            Self::NoCredential => &fault::UNAUTHENTICATED,
            Self::Role(_) => &fault::PERMISSION_DENIED,
            Self::RateLimited(_) => &fault::RATE_LIMITED,
            Self::Busy => &OVERLOADED,
            Self::Closing => &SERVER_CLOSING,
            Self::Timeout => &TIMEOUT_MALFORMED,
            Self::Deadline => &fault::DEADLINE_EXCEEDED,
            Self::Unreadable => &REQUEST_UNREADABLE,
            Self::TooLarge => &REQUEST_TOO_LARGE,
            Self::Panicked => &fault::INTERNAL,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(wait) => Some(*wait),
            _ => None,
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Scope(scope) => vec![("scope", (*scope).to_owned())],
            _ => Vec::new(),
        }
    }
}
