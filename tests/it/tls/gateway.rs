//! A gateway in a process of its own, in front of a service with TLS.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::process::Child;

use super::serve;
use crate::support::{
    Answer, Api, Client, Kind, Program, Suite, TestDatabase,
    load::eventually,
    organization,
    program::{Log, command},
    tls::{Authority, Folder, Peer, Tunnel},
};

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "tls::gateway_over_https", over_https);
    suite.on(Kind::Sqlite, "tls::gateway_that_shows_a_certificate", with_certificate);
    suite.on(
        Kind::Sqlite,
        "tls::gateway_whose_service_gets_other_certificates",
        rotated,
    );
}

/// Longer than anything here takes on any machine.
const HANGS: Duration = Duration::from_secs(60);

pub(super) struct Gateway {
    rest: SocketAddr,
    pub(super) log: Log,
    _child: Child,
}

impl Gateway {
    async fn before(service: &Program, arguments: &[&str]) -> Self {
        Self::at(&format!("https://localhost:{}", service.grpc.port()), arguments).await
    }

    pub(super) async fn at(upstream: &str, arguments: &[&str]) -> Self {
        let mut gateway = command(&["gateway", "--upstream", upstream, "--rest-addr", "127.0.0.1:0"]);
        gateway.args(["--admin-addr", "off"]).args(arguments);
        let mut child = gateway.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut log = Log::of(&mut child);
        let rest = log.listening("rest").await.address;
        Self {
            rest,
            log,
            _child: child,
        }
    }

    async fn create(&self, key: &str, email: &str) -> Answer {
        Client::new(Api::RemoteRest, self.rest, key)
            .create(email, &[email])
            .await
    }
}

/// The log has the cause, the response does not.
async fn assert_unreachable(gateway: &Gateway, answer: &Answer, why: &str) {
    assert_eq!(answer.http.as_ref().expect("REST").0, 503, "{answer:?}");
    assert_eq!(answer.error, "Service temporarily unavailable; try again shortly");
    eventually(why, HANGS, async || gateway.log.so_far().contains(why)).await;
}

async fn over_https(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let authority = Authority::new("authority");
    let folder = Folder::new();
    let [certificate, private_key] = folder.put_identity("server", &authority.issue("service"));
    let ca = folder.put("ca.crt", &authority.pem());
    let service = serve(database, &folder, &[]).await;

    let gateway = Gateway::before(&service, &["--upstream-ca", &ca]).await;
    gateway.create(&key, "john@example.com").await.ok();
    assert_eq!(
        gateway.create("wrong", "john@example.com").await.code,
        "UNAUTHENTICATED"
    );

    // Its own clients use TLS, too.
    let arguments = [
        "--upstream-ca",
        &ca,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &private_key,
    ];
    let gateway = Gateway::before(&service, &arguments).await;
    let tunnel = Tunnel::to(gateway.rest, &Peer::new(&authority)).await;
    let client = Client::new(Api::RemoteRest, tunnel.address, &key);
    client.create("jane@example.com", &["SN-2"]).await.ok();
    assert_eq!(tunnel.agreed().len(), 1);

    // Neither the public authorities nor another one have signed this certificate.
    let other = folder.put("other.crt", &Authority::new("other").pem());
    for arguments in [&[][..], &["--upstream-ca", &other]] {
        let gateway = Gateway::before(&service, arguments).await;
        let answer = gateway.create(&key, "jim@example.com").await;
        assert_unreachable(&gateway, &answer, "not signed by a trusted authority").await;
    }
    service.terminate().await;

    // A certificate for another name.
    let folder = Folder::new();
    let elsewhere = authority.issue_as("elsewhere", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName(
            "elsewhere.example.com".try_into().expect("a name"),
        )];
    });
    folder.put_identity("server", &elsewhere);
    let service = serve(database, &folder, &[]).await;
    let ca = folder.put("ca.crt", &authority.pem());
    let gateway = Gateway::before(&service, &["--upstream-ca", &ca]).await;
    let answer = gateway.create(&key, "jim@example.com").await;
    assert_unreachable(
        &gateway,
        &answer,
        "not valid for localhost, but for elsewhere.example.com",
    )
    .await;
    service.terminate().await;
}

async fn with_certificate(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let authority = Authority::new("authority");
    let folder = Folder::new();
    folder.put_identity("server", &authority.issue("service"));
    let ca = folder.put("ca.crt", &authority.pem());
    let service = serve(database, &folder, &["--tls-client-ca", &ca]).await;

    let gateway = Gateway::before(&service, &["--upstream-ca", &ca]).await;
    let answer = gateway.create(&key, "john@example.com").await;
    assert_unreachable(&gateway, &answer, "cannot be reached").await;

    let [certificate, private_key] = folder.put_identity("gateway", &authority.issue("gateway"));
    let arguments = [
        "--upstream-cert",
        &certificate,
        "--upstream-key",
        &private_key,
        "--upstream-ca",
        &ca,
    ];
    let gateway = Gateway::before(&service, &arguments).await;
    gateway.create(&key, "john@example.com").await.ok();
    service.terminate().await;
}

/// All certificates and authorities are replaced while both run.
async fn rotated(database: &TestDatabase) {
    const INTERVAL: [&str; 2] = ["--tls-reload-interval", "100ms"];
    let key = organization(database, "acme").await;
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folder = Folder::new();
    let put = |authority: &Authority| {
        folder.put_identity("server", &authority.issue("service"));
        folder.put_identity("gateway", &authority.issue("gateway"));
        folder.put("ca.crt", &authority.pem());
    };
    put(&old);
    let path = |name: &str| folder.path(name).display().to_string();
    let (ca, certificate, private_key) = (path("ca.crt"), path("gateway.crt"), path("gateway.key"));
    // Connections end soon, so that new ones are made.
    let arguments = ["--tls-client-ca", &ca, "--max-connection-age", "300ms"];
    let service = serve(database, &folder, &[&arguments[..], &INTERVAL].concat()).await;
    let arguments = [
        "--upstream-ca",
        &ca,
        "--upstream-cert",
        &certificate,
        "--upstream-key",
        &private_key,
    ];
    let keeps_up = Gateway::before(&service, &[&arguments[..], &INTERVAL].concat()).await;
    let does_not = Gateway::before(&service, &[&arguments[..], &["--tls-reload-interval", "1h"]].concat()).await;
    for gateway in [&keeps_up, &does_not] {
        // A call may fail because its connection ends.
        eventually("a call succeeds", HANGS, async || {
            gateway.create(&key, "john@example.com").await.code == "OK"
        })
        .await;
    }

    put(&new);
    eventually("the old certificates are rejected", HANGS, async || {
        does_not.create(&key, "john@example.com").await.code == "UNAVAILABLE"
            && does_not.log.so_far().contains("not signed by a trusted authority")
    })
    .await;
    eventually("the new ones are", HANGS, async || {
        keeps_up.create(&key, "john@example.com").await.code == "OK"
    })
    .await;
    let changed = "the TLS of the upstream has changed; new connections";
    eventually(changed, HANGS, async || keeps_up.log.so_far().contains(changed)).await;
    service.terminate().await;
}
