//! `ListChanges` and `WatchChanges`: messages to requests, changes to messages.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    Admitted, admitted,
    call_log::Note,
    encoded_changes::{EncodedChanges, encode},
    revision::response_at,
    status::{to_status, to_status_at},
    timestamp::precise_text,
};
use crate::{
    domain::{Error, change::Pair, id::CustomerId},
    pb::{
        Actor, Change, CustomerDevices, CustomerName, DeviceName, ListChangesRequest, ListChangesResponse,
        WatchChangesRequest,
    },
    service::{self, ChangeBatch, ChangeRecord, ChangeStream, MAX_PAGE_BYTES, NamedChange, Service},
    telemetry::metrics::STREAMS,
};

/// A stream of responses.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<EncodedChanges, Status>> + Send>>;

pub(super) async fn list(
    service: &Service,
    request: Request<ListChangesRequest>,
) -> Result<Response<ListChangesResponse>, Status> {
    let (admitted, message) = admitted(request)?;
    let Admitted {
        caller, deadline, note, ..
    } = admitted;
    let request = service::ListChangesRequest {
        after: message.after_revision.into(),
        history: message.history,
        page_size: usize::try_from(message.page_size).unwrap_or(usize::MAX),
        include_names: message.include_names,
        wait: Duration::from_secs(message.wait_seconds.into()),
    };
    let batch = service.list_changes(&caller, &request, deadline).await;
    let batch = batch.map_err(|error| to_status(&error))?;
    let (history, head) = (batch.history.to_string(), batch.head);
    let changes = changes(batch, MAX_PAGE_BYTES).map_err(|error| to_status(&error))?;
    note.sent(changes.len());
    STREAMS.sent.increment(changes.len() as u64);
    Ok(response_at(
        head,
        ListChangesResponse {
            changes,
            revision: head.number(),
            history,
        },
    ))
}

pub(super) async fn watch(
    service: &Service,
    request: Request<WatchChangesRequest>,
) -> Result<Response<Responses>, Status> {
    // This drops the permits of a call in flight. The first thing that the service does is to take those of a stream.
    let (admitted, message) = admitted(request)?;
    let Admitted {
        caller, deadline, note, ..
    } = admitted;
    let request = service::WatchChangesRequest {
        after: message.after_revision.into(),
        history: message.history,
        include_names: message.include_names,
    };
    let stream = service.watch_changes(&caller, &request, deadline).await;
    let stream = stream.map_err(|error| to_status(&error))?;
    let responses = stream::unfold(Some((stream, note)), async |state| {
        let (mut stream, note) = state?;
        match next(&mut stream, &note).await {
            Ok(response) => Some((Ok(response), Some((stream, note)))),
            // Dropping the stream returns its permits before the status is sent.
            Err(error) => Some((Err(to_status_at(&error, stream.revision())), None)),
        }
    });
    Ok(Response::new(Box::pin(responses)))
}

async fn next(stream: &mut ChangeStream, note: &Arc<Note>) -> Result<EncodedChanges, Error> {
    let batch = stream.next().await?;
    let history = batch.history.to_string();
    let encoded = |named: &NamedChange| named.message(|| Ok(encode(&change(&history, named)?)));
    let changes = batch.changes.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
    note.sent(changes.len());
    STREAMS.sent.increment(changes.len() as u64);
    Ok(EncodedChanges {
        changes,
        revision: batch.head.number(),
        history,
    })
}

/// The changes of a batch, up to so many bytes; the first one whatever its size.
fn changes(batch: ChangeBatch, max_bytes: usize) -> Result<Vec<Change>, Error> {
    /// The tag and the length of a change in a message, and the rest of a message.
    const OVERHEAD: usize = 5;
    const REST: usize = 64;
    let history = batch.history.to_string();
    let mut changes = Vec::with_capacity(batch.changes.len());
    let mut bytes = REST;
    for named in &batch.changes {
        let change = change(&history, named)?;
        bytes += change.encoded_len() + OVERHEAD;
        if bytes > max_bytes && !changes.is_empty() {
            break;
        }
        changes.push(change);
    }
    Ok(changes)
}

fn change(history: &str, NamedChange { change, names, .. }: &NamedChange) -> Result<Change, Error> {
    let ChangeRecord {
        revision,
        at,
        kind,
        api_key,
        operator,
        request_id,
        customers_created,
        customers_updated,
        customers_deleted,
        devices_created,
        devices_updated,
        devices_deleted,
        assigned,
        unassigned,
    } = &**change;
    let (mut customers, mut devices) = (Vec::new(), Vec::new());
    if !names.is_empty() {
        let pairs = || assigned.iter().chain(unassigned);
        let of_customers = [customers_created, customers_updated, customers_deleted];
        let mut ids: Vec<_> = of_customers.into_iter().flatten().copied().collect();
        ids.extend(pairs().map(|(customer, _)| *customer));
        ids.sort_unstable();
        ids.dedup();
        customers.extend(ids.iter().filter_map(|id| {
            let email = names.get(&id.uuid())?.clone();
            let customer_id = id.to_string();
            Some(CustomerName { customer_id, email })
        }));
        let of_devices = [devices_created, devices_updated, devices_deleted];
        let mut ids: Vec<_> = of_devices.into_iter().flatten().copied().collect();
        ids.extend(pairs().map(|(_, device)| *device));
        ids.sort_unstable();
        ids.dedup();
        devices.extend(ids.iter().filter_map(|id| {
            let identifier = names.get(&id.uuid())?.clone();
            let device_id = id.to_string();
            Some(DeviceName { device_id, identifier })
        }));
    }
    Ok(Change {
        revision: revision.number(),
        history: history.to_owned(),
        at: precise_text(*at)?,
        kind: kind.clone(),
        actor: Some(Actor {
            api_key_id: api_key.map(|key| key.to_string()),
            operator: operator.clone(),
        }),
        request_id: request_id.clone().unwrap_or_default(),
        assigned: by_customer(assigned),
        unassigned: by_customer(unassigned),
        customers_created: texts(customers_created),
        customers_updated: texts(customers_updated),
        customers_deleted: texts(customers_deleted),
        devices_created: texts(devices_created),
        devices_updated: texts(devices_updated),
        devices_deleted: texts(devices_deleted),
        customers,
        devices,
    })
}

