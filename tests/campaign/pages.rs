//! Lists of very many devices and customers, page by page, while others write: nothing that was there all the time is missed or
//! repeated, and the last pages cost as much as the first.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use device_assignment::pb::UnassignDeviceFromOwnerRequest;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, prelude::Uuid};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Size,
    entity_call::Call,
    kills::block_on,
    page_costs::{Cost, costs, flat},
    plans,
    read_call::{Read, read},
    support::{Answer, Api, Client, Kind, Program, TestDatabase, TestServer, organization, program::command},
    world,
};

/// The most entries of a page.
const PAGE: usize = 1_000;
/// Tasks that write meanwhile.
const WRITERS: usize = 3;
/// Devices for each customer.
const DEVICES_PER_CUSTOMER: u64 = 5;
/// From so many devices on, the plans of every call are checked at the end.
const LARGE: u64 = 100_000;
/// The last digit of the devices and customers that others delete meanwhile.
const GOES: u64 = 9;

pub fn run(size: Size) -> String {
    block_on(async move {
        planted().await;
        let mut counts = Vec::new();
        for kind in [Kind::Sqlite, Kind::Postgres] {
            let counted = on(kind, size.rounds.into(), size.seed).await;
            counts.push(format!("{kind:?}: {counted}"));
        }
        counts.join("; ")
    })
}

/// A list, and what it must have.
struct List {
    read: Read,
    request: Value,
    /// The list in the answer, and the member that names an entry.
    members: (&'static str, &'static str),
    /// The names of the entries that are there all the time, in the order of the list.
    stays: Vec<String>,
}

fn lists(devices: u64) -> [List; 3] {
    let names = |of_fleet: bool| {
        let stays = (0..devices).filter(|number| number % 10 != GOES && (!of_fleet || is_of_fleet(*number)));
        let mut names: Vec<String> = stays.map(world::identifier).collect();
        names.sort_unstable();
        names
    };
    // In the order of their ids.
    let customers = (0..devices / DEVICES_PER_CUSTOMER).filter(|number| number % 10 != GOES);
    let page = |mut request: Value| {
        request["pageSize"] = json!(PAGE);
        request
    };
    [
        List {
            read: Read::ListDevices,
            request: page(json!({})),
            members: ("devices", "identifier"),
            stays: names(false),
        },
        List {
            read: Read::ListOwnerDevices,
            request: page(json!({ "customerEmail": fleet() })),
            members: ("devices", "identifier"),
            stays: names(true),
        },
        List {
            read: Read::ListCustomers,
            request: page(json!({})),
            members: ("customers", "email"),
            stays: customers.map(world::email).collect(),
        },
    ]
}

/// The customer with half of the devices.
fn fleet() -> String {
    world::email(0)
}

fn is_of_fleet(device: u64) -> bool {
    device % 2 == 1
}

/// Fills a database: half of the devices belong to one customer, and each of the others to one of many.
async fn fill(database: &TestDatabase, devices: u64) {
    let service = database.open().await;
    let organization = &database.rows("SELECT id FROM organization").await[0];
    let organization: Uuid = organization.try_get_by_index(0).expect("an id");
    let organization = organization.to_string();
    world::fill(&service, &organization, "device", 0, devices).await;
    world::fill(&service, &organization, "customer", 0, devices / DEVICES_PER_CUSTOMER).await;
    service.close().await;
    let number = "CAST(substr(d.identifier, 4) AS bigint)";
    let assign = format!(
        "INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at) \
         SELECT d.organization_id, c.id, d.id, d.created_at FROM device AS d \
         JOIN customer AS c ON c.organization_id = d.organization_id AND c.email = CASE {number} % 2 WHEN 1 THEN '{}' \
         ELSE 'customer-' || ({number} / {DEVICES_PER_CUSTOMER}) || '@example.com' END",
        fleet()
    );
    let connection = database.connect().await;
    let assigned = connection.execute_unprepared(&assign).await.expect("assigned");
    assert_eq!(assigned.rows_affected(), devices);
    connection.execute_unprepared("ANALYZE").await.expect("analyzed");
    if database.kind == Kind::Postgres {
        for setting in plans::EXPLAINED.iter().chain(&["auto_explain.log_buffers=on"]) {
            let (name, value) = setting.split_once('=').expect("a setting");
            let set = format!("ALTER DATABASE {} SET {name} = '{value}'", database.name());
            connection.execute_unprepared(&set).await.expect("set");
        }
    }
    connection.close().await.expect("closed");
}

