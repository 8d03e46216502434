//! Refusals, in words that do not depend on a protocol.
//!
//! Each domain has one typed error; it says through [`Fault`] how it is to be told. The pair of reason and code is
//! part of the API's contract, the sentence is for people.

use std::fmt;
use std::time::Duration;

/// The kind of a refusal. The names and meanings are gRPC's, for those are the field's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The request is wrong whatever the state; do not repeat it unchanged.
    InvalidArgument,
    /// The deadline passed.
    DeadlineExceeded,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// What was to be made exists.
    AlreadyExists,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// A limit is reached; later it may work.
    ResourceExhausted,
    /// The state does not allow it now.
    FailedPrecondition,
    /// Somebody else changed it meanwhile; read again and repeat.
    Aborted,
    /// A fault of ours.
    Internal,
    /// Not available now; repeat later.
    Unavailable,
    /// The caller did not say, or not credibly, who it is.
    Unauthenticated,
}

/// How much a refusal looks like an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// Somebody tries something out, or a client is wrong.
    Slight,
    /// Somebody who is known, or a program, reaches for what is not theirs.
    Strong,
}

/// A reason of refusal: a stable name that programs compare, with the code that goes with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// The kind.
    pub code: Code,
    /// The stable name, in upper snake case.
    pub name: &'static str,
    /// When it is answered and what to do, in one sentence for the registry of errors.
    pub help: &'static str,
    /// How much every refusal for it looks like an attack; none for daily business, and where whoever refuses knows
    /// more and tells of it.
    pub suspicion: Option<Suspicion>,
}

impl Reason {
    /// Names a reason.
    #[must_use]
    pub const fn new(code: Code, name: &'static str, help: &'static str) -> Self {
        Self { code, name, help, suspicion: None }
    }

    /// A reason whose refusals look like an attack.
    #[must_use]
    pub const fn suspected(mut self, suspicion: Suspicion) -> Self {
        self.suspicion = Some(suspicion);
        self
    }
}

/// How an error is told to a caller. Its `Display` is the sentence that the caller reads: what was wrong and what to
/// do, never an inner cause, which belongs in `source`.
pub trait Fault: std::error::Error {
    /// The reason, from the domain's registry.
    fn reason(&self) -> &'static Reason;
    /// The fields that are wrong, all of them.
    fn violations(&self) -> &[Violation] {
        &[]
    }
    /// How long to wait before repeating. Codes that may be repeated get a default when this is `None`.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
    /// Further facts for programs.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// The type and the id of the thing concerned.
    fn resource(&self) -> Option<(&'static str, String)> {
        None
    }
    /// How much it looks like an attack: by its reason, or by what stood in the request.
    fn suspicion(&self) -> Option<Suspicion> {
        let hostile = self.violations().iter().any(|violation| violation.hostile);
        self.reason().suspicion.max(hostile.then_some(Suspicion::Slight))
    }
}

/// A field of a request and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field in the request, such as `plan.billing_cycle`.
    pub field: String,
    /// What is wrong, as the end of a sentence that begins with the field: "must not be empty".
    pub description: String,
    /// Whether nobody sends it by mistake: it is longer than may be, breaks out of its line, or gives what the caller
    /// may not give.
    pub hostile: bool,
}

impl Violation {
    /// Something that people get wrong.
    #[must_use]
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into(), hostile: false }
    }
}

/// Collects what is wrong with a request, so that all of it is told at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Nothing wrong yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A single violation.
    #[must_use]
    pub fn one(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self(vec![Violation::new(field, description)])
    }

    /// A single violation that nobody commits by mistake.
    #[must_use]
    pub fn one_hostile(field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut violations = Self::new();
        violations.add_hostile(field, description);
        violations
    }

    /// Notes that `field` is wrong.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation::new(field, description));
    }

    /// Notes that `field` is wrong in a way that nobody gets it wrong by mistake.
    pub fn add_hostile(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation { hostile: true, ..Violation::new(field, description) });
    }

    /// Notes once more what was noted of a part of the request, which has another name in the whole.
    pub fn take_over(&mut self, field: &str, part: Self) {
        self.0.extend(part.0.into_iter().map(|violation| Violation { field: field.to_owned(), ..violation }));
    }

    /// Notes that `field` is wrong unless `holds`.
    pub fn check(&mut self, holds: bool, field: impl Into<String>, description: impl Into<String>) {
        if !holds {
            self.add(field, description);
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many violations were noted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What was noted, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }

    /// Ends the check.
    ///
    /// # Errors
    /// Itself, when anything was noted.
    pub fn finish(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The request is not valid:")?;
        for (index, Violation { field, description, .. }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator} {field} {}", description.trim_end_matches('.'))?;
        }
        f.write_str(".")
    }
}

