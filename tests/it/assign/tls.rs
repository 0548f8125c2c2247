//! A service behind TLS, with a certificate of a private authority.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use super::{Site, report};
use crate::support::{Kind, Suite, TestDatabase, devices, program::sentence};

pub fn register(suite: &mut Suite) {
    suite.on(
        Kind::Sqlite,
        "assign::a_private_authority_is_trusted_when_named",
        private_authority,
    );
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(parameters, key).expect("a certificate")
}

/// What ends TLS before `server`, with a certificate for localhost.
async fn before(server: SocketAddr, authority: &CertifiedIssuer<'static, KeyPair>) -> (u16, JoinSet<()>) {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = parameters.signed_by(&key, authority).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("an identity");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.expect("a connection");
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                if let Ok(mut client) = acceptor.accept(client).await {
                    let mut server = TcpStream::connect(server).await.expect("a connection");
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (port, tasks)
}

async fn private_authority(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1"]).await;
    let ours = authority();
    let (port, _tasks) = before(site.server.grpc, &ours).await;
    site.write("ours.pem", ours.pem());
    site.write("another.pem", authority().pem());
    site.write("none.pem", "no certificate");
    let server = format!("https://localhost:{port}");
    let run = async |options: &[&str]| {
        let arguments = ["--customer", "ann@example.com", "SN-1", "--json"];
        site.run(&[arguments.as_slice(), options].concat()).await
    };

    let said = sentence(&run(&["--server", &server]).await, 1);
    assert!(said.contains(&format!("{server} cannot be reached: ")), "{said}");
    assert!(
        said.contains("not signed by a trusted authority") && said.contains("--ca"),
        "{said}"
    );
    let said = sentence(&run(&["--server", &server, "--ca", "another.pem"]).await, 1);
    assert!(said.contains("certificate") && said.contains("--ca"), "{said}");
    for file in ["none.pem", "missing.pem"] {
        let said = sentence(&run(&["--server", &server, "--ca", file]).await, 1);
        assert!(said.contains(&format!("{file}: ")), "{said}");
    }
    let other_name = server.replace("localhost", "127.0.0.1");
    let said = sentence(&run(&["--server", &other_name, "--ca", "ours.pem"]).await, 1);
    assert!(said.contains("cannot be reached: "), "{said}");
    let said = sentence(&run(&["--server", &server.replace("https", "http")]).await, 1);
    assert!(said.contains("whether --server must begin with https://"), "{said}");
    let plain = format!("https://{}", site.server.grpc);
    let said = sentence(&run(&["--server", &plain]).await, 1);
    assert!(said.contains("check that it runs and speaks TLS"), "{said}");
    assert_eq!(database.count("customer").await, 0);

    let output = run(&["--server", &server, "--ca", "ours.pem"]).await;
    assert_eq!(report(&output, 0), [1, 0, 0, 0, 0, 1]);
    site.server.stop().await;
}
