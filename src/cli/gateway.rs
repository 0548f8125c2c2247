use std::{process::ExitCode, time::Duration};

use tonic::transport::Endpoint;

use super::{
    Failure, Signals,
    output::print,
    serve::{admin_listener, bind, bind_admin, collect_figures, local_addr, print_admin, settings, shared_addresses},
};
use crate::{
    config::{Conflict, GatewayConfig},
    server::{self, GatewayListeners},
    service::ServiceSettings,
};

/// How often a silent connection to the service is tested.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

pub(super) async fn run(config: GatewayConfig) -> Result<ExitCode, Failure> {
    let upstream = endpoint(&config.upstream).map_err(Failure::Usage)?;
    let figures = collect_figures(&config.admin)?;
    let listeners = GatewayListeners {
        rest: bind(config.rest_addr, "--rest-addr (REST_ADDR)").await?,
        admin: bind_admin(&config.admin).await?,
    };
    let address = local_addr(&listeners.rest)?;
    let signals = Signals::catch();
    print(&format!("REST listening on http://{address}"))?;
    print_admin(listeners.admin.as_ref())?;
    let service = ServiceSettings::default();
    let settings = settings(service, &config.limits, &config.connections, &config.health);
    signals
        .stop(|asked| server::serve_gateway(upstream, settings, listeners, figures, asked))
        .await
}

/// Judges the address of a service before anything is done with it.
pub(super) fn check_upstream(url: &str) -> Result<String, String> {
    endpoint(url).map(|_| url.to_owned())
}

fn endpoint(url: &str) -> Result<Endpoint, String> {
    let problem = |problem: &str| format!("{problem}; write http://host:50051");
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| problem(&error.to_string()))?;
    match endpoint.uri().scheme_str() {
        Some("http") => Ok(endpoint.http2_keep_alive_interval(KEEP_ALIVE)),
        _ => Err(problem("the URL must start with http://")),
    }
}

pub(super) fn conflicts(config: &GatewayConfig) -> Vec<Conflict> {
    let mut listeners = vec![("rest-addr", config.rest_addr)];
    listeners.extend(admin_listener(&config.admin));
    shared_addresses(&listeners)
}
