use std::process::ExitCode;

use super::{
    CommandError, Signals,
    serve::{
        admin_listener, bind, bind_admin, collect_figures, local_addr, log_admin, log_listening, log_start, settings,
        shared_addresses,
    },
    tls,
};
use crate::{
    config::{Conflict, GatewayConfig},
    server::{self, GatewayListeners},
    service::ServiceSettings,
};

pub(super) async fn run(config: GatewayConfig) -> Result<ExitCode, CommandError> {
    log_start();
    let upstream = tls::upstream(&config)?;
    let tls = tls::of_listeners(&config.tls)?;
    let figures = collect_figures(&config.admin)?;
    let listeners = GatewayListeners {
        rest: bind(config.rest_addr, "--rest-addr (REST_ADDR)").await?,
        admin: bind_admin(&config.admin).await?,
        tls,
    };
    let address = local_addr(&listeners.rest)?;
    let signals = Signals::catch();
    log_listening("rest", address, listeners.tls.is_some());
    log_admin(listeners.admin.as_ref())?;
    let service = ServiceSettings {
        max_devices_per_request: config.limits.max_devices_per_request,
        ..ServiceSettings::default()
    };
    let settings = settings(
        service,
        &config.limits,
        &config.connections,
        &config.health,
        &config.tls,
    );
    signals
        .stop(|asked| server::serve_gateway(upstream, settings, listeners, figures, asked))
        .await
}

/// Judges the address of a service before anything is done with it.
pub(super) fn check_upstream(url: &str) -> Result<String, String> {
    tls::endpoint(url).map(|_| url.to_owned())
}

pub(super) fn conflicts(config: &GatewayConfig) -> Vec<Conflict> {
    let callers = [("rest-addr", config.rest_addr)];
    let mut conflicts = shared_addresses(callers.into_iter().chain(admin_listener(&config.admin)));
    conflicts.extend(config.tls.conflicts(&callers));
    if config.limits.max_bytes_in_flight / 2 <= config.limits.max_request_bytes {
        conflicts.push(Conflict {
            settings: vec!["max-bytes-in-flight", "max-request-bytes"],
            problem: "the largest request needs room for twice its bytes; raise the first or lower the other".into(),
        });
    }
    conflicts.extend(config.upstream_tls.conflicts(tls::is_https(&config.upstream)));
    conflicts
}