fn texts(ids: &[impl ToString]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// Consecutive pairs of the same customer together. The log has pairs in the order of their customers.
fn by_customer(pairs: &[Pair]) -> Vec<CustomerDevices> {
    let mut groups: Vec<(CustomerId, CustomerDevices)> = Vec::new();
    for (customer, device) in pairs {
        match groups.last_mut() {
            Some((last, group)) if last == customer => group.device_ids.push(device.to_string()),
            _ => {
                let group = CustomerDevices {
                    customer_id: customer.to_string(),
                    device_ids: vec![device.to_string()],
                };
                groups.push((*customer, group));
            }
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::{domain::id::DeviceId, storage::Names};

    fn ids<Id: From<Uuid>>(count: usize) -> Vec<Id> {
        (0..count).map(|_| Uuid::now_v7().into()).collect()
    }

    fn record(counts: [usize; 6], assigned: usize, unassigned: usize) -> ChangeRecord {
        let pairs = |count| {
            ids::<CustomerId>(count)
                .into_iter()
                .zip(ids::<DeviceId>(count))
                .collect()
        };
        ChangeRecord {
            revision: u64::MAX.into(),
            at: OffsetDateTime::UNIX_EPOCH + Duration::from_nanos(123_456_789),
            kind: "a kind with a name".to_owned(),
            api_key: Some(Uuid::now_v7().into()),
            operator: Some("o".repeat(64)),
            request_id: Some("r".repeat(64)),
            customers_created: ids(counts[0]),
            customers_updated: ids(counts[1]),
            customers_deleted: ids(counts[2]),
            devices_created: ids(counts[3]),
            devices_updated: ids(counts[4]),
            devices_deleted: ids(counts[5]),
            assigned: pairs(assigned),
            unassigned: pairs(unassigned),
        }
    }

    fn named(change: ChangeRecord) -> NamedChange {
        NamedChange::new(Arc::new(change), Arc::default())
    }

    proptest! {
        /// What pages and streams are bounded by.
        #[test]
        fn no_change_is_larger_than_estimated(
            counts in proptest::array::uniform6(0_usize..20), assigned in 0_usize..20, unassigned in 0_usize..20,
        ) {
            let record = record(counts, assigned, unassigned);
            let estimated = record.bytes();
            let history = "h".repeat(31);
            let message = change(&history, &named(record)).expect("a change");
            prop_assert!(message.encoded_len() <= estimated, "{} > {estimated}", message.encoded_len());
        }

        /// A page is the longest beginning that fits; the first change is in it whatever its size.
        #[test]
        fn a_page_is_cut_where_it_is_full(
            sizes in proptest::collection::vec(0_usize..40, 1..12), max_bytes in 0_usize..6_000,
        ) {
            let batch = ChangeBatch {
                history: Uuid::nil().into(),
                head: u64::MAX.into(),
                changes: sizes.iter().map(|size| named(record([0, 0, 0, *size, 0, 0], 0, 0))).collect(),
            };
            let all = changes(batch.clone(), usize::MAX).expect("changes");
            prop_assert_eq!(all.len(), sizes.len());
            let page = changes(batch, max_bytes).expect("changes");
            prop_assert!(!page.is_empty() && all.starts_with(&page));
            let bytes = |changes: &[Change]| changes.iter().map(|change| change.encoded_len() + 5).sum::<usize>() + 64;
            prop_assert!(page.len() == 1 || bytes(&page) <= max_bytes);
            prop_assert!(page.len() == all.len() || bytes(&all[..=page.len()]) > max_bytes);
        }
    }

    #[test]
    fn names_are_those_of_the_change() {
        let record = record([1, 0, 0, 1, 0, 0], 1, 0);
        let all: Names = record.ids().map(|id| (id, id.simple().to_string())).collect();
        let mut names = all.clone();
        names.insert(Uuid::nil(), "of another change".to_owned());
        let created = record.customers_created[0].uuid();
        names.remove(&created);
        let named = NamedChange::new(Arc::new(record), Arc::new(names));
        let message = change("h", &named).expect("a change");
        assert_eq!((message.customers.len(), message.devices.len()), (1, 2));
        assert_eq!(message.customers[0].customer_id, message.assigned[0].customer_id);
        assert!(
            message
                .devices
                .iter()
                .all(|device| all.values().any(|name| *name == device.identifier))
        );
    }

    #[test]
    fn consecutive_pairs_of_a_customer_are_together() {
        let (customers, devices) = (ids::<CustomerId>(2), ids::<DeviceId>(3));
        let pairs = [
            (customers[0], devices[0]),
            (customers[0], devices[1]),
            (customers[1], devices[2]),
        ];
        let groups = by_customer(&pairs);
        let counts: Vec<_> = groups.iter().map(|group| group.device_ids.len()).collect();
        assert_eq!(counts, [2, 1]);
        assert_eq!(groups[1].customer_id, customers[1].to_string());
        assert!(by_customer(&[]).is_empty());
    }
}
