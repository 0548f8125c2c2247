//! Every metric at `/metrics`: its name, its help text and the handle that other modules record it with. Handles do nothing
//! until a recorder is installed, which only the program does.
//!
//! Labels have few values, all known in advance: never an email address, an identifier, a key or an organization.

use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

pub use ::metrics::Counter;
use ::metrics::{Gauge, Histogram, Label, SharedString, Unit, counter, gauge, histogram};

const CALL_DURATION: &str = "rpc_server_call_duration_seconds";
const REQUEST_DURATION: &str = "http_server_request_duration_seconds";
const DEVICES: &str = "device_assignment_devices_total";
const DEVICES_CREATED: &str = "device_assignment_devices_created_total";
const CUSTOMERS_CREATED: &str = "device_assignment_customers_created_total";
const REPLAYED: &str = "device_assignment_replayed_calls_total";
const QUEUE_CALLS: &str = "device_assignment_queue_calls";
const QUEUE_DEVICES: &str = "device_assignment_queue_devices";
const QUEUE_WAIT: &str = "device_assignment_queue_wait_seconds";
const BATCH_CALLS: &str = "device_assignment_batch_calls";
const BATCH_DEVICES: &str = "device_assignment_batch_devices";
const BATCH_DURATION: &str = "device_assignment_batch_duration_seconds";
const STATEMENTS: &str = "device_assignment_statements_total";
const RERUNS: &str = "device_assignment_reruns_total";
const KEY_LOOKUPS: &str = "device_assignment_key_lookups_total";
const REFUSALS: &str = "device_assignment_refusals_total";
const CONNECTIONS: &str = "device_assignment_connections";
const CONNECTIONS_TOTAL: &str = "device_assignment_connections_total";
const ACCEPT_ERRORS: &str = "device_assignment_accept_errors_total";
const CONNECTIONS_REFUSED: &str = "device_assignment_connections_refused_total";
const POOL_CONNECTIONS: &str = "device_assignment_pool_connections";
const REPLICA_UP: &str = "device_assignment_replica_up";
const REPLICA_READS: &str = "device_assignment_replica_reads_total";
const DATABASE_UP: &str = "device_assignment_database_up";
const TASK_RESTARTS: &str = "device_assignment_task_restarts_total";
const STREAMS_OPEN: &str = "device_assignment_change_streams";
const STREAMS_ENDED: &str = "device_assignment_change_streams_ended_total";
const CHANGES_SENT: &str = "device_assignment_changes_sent_total";
const CHANGE_LAG: &str = "device_assignment_change_lag_seconds";
const BUILD_INFO: &str = "device_assignment_build_info";

/// The label value for everything without a name of its own.
pub const OTHER: &str = "_OTHER";

/// The upper bounds of the buckets of durations, in seconds.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// The histograms that are not durations, with the upper bounds of their buckets.
pub const COUNT_BUCKETS: [(&str, &[f64]); 2] = [
    (BATCH_CALLS, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]),
    (
        BATCH_DEVICES,
        &[
            1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0, 16_384.0,
        ],
    ),
];

enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric except those of the process.
const ALL: [(MetricKind, &str, Unit, &str); 30] = [
    (
        MetricKind::Histogram,
        CALL_DURATION,
        Unit::Seconds,
        "Duration of calls over gRPC and REST, by method and status code",
    ),
    (
        MetricKind::Histogram,
        REQUEST_DURATION,
        Unit::Seconds,
        "Duration of REST requests, by route and status",
    ),
    (
        MetricKind::Counter,
        DEVICES,
        Unit::Count,
        "Devices named in calls, by outcome",
    ),
    (
        MetricKind::Counter,
        DEVICES_CREATED,
        Unit::Count,
        "Devices created by calls",
    ),
    (
        MetricKind::Counter,
        CUSTOMERS_CREATED,
        Unit::Count,
        "Customers created by calls",
    ),
    (
        MetricKind::Counter,
        REPLAYED,
        Unit::Count,
        "Calls answered with the stored answer of an earlier call with the same idempotency key",
    ),
    (
        MetricKind::Gauge,
        QUEUE_CALLS,
        Unit::Count,
        "Calls waiting in the writer queue",
    ),
    (
        MetricKind::Gauge,
        QUEUE_DEVICES,
        Unit::Count,
        "Devices of the calls waiting in the writer queue",
    ),
    (
        MetricKind::Histogram,
        QUEUE_WAIT,
        Unit::Seconds,
        "Time that calls waited in the writer queue",
    ),
    (MetricKind::Histogram, BATCH_CALLS, Unit::Count, "Calls in one batch"),
    (
        MetricKind::Histogram,
        BATCH_DEVICES,
        Unit::Count,
        "Devices in one batch",
    ),
    (
        MetricKind::Histogram,
        BATCH_DURATION,
        Unit::Seconds,
        "Duration of batches, including reruns after conflicts, by outcome",
    ),
    (
        MetricKind::Counter,
        STATEMENTS,
        Unit::Count,
        "Statements sent to the database, by kind",
    ),
    (
        MetricKind::Counter,
        RERUNS,
        Unit::Count,
        "Batches that ran again, by cause",
    ),
    (
        MetricKind::Counter,
        KEY_LOOKUPS,
        Unit::Count,
        "API key lookups answered from memory (hit) or from the database (miss)",
    ),
    (
        MetricKind::Counter,
        REFUSALS,
        Unit::Count,
        "Calls that were rejected or failed, by reason",
    ),
    (
        MetricKind::Gauge,
        CONNECTIONS,
        Unit::Count,
        "Open client connections, by listener",
    ),
    (
        MetricKind::Counter,
        CONNECTIONS_TOTAL,
        Unit::Count,
        "Connections accepted, by listener",
    ),
    (
        MetricKind::Counter,
        ACCEPT_ERRORS,
        Unit::Count,
        "Failed attempts to accept a connection, by listener",
    ),
    (
        MetricKind::Counter,
        CONNECTIONS_REFUSED,
        Unit::Count,
        "Connections closed because their address already has too many, by listener",
    ),
    (
        MetricKind::Gauge,
        POOL_CONNECTIONS,
        Unit::Count,
        "Database connections in a pool, by state",
    ),
    (
        MetricKind::Gauge,
        REPLICA_UP,
        Unit::Count,
        "1 if calls can read from the read database, otherwise 0",
    ),
    (
        MetricKind::Counter,
        REPLICA_READS,
        Unit::Count,
        "Reads that were tried on the read database, by outcome",
    ),
    (
        MetricKind::Gauge,
        DATABASE_UP,
        Unit::Count,
        "1 if the database answers, is writable and has the schema of this version, otherwise 0",
    ),
    (
        MetricKind::Counter,
        TASK_RESTARTS,
        Unit::Count,
        "Tasks of the process that ended unexpectedly and were started again, by task",
    ),
    (
        MetricKind::Gauge,
        STREAMS_OPEN,
        Unit::Count,
        "Open streams of changes, and calls that wait for a change",
    ),
    (
        MetricKind::Counter,
        STREAMS_ENDED,
        Unit::Count,
        "Streams of changes that ended, by status code",
    ),
    (
        MetricKind::Counter,
        CHANGES_SENT,
        Unit::Count,
        "Changes sent, in streams and pages",
    ),
    (
        MetricKind::Histogram,
        CHANGE_LAG,
        Unit::Seconds,
        "Time from a change until it was sent, in streams that had all changes before it",
    ),
    (
        MetricKind::Gauge,
        BUILD_INFO,
        Unit::Count,
        "Always 1; the label is the version of the program",
    ),
];

