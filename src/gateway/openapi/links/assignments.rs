//! The links from calls of the service `DeviceAssignmentService`.

use serde_json::json;

use super::{Link, WRITTEN, link};

pub(super) fn links() -> Vec<Link> {
    let one_device = json!({
        "deviceIdentifier": "$request.body#/deviceIdentifier",
        "customerEmail": "$request.body#/customerEmails/0",
    });
    let devices = json!({ "deviceIdentifiers": "$request.body#/deviceIdentifiers", "minRevision": WRITTEN });
    let of_customer = json!({ "customerId": "$response.body#/customerId", "minRevision": WRITTEN });
    let of_device = json!({ "deviceIdentifier": "$request.body#/deviceIdentifier", "minRevision": WRITTEN });
    let first_owner = "$response.body#/devices/0/owners/0/customerId";
    vec![
        link(
            "assignDevicesToOwner",
            "getCustomer",
            "The customer, with its devices",
            json!({ "telemetronCustomerId": "$response.body#/customerId", "minRevision": WRITTEN }),
        ),
        link(
            "assignDevicesToOwner",
            "batchGetDeviceOwners",
            "All owners of the devices",
            devices.clone(),
        ),
        link(
            "assignDevicesToOwner",
            "getOwnerDevices",
            "All devices of the customer",
            of_customer.clone(),
        ),
        link(
            "assignDevicesToOwner",
            "unassignDevicesFromOwner",
            "Remove the devices from the customer",
            json!({
                "customerEmail": "$request.body#/customerEmail",
                "deviceIdentifiers": "$request.body#/deviceIdentifiers",
            }),
        ),
        link(
            "assignDevicesToOwner",
            "transferDevicesToOwner",
            "Transfer the devices from this customer to another one",
            json!({
                "deviceIdentifiers": "$request.body#/deviceIdentifiers",
                "expectedOwner": "$response.body#/customerId",
            }),
        ),
        link(
            "assignDeviceToOwners",
            "listDeviceOwners",
            "All owners of the device",
            of_device,
        ),
        link(
            "assignDeviceToOwners",
            "unassignDeviceFromOwner",
            "Remove the device from the first customer",
            one_device,
        ),
        link(
            "transferDevicesToOwner",
            "batchGetDeviceOwners",
            "The owners of the devices",
            devices,
        ),
        link(
            "transferDevicesToOwner",
            "getOwnerDevices",
            "All devices of the customer",
            of_customer,
        ),
        link(
            "unassignDevicesFromOwner",
            "assignDevicesToOwner",
            "Assign the removed devices again",
            json!({
                "customerEmail": "$request.body#/customerEmail",
                "deviceIdentifiers": "$response.body#/unassignedDevices",
            }),
        ),
        link(
            "unassignDevicesFromOwner",
            "listOwnerDevices",
            "The remaining devices of the customer, in pages",
            json!({ "customerEmail": "$request.body#/customerEmail", "minRevision": WRITTEN }),
        ),
        link(
            "unassignDeviceFromOwner",
            "assignDeviceToOwners",
            "Assign the device again",
            json!({
                "deviceIdentifier": "$response.body#/deviceIdentifier",
                "customerEmails": ["$request.body#/customerEmail"],
            }),
        ),
        link(
            "unassignDeviceFromOwner",
            "queryCustomer",
            "The customer, with its remaining devices",
            json!({ "email": "$request.body#/customerEmail", "minRevision": WRITTEN }),
        ),
        link(
            "batchGetDeviceOwners",
            "getCustomer",
            "An owner",
            json!({ "telemetronCustomerId": first_owner }),
        ),
        link(
            "batchGetDeviceOwners",
            "listDeviceOwners",
            "All owners of a device, if `hasMoreOwners` is true",
            json!({ "deviceIdentifier": "$response.body#/devices/0/identifier" }),
        ),
        link(
            "batchGetDeviceOwners",
            "transferDevicesToOwner",
            "Transfer the devices from an owner to another customer",
            json!({ "deviceIdentifiers": "$request.body#/deviceIdentifiers", "expectedOwner": first_owner }),
        ),
        link(
            "listDeviceOwners",
            "listDeviceOwners",
            "The next page",
            json!({
                "deviceIdentifier": "$request.query.deviceIdentifier",
                "pageToken": "$response.body#/nextPageToken",
            }),
        ),
        link(
            "listDeviceOwners",
            "unassignDeviceFromOwner",
            "Remove the device from an owner",
            json!({
                "deviceIdentifier": "$request.query.deviceIdentifier",
                "customerEmail": "$response.body#/owners/0/email",
            }),
        ),
        link(
            "listOwnerDevices",
            "listOwnerDevices",
            "The next page",
            json!({
                "customerEmail": "$request.body#/customerEmail",
                "pageToken": "$response.body#/nextPageToken",
            }),
        ),
        link(
            "listOwnerDevices",
            "unassignDevicesFromOwner",
            "Remove a device from the customer",
            json!({
                "customerEmail": "$request.body#/customerEmail",
                "deviceIdentifiers": ["$response.body#/devices/0/identifier"],
            }),
        ),
        link(
            "getOwnerDevices",
            "getOwnerDevices",
            "The next page",
            json!({ "customerId": "$request.query.customerId", "pageToken": "$response.body#/nextPageToken" }),
        ),
        link(
            "getOwnerDevices",
            "getDevice",
            "A device",
            json!({ "identifier": "$response.body#/devices/0/identifier", "minRevision": "$response.body#/revision" }),
        ),
    ]
}
