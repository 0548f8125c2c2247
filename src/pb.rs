//! The messages of the proto, generated; with the feature `client` also a client of the service.
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use device_assignment::pb::{
//!     AssignDevicesToOwnerRequest, device_assignment_service_client::DeviceAssignmentServiceClient,
//! };
//!
//! let mut client = DeviceAssignmentServiceClient::connect("http://127.0.0.1:50051").await?;
//! let mut request = tonic::Request::new(AssignDevicesToOwnerRequest {
//!     customer_email: "john.doe@example.com".into(),
//!     device_identifiers: vec!["SN-001".into(), "SN-002".into()],
//!     ..Default::default()
//! });
//! request.metadata_mut().insert("x-api-key", std::env::var("DEVICE_ASSIGNMENT_API_KEY")?.parse()?);
//! request.set_timeout(Duration::from_secs(10));
//! let response = client.assign_devices_to_owner(request).await?.into_inner();
//! println!("{}", response.message);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/rust/` also retries and reads the field violations of an error.
#![cfg_attr(
    feature = "client",
    expect(clippy::allow_attributes_without_reason, reason = "generated")
)]
#![cfg_attr(feature = "server", expect(clippy::allow_attributes, reason = "generated"))]

include!(concat!(env!("OUT_DIR"), "/telemetron.device_assignment.v1.rs"));

/// The descriptors of the proto files, for reflection.
#[cfg(feature = "server")]
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// In JSON, null means that the field is absent.
#[cfg(feature = "server")]
fn null_as_absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    use serde::Deserialize;
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// JSON has 64-bit integers as strings, because numbers of JavaScript are exact up to 53 bits only (ProtoJSON).
#[cfg(feature = "server")]
fn number_as_text<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// A 64-bit integer as a string of digits or as a number. Null means that the field is absent.
#[cfg(feature = "server")]
pub(crate) fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    use serde::{Deserialize, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given<'a> {
        Integer(u64),
        Decimal(f64),
        Text(std::borrow::Cow<'a, str>),
    }

    let number = match Option::deserialize(deserializer)? {
        None => Some(0),
        Some(Given::Integer(number)) => Some(number),
        Some(Given::Decimal(number)) => whole_number(number),
        Some(Given::Text(text)) => parse_number(&text),
    };
    number.ok_or_else(|| D::Error::custom("not a number"))
}

/// A 32-bit integer. Null means that the field is absent.
#[cfg(feature = "server")]
fn integer<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    use serde::{Deserialize, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Integer(i32),
        Decimal(f64),
    }

    let number = match Option::deserialize(deserializer)? {
        None => Some(0),
        Some(Given::Integer(number)) => Some(number),
        Some(Given::Decimal(number)) => whole_number(number),
    };
    number.ok_or_else(|| D::Error::custom("not an integer"))
}

/// The integer that a number is, if it has no fraction: JSON does not tell 71.0 from 71.
#[cfg(feature = "server")]
pub(crate) fn whole_number<T: std::str::FromStr>(number: f64) -> Option<T> {
    let is_whole = number.fract() == 0.0;
    number.to_string().parse().ok().filter(|_| is_whole)
}

/// The number that these digits are.
#[cfg(feature = "server")]
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    // `parse` would accept a sign, too.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// A JSON value as its text, byte for byte. Null means that the field is absent.
#[cfg(feature = "server")]
fn json_as_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    use serde::Deserialize;
    let value = Option::<Box<serde_json::value::RawValue>>::deserialize(deserializer)?;
    Ok(value.map(|value| value.get().to_owned()))
}

/// The text of a JSON value as this value, byte for byte.
#[cfg(feature = "server")]
fn text_as_json<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::{Serialize, ser::Error};
    let value = serde_json::value::RawValue::from_string(text.to_owned()).map_err(S::Error::custom)?;
    value.serialize(serializer)
}

/// Metadata by identifier: an object, whose members keep their order. The service rejects repeated ones.
#[cfg(feature = "server")]
fn metadata_by_identifier<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<DeviceMetadata>, D::Error> {
    use serde::de::{MapAccess, Visitor};
    use serde_json::value::RawValue;

    struct Metadata;

    impl<'de> Visitor<'de> for Metadata {
        type Value = Vec<DeviceMetadata>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object mapping identifiers to metadata")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut devices = Vec::new();
            while let Some((identifier, metadata)) = members.next_entry::<String, Box<RawValue>>()? {
                let metadata_json = metadata.get().to_owned();
                devices.push(DeviceMetadata {
                    identifier,
                    metadata_json,
                });
            }
            Ok(devices)
        }
    }

    deserializer.deserialize_map(Metadata)
}