/// Registers every metric with its help text, and sets the version of the program.
pub fn describe() {
    for (kind, name, unit, help) in ALL {
        match kind {
            MetricKind::Counter => ::metrics::describe_counter!(name, unit, help),
            MetricKind::Gauge => ::metrics::describe_gauge!(name, unit, help),
            MetricKind::Histogram => ::metrics::describe_histogram!(name, unit, help),
        }
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

/// How many gRPC status codes there are.
const CODES: usize = 17;

/// How long the calls of one method took, by status code.
pub struct CallDurations {
    method: &'static str,
    by_code: [OnceLock<Histogram>; CODES],
}

impl CallDurations {
    /// The durations of the method with this name.
    pub const fn of(method: &'static str) -> Self {
        Self {
            method,
            by_code: [const { OnceLock::new() }; CODES],
        }
    }

    /// Records a call that ended with this status code, given as number and name.
    pub fn record(&self, code: i32, name: &'static str, duration: Duration) {
        let register = || histogram!(CALL_DURATION, "rpc_method" => self.method, "rpc_response_status_code" => name);
        if let Some(histogram) = usize::try_from(code).ok().and_then(|code| self.by_code.get(code)) {
            histogram.get_or_init(register).record(duration);
        }
    }
}

/// Records a REST request that ended with this status. `route` is a template, not a path.
pub fn request(route: Option<&str>, status: u16, duration: Duration) {
    let route = route.map_or(SharedString::const_str(OTHER), |route| {
        SharedString::from_owned(route.to_owned())
    });
    let labels = vec![
        Label::new("http_route", route),
        Label::new("http_response_status_code", status.to_string()),
    ];
    histogram!(REQUEST_DURATION, labels).record(duration);
}

/// Counts a call that was rejected or failed.
pub fn refusal(reason: &'static str) {
    counter!(REFUSALS, "reason" => reason).increment(1);
}

/// Changes made by calls.
pub struct Changes {
    /// Devices assigned to a customer.
    pub assigned: Counter,
    /// Devices that the customer already owned.
    pub already_assigned: Counter,
    /// Devices that were unassigned.
    pub unassigned: Counter,
    /// Unknown devices.
    pub skipped: Counter,
    /// New devices.
    pub devices_created: Counter,
    /// New customers.
    pub customers_created: Counter,
}

/// Changes made by calls since the process started.
pub static CHANGES: LazyLock<Changes> = LazyLock::new(|| Changes {
    assigned: counter!(DEVICES, "outcome" => "assigned"),
    already_assigned: counter!(DEVICES, "outcome" => "already_assigned"),
    unassigned: counter!(DEVICES, "outcome" => "unassigned"),
    skipped: counter!(DEVICES, "outcome" => "skipped"),
    devices_created: counter!(DEVICES_CREATED),
    customers_created: counter!(CUSTOMERS_CREATED),
});

/// Calls answered with the stored answer of an earlier call.
pub static REPLAYED_CALLS: LazyLock<Counter> = LazyLock::new(|| counter!(REPLAYED));

/// The metrics of one queue.
#[derive(Debug)]
pub struct QueueMetrics {
    /// Waiting calls.
    pub calls: Gauge,
    /// Devices of the waiting calls.
    pub devices: Gauge,
    /// How long each call waited.
    pub wait: Histogram,
}

impl QueueMetrics {
    /// The metrics of the queue with this name.
    pub fn of(queue: &'static str) -> Self {
        Self {
            calls: gauge!(QUEUE_CALLS, "queue" => queue),
            devices: gauge!(QUEUE_DEVICES, "queue" => queue),
            wait: histogram!(QUEUE_WAIT, "queue" => queue),
        }
    }
}

/// The metrics of batches.
pub struct Batches {
    /// Calls in each batch.
    pub calls: Histogram,
    /// Devices in each batch.
    pub devices: Histogram,
    /// Duration of each committed batch.
    pub committed: Histogram,
    /// Duration of each failed batch.
    pub failed: Histogram,
    /// Batches that ran again because another writer came first.
    pub reruns_after_conflict: Counter,
    /// Batches that ran again in parts, because one of their calls may have made them fail.
    pub reruns_after_split: Counter,
}

/// The batches of all writer workers.
pub static BATCHES: LazyLock<Batches> = LazyLock::new(|| Batches {
    calls: histogram!(BATCH_CALLS),
    devices: histogram!(BATCH_DEVICES),
    committed: histogram!(BATCH_DURATION, "outcome" => "committed"),
    failed: histogram!(BATCH_DURATION, "outcome" => "failed"),
    reruns_after_conflict: counter!(RERUNS, "cause" => "conflict"),
    reruns_after_split: counter!(RERUNS, "cause" => "split"),
});

/// The number of statements of one kind.
pub fn statements(kind: &'static str) -> Counter {
    counter!(STATEMENTS, "kind" => kind)
}

/// API key lookups.
pub struct KeyLookups {
    /// Answered from memory.
    pub hits: Counter,
    /// Answered from the database.
    pub misses: Counter,
}

/// API key lookups since the process started.
pub static KEY_LOOKUPS_BY_RESULT: LazyLock<KeyLookups> = LazyLock::new(|| KeyLookups {
    hits: counter!(KEY_LOOKUPS, "result" => "hit"),
    misses: counter!(KEY_LOOKUPS, "result" => "miss"),
});

/// Streams of changes.
pub struct Streams {
    /// Those that are open.
    pub open: Gauge,
    /// Changes sent.
    pub sent: Counter,
    /// How long each change took to be sent, in streams that had all changes before it.
    pub lag: Histogram,
}

/// The streams of changes of this process.
pub static STREAMS: LazyLock<Streams> = LazyLock::new(|| Streams {
    open: gauge!(STREAMS_OPEN),
    sent: counter!(CHANGES_SENT),
    lag: histogram!(CHANGE_LAG),
});

/// Counts a stream of changes that ended with this status code.
pub fn stream_ended(code: &'static str) {
    counter!(STREAMS_ENDED, "rpc_response_status_code" => code).increment(1);
}

/// The metrics of one listener.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    open: Gauge,
    accepted: Counter,
    /// Failed attempts to accept a connection.
    pub accept_errors: Counter,
    /// Connections closed because their address already has too many.
    pub rejected: Counter,
}

impl ListenerMetrics {
    /// The metrics of the listener with this name.
    pub fn of(listener: &'static str) -> Self {
        Self {
            open: gauge!(CONNECTIONS, "face" => listener),
            accepted: counter!(CONNECTIONS_TOTAL, "face" => listener),
            accept_errors: counter!(ACCEPT_ERRORS, "face" => listener),
            rejected: counter!(CONNECTIONS_REFUSED, "face" => listener),
        }
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub fn accepted(&self) -> OpenConnection {
        self.accepted.increment(1);
        self.open.increment(1);
        OpenConnection(self.open.clone())
    }
}

/// Counts one connection as open until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// How often the task with this name was started again.
pub fn task_restarts(task: &'static str) -> Counter {
    counter!(TASK_RESTARTS, "task" => task)
}

/// Sets the number of connections in a pool.
pub fn pool(name: &'static str, idle: usize, used: usize) {
    for (state, count) in [("idle", idle), ("used", used)] {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        gauge!(POOL_CONNECTIONS, "pool" => name, "state" => state).set(count);
    }
}

/// Sets whether the read database is up.
pub fn replica_up(is_up: bool) {
    gauge!(REPLICA_UP).set(if is_up { 1 } else { 0 });
}

/// A read that was tried on the read database.
pub fn replica_read(outcome: &'static str) {
    counter!(REPLICA_READS, "outcome" => outcome).increment(1);
}

/// Sets whether the database is up.
pub fn database_up(is_up: bool) {
    gauge!(DATABASE_UP).set(if is_up { 1 } else { 0 });
}
