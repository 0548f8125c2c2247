//! `BatchGetDeviceOwners`: message to request, devices to message.

use prost::Message;
use tonic::{Request, Response, Status};

use super::{Admitted, admitted, revision::response_at, status::to_status, timestamp::text};
use crate::{
    domain::{
        Error,
        device::DeviceIdentifier,
        device_owners::{OwnedDevice, Owner},
    },
    pb::{BatchGetDeviceOwnersRequest, BatchGetDeviceOwnersResponse, DeviceOwner, DeviceOwners},
    service::{BatchGetDeviceOwnersCall, FoundDevices, Service},
};

/// The tag and the length of an entry of a list, in bytes.
const OVERHEAD: usize = 6;

pub(super) async fn handle(
    service: &Service,
    request: Request<BatchGetDeviceOwnersRequest>,
    max_bytes: usize,
) -> Result<Response<BatchGetDeviceOwnersResponse>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let answered = async {
        let found = service.batch_get_device_owners(&caller, &message.into()).await?;
        let revision = found.revision;
        Ok(response_at(
            revision,
            answer(found.value, revision.number(), max_bytes)?,
        ))
    };
    answered.await.map_err(|error: Error| to_status(&error))
}

impl From<BatchGetDeviceOwnersRequest> for BatchGetDeviceOwnersCall {
    fn from(message: BatchGetDeviceOwnersRequest) -> Self {
        Self {
            device_identifiers: message.device_identifiers,
            min_revision: message.min_revision,
        }
    }
}

fn answer(found: FoundDevices, revision: u64, max_bytes: usize) -> Result<BatchGetDeviceOwnersResponse, Error> {
    let devices = found.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let mut answer = BatchGetDeviceOwnersResponse { devices, revision };
    let bytes = answer.encoded_len();
    if bytes > max_bytes {
        let owners = answer.devices.iter().flat_map(|device| &device.owners);
        let of_owners: usize = owners.map(|owner| owner.encoded_len() + OVERHEAD).sum();
        cut_owners(&mut answer.devices, (max_bytes + of_owners).saturating_sub(bytes));
    }
    Ok(answer)
}

/// Keeps as many owners as fit in so many bytes.
fn cut_owners(devices: &mut [DeviceOwners], mut left: usize) {
    for device in devices {
        let fit = device.owners.iter().take_while(|owner| {
            let rest = left.checked_sub(owner.encoded_len() + OVERHEAD);
            left = rest.unwrap_or_default();
            rest.is_some()
        });
        let fit = fit.count();
        device.has_more_owners |= fit < device.owners.len();
        device.owners.truncate(fit);
    }
}

fn entry((identifier, device): (DeviceIdentifier, Option<OwnedDevice>)) -> Result<DeviceOwners, Error> {
    let Some(device) = device else {
        return Ok(DeviceOwners {
            identifier: identifier.into(),
            ..DeviceOwners::default()
        });
    };
    Ok(DeviceOwners {
        identifier: identifier.into(),
        found: true,
        device_id: device.id.to_string(),
        r#type: device.device_type,
        owners: device.owners.into_iter().map(owner).collect::<Result<_, _>>()?,
        has_more_owners: device.has_more_owners,
    })
}

pub(super) fn owner(owner: Owner) -> Result<DeviceOwner, Error> {
    Ok(DeviceOwner {
        customer_id: owner.id.to_string(),
        email: owner.email,
        assigned_at: text(owner.assigned_at)?,
    })
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_answer_lists_as_many_owners_as_fit() {
        let owner = || Owner {
            id: Uuid::nil().into(),
            email: "a".repeat(254),
            assigned_at: OffsetDateTime::UNIX_EPOCH,
        };
        let found = || {
            let device = |name: &str| {
                let device = OwnedDevice {
                    id: Uuid::nil().into(),
                    device_type: "sensor".into(),
                    owners: (0..10).map(|_| owner()).collect(),
                    has_more_owners: false,
                };
                (DeviceIdentifier::parse(name).expect("an identifier"), Some(device))
            };
            vec![device("SN-1"), device("SN-2")]
        };
        let all = answer(found(), u64::MAX, usize::MAX).expect("an answer");
        assert!(
            all.devices
                .iter()
                .all(|device| device.owners.len() == 10 && !device.has_more_owners)
        );
        for max_bytes in [200, 1_000, 4_000, all.encoded_len() - 1, all.encoded_len()] {
            let cut = answer(found(), u64::MAX, max_bytes).expect("an answer");
            let listed: usize = cut.devices.iter().map(|device| device.owners.len()).sum();
            assert!(cut.encoded_len() <= max_bytes, "{max_bytes}");
            assert!(cut.encoded_len() + 700 > max_bytes, "{max_bytes}: {listed}");
            for device in cut.devices {
                assert_eq!(device.has_more_owners, device.owners.len() < 10);
            }
        }
    }
}
