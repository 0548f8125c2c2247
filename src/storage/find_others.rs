//! Reads what only few commands touch: the data of customers, the properties of devices, all devices of a customer, all
//! owners of a device, and the answers of calls with an idempotency key.

use uuid::Uuid;

use super::{
    DatabaseError,
    answers::find_answers,
    backend::Backend,
    sql::{Column, Scalar},
    statements::{FIND_CUSTOMERS, FIND_OWNED_IDS, FIND_OWNER_IDS, FIND_PROPERTIES},
    write_connection::rows,
};
use crate::domain::{
    command::Touches,
    customer::{CustomerData, CustomerKey},
    email::Email,
    id::{CustomerId, OrganizationId},
    state::{Existing, Linked},
};

/// A row of the result of [`FIND_CUSTOMERS`].
type CustomerRow = (i64, Uuid, String, String, String, String, Option<bool>);

/// Adds to `existing` what commands touch of all this.
pub(super) async fn find_others<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    touches: &Touches<'_>,
    existing: &mut Existing,
) -> Result<(), DatabaseError> {
    if !touches.keys().is_empty() {
        existing.answers = find_answers::<B>(connection, organization, touches.keys()).await?;
    }
    find_customers::<B>(connection, organization, touches, existing).await?;
    find_properties::<B>(connection, organization, touches, existing).await?;
    find_owned::<B>(connection, organization, touches, existing).await?;
    find_owners::<B>(connection, organization, touches, existing).await
}

async fn find_customers<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    touches: &Touches<'_>,
    existing: &mut Existing,
) -> Result<(), DatabaseError> {
    let customers = touches.customers();
    if customers.is_empty() {
        return Ok(());
    }
    let keys = customers.iter().map(|(key, _)| key);
    let ids = keys.clone().map(|key| match key {
        CustomerKey::Id(id) => Some(id.uuid()),
        CustomerKey::Email(_) => None,
    });
    let emails = keys.map(|key| match key {
        CustomerKey::Id(_) => None,
        CustomerKey::Email(email) => Some(email.as_str()),
    });
    let statement = FIND_CUSTOMERS.bind(
        [Scalar::Id(organization.uuid())],
        [
            Column::OptionalIds(ids.collect()),
            Column::OptionalTexts(emails.collect()),
            Column::OptionalTexts(customers.iter().map(|(_, metadata)| *metadata).collect()),
        ],
    );
    let rows: Vec<CustomerRow> = rows::<B, _>(connection, &statement).await?;
    for (position, id, email, name, phone, address, has_this_metadata) in rows {
        let id = CustomerId::from_uuid(id);
        existing.customers.insert(email.clone(), id);
        let data = existing.data.entry(id).or_insert_with(|| CustomerData {
            email: Email::from_stored(email),
            name,
            phone,
            address,
            metadata: None,
        });
        if has_this_metadata == Some(true) {
            let position = usize::try_from(position - 1).ok();
            let named = position.and_then(|position| customers.get(position));
            data.metadata = named.and_then(|(_, metadata)| metadata.map(str::to_owned));
        }
    }
    Ok(())
}

async fn find_properties<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    touches: &Touches<'_>,
    existing: &mut Existing,
) -> Result<(), DatabaseError> {
    let devices = touches.devices_with_properties();
    if devices.is_empty() {
        return Ok(());
    }
    let statement = FIND_PROPERTIES.bind(
        [Scalar::Id(organization.uuid())],
        [
            Column::Texts(devices.iter().map(|(identifier, _)| *identifier).collect()),
            Column::OptionalTexts(devices.iter().map(|(_, properties)| *properties).collect()),
        ],
    );
    let rows: Vec<(Option<String>, Option<bool>)> = rows::<B, _>(connection, &statement).await?;
    for ((identifier, new), (properties, is_same)) in devices.iter().zip(rows) {
        let same = new.filter(|_| is_same == Some(true)).map(str::to_owned);
        if let (Some(device), Some(properties)) = (existing.devices.get(*identifier), properties.or(same)) {
            existing.properties.insert(*device, properties);
        }
    }
    Ok(())
}

async fn find_owned<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    touches: &Touches<'_>,
    existing: &mut Existing,
) -> Result<(), DatabaseError> {
    for (key, limit) in touches.owned() {
        let customer = match key {
            CustomerKey::Id(id) => existing.data.get(id).map(|_| *id),
            CustomerKey::Email(email) => existing.customers.get(email.as_str()).copied(),
        };
        let Some(customer) = customer else { continue };
        let scalars = [
            Scalar::Id(organization.uuid()),
            Scalar::Id(customer.uuid()),
            one_more(limit),
        ];
        let rows: Vec<(Uuid,)> = rows::<B, _>(connection, &FIND_OWNED_IDS.bind(scalars, [])).await?;
        let linked = Linked::first(rows.into_iter().map(|(device,)| device.into()), limit);
        existing
            .assignments
            .extend(linked.known.iter().map(|device| (customer, *device)));
        existing.owned.insert(customer, linked);
    }
    Ok(())
}

async fn find_owners<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    touches: &Touches<'_>,
    existing: &mut Existing,
) -> Result<(), DatabaseError> {
    let (identifiers, limit) = touches.owners();
    if identifiers.is_empty() {
        return Ok(());
    }
    let scalars = [Scalar::Id(organization.uuid()), one_more(limit)];
    let statement = FIND_OWNER_IDS.bind(scalars, [Column::Texts(identifiers)]);
    let rows: Vec<(Uuid, Uuid)> = rows::<B, _>(connection, &statement).await?;
    for of_device in rows.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((device, _)) = of_device.first().copied() else {
            continue;
        };
        let device = device.into();
        let linked = Linked::first(of_device.iter().map(|(_, customer)| (*customer).into()), limit);
        existing
            .assignments
            .extend(linked.known.iter().map(|customer| (*customer, device)));
        existing.owners.insert(device, linked);
    }
    Ok(())
}

/// A limit that tells whether there are more rows than `limit`.
fn one_more(limit: usize) -> Scalar {
    Scalar::Number(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
}
