//! Strict serializability: the answers that clients of several instances got are explained by one order of their calls, which
//! agrees with their times.

mod checker;

use std::time::Instant;

use device_assignment::{
    domain::{
        api_key::Scope,
        id::OrganizationId,
        organization::{ApiKeyLabel, OrganizationName},
    },
    service::{create_api_key, create_organization, import_devices},
    storage::Database,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Size,
    histories::checker::{CUSTOMERS, DEVICES, Event, Operation, Set, State, is_explained},
    many_keys,
    read_call::{Read, read},
    support::{Answer, Api, Client, Kind, TestDatabase, TestServer},
};

const INSTANCES: usize = 3;
const CLIENTS: usize = 8;
const CALLS_PER_CLIENT: usize = 5;

/// The customers and devices of every history: few, so that calls meet.
const EMAILS: [&str; CUSTOMERS] = ["ann@example.com", "bob@example.com", "cat@example.com"];
const IDENTIFIERS: [&str; DEVICES] = ["SN-1", "SN-2", "SN-3", "SN-4"];

pub fn run(size: Size) -> String {
    checker::planted();
    println!(
        "histories: found the planted anomalies: write skew, stale read, lost removal, contradicting reads, revisions"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let database = TestDatabase::create(Kind::Postgres).await;
        let service = database.open().await;
        let mut servers = Vec::new();
        for _ in 0..INSTANCES {
            servers.push(TestServer::start_with(&database, many_keys()).await);
        }
        let mut random = StdRng::seed_from_u64(size.seed);
        let mut counts = Counts::default();
        for number in 0..size.rounds {
            let world = World::create(&service, number).await;
            let events = world.history(&servers, &mut random).await;
            check(&events, &mut counts).unwrap_or_else(|fault| panic!("history {number}: {fault}: {events:#?}"));
            let verified = service.verify(world.organization, |difference| panic!("history {number}: {difference:?}"));
            verified.await.expect("a readable database");
        }
        for server in servers {
            server.stop().await;
        }
        service.close().await;
        database.remove().await;
        let Counts {
            calls,
            changes,
            overlaps,
            falsified,
        } = counts;
        format!(
            "{} histories of {CLIENTS} clients over {INSTANCES} instances, {calls} calls ({changes} changes, {overlaps} calls \
             overlapped the one before): all explained, with and without their revisions; {falsified} falsified copies: all \
             rejected",
            size.rounds
        )
    })
}

#[derive(Default)]
struct Counts {
    calls: usize,
    changes: usize,
    overlaps: usize,
    falsified: usize,
}

/// # Errors
/// What is wrong with the history, or with the checker.
fn check(events: &[Event], counts: &mut Counts) -> Result<(), String> {
    // The import of the devices.
    let first = State {
        revision: 1,
        ..State::default()
    };
    if !is_explained(events, first) {
        return Err("nothing explains the answers".to_owned());
    }
    let unnumbered: Vec<_> = events
        .iter()
        .map(|event| Event {
            revision: None,
            ..*event
        })
        .collect();
    if !is_explained(&unnumbered, first) {
        return Err("the checker needs the revisions".to_owned());
    }
    counts.calls += events.len();
    let mut in_order: Vec<_> = events.iter().map(|event| (event.began, event.ended)).collect();
    in_order.sort_unstable();
    counts.overlaps += in_order.windows(2).filter(|pair| pair[1].0 < pair[0].1).count();
    // A change whose answer denies it.
    for (at, event) in events.iter().enumerate() {
        let Some(operation) = denied(event.operation) else {
            continue;
        };
        counts.changes += 1;
        let mut falsified = events.to_vec();
        falsified[at].operation = operation;
        if is_explained(&falsified, first) {
            return Err(format!("a falsified answer is explained: {operation:?}"));
        }
        counts.falsified += 1;
    }
    Ok(())
}

/// The same call with the answer that it changed nothing, if it changed something.
fn denied(operation: Operation) -> Option<Operation> {
    match operation {
        Operation::Assign {
            customer,
            devices,
            created_customer,
            assigned,
        } if created_customer || assigned != 0 => Some(Operation::Assign {
            customer,
            devices,
            created_customer: false,
            assigned: 0,
        }),
        Operation::Unassign {
            customer,
            devices,
            unassigned,
            remaining,
        } if unassigned != 0 => Some(Operation::Unassign {
            customer,
            devices,
            unassigned: 0,
            remaining,
        }),
        _ => None,
    }
}

/// An organization of its own for a history.
struct World {
    organization: OrganizationId,
    key: String,
}

/// A call to make.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Assign { customer: usize, devices: Set },
    Unassign { customer: usize, devices: Set },
    Owners,
}

