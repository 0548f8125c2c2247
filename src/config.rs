//! Settings: read from flags, environment variables, a TOML file and defaults, in this order of precedence.
//!
//! [`settings`] declares each setting once. Flags, `--help`, names in the file, the template of a file and the typed values
//! follow from that. A rule about several settings is a [`Conflict`].

mod conflicts;
mod file;
mod parsers;
mod read;
mod settings;
mod template;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::file::fuzz as fuzz_settings_file;
pub use self::{
    conflicts::Conflict,
    parsers::AdminAddr,
    read::{ReadError, read},
    settings::{
        AdminConfig, BulkConfig, ClientConfig, DatabaseConfig, EMBEDDED_DATABASE, GatewayConfig, LogFormat,
        ProcessConfig, RateLimitsConfig, ServeConfig, ServerConfig, TargetConfig, TlsConfig, TraceConfig,
        WebhookConfig,
    },
    template::template,
};
