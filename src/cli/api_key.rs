use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    CommandError, connect,
    output::{is_terminal, optional_timestamp, print, print_lines, say, timestamp},
    table::print_rows,
};
use crate::{
    config::DatabaseConfig,
    domain::{api_key::Scope, id::ApiKeyId, organization::ApiKeyLabel},
    service::{api_keys, create_api_key, revoke_api_key},
    storage::{ApiKeyRecord, RevokedKey},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment api-key create --organization acme
  device-assignment api-key list --organization acme
  device-assignment api-key revoke key_01m835zmv6e3ts9whpry4tgqhh
";

const CREATE_EXAMPLES: &str = "\
Examples:
  device-assignment api-key create --organization acme
  device-assignment api-key create --organization acme --expires-in 90d \\
      --label 'warehouse, 2026'
  device-assignment api-key create --organization acme --scope read
  API_KEY=$(device-assignment api-key create --organization acme)
      stdout has the key alone, stderr its id
";

const LIST_EXAMPLES: &str = "\
Examples:
  device-assignment api-key list --organization acme
  device-assignment api-key list --organization acme --json
";

const REVOKE_EXAMPLES: &str = "\
Examples:
  device-assignment api-key revoke key_01m835zmv6e3ts9whpry4tgqhh
      `api-key list` shows the ids
";

#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Create a key and print it: it cannot be shown again
    #[command(before_help = CREATE_EXAMPLES)]
    Create(Create),
    /// List the keys of an organization, oldest first
    #[command(before_help = LIST_EXAMPLES)]
    List(List),
    /// Revoke a key: within 5 seconds no instance accepts it
    #[command(before_help = REVOKE_EXAMPLES)]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The organization that the key belongs to
    #[arg(long, value_name = "NAME")]
    organization: String,

    /// A label for the key, at most 100 characters
    #[arg(long, value_name = "TEXT", default_value = "unnamed", value_parser = parse_label)]
    label: ApiKeyLabel,

    /// What the key may do: read, or write, which includes read
    #[arg(long, value_name = "SCOPE", default_value = "write", value_parser = parse_scope)]
    scope: Scope,

    /// How long the key is valid, for example 90d [default: forever]
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
    // Parsed later: the argument parser would print an invalid value, which may be a key.
    id: String,

    #[command(flatten)]
    database: DatabaseConfig,
}

fn parse_label(text: &str) -> Result<ApiKeyLabel, String> {
    ApiKeyLabel::parse(text).map_err(|problem| format!("a label {problem}"))
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "a scope is read or write".to_owned())
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
                let database = connect::connect_to_read(&database).await?;
                print_keys(&api_keys(&database, &organization).await?, json)
            }
            Self::Revoke(Revoke { id, database }) => {
                let id: ApiKeyId = id.parse().map_err(|_| {
                    CommandError::Usage("invalid key id; `device-assignment api-key list` shows the ids".into())
                })?;
                let database = connect::connect_existing_ready(&database).await?;
                let RevokedKey { record, is_new } = revoke_api_key(&database, id).await?;
                match optional_timestamp(record.revoked_at) {
                    Some(time) if !is_new => say(&format!("{id} was already revoked at {time}")),
                    _ => say(&format!("{id} is revoked")),
                }
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CommandError> {
        let database = connect::connect_existing_ready(&self.database).await?;
        let key = create_api_key(&database, &self.organization, &self.label, self.scope, self.expires_in).await?;
        say(&format!("created {}; the key is shown only now:", key.record.id));
        let secret = key.secret.reveal();
        if self.json {
            let expires_at = optional_timestamp(key.record.expires_at);
            let value = json!({
                "id": key.record.id.to_string(),
                "key": secret,
                "scope": self.scope.name(),
                "expiresAt": expires_at,
            });
            print(&value.to_string())
        } else {
            print(secret)
        }
    }
}

fn print_keys(keys: &[ApiKeyRecord], as_json: bool) -> Result<(), CommandError> {
    if as_json {
        print_lines(keys.iter().map(|key| object(key).to_string()))?;
        return Ok(());
    }
    if is_terminal() {
        let headings = ["ID", "KEY", "SCOPE", "EXPIRES", "USED", "LABEL"];
        return print_rows(
            headings,
            keys.iter().map(|key| row(key, OffsetDateTime::now_utc())).collect(),
        );
    }
    print_lines(keys.iter().map(|key| fields(key).join("\t")))?;
    Ok(())
}

