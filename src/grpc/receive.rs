//! Receives the request of a call as a whole, and measures it before it is decoded.
//!
//! The generated decoder has no bounds on lists: 4 million empty identifiers fit into 8 MiB, and take 100 MiB once decoded.

use axum::body::{Body, Bytes};
use http::HeaderMap;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use tonic::{Status, metadata::MetadataValue};

use super::{method::Method, status::with_reason};
use crate::{
    body::{BodyError, BodyLimits, receive},
    domain::{
        Error, Field, Violations, change::MAX_PAIRS, device::DeviceIdentifier, transfer_devices::TransferDevices,
    },
    reason::Reason,
    shares::{Holder, Share},
};

/// The length of the prefix of a message: a flag for compression and the length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// The header that names the encoding of the messages, and the one that lists what the other side supports.
const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// The most that the identifier of a device takes in an answer: 4 bytes a character. What a request says of a device beside its
/// identifier is not in the answer.
const MAX_IDENTIFIER_BYTES: usize = 4 * DeviceIdentifier::MAX_CHARS;

/// The largest size of an answer without devices.
const ANSWER_BYTES: usize = 1_024;

/// The largest list of a customer's devices in an answer, in bytes: 10,000 identifiers of about 24 characters. It is reserved as a
/// whole, and the list is cut there.
pub(super) const LIST_BYTES: usize = 256 * 1024;

/// A request that has arrived.
pub(super) struct Received {
    /// Its body: the prefix and the message.
    pub(super) body: Bytes,
    /// The field that lists devices.
    pub(super) list: Field,
    /// The number of devices in it.
    pub(super) devices: usize,
    /// The bytes that they take in the message.
    device_bytes: usize,
    /// What is reserved for each of them in the answer, in addition.
    answer_bytes_per_device: usize,
    /// What is reserved for a list in the answer.
    list_bytes: usize,
    /// Whether the answer lists the previous owners of each device.
    lists_previous_owners: bool,
}

/// Rejects a compressed message, with the list of what is supported (gRPC, "Compression"). Its size is known only after it has
/// been decompressed, and every bound of the service is one on the size.
///
/// # Errors
/// UNIMPLEMENTED when the call names an encoding other than `identity`.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Status> {
    const IDENTITY: &str = "identity";
    if headers.get(ENCODING).is_none_or(|encoding| encoding == IDENTITY) {
        return Ok(());
    }
    let sentence = "Compressed requests are not supported; send the message uncompressed".to_owned();
    let mut status = with_reason(Reason::UnsupportedEncoding, sentence, []);
    status
        .metadata_mut()
        .insert(ACCEPT_ENCODING, MetadataValue::from_static(IDENTITY));
    Err(status)
}

/// Receives the request of a call. `share` accounts for it while it arrives.
///
/// # Errors
/// As [`BodyError`] says.
pub(super) async fn request(
    method: Option<&Method>,
    body: Body,
    limits: BodyLimits,
    share: &mut Share<Holder>,
) -> Result<Received, BodyError> {
    let limits = BodyLimits {
        max_bytes: limits.max_bytes.saturating_add(PREFIX),
        ..limits
    };
    let body = receive(body, limits, share).await?;
    let message = body.get(PREFIX..).unwrap_or_default();
    let list = method.and_then(|method| method.device_list);
    let (devices, device_bytes) = list.map_or((0, 0), |field| measure(message, field));
    let flag = method.and_then(|method| method.remaining_flag);
    // A flag that is false is absent, or written by a client that gains nothing by it.
    let lists_remaining = flag.is_some_and(|field| measure(message, field).0 > 0);
    let list_bytes = if lists_remaining {
        LIST_BYTES
    } else {
        method.map_or(0, |method| method.list_bytes)
    };
    Ok(Received {
        body,
        list: method.map_or(Field::DeviceIdentifiers, |method| method.list_name),
        devices,
        answer_bytes_per_device: method.map_or(0, |method| method.answer_bytes_per_device),
        device_bytes: device_bytes.min(devices.saturating_mul(MAX_IDENTIFIER_BYTES)),
        list_bytes,
        lists_previous_owners: method.is_some_and(|method| method.lists_previous_owners),
    })
}

