//! The scenarios: what is measured, and what it is compared with.

mod bulk;
mod growth;
mod instances;
mod noisy_neighbour;
mod owned;
mod small;
mod sqlite;
mod streams;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use device_assignment::storage::{Database, DatabaseUrl, migrate};
use sea_orm::ConnectionTrait;

use self::streams::StreamSizes;
use crate::{
    Arguments,
    careful::Careful,
    generator::{Api, Load, Seen, Work},
    limit::{self, Call},
    postgres::PostgresServer,
    report::{Reach, Report, Row},
    server::{self, Server, generate},
    world::{self, Organization, Sizes},
};

/// The number of rounds, of which the median counts. The service and the limit take turns, so that a machine that becomes
/// slower affects both.
const ROUNDS: usize = 3;

/// The scenarios that share one seeded PostgreSQL.
const POSTGRES: [&str; 7] = [
    "small",
    "unassign",
    "transfer",
    "reads",
    "noisy-neighbour",
    "bulk",
    "memory",
];

/// Settings of the temporary PostgreSQL, whose defaults are for very small machines: the data fits into memory, and no checkpoint
/// slows one round and not the other. Durability keeps its defaults.
const SETTINGS: [&str; 4] = [
    "max_connections=300",
    "shared_buffers=4GB",
    "max_wal_size=16GB",
    "checkpoint_timeout=1h",
];

/// Runs the chosen scenarios and writes the report.
pub async fn run(arguments: &Arguments) {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None if arguments.smoke => server::PROGRAM.into(),
        None => server::build(),
    };
    let mut bench = Bench::new(arguments, program);
    bench.report.machine = machine();
    if POSTGRES.iter().any(|scenario| bench.is_wanted(scenario)) {
        bench.postgres(arguments.database_url.as_deref()).await;
    }
    if bench.is_wanted("growth") {
        bench.growth().await;
    }
    if bench.is_wanted("instances") {
        bench.instances().await;
    }
    if bench.is_wanted("sqlite") {
        bench.sqlite().await;
    }
    bench.followers().await;
    println!("\n{}\n\n{}", bench.report.machine, bench.report.table());
    if arguments.smoke {
        println!("this was a smoke test, of an unoptimized program on very little data: the numbers mean nothing\n");
    }
    bench.report.write(&arguments.out);
    println!("the JSON and the plots are in {}", arguments.out.display());
}

struct Bench {
    only: String,
    program: PathBuf,
    sizes: Sizes,
    duration: Duration,
    rounds: usize,
    /// Device counts at which the growth is measured.
    growth: [u64; 3],
    callers: Vec<usize>,
    bulks: Vec<u64>,
    streams: StreamSizes,
    /// Organizations of the calls through several instances.
    many_organizations: u64,
    seed: u64,
    report: Report,
}

/// A seeded database, and the service over it.
struct Target {
    server: Server,
    database: Database,
    /// The same data for the limit.
    careful: Careful,
    organizations: Vec<Organization>,
    sizes: Sizes,
}

impl Bench {
    fn new(arguments: &Arguments, program: PathBuf) -> Self {
        let full = Self {
            only: arguments.only.clone(),
            program,
            sizes: Sizes {
                organizations: 10,
                devices: 1_000_000,
                customers: 200_000,
            },
            duration: Duration::from_secs(5),
            rounds: ROUNDS,
            growth: [10_000, 1_000_000, 10_000_000],
            callers: vec![1, 16, 64, 256],
            bulks: vec![100, 1_000, 10_000],
            streams: StreamSizes::FULL,
            many_organizations: 1_000,
            seed: 1,
            report: Report::default(),
        };
        if !arguments.smoke {
            return full;
        }
        Self {
            sizes: Sizes {
                organizations: 2,
                devices: 2_000,
                customers: 200,
            },
            duration: Duration::from_millis(200),
            rounds: 1,
            growth: [100, 200, 400],
            callers: vec![1, 16],
            bulks: vec![10, 100],
            streams: StreamSizes::SMOKE,
            many_organizations: 8,
            ..full
        }
    }

    fn is_wanted(&self, scenario: &str) -> bool {
        scenario.contains(&self.only)
    }

