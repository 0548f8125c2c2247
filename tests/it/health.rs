//! Readiness: an outage of the database is noticed soon and reported everywhere, and meanwhile calls fail at once.

use std::{
    env,
    net::SocketAddr,
    time::{Duration, Instant},
};

use device_assignment::{
    server::{GatewayListeners, ServerSettings, Upstream, serve_gateway},
    service::ServiceSettings,
    storage::{Database, DatabaseUrl},
};
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::{
    Api, Client, Kind, Load, PostgresServer, Program, Proxy, Suite, TestDatabase, TestServer,
    effects::faults,
    load::{self, Call, Fate, clients, eventually, tally},
    organization,
    program::{refused, run, sentence, stdout},
};

/// How soon an outage of the database, and its end, must be reported.
pub const TURNS: Duration = Duration::from_secs(3);
pub const RETURNS: Duration = Duration::from_secs(5);
/// How long a call may take that the service knows will fail.
const REFUSED: Duration = Duration::from_secs(1);

const CALLERS: usize = 16;
const SERVICE: &str = "telemetron.device_assignment.v1.DeviceAssignmentService";

pub fn register(suite: &mut Suite) {
    suite.with_postgres("health::a_database_that_is_stopped", stopped);
    suite.on(Kind::Postgres, "health::a_database_that_falls_silent", |database| {
        silent(database, Proxy::recover)
    });
    suite.on(
        Kind::Postgres,
        "health::a_database_that_falls_silent_and_forgets",
        |database| silent(database, Proxy::recover_without_memory),
    );
    suite.on(
        Kind::Postgres,
        "health::a_key_is_remembered_while_the_database_is_away",
        remembered_key,
    );
    suite.on(Kind::Postgres, "health::a_hiccup_changes_nothing", hiccup);
    suite.on_each("health::a_schema_of_another_version", schema);
    suite.on_each("health::of_a_gateway", gateway);
    suite.on_each("health::the_probe", probe);
}

/// How long the database is away: by default until the outage is reported.
fn outage() -> Duration {
    let seconds = env::var("HEALTH_OUTAGE_SECONDS").map_or(8, |seconds| seconds.parse().expect("a number"));
    Duration::from_secs(seconds)
}

/// Where a service reports whether it is ready.
pub struct Shown {
    admin: SocketAddr,
    http: reqwest::Client,
    grpc: HealthClient<Channel>,
}

impl Shown {
    pub fn by(program: &Program) -> Self {
        Self::at(program.admin, &program.client(Api::Grpc, ""))
    }

