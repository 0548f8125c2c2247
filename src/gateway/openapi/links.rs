//! The links of the description: which calls can follow a successful one, with which values of its request and its response.

mod assignments;

use serde_json::{Map, Value, json};

use super::merge;

/// The revision of a write, so that a read that follows sees it.
const WRITTEN: &str = "$response.header.x-revision";

/// A call that can follow another one.
struct Link {
    from: &'static str,
    to: &'static str,
    description: &'static str,
    /// The parameters of a GET, the body of a POST.
    values: Value,
}

fn link(from: &'static str, to: &'static str, description: &'static str, values: Value) -> Link {
    Link {
        from,
        to,
        description,
        values,
    }
}

/// Adds the links to the successful responses. A link has the name of the operation that it leads to.
pub(super) fn add(document: &mut Value) {
    let links = assignments::links()
        .into_iter()
        .chain(devices())
        .chain(customers())
        .chain(organization());
    let gets = operations(document, "get");
    for link in links {
        let member = if gets.contains(&link.to.to_owned()) {
            "parameters"
        } else {
            "requestBody"
        };
        let mut definition = json!({ "operationId": link.to, "description": link.description });
        if link.values != json!({}) {
            merge(&mut definition, json!({ member: link.values }));
        }
        if let Some(links) = links_of(document, link.from) {
            links.insert(link.to.to_owned(), definition);
        }
    }
}

/// The ids of all operations with this method.
fn operations(document: &Value, method: &str) -> Vec<String> {
    let paths = document.get("paths").and_then(Value::as_object);
    let operations = paths.into_iter().flatten().filter_map(|(_, path)| path.get(method));
    let ids = operations.filter_map(|operation| operation.get("operationId")?.as_str());
    ids.map(str::to_owned).collect()
}

/// The links of the successful response of an operation.
fn links_of<'a>(document: &'a mut Value, id: &str) -> Option<&'a mut Map<String, Value>> {
    let paths = document.get_mut("paths")?.as_object_mut()?;
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flatten();
    let operation = operations
        .map(|(_, operation)| operation)
        .find(|operation| operation.get("operationId").is_some_and(|found| found == id))?;
    let success = operation.pointer_mut("/responses/200")?.as_object_mut()?;
    success.entry("links").or_insert_with(|| json!({})).as_object_mut()
}

fn devices() -> Vec<Link> {
    let identifier = "$response.body#/identifier";
    vec![
        link(
            "createOrUpdateDevice",
            "getDevice",
            "The device",
            json!({ "identifier": identifier, "minRevision": WRITTEN }),
        ),
        link(
            "createOrUpdateDevice",
            "listDevices",
            "The devices of this type",
            json!({ "type": "$response.body#/type", "minRevision": WRITTEN }),
        ),
        link(
            "createOrUpdateDevice",
            "bulkUpdateDeviceMetadata",
            "Replace its properties, and those of other devices",
            json!({ "devices": { identifier: {} } }),
        ),
        link(
            "createOrUpdateDevice",
            "assignDevicesToOwner",
            "Assign the device to a customer",
            json!({ "deviceIdentifiers": [identifier] }),
        ),
        link(
            "createOrUpdateDevice",
            "deleteDevice",
            "Delete the device",
            json!({ "identifier": identifier }),
        ),
        link(
            "bulkUpdateDeviceMetadata",
            "getDevice",
            "A device, with its new properties",
            json!({ "identifier": "$response.body#/results/0/identifier", "minRevision": WRITTEN }),
        ),
        link(
            "deleteDevice",
            "createOrUpdateDevice",
            "Create the device again",
            json!({ "identifier": "$request.body#/identifier" }),
        ),
        link(
            "getDevice",
            "listDeviceOwners",
            "The owners of the device",
            json!({ "deviceIdentifier": identifier, "minRevision": "$response.body#/revision" }),
        ),
        link(
            "getDevice",
            "assignDeviceToOwners",
            "Assign the device to customers",
            json!({ "deviceIdentifier": identifier }),
        ),
        link(
            "getDevice",
            "createOrUpdateDevice",
            "Change the device",
            json!({ "identifier": identifier }),
        ),
        link(
            "getDevice",
            "deleteDevice",
            "Delete the device",
            json!({ "identifier": identifier }),
        ),
        link(
            "listDevices",
            "listDevices",
            "The next page",
            json!({
                "type": "$request.query.type",
                "prefix": "$request.query.prefix",
                "unassigned": "$request.query.unassigned",
                "pageToken": "$response.body#/nextPageToken",
            }),
        ),
        link(
            "listDevices",
            "getDevice",
            "A device, with its properties",
            json!({ "identifier": "$response.body#/devices/0/identifier" }),
        ),
        link(
            "listDevices",
            "listChanges",
            "The changes since this page was read",
            json!({ "after": "$response.body#/revision" }),
        ),
    ]
}

