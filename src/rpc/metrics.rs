//! What the node counts, for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::bus;
use crate::chat::files;
use crate::mail::{Circuit, Tally};
use crate::payments::service::Standing;

/// The labels of a finished call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: Arc<str>,
    code: &'static str,
}

/// The labels of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    method: Arc<str>,
    reason: String,
}

/// The label of a method.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: Arc<str>,
}

/// The label of a state that jobs are in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

/// The label of what became of a letter, a signal or a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The label of a currency.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InCurrency {
    currency: String,
}

/// All counters of a node. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    calls: Family<Call, Counter>,
    seconds: Family<Method, Histogram, fn() -> Histogram>,
    refusals: Family<Refused, Counter>,
    under_way: Gauge<i64, AtomicI64>,
    jobs: Family<InState, Gauge<i64, AtomicI64>>,
    letters: Family<Outcome, Counter>,
    circuit: Family<InState, Gauge<i64, AtomicI64>>,
    forwarding: Counter,
    ledger: LedgerGauges,
    bus: BusCounters,
    files: FileCounters,
}

/// What is told of the faults of a ledger that was never verified.
const NEVER: i64 = -1;

/// How the ledger stands.
#[derive(Default)]
struct LedgerGauges {
    unsealed: Gauge<i64, AtomicI64>,
    unsealed_seconds: Gauge<i64, AtomicI64>,
    drift: Family<InCurrency, Gauge<i64, AtomicI64>>,
    /// -1 until a verification was made: no fault and no verification are not the same.
    faults: Gauge<i64, AtomicI64>,
}

impl LedgerGauges {
    fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        let Self { unsealed, unsealed_seconds, drift, faults } = &gauges;
        registry.register(
            "ledger_unsealed",
            "Ledger transactions without a place in the chain",
            unsealed.clone(),
        );
        registry.register(
            "ledger_unsealed_seconds",
            "For how long the first of them has waited",
            unsealed_seconds.clone(),
        );
        registry.register(
            "ledger_drift",
            "What the projected balances of a currency sum to, in minor units: 0 in books that are right",
            drift.clone(),
        );
        registry.register(
            "ledger_faults",
            "Faults that the last verification of the ledger by this node found; -1 before the first",
            faults.clone(),
        );
        gauges
    }
}

/// What went between this node and others.
#[derive(Default)]
struct BusCounters {
    signals: Family<Outcome, Counter>,
    missed: Counter,
    connections: Counter,
}

impl BusCounters {
    fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        let Self { signals, missed, connections } = &counters;
        registry.register("bus_signals", "Signals between this node and others, by outcome", signals.clone());
        registry.register(
            "bus_missed",
            "Times that signals were lost, so that all was looked at",
            missed.clone(),
        );
        registry.register(
            "bus_connections",
            "Connections that were made to hear other nodes: the first, and one after each that was lost",
            connections.clone(),
        );
        counters
    }
}

/// What became of files that go with messages.
#[derive(Default)]
struct FileCounters {
    attachments: Family<Outcome, Counter>,
    bytes: Counter,
}

