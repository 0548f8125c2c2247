//! The figures at `/metrics`: every name, what it means, and the handles through which the other rooms count. As long as
//! nobody installs a recorder, which only the program does, a handle does nothing.
//!
//! Labels have few values, all known beforehand: never an email address, an identifier, a key or an organization.

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
const DATABASE_UP: &str = "device_assignment_database_up";
const BUILD_INFO: &str = "device_assignment_build_info";

/// The label of what is not known by name.
pub const OTHER: &str = "_OTHER";

/// The upper bounds of the buckets of durations, in seconds.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// The histograms that are no durations, and the upper bounds of their buckets.
pub const COUNT_BUCKETS: [(&str, &[f64]); 2] = [
    (BATCH_CALLS, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]),
    (
        BATCH_DEVICES,
        &[
            1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0, 16_384.0,
        ],
    ),
];

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric but those of the process.
const ALL: [(Kind, &str, Unit, &str); 22] = [
    (
        Kind::Histogram,
        CALL_DURATION,
        Unit::Seconds,
        "How long calls took, by method and code",
    ),
    (
        Kind::Histogram,
        REQUEST_DURATION,
        Unit::Seconds,
        "How long REST requests took, by route and status",
    ),
    (
        Kind::Counter,
        DEVICES,
        Unit::Count,
        "Devices that calls named, by what became of each",
    ),
    (
        Kind::Counter,
        DEVICES_CREATED,
        Unit::Count,
        "Devices that calls created",
    ),
    (
        Kind::Counter,
        CUSTOMERS_CREATED,
        Unit::Count,
        "Customers that calls created",
    ),
    (
        Kind::Gauge,
        QUEUE_CALLS,
        Unit::Count,
        "Calls that wait before the writer",
    ),
    (
        Kind::Gauge,
        QUEUE_DEVICES,
        Unit::Count,
        "Devices of the calls that wait before the writer",
    ),
    (
        Kind::Histogram,
        QUEUE_WAIT,
        Unit::Seconds,
        "How long calls waited before the writer",
    ),
    (Kind::Histogram, BATCH_CALLS, Unit::Count, "Calls in one transaction"),
    (
        Kind::Histogram,
        BATCH_DEVICES,
        Unit::Count,
        "Devices that the calls of one transaction named",
    ),
    (
        Kind::Histogram,
        BATCH_DURATION,
        Unit::Seconds,
        "How long transactions took, reruns after conflicts included",
    ),
    (
        Kind::Counter,
        STATEMENTS,
        Unit::Count,
        "Statements sent to the database",
    ),
    (
        Kind::Counter,
        RERUNS,
        Unit::Count,
        "Transactions that were run again, by cause",
    ),
    (
        Kind::Counter,
        KEY_LOOKUPS,
        Unit::Count,
        "API keys that were remembered (hit) or looked up in the database (miss)",
    ),
    (
        Kind::Counter,
        REFUSALS,
        Unit::Count,
        "Calls that were refused or failed, by reason",
    ),
    (Kind::Gauge, CONNECTIONS, Unit::Count, "Open connections of callers"),
    (
        Kind::Counter,
        CONNECTIONS_TOTAL,
        Unit::Count,
        "Connections that were accepted",
    ),
    (
        Kind::Counter,
        ACCEPT_ERRORS,
        Unit::Count,
        "Connections that could not be accepted",
    ),
    (
        Kind::Counter,
        CONNECTIONS_REFUSED,
        Unit::Count,
        "Connections that were closed because their address has as many as it may",
    ),
    (
        Kind::Gauge,
        POOL_CONNECTIONS,
        Unit::Count,
        "Connections to the database in a pool",
    ),
    (
        Kind::Gauge,
        DATABASE_UP,
        Unit::Count,
        "Whether the database answers, can be written and has the schema of this version: 1 or 0",
    ),
    (
        Kind::Gauge,
        BUILD_INFO,
        Unit::Count,
        "1; the label names the version of the program",
    ),
];