    async fn open(&self, url: &str, sizes: Sizes) -> Target {
        let database = Database::open(DatabaseUrl::parse(url).expect("a URL"))
            .await
            .expect("a database");
        migrate(&database).await.expect("a schema");
        let organizations = world::seed(&database, sizes).await;
        let careful = Careful::copy_of(&database, url).await;
        for database in [&database, &careful.database] {
            let analyze = database.reads().execute_unprepared("ANALYZE").await;
            analyze.expect("analyzed");
        }
        let server = Server::start(&self.program, url);
        Target {
            server,
            database,
            careful,
            organizations,
            sizes,
        }
    }

    fn load(&mut self, target: &Target, api: Api, work: Work, callers: usize) -> Load {
        // Each load has its own seed, so that no call is repeated.
        self.seed += 1;
        Load {
            api,
            address: if api == Api::Grpc {
                target.server.grpc
            } else {
                target.server.rest
            },
            work,
            callers,
            rate: None,
            duration: self.duration,
            sizes: target.sizes,
            organizations: target.organizations.clone(),
            seed: self.seed,
        }
    }

    fn seen(&mut self, target: &Target, api: Api, work: Work, callers: usize) -> Seen {
        generate(&self.load(target, api, work, callers)).finish()
    }

    async fn postgres(&mut self, database_url: Option<&str>) {
        let throwaway = match database_url {
            Some(_) => None,
            None => Some(PostgresServer::start_durable(&SETTINGS).expect("a PostgreSQL server")),
        };
        let url = database_url.map_or_else(
            || throwaway.as_ref().expect("a server").admin_url().to_owned(),
            str::to_owned,
        );
        let target = self.open(&url, self.sizes).await;
        let idle = target.server.peak_memory();
        self.figure("memory, idle", idle, "MiB", Some(Reach::AtMost(30.0)));
        if self.is_wanted("small") {
            self.small(&target);
            let after = target.server.peak_memory();
            self.figure("memory, after small calls", after, "MiB", None);
        }
        for (name, work, call) in [
            ("unassign", Work::Unassign, Call::Unassign),
            ("transfer", Work::Transfer, Call::Transfer),
        ] {
            if self.is_wanted(name) {
                self.of_owned(&target, name, work, call).await;
            }
        }
        if self.is_wanted("reads") {
            self.reads(&target).await;
        }
        if self.is_wanted("noisy-neighbour") {
            self.noisy_neighbour(&target);
        }
        if self.is_wanted("bulk") {
            self.bulk(&target).await;
        }
        if self.is_wanted("memory") {
            let most = *self.bulks.last().expect("a size");
            self.seen(&target, Api::Grpc, Work::Bulk(most), 64);
            let bound = Some(Reach::AtMost(300.0));
            let peak = target.server.peak_memory();
            self.figure(&format!("memory, 64 callers × {most}"), peak, "MiB", bound);
        }
    }

    fn pgbench(&self, target: &Target, folder: &Path, call: Call, connections: usize) -> f64 {
        let organizations = &target.organizations;
        limit::pgbench(
            folder,
            &target.careful.url,
            organizations,
            target.sizes,
            call,
            connections,
            self.duration,
        )
    }

    fn callers_nearest_64(&self) -> usize {
        self.callers
            .iter()
            .copied()
            .filter(|callers| *callers <= 64)
            .max()
            .unwrap_or(1)
    }

    fn ratio(&mut self, measure: &str, ours: f64, limit: f64, unit: &'static str, reach: Option<Reach>) {
        self.report.add(Row {
            measure: measure.into(),
            ours,
            limit: Some(limit),
            unit,
            reach,
        });
    }

    fn figure(&mut self, measure: &str, ours: f64, unit: &'static str, reach: Option<Reach>) {
        self.report.add(Row {
            measure: measure.into(),
            ours,
            limit: None,
            unit,
            reach,
        });
    }
}

fn counted(callers: usize) -> String {
    let plural = if callers == 1 { "" } else { "s" };
    format!("{callers} caller{plural}")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What it was measured on.
fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("an unknown processor");
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{count} cores of {model}, shared by generator, service and database")
}
