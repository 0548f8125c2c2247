//! Tasks that end unexpectedly: they are started again, or the process stops.

use std::time::{Duration, Instant};

use device_assignment::{
    domain::{
        Error, Tally,
        assign_devices::{AssignDevices, Outcome},
        change::{Actor, ChangeKind, ChangeOrigin},
        command::{Command, Rejection, Touches},
        state::State,
    },
    server::{Listeners, ServeError, ServerSettings, serve},
    storage::{HealthSettings, Writer, WriterSettings},
    supervision::Supervisor,
};
use tokio::{net::TcpListener, time::timeout};

use crate::support::{Kind, Suite, TestDatabase, load::eventually, organization};

/// The bound of what would hang if it failed.
const HANGS_AFTER: Duration = Duration::from_secs(60);

pub fn register(suite: &mut Suite) {
    suite.on_each("supervision::a_worker_that_panics_is_started_again", worker);
    suite.on(
        Kind::Sqlite,
        "supervision::a_task_that_cannot_run_stops_the_service",
        task,
    );
}

/// A command whose outcome cannot be counted: the worker panics after the commit.
struct Uncountable(AssignDevices);

impl Command for Uncountable {
    type Outcome = Outcome;

    const KIND: ChangeKind = AssignDevices::KIND;

    fn weight(&self) -> usize {
        self.0.weight()
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        self.0.touch(touches);
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        self.0.apply(state)
    }

    fn tally(_: &Outcome) -> Tally {
        panic!("cannot be counted")
    }
}

fn assign(identifier: &str) -> AssignDevices {
    AssignDevices::parse("john@example.com", &[identifier.to_owned()], true, Some("sensor"), 1).expect("a command")
}

/// Its call is answered, and the next call of the same organization runs.
async fn worker(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let service = database.open().await;
    let acme = service.organization("acme").await.expect("readable").expect("one").id;
    let supervisor = Supervisor::default();
    // The panics of all calls are those of one worker.
    let settings = WriterSettings {
        workers: 1,
        ..WriterSettings::default()
    };
    let writer = Writer::start(&service, settings, &supervisor);
    let origin = ChangeOrigin {
        actor: Actor::Service,
        request_id: None,
    };
    let deadline = Instant::now() + HANGS_AFTER;
    for round in 0..3 {
        let call = writer.submit(acme, Uncountable(assign("SN-0")), origin.clone(), deadline);
        let outcome = timeout(HANGS_AFTER, call.expect("queued")).await.expect("an answer");
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{:?}", outcome.err());

        let call = writer.submit(acme, assign(&format!("SN-{round}")), origin.clone(), deadline);
        let outcome = timeout(HANGS_AFTER, call.expect("queued")).await.expect("an answer");
        outcome.expect("an outcome");
    }
    assert_eq!(database.count("device").await, 3);

    // It is not started again for ever.
    let mut rejected = 0;
    while futures_util::FutureExt::now_or_never(supervisor.failure()).is_none() {
        let call = writer.submit(acme, Uncountable(assign("SN-0")), origin.clone(), deadline);
        let call = call.expect("queued");
        tokio::select! {
            outcome = call => assert!(outcome.is_err()),
            failed = supervisor.failure() => assert_eq!(failed, "writer_worker"),
        }
        rejected += 1;
        assert!(rejected < 100, "a worker that always panics is started again");
    }
    service.close().await;
}

/// A health check that always panics: no time is so far away.
async fn task(database: &'static TestDatabase) {
    let listener = async || TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let admin = listener().await;
    let address = admin.local_addr().expect("an address");
    let listeners = Listeners {
        grpc: listener().await,
        rest: listener().await,
        admin: Some(admin),
        tls: None,
    };
    let settings = ServerSettings {
        health: HealthSettings {
            interval: Duration::MAX,
            timeout: Duration::MAX,
        },
        // Long enough to see it.
        shutdown_grace: Duration::from_secs(2),
        ..ServerSettings::default()
    };
    let service = database.open().await;
    let served = tokio::spawn(serve(service, settings, listeners, None, std::future::pending()));
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    eventually("not ready", HANGS_AFTER, async || {
        let answer = http.get(format!("http://{address}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status() == 503)
    })
    .await;
    let ended = timeout(HANGS_AFTER, served).await.expect("an end").expect("no panic");
    assert!(
        matches!(ended, Err(ServeError::TaskFailed("health_check"))),
        "{ended:?}"
    );
}
