//! The service as its callers and operators meet it: the real server and program, on real databases, through both faces.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its seed and what it saw"
)]
#![expect(unreachable_pub, reason = "the support modules are no library")]

mod admin;
mod assign;
mod batch;
mod contract;
mod crash;
mod gateway;
mod grpc;
mod import;
mod import_stream;
mod keys;
mod logs;
mod operate;
mod outage;
mod race;
mod reach;
mod request_ids;
mod rest;
mod schema;
mod show;
mod shutdown;
mod start;
mod storage;
mod support;
mod usage;
mod wire;

use libtest_mimic::Arguments;
use support::{Suite, database};

fn main() {
    let arguments = Arguments::from_args();
    let mut suite = Suite::default();
    admin::register(&mut suite);
    assign::register(&mut suite);
    batch::register(&mut suite);
    contract::register(&mut suite);
    crash::register(&mut suite);
    gateway::register(&mut suite);
    grpc::register(&mut suite);
    import::register(&mut suite);
    import_stream::register(&mut suite);
    keys::register(&mut suite);
    logs::register(&mut suite);
    operate::register(&mut suite);
    outage::register(&mut suite);
    race::register(&mut suite);
    reach::register(&mut suite);
    request_ids::register(&mut suite);
    rest::register(&mut suite);
    schema::register(&mut suite);
    show::register(&mut suite);
    shutdown::register(&mut suite);
    start::register(&mut suite);
    storage::register(&mut suite);
    usage::register(&mut suite);
    wire::register(&mut suite);

    if !arguments.list {
        database::prepare_postgres();
    }
    let conclusion = libtest_mimic::run(&arguments, suite.trials);
    if !arguments.list {
        database::clean_up_postgres();
    }
    conclusion.exit();
}