impl World {
    async fn create(service: &Database, number: u32) -> Self {
        let name = OrganizationName::parse(&format!("history {number}")).expect("a name");
        let organization = create_organization(service, &name).await.expect("an organization");
        let label = ApiKeyLabel::parse("test").expect("a label");
        let key = create_api_key(service, name.as_str(), &label, Scope::Write, None)
            .await
            .expect("a key");
        let list = IDENTIFIERS.map(|identifier| format!("{identifier},sensor\n")).concat();
        let list = format!("identifier,type\n{list}");
        let imported = import_devices(service, name.as_str(), None, list.as_bytes(), |_| {});
        imported.await.expect("an import");
        Self {
            organization: organization.id,
            key: key.secret.reveal().to_owned(),
        }
    }

    /// Lets all clients call at once, and reads the owners of the devices afterwards.
    async fn history(&self, servers: &[TestServer], random: &mut StdRng) -> Vec<Event> {
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let api = [Api::Grpc, Api::Rest][number % 2];
            let caller = Caller {
                client: servers[number % INSTANCES].client(api, &self.key),
                start,
            };
            let asks: Vec<_> = (0..CALLS_PER_CLIENT).map(|_| ask(random)).collect();
            clients.spawn(async move {
                let mut events = Vec::new();
                for ask in asks {
                    events.push(caller.event(ask).await);
                }
                (caller, events)
            });
        }
        let (callers, events): (Vec<_>, Vec<_>) = clients.join_all().await.into_iter().unzip();
        let mut events = events.concat();
        for caller in &callers[..INSTANCES] {
            events.push(caller.event(Ask::Owners).await);
        }
        events
    }
}

fn ask(random: &mut StdRng) -> Ask {
    let customer = random.random_range(0..CUSTOMERS);
    let devices = random.random_range(1..1 << DEVICES);
    match random.random_range(0..10) {
        0..4 => Ask::Assign { customer, devices },
        4..7 => Ask::Unassign { customer, devices },
        _ => Ask::Owners,
    }
}

struct Caller {
    client: Client,
    start: Instant,
}

impl Caller {
    async fn event(&self, ask: Ask) -> Event {
        let began = self.now();
        let (operation, revision) = self.operation(ask).await;
        Event {
            operation,
            began,
            ended: self.now(),
            revision,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a short history")
    }

    async fn operation(&self, ask: Ask) -> (Operation, Option<u64>) {
        match ask {
            Ask::Assign { customer, devices } => {
                let answer = self.client.assign(EMAILS[customer], &identifiers(devices)).await.ok();
                let operation = Operation::Assign {
                    customer,
                    devices,
                    created_customer: answer.body["customerWasCreated"] == true,
                    assigned: set(&answer, "assignedDevices"),
                };
                (operation, Some(answer.revision.expect("a revision")))
            }
            Ask::Unassign { customer, devices } => {
                let answer = self.client.unassign(EMAILS[customer], &identifiers(devices)).await;
                if answer.code == "NOT_FOUND" {
                    return (Operation::UnassignUnknown { customer }, answer.revision);
                }
                let answer = answer.ok();
                let operation = Operation::Unassign {
                    customer,
                    devices,
                    unassigned: set(&answer, "unassignedDevices"),
                    remaining: set(&answer, "devicesRemaining"),
                };
                (operation, Some(answer.revision.expect("a revision")))
            }
            Ask::Owners => {
                let request = json!({ "deviceIdentifiers": IDENTIFIERS });
                let answer = read(&self.client, Read::BatchGetDeviceOwners, &request).await.ok();
                let mut owned = [0; CUSTOMERS];
                let devices = answer.body["devices"].as_array().expect("a list");
                for (device, entry) in devices.iter().enumerate() {
                    for owner in entry["owners"].as_array().expect("a list") {
                        let email = owner["email"].as_str().expect("an email address");
                        owned[position(&EMAILS, email)] |= 1 << device;
                    }
                }
                (Operation::Owners { owned }, answer.revision)
            }
        }
    }
}

/// The identifiers of a set of devices.
fn identifiers(devices: Set) -> Vec<&'static str> {
    let is_there = |device: &usize| devices & (1 << device) != 0;
    (0..DEVICES)
        .filter(is_there)
        .map(|device| IDENTIFIERS[device])
        .collect()
}

/// The set of the devices in a list of an answer.
fn set(answer: &Answer, list: &str) -> Set {
    let identifiers = answer.identifiers(list).into_iter();
    identifiers.fold(0, |set, identifier| set | 1 << position(&IDENTIFIERS, identifier))
}

fn position(names: &[&str], name: &str) -> usize {
    names.iter().position(|known| *known == name).expect("a known name")
}