/// Tells the recorder what each metric is, and the version of the program.
pub fn describe() {
    for (kind, name, unit, help) in ALL {
        match kind {
            Kind::Counter => ::metrics::describe_counter!(name, unit, help),
            Kind::Gauge => ::metrics::describe_gauge!(name, unit, help),
            Kind::Histogram => ::metrics::describe_histogram!(name, unit, help),
        }
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

/// How many codes an RPC can be answered with.
const CODES: usize = 17;

/// How long the calls of one method took, by the code of the answer.
pub struct CallDurations {
    method: &'static str,
    by_code: [OnceLock<Histogram>; CODES],
}

impl CallDurations {
    /// Those of a method by this name.
    pub const fn of(method: &'static str) -> Self {
        Self {
            method,
            by_code: [const { OnceLock::new() }; CODES],
        }
    }

    /// Records a call that was answered with this code, given by its number and its name.
    pub fn record(&self, code: i32, name: &'static str, duration: Duration) {
        let register = || histogram!(CALL_DURATION, "rpc_method" => self.method, "rpc_response_status_code" => name);
        if let Some(histogram) = usize::try_from(code).ok().and_then(|code| self.by_code.get(code)) {
            histogram.get_or_init(register).record(duration);
        }
    }
}

/// Records a REST request that was answered with this status. `route` is a template, not a path.
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

/// Counts a call that was refused or that failed.
pub fn refusal(reason: &'static str) {
    counter!(REFUSALS, "reason" => reason).increment(1);
}

/// What calls did.
pub struct Changes {
    /// Devices that got an owner.
    pub assigned: Counter,
    /// Devices that had this owner already.
    pub already_assigned: Counter,
    /// Devices that are unknown.
    pub skipped: Counter,
    /// Devices that are new.
    pub devices_created: Counter,
    /// Customers that are new.
    pub customers_created: Counter,
}

/// What calls did, since the process began.
pub static CHANGES: LazyLock<Changes> = LazyLock::new(|| Changes {
    assigned: counter!(DEVICES, "outcome" => "assigned"),
    already_assigned: counter!(DEVICES, "outcome" => "already_assigned"),
    skipped: counter!(DEVICES, "outcome" => "skipped"),
    devices_created: counter!(DEVICES_CREATED),
    customers_created: counter!(CUSTOMERS_CREATED),
});

/// What waits in one queue.
#[derive(Debug)]
pub struct QueueFigures {
    /// The calls.
    pub calls: Gauge,
    /// Their devices.
    pub devices: Gauge,
    /// How long each waited.
    pub wait: Histogram,
}

impl QueueFigures {
    /// Those of a queue by this name.
    pub fn of(queue: &'static str) -> Self {
        Self {
            calls: gauge!(QUEUE_CALLS, "queue" => queue),
            devices: gauge!(QUEUE_DEVICES, "queue" => queue),
            wait: histogram!(QUEUE_WAIT, "queue" => queue),
        }
    }
}

/// Transactions.
pub struct Batches {
    /// The calls of each.
    pub calls: Histogram,
    /// The devices that those calls named.
    pub devices: Histogram,
    /// How long each took that was committed.
    pub committed: Histogram,
    /// How long each took that failed.
    pub failed: Histogram,
    /// Those run again because another writer came first.
    pub reruns_after_conflict: Counter,
    /// Those run again in parts, because one of their calls may have made them fail.
    pub reruns_after_split: Counter,
}

/// The transactions of all lanes.
pub static BATCHES: LazyLock<Batches> = LazyLock::new(|| Batches {
    calls: histogram!(BATCH_CALLS),
    devices: histogram!(BATCH_DEVICES),
    committed: histogram!(BATCH_DURATION, "outcome" => "committed"),
    failed: histogram!(BATCH_DURATION, "outcome" => "failed"),
    reruns_after_conflict: counter!(RERUNS, "cause" => "conflict"),
    reruns_after_split: counter!(RERUNS, "cause" => "split"),
});

/// How often statements of one kind were sent.
pub fn statements(kind: &'static str) -> Counter {
    counter!(STATEMENTS, "kind" => kind)
}

/// Where API keys were found.
pub struct KeyLookups {
    /// In memory.
    pub hits: Counter,
    /// In the database, or not at all.
    pub misses: Counter,
}

/// Where API keys were found, since the process began.
pub static KEY_LOOKUPS_BY_RESULT: LazyLock<KeyLookups> = LazyLock::new(|| KeyLookups {
    hits: counter!(KEY_LOOKUPS, "result" => "hit"),
    misses: counter!(KEY_LOOKUPS, "result" => "miss"),
});

/// The connections of one listener.
#[derive(Debug, Clone)]
pub struct FaceFigures {
    open: Gauge,
    accepted: Counter,
    /// Those that could not be accepted.
    pub accept_errors: Counter,
    /// Those that were closed because their address has as many as it may.
    pub refused: Counter,
}

impl FaceFigures {
    /// Those of a face by this name.
    pub fn of(face: &'static str) -> Self {
        Self {
            open: gauge!(CONNECTIONS, "face" => face),
            accepted: counter!(CONNECTIONS_TOTAL, "face" => face),
            accept_errors: counter!(ACCEPT_ERRORS, "face" => face),
            refused: counter!(CONNECTIONS_REFUSED, "face" => face),
        }
    }

    /// Counts a connection, which is open until what is returned is dropped.
    pub fn accepted(&self) -> OpenConnection {
        self.accepted.increment(1);
        self.open.increment(1);
        OpenConnection(self.open.clone())
    }
}

/// A connection that counts as open.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Says how many connections a pool has.
pub fn pool(name: &'static str, idle: usize, used: usize) {
    for (state, count) in [("idle", idle), ("used", used)] {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        gauge!(POOL_CONNECTIONS, "pool" => name, "state" => state).set(count);
    }
}

/// Says whether the database answers.
pub fn database_up(is_up: bool) {
    gauge!(DATABASE_UP).set(if is_up { 1 } else { 0 });
}
