//! The service that a command calls.

use std::{env, fs, path::Path};

use super::CommandError;
use crate::{client::Target, config::TargetConfig};

/// Where the key is, unless a file has it. Never a flag: everybody on the machine can see flags.
pub(super) const KEY_VARIABLE: &str = "DEVICE_ASSIGNMENT_API_KEY";

/// The service in the settings.
///
/// # Errors
/// When a file cannot be read, and when there is no key.
pub(super) fn target(config: &TargetConfig) -> Result<Target, CommandError> {
    let ca = config
        .ca
        .as_deref()
        .map(|path| fs::read(path).map_err(|error| unreadable(path, &error)));
    Ok(Target {
        url: config.server.clone(),
        ca: ca.transpose()?,
        key: key(config.api_key_file.as_deref())?,
    })
}

fn key(file: Option<&Path>) -> Result<String, CommandError> {
    let key = match file {
        Some(path) => fs::read_to_string(path).map_err(|error| unreadable(path, &error))?,
        None => env::var(KEY_VARIABLE).unwrap_or_default(),
    };
    let key = key.trim();
    match (key, file) {
        ("", Some(path)) => Err(CommandError::Failed(format!(
            "{}: the file is empty; put the API key in it",
            path.display()
        ))),
        ("", None) => Err(CommandError::Usage(format!(
            "the API key is missing; set {KEY_VARIABLE}, or name a file that has it with --api-key-file"
        ))),
        (key, _) => Ok(key.to_owned()),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::Failed(format!("{}: {error}; name a file that can be read", path.display()))
}