async fn on(kind: Kind, devices: u64, seed: u64) -> String {
    let database = TestDatabase::create(kind).await;
    let key = organization(&database, "acme").await;
    fill(&database, devices).await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.env("RUST_LOG", plans::LOG);
    let program = Program::spawn(serve).await;
    // Another instance writes.
    let server = TestServer::start(&database).await;
    let written = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let writer = Writer {
            client: server.client(Api::Grpc, &key),
            number,
            random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
            devices,
            written: Arc::clone(&written),
        };
        writers.spawn(writer.write(Arc::clone(&is_over)));
    }

    let mut counts = Vec::new();
    let lists = lists(devices);
    for (list, api) in lists.iter().zip([Api::Grpc, Api::Rest, Api::Grpc]) {
        let before = written.load(Ordering::Relaxed);
        let result = all_pages(&program.client(api, &key), list, async |_| ()).await;
        let (pages, others) = result.unwrap_or_else(|fault| panic!("{:?}: {fault}", list.read));
        let calls = written.load(Ordering::Relaxed) - before;
        counts.push(format!(
            "{:?}: {} entries that stayed, each once, and {others} others in {pages} pages, {calls} writes meanwhile",
            list.read,
            list.stays.len()
        ));
    }
    is_over.store(true, Ordering::Relaxed);
    writers.join_all().await;
    if devices >= LARGE {
        let named = plans::identifiers();
        let named: Vec<_> = named.iter().map(String::as_str).collect();
        server.client(Api::Grpc, &key).create(&fleet(), &named).await.ok();
    }
    server.stop().await;
    let (_, log) = program.terminate().await;
    let costs = costs(&log);
    for list in &lists {
        let name = format!("{:?}", list.read);
        let flat = flat(&costs[&name]).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        counts.push(format!("{name}: {flat}"));
    }
    if devices >= LARGE {
        plans::own(&database, &key).await;
        plans::check(&database, &key, "at its full size").await;
        counts.push("no call scans or sorts a table".to_owned());
    }
    database.remove().await;
    counts.join("; ")
}

/// Reads all pages of a list; `between` runs after each, before the request for the next. Returns the number of pages, and of entries
/// that came or went meanwhile.
///
/// # Errors
/// The first entry that is missing or repeated.
async fn all_pages(
    client: &Client,
    list: &List,
    mut between: impl AsyncFnMut(&mut Value),
) -> Result<(usize, usize), String> {
    let (entries, member) = list.members;
    let mut request = list.request.clone();
    let stays: HashSet<&str> = list.stays.iter().map(String::as_str).collect();
    let mut expected = list.stays.iter().peekable();
    let mut others = HashSet::new();
    for page in 1.. {
        let answer = answered(client, list.read, &request).await;
        for entry in answer.body[entries].as_array().expect("a list") {
            let name = entry[member].as_str().expect("text");
            if expected.next_if(|expected| *expected == name).is_some() {
                continue;
            }
            if stays.contains(name) {
                return Err(format!("page {page} has {name} instead of {:?}", expected.peek()));
            }
            if !others.insert(name.to_owned()) {
                return Err(format!("page {page} has {name} again"));
            }
        }
        request["pageToken"] = answer.body["nextPageToken"].clone();
        if request["pageToken"] == "" {
            return match expected.next() {
                Some(name) => Err(format!("{name} is missing at the end")),
                None => Ok((page, others.len())),
            };
        }
        between(&mut request).await;
    }
    unreachable!("a list ends")
}

