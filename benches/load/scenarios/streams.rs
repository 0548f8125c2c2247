//! Followers of changes, and the cache that follows them.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use device_assignment::storage::{Database, DatabaseUrl, migrate};
use sea_orm::{ConnectionTrait, Statement};

use super::{Bench, SETTINGS, median};
use crate::{
    cache::{self, Cached, Caching},
    followers::{Followers, Following},
    generator::{Api, Load, Seen, Work},
    postgres::PostgresServer,
    report::Reach,
    server::{Server, generate},
    world::{self, Organization, Sizes},
};

/// The changes per second.
const RATE: f64 = 500.0;
/// The callers that make them.
const CALLERS: usize = 16;

/// How much the scenarios do.
pub(super) struct StreamSizes {
    streams: usize,
    idle: usize,
    idle_organizations: u64,
    unread: usize,
    /// How long the streams are not read.
    unread_for: Duration,
    /// How long each load runs.
    duration: Duration,
    /// Devices in the cache.
    cached: u64,
}

impl StreamSizes {
    pub(super) const FULL: Self = Self {
        streams: 1_000,
        idle: 10_000,
        idle_organizations: 500,
        unread: 100,
        unread_for: Duration::from_secs(60),
        duration: Duration::from_secs(20),
        cached: 1_000_000,
    };
    pub(super) const SMOKE: Self = Self {
        streams: 10,
        idle: 20,
        idle_organizations: 4,
        unread: 5,
        unread_for: Duration::from_millis(400),
        duration: Duration::from_millis(200),
        cached: 1_000,
    };
}

/// A service with organizations.
struct World {
    url: String,
    server: Server,
    database: Database,
    organizations: Vec<Organization>,
    sizes: Sizes,
}

/// How busy the service is.
struct Usage {
    at: Instant,
    cpu: f64,
    transactions: i64,
}

impl World {
    /// In a database of its own.
    async fn new(bench: &Bench, postgres: &PostgresServer, name: &str, sizes: Sizes) -> Self {
        let open = async |url: &str| {
            let url = DatabaseUrl::parse(url).expect("a URL");
            Database::open(url).await.expect("a database")
        };
        let admin = open(postgres.admin_url()).await;
        world::execute(admin.url(), format!("CREATE DATABASE {name}")).await;
        admin.close().await;
        let url = postgres.url(name);
        let database = open(&url).await;
        migrate(&database).await.expect("a schema");
        let organizations = world::seed(&database, sizes).await;
        let analyze = database.reads().execute_unprepared("ANALYZE").await;
        analyze.expect("analyzed");
        Self {
            server: Server::start(&bench.program, &url),
            url,
            database,
            organizations,
            sizes,
        }
    }

    /// Calls of three devices, nearly all of which change something.
    fn load(&self, bench: &mut Bench, duration: Duration) -> Load {
        bench.seed += 1;
        Load {
            api: Api::Grpc,
            address: self.server.grpc,
            work: Work::Small,
            callers: CALLERS,
            rate: Some(RATE),
            duration,
            sizes: self.sizes,
            organizations: self.organizations.clone(),
            seed: bench.seed,
        }
    }

    fn write(&self, bench: &mut Bench, duration: Duration) -> Seen {
        generate(&self.load(bench, duration)).finish()
    }

    /// Starts streams of an instance at the newest revisions.
    async fn follow(&self, instance: &Server, streams: usize, reads: bool) -> Followers {
        Followers::start(&Following {
            address: instance.grpc,
            keys: self.organizations.iter().map(|of| of.key.clone()).collect(),
            after: self.heads().await,
            streams,
            reads,
        })
    }

    /// The newest revision of each organization.
    async fn heads(&self) -> Vec<u64> {
        let sql = "SELECT organization_id::text, max(revision) FROM change_log GROUP BY organization_id";
        let rows = self.database.reads().query_all_raw(self.statement(sql)).await;
        let head = |row: &sea_orm::QueryResult| {
            let revision: i64 = row.try_get_by_index(1).expect("a number");
            let organization: String = row.try_get_by_index(0).expect("text");
            (organization, u64::try_from(revision).expect("a revision"))
        };
        let heads: HashMap<String, u64> = rows.expect("revisions").iter().map(head).collect();
        let of = |organization: &Organization| heads.get(&organization.id).copied().unwrap_or_default();
        self.organizations.iter().map(of).collect()
    }

