use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    CommandError, connect,
    output::{print, timestamp},
};
use crate::{
    config::DatabaseConfig,
    domain::organization::OrganizationName,
    service::{create_organization, organizations},
    storage::OrganizationRecord,
};

#[derive(Debug, Subcommand)]
pub(super) enum Organization {
    /// Create an organization
    Create(Create),
    /// List all organizations, by name
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What to call it
    #[arg(value_parser = parse_name)]
    name: OrganizationName,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

fn parse_name(text: &str) -> Result<OrganizationName, String> {
    OrganizationName::parse(text).map_err(|problem| format!("a name {problem}"))
}

impl Organization {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Create(Create { name, json, database }) => {
                let database = connect::connect_ready(&database).await?;
                let organization = create_organization(&database, &name).await?;
                print_record(&organization, json)
            }
            Self::List(List { json, database }) => {
                let database = connect::connect_ready(&database).await?;
                for organization in organizations(&database).await? {
                    print_record(&organization, json)?;
                }
                Ok(())
            }
        }
    }
}

fn print_record(organization: &OrganizationRecord, as_json: bool) -> Result<(), CommandError> {
    let OrganizationRecord { id, name, created_at } = organization;
    let created_at = timestamp(*created_at);
    if as_json {
        let value: Value = json!({ "id": id.to_string(), "name": name, "createdAt": created_at });
        print(&value.to_string())
    } else {
        print(&format!("{id}\t{name}\t{created_at}"))
    }
}
