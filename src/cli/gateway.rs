use super::{
    Failure, asked_to_stop,
    output::print,
    serve::{bind, bind_admin, local_addr, print_admin, settings},
    tls,
};
use crate::{
    config::GatewayConfig,
    server::{self, GatewayListeners},
    service::ServiceSettings,
};

pub(super) async fn run(config: GatewayConfig) -> Result<(), Failure> {
    let upstream = tls::upstream(&config)?;
    let tls = tls::of_listeners(&config.tls, &[("--rest-addr (REST_ADDR)", config.rest_addr)])?;
    let listeners = GatewayListeners {
        rest: bind(config.rest_addr, "--rest-addr (REST_ADDR)").await?,
        admin: bind_admin(&config.admin).await?,
        tls,
    };
    let address = local_addr(&listeners.rest)?;
    let asked_to_stop = asked_to_stop();
    let scheme = if listeners.tls.is_some() { "https" } else { "http" };
    print(&format!("REST listening on {scheme}://{address}"))?;
    print_admin(listeners.admin.as_ref())?;
    let settings = settings(
        ServiceSettings::default(),
        &config.limits,
        &config.connections,
        &config.tls,
    );
    server::serve_gateway(upstream, settings, listeners, asked_to_stop).await?;
    Ok(())
}