    async fn usage(&self) -> Usage {
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let row = self.database.reads().query_one_raw(self.statement(sql)).await;
        let row = row.expect("statistics").expect("a row");
        Usage {
            at: Instant::now(),
            cpu: self.server.cpu(),
            transactions: row.try_get_by_index(0).expect("a number"),
        }
    }

    /// Milliseconds of CPU and transactions, each per second, of a service that nobody calls.
    async fn idle(&self, duration: Duration) -> (f64, f64) {
        let before = self.usage().await;
        tokio::time::sleep(duration).await;
        let after = self.usage().await;
        let seconds = (after.at - before.at).as_secs_f64();
        let cpu = (after.cpu - before.cpu) * 1_000.0 / seconds;
        (cpu, (after.transactions - before.transactions) as f64 / seconds)
    }

    fn statement(&self, sql: &str) -> Statement {
        Statement::from_string(self.database.reads().get_database_backend(), sql)
    }
}

impl Bench {
    /// The scenarios of which the name is wanted.
    pub(super) async fn followers(&mut self) {
        let wanted = ["streams-fan-out", "streams-idle", "streams-unread", "cache"].map(|name| self.is_wanted(name));
        if wanted == [false; 4] {
            return;
        }
        let postgres = PostgresServer::start_durable(&SETTINGS).expect("a PostgreSQL server");
        let [fan_out, idle, unread, cache] = wanted;
        if fan_out {
            for (name, organizations) in [("many", 10), ("one", 1)] {
                self.fan_out(&postgres, name, organizations).await;
            }
        }
        if idle {
            self.idle_streams(&postgres).await;
        }
        if unread {
            self.unread_streams(&postgres).await;
        }
        if cache {
            self.cache(&postgres).await;
        }
    }

    /// Many streams beside a steady load, and the same load without streams.
    async fn fan_out(&mut self, postgres: &PostgresServer, name: &str, organizations: u64) {
        let sizes = self.stream_world(organizations);
        let world = World::new(self, postgres, name, sizes).await;
        let StreamSizes { streams, duration, .. } = self.streams;
        let what = format!("{streams} streams, organizations: {organizations}");
        world.write(self, duration / 4);
        let idle = world.server.memory();
        let (mut rates, mut p99s, mut cpus) = ([vec![], vec![]], [vec![], vec![]], [vec![], vec![]]);
        let (mut p50, mut p99, mut memory, mut follower_cpu) = (vec![], vec![], vec![], vec![]);
        for _ in 0..self.rounds {
            for with in [0, 1] {
                let followers = match with {
                    0 => None,
                    _ => Some(world.follow(&world.server, streams, true).await),
                };
                let (start, cpu) = (Instant::now(), world.server.cpu());
                let seen = world.write(self, duration);
                let seconds = start.elapsed().as_secs_f64();
                cpus[with].push((world.server.cpu() - cpu) * 100.0 / seconds);
                rates[with].push(seen.calls_per_second());
                p99s[with].push(seen.p99_micros as f64 / 1_000.0);
                if let Some(followers) = followers {
                    memory.push(world.server.memory());
                    let heard = followers.finish(&world.heads().await);
                    p50.push(heard.lag_p50);
                    p99.push(heard.lag_p99);
                    follower_cpu.push(heard.cpu * 100.0 / seconds);
                }
            }
        }
        // The changes of another instance.
        let other = Server::start(&self.program, &world.url);
        let followers = world.follow(&other, streams / 10, true).await;
        world.write(self, duration);
        let heard = followers.finish(&world.heads().await);

        let [without, with] = rates.map(median);
        let reach = Some(Reach::AtLeast(0.9));
        self.ratio(&format!("{what}, writes"), with, without, "calls/s", reach);
        let [without, with] = p99s.map(median);
        self.ratio(&format!("{what}, writes, p99"), with, without, "ms", None);
        let [without, with] = cpus.map(median);
        self.ratio(
            &format!("{what}, CPU of the service"),
            with,
            without,
            "% of a core",
            None,
        );
        let measure = format!("{what}, CPU of the followers");
        self.figure(&measure, median(follower_cpu), "% of a core", None);
        self.ratio(&format!("{what}, memory"), median(memory), idle, "MiB", None);
        self.figure(&format!("{what}, lag, p50"), median(p50), "ms", None);
        let reach = Some(Reach::AtMost(100.0));
        self.figure(&format!("{what}, lag, p99"), median(p99), "ms", reach);
        let what = format!("{} streams of another instance", streams / 10);
        self.figure(&format!("{what}, lag, p50"), heard.lag_p50, "ms", None);
        let reach = Some(Reach::AtMost(1_000.0));
        self.figure(&format!("{what}, lag, p99"), heard.lag_p99, "ms", reach);
    }

