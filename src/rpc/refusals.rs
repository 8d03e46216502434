//! What becomes of refusals: each is counted by its reason, and what looks like an attack is noted for the audit log.
//!
//! Whoever refuses says by the reason, or by the field that is wrong, how much it looks like one
//! ([`crate::base::fault::Suspicion`]); here that is written down, once for all methods. What only a domain knows
//! (whose account a sign-in was for, whose key came) the domain notes itself. Noting costs no query and waits for
//! nobody: equal ones within a minute become one entry with a count ([`crate::audit::Log::refused`]).

use std::sync::Arc;

use super::metrics::Metrics;
use super::status::Told;
use crate::audit::{Log, Risk};
use crate::auth::{Caller, Origin};
use crate::base::fault::{Reason, Suspicion, Violation};

/// Under which name a refused call stands in the audit log; its reason is followed by the method.
const CALL: &str = "platform.call_method";
/// Somebody who is no trusted proxy says for whom a call comes.
const FORWARDED: &str = "platform.forward_call";
const PROXY_UNTRUSTED: &str = "PROXY_UNTRUSTED";

/// Where refusals are told of. Cheap to clone.
#[derive(Clone)]
pub struct Refusals {
    metrics: Metrics,
    audit: Log,
}

impl Refusals {
    /// Counts there and notes there.
    #[must_use]
    pub const fn new(metrics: Metrics, audit: Log) -> Self {
        Self { metrics, audit }
    }

    /// Notes the refusal of a call, if it looks like an attack.
    pub(super) fn note(&self, method: &str, caller: &Caller, told: Told) {
        let risk = match told.suspicion {
            None => return,
            Some(Suspicion::Slight) => Risk::Low,
            Some(Suspicion::Strong) => Risk::Medium,
        };
        let mut entry = caller.entry(CALL).risk(risk);
        // Whoever made a key is to see what it is tried for.
        if let Some(grant) = &caller.grant {
            entry = entry.of(grant.organization);
        }
        self.audit.refused(entry, format!("{} {method}", told.reason.name));
    }

    /// A forwarding header came from an address that is no trusted proxy. It is not believed.
    pub(super) fn forged_forwarding(&self, origin: &Origin) {
        self.metrics.count_forwarding();
        let entry = Caller::anonymous(origin.clone()).entry(FORWARDED).risk(Risk::Low);
        self.audit.refused(entry, PROXY_UNTRUSTED);
    }
}

/// The refusals of one stream, which comes to most of them long after it has left the gate.
pub struct OfStream {
    refusals: Refusals,
    method: Arc<str>,
    caller: Arc<Caller>,
}

impl OfStream {
    pub(super) const fn new(refusals: Refusals, method: Arc<str>, caller: Arc<Caller>) -> Self {
        Self { refusals, method, caller }
    }

    /// Something that was said on the stream is refused, or the stream is.
    pub fn tell(&self, reason: &'static Reason, violations: &[Violation]) {
        self.refusals.metrics.count_reason(&self.method, reason.name);
        let hostile = violations.iter().any(|violation| violation.hostile);
        let suspicion = reason.suspicion.max(hostile.then_some(Suspicion::Slight));
        self.refusals.note(&self.method, &self.caller, Told { reason, suspicion });
    }
}
