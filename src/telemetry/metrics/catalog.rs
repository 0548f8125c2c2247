//! The names of all metrics, their help texts and their buckets.

use ::metrics::{Unit, gauge};

pub(super) const CALL_DURATION: &str = "rpc_server_call_duration_seconds";
pub(super) const REQUEST_DURATION: &str = "http_server_request_duration_seconds";
pub(super) const DEVICES: &str = "device_assignment_devices_total";
pub(super) const DEVICES_CREATED: &str = "device_assignment_devices_created_total";
pub(super) const CUSTOMERS_CREATED: &str = "device_assignment_customers_created_total";
pub(super) const REPLAYED: &str = "device_assignment_replayed_calls_total";
pub(super) const QUEUE_CALLS: &str = "device_assignment_queue_calls";
pub(super) const QUEUE_DEVICES: &str = "device_assignment_queue_devices";
pub(super) const QUEUE_WAIT: &str = "device_assignment_queue_wait_seconds";
pub(super) const BATCH_CALLS: &str = "device_assignment_batch_calls";
pub(super) const BATCH_DEVICES: &str = "device_assignment_batch_devices";
pub(super) const BATCH_DURATION: &str = "device_assignment_batch_duration_seconds";
pub(super) const STATEMENTS: &str = "device_assignment_statements_total";
pub(super) const RERUNS: &str = "device_assignment_reruns_total";
pub(super) const KEY_LOOKUPS: &str = "device_assignment_key_lookups_total";
pub(super) const REFUSALS: &str = "device_assignment_refusals_total";
pub(super) const CONNECTIONS: &str = "device_assignment_connections";
pub(super) const CONNECTIONS_TOTAL: &str = "device_assignment_connections_total";
pub(super) const ACCEPT_ERRORS: &str = "device_assignment_accept_errors_total";
pub(super) const CONNECTIONS_REFUSED: &str = "device_assignment_connections_refused_total";
pub(super) const POOL_CONNECTIONS: &str = "device_assignment_pool_connections";
pub(super) const REPLICA_UP: &str = "device_assignment_replica_up";
pub(super) const REPLICA_READS: &str = "device_assignment_replica_reads_total";
pub(super) const DATABASE_UP: &str = "device_assignment_database_up";
pub(super) const TASK_RESTARTS: &str = "device_assignment_task_restarts_total";
pub(super) const LOG_LINES_LOST: &str = "device_assignment_log_lines_lost_total";
pub(super) const STREAMS_OPEN: &str = "device_assignment_change_streams";
pub(super) const STREAMS_ENDED: &str = "device_assignment_change_streams_ended_total";
pub(super) const CHANGES_SENT: &str = "device_assignment_changes_sent_total";
pub(super) const CHANGE_LAG: &str = "device_assignment_change_lag_seconds";
pub(super) const CERTIFICATE_EXPIRY: &str = "device_assignment_tls_certificate_expiry_timestamp_seconds";
pub(super) const BUILD_INFO: &str = "device_assignment_build_info";

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
const ALL: [(MetricKind, &str, Unit, &str); 32] = [
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
        MetricKind::Counter,
        LOG_LINES_LOST,
        Unit::Count,
        "Lines of the log that were lost, by cause",
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
        CERTIFICATE_EXPIRY,
        Unit::Seconds,
        "When a certificate in use expires, in seconds since 1970, by certificate",
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
    for cause in super::LostLines::ALL {
        super::log_lines_lost(cause, 0);
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
}
