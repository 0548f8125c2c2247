//! What a follower has received, and what the log has.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard},
};

use device_assignment::{
    domain::id::{CustomerId, DeviceId},
    pb,
};
use sea_orm::{QueryResult, prelude::Uuid};
use serde::Deserialize;

use crate::support::TestDatabase;

/// What is compared of a change.
#[derive(Debug, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    revision: String,
    kind: String,
    assigned: Vec<Group>,
    unassigned: Vec<Group>,
    customers_created: Vec<String>,
    devices_created: Vec<String>,
}

#[derive(Debug, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    customer_id: String,
    device_ids: Vec<String>,
}

impl Told {
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The devices that it assigns or unassigns.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        let groups = self.assigned.iter().chain(&self.unassigned);
        groups.flat_map(|group| group.device_ids.iter().map(String::as_str))
    }
}

impl From<pb::Change> for Told {
    fn from(change: pb::Change) -> Self {
        let groups = |groups: Vec<pb::CustomerDevices>| {
            let group = |group: pb::CustomerDevices| Group {
                customer_id: group.customer_id,
                device_ids: group.device_ids,
            };
            groups.into_iter().map(group).collect()
        };
        Self {
            revision: change.revision.to_string(),
            kind: change.kind,
            assigned: groups(change.assigned),
            unassigned: groups(change.unassigned),
            customers_created: change.customers_created,
            devices_created: change.devices_created,
        }
    }
}

/// The log as the table has it: the service is not asked. Each change is of one customer at most.
pub async fn log(database: &TestDatabase) -> Vec<Told> {
    let sql = "SELECT revision, kind, assigned_customers, assigned_devices, unassigned_customers, unassigned_devices, \
               customers_created, devices_created FROM change_log ORDER BY revision";
    let ids = |row: &QueryResult, column: &str| {
        let ids: Option<Vec<Uuid>> = row.try_get("", column).expect(column);
        ids.unwrap_or_default()
    };
    let devices = |row: &QueryResult, column: &str| -> Vec<String> {
        let ids = ids(row, column).into_iter();
        ids.map(|id| DeviceId::from(id).to_string()).collect()
    };
    let customers = |row: &QueryResult, column: &str| -> Vec<String> {
        let ids = ids(row, column).into_iter();
        ids.map(|id| CustomerId::from(id).to_string()).collect()
    };
    let groups = |row: &QueryResult, of_customers: &str, of_devices: &str| -> Vec<Group> {
        let group = |customer_id| Group {
            customer_id,
            device_ids: devices(row, of_devices),
        };
        customers(row, of_customers).into_iter().map(group).collect()
    };
    let told = |row: &QueryResult| Told {
        revision: row.try_get::<i64>("", "revision").expect("a revision").to_string(),
        kind: row.try_get("", "kind").expect("a kind"),
        assigned: groups(row, "assigned_customers", "assigned_devices"),
        unassigned: groups(row, "unassigned_customers", "unassigned_devices"),
        customers_created: customers(row, "customers_created"),
        devices_created: devices(row, "devices_created"),
    };
    database.rows(sql).await.iter().map(told).collect()
}

/// What a follower has received.
#[derive(Debug, Clone, Default)]
pub struct Record(Arc<Mutex<Received>>);

#[derive(Debug, Default)]
pub struct Received {
    pub history: String,
    /// A digest of each change.
    pub digests: Vec<u64>,
    /// How often it was interrupted.
    pub interruptions: usize,
}

impl Record {
    pub fn received(&self) -> MutexGuard<'_, Received> {
        self.0.lock().expect("no panic")
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.received().digests.len() as u64
    }

    /// Adds changes.
    ///
    /// # Errors
    /// A change that is not the next one.
    pub fn add(&self, history: &str, changes: impl IntoIterator<Item = Told>) -> Result<(), String> {
        let mut received = self.received();
        history.clone_into(&mut received.history);
        for told in changes {
            let expected = received.digests.len() + 1;
            if told.revision != expected.to_string() {
                return Err(format!("revision {} came instead of {expected}", told.revision));
            }
            received.digests.push(told.digest());
        }
        Ok(())
    }

    /// # Errors
    /// A heartbeat of a revision that was not received.
    pub fn heartbeat(&self, revision: u64) -> Result<(), String> {
        let received = self.revision();
        if received == revision {
            return Ok(());
        }
        Err(format!(
            "a heartbeat of revision {revision} came after revision {received}"
        ))
    }

    /// # Errors
    /// The first difference to the log.
    pub fn compare(&self, log: &[u64]) -> Result<(), String> {
        let received = self.received();
        let differs = |(has, is): (&u64, &u64)| has != is;
        if let Some(at) = received.digests.iter().zip(log).position(differs) {
            return Err(format!("revision {} is another one in the log", at + 1));
        }
        if received.digests.len() == log.len() {
            return Ok(());
        }
        Err(format!("{} changes instead of {}", received.digests.len(), log.len()))
    }
}
