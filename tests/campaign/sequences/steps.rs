//! Random steps: a call of any operation on few names, valid or not.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

use crate::{
    entity_call,
    read_call::Read,
    support::{ASSIGN_ONE_PATH, PATH, TRANSFER_PATH, UNASSIGN_ONE_PATH, UNASSIGN_PATH},
};

/// One call of a sequence. Its request may hold [`ID`] and [`TOKEN`].
#[derive(Debug, Clone)]
pub struct Step {
    pub operation: Operation,
    pub request: Value,
    /// Its idempotency key. Steps with the same number are the same call.
    pub idempotency_key: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
pub enum Operation {
    /// A write of assignments, by its path on REST.
    Assignment(&'static str),
    Entity(entity_call::Call),
    Read(Read),
    Changes,
}

/// Stands for an id: that of the fourth object that an answer named, for example, is `$id:3`.
pub const ID: &str = "$id:";
/// Stands for the last page token that an answer held.
pub const TOKEN: &str = "$token";

const EMAILS: [&str; 5] = [
    "ann@example.com",
    "bob@example.com",
    "Bob@Example.com",
    " cat@example.org",
    "ann.b@example.com",
];
const DEVICES: [&str; 8] = ["0", "SN-1", "sn-1", "sn-10", "sn-2", "ü", "a b", "%2F"];
const TYPES: [&str; 2] = ["sensor", "Gateway"];
const INVALID: [&str; 6] = ["", " ", "nobody", "a@b@c", "x\u{0}y", "@example.com"];

/// A sequence of so many steps.
pub fn sequence(random: &mut StdRng, length: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::with_capacity(length);
    // Something is there from the start.
    let first = json!({ "customerEmail": EMAILS[0], "deviceIdentifiers": DEVICES, "autoCreateDevices": true, "deviceType": TYPES[0] });
    steps.push(Step {
        operation: Operation::Assignment(PATH),
        request: first,
        idempotency_key: None,
    });
    while steps.len() < length {
        // A call is sometimes sent again, as by a caller who does not know its outcome.
        let repeated = steps.choose(random).filter(|step| step.idempotency_key.is_some());
        let step = match repeated {
            Some(step) if random.random_bool(0.3) => step.clone(),
            _ => step(random, steps.len()),
        };
        steps.push(step);
    }
    steps
}

fn step(random: &mut StdRng, number: usize) -> Step {
    let operation = operation(random);
    let mut request = match operation {
        Operation::Assignment(path) => assignment(random, path),
        Operation::Entity(call) => entity(random, call),
        Operation::Read(read) => reading(random, read),
        // It may also be the revision after the newest.
        Operation::Changes => json!({ "after": random.random_range(0..12) }),
    };
    let writes = matches!(operation, Operation::Assignment(_) | Operation::Entity(_));
    if writes && random.random_bool(0.15) {
        request["validateOnly"] = json!(true);
    }
    let has_key = writes && random.random_bool(0.3);
    Step {
        operation,
        request,
        idempotency_key: has_key.then_some(number),
    }
}

fn operation(random: &mut StdRng) -> Operation {
    const ASSIGNMENTS: [&str; 5] = [PATH, ASSIGN_ONE_PATH, TRANSFER_PATH, UNASSIGN_PATH, UNASSIGN_ONE_PATH];
    let one_of = |random: &mut StdRng, count: usize| random.random_range(0..count);
    match random.random_range(0..20) {
        0..8 => Operation::Assignment(ASSIGNMENTS[one_of(random, ASSIGNMENTS.len())]),
        8..12 => Operation::Entity(entity_call::Call::ALL[one_of(random, entity_call::Call::ALL.len())]),
        12..18 => Operation::Read(Read::ALL[one_of(random, Read::ALL.len())]),
        18 => Operation::Read(Read::GetCustomer),
        _ => Operation::Changes,
    }
}

fn assignment(random: &mut StdRng, path: &str) -> Value {
    let mut request = json!({});
    if path == ASSIGN_ONE_PATH {
        request["deviceIdentifier"] = device(random);
        request["customerEmails"] = list(random, email);
        create(random, &mut request, "autoCreateDevice");
        return request;
    }
    request["customerEmail"] = email(random);
    if path == UNASSIGN_ONE_PATH {
        request["deviceIdentifier"] = device(random);
        return request;
    }
    request["deviceIdentifiers"] = list(random, device);
    if path != UNASSIGN_PATH {
        create(random, &mut request, "autoCreateDevices");
    }
    if path == TRANSFER_PATH && random.random_bool(0.5) {
        request["expectedOwner"] = if random.random() { id(random) } else { email(random) };
    }
    request
}

fn create(random: &mut StdRng, request: &mut Value, flag: &str) {
    if random.random_bool(0.7) {
        request[flag] = json!(true);
    }
    if random.random_bool(0.8) {
        request["deviceType"] = device_type(random);
    }
}

fn entity(random: &mut StdRng, call: entity_call::Call) -> Value {
    use entity_call::Call;

    let mut request = json!({});
    match call {
        Call::SaveDevice => {
            request["identifier"] = device(random);
            optional(random, &mut request, "type", device_type);
            optional(random, &mut request, "properties", properties);
        }
        Call::SaveMetadata => {
            let devices: Map<_, _> = (0..random.random_range(1..4))
                .map(|_| (text(&device(random)), properties(random)))
                .collect();
            request["devices"] = devices.into();
        }
        Call::DeleteDevice => request["identifier"] = device(random),
        Call::SaveCustomer => {
            request["email"] = email(random);
            optional(random, &mut request, "name", |random| {
                json!(["Ann", "", "Zoë  "].choose(random))
            });
            optional(random, &mut request, "phone", |_| json!("+49 30 1234"));
            optional(random, &mut request, "telemetronCustomerId", id);
        }
        Call::DeleteCustomer => {
            request["email"] = email(random);
            optional(random, &mut request, "telemetronCustomerId", id);
        }
    }
    request
}

fn reading(random: &mut StdRng, read: Read) -> Value {
    let mut request = json!({});
    match read {
        Read::BatchGetDeviceOwners => request["deviceIdentifiers"] = list(random, device),
        Read::ListOwnerDevices if random.random() => request["customerId"] = id(random),
        Read::ListOwnerDevices => request["customerEmail"] = email(random),
        Read::ListDeviceOwners => request["deviceIdentifier"] = device(random),
        Read::GetDevice => request["identifier"] = device(random),
        Read::QueryCustomer => request["email"] = email(random),
        Read::GetCustomer => request["telemetronCustomerId"] = id(random),
        Read::ListDevices => {
            optional(random, &mut request, "type", device_type);
            optional(random, &mut request, "prefix", |random| {
                json!(["sn-1", "SN", "ü"].choose(random))
            });
            optional(random, &mut request, "unassigned", |_| json!(true));
        }
        Read::ListCustomers => optional(random, &mut request, "emailPrefix", |random| {
            json!(["ann", "B", "cat@"].choose(random))
        }),
    }
    let is_list = matches!(
        read,
        Read::ListOwnerDevices | Read::ListDeviceOwners | Read::ListDevices | Read::ListCustomers
    );
    if is_list && random.random() {
        request["pageSize"] = json!([1, 1, 2, 2, 3, 1_000, 0, -1].choose(random));
    }
    if is_list && random.random_bool(0.3) {
        request["pageToken"] = json!(TOKEN);
    }
    request
}

fn optional(random: &mut StdRng, request: &mut Value, name: &str, value: fn(&mut StdRng) -> Value) {
    if random.random() {
        request[name] = value(random);
    }
}

fn list(random: &mut StdRng, value: fn(&mut StdRng) -> Value) -> Value {
    // Sometimes empty, which is invalid.
    let length = if random.random_bool(0.03) {
        0
    } else {
        random.random_range(1..5)
    };
    (0..length).map(|_| value(random)).collect()
}

fn device(random: &mut StdRng) -> Value {
    valid_or_not(random, &DEVICES)
}

fn email(random: &mut StdRng) -> Value {
    valid_or_not(random, &EMAILS)
}

fn device_type(random: &mut StdRng) -> Value {
    valid_or_not(random, &TYPES)
}

fn valid_or_not(random: &mut StdRng, valid: &[&str]) -> Value {
    let values = if random.random_bool(0.02) { &INVALID } else { valid };
    json!(values.choose(random))
}

fn properties(random: &mut StdRng) -> Value {
    let number: u32 = random.random_range(0..4);
    json!(
        [
            json!({}),
            json!({ "number": number }),
            json!({ "a": { "b": [1.5, null, "ü"] } })
        ]
        .choose(random)
    )
}

fn id(random: &mut StdRng) -> Value {
    json!(format!("{ID}{}", random.random_range(0..4)))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
