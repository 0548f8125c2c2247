//! The use cases: who calls and what they ask, handed to the database. No wire formats, no SQL.

mod api_key;
mod assign_device;
mod assign_devices;
mod audit;
mod authenticate;
mod batch_get_device_owners;
mod bulk_update_metadata;
mod changes;
mod check_credentials;
mod create_or_update_customer;
mod create_or_update_device;
mod delete_customer;
mod delete_device;
mod existing_keys;
mod failed_keys;
mod get_customer;
mod get_device;
mod history;
mod import_devices;
mod key_usage;
mod limits;
mod list_customers;
mod list_device_owners;
mod list_devices;
mod list_owner_devices;
mod organization;
mod ownership;
mod personal_data;
mod stored_answers;
mod submit;
mod transfer_devices;
mod unassign_devices;
mod verify;

use std::{sync::Arc, time::Duration};

use crate::{
    log_sampler::LogSampler,
    storage::{Database, Reads, Writer, WriterSettings},
    supervision::Supervisor,
};

pub use crate::storage::{ChangeRecord, Completed, KeyOwner, ReadAt};
pub use api_key::{NewApiKey, api_keys, create_api_key, revoke_api_key};
pub use assign_device::AssignDeviceRequest;
pub use assign_devices::AssignDevicesRequest;
pub use authenticate::{Caller, Origin};
pub use batch_get_device_owners::{BatchGetDeviceOwnersCall, FoundDevices};
pub use bulk_update_metadata::BulkUpdateMetadataRequest;
pub use changes::{
    ChangeBatch, ChangeStream, ListChangesRequest, MAX_PAGE_BYTES, NamedChange, StreamSettings, WatchChangesRequest,
};
pub use create_or_update_customer::CreateOrUpdateCustomerRequest;
pub use create_or_update_device::CreateOrUpdateDeviceRequest;
pub use delete_customer::DeleteCustomerRequest;
pub use delete_device::DeleteDeviceRequest;
pub use history::begin_history;
pub use import_devices::{ImportError, ImportEvent, ImportReport, import_devices};
pub use key_usage::KeyUsageSettings;
pub use limits::{Allowance, InFlightPermit, Limit, LimitSettings};
pub use list_customers::ListCustomersCall;
pub use list_device_owners::ListDeviceOwnersCall;
pub use list_devices::ListDevicesCall;
pub use list_owner_devices::ListOwnerDevicesCall;
pub use organization::{create_organization, organizations};
pub use ownership::{Customer, Device, customer, customer_devices, device, device_owners};
pub use submit::{WriteCall, Written};
pub use transfer_devices::TransferDevicesRequest;
pub use unassign_devices::{UnassignDeviceRequest, UnassignDevicesRequest};
pub use verify::{VerifiedOrganization, verify};

/// The settings of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The most device identifiers in one request; repeated ones count.
    pub max_devices_per_request: usize,
    /// How long a key is cached. A revoked key works at most for this time plus that of one query, which storage limits to 3
    /// s.
    pub key_cache_ttl: Duration,
    /// How the use of keys is recorded.
    pub key_usage: KeyUsageSettings,
    /// The limits of keys and addresses.
    pub limits: LimitSettings,
    /// How many streams of changes may be open.
    pub streams: StreamSettings,
    /// The settings of the writer.
    pub writer: WriterSettings,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            max_devices_per_request: 10_000,
            key_cache_ttl: Duration::from_secs(2),
            key_usage: KeyUsageSettings::default(),
            limits: LimitSettings::default(),
            streams: StreamSettings::default(),
            writer: WriterSettings::default(),
        }
    }
}

/// The use cases of callers with an API key.
#[derive(Debug)]
pub struct Service {
    settings: ServiceSettings,
    database: Database,
    keys: authenticate::Keys,
    failed_keys: failed_keys::FailedKeys,
    key_usage: key_usage::KeyUsage,
    _personal_data: personal_data::PersonalData,
    _stored_answers: stored_answers::StoredAnswers,
    rate_limiter: limits::RateLimiter,
    log_sampler: Arc<LogSampler>,
    reads: Reads,
    changes: Arc<changes::Changes>,
    writer: Writer,
}

impl Service {
    /// Starts the service over a database whose schema is up to date. `log_sampler` and `supervisor` are those of
    /// the process.
    pub fn start(
        database: Database,
        settings: ServiceSettings,
        log_sampler: Arc<LogSampler>,
        supervisor: &Supervisor,
    ) -> Self {
        let writer = Writer::start(&database, settings.writer, supervisor);
        let reads = Reads::new(database.clone());
        let stored_answers = stored_answers::StoredAnswers::start(&database, supervisor);
        let changes = changes::Changes::start(database.clone(), reads.clone(), settings.streams, supervisor);
        Self {
            settings,
            database: database.clone(),
            changes: Arc::new(changes),
            keys: authenticate::Keys::new(database.clone(), settings.key_cache_ttl),
            failed_keys: failed_keys::FailedKeys::new(settings.limits.failed_keys),
            key_usage: key_usage::KeyUsage::start(database.clone(), settings.key_usage, supervisor),
            _personal_data: personal_data::PersonalData::start(database, supervisor),
            _stored_answers: stored_answers,
            rate_limiter: limits::RateLimiter::new(settings.limits),
            log_sampler,
            reads,
            writer,
        }
    }

    /// The sampler of log lines about unauthenticated calls.
    pub fn log_sampler(&self) -> &Arc<LogSampler> {
        &self.log_sampler
    }

    /// Accepts no further commands. Returns when the waiting ones are answered and the use of keys is stored, if possible.
    pub async fn close(&self) {
        tokio::join!(self.writer.close(), self.key_usage.close());
    }
}
