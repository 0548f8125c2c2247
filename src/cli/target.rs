//! The service that a command calls, and what to do about its errors.

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
    Ok(Target {
        url: config.server.clone(),
        ca: certificates(config.ca.as_deref())?,
        key: secret(
            "API key",
            config.api_key_file.as_deref(),
            KEY_VARIABLE,
            "--api-key-file",
        )?,
    })
}

/// The client's error, with what to do about it. `list` is the name of the list that was read.
pub(super) fn failure(error: ClientError, config: &TargetConfig, list: Option<&str>) -> CommandError {
    let list = list.unwrap_or("the list");
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
        ClientError::Customer(problem) => return CommandError::Usage(format!("--customer: {problem}")),
        ClientError::CustomerNotFound(problem) => format!("--customer: {problem}"),
        ClientError::ExpectedOwner(problem) => {
            return CommandError::Usage(format!("--expected-owner: {problem}"));
        }
        ClientError::Rejected(problem) => return CommandError::Usage(on_command_line(&problem)),
        ClientError::NotFound(problem) => on_command_line(&problem),
        ClientError::CallFailed(_) => format!("{error}; report this to the operator of the service"),
        ClientError::DeviceType(problem) => return CommandError::Usage(format!("--type: {problem}")),
        ClientError::KeyRejected(_) => {
            format!("{error}; give a valid one in {KEY_VARIABLE}, or in a file with --api-key-file")
        }
        ClientError::Unreachable { ref url, .. } if url.starts_with("https:") => format!(
            "{error}; check that it runs and speaks TLS, and --ca if its certificate is not from a public authority"
        ),
        ClientError::Unreachable { .. } => {
            format!("{error}; check that it runs, and whether --server must begin with https://")
        }
        ClientError::NotTheService(_) => {
            format!("{error}; check --server: it is the address for gRPC, not for REST")
        }
        ClientError::Failed { .. } => format!("{error}; report this to the operator of the service"),
        ClientError::List(error) => format!("{list}: {error}"),
        error @ (ClientError::GaveUp { .. } | ClientError::Panicked) => format!("{error}; run this again later"),
    })
}

/// A sentence of the service without names of fields that the command line does not have.
fn on_command_line(sentence: &str) -> String {
    sentence
        .replace("telemetron_customer_id", "id")
        .replace("customer_id", "id")
        .replace("customer_email", "email")
}

/// The content of a file of certificates, if there is one.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn certificates(file: Option<&Path>) -> Result<Option<Vec<u8>>, CommandError> {
    let read = file.map(|path| fs::read(path).map_err(|error| unreadable(path, &error)));
    read.transpose()
}

/// A secret from a file, or else from the environment. `flag` names the file.
///
/// # Errors
/// When the file cannot be read, and when there is no secret.
pub(super) fn secret(name: &str, file: Option<&Path>, variable: &str, flag: &str) -> Result<String, CommandError> {
    let secret = match file {
        Some(path) => fs::read_to_string(path).map_err(|error| unreadable(path, &error))?,
        None => env::var(variable).unwrap_or_default(),
    };
    match (secret.trim(), file) {
        ("", Some(path)) => Err(CommandError::Failed(format!(
            "{}: the file is empty; put the {name} in it",
            path.display()
        ))),
        ("", None) => Err(CommandError::Usage(format!(
            "the {name} is missing; set {variable}, or name a file that has it with {flag}"
        ))),
        (secret, _) => Ok(secret.to_owned()),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::Failed(format!("{}: {error}; name a file that can be read", path.display()))
}
