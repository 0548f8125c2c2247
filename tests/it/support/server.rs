//! The real server in this process, on ports of its own.

use std::{net::SocketAddr, time::Duration};

use device_assignment::{
    domain::{
        api_key::Scope,
        organization::{ApiKeyLabel, OrganizationName},
    },
    server::{GatewayListeners, Listeners, ServeError, ServerSettings, Upstream, serve, serve_gateway},
    service::{ImportEvent, NewApiKey, create_api_key, create_organization, import_devices},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::transport::Endpoint;

use super::{client::Client, database::TestDatabase};

/// What a supervisor waits before it kills.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A service, and a REST gateway in a place of its own before it.
pub struct TestServer {
    pub grpc: SocketAddr,
    pub rest: SocketAddr,
    pub remote_rest: SocketAddr,
    pub admin: SocketAddr,
    stop: Vec<oneshot::Sender<()>>,
    tasks: Vec<JoinHandle<Result<(), ServeError>>>,
}

/// The ways to reach the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    Grpc,
    Rest,
    /// REST through a gateway that is not in the service's process.
    RemoteRest,
}

impl Api {
    pub const ALL: [Self; 3] = [Self::Grpc, Self::Rest, Self::RemoteRest];

    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Rest => "rest",
            Self::RemoteRest => "remote_rest",
        }
    }
}

impl TestServer {
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, ServerSettings::default()).await
    }

    pub async fn start_with(database: &TestDatabase, settings: ServerSettings) -> Self {
        Self::start_over(database.open().await, settings).await
    }

    /// Starts it where another one was.
    pub async fn start_at(database: &TestDatabase, grpc: SocketAddr) -> Self {
        let grpc = TcpListener::bind(grpc).await.expect("the port is free again");
        Self::start_listening(database.open().await, ServerSettings::default(), grpc).await
    }

    pub async fn start_over(database: device_assignment::storage::Database, settings: ServerSettings) -> Self {
        Self::start_listening(database, settings, listener().await).await
    }

    async fn start_listening(
        database: device_assignment::storage::Database,
        settings: ServerSettings,
        grpc: TcpListener,
    ) -> Self {
        let listeners = Listeners {
            grpc,
            rest: listener().await,
            admin: Some(listener().await),
            tls: None,
        };
        let remote = listener().await;
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let (grpc, rest, remote_rest) = (address(&listeners.grpc), address(&listeners.rest), address(&remote));
        let admin = listeners.admin.as_ref().map(address).expect("an address");
        let remote = GatewayListeners {
            rest: remote,
            admin: None,
            tls: None,
        };
        let upstream = Upstream {
            endpoint: Endpoint::from_shared(format!("http://{grpc}")).expect("an endpoint"),
            tls: None,
        };
        let (stop_service, service_stopped) = oneshot::channel();
        let (stop_gateway, gateway_stopped) = oneshot::channel();
        let of_service = settings.clone();
        let service =
            tokio::spawn(async move { serve(database, of_service, listeners, None, signal(service_stopped)).await });
        let gateway =
            tokio::spawn(async move { serve_gateway(upstream, settings, remote, None, signal(gateway_stopped)).await });
        Self {
            grpc,
            rest,
            remote_rest,
            admin,
            // The gateway first: its channel is a connection that the service would wait for.
            stop: vec![stop_gateway, stop_service],
            tasks: vec![gateway, service],
        }
    }

    /// A client of this server's `api` with `key`.
    pub fn client(&self, api: Api, key: &str) -> Client {
        let address = match api {
            Api::Grpc => self.grpc,
            Api::Rest => self.rest,
            Api::RemoteRest => self.remote_rest,
        };
        Client::new(api, address, key)
    }

    /// Stops the server as a signal would, and waits until it has.
    pub async fn stop(self) {
        for stop in self.stop {
            let _ = stop.send(());
        }
        for task in self.tasks {
            let stopped = tokio::time::timeout(STOPS_WITHIN, task).await.expect("a stop in time");
            stopped.expect("no panic").expect("a clean stop");
        }
    }
}

async fn signal(stopped: oneshot::Receiver<()>) {
    let _ = stopped.await;
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// Creates an organization, and returns a key of it.
pub async fn organization(database: &TestDatabase, name: &str) -> String {
    let name = OrganizationName::parse(name).expect("a name");
    let database = database.open().await;
    create_organization(&database, &name).await.expect("an organization");
    let label = ApiKeyLabel::parse("test").expect("a label");
    let key = create_api_key(&database, name.as_str(), &label, Scope::Write, None)
        .await
        .expect("a key");
    database.close().await;
    key.secret.reveal().to_owned()
}

/// Creates another key of an organization.
pub async fn new_key(database: &TestDatabase, organization: &str, expires_in: Option<Duration>) -> NewApiKey {
    let database = database.open().await;
    let label = ApiKeyLabel::parse("another").expect("a label");
    let key = create_api_key(&database, organization, &label, Scope::Write, expires_in)
        .await
        .expect("a key");
    database.close().await;
    key
}

/// Creates a key of an organization that may only read.
pub async fn read_key(database: &TestDatabase, organization: &str) -> String {
    let database = database.open().await;
    let label = ApiKeyLabel::parse("reader").expect("a label");
    let key = create_api_key(&database, organization, &label, Scope::Read, None)
        .await
        .expect("a key");
    database.close().await;
    key.secret.reveal().to_owned()
}

/// Brings devices into an organization.
pub async fn devices(database: &TestDatabase, organization: &str, identifiers: &[&str]) {
    let list = identifiers
        .iter()
        .fold("identifier,type\n".to_owned(), |list, identifier| {
            format!("{list}\"{}\",imported\n", identifier.replace('"', "\"\""))
        });
    let database = database.open().await;
    let report = import_devices(&database, organization, None, list.as_bytes(), |event| {
        assert!(!matches!(event, ImportEvent::Rejected(_)), "{event:?}");
    })
    .await
    .expect("an import");
    assert_eq!(report.created, identifiers.len() as u64);
    database.close().await;
}