impl std::error::Error for Violations {}

impl Fault for Violations {
    fn reason(&self) -> &'static Reason {
        &INVALID_ARGUMENT
    }
    fn violations(&self) -> &[Violation] {
        &self.0
    }
}

/// Reasons that more than one domain answers.
pub static REASONS: &[&Reason] = &[
    &INVALID_ARGUMENT,
    &NOT_FOUND,
    &PERMISSION_DENIED,
    &UNAUTHENTICATED,
    &ETAG_MISMATCH,
    &INTERNAL,
    &CONFLICT,
    &DATABASE_UNAVAILABLE,
    &DEADLINE_EXCEEDED,
    &RATE_LIMITED,
];

/// Fields of the request are wrong.
pub static INVALID_ARGUMENT: Reason = Reason::new(
    Code::InvalidArgument,
    "INVALID_ARGUMENT",
    "Fields of the request are wrong; the BadRequest detail names each of them.",
);
/// There is no such thing for this caller.
pub static NOT_FOUND: Reason = Reason::new(
    Code::NotFound,
    "NOT_FOUND",
    "There is no such thing, or it belongs to an organisation that the caller is not a member of.",
)
.suspected(Suspicion::Slight);
/// The caller's role or scope does not allow it.
pub static PERMISSION_DENIED: Reason = Reason::new(
    Code::PermissionDenied,
    "PERMISSION_DENIED",
    "The caller's role, scope or plan does not allow the call.",
)
.suspected(Suspicion::Strong);
/// No credential came with the call.
pub static UNAUTHENTICATED: Reason = Reason::new(
    Code::Unauthenticated,
    "UNAUTHENTICATED",
    "The call needs a credential: sign in and send the access token as `authorization: Bearer …`.",
);
/// The thing changed since the caller read it.
pub static ETAG_MISMATCH: Reason = Reason::new(
    Code::Aborted,
    "ETAG_MISMATCH",
    "The thing was changed since its etag was read; read it again and repeat the change.",
);
/// A fault of the platform.
pub static INTERNAL: Reason = Reason::new(
    Code::Internal,
    "INTERNAL",
    "A fault of the platform; report it with the request id from the RequestInfo detail.",
);
/// Two calls touched the same thing at once.
pub static CONFLICT: Reason = Reason::new(
    Code::Aborted,
    "CONFLICT",
    "Another call changed the same thing at the same time; repeat the call after the delay in RetryInfo.",
);
/// The database did not answer.
pub static DATABASE_UNAVAILABLE: Reason = Reason::new(
    Code::Unavailable,
    "DATABASE_UNAVAILABLE",
    "The platform's database cannot be reached now; repeat the call after the delay in RetryInfo.",
);
/// The caller's deadline passed.
pub static DEADLINE_EXCEEDED: Reason = Reason::new(
    Code::DeadlineExceeded,
    "DEADLINE_EXCEEDED",
    "The call's deadline passed before it was done; a repetition with the same request id is safe.",
);

/// The caller has used up a budget of calls. The proxy in front answers it too (envoy/envoy.yaml).
pub static RATE_LIMITED: Reason = Reason::new(
    Code::ResourceExhausted,
    "RATE_LIMITED",
    "The account or API key, or the address when there is neither, has used up its budget of calls like this one; \
     repeat the call after the delay in RetryInfo.",
)
.suspected(Suspicion::Slight);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_told() {
        let mut violations = Violations::new();
        violations.check(true, "a", "is fine");
        violations.check(false, "b", "must not be empty");
        violations.add("c", "must be positive. Zero is not.");
        let error = violations.finish().unwrap_err();
        assert_eq!(
            error.to_string(),
            "The request is not valid: b must not be empty; c must be positive. Zero is not."
        );
        assert_eq!(error.violations().len(), 2);
    }

    #[test]
    fn what_nobody_sends_by_mistake_is_suspected_beside_what_people_get_wrong() {
        let mut violations = Violations::one("a", "must not be empty");
        assert_eq!(violations.suspicion(), None);
        violations.add_hostile("b", "must have at most 3 characters");
        assert_eq!(violations.suspicion(), Some(Suspicion::Slight));
        let mut whole = Violations::new();
        whole.take_over("whole", violations);
        assert_eq!(whole.suspicion(), Some(Suspicion::Slight));
        assert!(whole.as_slice().iter().all(|violation| violation.field == "whole"));
    }
}
