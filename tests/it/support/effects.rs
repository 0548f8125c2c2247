//! Compares the database with the calls that were made.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::{StreamExt, stream};

use super::{
    Api, Client, Kind, TestDatabase,
    load::{Call, Change, unassign_message},
};

/// What the calls for one customer may have left: its devices, or no customer. Calls that were not acknowledged may have changed
/// something or not.
struct Possible {
    states: Vec<Option<BTreeSet<String>>>,
    named: BTreeSet<String>,
}

impl Possible {
    /// For each customer.
    fn after(calls: &[Call]) -> BTreeMap<&str, Self> {
        let mut customers = BTreeMap::<&str, Self>::new();
        for call in calls {
            let possible = customers.entry(&call.email).or_insert_with(|| Self {
                states: vec![None],
                named: BTreeSet::new(),
            });
            possible.apply(call);
        }
        customers
    }

    fn apply(&mut self, call: &Call) {
        let before = self.states.clone();
        for state in &mut self.states {
            match (&call.change, state) {
                (Change::Assign(devices), state) => state.get_or_insert_default().extend(devices.iter().cloned()),
                (Change::Unassign(devices), Some(owned)) => owned.retain(|device| !devices.contains(device)),
                (Change::Unassign(_), None) => {}
            }
        }
        if !call.is_ok() {
            self.states.extend(before);
        }
        let (Change::Assign(devices) | Change::Unassign(devices)) = &call.change;
        self.named.extend(devices.iter().cloned());
    }

    /// The devices that certainly belong to the customer, and those that certainly do not.
    fn certain(&self) -> [Vec<&str>; 2] {
        let devices = |is_owned: bool| {
            let is_certain = |device: &&String| {
                let owns =
                    |state: &Option<BTreeSet<String>>| state.as_ref().is_some_and(|owned| owned.contains(*device));
                self.states.iter().all(|state| owns(state) == is_owned)
            };
            self.named.iter().filter(is_certain).map(String::as_str).collect()
        };
        [devices(true), devices(false)]
    }
}

/// Compares the rows with the calls: each call is complete or absent, and complete if it was acknowledged. Returns what is
/// wrong. The database must hold only the effects of `calls`, and those of one customer must be in their order.
pub async fn faults(database: &TestDatabase, calls: &[Call]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut owned = owned(database).await;
    for (email, possible) in Possible::after(calls) {
        let found = owned.remove(email);
        match (possible.states.contains(&found), found) {
            (true, _) => {}
            (false, Some(found)) => faults.push(format!("{email} is there in part: {found:?}")),
            (false, None) => faults.push(format!("{email} was acknowledged and is not there")),
        }
    }
    faults.extend(owned.into_keys().map(|email| format!("nobody asked for {email}")));

    let without_owner = "SELECT d.identifier FROM device AS d WHERE NOT EXISTS (SELECT 1 FROM device_assignment AS a \
                         WHERE a.organization_id = d.organization_id AND a.device_id = d.id)";
    let unassigned: HashSet<&String> = calls
        .iter()
        .filter_map(|call| match &call.change {
            Change::Unassign(devices) => Some(devices),
            Change::Assign(_) => None,
        })
        .flatten()
        .collect();
    let without_owner = database.rows(without_owner).await;
    let without_owner = without_owner.iter().filter(|row| {
        let identifier: String = row.try_get_by_index(0).expect("an identifier");
        !unassigned.contains(&identifier)
    });
    let without_owner = without_owner.count();
    if without_owner > 0 {
        faults.push(format!("{without_owner} devices without an owner"));
    }
    let without_customer = "SELECT count(*) FROM device_assignment AS a WHERE NOT EXISTS (SELECT 1 FROM customer AS c \
                            WHERE c.organization_id = a.organization_id AND c.id = a.customer_id)";
    let without_device = "SELECT count(*) FROM device_assignment AS a WHERE NOT EXISTS (SELECT 1 FROM device AS d \
                          WHERE d.organization_id = a.organization_id AND d.id = a.device_id)";
    for (what, sql) in [
        ("assignments without a customer", without_customer),
        ("assignments without a device", without_device),
    ] {
        let count = database.number(sql).await;
        if count != 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    if database.kind == Kind::Sqlite {
        faults.extend(sqlite_faults(database).await);
    }
    faults
}

/// The devices of each customer, as of one moment. A customer without any is there too.
pub async fn owned(database: &TestDatabase) -> BTreeMap<String, BTreeSet<String>> {
    let sql = "SELECT c.email, d.identifier FROM customer AS c \
               LEFT JOIN device_assignment AS a ON a.organization_id = c.organization_id AND a.customer_id = c.id \
               LEFT JOIN device AS d ON d.organization_id = a.organization_id AND d.id = a.device_id";
    let mut owned = BTreeMap::<String, BTreeSet<String>>::new();
    for row in database.rows(sql).await {
        let email: String = row.try_get("", "email").expect("an email address");
        let device: Option<String> = row.try_get("", "identifier").expect("an identifier");
        owned.entry(email).or_default().extend(device);
    }
    owned
}

async fn sqlite_faults(database: &TestDatabase) -> Vec<String> {
    let integrity = database.rows("PRAGMA integrity_check").await;
    let said = integrity
        .iter()
        .map(|row| row.try_get_by_index::<String>(0).expect("text"));
    let mut faults: Vec<String> = said.filter(|text| text != "ok").collect();
    let broken = database.rows("PRAGMA foreign_key_check").await.len();
    if broken > 0 {
        faults.push(format!("{broken} rows break a foreign key"));
    }
    faults
}

/// Asks the service for the effects of every acknowledged call again. Returns those of which anything is new or unknown.
pub async fn forgotten(calls: &[Call], clients: &[Client]) -> Vec<String> {
    let customers = Possible::after(calls).into_iter().zip(clients.iter().cycle());
    // As in the load, removals are gRPC calls.
    let unassigning = clients.iter().find(|client| client.api == Api::Grpc);
    let questions = customers.map(async |((email, possible), client)| {
        let [owned, others] = possible.certain();
        let mut forgotten = Vec::new();
        if !owned.is_empty() {
            let answer = client.assign(email, &owned).await;
            if answer.code != "OK" || answer.identifiers("alreadyAssigned") != owned {
                forgotten.push(format!("{email}: {answer:?}"));
            }
        }
        // Without an owned device, it is not certain that there is a customer.
        if let (Some(client), false, false) = (unassigning, owned.is_empty(), others.is_empty()) {
            let request = client.signed(unassign_message(email, &others));
            let answer = client.grpc().unassign_devices_from_owner(request).await;
            let remembers = answer.as_ref().is_ok_and(|answer| answer.get_ref().skipped == others);
            if !remembers {
                forgotten.push(format!("{email}: {answer:?}"));
            }
        }
        forgotten
    });
    let answers: Vec<Vec<String>> = stream::iter(questions).buffer_unordered(32).collect().await;
    answers.concat()
}