    /// Streams of organizations in which nothing happens, and streams that are not read.
    async fn idle_streams(&mut self, postgres: &PostgresServer) {
        let StreamSizes {
            idle,
            idle_organizations,
            duration,
            ..
        } = self.streams;
        let sizes = self.stream_world(idle_organizations);
        let world = World::new(self, postgres, "idle", sizes).await;
        world.write(self, duration / 4);
        let before = world.server.memory();
        let without = world.idle(duration).await;
        let (start, cpu) = (Instant::now(), world.server.cpu());
        let followers = world.follow(&world.server, idle, true).await;
        let opening = (start.elapsed().as_secs_f64(), world.server.cpu() - cpu);
        let memory = (world.server.memory() - before) * 1_024.0 / idle as f64;
        let with = world.idle(duration * 2).await;
        followers.finish(&world.heads().await);
        let what = format!("{idle} idle streams of {idle_organizations} organizations");
        self.ratio(&format!("{what}, CPU of the service"), with.0, without.0, "ms/s", None);
        let measure = format!("{what}, database transactions");
        self.ratio(&measure, with.1, without.1, "per second", None);
        self.figure(&format!("{what}, memory"), memory, "KiB a stream", None);
        self.figure(&format!("{what}, opened at once"), opening.0, "s", None);
        self.figure(&format!("{what}, CPU to open them"), opening.1, "s", None);
    }

    /// Streams that nobody reads while changes are written: they take no more memory after a while, and miss nothing.
    async fn unread_streams(&mut self, postgres: &PostgresServer) {
        let StreamSizes { unread, unread_for, .. } = self.streams;
        let sizes = self.stream_world(10);
        let world = World::new(self, postgres, "unread", sizes).await;
        world.write(self, unread_for / 6);
        let before = world.server.memory();
        let followers = world.follow(&world.server, unread, false).await;
        world.write(self, unread_for / 4);
        let early = world.server.memory();
        world.write(self, unread_for * 3 / 4);
        let late = world.server.memory();
        let heard = followers.finish(&world.heads().await);
        let what = format!("{unread} streams not read for {} s", unread_for.as_secs());
        self.figure(&format!("{what}, memory before"), before, "MiB", None);
        let reach = Some(Reach::AtMost(1.1));
        let measure = format!("{what}, memory at the end ÷ after a quarter");
        self.ratio(&measure, late, early, "MiB", reach);
        self.figure(
            &format!("{what}, changes read then"),
            heard.changes as f64,
            "changes",
            None,
        );
    }

    /// A cache of many devices.
    async fn cache(&mut self, postgres: &PostgresServer) {
        let sizes = Sizes {
            organizations: 1,
            devices: 0,
            customers: 0,
        };
        let world = World::new(self, postgres, "cache", sizes).await;
        let caching = Caching {
            address: world.server.grpc,
            key: world.organizations[0].key.clone(),
            devices: self.streams.cached,
        };
        cache::fill(&caching).await;
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("cache")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the cache starts");
        let task = serde_json::to_string(&caching).expect("JSON");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, task.as_bytes()).expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.success(), "the cache failed");
        let cached: Cached = serde_json::from_slice(&output.stdout).expect("what it measured");
        let what = format!("cache of {} devices", caching.devices);
        self.figure(&format!("{what}, time to fill"), cached.fill_seconds, "s", None);
        let measure = format!("{what}, memory");
        self.figure(&measure, cached.bytes_per_device, "bytes a device", None);
        let reach = Some(Reach::AtMost(1_000.0));
        let measure = format!("{what}, a look-up");
        self.figure(&measure, cached.nanos_per_look_up, "ns", reach);
        let measure = format!("{what}, a look-up, p99");
        self.figure(&measure, cached.p99_nanos as f64, "ns", None);
        let measure = format!("{what}, look-ups of one thread");
        self.figure(&measure, 1e9 / cached.nanos_per_look_up, "per second", None);
    }

    /// Enough devices that nearly every call changes something.
    fn stream_world(&self, organizations: u64) -> Sizes {
        let Sizes { devices, customers, .. } = self.sizes;
        Sizes {
            organizations,
            devices: devices / 10,
            customers: customers / 10,
        }
    }
}
