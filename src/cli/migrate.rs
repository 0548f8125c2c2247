use clap::Args;
use serde_json::json;

use super::{
    CommandError, connect,
    output::{print, say},
};
use crate::{config::DatabaseConfig, storage::schema_status};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment migrate --database-url postgres://app:secret@db/devices
  device-assignment migrate --status
      list the steps of the schema, and change nothing
";

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// List the applied and the pending steps, and change nothing
    #[arg(long)]
    status: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let database = if self.status {
            connect::connect_existing(&self.database).await?
        } else {
            connect::connect(&self.database).await?
        };
        if !self.status {
            let before = connect::migrate(&database).await?;
            say(&format!("{} step(s) applied", before.pending.len()));
            if !self.json {
                return Ok(());
            }
        }
        let status = schema_status(&database).await?;
        if self.json {
            let status = json!({ "applied": status.applied, "pending": status.pending, "unknown": status.unknown });
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
        Ok(())
    }
}
