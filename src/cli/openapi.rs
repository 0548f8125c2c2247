use super::{CommandError, output::print};
use crate::{gateway, server::ServerSettings};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment openapi > openapi.json
";

pub(super) fn run() -> Result<(), CommandError> {
    let document = gateway::document(&ServerSettings::default().gateway());
    print(&format!("{document:#}"))
}
