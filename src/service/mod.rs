//! The use cases: who is calling, what is asked, handed to the database. No wire forms, no SQL.

mod api_key;
mod assign_devices;
mod audit;
mod authenticate;
mod check_credentials;
mod existing_keys;
mod failed_keys;
mod import_devices;
mod key_usage;
mod limits;
mod organization;
mod ownership;

use std::{sync::Arc, time::Duration};

use crate::{
    log_sampler::LogSampler,
    storage::{Database, Writer, WriterSettings},
};

pub use crate::storage::KeyOwner;
pub use api_key::{NewApiKey, api_keys, create_api_key, revoke_api_key};
pub use assign_devices::AssignDevicesRequest;
pub use authenticate::{Caller, Origin};
pub use import_devices::{ImportError, ImportEvent, ImportReport, import_devices};
pub use key_usage::KeyUsageSettings;
pub use limits::{Allowance, InFlightPermit, Limit, LimitSettings};
pub use organization::{create_organization, organizations};
pub use ownership::{Customer, Device, customer, customer_devices, device, device_owners};

/// What the service allows itself and its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The most device identifiers in one request, counted before repeated ones are folded.
    pub max_devices_per_request: usize,
    /// How long a key is trusted before the database is asked again. A revoked key works no longer than this and the time
    /// that asking takes, which storage bounds by 3 s.
    pub key_cache_ttl: Duration,
    /// How the use of keys is watched.
    pub key_usage: KeyUsageSettings,
    /// What keys and addresses may take.
    pub limits: LimitSettings,
    /// How much the writer takes on.
    pub writer: WriterSettings,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            max_devices_per_request: 10_000,
            key_cache_ttl: Duration::from_secs(2),
            key_usage: KeyUsageSettings::default(),
            limits: LimitSettings::default(),
            writer: WriterSettings::default(),
        }
    }
}

/// What callers with an API key can ask for.
#[derive(Debug)]
pub struct Service {
    settings: ServiceSettings,
    keys: authenticate::Keys,
    failed_keys: failed_keys::FailedKeys,
    key_usage: key_usage::KeyUsage,
    limits: limits::Limits,
    log_sampler: Arc<LogSampler>,
    writer: Writer,
}

impl Service {
    /// Starts the service over a database whose schema is up to date. `log_sampler` is that of the process.
    pub fn start(database: Database, settings: ServiceSettings, log_sampler: Arc<LogSampler>) -> Self {
        let writer = Writer::start(&database, settings.writer);
        Self {
            settings,
            keys: authenticate::Keys::new(database.clone(), settings.key_cache_ttl),
            failed_keys: failed_keys::FailedKeys::new(settings.limits.failed_keys),
            key_usage: key_usage::KeyUsage::start(database, settings.key_usage),
            limits: limits::Limits::new(settings.limits),
            log_sampler,
            writer,
        }
    }

    /// Which lines about calls without a known caller are logged.
    pub fn log_sampler(&self) -> &LogSampler {
        &self.log_sampler
    }

    /// Takes no further commands, and returns when those that wait are answered and the use of keys is stored, if it can be.
    pub async fn close(&self) {
        tokio::join!(self.writer.close(), self.key_usage.close());
    }
}
