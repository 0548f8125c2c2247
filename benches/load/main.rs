//! Measures the service and the limit of its database in turns, in one run.
//!
//! `cargo bench --bench load` measures everything (about 10 minutes, and two builds); `cargo test --bench load -- --smoke` only shows that
//! it runs, in seconds and without another build.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a benchmark ends by panicking, prints what it finds, and is no library"
)]

mod cache;
mod careful;
mod followers;
mod generator;
mod limit;
#[path = "../../tests/it/support/postgres.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the tests kill and restart the server; a benchmark does not"
)]
mod postgres;
mod report;
mod scenarios;
mod server;
mod world;

use std::path::PathBuf;

use clap::Parser;

/// Measure the service and the limit of its database
#[derive(Debug, Parser)]
struct Arguments {
    /// Run for seconds on little data, to show that everything works
    #[arg(long)]
    smoke: bool,

    /// Run only scenarios whose name contains this: small, unassign, transfer, reads, noisy-neighbour, bulk, memory, growth, instances,
    /// sqlite, streams-fan-out, streams-idle, streams-unread, cache
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// Use this empty PostgreSQL database instead of a temporary server
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,

    /// Measure this program instead of building it in the release profile
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Write the JSON and the plots to this folder
    #[arg(long, value_name = "FOLDER", default_value = "target/load")]
    out: PathBuf,

    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("generate") => return generator::main(),
        Some("follow") => return followers::main(),
        Some("cache") => return cache::main(),
        _ => {}
    }
    let arguments = Arguments::parse();
    // The temporary PostgreSQL ends with the thread that starts it: this one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(scenarios::run(&arguments));
}
