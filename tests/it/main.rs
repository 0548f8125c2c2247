//! Integration tests: the real server and program, on real databases, over gRPC and REST.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its seed and what it saw"
)]
#![expect(unreachable_pub, reason = "the support modules are no library")]

mod addresses;
mod admin;
mod architecture;
mod assign;
mod assign_device;
mod attack;
mod audit;
mod batch;
mod change_log;
mod changes;
mod citus;
mod compression;
mod config;
mod console;
mod contract;
mod cors;
mod crash;
mod credentials;
mod deploy;
mod documents;
mod embedded;
mod entities;
mod examples;
mod file_mode;
mod flood;
mod follow;
mod gateway;
mod generated_clients;
mod grpc;
mod health;
mod history;
mod host;
mod idempotency;
mod import;
mod import_stream;
mod key_usage;
mod keys;
mod limits;
mod line_ends;
mod logs;
mod matrix;
mod mcp;
mod metrics;
mod openapi;
mod operate;
mod outage;
mod overload;
mod pages;
mod personal_data;
mod plans;
mod race;
mod reach;
mod reads;
mod records;
mod request_ids;
mod rest;
mod revision;
mod sampling;
mod schema;
mod scopes;
mod secrets;
mod show;
mod shutdown;
mod start;
mod storage;
mod supervision;
mod support;
mod terminated;
mod tls;
mod traces;
mod transfer;
mod unassign;
mod upgrade;
mod usage;
mod validate_only;
mod webhook;
mod wire;
mod workers;
mod writable;

use std::num::NonZero;

use libtest_mimic::Arguments;
use support::{Suite, database};

fn main() {
    let mut arguments = Arguments::from_args();
    // Many tests wait most of the time: for a heartbeat, a deadline, the end of a process.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    arguments.test_threads.get_or_insert(2 * cores);
    let mut suite = Suite::default();
    addresses::register(&mut suite);
    admin::register(&mut suite);
    architecture::register(&mut suite);
    assign::register(&mut suite);
    assign_device::register(&mut suite);
    attack::register(&mut suite);
    audit::register(&mut suite);
    batch::register(&mut suite);
    change_log::register(&mut suite);
    changes::register(&mut suite);
    citus::register(&mut suite);
    compression::register(&mut suite);
    config::register(&mut suite);
    console::register(&mut suite);
    contract::register(&mut suite);
    cors::register(&mut suite);
    crash::register(&mut suite);
    credentials::register(&mut suite);
    deploy::register(&mut suite);
    documents::register(&mut suite);
    embedded::register(&mut suite);
    entities::register(&mut suite);
    examples::register(&mut suite);
    file_mode::register(&mut suite);
    flood::register(&mut suite);
    follow::register(&mut suite);
    gateway::register(&mut suite);
    generated_clients::register(&mut suite);
    grpc::register(&mut suite);
    health::register(&mut suite);
    history::register(&mut suite);
    host::register(&mut suite);
    idempotency::register(&mut suite);
    import::register(&mut suite);
    import_stream::register(&mut suite);
    key_usage::register(&mut suite);
    keys::register(&mut suite);
    limits::register(&mut suite);
    line_ends::register(&mut suite);
    logs::register(&mut suite);
    mcp::register(&mut suite);
    metrics::register(&mut suite);
    openapi::register(&mut suite);
    operate::register(&mut suite);
    outage::register(&mut suite);
    overload::register(&mut suite);
    pages::register(&mut suite);
    personal_data::register(&mut suite);
    plans::register(&mut suite);
    race::register(&mut suite);
    reach::register(&mut suite);
    reads::register(&mut suite);
    records::register(&mut suite);
    request_ids::register(&mut suite);
    rest::register(&mut suite);
    revision::register(&mut suite);
    sampling::register(&mut suite);
    schema::register(&mut suite);
    scopes::register(&mut suite);
    secrets::register(&mut suite);
    show::register(&mut suite);
    shutdown::register(&mut suite);
    start::register(&mut suite);
    storage::register(&mut suite);
    supervision::register(&mut suite);
    terminated::register(&mut suite);
    tls::register(&mut suite);
    traces::register(&mut suite);
    transfer::register(&mut suite);
    unassign::register(&mut suite);
    upgrade::register(&mut suite);
    usage::register(&mut suite);
    validate_only::register(&mut suite);
    webhook::register(&mut suite);
    wire::register(&mut suite);
    workers::register(&mut suite);
    writable::register(&mut suite);
    // Last: it looks at the names of the others.
    matrix::register(&mut suite);

    if !arguments.list {
        database::prepare_postgres();
    }
    let conclusion = libtest_mimic::run(&arguments, suite.trials);
    if !arguments.list {
        database::clean_up_postgres();
    }
    conclusion.exit();
}
