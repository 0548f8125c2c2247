//! The service that a command calls.

use std::{env, fs, path::Path};

use super::CommandError;
use crate::{
    client::{ClientError, Target},
    config::TargetConfig,
};

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

/// Why the service cannot be called, with what to do about it.
pub(super) fn connect_failure(config: &TargetConfig, error: ClientError) -> CommandError {
    CommandError::Failed(match error {
        ClientError::Url(problem) => {
            return CommandError::Usage(format!(
                "--server (DEVICE_ASSIGNMENT_SERVER): {problem}; write http://host:50051 or https://host:50051"
            ));
        }
        ClientError::Ca => {
            let path = config.ca.as_deref().unwrap_or(Path::new("--ca"));
            format!("{}: {error}; name the certificate of the authority", path.display())
        }
        ClientError::Key => format!("{error}; check {KEY_VARIABLE}, or the file that --api-key-file names"),
        ClientError::KeyRejected(_) => {
            format!("{error}; give a valid one in {KEY_VARIABLE}, or in a file with --api-key-file")
        }
        ClientError::Unreachable { ref url, .. } if url.starts_with("https:") => {
            format!(
                "{error}; check that it runs and speaks TLS, and --ca if its certificate is not from a public authority"
            )
        }
        ClientError::Unreachable { .. } => {
            format!("{error}; check that it runs, and whether --server must begin with https://")
        }
        ClientError::NotTheService(_) => {
            format!("{error}; check --server: it is the address for gRPC, not for REST")
        }
        error => error.to_string(),
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
