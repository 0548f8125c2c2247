//! The database: connections, schema, entities, statements, and the workers that write.

mod api_key;
mod backend;
mod commit;
mod connect;
mod device;
pub mod entity;
mod error;
mod file;
mod find;
mod health;
mod job;
mod migrate;
mod options;
mod organization;
mod ownership;
mod sql;
mod statement_kind;
mod statements;
mod url;
mod verify;
mod write_changes;
mod write_connection;
mod writer;

pub use api_key::{ApiKeyRecord, KeyOwner, KeyUse, RevokedKey};
pub use connect::Database;
pub use device::DeviceImport;
pub use error::DatabaseError;
pub use file::FileError;
pub use health::{Health, HealthSettings, watch};
pub use migrate::{SchemaStatus, migrate, schema_status};
pub use options::Purpose;
pub use organization::OrganizationRecord;
pub use ownership::{Assigned, CustomerRecord, DeviceRecord};
pub use url::{DatabaseUrl, InvalidDatabaseUrl};
pub use verify::Difference;
pub use writer::{Completed, PendingOutcome, Writer, WriterSettings};
