//! Copies that are filled while writers run, and then follow the changes: in the end they have what the tables have.

mod lists;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use device_assignment::{
    client::{OwnershipCache, Target},
    domain::id::CustomerId,
    pb::{
        DeleteCustomerRequest, DeleteDeviceRequest, TransferDevicesToOwnerRequest,
        customer_service_client::CustomerServiceClient, device_service_client::DeviceServiceClient,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, prelude::Uuid};
use tokio::task::JoinSet;
use tonic::Code;

use self::lists::Copy;
use crate::{
    Size,
    crash::verify,
    fleet::{Fleet, Link, is_interruption},
    kills::block_on,
    support::{
        Api, Client, Kind, TestDatabase,
        load::{message, unassign_message},
        organization,
    },
};

const INSTANCES: usize = 2;
const WRITERS: usize = 4;
/// The calls of a writer in a round.
const CALLS: usize = 30;
const CUSTOMERS: u32 = 12;
const DEVICES: u32 = 40;
/// An instance is killed in every so many rounds.
const ROUNDS_PER_KILL: u32 = 4;
/// How long a copy may take to have all changes.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The ids of the owners of each device, by its identifier.
pub type Owners = BTreeMap<String, BTreeSet<String>>;

pub fn run(size: Size) -> String {
    block_on(async move {
        let database = TestDatabase::create(Kind::Postgres).await;
        let mut copies = Copies::start(&database, size.seed).await;
        for round in 0..size.rounds {
            copies.round(round).await;
            if round == 0 {
                copies.planted().await;
            }
        }
        let Copies {
            fleet,
            made,
            interruptions,
            kills,
            first,
            ..
        } = copies;
        let cuts = first.link.cuts();
        drop(first);
        fleet.stop().await;
        verify(&database).await;
        let changes = database.count("change_log").await;
        database.remove().await;
        format!(
            "{made} copies, each filled while {WRITERS} writers ran, {changes} changes, {kills} kills, {interruptions} calls and \
             {cuts} connections of the first copy interrupted: after each of {} rounds, each was equal to the tables",
            size.rounds
        )
    })
}

/// A cache, and the connections that it follows through.
struct Cached {
    cache: OwnershipCache,
    link: Link,
}

struct Copies<'d> {
    database: &'d TestDatabase,
    fleet: Fleet,
    key: String,
    random: StdRng,
    /// The cache that goes through all rounds.
    first: Cached,
    made: u32,
    interruptions: u32,
    kills: u32,
}

impl<'d> Copies<'d> {
    async fn start(database: &'d TestDatabase, seed: u64) -> Self {
        let key = organization(database, "acme").await;
        let fleet = Fleet::start(database.url(), INSTANCES).await;
        let mut random = StdRng::seed_from_u64(seed);
        let first = Cached::start(&fleet, &key, random.random()).await;
        Self {
            database,
            fleet,
            key,
            random,
            first,
            made: 1,
            interruptions: 0,
            kills: 0,
        }
    }

    /// Fills a cache and a copy while writers run, and compares them with the tables.
    async fn round(&mut self, round: u32) {
        let mut writers = JoinSet::new();
        let lasting = Link::lasting(&self.fleet, Api::Grpc, self.random.random()).await;
        for _ in 0..WRITERS {
            let random = StdRng::seed_from_u64(self.random.random());
            writers.spawn(write(lasting.client(&self.key), random));
        }
        tokio::time::sleep(Duration::from_millis(self.random.random_range(0..50))).await;
        let cached = Cached::start(&self.fleet, &self.key, self.random.random()).await;
        let breaking = Link::breaking(&self.fleet, Api::Grpc, self.random.random()).await;
        let client = breaking.client(&self.key);
        let instance = self.random.random_range(0..INSTANCES);
        let kills = round.is_multiple_of(ROUNDS_PER_KILL);
        let (mut copy, ()) = tokio::join!(Copy::fill(&client), async {
            if kills {
                self.fleet.kill(instance).await;
                self.kills += 1;
            }
            while let Some(writer) = writers.join_next().await {
                writer.expect("no panic");
            }
        });
        let head = self.database.number("SELECT max(revision) FROM change_log").await;
        let head = u64::try_from(head).expect("a revision");
        let followed = tokio::time::timeout(CATCH_UP, copy.follow(&client, head)).await;
        followed.unwrap_or_else(|_| panic!("round {round}: the copy does not reach revision {head}"));

        let tables = tables(self.database).await;
        assert_eq!(copy.owners(), tables, "round {round}: the copy made of lists");
        assert_eq!(cached.owners(head).await, tables, "round {round}: the new cache");
        assert_eq!(self.first.owners(head).await, tables, "round {round}: the first cache");
        self.made += 2;
        self.interruptions += copy.interruptions;
    }