/// The answer of a call. It is made again while the service is too busy: reads are bounded in time.
async fn answered(client: &Client, call: Read, request: &Value) -> Answer {
    loop {
        let answer = read(client, call, request).await;
        if answer.reason.as_deref() != Some("UNAVAILABLE") {
            return answer.ok();
        }
        println!("pages: {call:?} was not answered in time");
    }
}

/// Writes while the lists are read.
struct Writer {
    client: Client,
    /// Its number: part of the names of what it creates, and chooses what it deletes.
    number: usize,
    random: StdRng,
    devices: u64,
    /// The calls that all writers have made.
    written: Arc<AtomicU64>,
}

impl Writer {
    /// Creates devices and customers among those of the lists, and removes and deletes them and those that may go.
    async fn write(mut self, is_over: Arc<AtomicBool>) {
        let of_this = |count: u64| {
            let going = (0..count).filter(|number| number % 10 == GOES);
            going.skip(self.number).step_by(WRITERS)
        };
        let mut devices = of_this(self.devices).map(world::identifier);
        let mut customers = of_this(self.devices / DEVICES_PER_CUSTOMER).map(world::email);
        let fleet = fleet();
        let client = &self.client;
        let delete = async |call: Call, name: Option<(&str, &String)>| {
            if let Some((member, name)) = name {
                call.make(client, &json!({ member: name })).await.ok();
                self.written.fetch_add(1, Ordering::Relaxed);
            }
        };
        for round in 0.. {
            let among = world::identifier(self.random.random_range(0..self.devices));
            let device = format!("{among}-{}-{round}", self.number);
            let email = format!("{device}@example.org");
            client.create(&fleet, &[&device]).await.ok();
            client.create(&email, &[&device]).await.ok();
            let removal = UnassignDeviceFromOwnerRequest {
                customer_email: fleet.clone(),
                device_identifier: device.clone(),
                ..Default::default()
            };
            let removed = client.grpc().unassign_device_from_owner(client.signed(removal)).await;
            removed.expect("a device of the customer");
            self.written.fetch_add(3, Ordering::Relaxed);
            delete(
                Call::DeleteDevice,
                devices.next().as_ref().map(|name| ("identifier", name)),
            )
            .await;
            delete(
                Call::DeleteCustomer,
                customers.next().as_ref().map(|name| ("email", name)),
            )
            .await;
            // Every second one stays.
            if round % 2 == 0 {
                delete(Call::DeleteDevice, Some(("identifier", &device))).await;
                delete(Call::DeleteCustomer, Some(("email", &email))).await;
            }
            if is_over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Plants a device that is deleted behind the back of the list, a page that is read twice, and pages that cost more and more.
async fn planted() {
    let devices = 3_000;
    let database = TestDatabase::create(Kind::Sqlite).await;
    let key = organization(&database, "acme").await;
    fill(&database, devices).await;
    let server = TestServer::start(&database).await;
    let client = server.client(Api::Grpc, &key);
    let [list, ..] = lists(devices);
    all_pages(&client, &list, async |_| ()).await.expect("all devices once");

    let mut first = None;
    let repeated = all_pages(&client, &list, async |request| {
        request["pageToken"] = first.get_or_insert_with(|| request["pageToken"].clone()).clone();
    });
    let repeated = repeated.await.expect_err("a page that is read twice");
    let connection = database.connect().await;
    let missing = all_pages(&client, &list, async |_| {
        for table in ["device_assignment", "device"] {
            let id = if table == "device" { "id" } else { "device_id" };
            let sql = format!("DELETE FROM {table} WHERE {id} = (SELECT id FROM device WHERE identifier = 'SN-998')");
            connection.execute_unprepared(&sql).await.expect(&sql);
        }
    });
    let missing = missing.await.expect_err("a device that is missing");
    connection.close().await.expect("closed");
    let dearer: Vec<Cost> = (1..=20).map(|blocks| Cost { blocks, millis: 1.0 }).collect();
    let dearer = flat(&dearer).expect_err("pages that cost more and more");
    server.stop().await;
    database.remove().await;
    println!("pages: found the planted faults: {repeated}; {missing}; {dearer}");
}
