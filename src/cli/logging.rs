//! The log: on stderr, text for people or JSON for machines.

use std::{env, io, io::IsTerminal, panic};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What the libraries say of each step of a migration is noise beside what a subcommand says.
const QUIET_LIBRARIES: &str = "info,sea_orm_migration=warn,sqlx=warn";

/// Starts the log. `RUST_LOG` sets its level; `info` unless set.
pub(super) fn init(format: LogFormat) {
    let mut filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .parse_lossy(env::var("RUST_LOG").unwrap_or_else(|_| QUIET_LIBRARIES.into()));
    // The driver repeats options of the database URL that it does not know, and one of those may be a secret. The HTTP
    // library warns of each pong that it did not ask for, and a peer may send a flood of them.
    for silence in ["sqlx_postgres::options=off", "h2::proto::ping_pong=error"] {
        if let Ok(silence) = silence.parse() {
            filter = filter.add_directive(silence);
        }
    }
    let is_terminal = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(is_terminal && env::var_os("NO_COLOR").is_none());
    let as_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if as_text {
        log.init();
    } else {
        log.json().flatten_event(true).with_span_list(false).init();
    }
    // Into the log, where it is seen and stays one line; without the message, which may quote a caller's data.
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a panic");
    }));
}
