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
fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    use serde::{Deserialize, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number<'a> {
        Number(u64),
        Text(std::borrow::Cow<'a, str>),
    }

    match Option::deserialize(deserializer)? {
        None => Ok(0),
        Some(Number::Number(number)) => Ok(number),
        Some(Number::Text(text)) => parse_number(&text).ok_or_else(|| D::Error::custom("not a number")),
    }
}

/// The number that these digits are.
#[cfg(feature = "server")]
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    // `parse` would accept a sign, too.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}
