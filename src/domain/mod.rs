//! Devices, customers and assignments, and the rules about them. Pure: no wire formats, no SQL, no clock.

pub mod api_key;
pub mod assign_devices;
pub mod device;
pub mod email;
mod error;
pub mod id;
pub mod organization;
pub mod plan;
mod text;
mod violations;

pub use error::{Cause, Error, Metered};
pub use text::InvalidText;
pub use violations::{Field, FieldProblem, Violation, Violations};
