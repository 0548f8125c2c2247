//! More large calls at once than can be carried out in time: those that are taken on succeed, and the others are refused
//! at once.

use std::time::{Duration, Instant};

use device_assignment::{pb::AssignDevicesToOwnerRequest, server::ServerSettings};
use futures_util::future::join_all;

use crate::support::{Api, Suite, TestDatabase, TestServer, organization};

pub fn register(suite: &mut Suite) {
    suite.on_each("overload::large_calls_are_taken_on_only_if_in_time", large_calls);
}

/// The devices of a call: as many as fit in one transaction, so that each is a batch of its own.
const DEVICES: usize = 2_000;

/// How long a caller goes on as it is told before the test says that the service has not recovered.
const PATIENCE: Duration = Duration::from_mins(2);

fn message(email: String) -> AssignDevicesToOwnerRequest {
    AssignDevicesToOwnerRequest {
        validate_only: false,
        device_identifiers: (0..DEVICES).map(|number| format!("{email}/{number}")).collect(),
        customer_email: email,
        auto_create_devices: true,
        device_type: Some("sensor".into()),
    }
}

async fn large_calls(database: &'static TestDatabase) {
    const TIMEOUT: Duration = Duration::from_secs(3);
    const WARM_UP: u32 = 5;
    let settings = ServerSettings {
        request_timeout: TIMEOUT,
        ..ServerSettings::default()
    };
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, settings).await;
    let client = server.client(Api::Grpc, &key);
    let start = Instant::now();
    for number in 0..WARM_UP {
        let answer = client.call_grpc(message(format!("warm-up{number}@example.com")), None);
        answer.await.ok();
    }
    let one = start.elapsed() / WARM_UP;
    // Several times as many as this machine can carry out in time, whatever its speed.
    let count = (4.0 * TIMEOUT.as_secs_f64() / one.as_secs_f64()).ceil();
    let clients = [(); 8].map(|()| server.client(Api::Grpc, &key));
    let wave = async |name: &str| {
        let numbers = (0..).take_while(|number| f64::from(*number) < count);
        let calls = numbers
            .zip(clients.iter().cycle())
            .map(|(number, client)| client.call_grpc(message(format!("{name}{number}@example.com")), None));
        join_all(calls).await
    };
    // A machine that is busy with so many calls is slower than with one: the first wave shows the service how much.
    let first = wave("first").await;
    let in_time = first.iter().filter(|answer| answer.code == "OK").count();
    let answers = wave("second").await;
    let of = |code: &str| answers.iter().filter(|answer| answer.code == code).count();
    let (done, late, refused) = (of("OK"), of("DEADLINE_EXCEEDED"), of("RESOURCE_EXHAUSTED"));
    println!("a call takes {one:?}; of {count} at once: {done} done, {late} late, {refused} refused; before {in_time}");
    assert_eq!(
        done + late + refused,
        answers.len(),
        "{:?}",
        answers.iter().map(|answer| &answer.code).collect::<Vec<_>>()
    );
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused");
    // It takes on as many as it did in time before. A machine that is suddenly slower is late with some of them.
    assert!(
        done + late <= 2 + in_time * 3 / 2,
        "{done} done and {late} late, after {in_time} in time"
    );
    assert!(late < refused, "{late} late, {done} done, {refused} refused");
    for answer in answers.iter().filter(|answer| answer.code == "RESOURCE_EXHAUSTED") {
        let seconds = answer.retry_after.expect("a time to wait");
        assert!((1..=60).contains(&seconds), "{answer:?}");
        assert_eq!(answer.reason.as_deref(), Some("QUEUE_FULL"));
        let sentence = format!("Too many calls are waiting; try again in {seconds} s");
        assert_eq!(answer.error, sentence);
    }
    // What was refused can be done later: a caller that waits as it is told gets its turn. The last large call of the waves may
    // still be in progress, so that it can be told so more than once.
    let mut after = client.call_grpc(message("after@example.com".into()), None).await;
    while let Some(seconds) = after.retry_after.filter(|_| start.elapsed() < PATIENCE) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        after = client.call_grpc(message("after@example.com".into()), None).await;
    }
    after.ok();
    server.stop().await;
}
