//! Look-ups of customers, devices and owners.

use super::organization::find_organization;
use crate::{
    domain::{
        Error,
        device::DeviceIdentifier,
        email::Email,
        id::{CustomerId, DeviceId, OrganizationId},
    },
    storage::{Assigned, CustomerRecord, Database, DeviceRecord},
};

/// A customer and the number of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    organization: OrganizationId,
    /// The customer.
    pub record: CustomerRecord,
    /// The number of its devices.
    pub devices: u64,
}

/// A device and the number of its owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    organization: OrganizationId,
    /// The device.
    pub record: DeviceRecord,
    /// The number of its owners.
    pub owners: u64,
}

/// The customer with this address in the organization of this name.
///
/// # Errors
/// [`Error::NotFound`] when there is no such organization.
pub async fn customer(database: &Database, organization: &str, email: &Email) -> Result<Option<Customer>, Error> {
    let organization = find_organization(database, organization).await?.id;
    let Some(record) = database.customer(organization, email).await? else {
        return Ok(None);
    };
    let devices = database.count_devices_of(organization, record.id).await?;
    Ok(Some(Customer {
        organization,
        record,
        devices,
    }))
}

/// The devices of a customer in the order of their ids: at most `limit` of those after `after`.
///
/// # Errors
/// When the database cannot be read.
pub async fn customer_devices(
    database: &Database,
    customer: &Customer,
    after: Option<DeviceId>,
    limit: u64,
) -> Result<Vec<Assigned<DeviceRecord>>, Error> {
    let devices = database.devices_of(customer.organization, customer.record.id, after, limit);
    Ok(devices.await?)
}

/// The device with this identifier in the organization of this name.
///
/// # Errors
/// [`Error::NotFound`] when there is no such organization.
pub async fn device(
    database: &Database,
    organization: &str,
    identifier: &DeviceIdentifier,
) -> Result<Option<Device>, Error> {
    let organization = find_organization(database, organization).await?.id;
    let Some(record) = database.device(organization, identifier).await? else {
        return Ok(None);
    };
    let owners = database.count_owners_of(organization, record.id).await?;
    Ok(Some(Device {
        organization,
        record,
        owners,
    }))
}

/// The owners of a device in the order of their ids: at most `limit` of those after `after`.
///
/// # Errors
/// When the database cannot be read.
pub async fn device_owners(
    database: &Database,
    device: &Device,
    after: Option<CustomerId>,
    limit: u64,
) -> Result<Vec<Assigned<CustomerRecord>>, Error> {
    let owners = database.owners_of(device.organization, device.record.id, after, limit);
    Ok(owners.await?)
}
