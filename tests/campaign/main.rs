//! Campaigns: tests with random input and faults that run for minutes, to show how rarely something goes wrong.
//!
//! `cargo test --test campaign -- NAME [--rounds N] [--seed S]` runs one at its full size. Without a name, a short run of each
//! is a test. `docs/RELIABILITY.md` says what each does and what it has found.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a campaign fails by panicking, and prints its seed and its counts"
)]
#![expect(unreachable_pub, reason = "the support modules are no library")]

mod archive;
mod backup;
mod batches;
mod bulk;
mod cancelled;
mod certificates;
mod copies;
mod feed;
mod fleet;
mod histories;
mod instances;
mod kills;
mod overload;
mod page_costs;
mod pages;
mod repeats;
mod rolling;
mod sequences;
mod side;
mod soak;
mod tables;
mod writes;

// The random calls and the sequential model of the domain's own tests.
#[path = "../../src/domain/state/tests/calls.rs"]
mod calls;
#[expect(dead_code, reason = "the integration tests use the rest")]
#[path = "../it/crash.rs"]
mod crash;
#[expect(dead_code, reason = "the integration tests use the rest")]
#[path = "../it/entities/call.rs"]
mod entity_call;
#[expect(dead_code, reason = "the integration tests use the rest")]
#[path = "../it/changes/follower.rs"]
mod follower;
#[path = "../../src/domain/state/tests/model.rs"]
mod model;
#[expect(dead_code, reason = "the domain's tests use the rest")]
#[path = "../../src/domain/state/tests/names.rs"]
mod names;
#[expect(dead_code, reason = "the integration tests use the rest")]
#[path = "../it/plans.rs"]
mod plans;
#[path = "../it/reads/call.rs"]
mod read_call;
#[expect(dead_code, unused_imports, reason = "the integration tests use the rest")]
#[path = "../it/support/mod.rs"]
mod support;
#[expect(dead_code, reason = "the benchmark uses the rest")]
#[path = "../../benches/load/world.rs"]
mod world;

/// The paths that the model has in the library.
mod domain {
    pub use device_assignment::domain::*;
}

use std::{env, process::ExitCode, time::Instant};

use device_assignment::server::ServerSettings;
use libtest_mimic::{Arguments, Completion, Trial};
use support::database::{self, postgres_missing, postgres_required};

/// A long test.
struct Campaign {
    name: &'static str,
    /// What a round is.
    unit: &'static str,
    /// The rounds of the campaign.
    rounds: u32,
    /// The rounds of the short run in `cargo test`.
    smoke: u32,
    /// Shows first that it catches a planted fault. Returns its counts.
    run: fn(Size) -> String,
}

/// How long a campaign is, and its random numbers.
#[derive(Debug, Clone, Copy)]
struct Size {
    rounds: u32,
    seed: u64,
}

const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "batches",
        unit: "batches",
        rounds: 100_000,
        smoke: 60,
        run: batches::run,
    },
    Campaign {
        name: "instances",
        unit: "rounds",
        rounds: 200,
        smoke: 2,
        run: instances::run,
    },
    Campaign {
        name: "histories",
        unit: "histories",
        rounds: 2_000,
        smoke: 10,
        run: histories::run,
    },
    Campaign {
        name: "sequences",
        unit: "sequences",
        rounds: 5_000,
        smoke: 8,
        run: sequences::run,
    },
    Campaign {
        name: "kill-service",
        unit: "kills on each database",
        rounds: 150,
        smoke: 2,
        run: kills::service,
    },
    Campaign {
        name: "kill-database",
        unit: "kills",
        rounds: 100,
        smoke: 1,
        run: kills::database,
    },
    Campaign {
        name: "rolling",
        unit: "rolling replacements of all instances",
        rounds: 30,
        smoke: 1,
        run: rolling::run,
    },
    Campaign {
        name: "soak",
        unit: "faults",
        rounds: 180,
        smoke: 2,
        run: soak::run,
    },
    Campaign {
        name: "overload",
        unit: "tenths of a second of each overload",
        rounds: 600,
        smoke: 2,
        run: overload::run,
    },
    Campaign {
        name: "bulk",
        unit: "rounds of four large calls",
        rounds: 25,
        smoke: 1,
        run: bulk::run,
    },
    Campaign {
        name: "cancelled",
        unit: "calls on each database",
        rounds: 10_000,
        smoke: 100,
        run: cancelled::run,
    },
    Campaign {
        name: "feed",
        unit: "changes",
        rounds: 100_000,
        smoke: 120,
        run: feed::run,
    },
    Campaign {
        name: "list-then-watch",
        unit: "rounds",
        rounds: 100,
        smoke: 1,
        run: copies::run,
    },
    Campaign {
        name: "idempotency",
        unit: "calls on each database",
        rounds: 1_000,
        smoke: 20,
        run: repeats::run,
    },
    Campaign {
        name: "pages",
        unit: "devices on each database",
        rounds: 1_000_000,
        smoke: 4_000,
        run: pages::run,
    },
    Campaign {
        name: "backup",
        unit: "rounds on each database",
        rounds: 20,
        smoke: 1,
        run: backup::run,
    },
];

impl Campaign {
    fn run(&self, size: Size) {
        let Self { name, unit, run, .. } = self;
        let Size { rounds, seed } = size;
        println!("{name}: {rounds} {unit}, --seed {seed}");
        let start = Instant::now();
        let counts = run(size);
        println!("{name}: {counts}, in {} s", start.elapsed().as_secs());
    }

    /// The short run.
    fn smoke(&'static self) -> Trial {
        Trial::ignorable_test(format!("campaign::{}", self.name), || match postgres_missing() {
            Some(reason) if postgres_required() => Err(reason.into()),
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => {
                self.run(Size {
                    rounds: self.smoke,
                    seed: support::seed(),
                });
                Ok(Completion::Completed)
            }
        })
    }
}

/// Settings of a service for a campaign with a key for each of very many organizations: the service limits how many keys that it does
/// not know yet come from one address.
fn many_keys() -> ServerSettings {
    let mut settings = ServerSettings::default();
    settings.service.limits.failed_keys = None;
    settings
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().collect();
    let rounds = number(&mut arguments, "--rounds").map(|rounds| u32::try_from(rounds).expect("a number of rounds"));
    let seed = number(&mut arguments, "--seed");
    let named = |argument: &String| CAMPAIGNS.iter().find(|campaign| campaign.name == argument);
    if let Some(campaign) = arguments.iter().skip(1).find_map(named) {
        database::prepare_postgres();
        if let Some(reason) = postgres_missing() {
            println!("{}: {reason}", campaign.name);
            return ExitCode::FAILURE;
        }
        campaign.run(Size {
            rounds: rounds.unwrap_or(campaign.rounds),
            seed: seed.unwrap_or_else(rand::random),
        });
        database::clean_up_postgres();
        return ExitCode::SUCCESS;
    }

    let arguments = Arguments::from_iter(arguments);
    let trials = CAMPAIGNS.iter().map(Campaign::smoke).collect();
    if !arguments.list {
        database::prepare_postgres();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        database::clean_up_postgres();
    }
    conclusion.exit_code()
}

/// Takes an option with a number out of the arguments.
fn number(arguments: &mut Vec<String>, option: &str) -> Option<u64> {
    let at = arguments.iter().position(|argument| argument == option)?;
    arguments.remove(at);
    assert!(at < arguments.len(), "{option} takes a number");
    Some(arguments.remove(at).parse().expect("a number"))
}