    pub fn at(admin: SocketAddr, client: &Client) -> Self {
        Self {
            admin,
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            grpc: HealthClient::new(client.channel()),
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("http://{}{path}", self.admin)).send().await;
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Waits until everything reports `line`, and returns how long that took.
    pub async fn turns_to(&self, line: &str, within: Duration) -> Duration {
        let start = Instant::now();
        let is_ready = line == "ok";
        let readyz = (if is_ready { 200 } else { 503 }, format!("{line}\n"));
        let status = if is_ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        eventually(line, within, async || {
            self.get("/readyz").await == readyz && self.check("").await == status && self.check(SERVICE).await == status
        })
        .await;
        let took = start.elapsed();
        assert_eq!(
            self.get("/livez").await,
            (200, "ok\n".into()),
            "it lives, whatever it waits for"
        );
        took
    }

    async fn check(&self, service: &str) -> ServingStatus {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = self.grpc.clone().check(request).await.expect("an answer");
        answer.into_inner().status()
    }

    /// All that a client of `Watch` receives.
    pub async fn watch(&self) -> JoinHandle<Vec<ServingStatus>> {
        let request = HealthCheckRequest {
            service: SERVICE.into(),
        };
        let stream = self.grpc.clone().watch(request).await.expect("a stream");
        let mut stream = stream.into_inner();
        tokio::spawn(async move {
            let mut told = Vec::new();
            while let Ok(Some(answer)) = stream.message().await {
                told.push(answer.status());
            }
            told
        })
    }
}

/// An outage as it was observed.
struct Outage {
    /// When everything reported it.
    turned: Instant,
    /// When the database began to come back, and when it was back.
    returning: Instant,
    back: Instant,
}

impl Outage {
    /// Checks the calls that were made during it.
    fn judge(&self, calls: &[Call]) {
        println!("{}", tally(calls));
        for call in calls {
            match &call.fate {
                Fate::Answered { code, .. } if code == "OK" => {
                    let met_nobody = call.started > self.turned && call.ended < self.returning;
                    assert!(!met_nobody, "{call:?}");
                }
                Fate::Answered { code, retry_after } => {
                    assert_eq!((code.as_str(), *retry_after), ("UNAVAILABLE", Some(1)), "{call:?}");
                    let known_since = call.started.max(self.turned);
                    let took = call.ended.saturating_duration_since(known_since);
                    assert!(took < REFUSED, "after {took:?}: {call:?}");
                    let late = call.ended.saturating_duration_since(self.back);
                    assert!(late < RETURNS, "{late:?} after the return: {call:?}");
                }
                Fate::Lost { .. } => panic!("the service is there all the time: {call:?}"),
            }
        }
        let refused = calls
            .iter()
            .filter(|call| call.started > self.turned && call.ended < self.returning);
        let slowest = refused.clone().map(Call::took).max().expect("calls in the outage");
        let returned = calls.iter().filter(|call| call.started > self.back && call.is_ok());
        let first = returned
            .map(|call| call.ended - self.back)
            .min()
            .expect("calls after it");
        println!(
            "{} calls refused, the slowest after {slowest:?}; first success {first:?} after the return",
            refused.count()
        );
        assert!(first < RETURNS, "{first:?}");
    }
}

async fn stopped() {
    // Blocks this thread, on purpose: the server ends with the thread that starts it, and this one runs the whole test.
    let server = PostgresServer::start_durable(&[]).expect("a server");
    let database = TestDatabase::on(&server).await;
    let keys = load::keys(&database, 4).await;
    let mut keys = keys.iter().cycle();
    let program = Program::serve(database.url()).await;
    let shown = Shown::by(&program);
    shown.turns_to("ok", Duration::from_secs(1)).await;
    let watch = shown.watch().await;
    let load = Load::start(
        "load",
        clients(CALLERS, |api| program.client(api, keys.next().expect("a key"))),
    );
    load.succeeds(10 * CALLERS as u64).await;

    let killed = Instant::now();
    server.kill();
    let turned_after = shown.turns_to("database: out of reach", TURNS).await;
    let turned = Instant::now();
    tokio::time::sleep_until((killed + outage()).into()).await;
    let returning = Instant::now();
    server.restart();
    let back = Instant::now();
    let back_after = shown.turns_to("ok", RETURNS).await;
    println!(
        "stopped for {:?}: turned after {turned_after:?}, back {back_after:?} after its return",
        back - killed
    );
    load.succeeds(10 * CALLERS as u64).await;
    tokio::time::sleep_until((back + RETURNS + Duration::from_millis(500)).into()).await;
    let calls = load.finish().await;
    let outage = Outage {
        turned,
        returning,
        back,
    };
    outage.judge(&calls);
    assert_eq!(faults(&database, &calls).await, [""; 0]);

    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    let told = watch.await.expect("no panic");
    let (serving, not) = (ServingStatus::Serving, ServingStatus::NotServing);
    assert_eq!(
        told,
        [serving, not, serving, not],
        "once each, the last time because it stops"
    );
    for (line, level) in [
        ("\"the database is out of reach; calls are rejected", "WARN"),
        ("\"the database is within reach", "INFO"),
    ] {
        let lines: Vec<&str> = log.lines().filter(|entry| entry.contains(line)).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(level), "{lines:?}");
    }
    server.stop();
}

