use clap::Args;
use serde_json::json;

use super::{CommandError, connect, output::print};
use crate::{config::DatabaseConfig, service::begin_history};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment new-history
      after restoring a copy of the database that lacks later changes
";

#[derive(Debug, Args)]
pub(super) struct NewHistory {
    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

impl NewHistory {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let database = connect::connect_existing_ready(&self.database).await?;
        let history = begin_history(&database).await?.to_string();
        if self.json {
            print(&json!({ "history": history }).to_string())
        } else {
            print(&history)
        }
    }
}
