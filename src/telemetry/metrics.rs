//! Every metric at `/metrics`: its name, its help text and the handle that other modules record it with. Handles do nothing
//! until a recorder is installed, which only the program does.
//!
//! Labels have few values, all known in advance: never an email address, an identifier, a key or an organization.

use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

pub use ::metrics::Counter;
use ::metrics::{Gauge, Histogram, Label, SharedString, counter, gauge, histogram};

mod catalog;

use self::catalog::*;
pub use self::catalog::{COUNT_BUCKETS, DURATION_BUCKETS, describe};

/// The label value for everything without a name of its own.
pub const OTHER: &str = "_OTHER";

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

/// Why lines of the log are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostLines {
    /// Too many wait to be written.
    TooSlow,
    /// Writing failed.
    NotWritten,
}

impl LostLines {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::TooSlow, Self::NotWritten];

    const fn label(self) -> &'static str {
        match self {
            Self::TooSlow => "too_slow",
            Self::NotWritten => "not_written",
        }
    }
}

/// Sets how many lines of the log were lost since the process started.
pub fn log_lines_lost(cause: LostLines, lines: usize) {
    counter!(LOG_LINES_LOST, "cause" => cause.label()).absolute(u64::try_from(lines).unwrap_or(u64::MAX));
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

/// Sets when the certificate with this name expires, given since 1970.
pub fn certificate_expiry(certificate: &'static str, since_1970: Duration) {
    gauge!(CERTIFICATE_EXPIRY, "certificate" => certificate).set(since_1970.as_secs_f64());
}
