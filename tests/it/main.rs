//! The service as its callers and operators meet it: the real server and program, on real databases, through both faces.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(unreachable_pub, reason = "the support modules are no library")]

mod contract;
mod keys;
mod race;
mod storage;
mod support;
mod wire;

use libtest_mimic::Arguments;
use support::{Suite, database};

fn main() {
    let arguments = Arguments::from_args();
    let mut suite = Suite::default();
    contract::register(&mut suite);
    keys::register(&mut suite);
    race::register(&mut suite);
    storage::register(&mut suite);
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
