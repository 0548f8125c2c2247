use super::{Failure, output::print};
use crate::{gateway, server::ServerSettings};

pub(super) fn run() -> Result<(), Failure> {
    let document = gateway::document(&ServerSettings::default().gateway());
    print(&format!("{document:#}"))
}
