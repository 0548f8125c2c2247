use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CommandError, connect,
    output::{optional_timestamp, print, say, timestamp},
};
use crate::{
    config::DatabaseConfig,
    domain::{id::ApiKeyId, organization::ApiKeyLabel},
    service::{api_keys, create_api_key, revoke_api_key},
    storage::ApiKeyRecord,
};

#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Create a key, and print it: it is shown this once
    Create(Create),
    /// List the keys of an organization, oldest first
    List(List),
    /// Revoke a key: within seconds no instance accepts it
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The organization that the key acts for
    #[arg(long, value_name = "NAME")]
    organization: String,

    /// What to call the key
    #[arg(long, value_name = "TEXT", default_value = "unnamed", value_parser = parse_label)]
    label: ApiKeyLabel,

    /// How long the key is valid, as in 90d; for ever unless given
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The organization whose keys to list
    #[arg(long, value_name = "NAME")]
    organization: String,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The id of the key, as `api-key list` shows it
    // Parsed later: the parser of arguments would repeat what it cannot read, and that may be a key.
    id: String,

    #[command(flatten)]
    database: DatabaseConfig,
}

fn parse_label(text: &str) -> Result<ApiKeyLabel, String> {
    ApiKeyLabel::parse(text).map_err(|problem| format!("a label {problem}"))
}

impl ApiKey {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(List {
                organization,
                json,
                database,
            }) => {
                let database = connect::connect_ready(&database).await?;
                for key in api_keys(&database, &organization).await? {
                    print_record(&key, json)?;
                }
                Ok(())
            }
            Self::Revoke(Revoke { id, database }) => {
                let id: ApiKeyId = id.parse().map_err(|_| {
                    CommandError::Usage("this is no id of a key; `device-assignment api-key list` shows the ids".into())
                })?;
                let database = connect::connect_ready(&database).await?;
                revoke_api_key(&database, id).await?;
                say(&format!("{id} is revoked"));
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CommandError> {
        let database = connect::connect_ready(&self.database).await?;
        let key = create_api_key(&database, &self.organization, &self.label, self.expires_in).await?;
        say("this key is shown only now:");
        let secret = key.secret.reveal();
        if self.json {
            let expires_at = optional_timestamp(key.record.expires_at);
            let value = json!({ "id": key.record.id.to_string(), "key": secret, "expiresAt": expires_at });
            print(&value.to_string())
        } else {
            print(secret)
        }
    }
}

fn print_record(key: &ApiKeyRecord, as_json: bool) -> Result<(), CommandError> {
    let created_at = timestamp(key.created_at);
    let expires_at = optional_timestamp(key.expires_at);
    let revoked_at = optional_timestamp(key.revoked_at);
    let last_used_at = optional_timestamp(key.last_used_at);
    if as_json {
        let value = json!({
            "id": key.id.to_string(),
            "label": key.label,
            "createdAt": created_at,
            "expiresAt": expires_at,
            "revokedAt": revoked_at,
            "lastUsedAt": last_used_at,
        });
        return print(&value.to_string());
    }
    let state = match (revoked_at, expires_at) {
        (Some(time), _) => format!("revoked {time}"),
        (None, Some(time)) => format!("expires {time}"),
        (None, None) => "valid".to_owned(),
    };
    let use_of_it = last_used_at.map_or("never used".to_owned(), |time| format!("last used {time}"));
    print(&format!(
        "{}\t{}\t{created_at}\t{state}\t{use_of_it}",
        key.id, key.label
    ))
}
