//! `mcp`: tools for AI assistants, on stdin and stdout.

use std::io::{self, IsTerminal};

use clap::Args;

use super::{
    CommandError,
    output::say,
    target::{failure, target},
};
use crate::{
    config::TargetConfig,
    mcp::{self, McpError},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment mcp
      what an MCP client starts; docs/MCP.md has the configuration of clients
";

#[derive(Debug, Args)]
pub(super) struct Mcp {
    #[command(flatten)]
    service: TargetConfig,
}

impl Mcp {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let target = target(&self.service)?;
        if io::stdin().is_terminal() {
            say("waiting for an MCP client on stdin; MCP clients start this command themselves");
        }
        mcp::serve(&target).await.map_err(|error| match error {
            McpError::Service(error) => failure(error, &self.service, None),
            error @ McpError::Protocol(_) => CommandError::Failed(error.to_string()),
        })
    }
}
