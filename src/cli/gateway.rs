use std::{process::ExitCode, time::Duration};

use tonic::transport::Endpoint;

use super::{
    Failure, Signals,
    output::print,
    serve::{bind, bind_admin, local_addr, print_admin, settings},
};
use crate::{
    config::GatewayConfig,
    server::{self, GatewayListeners},
    service::ServiceSettings,
};

/// How often a silent connection to the service is tested.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

pub(super) async fn run(config: GatewayConfig) -> Result<ExitCode, Failure> {
    let upstream = endpoint(&config.upstream)?;
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
        .stop(|asked| server::serve_gateway(upstream, settings, listeners, asked))
        .await
}

fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    let usage = |problem: &str| Failure::Usage(format!("--upstream (UPSTREAM): {problem}; write http://host:50051"));
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| usage(&error.to_string()))?;
    match endpoint.uri().scheme_str() {
        Some("http") => Ok(endpoint.http2_keep_alive_interval(KEEP_ALIVE)),
        _ => Err(usage("the URL must start with http://")),
    }
}
