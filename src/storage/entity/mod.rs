//! The tables as sea-orm entities. The key of every table but `organization` starts with the organization's id.
#![expect(
    missing_docs,
    reason = "the columns are described where they are defined, in the migrations"
)]

pub mod api_key;
pub mod customer;
pub mod device;
pub mod device_assignment;
pub mod organization;
