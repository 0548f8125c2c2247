//! The first start on a new embedded database: creates an organization and an API key, so that a first call succeeds.

use std::{io::Write, net::SocketAddr, path};

use super::{
    CommandError,
    listeners::reachable,
    output::{is_terminal, print},
    private,
};
use crate::{
    config::TlsConfig,
    domain::{
        Error,
        api_key::Scope,
        organization::{ApiKeyLabel, OrganizationName},
    },
    service::{api_keys, create_api_key, create_organization, organizations},
    storage::Database,
};

/// The name of the first organization.
const DEFAULT_ORGANIZATION: &str = "default";

/// The file that gets the first key when stdout is not a terminal, in the working directory, where the database is.
const KEY_FILE: &str = "device-assignment.api-key";

/// Explains the options that accept any certificate: the service's certificate is rarely issued for the printed address.
const INSECURE: &str = "
--insecure and -insecure accept any certificate, for a try on this machine.
Elsewhere leave them out, and add --cacert FILE and -cacert FILE if the
authority is private.
";
/// As [`INSECURE`], when clients need a certificate, too.
const INSECURE_MUTUAL: &str = "
client.crt and client.key stand for a certificate of an authority in
--tls-client-ca, and for its key. --insecure and -insecure accept any
certificate of the service, for a try on this machine. Elsewhere leave them
out, and add --cacert FILE and -cacert FILE if its authority is private.
";

/// The first API key, to be shown to the person at the terminal.
pub(super) struct Welcome {
    key: String,
}

impl Welcome {
    /// Creates the first organization and key if the database has none. A key that nobody would see on a terminal goes to a
    /// file instead.
    pub(super) async fn prepare(database: &Database) -> Result<Option<Self>, CommandError> {
        if !is_new(database).await? {
            return Ok(None);
        }
        if is_terminal() {
            let key = create_first_key(database).await?;
            return Ok(Some(Self { key }));
        }
        let unwritable = |error| {
            CommandError::Failed(format!(
                "{KEY_FILE}: {error}; the first API key is written to this file: start in a folder that can be written, or \
                 name a database with --database-url"
            ))
        };
        let mut file = private::create(KEY_FILE.as_ref()).map_err(unwritable)?;
        let key = create_first_key(database).await?;
        writeln!(file, "{key}").map_err(unwritable)?;
        let file = path::absolute(KEY_FILE).map_err(unwritable)?;
        tracing::info!(
            file = %file.display(),
            organization = DEFAULT_ORGANIZATION,
            "the database is new; its first API key was written to a file"
        );
        Ok(None)
    }

    /// Prints the key, and commands that make a first call.
    pub(super) fn show(self, grpc: SocketAddr, rest: SocketAddr, tls: &TlsConfig) -> Result<(), CommandError> {
        let Self { key } = self;
        let (grpc, rest) = (reachable(grpc), reachable(rest));
        let ClientOptions {
            curl,
            scheme,
            grpcurl,
            note,
        } = ClientOptions::new(tls);
        print(&format!(
            r#"
This database is new. It has an organization named default.
Its API key is shown only now:

  {key}

Assign two devices over REST:

  curl{curl} -X POST {scheme}://{rest}/api/ext-v1/deviceAssignment/assignDevicesToOwner \
    -H 'x-api-key: {key}' \
    -H 'Content-Type: application/json' \
    -d '{{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001", "SN-002"], "autoCreateDevices": true, "deviceType": "sensor"}}'

or over gRPC:

  grpcurl {grpcurl} -H 'x-api-key: {key}' \
    -d '{{"customer_email": "john.doe@example.com", "device_identifiers": ["SN-001", "SN-002"], "auto_create_devices": true, "device_type": "sensor"}}' \
    {grpc} telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner
{note}"#
        ))
    }
}

/// Whether there is neither a key nor an organization of the operator's own. The first organization without a key is left by
/// a start that was interrupted.
async fn is_new(database: &Database) -> Result<bool, CommandError> {
    match organizations(database).await?.as_slice() {
        [] => Ok(true),
        [only] if only.name == DEFAULT_ORGANIZATION => Ok(api_keys(database, DEFAULT_ORGANIZATION).await?.is_empty()),
        _ => Ok(false),
    }
}

async fn create_first_key(database: &Database) -> Result<String, CommandError> {
    let invalid = |problem| CommandError::Failed(format!("a name {problem}"));
    let name = OrganizationName::parse(DEFAULT_ORGANIZATION).map_err(invalid)?;
    let label = ApiKeyLabel::parse("created at the first start").map_err(invalid)?;
    match create_organization(database, &name).await {
        Ok(_) | Err(Error::AlreadyExists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let key = create_api_key(database, name.as_str(), &label, Scope::Write, None).await?;
    Ok(key.secret.reveal().to_owned())
}

/// What the printed commands need to reach the listeners.
struct ClientOptions {
    curl: &'static str,
    scheme: &'static str,
    grpcurl: &'static str,
    note: &'static str,
}

impl ClientOptions {
    fn new(tls: &TlsConfig) -> Self {
        match (&tls.tls_cert, &tls.tls_client_ca) {
            (None, _) => Self {
                curl: "",
                scheme: "http",
                grpcurl: "-plaintext",
                note: "",
            },
            (Some(_), None) => Self {
                curl: " --insecure",
                scheme: "https",
                grpcurl: "-insecure",
                note: INSECURE,
            },
            (Some(_), Some(_)) => Self {
                curl: " --insecure --cert client.crt --key client.key",
                scheme: "https",
                grpcurl: "-insecure -cert client.crt -key client.key",
                note: INSECURE_MUTUAL,
            },
        }
    }
}
