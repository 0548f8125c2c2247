//! Removals beside assignments, and what operators see of them.

use futures_util::future::join_all;
use serde_json::Value;

use super::{JOHN, World};
use crate::{
    metrics::Metrics,
    support::{Api, Program, TestDatabase, TestServer, devices, organization, program::command},
};

/// Many callers assign and remove the same pairs. For each pair, assignments and removals take turns, so that their numbers
/// differ by 1 if it is assigned at the end and by 0 otherwise.
pub async fn at_once(database: &TestDatabase) {
    const IDS: [&str; 3] = ["SN-1", "SN-2", "SN-3"];
    let key = organization(database, "acme").await;
    devices(database, "acme", &IDS).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    client.assign(JOHN, &IDS).await.ok();
    let callers = (0..8_usize).map(|caller| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut balance = [0_i32; IDS.len()];
            for round in 0..40_usize {
                let ids = [IDS[(caller + round) % 3], IDS[round % 3]];
                let (answer, list, by) = if (caller + round) % 2 == 0 {
                    (client.unassign(JOHN, &ids).await.ok(), "unassignedDevices", -1)
                } else {
                    (client.assign(JOHN, &ids).await.ok(), "assignedDevices", 1)
                };
                for identifier in answer.identifiers(list) {
                    let index = IDS.iter().position(|id| *id == identifier).expect("known");
                    balance[index] += by;
                }
            }
            balance
        })
    });
    let balances = join_all(callers.collect::<Vec<_>>()).await;
    let mut total = [1_i32; IDS.len()];
    for balance in balances {
        for (total, balance) in total.iter_mut().zip(balance.expect("finished")) {
            *total += balance;
        }
    }
    let left = client.unassign(JOHN, &IDS).await.ok();
    let left: Vec<&str> = left.identifiers("unassignedDevices");
    assert_eq!(total, IDS.map(|id| i32::from(left.contains(&id))));
    server.stop().await;
}

pub async fn observed(database: &'static TestDatabase) {
    let World { key, .. } = World::new(database).await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.args(["--log-format", "json"]);
    let program = Program::spawn(serve).await;
    for (api, device) in [(Api::Grpc, "SN-001"), (Api::Rest, "SN-003")] {
        let client = program.client(api, &key);
        client.unassign(JOHN, &[device, "CANARY-SN"]).await.ok();
        client.unassign(JOHN, &[device]).await.ok();
        client.unassign_one(JOHN, device).await;
    }
    let metrics = Metrics::of(program.admin).await;
    let devices = |outcome: &str| metrics.get(&format!("device_assignment_devices_total{{outcome=\"{outcome}\"}}"));
    assert_eq!(
        (devices("unassigned"), devices("skipped")),
        (2.0, 4.0),
        "{}",
        metrics.text
    );
    assert_eq!(
        metrics.get("device_assignment_refusals_total{reason=\"NOT_ASSIGNED\"}"),
        2.0
    );
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("CANARY-SN") && !log.contains(JOHN), "{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let audited = lines.iter().filter(|line| line["event"] == "devices.unassigned");
    let audited: Vec<_> = audited
        .map(|line| (line["unassigned"].as_u64(), line["revision"].is_string()))
        .collect();
    assert_eq!(audited.len(), 2, "a call that changes nothing is not there: {log}");
    assert!(audited.iter().all(|(count, _)| *count == Some(1)), "{log}");
    let calls = lines
        .iter()
        .filter(|line| line["method"] == "UnassignDevicesFromOwner" && line["message"] == "call");
    let calls: Vec<_> = calls
        .map(|line| {
            assert_eq!(line.get("assigned"), None, "{line}");
            (line["unassigned"].as_u64(), line["skipped"].as_u64())
        })
        .collect();
    assert_eq!(calls, [(Some(1), Some(1)), (Some(0), Some(1))].repeat(2));
}