    /// The comparison notices an assignment that another program inserts past the change log.
    async fn planted(&self) {
        let head = self.first.cache.freshness().position.revision;
        assert_eq!(self.first.owners(head).await, tables(self.database).await);
        let plant = "INSERT INTO device_assignment SELECT c.organization_id, c.id, d.id, '2000-01-01' FROM customer c \
                     JOIN device d ON d.organization_id = c.organization_id ON CONFLICT DO NOTHING";
        let connection = self.database.connect().await;
        let planted = connection.execute_unprepared(plant).await.expect(plant);
        assert!(planted.rows_affected() > 0, "something to plant");
        let found = self.first.owners(head).await != tables(self.database).await;
        assert!(found, "a planted fault is found");
        let restore = "DELETE FROM device_assignment WHERE created_at = '2000-01-01'";
        connection.execute_unprepared(restore).await.expect(restore);
        connection.close().await.expect("closed");
        println!("list-then-watch: found the planted fault: assignments past the change log");
    }
}

impl Cached {
    async fn start(fleet: &Fleet, key: &str, seed: u64) -> Self {
        let link = Link::breaking(fleet, Api::Grpc, seed).await;
        let target = Target {
            url: format!("http://{}", link.address()),
            ca: None,
            key: key.to_owned(),
        };
        let cache = OwnershipCache::start(&target).expect("a cache");
        Self { cache, link }
    }

    /// What it has at this revision, of every identifier that there may be.
    async fn owners(&self, head: u64) -> Owners {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let freshness = self.cache.freshness();
            if freshness.is_filled && freshness.position.revision >= head {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "a cache does not reach {head}: {freshness:?}"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let of = |identifier: String| {
            let owners = self.cache.owners(&identifier)?;
            Some((identifier, owners.iter().map(ToString::to_string).collect()))
        };
        let owners: Owners = (0..DEVICES).map(device).filter_map(of).collect();
        assert_eq!(owners.len(), self.cache.devices());
        owners
    }
}

/// What the tables have.
async fn tables(database: &TestDatabase) -> Owners {
    let sql = "SELECT d.identifier, a.customer_id FROM device d LEFT JOIN device_assignment a \
               ON a.organization_id = d.organization_id AND a.device_id = d.id";
    let mut owners = Owners::new();
    for row in database.rows(sql).await {
        let identifier: String = row.try_get_by_index(0).expect("text");
        let owner: Option<Uuid> = row.try_get_by_index(1).expect("an id");
        let owner = owner.map(|id| CustomerId::from(id).to_string());
        owners.entry(identifier).or_default().extend(owner);
    }
    owners
}

fn device(number: u32) -> String {
    format!("SN-{number}")
}

/// Makes calls of every kind that changes who owns what.
async fn write(client: Client, mut random: StdRng) {
    for _ in 0..CALLS {
        let email = format!("customer{}@example.com", random.random_range(0..CUSTOMERS));
        let count = random.random_range(1..=3);
        let devices: Vec<String> = (0..count).map(|_| device(random.random_range(0..DEVICES))).collect();
        let result = match random.random_range(0..10) {
            0..4 => {
                let mut message = message(&email);
                message.device_identifiers = devices;
                let request = client.signed(message);
                client.grpc().assign_devices_to_owner(request).await.map(drop)
            }
            4..6 => {
                let request = client.signed(unassign_message(&email, &devices));
                client.grpc().unassign_devices_from_owner(request).await.map(drop)
            }
            6..8 => {
                let request = client.signed(TransferDevicesToOwnerRequest {
                    customer_email: email,
                    device_identifiers: devices,
                    auto_create_devices: true,
                    device_type: Some("sensor".into()),
                    ..TransferDevicesToOwnerRequest::default()
                });
                client.grpc().transfer_devices_to_owner(request).await.map(drop)
            }
            8 => {
                let request = client.signed(DeleteDeviceRequest {
                    identifier: devices[0].clone(),
                    validate_only: false,
                });
                let mut service = DeviceServiceClient::new(client.channel());
                service.delete_device(request).await.map(drop)
            }
            _ => {
                let request = client.signed(DeleteCustomerRequest {
                    email,
                    ..DeleteCustomerRequest::default()
                });
                let mut service = CustomerServiceClient::new(client.channel());
                service.delete_customer(request).await.map(drop)
            }
        };
        if let Err(status) = result {
            assert!(
                status.code() == Code::NotFound || is_interruption(&status),
                "{status:?}"
            );
        }
    }
}
