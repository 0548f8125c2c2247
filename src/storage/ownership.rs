//! Customers, devices and their assignments, read for operators.

use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use time::OffsetDateTime;

use super::{
    Database, DatabaseError,
    entity::{customer, device, device_assignment},
};
use crate::domain::{
    device::DeviceIdentifier,
    email::Email,
    id::{CustomerId, DeviceId, OrganizationId},
};

/// A stored customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRecord {
    /// Its id.
    pub id: CustomerId,
    /// Its email address.
    pub email: String,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

/// A stored device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its id.
    pub id: DeviceId,
    /// Its identifier.
    pub identifier: String,
    /// Its type.
    pub device_type: String,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

/// One end of an assignment, seen from the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned<T> {
    /// The device of the customer, or the owner of the device.
    pub record: T,
    /// When the device was assigned.
    pub since: OffsetDateTime,
}

impl Database {
    /// The customer with this address.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn customer(
        &self,
        organization: OrganizationId,
        email: &Email,
    ) -> Result<Option<CustomerRecord>, DatabaseError> {
        let query = customer::Entity::find()
            .filter(customer::Column::OrganizationId.eq(organization.uuid()))
            .filter(customer::Column::Email.eq(email.as_str()));
        let row = self.operate(async |db| query.one(db).await).await?;
        Ok(row.map(Into::into))
    }

    /// The device with this identifier.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn device(
        &self,
        organization: OrganizationId,
        identifier: &DeviceIdentifier,
    ) -> Result<Option<DeviceRecord>, DatabaseError> {
        let query = device::Entity::find()
            .filter(device::Column::OrganizationId.eq(organization.uuid()))
            .filter(device::Column::Identifier.eq(identifier.as_str()));
        let row = self.operate(async |db| query.one(db).await).await?;
        Ok(row.map(Into::into))
    }

    /// How many devices belong to a customer.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_devices_of(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
    ) -> Result<u64, DatabaseError> {
        let query = assignments_of(organization, customer);
        self.operate(async |db| query.count(db).await).await
    }

    /// How many owners a device has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_owners_of(&self, organization: OrganizationId, device: DeviceId) -> Result<u64, DatabaseError> {
        let query = assignments_to(organization, device);
        self.operate(async |db| query.count(db).await).await
    }

    /// Devices of a customer, in the order of their ids: at most `limit` of those after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices_of(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
        after: Option<DeviceId>,
        limit: u64,
    ) -> Result<Vec<Assigned<DeviceRecord>>, DatabaseError> {
        let mut query = assignments_of(organization, customer);
        if let Some(after) = after {
            query = query.filter(device_assignment::Column::DeviceId.gt(after.uuid()));
        }
        let query = query
            .find_both_related(device::Entity)
            .order_by_asc(device_assignment::Column::DeviceId)
            .limit(limit);
        let rows = self.operate(async |db| query.all(db).await).await?;
        Ok(assigned(rows))
    }

    /// Owners of a device, in the order of their ids: at most `limit` of those after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn owners_of(
        &self,
        organization: OrganizationId,
        device: DeviceId,
        after: Option<CustomerId>,
        limit: u64,
    ) -> Result<Vec<Assigned<CustomerRecord>>, DatabaseError> {
        let mut query = assignments_to(organization, device);
        if let Some(after) = after {
            query = query.filter(device_assignment::Column::CustomerId.gt(after.uuid()));
        }
        let query = query
            .find_both_related(customer::Entity)
            .order_by_asc(device_assignment::Column::CustomerId)
            .limit(limit);
        let rows = self.operate(async |db| query.all(db).await).await?;
        Ok(assigned(rows))
    }
}

fn assignments_of(organization: OrganizationId, customer: CustomerId) -> Select<device_assignment::Entity> {
    device_assignment::Entity::find()
        .filter(device_assignment::Column::OrganizationId.eq(organization.uuid()))
        .filter(device_assignment::Column::CustomerId.eq(customer.uuid()))
}

fn assignments_to(organization: OrganizationId, device: DeviceId) -> Select<device_assignment::Entity> {
    device_assignment::Entity::find()
        .filter(device_assignment::Column::OrganizationId.eq(organization.uuid()))
        .filter(device_assignment::Column::DeviceId.eq(device.uuid()))
}

fn assigned<T: Into<Record>, Record>(rows: Vec<(device_assignment::Model, T)>) -> Vec<Assigned<Record>> {
    let assigned = rows.into_iter().map(|(assignment, record)| Assigned {
        record: record.into(),
        since: assignment.created_at,
    });
    assigned.collect()
}

impl From<customer::Model> for CustomerRecord {
    fn from(row: customer::Model) -> Self {
        Self {
            id: row.id.into(),
            email: row.email,
            name: row.name,
            created_at: row.created_at,
        }
    }
}

impl From<device::Model> for DeviceRecord {
    fn from(row: device::Model) -> Self {
        Self {
            id: row.id.into(),
            identifier: row.identifier,
            device_type: row.device_type,
            created_at: row.created_at,
        }
    }
}