fn customers() -> Vec<Link> {
    let created = "$response.body#/telemetronCustomerId";
    let email = "$request.body#/email";
    let first = json!({ "telemetronCustomerId": "$response.body#/customers/0/id" });
    let found = "$response.body#/id";
    vec![
        link(
            "createOrUpdateCustomer",
            "getCustomer",
            "The customer",
            json!({ "telemetronCustomerId": created, "minRevision": WRITTEN }),
        ),
        link(
            "createOrUpdateCustomer",
            "queryCustomer",
            "The customer with this email address",
            json!({ "email": email, "minRevision": WRITTEN }),
        ),
        link(
            "createOrUpdateCustomer",
            "createOrUpdateCustomer",
            "Change the customer",
            json!({ "telemetronCustomerId": created, "email": email }),
        ),
        link(
            "createOrUpdateCustomer",
            "assignDevicesToOwner",
            "Assign devices to the customer",
            json!({ "customerEmail": email }),
        ),
        link(
            "createOrUpdateCustomer",
            "listCustomers",
            "The customers whose email addresses begin with this one",
            json!({ "emailPrefix": email, "minRevision": WRITTEN }),
        ),
        link(
            "createOrUpdateCustomer",
            "deleteCustomer",
            "Delete the customer",
            json!({ "telemetronCustomerId": created }),
        ),
        link(
            "deleteCustomer",
            "getCustomers",
            "The remaining customers",
            json!({ "minRevision": WRITTEN }),
        ),
        link(
            "queryCustomer",
            "listOwnerDevices",
            "Its devices, in pages",
            json!({ "customerEmail": "$response.body#/email", "minRevision": "$response.body#/revision" }),
        ),
        link(
            "queryCustomer",
            "deleteCustomer",
            "Delete the customer",
            json!({ "telemetronCustomerId": found }),
        ),
        link(
            "getCustomer",
            "createOrUpdateCustomer",
            "Change the customer",
            json!({ "telemetronCustomerId": found, "email": "$response.body#/email" }),
        ),
        link(
            "getCustomer",
            "unassignDevicesFromOwner",
            "Remove its devices",
            json!({ "customerEmail": "$response.body#/email", "deviceIdentifiers": "$response.body#/devices" }),
        ),
        link(
            "listCustomers",
            "listCustomers",
            "The next page",
            json!({
                "emailPrefix": "$request.body#/emailPrefix",
                "pageToken": "$response.body#/nextPageToken",
            }),
        ),
        link(
            "listCustomers",
            "getCustomer",
            "A customer, with its devices",
            first.clone(),
        ),
        link(
            "getCustomers",
            "getCustomers",
            "The next page",
            json!({ "pageToken": "$response.body#/nextPageToken" }),
        ),
        link("getCustomers", "getCustomer", "A customer, with its devices", first),
        link(
            "getCustomers",
            "getOwnerDevices",
            "The devices of a customer",
            json!({ "customerId": "$response.body#/customers/0/id" }),
        ),
    ]
}

fn organization() -> Vec<Link> {
    vec![
        link(
            "checkCredentials",
            "getCustomers",
            "The customers of the organization",
            json!({}),
        ),
        link(
            "checkCredentials",
            "listChanges",
            "The changes of the organization",
            json!({}),
        ),
        link(
            "listChanges",
            "listChanges",
            "The changes after the newest one",
            json!({ "after": "$response.body#/revision", "history": "$response.body#/history" }),
        ),
        link(
            "listChanges",
            "getCustomer",
            "A customer to whom devices were assigned",
            json!({ "telemetronCustomerId": "$response.body#/changes/0/assigned/0/customerId" }),
        ),
    ]
}