impl Received {
    /// Reserves the largest possible answer in `share`, so that every call that is carried out can also be answered.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] when the answer could be larger than `max_bytes`, [`Error::NoRoom`] when the
    /// bytes in flight do not allow it now.
    pub(super) fn reserve_answer(&self, max_bytes: usize, share: &mut Share<Holder>) -> Result<(), Error> {
        let answer = self.devices * self.answer_bytes_per_device + self.device_bytes + ANSWER_BYTES;
        let answer = answer + self.previous_owner_bytes();
        if answer > max_bytes {
            return Err(Error::InvalidRequest(Violations::response_too_large(
                self.list, max_bytes,
            )));
        }
        // The list is cut where the answer would be too large.
        let answer = max_bytes.min(answer + self.list_bytes);
        if share.grow(answer) { Ok(()) } else { Err(Error::NoRoom) }
    }

    /// The most bytes that the previous owners of the devices take in the answer: their ids, and a number for each device.
    fn previous_owner_bytes(&self) -> usize {
        /// An id of 31 bytes, a tag and a length.
        const OWNER: usize = 33;
        /// A tag and a number.
        const COUNT: usize = 3;
        if !self.lists_previous_owners {
            return 0;
        }
        let owners = MAX_PAIRS.min(self.devices.saturating_mul(TransferDevices::MAX_PREVIOUS_OWNERS));
        owners * OWNER + self.devices * COUNT
    }
}

/// How often `field` occurs in `message`, and how many bytes it takes, up to the first error. The decoder rejects a message with
/// an error.
fn measure(mut message: &[u8], field: u32) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    let mut before = message.len();
    while let Ok((number, wire_type)) = decode_key(&mut message) {
        if skip_field(wire_type, number, &mut message, DecodeContext::default()).is_err() {
            break;
        }
        if number == field {
            count += 1;
            bytes += before - message.len();
        }
        before = message.len();
    }
    (count, bytes)
}

/// Measures a message and decodes it: both must find the same list. For the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz<M: prost::Message + Default + PartialEq>(message: &[u8], field: u32, count: fn(&M) -> usize) {
    let (measured, bytes) = measure(message, field);
    assert!(measured <= message.len() && bytes <= message.len());
    if let Ok(decoded) = M::decode(message) {
        assert_eq!(measured, count(&decoded), "the length of the list");
        let again = M::decode(decoded.encode_to_vec().as_slice());
        assert!(
            again.is_ok_and(|again| again == decoded),
            "encoded again, it is the same message"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::{
        grpc::method::ANSWER_BYTES_PER_DEVICE,
        pb::{AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse, AssignedDevice},
        shares::Shares,
    };

    fn received(message: &AssignDevicesToOwnerRequest) -> Received {
        let message = message.encode_to_vec();
        let (devices, device_bytes) = measure(&message, 2);
        let body = [&[0; PREFIX], &message[..]].concat().into();
        Received {
            body,
            list: Field::DeviceIdentifiers,
            devices,
            device_bytes,
            answer_bytes_per_device: ANSWER_BYTES_PER_DEVICE,
            list_bytes: 0,
            lists_previous_owners: false,
        }
    }

    proptest! {
        #[test]
        fn identifiers_are_counted_without_decoding(
            customer_email in ".{0,20}",
            device_identifiers in proptest::collection::vec(".{0,6}", 0..40),
            auto_create_devices: bool,
            device_type in proptest::option::of(".{0,5}"),
            validate_only: bool,
        ) {
            let count = device_identifiers.len();
            let message = AssignDevicesToOwnerRequest {
                customer_email, device_identifiers, auto_create_devices, device_type, validate_only,
            };
            prop_assert_eq!(received(&message).devices, count);
        }

        #[test]
        fn whatever_arrives_is_counted(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (count, bytes) = measure(&message, 2);
            prop_assert!(count <= bytes && bytes <= message.len());
        }

        /// The bound is one: of all answers the largest.
        #[test]
        fn no_answer_is_larger_than_what_is_reserved(
            identifiers in proptest::collection::vec(".{1,255}", 1..30),
        ) {
            let answer = AssignDevicesToOwnerResponse {
                success: true,
                message: format!("Successfully assigned {} device(s) to customer", u64::MAX),
                customer_id: "c".repeat(31),
                customer_was_created: true,
                assigned_devices: identifiers.iter().map(|identifier| AssignedDevice {
                    identifier: identifier.clone(),
                    device_id: "d".repeat(30),
                    was_created: true,
                }).collect(),
                already_assigned: Vec::new(),
                skipped: Vec::new(),
            };
            let message = AssignDevicesToOwnerRequest {
                device_identifiers: identifiers,
                ..AssignDevicesToOwnerRequest::default()
            };
            let shares = Shares::new(usize::MAX);
            let mut share = shares.empty(Holder::Network(None));
            prop_assert!(received(&message).reserve_answer(usize::MAX, &mut share).is_ok());
            prop_assert!(answer.encoded_len() + PREFIX <= shares.total());
        }
    }
}
