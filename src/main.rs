//! The program `device-assignment`.

use std::process::ExitCode;

fn main() -> ExitCode {
    device_assignment::cli::run()
}
