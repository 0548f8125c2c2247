//! Attacks on the running service, each with a limit of memory, while another organization must be served as usual.
//! `ATTACK_PROGRAM=FILE` attacks another program than the test build, such as a release. With `--nocapture` each test prints
//! its cost.

mod answers;
mod bodies;
mod calls;
mod floods;
mod peer;
mod streams;
mod together;
mod victim;

use crate::support::Suite;

pub fn register(suite: &mut Suite) {
    bodies::register(suite);
    calls::register(suite);
    answers::register(suite);
    streams::register(suite);
    floods::register(suite);
    together::register(suite);
}
