//! Attacks on the running service: each one alone, with a bound on the memory that it may cost, beside an organization that
//! must not notice. `ATTACK_PROGRAM=FILE` attacks another program than that of the tests, such as a shipped one; with
//! `--nocapture` each prints what it has cost.

mod answers;
mod bodies;
mod calls;
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
    together::register(suite);
}
