//! The database: connections, schema, entities, statements, and the lanes that write.

mod api_key;
mod assign_devices;
mod attempts;
mod connect;
mod device;
pub mod entity;
mod error;
mod file;
mod health;
mod migrate;
mod observed;
mod organization;
mod ownership;
mod session;
mod sql;
mod url;
mod writer;

pub use api_key::{ApiKeyRecord, KeyOwner, KeyUse, RevokedKey};
pub use connect::Database;
pub use device::{DeviceImport, Imported};
pub use error::DatabaseError;
pub use file::FileError;
pub use health::{Health, HealthSettings, watch};
pub use migrate::{SchemaStatus, migrate, schema_status};
pub use organization::OrganizationRecord;
pub use ownership::{Assigned, CustomerRecord, DeviceRecord};
pub use url::{DatabaseUrl, InvalidDatabaseUrl};
pub use writer::{Answer, Writer, WriterSettings};
