use clap::Args;
use serde_json::json;

use super::{
    CommandError, connect,
    output::{print, say},
};
use crate::{
    config::DatabaseConfig,
    storage::{TablePlacement, schema_status},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment migrate --database-url postgres://app@db/devices
  device-assignment migrate --status
      list the steps of the schema, and change nothing
  device-assignment migrate --distribute
      also distribute the tables over the servers of Citus
";

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// List the applied and the pending steps, and change nothing
    #[arg(long)]
    status: bool,

    /// Also distribute the tables by organization over the servers of Citus, as far as that is not done
    #[arg(long, conflicts_with = "status")]
    distribute: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        if self.distribute && self.database.database_url.is_sqlite() {
            let problem = "SQLite is one file and cannot be distributed; use PostgreSQL with the extension Citus";
            return Err(CommandError::Failed(problem.to_owned()));
        }
        let database = if self.status {
            connect::connect_existing(&self.database).await?
        } else {
            connect::connect(&self.database).await?
        };
        if !self.status {
            let before = if self.distribute {
                connect::migrate_and_distribute(&database).await?
            } else {
                connect::migrate(&database).await?
            };
            say(&format!("{} step(s) applied", before.pending.len()));
            if self.distribute {
                say("the tables are distributed by organization");
            }
            if !self.json {
                return Ok(());
            }
        }
        let status = schema_status(&database).await?;
        let placements = if status.pending.is_empty() {
            database.placements().await?
        } else {
            None
        };
        if self.json {
            let mut status = json!({ "applied": status.applied, "pending": status.pending, "unknown": status.unknown });
            if let (Some(tables), Some(status)) = (placements, status.as_object_mut()) {
                let table = |table: TablePlacement| json!({ "name": table.name, "placement": table.placement, "shards": table.shards });
                status.insert("tables".to_owned(), tables.into_iter().map(table).collect());
            }
            return print(&status.to_string());
        }
        let columns = [
            ("applied", status.applied),
            ("pending", status.pending),
            ("unknown", status.unknown),
        ];
        for (state, steps) in columns {
            for step in steps {
                print(&format!("{state}\t{step}"))?;
            }
        }
        for TablePlacement { name, placement, .. } in placements.into_iter().flatten() {
            print(&format!("table\t{name}\t{placement}"))?;
        }
        Ok(())
    }
}
