//! The contract as Rust: the messages of the proto, and with the feature `client` a client to call the service with.
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
//! let answer = client.assign_devices_to_owner(request).await?.into_inner();
//! println!("{}", answer.message);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/rust/` makes the call again when that helps, and reads what is wrong with which field.
#![cfg_attr(
    feature = "client",
    expect(clippy::allow_attributes_without_reason, reason = "generated")
)]
#![cfg_attr(feature = "server", expect(clippy::allow_attributes, reason = "generated"))]

include!(concat!(env!("OUT_DIR"), "/telemetron.device_assignment.v1.rs"));

/// The descriptors of all of it, for reflection.
#[cfg(feature = "server")]
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// In the JSON form of a message, null is absent.
#[cfg(feature = "server")]
fn null_as_absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    use serde::Deserialize;
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
