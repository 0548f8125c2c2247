//! The service beside the limit: what it does of what the database could do, both measured in turns in one run.
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

/// Measures the service beside what the database can do
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds on tiny data: shows that everything runs
    #[arg(long)]
    smoke: bool,

    /// Only scenarios whose name contains this: small, noisy-neighbour, bulk, memory, growth, sqlite
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// An empty PostgreSQL database to use instead of a throwaway server
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,

    /// The program to measure, instead of building it as it is shipped
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Where the JSON and the plots go
    #[arg(long, value_name = "FOLDER", default_value = "target/load")]
    out: PathBuf,

    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("generate") {
        return generator::main();
    }
    let arguments = Arguments::parse();
    // The throwaway PostgreSQL ends with the thread that starts it, which is this one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(scenarios::run(&arguments));
}
