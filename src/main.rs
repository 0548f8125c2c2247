//! The program `device-assignment`.

use std::process::ExitCode;

/// Gives memory back to the system after a flood (`.cargo/config.toml` says how soon). That of the C library keeps it: after
/// 300 unread answers more than 64 MiB were still held a minute later.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    device_assignment::cli::run()
}
