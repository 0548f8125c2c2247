//! Devices, customers and assignments, and the rules about them. Pure: no wire formats, no SQL, no clock.

pub mod api_key;
pub mod assign_devices;
pub mod bulk_update_metadata;
pub mod change;
pub mod command;
pub mod create_or_update_customer;
pub mod create_or_update_device;
pub mod customer;
pub mod delete_customer;
pub mod delete_device;
pub mod device;
pub mod device_owners;
pub mod email;
mod error;
pub mod get_customer;
pub mod get_device;
pub mod id;
pub mod import_devices;
pub mod json_object;
pub mod list_customers;
pub mod list_device_owners;
pub mod list_devices;
pub mod list_owner_devices;
pub mod organization;
pub mod page;
pub mod state;
mod tally;
mod text;
pub mod unassign_devices;
mod violations;

pub use error::{Cause, Error, Metered};
pub use json_object::InvalidJson;
pub use tally::Tally;
pub use text::InvalidText;
pub use violations::{Field, FieldProblem, Violation, Violations};
