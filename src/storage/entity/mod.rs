//! The tables as sea-orm entities, for reads, and for creating organizations and API keys. Except in `organization`, every
//! primary key starts with the organization's id.
#![expect(
    missing_docs,
    reason = "the columns are described where they are defined, in the migrations"
)]

pub mod api_key;
pub mod change_log;
pub mod customer;
pub mod device;
pub mod device_assignment;
pub mod history;
pub mod organization;
