//! The scenarios: what is measured, and what it is compared with.

mod streams;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use device_assignment::storage::{Database, DatabaseUrl, migrate};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;

use self::streams::StreamSizes;
use crate::{
    Arguments,
    careful::Careful,
    generator::{Api, Load, Seen, Work},
    limit::{self, Call, Read},
    postgres::PostgresServer,
    report::{Plot, Reach, Report, Row, Series},
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
const SETTINGS: [&str; 3] = ["shared_buffers=4GB", "max_wal_size=16GB", "checkpoint_timeout=1h"];

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

    fn small(&mut self, target: &Target) {
        let folder = TempDir::new().expect("a folder");
        let connections = [1, 16, 64];
        let mut limits: [Vec<f64>; 3] = Default::default();
        let mut ours: Vec<Vec<Seen>> = vec![Vec::new(); self.callers.len()];
        let mut rest = Vec::new();
        for _ in 0..self.rounds {
            for (limit, connections) in limits.iter_mut().zip(connections) {
                limit.push(self.pgbench(target, folder.path(), Call::Assign, connections));
            }
            for (index, callers) in self.callers.clone().into_iter().enumerate() {
                ours[index].push(self.seen(target, Api::Grpc, Work::Small, callers));
            }
            let callers = self.callers_nearest_64();
            rest.push(self.seen(target, Api::Rest, Work::Small, callers).calls_per_second());
        }
        let limits = limits.map(median);
        let best = limits[1].max(limits[2]);
        let mut rates = Vec::new();
        for (callers, seen) in self.callers.clone().into_iter().zip(&ours) {
            let rate = median(seen.iter().map(Seen::calls_per_second).collect());
            let p99 = median(seen.iter().map(|seen| seen.p99_micros as f64 / 1_000.0).collect());
            rates.push((callers as f64, rate, p99));
            let (limit, reach) = match callers {
                1 => (limits[0], Some(Reach::AtLeast(0.5))),
                64 => (best, Some(Reach::AtLeast(2.0))),
                _ => (best, None),
            };
            self.ratio(
                &format!("small, {}, gRPC", counted(callers)),
                rate,
                limit,
                "calls/s",
                reach,
            );
            self.figure(&format!("small, {}, p99", counted(callers)), p99, "ms", None);
        }
        let callers = self.callers_nearest_64();
        let grpc = rates
            .iter()
            .find(|(count, ..)| *count == callers as f64)
            .expect("measured")
            .1;
        let reach = Some(Reach::AtLeast(0.9));
        self.ratio(
            &format!("small, {callers} callers, REST ÷ gRPC"),
            median(rest),
            grpc,
            "calls/s",
            reach,
        );
        for (name, work) in [
            ("small-noop", Work::Noop),
            ("small-create", Work::Create),
            ("hot", Work::Hot),
        ] {
            if work == Work::Noop {
                // The first round assigns what the others find.
                self.seen(target, Api::Grpc, work, callers);
            }
            let rates = (0..self.rounds).map(|_| self.seen(target, Api::Grpc, work, callers).calls_per_second());
            let rate = median(rates.collect());
            self.figure(&format!("{name}, {callers} callers"), rate, "calls/s", None);
        }
        let limit_line = |name: &str, y: f64| Series {
            name: name.into(),
            points: rates.iter().map(|(callers, ..)| (*callers, y)).collect(),
        };
        self.report.plots.push(Plot {
            file: "throughput.svg",
            title: "Small calls a second against callers (PostgreSQL)",
            x: "callers",
            y: "calls/s",
            series: vec![
                Series {
                    name: "service".into(),
                    points: rates.iter().map(|(callers, rate, _)| (*callers, *rate)).collect(),
                },
                limit_line("one call a transaction (pgbench)", best),
            ],
        });
        self.report.plots.push(Plot {
            file: "latency.svg",
            title: "99th percentile against throughput, small calls (PostgreSQL)",
            x: "calls/s",
            y: "ms",
            series: vec![
                Series {
                    name: "service".into(),
                    points: rates.iter().map(|(_, rate, p99)| (*rate, *p99)).collect(),
                },
                Series {
                    name: "most calls of one a transaction (pgbench)".into(),
                    points: rates.iter().map(|(_, _, p99)| (best, *p99)).collect(),
                },
            ],
        });
    }

    /// Writes to three devices that a customer owns, beside their best statement.
    async fn of_owned(&mut self, target: &Target, name: &str, work: Work, call: Call) {
        let folder = TempDir::new().expect("a folder");
        let callers = self.callers_nearest_64();
        let (mut ours, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            for database in [&target.database, &target.careful.database] {
                world::own(database, &target.organizations, target.sizes).await;
            }
            limits.push(self.pgbench(target, folder.path(), call, callers));
            ours.push(self.seen(target, Api::Grpc, work, callers).calls_per_second());
        }
        let measure = format!("{name}, {}", counted(callers));
        self.ratio(&measure, median(ours), median(limits), "calls/s", None);
    }

    /// Look-ups and a list, beside their best statements over 16 connections.
    async fn reads(&mut self, target: &Target) {
        for database in [&target.database, &target.careful.database] {
            world::own(database, &target.organizations, target.sizes).await;
        }
        for (name, work, read) in [
            ("owners of 1", Work::LookUp(1), Read::Owners(1)),
            ("owners of 100", Work::LookUp(100), Read::Owners(100)),
            ("owners of 1,000", Work::LookUp(1_000), Read::Owners(1_000)),
            ("devices of a customer", Work::List, Read::Devices),
        ] {
            for (callers, connections) in [(1, 1), (self.callers_nearest_64(), 16)] {
                let (mut ours, mut limits) = (Vec::new(), Vec::new());
                for _ in 0..self.rounds {
                    self.seed += 1;
                    let (database, organizations) = (&target.careful.database, &target.organizations);
                    let limit = limit::reads(
                        database,
                        organizations,
                        target.sizes,
                        read,
                        connections,
                        self.duration,
                        self.seed,
                    );
                    limits.push(limit.await);
                    ours.push(self.seen(target, Api::Grpc, work, callers).calls_per_second());
                }
                let reach = (work == Work::LookUp(100) && callers > 1).then_some(Reach::AtLeast(0.9));
                let measure = format!("{name}, {}", counted(callers));
                self.ratio(&measure, median(ours), median(limits), "calls/s", reach);
            }
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

    fn noisy_neighbour(&mut self, target: &Target) {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let quiet = |bench: &mut Self| Load {
                organizations: vec![target.organizations[1].clone()],
                ..bench.load(target, Api::Grpc, Work::Small, 4)
            };
            without.push(generate(&quiet(self)).finish().p99_micros as f64 / 1_000.0);
            let noise = Load {
                organizations: vec![target.organizations[0].clone()],
                ..self.load(
                    target,
                    Api::Grpc,
                    Work::Bulk(1_000.min(target.sizes.devices_each())),
                    256,
                )
            };
            let noise = generate(&noise);
            with.push(generate(&quiet(self)).finish().p99_micros as f64 / 1_000.0);
            noise.finish();
        }
        let reach = Some(Reach::AtMost(5.0));
        self.ratio(
            "noisy neighbour, p99 with ÷ without",
            median(with),
            median(without),
            "ms",
            reach,
        );
    }

    async fn bulk(&mut self, target: &Target) {
        let mut costs = Vec::new();
        let mut limits = Vec::new();
        for size in self.bulks.clone() {
            let (mut ours, mut four, mut raw) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                self.seed += 1;
                let (database, organizations) = (&target.careful.database, &target.organizations);
                raw.push(limit::raw(database, organizations, target.sizes, size, self.duration, self.seed).await);
                ours.push(self.seen(target, Api::Grpc, Work::Bulk(size), 1).calls_per_second());
                four.push(self.seen(target, Api::Grpc, Work::Bulk(size), 4).calls_per_second());
            }
            let (ours, raw) = (median(ours), median(raw));
            let reach = (size == 10_000).then_some(Reach::AtLeast(0.9));
            self.ratio(&format!("bulk {size}, 1 caller"), ours, raw, "calls/s", reach);
            self.ratio(&format!("bulk {size}, 4 callers"), median(four), raw, "calls/s", None);
            let cost = |rate: f64| (size as f64, 1e6 / rate / size as f64);
            costs.push(cost(ours));
            limits.push(cost(raw));
        }
        let (small, large) = (costs.first().expect("measured"), costs.last().expect("measured"));
        let measure = format!("cost of an identifier, {} ÷ {} a call", large.0, small.0);
        self.ratio(&measure, large.1, small.1, "µs", Some(Reach::AtMost(1.0)));
        self.report.plots.push(Plot {
            file: "batch.svg",
            title: "Cost of an identifier against identifiers a call (PostgreSQL)",
            x: "identifiers a call",
            y: "µs",
            series: vec![
                Series {
                    name: "service".into(),
                    points: costs,
                },
                Series {
                    name: "one statement".into(),
                    points: limits,
                },
            ],
        });
    }

    async fn growth(&mut self) {
        let server = PostgresServer::start_durable(&SETTINGS).expect("a PostgreSQL server");
        let mut sizes = Sizes {
            organizations: 1,
            devices: self.growth[0],
            customers: 10_000.min(self.growth[0]),
        };
        let mut target = self.open(server.admin_url(), sizes).await;
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        for devices in self.growth {
            let organization = target.organizations[0].id.clone();
            for database in [&target.database, &target.careful.database] {
                world::fill(database, &organization, "device", sizes.devices, devices).await;
                let settled = database.reads().execute_unprepared("ANALYZE device").await;
                settled.expect("settled");
            }
            sizes.devices = devices;
            target.sizes = sizes;
            let size = 1_000.min(devices / 10);
            let (mut of_ours, mut of_raw) = (Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                self.seed += 1;
                let (database, organizations) = (&target.careful.database, &target.organizations);
                of_raw.push(limit::raw(database, organizations, sizes, size, self.duration, self.seed).await);
                of_ours.push(self.seen(&target, Api::Grpc, Work::Bulk(size), 1).calls_per_second());
            }
            let cost = |rate: f64| (devices as f64, 1e6 / rate / size as f64);
            ours.push(cost(median(of_ours)));
            raw.push(cost(median(of_raw)));
            let (ours, raw) = (ours.last().expect("measured").1, raw.last().expect("measured").1);
            self.ratio(
                &format!("cost of an identifier, {devices} devices stored"),
                ours,
                raw,
                "µs",
                None,
            );
        }
        let (first, last) = (ours.first().expect("measured").1, ours.last().expect("measured").1);
        self.ratio(
            "cost of an identifier, most ÷ fewest stored",
            last,
            first,
            "µs",
            Some(Reach::AtMost(1.3)),
        );
        self.report.plots.push(Plot {
            file: "growth.svg",
            title: "Cost of an identifier against devices stored (PostgreSQL)",
            x: "devices stored",
            y: "µs",
            series: vec![
                Series {
                    name: "service".into(),
                    points: ours,
                },
                Series {
                    name: "one statement".into(),
                    points: raw,
                },
            ],
        });
    }

    async fn sqlite(&mut self) {
        let folder = TempDir::new().expect("a folder");
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("bench.db").display());
        let target = self.open(&url, self.sizes).await;
        let callers = self.callers_nearest_64();
        let (mut ours, mut one, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            self.seed += 1;
            let (database, organizations) = (&target.careful.database, &target.organizations);
            raw.push(limit::raw(database, organizations, target.sizes, 3, self.duration, self.seed).await);
            ours.push(self.seen(&target, Api::Grpc, Work::Small, callers).calls_per_second());
            one.push(self.seen(&target, Api::Grpc, Work::Small, 1).calls_per_second());
        }
        let raw = median(raw);
        let reach = Some(Reach::AtLeast(3.0));
        self.ratio(
            &format!("SQLite, small, {callers} callers"),
            median(ours),
            raw,
            "calls/s",
            reach,
        );
        self.ratio("SQLite, small, 1 caller", median(one), raw, "calls/s", None);
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
