//! The service as its callers and operators meet it: the real server and program, on real databases, through both faces.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(unreachable_pub, reason = "the support modules are no library")]

mod batch;
mod contract;
mod grpc;
mod keys;
mod race;
mod request_ids;
mod rest;
mod storage;
mod crash;
mod outage;
mod shutdown;
mod support;

use libtest_mimic::Arguments;
use support::{Suite, database};

fn main() {
    let arguments = Arguments::from_args();
    let mut suite = Suite::default();
    batch::register(&mut suite);
    contract::register(&mut suite);
    grpc::register(&mut suite);
    keys::register(&mut suite);
    race::register(&mut suite);
    request_ids::register(&mut suite);
    rest::register(&mut suite);
    storage::register(&mut suite);
    crash::register(&mut suite);
    outage::register(&mut suite);
    shutdown::register(&mut suite);

    if !arguments.list {
        database::prepare_postgres();
    }
    let conclusion = libtest_mimic::run(&arguments, suite.trials);
    if !arguments.list {
        database::clean_up_postgres();
    }
    conclusion.exit();
}
