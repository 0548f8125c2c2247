use std::path::Path;

use clap::{Args, Subcommand};

use super::{CommandError, command, gateway, output::print, serve::Serve};
use crate::config::{Conflict, GatewayConfig, template};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment config default > settings.toml
  device-assignment config check --config settings.toml
";

const DEFAULT_EXAMPLES: &str = "\
Examples:
  device-assignment config default > settings.toml
";

const CHECK_EXAMPLES: &str = "\
Examples:
  device-assignment config check --config settings.toml
      check the settings of `serve` and `gateway` in a file and the environment
  device-assignment config check serve --config settings.toml --rest-addr :8080
      check whether `serve` would start with these flags, too
";

const CHECK_SERVE_EXAMPLES: &str = "\
Examples:
  device-assignment config check serve --config settings.toml --rest-addr :8080
";

const CHECK_GATEWAY_EXAMPLES: &str = "\
Examples:
  device-assignment config check gateway --upstream http://127.0.0.1:50051
";

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Print a settings file that lists every setting with its default
    #[command(before_help = DEFAULT_EXAMPLES)]
    Default,
    /// Report every mistake in the settings of `serve` and `gateway`, and start nothing
    ///
    /// The exit code is 0 if the settings are valid, else 2.
    #[command(before_help = CHECK_EXAMPLES)]
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(subcommand)]
    started: Option<Started>,
}

/// The subcommand whose settings are checked.
#[derive(Debug, Subcommand)]
enum Started {
    /// Check the settings and flags of `serve`
    #[command(before_help = CHECK_SERVE_EXAMPLES)]
    Serve(Box<Serve>),
    /// Check the settings and flags of `gateway`
    #[command(before_help = CHECK_GATEWAY_EXAMPLES)]
    Gateway(Box<GatewayConfig>),
}

impl Config {
    pub(super) fn run(self, file: Option<&Path>) -> Result<(), CommandError> {
        match (self, file) {
            (Self::Default, _) => print(template(&command()).trim_end()),
            // Mistakes are reported before any subcommand runs.
            (Self::Check(_), Some(file)) => print(&format!("{} and the environment are valid", file.display())),
            (Self::Check(_), None) => {
                print("the environment is valid; no settings file is given (--config, CONFIG_FILE)")
            }
        }
    }

    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        match self {
            Self::Check(Check {
                started: Some(Started::Serve(serve)),
            }) => serve.conflicts(),
            Self::Check(Check {
                started: Some(Started::Gateway(config)),
            }) => gateway::conflicts(config),
            _ => Vec::new(),
        }
    }
}
