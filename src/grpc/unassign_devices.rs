//! `UnassignDevicesFromOwner` and `UnassignDeviceFromOwner`: message to request, outcome to message.

use prost::Message;
use tonic::{Request, Response, Status};

use super::{admitted, identifiers::that_fit, receive::LIST_BYTES};
use crate::{
    domain::{
        device::DeviceIdentifier,
        unassign_devices::{Outcome, UnassignDevices},
    },
    pb::{
        UnassignDeviceFromOwnerRequest, UnassignDeviceFromOwnerResponse, UnassignDevicesFromOwnerRequest,
        UnassignDevicesFromOwnerResponse,
    },
    service::{Service, UnassignDeviceRequest, UnassignDevicesRequest},
};

pub(super) async fn many(
    service: &Service,
    request: Request<UnassignDevicesFromOwnerRequest>,
    max_bytes: usize,
) -> Result<Response<UnassignDevicesFromOwnerResponse>, Status> {
    let (call, message) = admitted(request)?;
    let answer = move |outcome| answer_to_many(outcome, max_bytes);
    let write = call.write(&message, answer)?;
    let written = service.unassign_devices(&write, &message.into()).await;
    call.respond::<UnassignDevices, _>(written, answer)
}

pub(super) async fn one(
    service: &Service,
    request: Request<UnassignDeviceFromOwnerRequest>,
    max_bytes: usize,
) -> Result<Response<UnassignDeviceFromOwnerResponse>, Status> {
    let (call, message) = admitted(request)?;
    let answer = move |outcome| answer_to_one(outcome, max_bytes);
    let write = call.write(&message, answer)?;
    let written = service.unassign_device(&write, &message.into()).await;
    call.respond::<UnassignDevices, _>(written, answer)
}

impl From<UnassignDevicesFromOwnerRequest> for UnassignDevicesRequest {
    fn from(message: UnassignDevicesFromOwnerRequest) -> Self {
        Self {
            customer_email: message.customer_email,
            device_identifiers: message.device_identifiers,
            include_remaining: message.include_remaining,
            validate_only: message.validate_only,
        }
    }
}

impl From<UnassignDeviceFromOwnerRequest> for UnassignDeviceRequest {
    fn from(message: UnassignDeviceFromOwnerRequest) -> Self {
        Self {
            customer_email: message.customer_email,
            device_identifier: message.device_identifier,
            include_remaining: message.include_remaining,
            validate_only: message.validate_only,
        }
    }
}

fn answer_to_many(outcome: Outcome, max_bytes: usize) -> UnassignDevicesFromOwnerResponse {
    let (unassigned, skipped): (Vec<_>, Vec<_>) = outcome
        .devices
        .into_iter()
        .partition(|(_, was_unassigned)| *was_unassigned);
    let count = unassigned.len();
    let mut answer = UnassignDevicesFromOwnerResponse {
        success: true,
        message: format!("Successfully unassigned {count} device(s) from customer"),
        customer_id: outcome.customer_id.to_string(),
        unassigned_devices: identifiers(unassigned),
        skipped: identifiers(skipped),
        devices_remaining: Vec::new(),
        devices_remaining_count: number(outcome.remaining.count),
    };
    answer.devices_remaining = that_fit(
        outcome.remaining.identifiers,
        LIST_BYTES.min(max_bytes.saturating_sub(answer.encoded_len())),
    );
    answer
}

fn answer_to_one(outcome: Outcome, max_bytes: usize) -> UnassignDeviceFromOwnerResponse {
    let mut answer = UnassignDeviceFromOwnerResponse {
        success: true,
        message: "Device successfully unassigned from customer".into(),
        customer_id: outcome.customer_id.to_string(),
        device_identifier: identifiers(outcome.devices).pop().unwrap_or_default(),
        devices_remaining: Vec::new(),
        devices_remaining_count: number(outcome.remaining.count),
    };
    answer.devices_remaining = that_fit(
        outcome.remaining.identifiers,
        LIST_BYTES.min(max_bytes.saturating_sub(answer.encoded_len())),
    );
    answer
}

fn identifiers(devices: Vec<(DeviceIdentifier, bool)>) -> Vec<String> {
    devices.into_iter().map(|(identifier, _)| identifier.into()).collect()
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::unassign_devices::Remaining;

    #[test]
    fn an_answer_lists_as_many_remaining_devices_as_fit() {
        let outcome = |count: usize| Outcome {
            customer_id: Uuid::nil().into(),
            devices: vec![(DeviceIdentifier::parse("SN-1").expect("an identifier"), true)],
            remaining: Remaining {
                identifiers: (0..count).map(|number| format!("{number:0>255}")).collect(),
                count,
            },
        };
        let max_bytes = 10_000;
        let many = answer_to_many(outcome(100), max_bytes);
        let one = answer_to_one(outcome(100), max_bytes);
        for (listed, count, bytes) in [
            (
                many.devices_remaining.len(),
                many.devices_remaining_count,
                many.encoded_len(),
            ),
            (
                one.devices_remaining.len(),
                one.devices_remaining_count,
                one.encoded_len(),
            ),
        ] {
            assert_eq!((listed, count), (38, 100));
            assert!(bytes <= max_bytes && bytes + 258 > max_bytes, "{bytes}");
        }
        assert_eq!(answer_to_many(outcome(38), max_bytes).devices_remaining.len(), 38);
        assert_eq!(answer_to_one(outcome(38), 100).devices_remaining, [""; 0]);
    }
}
