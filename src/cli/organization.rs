use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CommandError, connect,
    output::{print_lines, timestamp},
    table::print_rows,
};
use crate::{
    config::DatabaseConfig,
    domain::organization::OrganizationName,
    service::{create_organization, organizations},
    storage::OrganizationRecord,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment organization create acme
  device-assignment organization list
";

const CREATE_EXAMPLES: &str = "\
Examples:
  device-assignment organization create acme
  device-assignment organization create acme --json
";

const LIST_EXAMPLES: &str = "\
Examples:
  device-assignment organization list
  device-assignment organization list --json
  device-assignment organization list | cut -f 2
      only the names: without a terminal, tabs separate the columns
";

#[derive(Debug, Subcommand)]
pub(super) enum Organization {
    /// Create an organization
    #[command(before_help = CREATE_EXAMPLES)]
    Create(Create),
    /// List all organizations, by name
    #[command(before_help = LIST_EXAMPLES)]
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name, at most 100 characters
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
                print_records(vec![organization], json)
            }
            Self::List(List { json, database }) => {
                let database = connect::connect_to_read(&database).await?;
                print_records(organizations(&database).await?, json)
            }
        }
    }
}

fn print_records(organizations: Vec<OrganizationRecord>, as_json: bool) -> Result<(), CommandError> {
    let rows = organizations
        .into_iter()
        .map(|OrganizationRecord { id, name, created_at }| [id.to_string(), name, timestamp(created_at)]);
    if as_json {
        let object = |[id, name, created_at]: [String; 3]| json!({ "id": id, "name": name, "createdAt": created_at });
        print_lines(rows.map(|row| object(row).to_string()))?;
    } else {
        print_rows(["ID", "NAME", "CREATED AT"], rows.collect())?;
    }
    Ok(())
}