async fn silent(database: &TestDatabase, recover: fn(&Proxy)) {
    let keys = load::keys(database, 4).await;
    let mut keys = keys.iter().cycle();
    let proxy = Proxy::before(database).await;
    let program = Program::serve(proxy.url()).await;
    let shown = Shown::by(&program);
    shown.turns_to("ok", Duration::from_secs(1)).await;
    let load = Load::start(
        "load",
        clients(CALLERS, |api| program.client(api, keys.next().expect("a key"))),
    );
    load.succeeds(10 * CALLERS as u64).await;

    let fallen = Instant::now();
    proxy.fall_silent();
    let turned_after = shown.turns_to("database: out of reach", TURNS).await;
    let turned = Instant::now();
    tokio::time::sleep_until((fallen + outage()).into()).await;
    let back = Instant::now();
    recover(&proxy);
    let back_after = shown.turns_to("ok", RETURNS).await;
    println!(
        "silent for {:?}: turned after {turned_after:?}, back {back_after:?} after its return",
        back - fallen
    );
    load.succeeds(10 * CALLERS as u64).await;
    tokio::time::sleep_until((back + RETURNS + Duration::from_millis(500)).into()).await;
    let calls = load.finish().await;
    let outage = Outage {
        turned,
        returning: back,
        back,
    };
    outage.judge(&calls);
    program.terminate().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// A server in this process whose database is reached through `proxy`.
async fn start_behind(proxy: &Proxy, settings: ServerSettings) -> TestServer {
    let url = DatabaseUrl::parse(proxy.url()).expect("a URL");
    TestServer::start_over(Database::open(url).await.expect("a database"), settings).await
}

async fn remembered_key(database: &TestDatabase) {
    let settings = ServerSettings {
        service: ServiceSettings {
            key_cache_ttl: Duration::from_secs(600),
            ..ServiceSettings::default()
        },
        ..ServerSettings::default()
    };
    let known = organization(database, "known").await;
    let unknown = organization(database, "unknown").await;
    let proxy = Proxy::before(database).await;
    let server = start_behind(&proxy, settings).await;
    let shown = Shown::at(server.admin, &server.client(Api::Grpc, ""));
    server
        .client(Api::Grpc, &known)
        .create("a@example.com", &["SN-1"])
        .await
        .ok();
    proxy.fall_silent();
    shown.turns_to("database: out of reach", TURNS).await;

    for api in Api::ALL {
        let client = server.client(api, &known);
        let start = Instant::now();
        // The key is known, so the field violations are reported.
        let answer = client
            .call(&json!({ "customerEmail": "a", "deviceIdentifiers": ["SN-1"] }))
            .await;
        assert_eq!(answer.code, "INVALID_ARGUMENT", "{answer:?}");
        for client in [&client, &client.with_key(Some(&unknown))] {
            let answer = client.create("a@example.com", &["SN-1"]).await;
            assert_eq!(answer.code, "UNAVAILABLE", "{answer:?}");
            assert_eq!(answer.retry_after, Some(1), "{answer:?}");
            assert_eq!(answer.error, "Service temporarily unavailable; try again shortly");
        }
        let answer = client
            .with_key(Some("tlm_wrong"))
            .assign("a@example.com", &["SN-1"])
            .await;
        assert_eq!(answer.code, "UNAUTHENTICATED", "{answer:?}");
        assert!(start.elapsed() < REFUSED, "four calls in {:?}", start.elapsed());
    }
    proxy.recover();
    shown.turns_to("ok", RETURNS).await;
    for key in [&known, &unknown] {
        server
            .client(Api::Rest, key)
            .create("a@example.com", &["SN-1"])
            .await
            .ok();
    }
    server.stop().await;
}

/// An idle connection that ends, and a database that is slow for a moment, are not an outage.
async fn hiccup(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let proxy = Proxy::before(database).await;
    let program = Program::serve(proxy.url()).await;
    let shown = Shown::by(&program);
    let watch = shown.watch().await;
    for round in 0..3 {
        proxy.cut();
        // Longer than until the next health check.
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.fall_silent();
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.recover();
        let client = program.client(Api::Grpc, &key);
        client.create(&format!("{round}@example.com"), &["SN-1"]).await.ok();
    }
    let (_, log) = program.terminate().await;
    let told = watch.await.expect("no panic");
    let expected = [ServingStatus::Serving, ServingStatus::NotServing];
    assert_eq!(told, expected, "until it stops: {log}");
}

/// Moves the schema of `database` to another version and back, and calls `check` with what must be reported each time.
async fn move_schema(database: &TestDatabase, mut check: impl AsyncFnMut(&str)) {
    let connection = database.connect().await;
    for (sql, line) in [
        (
            "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99990101_from_the_future', 0)",
            // During an upgrade, instances of the previous version keep serving.
            "ok",
        ),
        (
            "DELETE FROM seaql_migrations WHERE version = 'm99990101_from_the_future'",
            "ok",
        ),
        (
            "CREATE TABLE kept AS SELECT * FROM seaql_migrations; DELETE FROM seaql_migrations",
            "schema: behind this version",
        ),
        ("INSERT INTO seaql_migrations SELECT * FROM kept; DROP TABLE kept", "ok"),
        (
            "ALTER TABLE seaql_migrations RENAME TO elsewhere",
            "schema: behind this version",
        ),
        ("ALTER TABLE elsewhere RENAME TO seaql_migrations", "ok"),
    ] {
        connection.execute_unprepared(sql).await.expect(sql);
        check(line).await;
    }
    connection.close().await.expect("closed");
}

async fn schema(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let shown = Shown::at(server.admin, &server.client(Api::Grpc, ""));
    let client = server.client(Api::Rest, &key);
    move_schema(database, async |line| {
        shown.turns_to(line, TURNS).await;
        // Long enough for another health check.
        tokio::time::sleep(2 * device_assignment::storage::HealthSettings::default().interval).await;
        shown.turns_to(line, TURNS).await;
        // Calls are still served.
        client.create("a@example.com", &["SN-1"]).await.ok();
    })
    .await;
    server.stop().await;
}

async fn gateway(database: &TestDatabase) {
    let program = Program::serve(database.url()).await;
    let upstream = Upstream {
        endpoint: Endpoint::from_shared(format!("http://{}", program.grpc)).expect("an endpoint"),
        tls: None,
    };
    let (rest, admin) = (listener().await, listener().await);
    let address = admin.local_addr().expect("an address");
    let listeners = GatewayListeners {
        rest,
        admin: Some(admin),
        tls: None,
    };
    let settings = ServerSettings {
        shutdown_grace: Duration::from_secs(1),
        ..ServerSettings::default()
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        serve_gateway(upstream, settings, listeners, None, stopped).await
    });

    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = async |path: &str| {
        let answer = http
            .get(format!("http://{address}{path}"))
            .send()
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let shows = async |line: &str| {
        let status = if line == "ok" { 200 } else { 503 };
        let expected = (status, format!("{line}\n"));
        eventually(line, TURNS, async || get("/readyz").await == expected).await;
        assert_eq!(get("/livez").await, (200, "ok\n".into()));
    };
    shows("ok").await;
    move_schema(database, async |line| {
        shows(if line == "ok" { "ok" } else { "upstream: not ready" }).await;
    })
    .await;
    program.kill().await;
    shows("upstream: out of reach").await;
    stop.send(()).expect("running");
    shows("draining").await;
    served.await.expect("no panic").expect("a clean stop");
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

async fn probe(database: &TestDatabase) {
    let program = Program::serve(database.url()).await;
    let admin = program.admin.to_string();
    let ready = ["health", "--admin-addr", &admin];
    let live = ["health", "--live", "--admin-addr", &admin];
    move_schema(database, async |line| {
        let expected = (Some(i32::from(line != "ok")), format!("{line}\n"));
        eventually(line, TURNS, async || {
            let output = run(&ready).await;
            (output.status.code(), stdout(&output)) == expected
        })
        .await;
        let output = run(&live).await;
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), "ok\n".into()));
    })
    .await;

    let rest = program.rest.to_string();
    let said = sentence(&run(&["health", "--admin-addr", &rest]).await, 1);
    assert!(said.contains("does not respond as the service does"), "{said}");
    program.kill().await;
    for arguments in [ready.as_slice(), &live] {
        let said = sentence(&run(arguments).await, 1);
        assert!(
            said.contains("cannot be reached") && said.contains("ADMIN_ADDR"),
            "{said}"
        );
    }
    let said = sentence(&run(&["health", "--admin-addr", "off"]).await, 1);
    assert!(said.contains("ADMIN_ADDR"), "{said}");
    refused(&run(&["health", "--admin-addr", "nowhere"]).await, 2);

    // Accepts connections, and never responds.
    let silent = listener().await;
    let address = silent.local_addr().expect("an address").to_string();
    let mut taken = JoinSet::new();
    taken.spawn(async move {
        let connection = silent.accept().await;
        std::future::pending::<()>().await;
        drop(connection);
    });
    let said = sentence(&run(&["health", "--admin-addr", &address]).await, 1);
    assert!(said.contains("does not respond"), "{said}");
}