impl FileCounters {
    fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        let Self { attachments, bytes } = &counters;
        registry.register(
            "attachments",
            "Files that were completed or scanned, by what came of it",
            attachments.clone(),
        );
        registry.register("attachment_bytes", "Bytes of the files that were completed", bytes.clone());
        counters
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("capecontrol");
        let calls = Family::default();
        // From a millisecond to half a minute.
        let seconds: Family<Method, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 16)));
        let refusals = Family::default();
        let (under_way, jobs) = (Gauge::default(), Family::default());
        registry.register("rpc_calls", "Calls that ended, by method and status code", calls.clone());
        registry.register("rpc_refusals", "Calls that were refused, by method and reason", refusals.clone());
        registry.register("rpc_call_seconds", "How long calls took, streams included", seconds.clone());
        registry.register("rpc_calls_under_way", "Calls and streams under way", under_way.clone());
        registry.register("jobs", "Jobs in the queue that all nodes share, by state", jobs.clone());
        let (letters, circuit) = (Family::default(), Family::default());
        registry.register("mail_letters", "Letters and attempts to send one, by outcome", letters.clone());
        registry.register(
            "mail_circuit",
            "Whether the mail server is asked: 1 for the present state",
            circuit.clone(),
        );
        let forwarding = Counter::default();
        registry.register(
            "http_forwarding_refused",
            "Requests with a forwarding header from an address that is no trusted proxy",
            forwarding.clone(),
        );
        let ledger = LedgerGauges::register(&mut registry);
        let bus = BusCounters::register(&mut registry);
        let files = FileCounters::register(&mut registry);
        Self(Arc::new(Inner {
            registry,
            calls,
            seconds,
            refusals,
            under_way,
            jobs,
            letters,
            circuit,
            forwarding,
            ledger,
            bus,
            files,
        }))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counts a call from here to [`Observation::end`].
    #[must_use]
    pub fn begin(&self, method: Arc<str>) -> Observation {
        self.0.under_way.inc();
        Observation { metrics: self.clone(), method, began: now(), code: Code::Cancelled }
    }

    /// Counts a refusal by its reason, and tells its code.
    pub fn count_refusal(&self, method: &Arc<str>, status: &Status) -> Code {
        if status.code() != Code::Ok {
            // The reasons are the registry's: their number is bounded.
            let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
            self.0.refusals.get_or_create(&Refused { method: Arc::clone(method), reason }).inc();
        }
        status.code()
    }

    /// Counts the refusal of something that was said on a stream.
    pub fn count_reason(&self, method: &Arc<str>, reason: &str) {
        let reason = reason.to_owned();
        self.0.refusals.get_or_create(&Refused { method: Arc::clone(method), reason }).inc();
    }

    /// Counts a request whose forwarding header is not believed.
    pub fn count_forwarding(&self) {
        self.0.forwarding.inc();
    }

    /// Notes how many jobs are in a state.
    pub fn set_jobs(&self, state: &'static str, count: i64) {
        self.0.jobs.get_or_create(&InState { state }).set(count);
    }

    /// Notes what became of letters, and whether they leave.
    pub fn set_letters(&self, tally: &Tally) {
        for (outcome, count) in [
            ("sent", tally.sent),
            ("refused", tally.refused),
            ("failed", tally.failed),
            ("held", tally.held),
            ("expired", tally.expired),
        ] {
            self.0.letters.get_or_create(&Outcome { outcome }).inner().store(count, Ordering::Relaxed);
        }
        for (state, circuit) in
            [("closed", Circuit::Closed), ("half_open", Circuit::HalfOpen), ("open", Circuit::Open)]
        {
            self.0.circuit.get_or_create(&InState { state }).set(i64::from(circuit == tally.circuit));
        }
    }

    /// Notes what went between this node and others.
    pub fn set_bus(&self, tally: &bus::Tally) {
        let BusCounters { signals, missed, connections } = &self.0.bus;
        for (outcome, count) in [
            ("published", tally.published),
            ("received", tally.received),
            ("dropped", tally.dropped),
            ("refused", tally.refused),
        ] {
            signals.get_or_create(&Outcome { outcome }).inner().store(count, Ordering::Relaxed);
        }
        missed.inner().store(tally.missed, Ordering::Relaxed);
        connections.inner().store(tally.connections, Ordering::Relaxed);
    }

    /// Notes what became of files that go with messages.
    pub fn set_files(&self, tally: &files::Tally) {
        let FileCounters { attachments, bytes } = &self.0.files;
        for (outcome, count) in [
            ("completed", tally.completed),
            ("spoilt", tally.spoilt),
            ("clean", tally.clean),
            ("harmful", tally.harmful),
            ("unscanned", tally.unscanned),
        ] {
            attachments.get_or_create(&Outcome { outcome }).inner().store(count, Ordering::Relaxed);
        }
        bytes.inner().store(tally.bytes, Ordering::Relaxed);
    }

    /// Notes how the ledger stands.
    pub fn set_ledger(&self, standing: &Standing) {
        let LedgerGauges { unsealed, unsealed_seconds, drift, faults } = &self.0.ledger;
        unsealed.set(standing.unsealed);
        unsealed_seconds.set(i64::try_from(standing.unsealed_for.as_secs()).unwrap_or(i64::MAX));
        for (currency, sum) in &standing.drift {
            drift.get_or_create(&InCurrency { currency: currency.clone() }).set(*sum);
        }
        faults.set(standing.faults.unwrap_or(NEVER));
    }

    /// All counters in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }
}

/// A call that is being counted.
#[derive(Debug)]
pub struct Observation {
    metrics: Metrics,
    method: Arc<str>,
    began: Instant,
    code: Code,
}

impl Observation {
    /// The call ended with this code.
    pub fn end(mut self, code: Code) {
        self.code = code;
    }
}

/// A call that is dropped without a word was cancelled: its client went away while it was under way.
impl Drop for Observation {
    fn drop(&mut self) {
        let inner = &self.metrics.0;
        let took = now().saturating_duration_since(self.began).as_secs_f64();
        inner.seconds.get_or_create(&Method { method: Arc::clone(&self.method) }).observe(took);
        inner.calls.get_or_create(&Call { method: Arc::clone(&self.method), code: name(self.code) }).inc();
        // Last: whoever sees that nothing is under way sees all of it counted.
        inner.under_way.dec();
    }
}

/// How long something really took is measured with the real clock, also where a test's clock stands still.
fn now() -> Instant {
    Instant::now()
}

/// The code's name as gRPC writes it.
#[must_use]
pub const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
