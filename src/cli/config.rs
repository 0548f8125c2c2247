use std::path::Path;

use clap::{Args, Subcommand};

use super::{CommandError, command, gateway, output::print, serve::Serve};
use crate::config::{Conflict, GatewayConfig, template};

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Print a file that names every setting, with its default
    Default,
    /// Name every mistake in the settings of `serve` and `gateway`, and start nothing
    ///
    /// Exits with 0 when there is none, else with 2. With the name of a subcommand, and its flags, it tells whether that
    /// would start with them.
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(subcommand)]
    started: Option<Started>,
}

/// What is to be started.
#[derive(Debug, Subcommand)]
enum Started {
    /// Check what `serve` is told
    Serve(Box<Serve>),
    /// Check what `gateway` is told
    Gateway(Box<GatewayConfig>),
}

impl Config {
    pub(super) fn run(self, file: Option<&Path>) -> Result<(), CommandError> {
        match (self, file) {
            (Self::Default, _) => print(template(&command()).trim_end()),
            // Mistakes are found before any subcommand runs.
            (Self::Check(_), Some(file)) => print(&format!("{} and the environment are fine", file.display())),
            (Self::Check(_), None) => print("the environment is fine; no file is named (--config, CONFIG_FILE)"),
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
