//! The program `device-assignment`.

use std::process::ExitCode;

/// Returns memory to the system after a flood (`.cargo/config.toml` says how soon). The C library's allocator kept more than
/// 64 MiB a minute after 300 unread responses.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    device_assignment::cli::run()
}