fn object(key: &ApiKeyRecord) -> Value {
    let hint = key.hint.as_ref();
    json!({
        "id": key.id.to_string(),
        "label": key.label,
        "scope": key.scope.name(),
        "createdAt": timestamp(key.created_at),
        "expiresAt": optional_timestamp(key.expires_at),
        "revokedAt": optional_timestamp(key.revoked_at),
        "lastUsedAt": optional_timestamp(key.last_used_at),
        "keyStart": hint.map(|hint| &hint.start),
        "keyEnd": hint.map(|hint| &hint.end),
    })
}

/// A key for programs: every time to the second.
fn fields(key: &ApiKeyRecord) -> [String; 7] {
    let state = match (key.revoked_at, key.expires_at) {
        (Some(time), _) => format!("revoked {}", timestamp(time)),
        (None, Some(time)) => format!("expires {}", timestamp(time)),
        (None, None) => "valid".to_owned(),
    };
    let last_used = optional_timestamp(key.last_used_at);
    [
        key.id.to_string(),
        key.label.clone(),
        timestamp(key.created_at),
        state,
        last_used.map_or("never used".to_owned(), |time| format!("last used {time}")),
        hint(key),
        key.scope.to_string(),
    ]
}

/// A key for people: in days from now, so that a row fits a terminal of 80 columns. The label is last because it may be
/// long.
fn row(key: &ApiKeyRecord, now: OffsetDateTime) -> [String; 6] {
    let expires = match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked".to_owned(),
        (None, None) => "never".to_owned(),
        (None, Some(time)) if time <= now => "expired".to_owned(),
        (None, Some(time)) => match (time - now).whole_hours() {
            0 => "in <1h".to_owned(),
            hours @ 1..48 => format!("in {hours}h"),
            hours => format!("in {}d", hours / 24),
        },
    };
    let last_used = match key.last_used_at.map(|time| (now - time).whole_days()) {
        None => "never".to_owned(),
        Some(..=0) => "today".to_owned(),
        Some(days) => format!("{days}d ago"),
    };
    [
        key.id.to_string(),
        hint(key),
        key.scope.to_string(),
        expires,
        last_used,
        key.label.clone(),
    ]
}

/// The first and last characters of a key, if they were stored.
fn hint(key: &ApiKeyRecord) -> String {
    key.hint.as_ref().map_or("-".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::domain::id::OrganizationId;

    #[test]
    fn people_see_how_long_a_key_is_valid_and_when_it_was_used() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let key = |expires_in: Option<Duration>, used_before: Option<Duration>| ApiKeyRecord {
            organization: OrganizationId::from(uuid::Uuid::nil()),
            id: ApiKeyId::from(uuid::Uuid::nil()),
            label: "a label".into(),
            scope: Scope::Write,
            created_at: now,
            expires_at: expires_in.map(|left| now + left),
            revoked_at: None,
            last_used_at: used_before.map(|before| now - before),
            hint: None,
        };
        let shown = |expires_in, used_before| {
            let [_, _, _, expires, last_used, _] = row(&key(expires_in, used_before), now);
            [expires, last_used]
        };
        assert_eq!(shown(None, None), ["never", "never"]);
        let (minute, hour, day) = (Duration::MINUTE, Duration::HOUR, Duration::DAY);
        for (left, before, expected) in [
            (Duration::ZERO, Duration::ZERO, ["expired", "today"]),
            (-day, -hour, ["expired", "today"]),
            (minute, hour, ["in <1h", "today"]),
            (day, day - minute, ["in 24h", "today"]),
            (2 * day, day, ["in 2d", "1d ago"]),
            (90 * day - minute, 400 * day, ["in 89d", "400d ago"]),
        ] {
            assert_eq!(shown(Some(left), Some(before)), expected);
        }
        let revoked = ApiKeyRecord {
            revoked_at: Some(now),
            ..key(Some(day), None)
        };
        assert_eq!(row(&revoked, now)[3], "revoked");
    }
}
