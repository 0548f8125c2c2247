use std::process::ExitCode;

use super::{
    CommandError, Signals,
    listeners::{admin_listener, bind, bind_admin, local_addr, log_admin, log_listening, shared_addresses},
    serve::{collect_metrics, log_start, settings},
    tls,
};
use crate::{
    config::{Conflict, GatewayConfig},
    server::{self, GatewayListeners},
    service::ServiceSettings,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment gateway --upstream http://127.0.0.1:50051
  device-assignment gateway --upstream https://service.example.com:50051 \\
      --rest-addr :8080 --tls-cert gateway.crt --tls-key gateway.key
      listen on all interfaces, with TLS on both sides
";

pub(super) async fn run(config: GatewayConfig) -> Result<ExitCode, CommandError> {
    log_start();
    // Certificates have metrics.
    let metrics = collect_metrics(&config.server.admin)?;
    let upstream = tls::upstream(&config)?;
    let tls = tls::of_listeners(&config.server.tls)?;
    let listeners = GatewayListeners {
        rest: bind(config.server.rest_addr, "--rest-addr (REST_ADDR)").await?,
        admin: bind_admin(&config.server.admin).await?,
        tls,
    };
    let address = local_addr(&listeners.rest)?;
    let signals = Signals::catch();
    log_listening("rest", address, listeners.tls.is_some());
    log_admin(listeners.admin.as_ref())?;
    let service = ServiceSettings {
        max_devices_per_request: config.server.requests.max_devices_per_request,
        ..ServiceSettings::default()
    };
    let settings = settings(service, &config.server);
    signals
        .stop(|asked| server::serve_gateway(upstream, settings, listeners, metrics, asked))
        .await
}

/// The conflicts between settings.
pub(super) fn conflicts(config: &GatewayConfig) -> Vec<Conflict> {
    let server = &config.server;
    let listeners = [("rest-addr", server.rest_addr)];
    let mut conflicts = shared_addresses(listeners.into_iter().chain(admin_listener(&server.admin)));
    conflicts.extend(server.tls.conflicts(&listeners));
    conflicts.extend(Conflict::when(
        server.requests.max_bytes_in_flight / 2 <= server.requests.max_request_bytes,
        &["max-bytes-in-flight", "max-request-bytes"],
        "the first must be more than twice the second; raise it or lower the second",
    ));
    conflicts.extend(config.upstream_tls.conflicts(tls::is_https(&config.upstream)));
    conflicts
}
